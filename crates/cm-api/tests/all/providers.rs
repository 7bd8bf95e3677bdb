//! Tokens of an identity provider are exchanged for ours, within the bounds of the trust in it.

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::routing::get;
use cm_crypto::es256::EcSigningKey;
use cm_runtime::Tasks;
use serde_json::{Value, json};

use crate::support::{Answer, Node};

/// A provider: an issuer with one key, served over HTTP.
struct Issuer {
    url: String,
    key: EcSigningKey,
    /// A key of somebody else's. The issuer has one of its own under the same name.
    impostor: EcSigningKey,
    _tasks: Tasks,
}

impl Issuer {
    async fn start() -> Issuer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = EcSigningKey::generate().unwrap();
        let (x, y) = key.verifying_key().coordinates();
        let kid = key.verifying_key().key_id();
        let impostor = EcSigningKey::generate().unwrap();
        let taken = impostor.verifying_key().key_id();
        let jwk = |kid: &str| json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y });
        let keys = json!({ "keys": [jwk(&kid), jwk(&taken)] }).to_string();
        let description = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string();
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(move || async move { description }))
            .route("/keys", get(move || async move { keys }));
        let tasks = Tasks::new();
        tasks.spawn("issuer", async move { axum::serve(listener, router).await.unwrap() });
        Issuer { url, key, impostor, _tasks: tasks }
    }

    /// A token as the provider makes it, with some claims changed; `null` takes one away.
    fn token(&self, changed: Value) -> String {
        self.signed_by(&self.key, changed)
    }

    fn signed_by(&self, key: &EcSigningKey, changed: Value) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": self.url, "sub": "ada", "aud": ["others", "mesh"], "iat": now, "exp": now + 600,
            "realm_access": { "roles": ["staff", "unknown"] },
        });
        for (name, value) in changed.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        key.sign_token(claims.to_string().as_bytes()).unwrap()
    }

    fn spec(&self) -> Value {
        json!({
            "issuer": self.url, "audience": "mesh", "algorithms": ["ES256"], "claim": "realm_access.roles",
            "roles": { "staff": ["reader"], "boss": ["reader", "writer"] },
        })
    }
}

const PATH: &str = "/api/v1/tenants/default/providers/idp";

async fn exchange(node: &Node, token: &str) -> Answer {
    exchange_for(node, token, "").await
}

/// As [`exchange`], with more fields.
async fn exchange_for(node: &Node, token: &str, more: &str) -> Answer {
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token={token}\
         &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt{more}"
    );
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    node.ask_with(Method::POST, "/api/v1/auth/exchange", None, &headers, form).await
}

async fn whoami(node: &Node, token: &str) -> Answer {
    node.ask(Method::GET, "/api/v1/auth/whoami", Some(token), "").await
}

