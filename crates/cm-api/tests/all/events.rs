//! The event log: pages, verification, and following it.

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::support::{Node, PATIENCE};

#[tokio::test]
async fn what_happens_is_listed_and_verifies() {
    let node = Node::start().await;
    node.post("/api/v1/buckets", json!({ "name": "scans" })).await.expect(201);
    let page = node.get("/api/v1/events?verb=bucket.&actor=admin").await.expect(200).items();
    let event = page.last().unwrap();
    assert_eq!(event["verb"], "bucket.created");
    assert_eq!((&event["actor"], &event["resource"]), (&json!("admin"), &json!("bucket/scans")));
    let by_resource = node.get("/api/v1/events?resource=bucket%2Fscans").await.expect(200).items();
    assert_eq!(by_resource, page);
    node.get("/api/v1/events?resource=nonsense").await.expect(400);

    let head = node.get("/api/v1/events/head").await.expect(200).json();
    assert!(head["seq"].as_u64().unwrap() >= event["seq"].as_u64().unwrap());
    let report =
        node.post("/api/v1/events/verify", json!({ "anchor": head["anchor"] })).await.expect(200).json();
    assert_eq!(report["intact"], true, "{report}");
    assert_eq!(report["head"], head);
    let empty = node.ask(Method::POST, "/api/v1/events/verify", Some(&node.admin), Body::empty()).await;
    empty.expect(200);
    let ahead = format!("{}:{}", head["seq"].as_u64().unwrap() + 5, "0".repeat(64));
    let rolled = node.post("/api/v1/events/verify", json!({ "anchor": ahead })).await.expect(200).json();
    assert_eq!(rolled["intact"], false);
    node.post("/api/v1/events/verify", json!({ "anchor": "x" })).await.expect(422);
}

#[tokio::test]
async fn events_are_paged_by_number() {
    let node = Node::start().await;
    for name in ["one", "two", "three"] {
        node.post("/api/v1/buckets", json!({ "name": name })).await.expect(201);
    }
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = node.get(&format!("/api/v1/events?limit=2&after={after}")).await.expect(200);
        seen.extend(page.items().iter().map(|event| event["seq"].as_u64().unwrap()));
        match page.next() {
            Some(next) => after = next.parse().unwrap(),
            None => break,
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    let all = node.get("/api/v1/events?limit=1000").await.expect(200).items();
    assert_eq!(seen.len(), all.len());
}

#[tokio::test]
async fn the_newest_events_come_first_if_asked_for() {
    let node = Node::start().await;
    for name in ["one", "two", "three"] {
        node.post("/api/v1/buckets", json!({ "name": name })).await.expect(201);
    }
    let numbers =
        |page: &[Value]| page.iter().map(|event| event["seq"].as_u64().unwrap()).collect::<Vec<_>>();
    let mut forward = numbers(&node.get("/api/v1/events?limit=1000").await.expect(200).items());
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let page = node.get(&format!("/api/v1/events?limit=2&order=newest-first{after}")).await.expect(200);
        seen.extend(numbers(&page.items()));
        match page.next() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    forward.reverse();
    assert_eq!(seen, forward);
    let last = node.get("/api/v1/events?order=desc&limit=1&verb=bucket.").await.expect(200).items();
    assert_eq!(last[0]["resource"], "bucket/three");
    node.get("/api/v1/events?order=sideways").await.expect(400);
}

/// Reads messages off an open stream.
struct Watch {
    body: Body,
    text: String,
}

impl Watch {
    async fn open(node: &Node, query: &str, last: Option<u64>) -> Watch {
        let mut request = Request::get(format!("/api/v1/events/watch{query}"))
            .header("authorization", format!("Bearer {}", node.admin));
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let response = node.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Watch { body: response.into_body(), text: String::new() }
    }

    /// The id and the data of the next message.
    async fn next(&mut self) -> (u64, Value) {
        loop {
            if let Some((message, rest)) = self.text.clone().split_once("\n\n") {
                self.text = rest.to_owned();
                let field =
                    |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let Some(data) = field("data:") {
                    return (field("id:").unwrap().parse().unwrap(), serde_json::from_str(data).unwrap());
                }
                continue;
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("a message in time");
            let chunk = frame.expect("the stream goes on").unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn a_watch_tells_what_happened_and_what_happens() {
    let node = Node::start().await;
    node.post("/api/v1/buckets", json!({ "name": "one" })).await.expect(201);
    let mut watch = Watch::open(&node, "?verb=bucket.created&actor=admin", None).await;
    let (first, event) = watch.next().await;
    assert_eq!((event["seq"].as_u64(), &event["resource"]), (Some(first), &json!("bucket/one")));
    node.post("/api/v1/buckets", json!({ "name": "two" })).await.expect(201);
    let (second, event) = watch.next().await;
    assert_eq!(event["resource"], "bucket/two");

    let mut resumed = Watch::open(&node, "?verb=bucket.created&actor=admin", Some(first)).await;
    assert_eq!(resumed.next().await.0, second);
}

#[tokio::test]
async fn a_watch_ends_with_the_node() {
    let node = Node::start().await;
    let watch = Watch::open(&node, "", None).await;
    node.tasks.token().cancel();
    tokio::time::timeout(PATIENCE, watch.body.collect()).await.expect("the stream ends").unwrap();
}
