//! Passwords, tokens and API keys, from their making to their end.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use crate::support::Node;

const WHOAMI: &str = "/api/v1/auth/whoami";
const PASSWORD: &str = "correct horse battery staple";

async fn node_with_ada() -> Node {
    let node = Node::start().await;
    node.post("/api/v1/principals", json!({ "id": "ada", "roles": ["analyst"] })).await.expect(201);
    node.put("/api/v1/principals/ada/password", json!({ "password": PASSWORD })).await.expect(204);
    node
}

#[tokio::test]
async fn a_password_buys_a_token_that_ends_with_logout() {
    let node = node_with_ada().await;
    let login = async |password: &str| {
        let body = json!({ "principal": "ada", "password": password });
        node.ask(Method::POST, "/api/v1/auth/login", None, body.to_string()).await
    };
    assert_eq!(login("wrong password").await.expect(401).code(), "unauthenticated");
    let issued = login(PASSWORD).await.expect(200).json();
    assert!(issued["expires_at"].as_str().unwrap().ends_with('Z'));
    let token = issued["token"].as_str().unwrap();
    let me = node.ask(Method::GET, WHOAMI, Some(token), "").await.expect(200).json();
    assert_eq!((&me["principal"], &me["roles"]), (&json!("ada"), &json!(["analyst"])));
    assert_eq!(me["credential"], "token");
    node.ask(Method::POST, "/api/v1/auth/logout", Some(token), "").await.expect(204);
    node.ask(Method::GET, WHOAMI, Some(token), "").await.expect(401);
}

#[tokio::test]
async fn too_many_wrong_passwords_lock_and_say_for_how_long() {
    let node = node_with_ada().await;
    let body = json!({ "principal": "ada", "password": "wrong password" }).to_string();
    for _ in 0..5 {
        node.ask(Method::POST, "/api/v1/auth/login", None, body.clone()).await.expect(401);
    }
    let locked = node.ask(Method::POST, "/api/v1/auth/login", None, body).await.expect(429);
    assert!(locked.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(locked.code(), "too-many");
}

#[tokio::test]
async fn an_api_key_works_until_it_is_revoked_and_so_do_its_tokens() {
    let node = node_with_ada().await;
    let keys = "/api/v1/principals/ada/api-keys";
    let issued = node.post(keys, json!({ "label": "laptop" })).await.expect(201);
    let place = issued.header("location").to_owned();
    let issued = issued.json();
    let key = issued["key"].as_str().unwrap();
    node.ask(Method::GET, WHOAMI, Some(key), "").await.expect(200);
    let short = node.ask(Method::POST, "/api/v1/auth/tokens", Some(key), r#"{"ttl_seconds":60}"#).await;
    let token = short.expect(200).json()["token"].as_str().unwrap().to_owned();
    let default = node.ask_with(Method::POST, "/api/v1/auth/tokens", Some(key), &[], Body::empty()).await;
    default.expect(200);
    node.ask(Method::POST, "/api/v1/auth/tokens", Some(key), r#"{"ttl_seconds":0}"#).await.expect(422);
    node.ask(Method::POST, "/api/v1/auth/logout", Some(key), "").await.expect(422);

    let listed = node.get(keys).await.expect(200);
    let text = String::from_utf8(listed.body.clone()).unwrap();
    assert!(text.contains("laptop") && !text.contains(key.rsplit('_').next().unwrap()), "{text}");
    node.delete(&place).await.expect(204);
    for credential in [key, token.as_str()] {
        node.ask(Method::GET, WHOAMI, Some(credential), "").await.expect(401);
    }
}

#[tokio::test]
async fn principals_are_changed_on_the_right_version_and_by_those_who_hold_enough() {
    let node = node_with_ada().await;
    let path = "/api/v1/principals/ada";
    let read = node.get(path).await.expect(200);
    let etag = read.header("etag").to_owned();
    assert_eq!(read.json()["has_password"], true);
    let admin = Some(node.admin.as_str());
    let body = json!({ "display_name": "Ada" }).to_string();
    let patch = async |condition: &str| {
        let headers = [("content-type", "application/json"), ("if-match", condition)];
        node.ask_with(Method::PATCH, path, admin, &headers, body.clone()).await
    };
    assert_eq!(patch(&etag).await.expect(200).json()["display_name"], "Ada");
    patch(&etag).await.expect(412);

    let clerk = node.somebody("clerk", &["principal:*"]).await;
    let promotion = json!({ "roles": ["admin"] }).to_string();
    let refused = node.ask(Method::PATCH, "/api/v1/principals/clerk", Some(&clerk), promotion).await;
    assert_eq!(refused.expect(403).code(), "forbidden");

    node.delete(path).await.expect(204);
    node.get(path).await.expect(404);
}

#[tokio::test]
async fn decisions_are_explained() {
    let node = node_with_ada().await;
    let ask = async |action: &str, resource: &str| {
        node.post("/api/v1/decisions", json!({ "principal": "ada", "action": action, "resource": resource }))
            .await
    };
    let allowed = ask("list", "function/*").await.expect(200).json();
    assert_eq!(allowed["allowed"], true, "{allowed}");
    let denied = ask("delete", "function/x").await.expect(200).json();
    assert_eq!(denied["allowed"], false);
    assert!(!denied["reasons"].as_array().unwrap().is_empty());
    ask("fly", "function/x").await.expect(422);
    ask("read", "nonsense").await.expect(422);
}

#[tokio::test]
async fn a_login_is_short() {
    let node = Node::start().await;
    let body = json!({ "principal": "ada", "password": "x".repeat(5000) }).to_string();
    let refused = node.ask(Method::POST, "/api/v1/auth/login", None, body).await.expect(413);
    assert_eq!(refused.code(), "too-large");
}
