//! What is no credential is refused on every face, and every refusal is on record.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use cm_crypto::jws::{self, TokenType};
use cm_crypto::mac;
use cm_crypto::sign::SigningKey;
use cm_e2e::{Node, NodeOptions};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// How long something that must come may take.
const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "correct horse battery";

/// Where each face answers whoever has a credential; the door stands before the method.
const FACES: &[(&str, &str, &str)] = &[
    ("api", "api", "/api/v1/auth/whoami"),
    ("taxii", "api", "/taxii2/"),
    ("mictlanx router", "router", "/api/v4/peers"),
    ("mictlanx peer", "mictlanx_peer", "/api/v4/stats"),
    ("mictlanx summoner", "summoner", "/api/v3/stats"),
    ("veracruz service", "vaas", "/veracruz"),
    ("confidential cloud functions", "ccfaas", "/function"),
    ("shamira", "mpc", "/jobs"),
    ("xolo", "xolo", "/api/v4/accounts/default/users/all"),
];

/// A client that asks from an address of its own, so that its refusals are told apart.
fn client(from: Ipv4Addr) -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().local_address(IpAddr::V4(from));
    builder.build().expect("a client can be made")
}

async fn ask(from: Ipv4Addr, url: &str, is_xolo: bool, token: &str) -> StatusCode {
    let request = client(from).get(url);
    // Who administers accounts says so in a header of its own.
    let request = if is_xolo { request.header("x-admin-token", token) } else { request.bearer_auth(token) };
    request.send().await.expect("the node answers").status()
}

async fn post(url: &str, token: Option<&str>, body: Value) -> Value {
    let mut request = client(Ipv4Addr::LOCALHOST).post(url).json(&body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.expect("the node answers");
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{url}: {status} {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

fn part(token: &str, at: usize) -> Vec<u8> {
    BASE64.decode(token.split('.').nth(at).unwrap()).unwrap()
}

/// A message to be signed: any header over the claims of a token.
fn message(header: &Value, claims: &[u8]) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims))
}

/// Tokens that prove nothing, each with what is wrong with it. All but the forged ones were good once.
async fn worthless(node: &Node) -> Vec<(&'static str, String)> {
    let url = |path: &str| format!("{}/api/v1{path}", node.url());
    let admin = node.admin_token();
    post(&url("/principals"), Some(&admin), json!({ "id": "ada", "roles": ["admin"] })).await;
    let answer = client(Ipv4Addr::LOCALHOST)
        .put(url("/principals/ada/password"))
        .bearer_auth(&admin)
        .json(&json!({ "password": PASSWORD }))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success());
    let login = async || {
        let login = json!({ "principal": "ada", "password": PASSWORD });
        post(&url("/auth/login"), None, login).await
    };
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();

    let good = text(&login().await, "token");
    let (header, claims) = (part(&good, 0), part(&good, 1));
    let header: Value = serde_json::from_slice(&header).unwrap();
    let kid = header["kid"].as_str().unwrap().to_owned();
    let keys: Value = client(Ipv4Addr::LOCALHOST)
        .get(format!("{}/.well-known/jwks.json", node.url()))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let public = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid.as_str()).unwrap();
    let public = BASE64.decode(public["x"].as_str().unwrap()).unwrap();

    let stranger = SigningKey::generate();
    let under_our_name = message(&header, &claims);
    let signature = BASE64.encode(stranger.sign(under_our_name.as_bytes()).as_bytes());
    let swapped = message(&json!({ "alg": "HS256", "kid": kid, "typ": "at+jwt" }), &claims);
    let tag = BASE64.encode(mac::hmac_sha256(&public, swapped.as_bytes()));
    let none = message(&json!({ "alg": "none", "kid": kid, "typ": "at+jwt" }), &claims);

    let brief = post(&url("/auth/tokens"), Some(&good), json!({ "ttl_seconds": 1 })).await;
    let revoked = text(&login().await, "token");
    post(&url("/auth/logout"), Some(&revoked), Value::Null).await;
    let session = login().await;
    let refresh = json!({ "refresh_token": session["refresh_token"] });
    post(&url("/auth/refresh"), None, refresh.clone()).await;
    let stolen = login().await;
    let derived = post(&url("/auth/tokens"), stolen["token"].as_str(), json!({})).await;
    let copy = json!({ "refresh_token": stolen["refresh_token"] });
    post(&url("/auth/refresh"), None, copy.clone()).await;
    let reused = client(Ipv4Addr::LOCALHOST).post(url("/auth/refresh")).json(&copy).send().await.unwrap();
    assert_eq!(reused.status(), StatusCode::UNAUTHORIZED);

    vec![
        ("another key", jws::sign(&stranger, TokenType::ACCESS, &claims)),
        ("another key under our name", format!("{under_our_name}.{signature}")),
        ("algorithm none", format!("{none}.")),
        ("algorithm swapped for one that takes our public key", format!("{swapped}.{tag}")),
        ("expired", text(&brief, "token")),
        ("revoked", revoked),
        ("refreshed away", text(&session, "token")),
        ("made of a session that ended by reuse", text(&derived, "token")),
        ("of another audience", of_xolo(node, &admin).await),
    ]
}

