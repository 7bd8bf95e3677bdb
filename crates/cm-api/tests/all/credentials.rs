//! Passwords, tokens and API keys, from their making to their end.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use cm_types::TrustDomain;
use serde_json::{Value, json};

use crate::support::{Answer, Node};

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
    // Behind its id, which is listed; the secret may have the separator in it.
    let secret = key.splitn(3, '_').nth(2).unwrap();
    assert!(text.contains("laptop") && secret.len() > 20 && !text.contains(secret), "{text}");
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

#[tokio::test]
async fn a_second_factor_is_enrolled_asked_for_and_known_to_policies() {
    let node = Node::start().await;
    node.post("/api/v1/principals", json!({ "id": "ada" })).await.expect(201);
    let password = json!({ "password": "correct horse battery" });
    node.put("/api/v1/principals/ada/password", password).await.expect(204);
    let login = async |code: Option<&str>| {
        let body = json!({ "principal": "ada", "password": "correct horse battery", "code": code });
        node.ask(Method::POST, "/api/v1/auth/login", None, body.to_string()).await
    };
    let token = login(None).await.expect(200).json()["token"].as_str().unwrap().to_owned();
    let ask = async |method: Method, path: &str, body: Value| {
        node.ask(method, &format!("/api/v1/auth/mfa{path}"), Some(&token), body.to_string()).await
    };
    ask(Method::POST, "/confirm", json!({ "code": "000000" })).await.expect(404);
    // Neither an API key nor a token made of another is what the factor makes better.
    let derived = node.ask(Method::POST, "/api/v1/auth/tokens", Some(&token), "{}").await.expect(200).json();
    for other in [node.admin.as_str(), derived["token"].as_str().unwrap()] {
        for path in ["/api/v1/auth/mfa", "/api/v1/auth/mfa/confirm"] {
            let code = json!({ "code": "000000" }).to_string();
            node.ask(Method::POST, path, Some(other), code).await.expect(403);
        }
    }
    let enrolment = ask(Method::POST, "", json!({})).await.expect(200).json();
    let url = enrolment["url"].as_str().unwrap();
    assert!(url.starts_with("otpauth://totp/CryptoMesh:default%2Fada?secret="), "{url}");
    let device = totp_rs::Builder::new()
        .with_algorithm(totp_rs::Algorithm::SHA1)
        .with_secret(totp_rs::Secret::try_from_base32(enrolment["secret"].as_str().unwrap()).unwrap())
        .build()
        .unwrap();
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    ask(Method::POST, "/confirm", json!({ "code": "not a code" })).await.expect(422);
    let code = device.generate(now()).to_string();
    let codes = ask(Method::POST, "/confirm", json!({ "code": code })).await.expect(200).json();
    let codes = codes["recovery_codes"].as_array().unwrap().clone();
    assert_eq!(codes.len(), 10);
    ask(Method::POST, "", json!({})).await.expect(409);

    let refused = login(None).await.expect(401);
    assert_eq!(refused.json()["error"]["details"]["second_factor"], "required", "{refused:?}");
    let refused = login(Some("000000")).await.expect(401);
    assert!(refused.json()["error"]["details"]["second_factor"].is_null());
    let second = login(codes[0].as_str()).await.expect(200).json();
    login(codes[0].as_str()).await.expect(401);
    let status = async |token: Option<&str>| {
        node.ask(Method::GET, "/api/v1/auth/mfa", token, "").await.expect(200).json()
    };
    let (before, after) = (status(Some(&token)).await, status(second["token"].as_str()).await);
    assert_eq!(
        (&before["enabled"], &before["used"], &after["used"]),
        (&json!(true), &json!(false), &json!(true))
    );
    assert_eq!(after["recovery_left"], 9);

    // Only who showed a code may, where a policy says so.
    let source = "pdl 1\nallow user ada to list on function when mfa\n";
    node.post("/api/v1/permission-policies", json!({ "id": "mfa", "name": "mfa", "source": source }))
        .await
        .expect(201);
    let list = async |token: Option<&str>| node.ask(Method::GET, "/api/v1/functions", token, "").await.status;
    assert_eq!(list(Some(&token)).await, StatusCode::FORBIDDEN);
    assert_eq!(list(second["token"].as_str()).await, StatusCode::OK);

    // Whoever administers does not help themselves, and helps who lost the device.
    let admin = json!({ "roles": ["admin"] }).to_string();
    node.ask(Method::PATCH, "/api/v1/principals/ada", Some(&node.admin), admin).await.expect(200);
    node.ask(Method::DELETE, "/api/v1/principals/ada/mfa", Some(&token), "").await.expect(422);
    login(None).await.expect(401);
    let stranger = node.somebody("stranger", &["principal:read"]).await;
    let reset = "/api/v1/principals/ada/mfa";
    assert_eq!(node.ask(Method::DELETE, reset, Some(&stranger), "").await.status, StatusCode::FORBIDDEN);
    node.delete(reset).await.expect(204);
    login(None).await.expect(200);
}

