//! A tenant sees nothing of another: proven for every operation of the document, which is made of the routes.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use cm_types::TrustDomain;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::support::{Node, PATIENCE};

/// Stands in everything that the first tenant has, and must not be in any answer to the other.
const MARK: &str = "secret-of-the-first-tenant";
/// What the other tenant's administrator may do with the whole node: nothing of another tenant's.
const ENDLESS: &[&str] = &["watch", "stream"];

/// Operations whose answers change by themselves, so that they are not compared: they tell the time, count what was asked, or
/// are about the node and not about a tenant's things.
const MOVING: &[&str] = &[
    "list_events",
    "read_events_head",
    "read_node",
    "read_network",
    "read_intel_status",
    "list_tenants",
    "list_signing_keys",
    "read_storage_network",
    "whoami",
    "list_uploads",
];

/// Things of the first tenant, of every kind that a request can make, each under the id `x`, which is what paths are filled in with.
async fn furnished() -> Node {
    let node = Node::start().await;
    node.kernel.identity().use_trust_domain(TrustDomain::parse("mesh.example").unwrap()).unwrap();
    let described = json!({ "id": "x", "name": "x", "description": MARK });
    let with = |fields: Value| {
        let mut body = described.clone();
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    let labelled = |fields: Value| {
        let mut body = json!({ "id": "x", "name": "x", "labels": { "mark": MARK } });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    let storage = json!({ "capacity": "1GB", "source_path": MARK, "sink_path": "/out" });
    let object = json!({
        "id": "x", "axo_class_name": "C", "axo_microservice_id": "x", "axo_module": MARK, "axo_alias": MARK, "axo_code": "class C: pass",
    });
    let policy = json!({ "source": format!("pdl 1\n\nallow role {MARK} to read on bucket \"x\"\n") });
    let principal = json!({ "id": "x", "display_name": MARK });
    let role = with(json!({ "permissions": ["bucket:read"] }));
    let threats = json!({ "address": "192.0.2.7:9001" });
    let measure = json!({ "effect": "challenge", "source": "192.0.2.9", "reason": MARK });
    for (path, body) in [
        ("roles", role),
        ("principals", principal),
        ("principals/x/api-keys", json!({ "label": MARK })),
        ("security-policies", with(json!({}))),
        ("services", with(json!({}))),
        ("microservices", with(json!({ "service_id": "x" }))),
        ("endpoints", with(json!({ "image": "registry/x" }))),
        ("functions", with(json!({ "image": "registry/x", "endpoint_id": "x" }))),
        ("active-objects", object),
        ("buckets", with(json!({}))),
        ("storages", with(storage)),
        ("threat-collections", with(json!({}))),
        ("intel-peers", labelled(threats)),
        ("measures", labelled(measure)),
        ("permission-policies", with(policy)),
        ("buckets/x/uploads?key=x", json!({})),
    ] {
        let made = node.post(&format!("/api/v1/{path}"), body).await;
        assert!(made.status.is_success(), "{path}: {made:?}");
    }
    let provider = json!({
        "issuer": format!("https://{MARK}.example"), "audience": "mesh", "algorithms": ["ES256"], "claim": "groups",
        "roles": { "staff": ["x"] },
    });
    for (path, body) in [
        ("buckets/x/objects/x", MARK.to_owned()),
        ("principals/x/password", json!({ "password": "correct horse battery" }).to_string()),
        ("principals/x/workload", "{}".to_owned()),
        ("tenants/default/providers/x", provider.to_string()),
        ("buckets/x/quota", json!({ "bytes_max": 4096 }).to_string()),
    ] {
        let made = node.ask(Method::PUT, &format!("/api/v1/{path}"), Some(&node.admin), body).await;
        assert!(made.status.is_success(), "{path}: {made:?}");
    }
    node
}

/// What the first tenant's administrator is told by every operation that only reads.
async fn told(node: &Node) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    for (id, method, path) in operations() {
        let is_moving = MOVING.contains(&id.as_str()) || ENDLESS.iter().any(|word| id.contains(word));
        if method == Method::GET && !is_moving {
            let answer = node.get(&path).await;
            // Which request it was is told in refusals.
            let text = match answer.status.is_success() {
                true => String::from_utf8_lossy(&answer.body).into_owned(),
                false => answer.status.to_string(),
            };
            told.insert(id, text);
        }
    }
    told
}

async fn another(node: &Node) -> String {
    let made = node.post("/api/v1/tenants", json!({ "id": "acme" })).await.expect(201).json();
    assert_eq!(made["tenant"]["id"], "acme");
    made["administrator_key"].as_str().unwrap().to_owned()
}

/// Every operation of the document: its id, method and path, with `x` for every parameter.
fn operations() -> Vec<(String, Method, String)> {
    let document: Value = serde_json::from_str(&cm_api::openapi_text()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let fill = |segment: &str| if segment.starts_with('{') { "x".to_owned() } else { segment.to_owned() };
        let path = path.split('/').map(fill).collect::<Vec<_>>().join("/");
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            operations.push((id, method.to_uppercase().parse().unwrap(), path.clone()));
        }
    }
    assert!(operations.len() > 50, "the document is not complete");
    operations
}

