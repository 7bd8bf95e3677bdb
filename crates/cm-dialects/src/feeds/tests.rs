//! Against servers that do and do not behave, over real sockets.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, header};
use cm_crypto::Secret;
use cm_intel::Tlp;
use cm_intel::feeds::{Batch, Entry};
use cm_kernel::KernelConfig;
use cm_runtime::{SystemClock, Tasks};
use cm_types::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

/// What a server answers, one after the other, and what it was asked: address and credential.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<ServerState>>);

#[derive(Default)]
struct ServerState {
    answers: VecDeque<Response<Body>>,
    asked: Vec<(String, Option<String>)>,
}

async fn answer(State(server): State<Server>, request: Request) -> Response<Body> {
    let mut state = server.0.lock().unwrap();
    let credential = request.headers().get(header::AUTHORIZATION);
    let credential = credential.map(|value| value.to_str().unwrap().to_owned());
    state.asked.push((request.uri().to_string(), credential));
    state.answers.pop_front().unwrap_or_else(|| status(500))
}

fn status(code: u16) -> Response<Body> {
    Response::builder().status(code).body(Body::empty()).unwrap()
}

fn page(body: &Value, last: Option<&str>) -> Response<Body> {
    let builder = Response::builder().status(200);
    let builder = match last {
        Some(last) => builder.header("X-TAXII-Date-Added-Last", last),
        None => builder,
    };
    builder.body(Body::from(body.to_string())).unwrap()
}

fn indicator(number: u32) -> Value {
    json!({
        "type": "indicator", "spec_version": "2.1", "id": format!("indicator--8e2e2d2b-17d4-4cbf-938f-{number:012}"), "created": "2026-11-01T00:00:00Z",
        "modified": "2026-11-01T00:00:00Z", "pattern": "[ipv4-addr:value = '198.51.100.7']", "pattern_type": "stix", "valid_from": "2026-11-01T00:00:00Z",
    })
}

struct World {
    feeds: HttpFeeds,
    server: Server,
    url: String,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new(limits: FeedLimits) -> World {
        let dir = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let config = KernelConfig {
            data_dir: dir.path().to_owned(),
            limits: cm_kernel::catalog::Limits::default(),
            integrity: cm_kernel::catalog::Integrity::Enforced,
            objects: cm_kernel::objects::Config {
                object_bytes_max: 1 << 20,
                ..cm_kernel::objects::Config::default()
            },
            node_name: "test".to_owned(),
        };
        let kernel = Kernel::open(config, Arc::new(SystemClock), &tasks, |_| Ok(())).await.unwrap();
        let server = Server::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/root/collections/c", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(server.clone());
        tasks.spawn("test-server", async move { axum::serve(listener, router).await.unwrap() });
        World { feeds: HttpFeeds::new(kernel, limits).unwrap(), server, url, _dir: dir }
    }

    fn target(&self, kind: FeedKind) -> Target {
        Target {
            kind,
            url: self.url.clone(),
            credential: Some(Credential::Basic("ada".to_owned(), Secret::new("secret".to_owned()))),
            unmarked: Tlp::Amber,
            since: Timestamp::from_micros(1_700_000_000_000_000),
            now: Timestamp::from_micros(1_800_000_100_000_000),
            known: HashMap::new(),
        }
    }

    fn will(&self, answers: Vec<Response<Body>>) {
        self.server.0.lock().unwrap().answers.extend(answers);
    }

    /// Asks to the end; the batches and how that ended.
    async fn pull(&self, kind: FeedKind, position: &str) -> (Vec<Batch>, Result<(), FeedFailure>) {
        let mut pulling = self.feeds.begin(self.target(kind), position);
        let mut batches = Vec::new();
        loop {
            match pulling.next().await {
                Ok(Some(batch)) => batches.push(batch),
                Ok(None) => return (batches, Ok(())),
                Err(failure) => return (batches, Err(failure)),
            }
        }
    }