async fn ready() -> (Node, Issuer) {
    let (node, issuer) = (Node::start().await, Issuer::start().await);
    for (role, permission) in [("reader", "bucket:read"), ("writer", "bucket:create")] {
        let role = json!({ "id": role, "name": role, "permissions": [permission] });
        node.post("/api/v1/roles", role).await.expect(201);
    }
    node.put(PATH, issuer.spec()).await.expect(204);
    (node, issuer)
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn somebody_whom_a_provider_vouches_for_has_what_its_claims_give() {
    let (node, issuer) = ready().await;
    let answer = exchange(&node, &issuer.token(json!({}))).await.expect(200).json();
    assert_eq!(
        (text(&answer, "token_type"), answer["expires_in"].as_i64().unwrap() <= 600),
        ("Bearer".to_owned(), true)
    );
    let token = text(&answer, "access_token");
    let who = whoami(&node, &token).await.expect(200).json();
    let name = text(&who, "principal");
    assert!(name.starts_with("oidc:"), "{name}");
    assert_eq!((&who["roles"], &who["credential"]), (&json!(["reader"]), &json!("token")));
    // The same somebody later, with other roles; another subject is somebody else.
    let promoted = issuer.token(json!({ "realm_access": { "roles": ["boss"] } }));
    let promoted = text(&exchange(&node, &promoted).await.expect(200).json(), "access_token");
    let who = whoami(&node, &promoted).await.expect(200).json();
    assert_eq!((text(&who, "principal"), &who["roles"]), (name.clone(), &json!(["reader", "writer"])));
    let demoted = text(&exchange(&node, &issuer.token(json!({}))).await.expect(200).json(), "access_token");
    assert_eq!(whoami(&node, &demoted).await.expect(200).json()["roles"], json!(["reader"]));
    let other = text(
        &exchange(&node, &issuer.token(json!({ "sub": "eve" }))).await.expect(200).json(),
        "access_token",
    );
    assert_ne!(text(&whoami(&node, &other).await.expect(200).json(), "principal"), name);

    // What is made of the token ends with the trust as well.
    let derived =
        node.ask(Method::POST, "/api/v1/auth/tokens", Some(&demoted), "{}").await.expect(200).json();
    let derived = text(&derived, "token");
    whoami(&node, &derived).await.expect(200);
    // Nobody else gets such a name.
    node.post("/api/v1/principals", json!({ "id": "oidc:00000000000000000000000000000000" }))
        .await
        .expect(409);
    // Nor does it get a credential that would outlive the provider.
    let own = async |method: Method, path: &str, body: Value| {
        let path = format!("/api/v1/principals/{name}/{path}");
        node.ask(method, &path, Some(&demoted), body.to_string()).await.status
    };
    for body in [json!({ "label": "mine" }), json!({ "label": "mine", "kind": "s3" })] {
        assert_eq!(own(Method::POST, "api-keys", body).await, StatusCode::FORBIDDEN);
    }
    let password = json!({ "password": "correct horse battery" });
    assert_eq!(own(Method::PUT, "password", password).await, StatusCode::FORBIDDEN);
    // Trust that is said anew is another trust.
    node.put(PATH, issuer.spec()).await.expect(204);
    whoami(&node, &demoted).await.expect(401);
    let again = text(&exchange(&node, &issuer.token(json!({}))).await.expect(200).json(), "access_token");
    whoami(&node, &again).await.expect(200);
    node.delete(PATH).await.expect(204);
    let withdrawn = node.get(&format!("/api/v1/principals/{name}")).await.expect(200).json();
    assert_eq!(withdrawn["roles"], json!([]));
    whoami(&node, &again).await.expect(401);
    for token in [&token, &promoted, &demoted, &derived] {
        whoami(&node, token).await.expect(401);
    }
    exchange(&node, &issuer.token(json!({}))).await.expect(400);
}

#[tokio::test]
async fn an_exchange_is_for_the_subject_for_this_node_and_for_what_is_granted() {
    let (node, issuer) = ready().await;
    let boss = issuer.token(json!({ "realm_access": { "roles": ["boss"] } }));
    let own = node.kernel.identity().issuer();
    for more in ["", "&scope=reader", "&scope=writer+reader", &format!("&audience={own}&resource={own}")] {
        let answer = exchange_for(&node, &boss, more).await.expect(200).json();
        assert_eq!(answer["scope"], "reader writer", "{more}");
    }
    for (more, error) in [
        ("&scope=reader+admin", "invalid_scope"),
        ("&audience=elsewhere", "invalid_target"),
        ("&resource=https%3A%2F%2Felsewhere.example", "invalid_target"),
        (
            "&actor_token=x.y.z&actor_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt",
            "invalid_request",
        ),
    ] {
        let told = exchange_for(&node, &boss, more).await.expect(400).json();
        assert_eq!(told["error"], error, "{more}: {told}");
    }
    let token = text(&exchange(&node, &boss).await.expect(200).json(), "access_token");
    let name = whoami(&node, &token).await.expect(200).json()["principal"].clone();
    let told = node.post("/api/v1/auth/introspect", json!({ "token": token })).await.expect(200).json();
    assert_eq!((&told["aud"], &told["client_id"]), (&json!(own), &name));
    for body in [json!({}), json!({ "token_type_hint": "access_token" })] {
        let refused = node.post("/api/v1/auth/introspect", body).await.expect(400).json();
        assert_eq!(refused["error"], "invalid_request");
    }
    let answer = node.ask(Method::POST, "/api/v1/auth/introspect", None, "{}").await.expect(401);
    assert_eq!(answer.code(), "unauthenticated");
}

#[tokio::test]
async fn tokens_that_prove_nothing_are_refused_and_told() {
    let (node, issuer) = ready().await;
    let stranger = Issuer::start().await;
    let good = issuer.token(json!({}));
    let mut altered = good.clone();
    let at = good.len() - 6;
    altered.replace_range(at..=at, if good.as_bytes()[at] == b'A' { "B" } else { "A" });
    // Whole claims in the name of the issuer, by a stranger's key, under a name of a key that the issuer publishes.
    let under_our_name = issuer.signed_by(&issuer.impostor, json!({}));
    let under_no_name = issuer.signed_by(&stranger.key, json!({}));
    let refused: Vec<(&str, String)> = vec![
        ("an issuer that nobody trusts", stranger.token(json!({}))),
        ("another key in the issuer's name", under_our_name),
        ("a key that the issuer does not publish", under_no_name),
        ("another audience", issuer.token(json!({ "aud": "others" }))),
        ("no audience", issuer.token(json!({ "aud": null }))),
        ("expired", issuer.token(json!({ "exp": 1_000_000_000 }))),
        ("without an end", issuer.token(json!({ "exp": null }))),
        ("from the future", issuer.token(json!({ "nbf": 9_999_999_999_u64 }))),
        ("without a subject", issuer.token(json!({ "sub": null }))),
        ("a claim that gives no role", issuer.token(json!({ "realm_access": { "roles": ["unknown"] } }))),
        ("no such claim", issuer.token(json!({ "realm_access": null }))),
        ("altered", altered),
        ("no token", "x.y.z".to_owned()),
    ];
    let count = async || {
        let events = node.get("/api/v1/events?verb=credential.refused&limit=1000").await.expect(200).json();
        let count = |event: &Value| event["facts"]["count"].as_u64().unwrap();
        events.as_array().unwrap().iter().map(count).sum::<u64>()
    };
    for (what, token) in &refused {
        let answer = exchange(&node, token).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}: {answer:?}");
        let told = answer.json();
        assert_eq!(told["error"], "invalid_request", "{what}: {told}");
        assert!(!text(&told, "error_description").is_empty(), "{what}: {told}");
    }
    assert!(count().await > 0, "refusals are told");
    exchange(&node, &good).await.expect(200);
    // Disabling the principal bars it, whatever its provider says.
    let token = text(&exchange(&node, &good).await.expect(200).json(), "access_token");
    let name = text(&whoami(&node, &token).await.expect(200).json(), "principal");
    let disable = json!({ "disabled": true }).to_string();
    node.ask(Method::PATCH, &format!("/api/v1/principals/{name}"), Some(&node.admin), disable)
        .await
        .expect(200);
    whoami(&node, &token).await.expect(401);
    exchange(&node, &good).await.expect(400);
}