#[tokio::test]
async fn no_operation_shows_or_changes_what_another_tenant_has() {
    let node = furnished().await;
    let stranger = another(&node).await;
    let before = told(&node).await;
    let marked = before.values().filter(|text| text.contains(MARK)).count();
    assert!(marked >= 30, "only {marked} operations show what the first tenant has");
    for (id, method, path) in operations() {
        if ENDLESS.iter().any(|word| id.contains(word)) {
            continue;
        }
        let bodies = [
            "",
            "{}",
            r#"{"name":"x","id":"x"}"#,
            r#"{"name":"y","description":"stolen","display_name":"stolen","disabled":true}"#,
            r#"{"password":"another horse battery","new_password":"another horse battery"}"#,
            r#"{"bytes_max":1,"redundancy":"1","label":"stolen","reason":"stolen","state":"failed"}"#,
        ];
        for body in bodies {
            let request = Request::builder()
                .method(method.clone())
                .uri(&path)
                .header("host", "127.0.0.1")
                .header("content-type", "application/json")
                .header("authorization", format!("Bearer {stranger}"));
            let answer = node.send(request.body(Body::from(body)).unwrap()).await;
            let collected = tokio::time::timeout(PATIENCE, answer.into_body().collect()).await;
            let bytes = collected.unwrap_or_else(|_| panic!("{id} does not end")).unwrap().to_bytes();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(MARK), "{id} ({method} {path}) shows what is another tenant's: {text}");
        }
    }
    let after = told(&node).await;
    for (id, text) in before {
        assert_eq!(after[&id], text, "{id}: changed by another tenant");
    }
}

#[tokio::test]
async fn what_is_the_nodes_is_the_business_of_the_first_tenant() {
    let node = Node::start().await;
    let stranger = another(&node).await;
    for (method, path) in [
        (Method::GET, "/api/v1/tenants"),
        (Method::POST, "/api/v1/tenants"),
        (Method::DELETE, "/api/v1/tenants/acme"),
        (Method::GET, "/api/v1/keys"),
        (Method::POST, "/api/v1/keys/tokens/rotate"),
        (Method::GET, "/api/v1/intel/status"),
        (Method::GET, "/api/v1/intel/events"),
        (Method::POST, "/api/v1/intel/events"),
        (Method::POST, "/api/v1/intel/events/1/dismiss"),
        (Method::GET, "/api/v1/intel/reputations"),
        (Method::GET, "/api/v1/intel/peers"),
    ] {
        let answer = node.ask(method, path, Some(&stranger), "{}").await;
        assert!(matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND), "{path}: {answer:?}");
    }
    // Its own house is its own.
    let own = json!({ "id": "own", "name": "own", "permissions": [] }).to_string();
    node.ask(Method::POST, "/api/v1/roles", Some(&stranger), own).await.expect(201);
    node.delete("/api/v1/tenants/default").await.expect(409);
    node.delete("/api/v1/tenants/nowhere").await.expect(404);
}

