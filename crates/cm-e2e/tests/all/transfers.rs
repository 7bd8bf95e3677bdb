//! `cryptomesh object`: downloads that go on where they were killed, the cache, copies, and URLs to share.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Response;
use cm_client::unfinished;
use cm_e2e::{Node, NodeOptions, cryptomesh};
use cm_http::ServerLimits;
use cm_runtime::Tasks;
use tokio::net::TcpListener;

const MIB: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(60);

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

/// The command with a home of its own, asking the node at a URL as its administrator.
fn command(node: &Node, url: &str, home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(cryptomesh());
    command.args(["--url", url, "--data-dir"]).arg(node.data_dir()).args(arguments);
    command.env_clear().env("HOME", home).env("CRYPTOMESH_TOKEN", node.admin_token());
    command.stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeded(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// A node with one object, and a file that has the same bytes.
fn stored(root: &Path, bytes: &[u8]) -> (Node, PathBuf) {
    let node = Node::start(&root.join("node"), &NodeOptions::default());
    let file = root.join("film");
    std::fs::write(&file, bytes).unwrap();
    let put = ["object", "put", file.to_str().unwrap(), "films/a/film.bin", "--create-bucket"];
    succeeded(command(&node, &node.url(), root, &put));
    (node, file)
}

/// A node's API seen through somebody who passes ranges and parts on as long as some are let through, and then never answers.
struct Halting {
    upstream: String,
    http: reqwest::Client,
    let_through: AtomicUsize,
    ranges: AtomicUsize,
}

impl Halting {
    async fn pass(State(halting): State<Arc<Halting>>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let is_part = parts.uri.query().is_some_and(|query| query.starts_with("part="));
        if is_part || parts.headers.contains_key(header::RANGE) {
            halting.ranges.fetch_add(1, Ordering::SeqCst);
            let passes = |left: usize| left.checked_sub(1);
            if halting.let_through.fetch_update(Ordering::SeqCst, Ordering::SeqCst, passes).is_err() {
                std::future::pending::<()>().await;
            }
        }
        let path = parts.uri.path_and_query().unwrap();
        let url = format!("{}{path}", halting.upstream);
        let body = reqwest::Body::wrap_stream(body.into_data_stream());
        let request = halting.http.request(parts.method, url).headers(parts.headers).body(body);
        let answer = request.send().await.unwrap();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        *response.body_mut() = Body::from_stream(answer.bytes_stream());
        response
    }

    /// Serves until the test ends: where.
    async fn serve(node: &Node, tasks: &Tasks) -> (Arc<Halting>, String) {
        let halting = Arc::new(Halting {
            upstream: node.url(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            let_through: AtomicUsize::new(0),
            ranges: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(Halting::pass).with_state(halting.clone());
        let own = tasks.clone();
        tasks.spawn("halting", async move {
            cm_http::serve(listener, router, ServerLimits::default(), &own).await;
        });
        (halting, url)
    }

    /// From now on so many ranges are passed on, and those that are asked for are counted anew.
    fn let_through(&self, ranges: usize) {
        self.let_through.store(ranges, Ordering::SeqCst);
        self.ranges.store(0, Ordering::SeqCst);
    }
}

/// How many parts the state of an unfinished download says are there.
fn parts_done(state: &Path) -> usize {
    let Ok(text) = std::fs::read(state) else { return 0 };
    let state: serde_json::Value = serde_json::from_slice(&text).unwrap();
    state["done"].as_object().unwrap().len()
}

/// Starts a command, waits until so many parts are there, and sends it a signal.
async fn cut_short(mut command: Command, state: &Path, parts: usize, signal: &str) -> Output {
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + DEADLINE;
    while parts_done(state) != parts {
        assert!(Instant::now() < end, "only {} parts are there", parts_done(state));
        tokio::task::yield_now().await;
    }
    let sent = Command::new("kill").args(["-s", signal, &process.id().to_string()]).status();
    assert!(sent.unwrap().success());
    process.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_was_ended_goes_on_where_it_was() {
    let root = tempfile::tempdir().unwrap();
    let bytes = sample(41 * MIB + 7);
    let (node, _) = stored(root.path(), &bytes);
    let tasks = Tasks::new();
    let (halting, url) = Halting::serve(&node, &tasks).await;
    let file = root.path().join("back");
    let part = unfinished(&file).unwrap();
    let state = part.with_extension("part.json");
    let get = ["object", "get", "films/a/film.bin", file.to_str().unwrap()];
    halting.let_through(2);
    let killed = cut_short(command(&node, &url, root.path(), &get), &state, 2, "KILL").await;
    assert!(!killed.status.success() && !file.exists(), "{}", said(&killed));
    halting.let_through(1);
    let interrupted = cut_short(command(&node, &url, root.path(), &get), &state, 3, "INT").await;
    assert_eq!(interrupted.status.code(), Some(130));
    assert!(said(&interrupted).contains("goes on where it was") && !file.exists(), "{}", said(&interrupted));
    halting.let_through(usize::MAX);
    let finished = succeeded(command(&node, &url, root.path(), &get));
    assert!(finished.contains("bytes of it by an earlier command"), "{finished}");
    assert_eq!(halting.ranges.load(Ordering::SeqCst), 3, "what was there is not asked for again");
    assert!(std::fs::read(&file).unwrap() == bytes);
    assert!(!state.exists() && !part.exists());
    // What was left of bytes that are none of the object's is found out before, and brought again.
    halting.let_through(2);
    let again = [&get[..], &["--no-cache"]].concat();
    cut_short(command(&node, &url, root.path(), &again), &state, 2, "KILL").await;
    let left = std::fs::read(&part).unwrap();
    std::fs::write(&part, vec![0; left.len()]).unwrap();
    halting.let_through(usize::MAX);
    let finished = succeeded(command(&node, &url, root.path(), &again));
    assert!(!finished.contains("by an earlier command"), "{finished}");
    assert!(std::fs::read(&file).unwrap() == bytes);
    tasks.token().cancel();
    assert!(node.stop().success());
}

/// The parts of the only upload of a bucket that is under way, as its node tells: the upload, and numbers of parts.
async fn parts_at(node: &Node) -> Option<(String, Vec<u64>)> {
    let uploads: Vec<serde_json::Value> = node.admin().get("/api/v1/buckets/films/uploads").await.unwrap();
    let id = uploads.first()?["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/buckets/films/uploads/{id}/a/film.bin");
    let parts: Vec<serde_json::Value> = node.admin().get(&path).await.unwrap();
    Some((id, parts.iter().map(|part| part["number"].as_u64().unwrap()).collect()))
}

/// Starts a command, waits until the node has so many parts, and sends it a signal.
async fn put_cut_short(mut command: Command, node: &Node, parts: usize, signal: &str) -> Output {
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + DEADLINE;
    while parts_at(node).await.is_none_or(|(_, there)| there.len() != parts) {
        assert!(Instant::now() < end, "{:?} are there", parts_at(node).await);
        tokio::task::yield_now().await;
    }
    let sent = Command::new("kill").args(["-s", signal, &process.id().to_string()]).status();
    assert!(sent.unwrap().success());
    process.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_ended_goes_on_where_it_was() {
    let root = tempfile::tempdir().unwrap();
    let (node, _) = stored(root.path(), b"small");
    let bytes = sample(41 * MIB + 7);
    let file = root.path().join("large");
    std::fs::write(&file, &bytes).unwrap();
    let tasks = Tasks::new();
    let (halting, url) = Halting::serve(&node, &tasks).await;
    let put = ["object", "put", file.to_str().unwrap(), "films/a/film.bin", "--output", "json"];
    halting.let_through(2);
    let killed = put_cut_short(command(&node, &url, root.path(), &put), &node, 2, "KILL").await;
    assert!(!killed.status.success(), "{}", said(&killed));
    let (upload, _) = parts_at(&node).await.unwrap();
    halting.let_through(1);
    let interrupted = put_cut_short(command(&node, &url, root.path(), &put), &node, 3, "INT").await;
    assert_eq!(interrupted.status.code(), Some(130));
    assert!(said(&interrupted).contains("goes on where it was"), "{}", said(&interrupted));
    let (same, there) = parts_at(&node).await.unwrap();
    assert_eq!((same, there.len()), (upload.clone(), 3), "the same upload is used");
    // Until it is whole the key shows what it showed before.
    let back = root.path().join("back");
    let get = ["object", "get", "films/a/film.bin", back.to_str().unwrap(), "--no-cache"];
    succeeded(command(&node, &node.url(), root.path(), &get));
    assert_eq!(std::fs::read(&back).unwrap(), b"small");
    // A part whose bytes have changed since is sent again, and the others are not.
    let mut bytes = bytes;
    let changed = (usize::try_from(there[1]).unwrap() - 1) * 8 * MIB + 5;
    bytes[changed] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    halting.let_through(usize::MAX);
    let finished = succeeded(command(&node, &url, root.path(), &put));
    let answer: serde_json::Value = serde_json::from_str(&finished).unwrap();
    let kept = [there[0], there[2]].into_iter().map(|number| if number == 6 { MIB + 7 } else { 8 * MIB });
    assert_eq!(answer["resumed"], kept.sum::<usize>(), "{finished}");
    assert_eq!(halting.ranges.load(Ordering::SeqCst), 4, "what was there is not sent again");
    assert!(parts_at(&node).await.is_none(), "it has ended");
    succeeded(command(&node, &node.url(), root.path(), &get));
    assert!(std::fs::read(&back).unwrap() == bytes);
    let notes = std::fs::read_dir(root.path().join(".cache/cryptomesh/uploads")).unwrap();
    assert_eq!(notes.count(), 0, "nothing is left to remember");
    // One that is given up is listed, and ended by its name.
    halting.let_through(1);
    put_cut_short(command(&node, &url, root.path(), &put), &node, 1, "KILL").await;
    let (upload, _) = parts_at(&node).await.unwrap();
    let listed = succeeded(command(&node, &node.url(), root.path(), &["object", "uploads", "films"]));
    assert!(listed.contains(&upload), "{listed}");
    let abort = ["object", "uploads", "films/a/film.bin", "--abort", &upload];
    succeeded(command(&node, &node.url(), root.path(), &abort));
    assert!(parts_at(&node).await.is_none());
    halting.let_through(usize::MAX);
    let anew = succeeded(command(&node, &url, root.path(), &put));
    let answer: serde_json::Value = serde_json::from_str(&anew).unwrap();
    assert_eq!(answer["resumed"], 0, "an upload that has ended is begun anew: {anew}");
    tasks.token().cancel();
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_before_is_sent_again_only_when_it_changed() {
    let root = tempfile::tempdir().unwrap();
    let (node, source) = stored(root.path(), b"first");
    let file = root.path().join("back");
    let get = |more: &[&str]| {
        let get = ["object", "get", "films/a/film.bin", file.to_str().unwrap()];
        let said = succeeded(command(&node, &node.url(), root.path(), &[&get[..], more].concat()));
        (said.contains("from the cache"), std::fs::read_to_string(&file).unwrap())
    };
    assert_eq!(get(&["--no-cache"]), (false, "first".to_owned()));
    assert!(!root.path().join(".cache").exists(), "it was to be left alone");
    assert_eq!(get(&[]), (false, "first".to_owned()));
    assert_eq!(get(&[]), (true, "first".to_owned()));
    assert_eq!(get(&["--no-cache"]), (false, "first".to_owned()));
    let cache = root.path().join(".cache/cryptomesh");
    assert_eq!(cache.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    // Damage is noticed.
    let kept = std::fs::read_dir(cache.join("objects")).unwrap().next().unwrap().unwrap();
    std::fs::write(kept.path(), "FIRST").unwrap();
    assert_eq!(get(&[]), (false, "first".to_owned()));
    // So is another version.
    std::fs::write(&source, "second").unwrap();
    let put = ["object", "put", source.to_str().unwrap(), "films/a/film.bin"];
    succeeded(command(&node, &node.url(), root.path(), &put));
    assert_eq!(get(&[]), (false, "second".to_owned()));
    assert_eq!(get(&[]), (true, "second".to_owned()));
    // What is gone is gone, and who may not read gets nothing.
    let mut stranger = command(&node, &node.url(), root.path(), &["object", "get", "films/a/film.bin", "x"]);
    let output = stranger.current_dir(root.path()).env("CRYPTOMESH_TOKEN", "wrong").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    succeeded(command(&node, &node.url(), root.path(), &["object", "rm", "films/a/film.bin"]));
    let mut gone = command(&node, &node.url(), root.path(), &["object", "get", "films/a/film.bin", "x"]);
    let output = gone.current_dir(root.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    let file = root.path().join("x");
    assert!(!file.exists() && !unfinished(&file).unwrap().exists());
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_copied_and_shared() {
    let root = tempfile::tempdir().unwrap();
    let bytes = sample(9 * MIB);
    let (node, _) = stored(root.path(), &bytes);
    let run = |arguments: &[&str]| command(&node, &node.url(), root.path(), arguments);
    succeeded(run(&["object", "cp", "films/a/film.bin", "films/copies ä/"]));
    let copy = "films/copies ä/film.bin";
    let share = |more: &[&str]| run(&[&["object", "share", copy][..], more].concat());
    let output = share(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("AWS_ACCESS_KEY_ID"), "{}", said(&output));
    let key = node.admin().create_s3_key("admin", "share").await.unwrap();
    let keyed = |mut command: Command| {
        command.env("AWS_ACCESS_KEY_ID", &key.id).env("AWS_SECRET_ACCESS_KEY", &key.key);
        command
    };
    let output = keyed(share(&["--expires", "8d"])).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("7d"), "{}", said(&output));
    let url = succeeded(keyed(share(&[]))).trim().to_owned();
    assert!(url.contains("X-Amz-Expires=3600") && !url.contains(&key.key), "{url}");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let shared = http.get(&url).send().await.unwrap();
    assert_eq!(shared.status(), 200);
    assert!(shared.bytes().await.unwrap() == bytes);
    assert_eq!(http.get(url.replace("film.bin", "other")).send().await.unwrap().status(), 403);
    // Without the signature it is nobody's question, and nobody is told what there is.
    let unsigned = http.get(url.split('?').next().unwrap()).send().await.unwrap();
    assert!(unsigned.status().is_client_error(), "{}", unsigned.status());
    assert!(node.stop().success());
}
