//! Nodes that keep one catalogue together without a database server: founded, joined by invitation, killed under load, grown and
//! shrunk. Nothing that was answered is lost, and what one node has answered is seen on every other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cm_e2e::{Peer, succeeded};
use serde_json::{Value, json};

/// Who writes at a time.
const WRITERS: u64 = 4;
/// Records that are written between two events, at least.
const WRITTEN_BETWEEN: u64 = 25;
/// How long anything here may take.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    token: String,
}

impl Client {
    async fn get(&self, url: &str, path: &str) -> Option<(u16, Option<String>, Value)> {
        let request = self.http.get(format!("{url}/api/v1/{path}")).bearer_auth(&self.token);
        let answer = request.timeout(Duration::from_secs(20)).send().await.ok()?;
        let retry = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        Some((answer.status().as_u16(), retry, answer.json().await.unwrap_or_default()))
    }

    async fn invite(&self, url: &str) -> String {
        let request = self.http.post(format!("{url}/api/v1/network/invitations")).bearer_auth(&self.token);
        let answer = request.json(&json!({})).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json::<Value>().await.unwrap()["invitation"].as_str().unwrap().to_owned()
    }

    /// Creates a record on whichever node answers, and then reads it on another: once it was answered it is everywhere.
    async fn create_and_see(&self, urls: &[String], name: &str, turn: u64) {
        let began = Instant::now();
        let at = |turn: u64| &urls[usize::try_from(turn).unwrap() % urls.len()];
        let mut id = String::new();
        for attempt in turn.. {
            assert!(began.elapsed() < DEADLINE, "{name} could not be written");
            let body = json!({ "name": name, "capacity": "1GB", "source_path": "/in", "sink_path": "/out" });
            let request = self.http.post(format!("{}/api/v1/storages", at(attempt))).bearer_auth(&self.token);
            let request =
                request.header("idempotency-key", name).timeout(Duration::from_secs(20)).json(&body);
            match request.send().await {
                Ok(answer) if answer.status() == 201 => {
                    // The connection may break in the middle of the answer.
                    let Ok(record) = answer.json::<Value>().await else { continue };
                    id = record["id"].as_str().unwrap().to_owned();
                    break;
                }
                Ok(answer) if answer.status().is_server_error() => moment().await,
                Ok(answer) => {
                    panic!("{name}: {} {}", answer.status(), answer.text().await.unwrap_or_default())
                }
                Err(_) => moment().await,
            }
        }
        for attempt in turn + 1.. {
            assert!(began.elapsed() < DEADLINE, "{name} could not be read");
            match self.get(at(attempt), &format!("storages/{id}")).await {
                Some((200, _, record)) => {
                    assert_eq!(record["name"], name);
                    return;
                }
                Some((status, ..)) if status >= 500 => moment().await,
                Some((status, _, body)) => panic!("{name} is not seen elsewhere: {status} {body}"),
                None => moment().await,
            }
        }
    }

    async fn network(&self, url: &str) -> Value {
        match self.get(url, "network").await {
            Some((200, _, network)) => network,
            _ => Value::Null,
        }
    }

    async fn until(&self, url: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let network = self.network(url).await;
            if holds(&network) {
                return network;
            }
            assert!(began.elapsed() < DEADLINE, "{what}: {network}");
            moment().await;
        }
    }

    async fn names(&self, url: &str) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let request = self.http.get(format!("{url}/api/v1/storages?limit=200{after}"));
            let answer = request.bearer_auth(&self.token).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let next = answer.headers().get("next-cursor").map(|value| value.to_str().unwrap().to_owned());
            let records: Vec<Value> = answer.json().await.unwrap();
            names.extend(records.iter().map(|record| record["name"].as_str().unwrap().to_owned()));
            match next {
                Some(next) => after = format!("&after={next}"),
                None => return names,
            }
        }
    }
}

/// Until the next look: whoever looks all the time takes the time of what is looked at, and of everybody else on the machine.
async fn moment() {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    ticks.tick().await;
    ticks.tick().await;
}