#[tokio::test]
async fn trust_has_narrow_bounds() {
    let (node, issuer) = ready().await;
    let wrong = |field: &str, value: Value| {
        let mut spec = issuer.spec();
        spec[field] = value;
        spec
    };
    for (field, value) in [
        ("issuer", json!("http://example.com")),
        ("issuer", json!("http://127.0.0.1@example.com")),
        ("issuer", json!("ftp://127.0.0.1")),
        ("keys_url", json!("http://example.com/keys")),
        ("algorithms", json!(["HS256"])),
        ("algorithms", json!(["none"])),
        ("algorithms", json!([])),
        ("audience", json!("")),
        ("roles", json!({})),
        ("roles", json!({ "boss": ["admin"] })),
    ] {
        let answer = node.put(PATH, wrong(field, value.clone())).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {value}: {answer:?}");
    }
    node.put(PATH, wrong("roles", json!({ "boss": ["nowhere"] }))).await.expect(422);
    let listed = node.get("/api/v1/tenants/default/providers").await.expect(200).json();
    assert_eq!(listed[0]["issuer"], json!(issuer.url), "what was refused changed nothing");
    // Only who keeps the tenants says whom they trust.
    let somebody = node.somebody("somebody", &["principal:*", "role:*"]).await;
    let answer = node.ask(Method::PUT, PATH, Some(&somebody), issuer.spec().to_string()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}
