//! Uploads in parts.

use axum::http::Method;
use serde_json::json;

use crate::support::{Answer, Node};

const UPLOADS: &str = "/api/v1/buckets/scans/uploads";
const MIB: usize = 1 << 20;

async fn node_with_bucket() -> Node {
    let node = Node::start().await;
    node.post("/api/v1/buckets", json!({ "name": "scans" })).await.expect(201);
    node
}

/// Begins an upload: its path.
async fn begin(node: &Node, key: &str, headers: &[(&str, &str)]) -> String {
    let path = format!("{UPLOADS}?key={key}");
    let begun = node.ask_with(Method::POST, &path, Some(&node.admin), headers, "").await.expect(201).json();
    assert!(begun["expires_at"].as_str().unwrap() > begun["created_at"].as_str().unwrap(), "{begun}");
    format!("{UPLOADS}/{}/{key}", begun["id"].as_str().unwrap())
}

async fn send(node: &Node, path: &str, number: u32, headers: &[(&str, &str)], bytes: Vec<u8>) -> Answer {
    let path = format!("{path}?part={number}");
    node.ask_with(Method::PUT, &path, Some(&node.admin), headers, bytes).await
}

#[tokio::test]
async fn parts_become_an_object_in_the_order_of_their_numbers() {
    let node = node_with_bucket().await;
    let headers = [("content-type", "image/x"), ("x-object-meta-camera", "7")];
    let path = begin(&node, "a/b", &headers).await;
    let last = send(&node, &path, 2, &[], b"end".to_vec()).await.expect(200).json();
    let wrong = "0".repeat(64);
    send(&node, &path, 1, &[("x-expected-sha256", &wrong)], vec![7; 5 * MIB]).await.expect(422);
    let first = send(&node, &path, 1, &[], vec![7; 5 * MIB]).await.expect(200).json();
    assert_eq!((&first["number"], &first["size"]), (&json!(1), &json!(5 * MIB)));
    assert_eq!(first["sha256"].as_str().unwrap().len(), 64);
    for number in [0, 10_001, 70_000] {
        send(&node, &path, number, &[], b"x".to_vec()).await.expect(400);
    }
    let page = node.get(&format!("{path}?limit=1")).await.expect(200);
    assert_eq!((page.items(), page.next()), (vec![first.clone()], Some("1")));
    let page = node.get(&format!("{path}?limit=1&after=1")).await.expect(200);
    assert_eq!((page.items(), page.next()), (vec![last.clone()], None));

    let named = |part: &serde_json::Value| json!({"number": part["number"], "etag": part["etag"]});
    let parts = json!([named(&first), named(&last)]);
    let body = json!({ "parts": [named(&last), named(&first)] });
    node.post(&path, body).await.expect(422);
    node.post(&path, json!({ "parts": parts, "sha256": wrong })).await.expect(422);
    node.post(&path, json!({ "parts": [] })).await.expect(422);
    node.get("/api/v1/buckets/scans/objects/a/b").await.expect(404);
    let made = node.post(&path, json!({ "parts": parts })).await.expect(200).json();
    assert_eq!((&made["size"], &made["content_type"]), (&json!(5 * MIB + 3), &json!("image/x")));
    let read = node.get("/api/v1/buckets/scans/objects/a/b").await.expect(200);
    assert!(read.body.starts_with(&[7; 9]) && read.body.ends_with(b"\x07end"));
    assert_eq!(read.header("x-object-meta-camera"), "7");
    // It has ended. Who missed the answer is given it again, for the same parts.
    node.get(&path).await.expect(404);
    assert_eq!(node.post(&path, json!({ "parts": parts })).await.expect(200).json(), made);
    node.post(&path, json!({ "parts": [named(&first)] })).await.expect(404);
    send(&node, &path, 1, &[], b"x".to_vec()).await.expect(404);
}

#[tokio::test]
async fn uploads_are_listed_and_aborted() {
    let node = node_with_bucket().await;
    let (first, second) = (begin(&node, "a/1", &[]).await, begin(&node, "b/1", &[]).await);
    send(&node, &first, 1, &[], b"bytes".to_vec()).await.expect(200);
    let page = node.get(&format!("{UPLOADS}?limit=1")).await.expect(200);
    assert_eq!(page.items()[0]["key"], "a/1");
    let next = page.next().unwrap().to_owned();
    let page = node.get(&format!("{UPLOADS}?limit=1&after={next}")).await.expect(200);
    assert_eq!((&page.items()[0]["key"], page.next()), (&json!("b/1"), None));
    let of_prefix = node.get(&format!("{UPLOADS}?prefix=b")).await.expect(200);
    assert_eq!(of_prefix.items().len(), 1);
    node.get(&format!("{UPLOADS}?after=x")).await.expect(400);
    node.delete(&first).await.expect(204);
    node.delete(&first).await.expect(404);
    // Another key has no such upload.
    node.delete(&second.replace("/b/1", "/b/2")).await.expect(404);
    node.delete(&second).await.expect(204);
    assert!(node.get(UPLOADS).await.expect(200).items().is_empty());
    let refused = node.ask(Method::POST, UPLOADS, Some(&node.admin), "").await;
    refused.expect(400);
    node.ask(Method::POST, "/api/v1/buckets/absent/uploads?key=x", Some(&node.admin), "").await.expect(404);
}

#[tokio::test]
async fn an_upload_is_completed_under_the_conditions_of_a_write() {
    let node = node_with_bucket().await;
    let path = begin(&node, "k", &[]).await;
    let part = send(&node, &path, 1, &[], b"one".to_vec()).await.expect(200).json();
    let body = json!({ "parts": [{"number": 1, "etag": part["etag"]}] }).to_string();
    let complete = async |headers: &[(&str, &str)]| {
        let headers = [&[("content-type", "application/json")], headers].concat();
        node.ask_with(Method::POST, &path, Some(&node.admin), &headers, body.clone()).await
    };
    complete(&[("if-match", "*")]).await.expect(412);
    complete(&[("if-none-match", "*")]).await.expect(200);
}

#[tokio::test]
async fn who_may_only_read_neither_begins_nor_sees_parts() {
    let node = node_with_bucket().await;
    let path = begin(&node, "k", &[]).await;
    let reader = node.somebody("reader", &["object:read", "bucket:list", "bucket:read"]).await;
    for (method, path) in [
        (Method::POST, format!("{UPLOADS}?key=k")),
        (Method::GET, path.clone()),
        (Method::PUT, format!("{path}?part=1")),
        (Method::POST, path.clone()),
        (Method::DELETE, path.clone()),
    ] {
        node.ask(method, &path, Some(&reader), "").await.expect(403);
    }
}
