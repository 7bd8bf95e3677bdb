use axum::http::{Method, StatusCode};
use cm_kernel::identity::{PasskeyChallenge, RelyingParty};
use serde_json::{Value, json};

use crate::device::{Device, ORIGIN};
use crate::support::{Answer, Node};

const PASSWORD: &str = "correct horse battery";

/// A node that browsers know, on which Ada has a password.
async fn node_with_ada() -> Node {
    let node = Node::start().await;
    let party = RelyingParty::new(None, &[ORIGIN.to_owned()]).unwrap();
    node.kernel.identity().use_relying_party(std::sync::Arc::new(party)).unwrap();
    node.post("/api/v1/principals", json!({ "id": "ada" })).await.expect(201);
    node.put("/api/v1/principals/ada/password", json!({ "password": PASSWORD })).await.expect(204);
    node
}

async fn by_password(node: &Node) -> String {
    let body = json!({ "principal": "ada", "password": PASSWORD }).to_string();
    token(&node.ask(Method::POST, "/api/v1/auth/login", None, body).await.expect(200))
}

fn token(answer: &Answer) -> String {
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn challenge(answer: &Answer) -> PasskeyChallenge {
    let body = answer.json();
    assert_eq!(body["origins"], json!([ORIGIN]));
    let state = body["state"].as_str().unwrap().to_owned();
    PasskeyChallenge { state, options: body["options"].clone(), origins: Vec::new() }
}

async fn finish(node: &Node, path: &str, token: Option<&str>, body: Value) -> Answer {
    node.ask(Method::POST, &format!("/api/v1/auth/{path}/finish"), token, body.to_string()).await
}

async fn register(node: &Node, token: &str, device: &mut Device) -> Answer {
    let begun = node.ask(Method::POST, "/api/v1/auth/passkeys", Some(token), "").await.expect(200);
    let challenge = challenge(&begun);
    // As browsers add what nobody reads.
    let mut credential = device.make(&challenge);
    credential["authenticatorAttachment"] = "platform".into();
    credential["response"]["transports"] = json!(["internal", "something new"]);
    let body = json!({ "state": challenge.state, "label": "laptop", "credential": credential });
    finish(node, "passkeys", Some(token), body).await
}

async fn sign_in(node: &Node, device: &Device) -> Answer {
    let begun = node.ask(Method::POST, "/api/v1/auth/login/passkey", None, "").await.expect(200);
    let challenge = challenge(&begun);
    let body = json!({ "state": challenge.state, "credential": device.sign(&challenge) });
    finish(node, "login/passkey", None, body).await
}

#[tokio::test]
async fn a_passkey_is_registered_logs_in_and_is_known_to_policies() {
    let (node, mut device) = (node_with_ada().await, Device::new());
    let weak = by_password(&node).await;
    let passkey = register(&node, &weak, &mut device).await.expect(201).json();
    let strong = token(&sign_in(&node, &device).await.expect(200));
    let list = async |token: &str| {
        node.ask(Method::GET, "/api/v1/auth/passkeys", Some(token), "").await.expect(200).json()
    };
    let (before, after) = (list(&weak).await, list(&strong).await);
    assert_eq!((&before["used"], &after["used"], &after["max"]), (&json!(false), &json!(true), &json!(16)));
    assert_eq!(after["passkeys"][0]["id"], passkey["id"]);
    assert!(after["passkeys"][0]["last_used_at"].is_string(), "{after}");

    let source = "pdl 1\nallow user ada to list on function when mfa\n";
    node.post("/api/v1/permission-policies", json!({ "id": "mfa", "name": "mfa", "source": source }))
        .await
        .expect(201);
    let functions =
        async |token: &str| node.ask(Method::GET, "/api/v1/functions", Some(token), "").await.status;
    assert_eq!(functions(&weak).await, StatusCode::FORBIDDEN);
    assert_eq!(functions(&strong).await, StatusCode::OK);

    // Whoever has the password alone undoes nothing, and enrols no device for codes.
    let place = format!("/api/v1/auth/passkeys/{}", passkey["id"].as_str().unwrap());
    let ask = async |method: Method, path: &str, token: &str, body: &str| {
        node.ask(method, path, Some(token), body.to_owned()).await
    };
    let label = r#"{"label":"blue key"}"#;
    ask(Method::PATCH, &place, &weak, label).await.expect(403);
    ask(Method::DELETE, &place, &weak, "").await.expect(403);
    ask(Method::POST, "/api/v1/auth/passkeys", &weak, "").await.expect(403);
    ask(Method::POST, "/api/v1/auth/mfa", &weak, "{}").await.expect(403);
    ask(Method::POST, "/api/v1/auth/mfa", &strong, "{}").await.expect(200);
    assert_eq!(ask(Method::PATCH, &place, &strong, label).await.expect(200).json()["label"], "blue key");
    ask(Method::DELETE, "/api/v1/auth/passkeys/nothing", &strong, "").await.expect(404);
    ask(Method::DELETE, &place, &strong, "").await.expect(204);
    assert_eq!(functions(&strong).await, StatusCode::UNAUTHORIZED, "its session ends with it");
    sign_in(&node, &device).await.expect(401);
}

#[tokio::test]
async fn who_lost_them_is_helped_and_nobody_helps_themselves() {
    let (node, mut device) = (node_with_ada().await, Device::new());
    register(&node, &by_password(&node).await, &mut device).await.expect(201);
    let reset = "/api/v1/principals/ada/passkeys";
    let stranger = node.somebody("stranger", &["principal:read"]).await;
    assert_eq!(node.ask(Method::DELETE, reset, Some(&stranger), "").await.status, StatusCode::FORBIDDEN);
    let admin = json!({ "roles": ["admin"] }).to_string();
    node.ask(Method::PATCH, "/api/v1/principals/ada", Some(&node.admin), admin).await.expect(200);
    let weak = by_password(&node).await;
    node.ask(Method::DELETE, reset, Some(&weak), "").await.expect(403);
    node.delete(reset).await.expect(204);
    node.delete(reset).await.expect(404);
    sign_in(&node, &device).await.expect(401);
}

#[tokio::test]
async fn what_is_wrong_is_said_to_owners_and_not_to_strangers() {
    let (node, mut device) = (node_with_ada().await, Device::new());
    let weak = by_password(&node).await;
    device.origin = "https://evil.example".to_owned();
    let refused = register(&node, &weak, &mut device).await.expect(422);
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("identity.passkeys.origins"), "{message}");
    let refused = sign_in(&node, &device).await.expect(401).json();
    assert_eq!(refused["error"]["message"], "the credential is not valid");
    // Keys of programs register nothing.
    let begun = node.ask(Method::POST, "/api/v1/auth/passkeys", Some(&node.admin), "").await.expect(403);
    assert!(begun.json()["error"]["message"].as_str().unwrap().contains("password or a passkey"));
    // Bodies have an end.
    let long = json!({ "state": "x".repeat(20 << 10) });
    finish(&node, "login/passkey", None, long).await.expect(413);
    let long = json!({ "state": "x".repeat(70 << 10) });
    finish(&node, "passkeys", Some(&weak), long).await.expect(413);
}

