//! Objects: streams, ranges, conditions.

use axum::body::Body;
use axum::http::Method;
use bytes::Bytes;
use futures::stream;
use serde_json::json;

use crate::support::{Answer, Node};

const PATH: &str = "/api/v1/buckets/scans/objects/a/b%20c.bin";

async fn node_with_bucket() -> Node {
    let node = Node::start().await;
    node.post("/api/v1/buckets", json!({ "name": "scans" })).await.expect(201);
    node
}

async fn put(node: &Node, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    node.ask_with(Method::PUT, path, Some(&node.admin), headers, body).await
}

async fn get(node: &Node, headers: &[(&str, &str)]) -> Answer {
    node.ask_with(Method::GET, PATH, Some(&node.admin), headers, "").await
}

#[tokio::test]
async fn an_object_comes_back_as_it_went() {
    let node = node_with_bucket().await;
    let headers = [("content-type", "image/x"), ("x-object-meta-camera", "7")];
    let chunks =
        stream::iter((0..3000u32).map(|i| Ok::<_, std::io::Error>(Bytes::from(vec![i as u8; 1000]))));
    let stored = put(&node, PATH, &headers, Body::from_stream(chunks)).await.expect(200);
    let view = stored.json();
    assert_eq!((view["key"].as_str(), view["size"].as_u64()), (Some("a/b c.bin"), Some(3_000_000)));

    let read = get(&node, &[]).await.expect(200);
    let expected: Vec<u8> = (0..3000u32).flat_map(|i| vec![i as u8; 1000]).collect();
    assert!(read.body == expected, "other bytes came back");
    assert_eq!(read.header("content-type"), "image/x");
    assert_eq!(read.header("content-length"), "3000000");
    assert_eq!(read.header("x-object-meta-camera"), "7");
    assert_eq!(read.header("x-content-sha256"), view["sha256"].as_str().unwrap());
    assert_eq!(read.header("etag"), format!("\"{}\"", view["etag"].as_str().unwrap()));
    assert_eq!(read.header("x-content-type-options"), "nosniff");

    let head = node.ask(Method::HEAD, PATH, Some(&node.admin), "").await.expect(200);
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-length"), "3000000");
    assert_eq!(head.header("etag"), read.header("etag"));

    let checked = node.post("/api/v1/objects/verify", json!({})).await.expect(200).json();
    assert_eq!((&checked["intact"], &checked["objects"]), (&json!(true), &json!(1)), "{checked}");

    let refused = node.delete("/api/v1/buckets/scans").await.expect(409);
    assert_eq!(refused.code(), "conflict");
    node.delete(PATH).await.expect(204);
    get(&node, &[]).await.expect(404);
    node.delete("/api/v1/buckets/scans").await.expect(204);
}

#[tokio::test]
async fn an_empty_object_is_an_object() {
    let node = node_with_bucket().await;
    put(&node, PATH, &[], "").await.expect(200);
    assert!(get(&node, &[]).await.expect(200).body.is_empty());
    let refused = get(&node, &[("range", "bytes=0-0")]).await.expect(416);
    assert_eq!(refused.header("content-range"), "bytes */0");
}

#[tokio::test]
async fn ranges_are_served() {
    let node = node_with_bucket().await;
    put(&node, PATH, &[], "0123456789").await.expect(200);
    for (range, body, described) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=0-99", "0123456789", "bytes 0-9/10"),
    ] {
        let part = get(&node, &[("range", range)]).await.expect(206);
        assert_eq!(part.body, body.as_bytes(), "{range}");
        assert_eq!(part.header("content-range"), described);
        assert_eq!(part.header("content-length"), body.len().to_string());
    }
    for ignored in ["bytes=4-2", "lines=1-2", "bytes=0-1,3-4"] {
        assert_eq!(get(&node, &[("range", ignored)]).await.expect(200).body, b"0123456789");
    }
    let beyond = get(&node, &[("range", "bytes=10-")]).await.expect(416);
    assert_eq!(beyond.header("content-range"), "bytes */10");
    assert_eq!(beyond.code(), "range-not-satisfiable");

    let etag = get(&node, &[]).await.header("etag").to_owned();
    get(&node, &[("range", "bytes=2-4"), ("if-range", &etag)]).await.expect(206);
    get(&node, &[("range", "bytes=2-4"), ("if-range", "\"other\"")]).await.expect(200);
    get(&node, &[("if-none-match", &etag)]).await.expect(304);
    get(&node, &[("if-match", "\"other\"")]).await.expect(412);
}

