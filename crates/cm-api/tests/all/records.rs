//! Records: creating, reading, changing, removing, paging.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use crate::support::Node;

const ROLES: &str = "/api/v1/roles";

fn role(id: &str) -> serde_json::Value {
    json!({ "id": id, "name": id, "labels": { "env": id }, "permissions": ["function:read"] })
}

#[tokio::test]
async fn a_record_is_created_read_changed_and_removed() {
    let node = Node::start().await;
    let created = node.post(ROLES, role("reader")).await.expect(201);
    assert_eq!(created.header("location"), "/api/v1/roles/reader");
    assert_eq!(created.header("etag"), "\"1\"");
    let read = node.get("/api/v1/roles/reader").await.expect(200);
    assert_eq!(read.json(), created.json());
    assert_eq!(read.json()["owner"], "admin");

    let body = json!({ "permissions": ["function:list"] });
    let changed = node.put("/api/v1/roles/reader", body).await.expect(200);
    assert_eq!(changed.header("etag"), "\"2\"");
    let changed = changed.json();
    assert_eq!(changed["permissions"], json!(["function:list"]));
    assert_eq!(changed["labels"], json!({ "env": "reader" }), "labels that were not given stay");

    assert!(node.delete("/api/v1/roles/reader").await.expect(204).body.is_empty());
    assert_eq!(node.get("/api/v1/roles/reader").await.expect(404).code(), "not-found");
}