#[tokio::test]
async fn a_node_without_passkeys_says_which_setting_is_missing() {
    let node = Node::start().await;
    let refused = node.ask(Method::POST, "/api/v1/auth/login/passkey", None, "").await.expect(409);
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("identity.passkeys.origins"), "{message}");
}

async fn change_password(node: &Node, token: &str, (old, new): (&str, &str), code: Option<&str>) -> Answer {
    let body = json!({ "password": new, "old_password": old, "code": code }).to_string();
    node.ask(Method::PUT, "/api/v1/principals/ada/password", Some(token), body).await
}

#[tokio::test]
async fn a_new_password_ends_passkeys_that_somebody_else_registered() {
    let (node, mut thief) = (node_with_ada().await, Device::new());
    register(&node, &by_password(&node).await, &mut thief).await.expect(201);
    let ada = by_password(&node).await;
    let changed = change_password(&node, &ada, (PASSWORD, "another horse"), None).await.expect(200).json();
    assert_eq!(changed, json!({ "passkeys_removed": 0, "passkeys_closed": 1 }));
    sign_in(&node, &thief).await.expect(401);
    // The password alone gets nobody past `mfa` so: who may grant helps.
    let body = json!({ "principal": "ada", "password": "another horse" }).to_string();
    let weak = token(&node.ask(Method::POST, "/api/v1/auth/login", None, body).await.expect(200));
    let own = node.ask(Method::GET, "/api/v1/auth/passkeys", Some(&weak), "").await.expect(200).json();
    assert_eq!(own["passkeys"][0]["closed"], true);
    node.ask(Method::POST, "/api/v1/auth/passkeys", Some(&weak), "").await.expect(403);
    node.delete("/api/v1/principals/ada/passkeys").await.expect(204);
    let mut own = Device::new();
    register(&node, &weak, &mut own).await.expect(201);
    // Whoever began with a passkey lately has shown it.
    let strong = token(&sign_in(&node, &own).await.expect(200));
    let changed = change_password(&node, &strong, ("another horse", PASSWORD), None).await.expect(200).json();
    assert_eq!(changed, json!({ "passkeys_removed": 1, "passkeys_closed": 0 }));
    let again = by_password(&node).await;
    register(&node, &again, &mut Device::new()).await.expect(201);
}

#[tokio::test]
async fn a_code_with_the_old_password_removes_passkeys() {
    let (node, mut thief) = (node_with_ada().await, Device::new());
    let ada = by_password(&node).await;
    let ask = async |path: &str, body: Value| {
        let path = format!("/api/v1/auth/mfa{path}");
        node.ask(Method::POST, &path, Some(&ada), body.to_string()).await.expect(200).json()
    };
    let secret = ask("", json!({})).await["secret"].as_str().unwrap().to_owned();
    let device = totp_rs::Builder::new()
        .with_algorithm(totp_rs::Algorithm::SHA1)
        .with_secret(totp_rs::Secret::try_from_base32(secret).unwrap())
        .build()
        .unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let codes = ask("/confirm", json!({ "code": device.generate(now).to_string() })).await;
    let code = |at: usize| codes["recovery_codes"][at].as_str().unwrap().to_owned();
    let body = json!({ "principal": "ada", "password": PASSWORD, "code": code(0) }).to_string();
    let strong = token(&node.ask(Method::POST, "/api/v1/auth/login", None, body).await.expect(200));
    register(&node, &strong, &mut thief).await.expect(201);
    change_password(&node, &strong, (PASSWORD, "another horse"), None).await.expect(401);
    let changed = change_password(&node, &strong, (PASSWORD, "another horse"), Some(&code(1))).await;
    assert_eq!(changed.expect(200).json()["passkeys_removed"], 1);
    sign_in(&node, &thief).await.expect(401);
}
