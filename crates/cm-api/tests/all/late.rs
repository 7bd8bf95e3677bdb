//! Bodies that end after their sender has lost what it had.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::support::{Answer, Node, PATIENCE, late};

/// Sends a body, does `meanwhile` once the handler waits for its end, and lets it end.
async fn check(
    node: &Node,
    (method, path): (Method, &str),
    key: &str,
    body: String,
    meanwhile: impl Future<Output = ()>,
) -> Answer {
    let (body, has_begun, finish) = late(body);
    let asked = node.ask(method, path, Some(key), body);
    let meddling = async {
        tokio::time::timeout(PATIENCE, has_begun).await.expect("the body is read").unwrap();
        meanwhile.await;
        finish.send(()).unwrap();
    };
    tokio::join!(asked, meddling).0
}

/// The operations, by path and body, whose effect must not happen.
fn operations() -> Vec<(Method, &'static str, String)> {
    let text = |value: serde_json::Value| value.to_string();
    vec![
        (Method::POST, "/api/v1/roles", text(json!({ "id": "late", "name": "late" }))),
        (Method::PUT, "/api/v1/roles/r", text(json!({ "name": "late" }))),
        (Method::POST, "/api/v1/buckets", text(json!({ "name": "late" }))),
        (Method::PUT, "/api/v1/buckets/b/objects/late", "late".to_owned()),
        (Method::POST, "/api/v1/principals", text(json!({ "id": "late", "roles": [] }))),
        (Method::PATCH, "/api/v1/principals/p", text(json!({ "display_name": "late" }))),
        (Method::PUT, "/api/v1/principals/p/password", text(json!({ "password": "late late late late" }))),
        (Method::POST, "/api/v1/principals/p/api-keys", text(json!({ "label": "late" }))),
        (Method::POST, "/api/v1/auth/tokens", text(json!({ "ttl_seconds": 60 }))),
        (Method::POST, "/api/v1/events/verify", text(json!({}))),
        (Method::POST, "/api/v1/instances", text(json!({ "function": "f", "identities": [] }))),
        (
            Method::POST,
            "/api/v1/decisions",
            text(json!({ "principal": "p", "action": "read", "resource": "function/x" })),
        ),
    ]
}

async fn furnished() -> Node {
    let node = Node::start().await;
    node.post("/api/v1/roles", json!({ "id": "r", "name": "r" })).await.expect(201);
    node.post("/api/v1/principals", json!({ "id": "p", "roles": [] })).await.expect(201);
    node.post("/api/v1/buckets", json!({ "name": "b" })).await.expect(201);
    node
}

async fn expect_nothing_late(node: &Node) {
    for path in ["roles/late", "buckets/late", "principals/late", "buckets/b/objects/late"] {
        node.get(&format!("/api/v1/{path}")).await.expect(404);
    }
    assert_eq!(node.get("/api/v1/roles/r").await.json()["name"], "r");
    let principal = node.get("/api/v1/principals/p").await.json();
    assert_ne!(principal["display_name"], "late");
    assert_eq!(principal["has_password"], false);
    assert_eq!(node.get("/api/v1/principals/p/api-keys").await.json(), json!([]));
}

#[tokio::test]
async fn a_revoked_credential_changes_nothing_however_late_its_body_ends() {
    let node = furnished().await;
    for (at, (method, path, body)) in operations().into_iter().enumerate() {
        let name = format!("somebody-{at}");
        let key = node.somebody(&name, &["*:*"]).await;
        let revoke = async {
            node.delete(&format!("/api/v1/principals/{name}")).await.expect(204);
        };
        let answer = check(&node, (method, path), &key, body, revoke).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}: {answer:?}");
        assert_eq!(answer.code(), "unauthenticated");
    }
    expect_nothing_late(&node).await;
}

#[tokio::test]
async fn a_permission_that_was_taken_changes_nothing_however_late_the_body_ends() {
    let node = furnished().await;
    for (at, (method, path, body)) in operations().into_iter().enumerate() {
        if path == "/api/v1/auth/tokens" {
            continue;
        }
        let name = format!("somebody-{at}");
        let key = node.somebody(&name, &["*:*"]).await;
        let demote = async {
            let change = json!({ "roles": [] }).to_string();
            let path = format!("/api/v1/principals/{name}");
            node.ask(Method::PATCH, &path, Some(&node.admin), change).await.expect(200);
        };
        let answer = check(&node, (method, path), &key, body, demote).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}: {answer:?}");
    }
    expect_nothing_late(&node).await;
}