    /// The addresses that were asked for since the last time, without what they have in common.
    fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut self.server.0.lock().unwrap().asked);
        asked
            .into_iter()
            .map(|(uri, credential)| {
                assert_eq!(credential.as_deref(), Some("Basic YWRhOnNlY3JldA=="));
                uri.trim_start_matches("/root/collections/c/").to_owned()
            })
            .collect()
    }
}

#[tokio::test]
async fn pages_follow_each_other_and_the_last_one_says_where_to_go_on() {
    let world = World::new(FeedLimits { page_len: 2, ..FeedLimits::default() }).await;
    world.will(vec![
        page(
            &json!({ "more": true, "next": "n 1", "objects": [indicator(1), indicator(2)] }),
            Some("2026-11-01T00:00:00.000002Z"),
        ),
        page(&json!({ "objects": [indicator(3), 7] }), Some("2026-11-01T00:00:00.000003Z")),
        page(&json!({}), None),
    ]);
    let (batches, ended) = world.pull(FeedKind::Taxii, "").await;
    assert_eq!(
        (batches.iter().map(|batch| batch.entries.len()).collect::<Vec<_>>(), ended),
        (vec![2, 2], Ok(()))
    );
    assert!(matches!(batches[1].entries[1], Entry::Unreadable), "the rest is none the worse for it");
    let (_, ended) = world.pull(FeedKind::Taxii, &batches[1].position).await;
    assert_eq!(ended, Ok(()));
    let base = "objects/?limit=2&match%5Btype%5D=indicator";
    let expected =
        ["", "&next=n+1", "&added_after=2026-11-01T00%3A00%3A00.000003Z"].map(|end| format!("{base}{end}"));
    assert_eq!(world.asked(), expected);
    // Interrupted behind the first page, at a server that has forgotten what was next.
    world.will(vec![status(400), page(&json!({ "objects": [indicator(1)] }), None)]);
    let (again, ended) = world.pull(FeedKind::Taxii, &batches[0].position).await;
    assert_eq!((again.len(), ended), (1, Ok(())));
    assert_eq!(world.asked(), ["&next=n+1", ""].map(|end| format!("{base}{end}")));
}

#[tokio::test]
async fn servers_that_misbehave_are_told_apart_and_bounded() {
    let limits = FeedLimits { answer_len_max: 10_000, pages_max: 300, ..FeedLimits::default() };
    let world = World::new(limits).await;
    let redirect =
        Response::builder().status(302).header("location", "http://127.0.0.1:1/").body(Body::empty());
    let more = |next: &str| page(&json!({ "more": true, "next": next, "objects": [indicator(1)] }), None);
    let cases = [
        (vec![status(401)], FeedFailure::Credential),
        (vec![status(403)], FeedFailure::Credential),
        (vec![status(404)], FeedFailure::Absent),
        (vec![status(503)], FeedFailure::Busy),
        (vec![status(429)], FeedFailure::Busy),
        (vec![status(204)], FeedFailure::Odd),
        (vec![redirect.unwrap()], FeedFailure::Redirected),
        (vec![Response::new(Body::from("<html>"))], FeedFailure::Garbage),
        (vec![page(&json!({ "title": "an API root", "versions": [] }), None)], FeedFailure::Garbage),
        (vec![Response::new(Body::from("[".repeat(5000)))], FeedFailure::Garbage),
        (vec![Response::new(Body::from("x".repeat(10_001)))], FeedFailure::TooLong),
        (vec![more("1"), more("1")], FeedFailure::Endless),
        (vec![page(&json!({ "more": true, "objects": [] }), None)], FeedFailure::Endless),
        (vec![page(&json!({ "more": true, "next": "x".repeat(5000) }), None)], FeedFailure::Garbage),
        (
            (0..300).map(|number| page(&json!({ "more": true, "next": number.to_string() }), None)).collect(),
            FeedFailure::Endless,
        ),
    ];
    for (answers, expected) in cases {
        world.will(answers);
        assert_eq!(world.pull(FeedKind::Taxii, "").await.1, Err(expected));
        world.server.0.lock().unwrap().answers.clear();
    }
    world.will((0..400).map(|number| more(&number.to_string())).collect());
    let (batches, ended) = world.pull(FeedKind::Taxii, "").await;
    assert_eq!((batches.len(), ended), (300, Ok(())), "enough for one time");
}

