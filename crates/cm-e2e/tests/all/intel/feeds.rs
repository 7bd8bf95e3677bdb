//! Feeds: another node's TAXII server, servers that misbehave, and a directory of MISP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use cm_e2e::{Node, NodeOptions};
use cm_types::ResourceKind;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::peer::until;
use super::{asked, node};

/// What a server of the test has, by path.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<HashMap<String, Answer>>>);

#[derive(Clone)]
enum Answer {
    Document(Bytes),
    /// Begins to answer and never goes on.
    Never,
    Elsewhere,
}

impl Files {
    async fn serve(&self) -> String {
        async fn answer(State(files): State<Files>, request: Request) -> Response<Body> {
            let found = files.0.lock().unwrap().get(request.uri().path()).cloned();
            let answer = Response::builder();
            let made = match found {
                Some(Answer::Document(bytes)) => answer.body(Body::from(bytes)),
                Some(Answer::Never) => answer
                    .body(Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>())),
                Some(Answer::Elsewhere) => {
                    answer.status(307).header("location", "/good/objects/").body(Body::empty())
                }
                None => answer.status(404).body(Body::empty()),
            };
            made.unwrap()
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(self.clone());
        cm_runtime::Tasks::new()
            .spawn("test-server", async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    fn put(&self, path: &str, document: &Value) {
        self.put_answer(path, Answer::Document(document.to_string().into()));
    }

    fn put_answer(&self, path: &str, answer: Answer) {
        self.0.lock().unwrap().insert(path.to_owned(), answer);
    }
}

fn indicator(number: u32, modified: &str, change: &Value) -> Value {
    let source = format!("198.51.{}.{}", 100 + number / 200, number % 200 + 1);
    let mut object = json!({
        "type": "indicator", "spec_version": "2.1", "id": format!("indicator--8e2e2d2b-17d4-4cbf-938f-{number:012}"), "created": "2026-01-01T00:00:00Z",
        "modified": modified, "name": "beacon", "pattern": format!("[ipv4-addr:value = '{source}']"), "pattern_type": "stix", "valid_from": "2026-01-01T00:00:00Z",
        "valid_until": "2099-01-01T00:00:00Z",
    });
    for (name, value) in change.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

async fn post(server: &Node, objects: &[Value]) {
    let url = format!("{}/taxii2/cryptomesh/collections/partners/objects/", server.url());
    let request = reqwest::Client::new().post(url).bearer_auth(server.admin_token());
    let request = request.header("Content-Type", "application/taxii+json;version=2.1");
    let answer = request.body(json!({ "objects": objects }).to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let report: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(report["failure_count"], 0, "{report}");
}

/// Adds a feed and waits until it was asked.
async fn add(node: &Node, body: Value) -> Value {
    let added = node.admin().add_feed(&body).await.unwrap();
    assert!(added.get("secret").is_none());
    once_asked(node, body["id"].as_str().unwrap())
}

fn once_asked(node: &Node, id: &str) -> Value {
    let shown = || asked(node, &["intel", "feed", "show", id]);
    until("it was asked", || shown()["pulls"] != 0);
    until("that is over", || shown()["activity"] == "waiting");
    shown()
}

fn sources(node: &Node) -> Vec<Value> {
    asked(node, &["intel", "indicators", "--limit", "1000"]).as_array().unwrap().clone()
}

fn start(root: &tempfile::TempDir) -> Node {
    Node::start(root.path(), &NodeOptions::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_reads_the_collection_of_another_and_remembers_how_far() {
    let roots = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, reader) = (start(&roots.0), start(&roots.1));
    let made = server.admin().create(ResourceKind::ThreatCollection, &json!({ "id": "partners" })).await;
    made.unwrap();
    let old = "2026-01-01T00:00:00Z";
    // More than a page of what is asked for, and something that is not.
    let mut objects: Vec<Value> = (0..900).map(|number| indicator(number, old, &json!({}))).collect();
    objects[7] = indicator(
        7,
        old,
        &json!({ "object_marking_refs": ["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"] }),
    );
    objects[8] = indicator(8, old, &json!({ "valid_until": "2026-02-01T00:00:00Z" }));
    objects[9] = indicator(9, old, &json!({ "confidence": 50 }));
    objects.push(json!({
        "type": "identity", "spec_version": "2.1", "id": "identity--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f", "created": old, "modified": old, "name": "x",
    }));
    post(&server, &objects).await;
    let url = format!("{}/taxii2/cryptomesh/collections/partners/", server.url());
    let secret = server.admin_token();
    let body = json!({ "id": "partners", "kind": "taxii", "url": url, "secret": secret, "weight": 60 });
    let feed = add(&reader, body).await;
    assert_eq!(
        (&feed["read"], &feed["kept"], &feed["expired"]),
        (&json!(900), &json!(899), &json!(1)),
        "{feed}"
    );
    assert_eq!((&feed["has_secret"], &feed["failures"]), (&json!(true), &json!(0)));
    let found = sources(&reader);
    let of = |value: &str| found.iter().find(|indicator| indicator["value"] == value).cloned();
    let first = of("198.51.100.1").unwrap();
    assert_eq!(
        (&first["confidence"], &first["tlp"], &first["feeds"]),
        (&json!(54), &json!("amber"), &json!(["partners"]))
    );
    assert_eq!(of("198.51.100.10").unwrap()["confidence"], 27, "the author is half sure");
    assert!(of("198.51.100.9").is_none(), "its time is over");
    let export = reader.admin().export_indicators("plain", 50).await.unwrap();
    assert!(export.contains("198.51.100.1\n") && !export.contains("198.51.100.8\n"), "red stays");
    assert_eq!(
        asked(&reader, &["intel", "status"])["events"].as_u64().unwrap_or(0),
        0,
        "nothing is said in its own name"
    );
    // Killed and started again, it goes on behind what it kept.
    reader.kill();
    let reader = start(&roots.1);
    let newer = "2026-01-02T00:00:00Z";
    let revoked = indicator(0, newer, &json!({ "revoked": true }));
    let moved = indicator(1, newer, &json!({ "pattern": "[ipv4-addr:value = '203.0.113.77']" }));
    post(&server, &[revoked, moved]).await;
    let feed = asked(&reader, &["intel", "feed", "pull", "partners"]);
    assert_eq!(
        (&feed["read"], &feed["withdrawn"], &feed["kept"]),
        (&json!(902), &json!(1), &json!(900)),
        "{feed}"
    );
    assert_eq!(feed["indicators"], 898);
    let values: Vec<Value> =
        sources(&reader).into_iter().map(|indicator| indicator["value"].clone()).collect();
    assert!(!values.contains(&json!("198.51.100.1")) && !values.contains(&json!("198.51.100.2")));
    assert!(values.contains(&json!("203.0.113.77")));
    // Its secret is nowhere in the clear.
    for file in ["intel.db", "intel.db-wal"] {
        let bytes = std::fs::read(reader.data_dir().join(file)).unwrap_or_default();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{file}");
    }
    assert!(!reader.log().contains(&secret));
    asked(&reader, &["intel", "feed", "rm", "partners"]);
    assert_eq!(sources(&reader), [] as [Value; 0]);
    assert_eq!(asked(&reader, &["intel", "feed", "ls"]), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_refused_is_told_once() {
    let roots = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, reader) = (start(&roots.0), start(&roots.1));
    let url = format!("{}/taxii2/cryptomesh/collections/events/", server.url());
    let feed = add(&reader, json!({ "id": "f", "kind": "taxii", "url": url, "secret": "wrong" })).await;
    assert!(feed["last_failure_reason"].as_str().unwrap().contains("credential"), "{feed}");
    let again = reader.command(&["intel", "feed", "pull", "f"]);
    assert!(!again.status.success(), "the command says so");
    let log = reader.admin().newest_events(1000, &[]).await.unwrap();
    let of = |verb: &str| log.iter().filter(|event| event["verb"] == verb).count();
    assert_eq!((of("intel-feed.added"), of("intel-feed.failed")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_events_of_a_feed_are_verified_and_kept_as_their_reporters() {
    let roots = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, reader) = (start(&roots.0), start(&roots.1));
    asked(&server, &["intel", "report", "203.0.113.5", "--type", "scan", "--tlp", "green"]);
    let url = format!("{}/taxii2/cryptomesh/collections/events/", server.url());
    let feed =
        add(&reader, json!({ "id": "mesh", "kind": "taxii", "url": url, "secret": server.admin_token() }))
            .await;
    assert_eq!(
        (&feed["events"], &feed["refused"], &feed["kept"]),
        (&json!(1), &json!(0), &json!(0)),
        "{feed}"
    );
    let events = asked(&reader, &["intel", "events"]);
    assert_eq!(
        (&events[0]["source_ip"], &events[0]["tlp"]),
        (&json!("203.0.113.5"), &json!("green")),
        "{events}"
    );
    assert_eq!(events[0]["origin"], "feed mesh");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_misbehave_cost_little_and_a_node_stops_while_one_is_slow() {
    let root = tempfile::tempdir().unwrap();
    let reader = start(&root);
    let files = Files::default();
    files.put("/good/objects/", &json!({ "objects": [indicator(1, "2026-01-01T00:00:00Z", &json!({}))] }));
    files.put("/endless/objects/", &json!({ "more": true, "next": "1", "objects": [] }));
    files.put("/garbage/objects/", &json!({ "objects": "none" }));
    files.put_answer("/long/objects/", Answer::Document(vec![b' '; 17 << 20].into()));
    files.put_answer("/elsewhere/objects/", Answer::Elsewhere);
    files.put_answer("/slow/objects/", Answer::Never);
    let base = files.serve().await;
    for (id, reason) in [
        ("endless", "it says that there is more"),
        ("garbage", "what it sends is not of its protocol"),
        ("long", "it sends more at a time than is taken"),
        ("elsewhere", "it redirects"),
        ("absent", "there is no such feed"),
    ] {
        let feed = add(&reader, json!({ "id": id, "kind": "taxii", "url": format!("{base}/{id}") })).await;
        let said = feed["last_failure_reason"].as_str().unwrap();
        assert!(said.starts_with(reason), "{id}: {said}");
        assert_eq!(feed["indicators"], 0, "{id}");
    }
    let feed =
        add(&reader, json!({ "id": "good", "kind": "taxii", "url": format!("{base}/good/objects/") })).await;
    assert_eq!(feed["indicators"], 1, "{feed}");
    let slow = json!({ "id": "slow", "kind": "taxii", "url": format!("{base}/slow") });
    reader.admin().add_feed(&slow).await.unwrap();
    until("it is asked", || asked(&reader, &["intel", "feed", "show", "slow"])["activity"] == "pulling");
    assert!(reader.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_misp_is_read_event_by_event() {
    let root = tempfile::tempdir().unwrap();
    let reader = node(&root, &["intel.indicator_days=36500"]);
    let files = Files::default();
    let uuid = |number: u32| format!("8e2e2d2b-17d4-4cbf-938f-{number:012}");
    let event = |tag: &str, values: &[&str]| {
        let attribute = |value: &&str| json!({ "type": "ip-dst", "value": value, "to_ids": true });
        let attributes: Vec<Value> = values.iter().map(attribute).collect();
        json!({ "Event": { "info": "campaign", "threat_level_id": "1", "Tag": [{ "name": tag }], "Attribute": attributes } })
    };
    files.put(
        "/feed/manifest.json",
        &json!({ uuid(1): { "timestamp": "1760000000" }, uuid(2): { "timestamp": "1760000001" } }),
    );
    files.put(&format!("/feed/{}.json", uuid(1)), &event("tlp:clear", &["203.0.113.1", "203.0.113.2"]));
    files.put(&format!("/feed/{}.json", uuid(2)), &event("tlp:red", &["203.0.113.3"]));
    let base = files.serve().await;
    let added = asked(
        &reader,
        &["intel", "feed", "add", "osint", &format!("{base}/feed/"), "--kind", "misp", "--weight", "60"],
    );
    assert_eq!((&added["url"], &added["weight"]), (&json!(format!("{base}/feed/")), &json!(60)));
    let feed = once_asked(&reader, "osint");
    assert_eq!((&feed["read"], &feed["indicators"]), (&json!(2), &json!(2)), "{feed}");
    let told = |node: &Node| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        sources(node).iter().map(|found| (text(&found["value"]), text(&found["tlp"]))).collect()
    };
    let expected = |of: &[(&str, &str)]| -> Vec<(String, String)> {
        of.iter().map(|(value, tlp)| ((*value).to_owned(), (*tlp).to_owned())).collect()
    };
    assert_eq!(
        told(&reader),
        expected(&[("203.0.113.1", "clear"), ("203.0.113.2", "clear"), ("203.0.113.3", "red")])
    );
    // One was changed; the other is not fetched again.
    files.put(
        "/feed/manifest.json",
        &json!({ uuid(1): { "timestamp": "1760000005" }, uuid(2): { "timestamp": "1760000001" } }),
    );
    files.put(&format!("/feed/{}.json", uuid(1)), &event("tlp:green", &["203.0.113.2"]));
    let feed = asked(&reader, &["intel", "feed", "pull", "osint"]);
    assert_eq!((&feed["read"], &feed["kept"]), (&json!(3), &json!(3)), "{feed}");
    assert_eq!(told(&reader), expected(&[("203.0.113.2", "green"), ("203.0.113.3", "red")]));
}