#[tokio::test]
async fn ones_own_password_takes_the_old_one() {
    let node = Node::start().await;
    let ada = node.somebody("ada", &[]).await;
    let path = "/api/v1/principals/ada/password";
    let set =
        async |token: &str, body: Value| node.ask(Method::PUT, path, Some(token), body.to_string()).await;
    // A first one is not of her own making: an API key would become a password, and by that a second factor.
    let first = set(&ada, json!({ "password": PASSWORD })).await.expect(403).json();
    assert_eq!(first["error"]["details"]["old_password"], "required");
    set(&ada, json!({ "password": PASSWORD, "old_password": "guess guess guess" })).await.expect(403);
    set(&node.admin, json!({ "password": PASSWORD })).await.expect(204);
    set(&ada, json!({ "password": "another horse battery" })).await.expect(403);
    let wrong = json!({ "password": "another horse battery", "old_password": "guess guess guess" });
    let refused = set(&ada, wrong.clone()).await.expect(403).json();
    assert!(refused["error"]["details"].get("old_password").is_none(), "{refused}");
    set(&ada, json!({ "password": "another horse battery", "old_password": PASSWORD })).await.expect(204);
    let login = async |password: &str| {
        let body = json!({ "principal": "ada", "password": password }).to_string();
        node.ask(Method::POST, "/api/v1/auth/login", None, body).await
    };
    login(PASSWORD).await.expect(401);
    login("another horse battery").await.expect(200);
    // Guessing it is locked as guessing at the login is.
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(set(&ada, wrong.clone()).await.status.as_u16());
    }
    assert!(answers.contains(&429), "{answers:?}");
    // Who may grant to herself needs none.
    set_own(&node).await;
}

async fn set_own(node: &Node) {
    let own = json!({ "password": PASSWORD });
    node.put("/api/v1/principals/admin/password", own.clone()).await.expect(204);
    node.put("/api/v1/principals/admin/password", own).await.expect(204);
}

#[tokio::test]
async fn what_breaks_a_rule_is_told_which_and_where() {
    let node = node_with_ada().await;
    node.kernel.identity().use_trust_domain(TrustDomain::parse("mesh.example").unwrap()).unwrap();
    let check = |refused: Answer, path: &str, words: &str| {
        let refused = refused.expect(422);
        assert_eq!(refused.code(), "invalid");
        let error = refused.json()["error"].clone();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words), "{error}");
        let field = &error["details"]["fields"][0];
        assert_eq!((&field["path"], &field["limit"]), (&json!(path), &json!(false)), "{error}");
        let told = field["message"].as_str().unwrap();
        assert!(message.ends_with(told) && !told.starts_with(&format!("{path}: ")), "{error}");
    };
    let ada = "/api/v1/principals/ada";
    let short = node.put(&format!("{ada}/password"), json!({ "password": "short" })).await;
    check(short, "password", "a password must have");
    let nameless = node.post("/api/v1/principals", json!({ "id": "bob", "display_name": "" })).await;
    check(nameless, "display_name", "display_name must have 1 to");
    let label = node.post(&format!("{ada}/api-keys"), json!({ "label": "two\nlines" })).await;
    check(label, "label", "no control characters");
    let long = node.post("/api/v1/auth/tokens", json!({ "ttl_seconds": 100_000_000 })).await;
    check(long, "ttl_seconds", "ttl_seconds must be 1 to");
    let long = node.put(&format!("{ada}/workload"), json!({ "ttl_seconds_max": 100_000_000 })).await;
    check(long, "ttl_seconds_max", "must be 1 to 86400");
    node.put(&format!("{ada}/workload"), json!({})).await.expect(200);
    let nobody = node.post(&format!("{ada}/svids/jwt"), json!({ "audience": [] })).await;
    check(nobody, "audience", "audience: expected 1 to");
    let bundle = node.put("/api/v1/trust-domains/two.example", json!({ "bundle": {} })).await;
    check(bundle, "bundle", "bundle: ");
    let bundle = node.get("/.well-known/spiffe-bundle").await.expect(200).json();
    let own = node.put("/api/v1/trust-domains/mesh.example", json!({ "bundle": bundle })).await;
    check(own, "domain", "domain: ");
    let provider = json!({ "issuer": "nowhere", "audience": "mesh", "algorithms": ["RS256"], "claim": "groups", "roles": {} });
    let provider = node.put("/api/v1/tenants/default/providers/corp", provider).await;
    check(provider, "issuer", "issuer: ");
}