/// A token that we signed ourselves, for users of applications.
async fn of_xolo(node: &Node, admin: &str) -> String {
    let base = format!("http://{}/api/v4/accounts", node.address("xolo"));
    let ask = async |path: &str, header: (&str, &str), body: Value| -> Value {
        let request = client(Ipv4Addr::LOCALHOST).post(format!("{base}{path}"));
        let answer = request.header(header.0, header.1).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    };
    let administrator = ("x-admin-token", admin);
    ask("", administrator, json!({ "account_id": "acct", "name": "acct" })).await;
    ask("/acct/scopes", administrator, json!({ "name": "OPS" })).await;
    let key = ask("/acct/apikeys", administrator, json!({ "name": "web", "scopes": ["all"] })).await;
    let key = ("x-api-key", key["key"].as_str().unwrap());
    let user = json!({
        "username": "bob", "first_name": "B", "last_name": "B", "email": "b@example.com",
        "password": PASSWORD, "profile_photo": "", "scope": "OPS", "expiration": "1h",
    });
    ask("/acct/users/signup", key, user).await;
    let login = json!({ "username": "bob", "password": PASSWORD, "scope": "OPS", "expiration": "1h" });
    let answer = ask("/acct/users/auth", key, login).await;
    answer["access_token"].as_str().unwrap().to_owned()
}

/// From where refused credentials came, by the log.
async fn recorded(node: &Node) -> Vec<String> {
    let (mut sources, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/api/v1/events?verb=credential.refused&limit=1000&after={after}");
        let page: Vec<Value> = node.admin().get(&path).await.unwrap();
        for event in &page {
            assert_eq!(event["outcome"], "denied");
            sources.push(event["facts"]["source"].as_str().unwrap().to_owned());
            after = event["seq"].as_u64().unwrap();
        }
        if page.len() < 1000 {
            return sources;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_proves_nothing_is_refused_on_every_face_and_told() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let worthless = worthless(&node).await;
    let expired = &worthless.iter().find(|(what, _)| *what == "expired").unwrap().1;
    let whoami = format!("{}/api/v1/auth/whoami", node.url());
    let since = Instant::now();
    while ask(Ipv4Addr::LOCALHOST, &whoami, false, expired).await != StatusCode::UNAUTHORIZED {
        assert!(since.elapsed() < PATIENCE, "a token of a second does not end");
        tokio::task::yield_now().await;
    }
    let admin = node.admin_token();
    let mut asked = Vec::new();
    for (at, (face, listener, path)) in FACES.iter().enumerate() {
        let (url, is_xolo) = (format!("http://{}{path}", node.address(listener)), *listener == "xolo");
        let good = ask(Ipv4Addr::LOCALHOST, &url, is_xolo, &admin).await;
        assert!(
            !matches!(good, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
            "{face} does not even take a good credential: {good}"
        );
        for (nth, (what, token)) in worthless.iter().enumerate() {
            let from = Ipv4Addr::new(127, 1, u8::try_from(at).unwrap(), u8::try_from(nth + 1).unwrap());
            let status = ask(from, &url, is_xolo, token).await;
            assert!(
                matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
                "{face} takes a token that is worthless ({what}): {status}"
            );
            asked.push((*face, *what, from.to_string()));
        }
    }
    // S3 takes signatures, no tokens at all: neither a good one nor a bad one.
    let s3 = format!("http://{}/", node.address("s3"));
    for token in worthless.iter().map(|(_, token)| token).chain([&admin]) {
        let status = ask(Ipv4Addr::LOCALHOST, &s3, false, token).await;
        assert!(status.is_client_error(), "s3 answers {status}");
    }
    let recorded = recorded(&node).await;
    for (face, what, from) in asked {
        assert!(recorded.contains(&from), "{face} refused a token ({what}) and nothing tells of it");
    }
}
