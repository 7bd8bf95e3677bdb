//! The S3 app: from a bucket, here one of the mesh itself, into a file of a running instance.

use std::time::Duration;

use cm_client::{ClientIdentity, InstanceConnection};
use cm_e2e::{Node, NodeOptions, PROGRAM_FILE, Party, Program, enrol, instance};
use cm_runtime::Tasks;
use cm_types::{ResourceKind, Timestamp};
use futures::stream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const READ: u32 = 8198;
const WRITE: u32 = 533_572;
const MIB: usize = 1 << 20;

/// Copies up to 64 bytes of /input to /output.
const COPIES: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "inputoutput")
    (data (i32.const 16) "\80\00\00\00\40\00\00\00")
    (func (export "_start")
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 0)
                (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 32)) (then unreachable))
        (if (call $read (i32.load (i32.const 32)) (i32.const 16) (i32.const 1) (i32.const 20))
            (then unreachable))
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 5) (i32.const 6) (i32.const 9)
                (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 36)) (then unreachable))
        (if (call $write (i32.load (i32.const 36)) (i32.const 16) (i32.const 1) (i32.const 40))
            (then unreachable))))"#;

/// A node with a bucket, and an instance of a program that copies.
struct Bench {
    node: Node,
    party: Party,
    /// The key to the party's certificate.
    key_pem: String,
    inside: InstanceConnection,
    policy: String,
    http: reqwest::Client,
}

impl Bench {
    async fn start(root: &std::path::Path, name: &str, open: bool, set: &[&str]) -> Bench {
        let set = set.iter().map(|&setting| setting.to_owned()).collect();
        let node = Node::start(root, &NodeOptions { open, set, ..NodeOptions::default() });
        let mut party = enrol(&node, "owner", &["developer", "analyst"]).await;
        let now = Timestamp::from(std::time::SystemTime::now());
        let made = cm_crypto::cert::generate_identity("owner", now, Duration::from_secs(3600)).unwrap();
        let key_pem = made.private_key_pem().expose().clone();
        party.certificate_pem = made.certificate_pem();
        party.identity = ClientIdentity::from_pem(&party.certificate_pem, &key_pem).unwrap();
        let wasm = wat::parse_str(COPIES).unwrap();
        let program = Program { name, strategy: "JIT", wasm, rights: &[("input", READ), ("output", WRITE)] };
        let rights = [("input", WRITE), ("output", READ)];
        let inside = instance(&node, &party, program, &rights).await;
        let policy = party.api.instance_policy(&format!("{name}-1")).await.unwrap();
        node.admin().create(ResourceKind::Bucket, &json!({ "name": "videos" })).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Bench { node, party, key_pem, inside, policy, http }
    }

    async fn put(&self, key: &str, bytes: usize) {
        let pieces = bytes.div_ceil(MIB);
        let body = stream::iter((0..pieces).map(move |at| {
            let piece = vec![at as u8 + 1; MIB.min(bytes - at * MIB)];
            Ok::<_, std::io::Error>(piece)
        }));
        let url = format!("{}/api/v1/buckets/videos/objects/{key}", self.node.url());
        let sent = self.http.put(url).bearer_auth(self.node.admin_token());
        let sent = sent.body(reqwest::Body::wrap_stream(body)).send().await.unwrap();
        assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
    }

    fn request(&self, key: &str, (id, secret): (&str, &str)) -> Value {
        json!({
            "s3": {
                "bucket": "videos", "filename": key, "region_name": "us-east-1",
                "aws_access_key_id": id, "aws_secret_access_key": secret,
                "endpoint_url": format!("http://{}", self.node.address("s3")),
            },
            "veracruz": {
                "filename": "input", "policy": self.policy, "certificate": self.party.certificate_pem,
                "key": self.key_pem,
            },
        })
    }