#[tokio::test]
async fn a_write_keeps_its_conditions_or_changes_nothing() {
    let node = node_with_bucket().await;
    put(&node, PATH, &[("if-none-match", "*")], "one").await.expect(200);
    put(&node, PATH, &[("if-none-match", "*")], "two").await.expect(412);
    put(&node, PATH, &[("if-match", "\"other\"")], "two").await.expect(412);
    let wrong = "0".repeat(64);
    put(&node, PATH, &[("x-expected-sha256", &wrong)], "two").await.expect(422);
    put(&node, PATH, &[("x-expected-sha256", "zz")], "two").await.expect(400);
    let broken = stream::iter([Ok(Bytes::from_static(b"tw")), Err(std::io::Error::other("gone"))]);
    let refused = put(&node, PATH, &[], Body::from_stream(broken)).await;
    assert!(refused.status.is_client_error(), "{refused:?}");
    let read = get(&node, &[]).await.expect(200);
    assert_eq!(read.body, b"one");
    let etag = read.header("etag").to_owned();
    put(&node, PATH, &[("if-match", &etag)], "two").await.expect(200);
    assert_eq!(get(&node, &[]).await.body, b"two");
}

#[tokio::test]
async fn objects_are_listed_by_prefix_and_page() {
    let node = node_with_bucket().await;
    for key in ["a/1", "a/2", "a/3", "b/1"] {
        put(&node, &format!("/api/v1/buckets/scans/objects/{key}"), &[], key).await.expect(200);
    }
    let keys = |page: &Answer| -> Vec<String> {
        page.items().iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect()
    };
    let first = node.get("/api/v1/buckets/scans/objects?prefix=a%2F&limit=2").await.expect(200);
    assert_eq!(keys(&first), ["a/1", "a/2"]);
    let next = first.next().unwrap();
    let path = format!("/api/v1/buckets/scans/objects?prefix=a%2F&limit=2&after={next}");
    let second = node.get(&path).await.expect(200);
    assert_eq!(keys(&second), ["a/3"]);
    assert_eq!(second.next(), None);
    node.get("/api/v1/buckets/absent/objects").await.expect(404);
    put(&node, "/api/v1/buckets/absent/objects/x", &[], "x").await.expect(404);
}

#[tokio::test]
async fn conditions_of_every_form_are_kept() {
    let node = node_with_bucket().await;
    let delete = async |headers: &[(&str, &str)]| {
        node.ask_with(Method::DELETE, PATH, Some(&node.admin), headers, "").await
    };
    put(&node, PATH, &[("if-match", "*")], "none").await.expect(412);
    delete(&[("if-match", "*")]).await.expect(412);
    put(&node, PATH, &[("if-none-match", "\"other\"")], "one").await.expect(200);
    let etag = get(&node, &[]).await.expect(200).header("etag").to_owned();
    let weak = format!("W/{etag}");
    let listed = format!("\"other\", {etag}");
    for refused in [
        ("if-none-match", etag.as_str()),
        ("if-none-match", &weak),
        ("if-none-match", &listed),
        ("if-match", "\"other\", \"another\""),
        ("if-match", &weak),
    ] {
        put(&node, PATH, &[refused], "two").await.expect(412);
        delete(&[refused]).await.expect(412);
    }
    put(&node, PATH, &[("if-match", "nonsense")], "two").await.expect(400);
    assert_eq!(get(&node, &[]).await.body, b"one");

    put(&node, PATH, &[("if-match", "*")], "two").await.expect(200);
    let listed = format!("\"other\", {}", get(&node, &[]).await.header("etag"));
    put(&node, PATH, &[("if-match", &listed)], "three").await.expect(200);
    put(&node, PATH, &[("if-none-match", &listed)], "four").await.expect(200);
    assert_eq!(get(&node, &[]).await.body, b"four");
    delete(&[("if-match", "*")]).await.expect(204);
}

#[tokio::test]
async fn a_range_counts_only_once_the_conditions_hold() {
    let node = node_with_bucket().await;
    put(&node, PATH, &[], "0123456789").await.expect(200);
    let etag = get(&node, &[]).await.header("etag").to_owned();
    let beyond = ("range", "bytes=10-");
    assert_eq!(get(&node, &[beyond, ("if-range", "\"other\"")]).await.expect(200).body, b"0123456789");
    get(&node, &[beyond, ("if-range", &etag)]).await.expect(416);
    get(&node, &[beyond, ("if-none-match", &etag)]).await.expect(304);
    get(&node, &[beyond, ("if-match", "\"other\"")]).await.expect(412);
}

#[tokio::test]
async fn what_a_quota_leaves_no_room_for_is_refused() {
    let node = node_with_bucket().await;
    let quota = json!({ "bytes_max": 10, "objects_max": 1 });
    node.put("/api/v1/buckets/scans/quota", quota).await.expect(200);
    let refused = put(&node, PATH, &[], "eleven bytes").await.expect(507);
    assert_eq!(refused.code(), "quota-exceeded");
    put(&node, PATH, &[], "ten bytes.").await.expect(200);
    let second = put(&node, "/api/v1/buckets/scans/objects/second", &[], "").await.expect(507);
    assert_eq!(second.code(), "quota-exceeded");
    let found = node.get("/api/v1/buckets/scans/quota").await.expect(200).json();
    assert_eq!(found, json!({ "bytes_max": 10, "objects_max": 1, "bytes": 10, "objects": 1 }));
}