#[tokio::test]
async fn who_is_slow_is_not_waited_for() {
    let world =
        World::new(FeedLimits { answers_within: Duration::from_millis(50), ..FeedLimits::default() }).await;
    let endless = futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    world.will(vec![Response::new(Body::from_stream(endless))]);
    assert_eq!(world.pull(FeedKind::Taxii, "").await.1, Err(FeedFailure::Slow));
}

#[tokio::test]
async fn events_of_misp_come_by_their_changes_and_once() {
    let world = World::new(FeedLimits::default()).await;
    let uuid = |number: u32| format!("8e2e2d2b-17d4-4cbf-938f-{number:012}");
    let manifest = json!({
        uuid(1): { "timestamp": "1800000002", "info": "later" },
        uuid(2): { "timestamp": 1_800_000_001 },
        uuid(3): { "timestamp": "1600000000", "info": "of no use any more" },
        "../../../etc/passwd": { "timestamp": "1800000009" },
        uuid(4): { "timestamp": "soon" },
    });
    let event = json!({ "Event": { "info": "campaign", "Attribute": [{ "type": "ip-src", "value": "198.51.100.1", "to_ids": true }] } });
    let good = || Response::new(Body::from(event.to_string()));
    world.will(vec![page(&manifest, None), status(404), good()]);
    let (batches, ended) = world.pull(FeedKind::Misp, "").await;
    assert_eq!((batches.len(), ended), (2, Ok(())));
    assert!(matches!(batches[0].entries[..], [Entry::Unreadable]), "one that is missing keeps from no other");
    assert!(matches!(&batches[1].entries[..], [Entry::Said(said)] if said.values == ["198.51.100.1"]));
    let files = ["manifest.json".to_owned(), format!("{}.json", uuid(2)), format!("{}.json", uuid(1))];
    assert_eq!(world.asked(), files);
    // What was missing is asked for again, and the feed is no further back for it.
    world.will(vec![page(&manifest, None), good()]);
    let (again, _) = world.pull(FeedKind::Misp, &batches[1].position).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].position, batches[1].position);
    world.will(vec![Response::new(Body::from("[]"))]);
    assert_eq!(world.pull(FeedKind::Misp, "").await.1, Err(FeedFailure::Garbage));
}

#[tokio::test]
async fn only_addresses_that_an_administrator_meant_are_asked() {
    let world = World::new(FeedLimits::default()).await;
    let check = |url: &str, with_secret: bool| {
        let mut target = Target { url: url.to_owned(), ..world.target(FeedKind::Taxii) };
        target.credential = target.credential.filter(|_| with_secret);
        world.feeds.check(&target).is_ok()
    };
    for (url, without, with) in [
        ("https://feed.example/root/", true, true),
        ("http://feed.example/root/", true, false),
        ("http://127.0.0.1:1/", true, true),
        ("http://[::1]:1/", true, true),
        ("http://localhost:1/", true, false),
        ("ftp://feed.example/", false, false),
        ("file:///etc/passwd", false, false),
        ("https://ada:secret@feed.example/", false, false),
        ("https://ada@feed.example/", false, false),
        ("https://feed.example/?key=1", false, false),
        ("https://feed.example/#x", false, false),
        ("feed.example", false, false),
        ("", false, false),
    ] {
        assert_eq!((check(url, false), check(url, true)), (without, with), "{url}");
    }
}
