//! Two nodes on one PostgreSQL database under load, one of them killed and started again and again: nothing is lost,
//! nothing is doubled, and who watches misses nothing, whichever node took the write.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cm_e2e::{Node, NodeOptions};
use serde_json::{Value, json};

/// How often the second node is killed.
const KILLS: usize = 5;
/// Who writes at a time.
const WRITERS: u64 = 8;
/// Records that are written between two kills, at least.
const WRITTEN_BETWEEN: u64 = 40;
/// How long anything here may take.
const DEADLINE: Duration = Duration::from_secs(60);

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A client of both nodes.
#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    token: String,
}

impl Client {
    /// Creates a record by its key, on whichever node answers first, until one says that it is there.
    async fn create(&self, urls: &[String], name: &str, turn: u64) {
        let began = Instant::now();
        for attempt in turn.. {
            assert!(began.elapsed() < DEADLINE, "{name} could not be written");
            let url = &urls[usize::try_from(attempt).unwrap() % urls.len()];
            let body = json!({ "name": name, "capacity": "1GB", "source_path": "/in", "sink_path": "/out" });
            let request = self.http.post(format!("{url}/api/v1/storages")).bearer_auth(&self.token);
            let request =
                request.header("idempotency-key", name).timeout(Duration::from_secs(10)).json(&body);
            match request.send().await {
                Ok(answer) if answer.status() == 201 => return,
                Ok(answer) if answer.status().is_server_error() => {}
                Ok(answer) => {
                    panic!("{name}: {} {}", answer.status(), answer.text().await.unwrap_or_default())
                }
                // Killed with the request in its hands: it may have happened or not.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    async fn names(&self, url: &str) -> Vec<String> {
        let answer =
            self.http.get(format!("{url}/api/v1/storages")).bearer_auth(&self.token).send().await.unwrap();
        let records: Vec<Value> = answer.json().await.unwrap();
        records.iter().map(|record| record["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The names of all records that are created, in the order in which the node tells of them, until all are there.
    async fn watch(&self, url: &str, until: Arc<AtomicU64>, seen: Arc<AtomicU64>) -> Vec<String> {
        let url = format!("{url}/api/v1/storages?watch=true");
        let mut answer =
            self.http.get(url).bearer_auth(&self.token).header("last-event-id", "0").send().await.unwrap();
        let (mut text, mut names) = (String::new(), Vec::new());
        while (names.len() as u64) < until.load(Ordering::SeqCst) {
            let chunk = tokio::time::timeout(DEADLINE, answer.chunk()).await.expect("the watch goes on");
            text.push_str(std::str::from_utf8(&chunk.unwrap().expect("the watch does not end")).unwrap());
            while let Some((message, rest)) =
                text.split_once("\n\n").map(|(m, r)| (m.to_owned(), r.to_owned()))
            {
                text = rest;
                let field =
                    |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if field("event:") == Some("created") {
                    let record: Value = serde_json::from_str(field("data:").unwrap()).unwrap();
                    names.push(record["name"].as_str().unwrap().to_owned());
                    seen.store(names.len() as u64, Ordering::SeqCst);
                }
            }
        }
        names
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let database = cm_testkit::postgres::Server::shared().create_database();
    let options = |api: &str| NodeOptions {
        set: vec![format!("database.url={}", database.url()), format!("listen.api={api}")],
        ..NodeOptions::default()
    };
    let (root_a, root_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let a = Node::start(root_a.path(), &options("127.0.0.1:0"));
    copy_dir(&a.data_dir().join("keys"), &root_b.path().join("data/keys"));
    std::fs::set_permissions(root_b.path().join("data"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    let mut b = Node::start(root_b.path(), &options("127.0.0.1:0"));
    // The same address after every start, so that clients find it again.
    let address_b = b.address("api").to_owned();
    let client =
        Client { http: reqwest::Client::builder().no_proxy().build().unwrap(), token: a.admin_token() };
    let urls = vec![a.url(), format!("http://{address_b}")];

    let (target, seen) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(AtomicU64::new(0)));
    let watching = {
        let (client, url, target, seen) = (client.clone(), a.url(), target.clone(), seen.clone());
        cm_runtime::Tasks::new().spawn("watch", async move { client.watch(&url, target, seen).await })
    };
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let tasks = cm_runtime::Tasks::new();
    let writing: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (client, urls, stop, written) = (client.clone(), urls.clone(), stop.clone(), written.clone());
            tasks.spawn("writer", async move {
                let mut names = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let name = format!("w{writer}-{}", names.len());
                    client.create(&urls, &name, writer).await;
                    written.fetch_add(1, Ordering::SeqCst);
                    names.push(name);
                }
                names
            })
        })
        .collect();
    for _ in 0..KILLS {
        let (before, began) = (written.load(Ordering::SeqCst), Instant::now());
        while written.load(Ordering::SeqCst) < before + WRITTEN_BETWEEN {
            assert!(began.elapsed() < DEADLINE, "nothing is written");
            tokio::task::yield_now().await;
        }
        b.kill();
        b = Node::start(root_b.path(), &options(&address_b));
    }
    stop.store(true, Ordering::SeqCst);
    let mut acknowledged = Vec::new();
    for writer in writing {
        acknowledged.extend(writer.await.unwrap());
    }
    // One more, so that the watcher hears once it knows how many there are.
    acknowledged.push("last".to_owned());
    target.store(acknowledged.len() as u64, Ordering::SeqCst);
    client.create(&urls, "last", 0).await;

    let watched =
        tokio::time::timeout(DEADLINE, watching).await.expect("the watcher hears of everything").unwrap();
    let listed = client.names(&a.url()).await;
    assert_eq!(client.names(&b.url()).await, listed, "both nodes say the same");
    assert_eq!(watched, listed, "told in the order of creation, each once");
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(listed), sorted(acknowledged), "what was acknowledged is there, each once");
    let verified = client.http.post(format!("{}/api/v1/events/verify", b.url())).bearer_auth(&client.token);
    let verified: Value = verified.json(&json!({})).send().await.unwrap().json().await.unwrap();
    assert_eq!(verified["intact"], true, "{verified}");
}