#[tokio::test]
async fn a_tenant_can_be_made_again_after_it_was_deleted() {
    let node = Node::start().await;
    let first = another(&node).await;
    let role = json!({ "id": MARK, "permissions": [] }).to_string();
    node.ask(Method::POST, "/api/v1/roles", Some(&first), role).await.expect(201);
    node.ask(Method::DELETE, &format!("/api/v1/roles/{MARK}"), Some(&first), "").await.expect(204);
    node.delete("/api/v1/tenants/acme").await.expect(204);
    let second = another(&node).await;
    for order in ["", "&order=desc"] {
        let path = format!("/api/v1/events?limit=1000{order}");
        let events = node.ask(Method::GET, &path, Some(&second), "").await.expect(200);
        assert!(!events.items().is_empty(), "the second tenant has made its roles");
        assert!(!String::from_utf8_lossy(&events.body).contains(MARK), "{events:?}");
    }
    let whoami = async |key: &str| node.ask(Method::GET, "/api/v1/auth/whoami", Some(key), "").await.status;
    assert_eq!((whoami(&first).await, whoami(&second).await), (StatusCode::UNAUTHORIZED, StatusCode::OK));
}

#[tokio::test]
async fn whoever_may_not_list_tenants_verifies_the_objects_of_its_own() {
    let node = Node::start().await;
    let stranger = another(&node).await;
    let auditor = node.somebody("auditor", &["object:list"]).await;
    let bucket = json!({ "name": "films" }).to_string();
    for (key, objects) in [(&node.admin, 1), (&stranger, 2)] {
        node.ask(Method::POST, "/api/v1/buckets", Some(key), bucket.clone()).await.expect(201);
        for at in 0..objects {
            let path = format!("/api/v1/buckets/films/objects/{at}");
            node.ask(Method::PUT, &path, Some(key), "eleven bytes").await.expect(200);
        }
    }
    for (key, objects) in [(&node.admin, 3), (&stranger, 2), (&auditor, 1)] {
        let told = node.ask(Method::POST, "/api/v1/objects/verify", Some(key), "{}").await.expect(200).json();
        assert_eq!((&told["objects"], &told["intact"]), (&json!(objects), &json!(true)), "{told}");
    }
}

#[tokio::test]
async fn a_measure_about_addresses_is_for_the_first_tenant() {
    let node = Node::start().await;
    let stranger = another(&node).await;
    let ask = async |method: Method, path: &str, body: Value| {
        node.ask(method, path, Some(&stranger), body.to_string()).await
    };
    let source = json!({ "id": "m", "effect": "deny", "source": "192.0.2.9" });
    ask(Method::POST, "/api/v1/measures", source).await.expect(422);
    let principal = json!({ "id": "m", "effect": "deny", "principal": "bob" });
    ask(Method::POST, "/api/v1/measures", principal).await.expect(201);
    let changed = json!({ "effect": "deny", "source": "192.0.2.9" });
    ask(Method::PUT, "/api/v1/measures/m", changed).await.expect(422);
}

#[tokio::test]
async fn a_tenants_quota_is_not_its_own_administrators() {
    let node = Node::start().await;
    let stranger = another(&node).await;
    let path = "/api/v1/tenants/acme/quota";
    node.put(path, json!({ "bytes_max": 10 })).await.expect(200);
    for method in [Method::PUT, Method::GET] {
        let more = json!({ "bytes_max": 1_u64 << 40 }).to_string();
        let answer = node.ask(method, path, Some(&stranger), more).await;
        assert!(matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND), "{answer:?}");
    }
    assert_eq!(node.get(path).await.expect(200).json()["bytes_max"], 10);
    // That of its buckets is, within it.
    let bucket = json!({ "name": "films" }).to_string();
    node.ask(Method::POST, "/api/v1/buckets", Some(&stranger), bucket).await.expect(201);
    let quota = json!({ "bytes_max": 1_u64 << 40 }).to_string();
    node.ask(Method::PUT, "/api/v1/buckets/films/quota", Some(&stranger), quota).await.expect(200);
    let object = "/api/v1/buckets/films/objects/a";
    let refused = node.ask(Method::PUT, object, Some(&stranger), "eleven bytes").await.expect(507);
    assert_eq!(refused.code(), "quota-exceeded");
}