fn votes(network: &Value) -> usize {
    let nodes = network["nodes"].as_array();
    nodes.map_or(0, |nodes| nodes.iter().filter(|node| node["votes"] == true).count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_of_nodes_loses_nothing_while_nodes_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let [mut a, mut b, mut c, mut d] = ["a", "b", "c", "d"].map(|name| Peer::new(dir.path().join(name)));
    succeeded(a.found());
    assert!(!a.found().status.success(), "only once");
    a.start();
    let client = Client {
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        token: a.node.as_ref().unwrap().admin_token(),
    };
    let used = client.invite(&a.url()).await;
    for member in [&mut b, &mut c] {
        let invitation =
            if member.root.ends_with("b") { used.clone() } else { client.invite(&a.url()).await };
        let done = member.join(&invitation);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        member.start();
    }
    let refused = d.join(&used);
    assert!(!refused.status.success(), "an invitation is for one node");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("refuses"), "{refused:?}");
    client.until(&a.url(), "three vote", |network| votes(network) == 3).await;

    // Revoked on one node, without effect on another at once.
    let request = client.http.post(format!("{}/api/v1/principals/admin/api-keys", a.url()));
    let made: Value = request
        .bearer_auth(&client.token)
        .json(&json!({ "label": "short" }))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let short = Client { token: made["key"].as_str().unwrap().to_owned(), ..client.clone() };
    assert_eq!(short.get(&c.url(), "storages").await.unwrap().0, 200);
    let place = format!("{}/api/v1/principals/admin/api-keys/{}", b.url(), made["id"].as_str().unwrap());
    assert_eq!(client.http.delete(place).bearer_auth(&client.token).send().await.unwrap().status(), 204);
    assert_eq!(short.get(&c.url(), "storages").await.unwrap().0, 401);

    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let urls = [a.url(), b.url(), c.url()].to_vec();
    let tasks = cm_runtime::Tasks::new();
    let writing: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (client, urls) = (client.clone(), urls.clone());
            let (stop, written) = (stop.clone(), written.clone());
            tasks.spawn("write", async move {
                let mut names = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let name = format!("w{writer}-{number}");
                    client.create_and_see(&urls, &name, writer + number).await;
                    names.push(name);
                    written.fetch_add(1, Ordering::SeqCst);
                }
                names
            })
        })
        .collect();
    let more = async || {
        let (began, from) = (Instant::now(), written.load(Ordering::SeqCst));
        while written.load(Ordering::SeqCst) < from + WRITTEN_BETWEEN {
            assert!(began.elapsed() < DEADLINE, "writing goes on");
            assert!(writing.iter().all(|one| !one.is_finished()), "a writer has failed");
            moment().await;
        }
    };
    more().await;
    // Whoever leads first: killed as by a power cut, and back again.
    let network = client.network(&b.url()).await;
    let leader = network["nodes"].as_array().unwrap().iter().find(|node| node["leads"] == true).unwrap();
    let leader = leader["address"].as_str().unwrap().to_owned();
    for killed in [&mut a, &mut b, &mut c].into_iter().filter(|member| member.peers == leader) {
        killed.kill();
        more().await;
        killed.start();
    }
    more().await;
    c.kill();
    more().await;
    c.start();
    // A fourth, and one less.
    let done = d.join(&client.invite(&b.url()).await);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    d.start();
    client.until(&d.url(), "four vote", |network| votes(network) == 4).await;
    more().await;
    stop.store(true, Ordering::SeqCst);
    let mut names = Vec::new();
    for one in writing {
        names.extend(one.await.unwrap());
    }
    names.sort();
    assert!(names.len() as u64 >= 4 * WRITTEN_BETWEEN);
    for member in [&a, &b, &c, &d] {
        let mut found = client.names(&member.url()).await;
        found.sort();
        assert_eq!(found, names, "{}", member.root.display());
    }

    let network = client.network(&a.url()).await;
    let id = network["nodes"].as_array().unwrap().iter().find(|node| node["address"] == b.peers.as_str());
    let id = id.unwrap()["id"].as_str().unwrap().to_owned();
    let remove = |token: String| {
        client.http.delete(format!("{}/api/v1/network/nodes/{id}", a.url())).bearer_auth(token).send()
    };
    let removed = remove(client.token.clone()).await.unwrap();
    // What it stores has to be elsewhere before.
    if removed.status() == 409 {
        let drained = a.node.as_ref().unwrap().command(&["--token", &client.token, "storage", "drain", &id]);
        assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
        let began = Instant::now();
        while remove(client.token.clone()).await.unwrap().status() != 202 {
            assert!(began.elapsed() < DEADLINE, "the node cannot leave");
            moment().await;
        }
    } else {
        assert_eq!(removed.status(), 202);
    }
    client.until(&a.url(), "three are left", |network| votes(network) == 3).await;
    b.kill();
    client.create_and_see(&[c.url(), d.url()], "without-b", 0).await;

    // Without a majority: a clear answer in time, and what this node sees all the same.
    c.kill();
    d.kill();
    let began = Instant::now();
    let (status, retry, _) = client.get(&a.url(), "storages").await.expect("an answer in time");
    assert_eq!((status, retry.is_some()), (503, true), "after {:?}", began.elapsed());
    let network = client.until(&a.url(), "nobody leads", |network| network["leader"].is_null()).await;
    assert_eq!(votes(&network), 3);
    // All at once, as after a power cut: each waits for another.
    a.kill();
    let started = std::thread::scope(|scope| {
        let both = [&mut c, &mut d].map(|member| scope.spawn(move || member.start()));
        both.into_iter().all(|one| one.join().is_ok())
    });
    assert!(started);
    client.create_and_see(&[d.url(), c.url()], "after-all", 0).await;
    let mut found = client.names(&c.url()).await;
    found.sort();
    names.extend(["without-b".to_owned(), "after-all".to_owned()]);
    names.sort();
    assert_eq!(found, names);
    for member in [&mut c, &mut d] {
        assert!(member.node.take().unwrap().stop().success() || member.root.ends_with("d"));
    }
}
