//! Workloads are given documents of SPIFFE, and judged by them, also across two meshes.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::Method;
use axum::routing::get;
use cm_crypto::cert::generate_request;
use cm_runtime::Tasks;
use cm_types::TrustDomain;
use serde_json::{Value, json};

use crate::support::{Answer, Node};

const WEB: &str = "/api/v1/principals/web";

async fn mesh(domain: &str) -> Node {
    let node = Node::start().await;
    node.kernel.identity().use_trust_domain(TrustDomain::parse(domain).unwrap()).unwrap();
    node
}

/// Whoever asks for a certificate of `web` for a key of its own.
async fn certificate(node: &Node, token: &str) -> Answer {
    let (_, csr) = generate_request().unwrap();
    let body = json!({ "csr": csr, "ttl_seconds": 600 }).to_string();
    node.ask(Method::POST, &format!("{WEB}/svids/x509"), Some(token), body).await
}

async fn verify(node: &Node, body: Value) -> Value {
    node.post("/api/v1/svids/verify", body).await.expect(200).json()
}

#[tokio::test]
async fn a_workload_gets_documents_for_itself_once_somebody_made_it_one() {
    let node = mesh("one.example").await;
    let web = node.somebody("web", &[]).await;
    let other = node.somebody("other", &["principal:list"]).await;
    assert_eq!(certificate(&node, &web).await.expect(403).code(), "forbidden");
    let refused = node.get("/api/v1/events?verb=svid.refused").await.expect(200).items();
    assert_eq!(refused.len(), 1, "{refused:?}");
    // Not by itself.
    node.ask(Method::PUT, &format!("{WEB}/workload"), Some(&web), "{}").await.expect(403);
    let named = node.put(&format!("{WEB}/workload"), json!({ "ttl_seconds_max": 300 })).await.expect(200);
    let name = "spiffe://one.example/tenant/default/principal/web";
    assert_eq!(named.json()["spiffe_id"], name);
    assert_eq!(node.get("/api/v1/workloads").await.expect(200).json()[0]["ttl_seconds_max"], 300);

    let issued = certificate(&node, &web).await.expect(200).json();
    assert_eq!(issued["spiffe_id"], name);
    assert!(issued["bundles"]["one.example"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    let verdict = verify(&node, json!({ "certificates": issued["certificate"] })).await;
    assert_eq!((&verdict["valid"], &verdict["spiffe_id"]), (&json!(true), &json!(name)));
    assert_eq!(verdict["expires_at"], issued["expires_at"]);

    let body = json!({ "audience": ["backend"] }).to_string();
    let token =
        node.ask(Method::POST, &format!("{WEB}/svids/jwt"), Some(&web), body).await.expect(200).json();
    let shown = |audience: &str| json!({ "token": token["token"], "audience": audience });
    assert_eq!(verify(&node, shown("backend")).await["spiffe_id"], name);
    let verdict = verify(&node, shown("front")).await;
    assert_eq!(verdict["valid"], false, "{verdict}");
    // Its keys are in the bundle, and not among those of the node's own tokens.
    let keys = |document: Value| document["keys"].as_array().unwrap().clone();
    let bundle = keys(node.get("/.well-known/spiffe-bundle").await.expect(200).json());
    assert!(bundle.iter().any(|key| key["use"] == "jwt-svid"), "{bundle:?}");
    let own = keys(node.get("/.well-known/jwks.json").await.expect(200).json());
    assert!(own.iter().all(|key| key["kty"] == "OKP"), "{own:?}");
    // It opens nothing of the API.
    let shown = token["token"].as_str().unwrap();
    node.ask(Method::GET, "/api/v1/auth/whoami", Some(shown), "").await.expect(401);

    // Somebody else neither gets nor makes any.
    certificate(&node, &other).await.expect(403);
    certificate(&node, &node.admin).await.expect(200);
    for csr in ["", "junk", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
    {
        let refused = node.post(&format!("{WEB}/svids/x509"), json!({ "csr": csr })).await.expect(422);
        assert_eq!(refused.code(), "invalid");
    }
    for bad in
        [json!({}), json!({ "token": "x" }), json!({ "token": "x", "audience": "a", "certificates": "x" })]
    {
        node.post("/api/v1/svids/verify", bad).await.expect(422);
    }
    node.delete(&format!("{WEB}/workload")).await.expect(204);
    certificate(&node, &web).await.expect(403);
}

#[tokio::test]
async fn a_node_without_a_trust_domain_says_so() {
    let node = Node::start().await;
    let web = node.somebody("web", &[]).await;
    node.put(&format!("{WEB}/workload"), json!({})).await.expect(409);
    certificate(&node, &web).await.expect(403);
    node.get("/.well-known/spiffe-bundle").await.expect(404);
}

/// A place of bundles on this machine; what it says can be changed.
async fn endpoint(tasks: &Tasks) -> (String, Arc<Mutex<String>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/bundle", listener.local_addr().unwrap());
    let said = Arc::new(Mutex::new(String::new()));
    let saying = Arc::clone(&said);
    let router = Router::new().route("/bundle", get(move || async move { saying.lock().unwrap().clone() }));
    tasks.spawn("bundles", async move { axum::serve(listener, router).await.unwrap() });
    (url, said)
}

#[tokio::test]
async fn two_meshes_trust_each_others_workloads_by_pinned_bundles() {
    let (one, two) = (mesh("one.example").await, mesh("two.example").await);
    let web = two.somebody("web", &[]).await;
    two.put(&format!("{WEB}/workload"), json!({})).await.expect(200);
    let issued = certificate(&two, &web).await.expect(200).json();
    let shown = json!({ "certificates": issued["certificate"] });
    assert_eq!(verify(&one, shown.clone()).await["valid"], false, "nobody trusts that domain yet");

    let bundle = two.get("/.well-known/spiffe-bundle").await.expect(200).json();
    let tasks = Tasks::new();
    let (url, said) = endpoint(&tasks).await;
    *said.lock().unwrap() = bundle.to_string();
    let path = "/api/v1/trust-domains/two.example";
    one.put(path, json!({ "bundle": bundle, "endpoint": url })).await.expect(204);
    let name = "spiffe://two.example/tenant/default/principal/web";
    assert_eq!(verify(&one, shown.clone()).await["spiffe_id"], name);
    assert_eq!(one.get("/api/v1/trust-domains").await.expect(200).json()[0]["domain"], "two.example");

    // Its bundle vouches for its own names alone: the same keys under another name are not believed.
    let third = "/api/v1/trust-domains/three.example";
    one.put(third, json!({ "bundle": bundle })).await.expect(204);
    assert_eq!(one.post(&format!("{third}/refresh"), json!({})).await.expect(409).code(), "conflict");
    let thief = mesh("one.example").await;
    thief.somebody("web", &[]).await;
    thief.put(&format!("{WEB}/workload"), json!({})).await.expect(200);
    let stolen = certificate(&thief, &thief.admin).await.expect(200).json();
    let verdict = verify(&one, json!({ "certificates": stolen["certificate"] })).await;
    assert_eq!(verdict["valid"], false, "another authority of the same name: {verdict}");

    // A key that is not in the bundle is a reason to ask for a newer one.
    two.post("/api/v1/keys/workloads/rotate", json!({ "at_once": true })).await.expect(200);
    let again = certificate(&two, &web).await.expect(200).json();
    *said.lock().unwrap() = two.get("/.well-known/spiffe-bundle").await.expect(200).json().to_string();
    assert_eq!(verify(&one, json!({ "certificates": again["certificate"] })).await["spiffe_id"], name);
    assert_eq!(verify(&one, shown).await["valid"], false, "the authority before was withdrawn at once");
    // What workloads get along has the others' authorities.
    let home = one.somebody("web", &[]).await;
    one.put(&format!("{WEB}/workload"), json!({})).await.expect(200);
    let issued = certificate(&one, &home).await.expect(200).json();
    assert!(issued["bundles"]["two.example"].as_str().unwrap().contains("BEGIN CERTIFICATE"));

    one.delete(path).await.expect(204);
    let verdict = verify(&one, json!({ "certificates": again["certificate"] })).await;
    assert_eq!(verdict["valid"], false, "trusted no more: {verdict}");
    for gone in [one.delete(path).await, one.post(&format!("{path}/refresh"), json!({})).await] {
        assert_eq!(gone.expect(404).json()["error"]["message"], "there is no such trust domain");
    }
    for bad in [json!({ "bundle": {} }), json!({ "bundle": bundle, "endpoint": "http://two.example/" })] {
        one.put(path, bad).await.expect(422);
    }
    one.put("/api/v1/trust-domains/one.example", json!({ "bundle": bundle })).await.expect(422);
}
