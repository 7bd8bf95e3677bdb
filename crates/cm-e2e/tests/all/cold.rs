//! The cold tier: chunks that nobody reads for long go to another service of S3, here another node, and come back.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use cm_e2e::{Node, NodeOptions};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

fn sample(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn succeeded(output: Output) -> String {
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

/// The files of chunks of a node.
fn chunks(node: &Node) -> usize {
    let directories = std::fs::read_dir(node.data_dir().join("objects/chunks")).unwrap();
    directories.map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap().count()).sum()
}

async fn cold(node: &Node) -> Value {
    node.admin().get("/api/v1/storage/cold").await.unwrap()
}

/// Waits for a condition on the state of the cold tier.
async fn until(node: &Node, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let (began, mut ticks) = (Instant::now(), tokio::time::interval(Duration::from_millis(100)));
    loop {
        ticks.tick().await;
        let seen = cold(node).await;
        if holds(&seen) {
            return seen;
        }
        assert!(began.elapsed() < DEADLINE, "{what}: {seen}");
    }
}

/// What is read; `None` if it ended before its end, as it does when the service fails in the middle.
async fn try_read(node: &Node, name: &str) -> Option<(u16, Vec<u8>)> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/api/v1/buckets/scans/objects/{name}", node.url());
    let answer = http.get(url).bearer_auth(node.admin_token()).send().await.unwrap();
    Some((answer.status().as_u16(), answer.bytes().await.ok()?.to_vec()))
}

async fn read(node: &Node, name: &str) -> (u16, Vec<u8>) {
    try_read(node, name).await.expect("a whole answer")
}

/// The service, always at the same place.
fn service(root: &Path, port: u16) -> Node {
    let set = vec![format!("listen.s3=127.0.0.1:{port}")];
    Node::start(root, &NodeOptions { set, ..NodeOptions::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_nobody_reads_go_to_another_service_and_come_back() {
    let root = tempfile::tempdir().unwrap();
    let (port, bytes) = (cm_testkit::ports::free(1).0, sample(5 * MIB + 7));
    let there = service(&root.path().join("there"), port);
    let (file, small) = (root.path().join("film"), root.path().join("small"));
    std::fs::write(&file, &bytes).unwrap();
    std::fs::write(&small, b"first").unwrap();
    succeeded(there.command(&["object", "put", small.to_str().unwrap(), "tier/first", "--create-bucket"]));
    let key = there.admin().create_s3_key("admin", "cold tier").await.unwrap();
    let secret = root.path().join("secret");
    std::fs::write(&secret, &key.key).unwrap();
    // A day is a second here.
    let set = vec![
        format!("objects.cold_endpoint=http://127.0.0.1:{port}"),
        "objects.cold_bucket=tier".to_owned(),
        "objects.cold_prefix=mesh".to_owned(),
        format!("objects.cold_access_key_id={}", key.id),
        format!("objects.cold_secret_access_key={}", secret.display()),
        "objects.cold_look_every=1".to_owned(),
        "objects.lifecycle_day=1".to_owned(),
    ];
    let node = Node::start(&root.path().join("here"), &NodeOptions { set, ..NodeOptions::default() });
    succeeded(node.command(&["object", "put", file.to_str().unwrap(), "scans/film", "--create-bucket"]));
    assert_eq!(cold(&node).await["chunks"], 0, "the bucket has said nothing");
    assert!(succeeded(node.command(&["storage", "cold", "scans", "--after", "2"])).contains("after 2 days"));
    until(&node, "all is cold", |seen| seen["chunks"] == 6).await;
    let (began, mut ticks) = (Instant::now(), tokio::time::interval(Duration::from_millis(100)));
    while chunks(&node) != 0 {
        // Files go after the tables have said where their chunks are now.
        assert!(began.elapsed() < DEADLINE, "{} are still here", chunks(&node));
        ticks.tick().await;
    }
    let status = succeeded(node.command(&["storage", "status"]));
    assert!(status.contains("6 chunks") && !status.contains(&key.key), "{status}");
    let listed = succeeded(there.command(&["object", "ls", "tier/mesh/", "--output", "json"]));
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap().as_array().unwrap().len(), 6);
    // Without the service: a refusal that says so, and nothing is lost. What is here is served.
    assert!(there.stop().success());
    let (status, body) = read(&node, "film").await;
    let body = String::from_utf8_lossy(&body).into_owned();
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("cold tier"), "{body}");
    succeeded(node.command(&["object", "put", small.to_str().unwrap(), "scans/small"]));
    assert_eq!(read(&node, "small").await, (200, b"first".to_vec()));
    until(&node, "it is told", |seen| seen["failure"].is_string() && seen["chunks"] == 6).await;
    // Whoever reads it brings it back.
    let there = service(&root.path().join("there"), port);
    succeeded(node.command(&["storage", "cold", "scans", "--off"]));
    let (began, mut ticks) = (Instant::now(), tokio::time::interval(Duration::from_millis(100)));
    loop {
        // What was written meanwhile may have become cold, too.
        let film = try_read(&node, "film").await.filter(|(status, _)| *status == 200);
        let small = try_read(&node, "small").await.filter(|(status, _)| *status == 200);
        if let (Some((_, body)), Some(_)) = (film, small) {
            assert!(body == bytes, "other bytes came back");
            if cold(&node).await["chunks"] == 0 {
                break;
            }
        }
        assert!(began.elapsed() < DEADLINE, "{}", cold(&node).await);
        ticks.tick().await;
    }
    assert!(there.stop().success());
    let (status, body) = read(&node, "film").await;
    assert!(status == 200 && body == bytes, "{status}: {} bytes", body.len());
    assert!(node.stop().success());
}