#[tokio::test]
async fn a_change_on_the_wrong_version_is_refused() {
    let node = Node::start().await;
    node.post(ROLES, role("reader")).await.expect(201);
    let path = "/api/v1/roles/reader";
    let body = json!({ "permissions": [] }).to_string();
    let change = async |condition: &'static str| {
        let headers = [("content-type", "application/json"), ("if-match", condition)];
        node.ask_with(Method::PUT, path, Some(&node.admin), &headers, body.clone()).await
    };
    assert_eq!(change("\"7\"").await.expect(412).code(), "precondition-failed");
    assert_eq!(change("7").await.expect(400).code(), "malformed");
    change("\"1\"").await.expect(200);
    change("\"1\"").await.expect(412);
    change("*").await.expect(200);
    let stale = [("if-match", "\"1\"")];
    node.ask_with(Method::DELETE, path, Some(&node.admin), &stale, "").await.expect(412);
    let known = [("if-none-match", "\"3\"")];
    let unchanged = node.ask_with(Method::GET, path, Some(&node.admin), &known, "").await.expect(304);
    assert!(unchanged.body.is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_said_by_path() {
    let node = Node::start().await;
    let check = async |body: serde_json::Value, status: u16, path: &str| {
        let refused = node.post(ROLES, body).await.expect(status).json();
        assert!(refused.to_string().contains(path), "{refused}");
    };
    check(json!({ "name": "a", "permissions": "all" }), 422, "\"permissions\"").await;
    check(json!({ "name": "a", "permissions": [], "more": 1 }), 422, "\"more\"").await;
    check(json!({ "id": "a/b", "name": "a" }), 422, "\"id\"").await;
    check(json!({ "name": "a", "permissions": ["nonsense"] }), 422, "\"permissions[0]\"").await;
    let admin = Some(node.admin.as_str());
    assert_eq!(node.ask(Method::POST, ROLES, admin, "{").await.expect(400).code(), "malformed");
    let text = node.ask_with(Method::POST, ROLES, admin, &[("content-type", "text/plain")], "{}").await;
    assert_eq!(text.expect(415).code(), "unsupported-media-type");
    let large = Body::from(vec![b' '; (1 << 20) + 1]);
    assert_eq!(node.ask(Method::POST, ROLES, admin, large).await.expect(413).code(), "too-large");
    node.post(ROLES, role("twice")).await.expect(201);
    assert_eq!(node.post(ROLES, role("twice")).await.expect(409).code(), "conflict");
}

#[tokio::test]
async fn a_collection_is_paged_and_selected() {
    let node = Node::start().await;
    for id in ["a", "b", "c", "d", "e"] {
        let policy = json!({ "id": id, "name": id, "labels": { "half": if id < "c" { "1" } else { "2" } } });
        node.post("/api/v1/security-policies", policy).await.expect(201);
    }
    let mut found = Vec::new();
    let mut path = "/api/v1/security-policies?limit=2".to_owned();
    loop {
        let page = node.get(&path).await.expect(200);
        let items = page.items();
        assert!(items.len() <= 2);
        found.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page.next() {
            Some(next) => path = format!("/api/v1/security-policies?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(found, ["a", "b", "c", "d", "e"]);
    let half = node.get("/api/v1/security-policies?selector=half%3D2").await.expect(200).items();
    assert_eq!(half.len(), 3);
    for query in ["limit=x", "nothing=1", "selector=x", "after=zzz"] {
        let refused = node.get(&format!("/api/v1/security-policies?{query}")).await;
        assert!(refused.status.is_client_error(), "{query}: {refused:?}");
    }
}

#[tokio::test]
async fn what_somebody_may_not_see_does_not_exist_for_them() {
    let node = Node::start().await;
    for id in ["seen", "unseen"] {
        let policy = json!({ "id": id, "name": id, "labels": { "env": id } });
        node.post("/api/v1/security-policies", policy).await.expect(201);
    }
    let somebody =
        node.somebody("somebody", &["security-policy:list", "security-policy:read@env=seen"]).await;
    let ask = async |path: &str| node.ask(Method::GET, path, Some(&somebody), "").await;
    let listed = ask("/api/v1/security-policies").await.expect(200).items();
    assert_eq!(listed.len(), 1);
    ask("/api/v1/security-policies/seen").await.expect(200);
    let hidden = ask("/api/v1/security-policies/unseen").await.expect(404).json();
    let absent = ask("/api/v1/security-policies/absent").await.expect(404).json();
    let shape =
        |answer: &serde_json::Value, id: &str| answer["error"]["message"].as_str().unwrap().replace(id, "");
    assert_eq!(shape(&hidden, "unseen"), shape(&absent, "absent"));
}

#[tokio::test]
async fn labels_decide_what_may_be_created() {
    let node = Node::start().await;
    let somebody = node.somebody("somebody", &["bucket:create@env=test"]).await;
    let create = async |name: &str, env: &str| {
        let body = json!({ "name": name, "labels": { "env": env } }).to_string();
        node.ask(Method::POST, "/api/v1/buckets", Some(&somebody), body).await
    };
    create("first", "test").await.expect(201);
    assert_eq!(create("second", "prod").await.expect(403).code(), "forbidden");
}

#[tokio::test]
async fn a_referenced_record_stays() {
    let node = Node::start().await;
    node.post("/api/v1/security-policies", json!({ "id": "p", "name": "p" })).await.expect(201);
    let bucket = json!({ "name": "guarded", "security_policy": "p" });
    node.post("/api/v1/buckets", bucket).await.expect(201);
    let refused = node.delete("/api/v1/security-policies/p").await.expect(409).json();
    assert_eq!(refused["error"]["details"]["by"], json!(["bucket/guarded"]));
    let dangling = json!({ "name": "other", "security_policy": "q" });
    node.post("/api/v1/buckets", dangling).await.expect(422);
}

#[tokio::test]
async fn lists_are_filtered_by_fields() {
    let node = Node::start().await;
    for (id, description) in [("a", "x&y"), ("b", "z"), ("c", "x&y")] {
        let body = json!({ "name": format!("bucket-{id}"), "description": description });
        node.post("/api/v1/buckets", body).await.expect(201);
    }
    let ids = async |query: &str| {
        let items = node.get(&format!("/api/v1/buckets?{query}")).await.expect(200).items();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("filter=description=x%26y").await, ["bucket-a", "bucket-c"]);
    assert_eq!(ids("filter=description%3Dx%26y&limit=1&filter=description=x%26y").await, ["bucket-a"]);
    assert!(ids("filter=description=z&filter=description=x%26y").await.is_empty());
    let many = vec!["filter=description=z"; 17].join("&");
    for refused in ["filter=description", "filter==z", "description=z", many.as_str()] {
        node.get(&format!("/api/v1/buckets?{refused}")).await.expect(400);
    }
    node.get("/api/v1/function-states?filter=state=running&filter=instance_id%3Dx&filter=function_id%3Df")
        .await
        .expect(200);
}