#[tokio::test]
async fn sessions_are_carried_on_described_and_revoked() {
    let node = Node::start().await;
    node.post("/api/v1/principals", json!({ "id": "ada" })).await.expect(201);
    let password = json!({ "password": "correct horse battery" });
    node.put("/api/v1/principals/ada/password", password).await.expect(204);
    let login = json!({ "principal": "ada", "password": "correct horse battery" }).to_string();
    let first = node.ask(Method::POST, "/api/v1/auth/login", None, login).await.expect(200).json();
    let refresh = async |text: &Value| {
        let body = json!({ "refresh_token": text }).to_string();
        node.ask(Method::POST, "/api/v1/auth/refresh", None, body).await
    };
    let who =
        async |token: &Value| node.ask(Method::GET, "/api/v1/auth/whoami", token.as_str(), "").await.status;
    let second = refresh(&first["refresh_token"]).await.expect(200).json();
    assert_eq!(
        (who(&first["token"]).await, who(&second["token"]).await),
        (StatusCode::UNAUTHORIZED, StatusCode::OK)
    );

    let form = format!("token={}&token_type_hint=access_token", second["token"].as_str().unwrap());
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let path = "/api/v1/auth/introspect";
    let told = node.ask_with(Method::POST, path, Some(&node.admin), &headers, form).await.expect(200).json();
    assert_eq!(
        (&told["active"], &told["sub"], &told["token_type"]),
        (&json!(true), &json!("ada"), &json!("Bearer"))
    );
    assert_eq!(told["sid"], second["session"]);
    let issuer = node.kernel.identity().issuer();
    assert_eq!((&told["aud"], &told["client_id"]), (&json!(issuer), &json!("ada")));
    let told = node.post(path, json!({ "token": first["token"] })).await.expect(200).json();
    assert_eq!(told, json!({ "active": false }));

    let revoked = json!({ "token": second["refresh_token"] }).to_string();
    node.ask(Method::POST, "/api/v1/auth/revoke", None, revoked).await.expect(200);
    assert_eq!(who(&second["token"]).await, StatusCode::UNAUTHORIZED);
    refresh(&second["refresh_token"]).await.expect(401);

    let keys = node.get("/.well-known/jwks.json").await.expect(200).json();
    assert_eq!((&keys["keys"][0]["kty"], &keys["keys"][0]["crv"]), (&json!("OKP"), &json!("Ed25519")));
    node.get("/.well-known/openid-configuration").await.expect(404);
    let rotated = node.post("/api/v1/keys/tokens/rotate", json!({})).await.expect(200).json();
    assert_eq!(rotated["active"], true);
    let listed = node.get("/api/v1/keys").await.expect(200).json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    node.post("/api/v1/keys/nothing/rotate", json!({})).await.expect(404);
}

#[tokio::test]
async fn a_fresh_node_publishes_the_key_that_it_is_going_to_sign_with() {
    let node = Node::start().await;
    let keys = async || node.get("/.well-known/jwks.json").await.expect(200).json()["keys"].clone();
    let first = keys().await;
    assert_eq!((first.as_array().unwrap().len(), &first[0]["kty"]), (1, &json!("OKP")));
    node.post("/api/v1/auth/tokens", json!({})).await.expect(200);
    assert_eq!(keys().await, first);
}

#[tokio::test]
async fn the_description_says_what_is_there() {
    let node = Node::start().await;
    node.kernel.identity().use_issuer("https://mesh.example".to_owned()).unwrap();
    let told = node.get("/.well-known/openid-configuration").await.expect(200).json();
    for (name, value) in told.as_object().unwrap() {
        assert!(value.as_array().is_none_or(|values| !values.is_empty()), "{name}");
    }
    assert_eq!(told["introspection_endpoint_auth_methods_supported"], json!(["Bearer"]));
    assert!(told.get("response_types_supported").is_none());
}