    async fn copy(&self, request: &Value) -> (u16, String) {
        let url = format!("http://{}/s3_stream_veracruz", self.node.address("s3app"));
        let answer = self.http.post(url).bearer_auth(&self.party.token).json(request).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// A service whose only object breaks off in the middle, and is gone when somebody asks for the rest. Answers its URL.
async fn half_an_object(tasks: &Tasks) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tasks.spawn("half an object", async move {
        let mut answers = vec![
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\netag: \"x\"\r\n\
                 last-modified: Sun, 01 Mar 2026 12:00:00 GMT\r\nconnection: close\r\n\r\n{}",
                "2".repeat(1_000_000)
            ),
        ];
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

/// The most memory that a process ever held, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_becomes_the_input_of_a_program() {
    let root = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(root.path(), "copies", false, &[r#"s3app.endpoints=["127.0.0.1"]"#]).await;
    bench.put("clips/first.bin", 64).await;
    let key = bench.node.admin().create_s3_key("admin", "app").await.unwrap();
    let credentials = (key.id.as_str(), key.key.as_str());
    let request = bench.request("clips/first.bin", credentials);
    assert_eq!(bench.copy(&request).await, (200, "<p>OK video file copied</p>".to_owned()));
    let report = bench.inside.execute(PROGRAM_FILE, Duration::from_secs(30)).await.unwrap();
    assert!(format!("{report:?}").contains("Completed"), "{report:?}");
    assert_eq!(bench.inside.read_file("output").await.unwrap(), [1; 64]);

    // An object that breaks off leaves the file as it was.
    let mut broken = bench.request("half", credentials);
    let tasks = Tasks::new();
    broken["s3"]["endpoint_url"] = half_an_object(&tasks).await.into();
    let (status, said) = bench.copy(&broken).await;
    assert!(status == 500 && said.contains("Not able to read bucket videos file half"), "{status} {said}");
    bench.inside.execute(PROGRAM_FILE, Duration::from_secs(30)).await.unwrap();
    assert_eq!(bench.inside.read_file("output").await.unwrap(), [1; 64]);

    let refused = |field: &str, value: Value, key: &str| {
        let mut request = bench.request(key, credentials);
        let (part, name) = field.split_once('.').unwrap();
        request[part][name] = value;
        request
    };
    let not_read = |file: &str, code: &str| {
        (500, format!("<p>Not able to read bucket videos file {file} from S3: {code}</p>"))
    };
    let missing = bench.request("missing", credentials);
    assert_eq!(bench.copy(&missing).await, not_read("missing", "NoSuchKey"));
    let wrong_secret = refused("s3.aws_secret_access_key", "x".into(), "k");
    assert_eq!(bench.copy(&wrong_secret).await, not_read("k", "SignatureDoesNotMatch"));
    let link = refused("s3.endpoint_url", "http://169.254.169.254".into(), "k");
    assert_eq!(bench.copy(&link).await, not_read("k", "EndpointNotAllowed"));
    let unwritable = (500, "<p>Not able to write file to veracruz instance</p>".to_owned());
    let no_right = refused("veracruz.filename", "output".into(), "clips/first.bin");
    assert_eq!(bench.copy(&no_right).await, unwritable);
    let stranger = enrol(&bench.node, "stranger", &[]).await;
    // The hash is over the exact text: neither other words nor the same ones set otherwise are the instance's policy.
    let spaced = format!("{}\n", bench.policy);
    let mut other: Value = serde_json::from_str(&bench.policy).unwrap();
    let set_otherwise = serde_json::to_string_pretty(&other).unwrap();
    other["enable_clock"] = (!other["enable_clock"].as_bool().unwrap()).into();
    for text in [spaced, set_otherwise, other.to_string()] {
        assert_ne!(text, bench.policy);
        let unknown = refused("veracruz.policy", text.into(), "clips/first.bin");
        assert_eq!(bench.copy(&unknown).await, unwritable, "another policy than the instance's is trusted");
    }
    bench.node.log_with("do not agree", 3);
    let mut half = bench.request("k", credentials);
    half["s3"].as_object_mut().unwrap().remove("aws_secret_access_key");
    let (status, said) = bench.copy(&half).await;
    assert!(status == 400 && said.contains("go together"), "{status} {said}");
    let url = format!("http://{}/s3_stream_veracruz", bench.node.address("s3app"));
    let unknown = bench.http.post(&url).json(&request).send().await.unwrap();
    assert_eq!(unknown.status(), 401);
    let text = bench.http.post(&url).bearer_auth(&stranger.token).body("text").send().await.unwrap();
    assert_eq!((text.status().as_u16(), text.text().await.unwrap().contains("json")), (400, true));
    let log = bench.node.log();
    assert!(!log.contains(&key.key) && !log.contains(bench.key_pem.lines().nth(1).unwrap()), "{log}");
    assert!(bench.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_does_not_hold_what_passes_through_it() {
    let root = tempfile::tempdir().unwrap();
    // Its own S3 service, and instances that it started, need no name.
    let bench = Bench::start(root.path(), "large", true, &[]).await;
    let before = peak_kib(bench.node.pid());
    bench.put("film.bin", 200 * MIB).await;
    let request = bench.request("film.bin", ("any", "key"));
    assert_eq!(bench.copy(&request).await, (200, "<p>OK video file copied</p>".to_owned()));
    let grown = (peak_kib(bench.node.pid()) - before) >> 10;
    assert!(grown < 96, "the node grew by {grown} MiB while 200 MiB passed through it");

    let tasks = Tasks::new();
    let mut behind = request.clone();
    behind["s3"]["endpoint_url"] = half_an_object(&tasks).await.into();
    let (status, said) = bench.copy(&behind).await;
    assert!(status == 500 && said.contains("EndpointNotAllowed"), "{status} {said}");
    let mut elsewhere = request;
    elsewhere["veracruz"]["policy"] = format!("{}\n", bench.policy).into();
    let (status, said) = bench.copy(&elsewhere).await;
    assert_eq!((status, said.as_str()), (500, "<p>Not able to write file to veracruz instance</p>"));
    bench.node.log_with("the address in the policy is not public", 1);
    let filters = [("verb", "s3-app.refused".to_owned())];
    let events = bench.node.admin().events(0, 10, &filters).await.unwrap().items;
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(bench.node.stop().success());
}
