//! Deploying and detaching through the API.

use std::sync::atomic::Ordering;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Node, PATIENCE};

fn body(id: &str) -> Value {
    json!({ "id": id, "name": id, "image": "example/endpoint:1", "resources": { "cpu": 1, "ram": "1GB" } })
}

impl Node {
    /// The endpoint once it is in this state.
    async fn until(&self, id: &str, state: &str) -> Value {
        let waiting = async {
            loop {
                let endpoint = self.get(&format!("/api/v1/endpoints/{id}")).await.expect(200).json();
                if endpoint["state"] == state {
                    return endpoint;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("{id} did not become {state}"))
    }

    async fn states(&self, id: &str) -> Vec<String> {
        let path = format!("/api/v1/endpoint-states?filter=endpoint_id={id}");
        let states = self.get(&path).await.expect(200).json();
        states.as_array().unwrap().iter().map(|state| state["state"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn an_endpoint_is_deployed_detached_and_deployed_again() {
    let node = Node::start().await;
    let created = node.post("/api/v1/endpoints/deploy", body("e")).await.expect(201);
    assert_eq!(created.header("location"), "/api/v1/endpoints/e");
    let created = created.json();
    assert_eq!((&created["state"], &created["endpoint_id"]), (&json!("warming"), &json!("e")));
    assert!(created["req_res_port"].is_u64() && created["pubsub_port"].is_u64(), "{created}");
    let warm = node.until("e", "warm").await;
    assert_eq!(
        (&warm["req_res_port"], &warm["status"]["launcher"]),
        (&created["req_res_port"], &json!("test"))
    );
    assert_eq!(node.post("/api/v1/endpoints/e/deploy", json!({})).await.expect(409).code(), "conflict");

    let cold = node.post("/api/v1/endpoints/e/detach", json!({})).await.expect(200).json();
    assert_eq!((&cold["state"], &cold["req_res_port"]), (&json!("cold"), &Value::Null));
    assert_eq!(cold["status"]["reason"], "detached");
    assert_eq!(node.post("/api/v1/endpoints/e/detach", json!({})).await.expect(409).code(), "conflict");

    let again = node.post("/api/v1/endpoints/e/deploy", json!({})).await.expect(202).json();
    assert_eq!(again["state"], "warming");
    node.until("e", "warm").await;
    node.delete("/api/v1/endpoints/detach/e").await.expect(204);
    node.get("/api/v1/endpoints/e").await.expect(404);
    node.delete("/api/v1/endpoints/detach/e").await.expect(404);
}

#[tokio::test]
async fn what_is_deployed_ends_before_its_record_goes() {
    let node = Node::start().await;
    node.post("/api/v1/endpoints/deploy", body("e")).await.expect(201);
    node.until("e", "warm").await;
    let etag = node.get("/api/v1/endpoints/e").await.header("etag").to_owned();
    let stale = [("if-match", "\"1\"")];
    let delete = async |headers: &[(&str, &str)]| {
        node.ask_with(Method::DELETE, "/api/v1/endpoints/e", Some(&node.admin), headers, "").await
    };
    delete(&stale).await.expect(412);
    assert_eq!(node.states("e").await, ["warming", "warm"], "a refused deletion ended it");
    node.delete("/api/v1/endpoints/e?dry_run=true").await.expect(200);
    assert_eq!(node.states("e").await, ["warming", "warm"], "asking what would go ended it");
    let somebody = node.somebody("somebody", &["endpoint:read", "endpoint:delete"]).await;
    node.post("/api/v1/functions", json!({ "id": "f", "endpoint_id": "e" })).await.expect(201);
    node.ask(Method::DELETE, "/api/v1/endpoints/e", Some(&somebody), "").await.expect(409);
    assert_eq!(node.states("e").await, ["warming", "warm"], "a user that they may not see did not keep it");
    node.delete("/api/v1/functions/f").await.expect(204);
    delete(&[("if-match", &etag)]).await.expect(204);
    node.get("/api/v1/endpoints/e").await.expect(404);
    // Its place is free.
    for id in ["a", "b"] {
        node.post("/api/v1/endpoints/deploy", body(id)).await.expect(201);
    }
    // What was never deployed is detached, too: nothing is to be left.
    node.post("/api/v1/endpoints", body("idle")).await.expect(201);
    node.delete("/api/v1/endpoints/detach/idle").await.expect(204);
}

#[tokio::test]
async fn a_deployment_that_is_sent_twice_happens_once() {
    let node = Node::start().await;
    let deploy = async |key: &str, body: Value| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        let path = "/api/v1/endpoints/deploy";
        node.ask_with(Method::POST, path, Some(&node.admin), &headers, body.to_string()).await
    };
    let unnamed = || {
        let mut body = body("e");
        body.as_object_mut().unwrap().remove("id");
        body
    };
    let twice = futures::future::join(deploy("k", unnamed()), deploy("k", unnamed())).await;
    let (first, second) = (twice.0.expect(201), twice.1.expect(201));
    assert_eq!(first.json()["id"], second.json()["id"]);
    let replayed = deploy("k", unnamed()).await.expect(201);
    assert_eq!(replayed.header("idempotent-replay"), "true");
    assert_eq!(replayed.json()["id"], first.json()["id"]);
    let all = node.get("/api/v1/endpoints").await.expect(200).items();
    assert_eq!(all.len(), 1, "{all:?}");
    deploy("k", body("other")).await.expect(422);
}

#[tokio::test]
async fn at_the_limit_the_answer_says_which_and_when_to_come_back() {
    let node = Node::start().await;
    // Six that are not deployed count for nothing.
    for n in 0..6 {
        node.post("/api/v1/endpoints", body(&format!("idle{n}"))).await.expect(201);
    }
    let asked = (0..10).map(|n| {
        let node = &node;
        async move { node.post("/api/v1/endpoints/deploy", body(&format!("e{n}"))).await }
    });
    let answers = futures::future::join_all(asked).await;
    let deployed = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(deployed, 2);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (429, "too-many"));
        assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
        let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("endpoints.deployed_max") && message.contains('2'), "{message}");
    }
    let all = node.get("/api/v1/endpoints").await.expect(200).json();
    assert_eq!(all.as_array().unwrap().len(), 8, "a refused deployment left a record");
    node.post("/api/v1/endpoints/idle0/deploy", json!({})).await.expect(429);
}

#[tokio::test]
async fn a_failed_deployment_is_cold_with_the_reason() {
    let node = Node::start().await;
    node.launcher.is_failing.store(true, Ordering::Relaxed);
    node.post("/api/v1/endpoints/deploy", body("e")).await.expect(201);
    let cold = node.until("e", "cold").await;
    assert!(cold["status"]["reason"].as_str().unwrap().contains("told to fail"), "{cold}");
    assert_eq!(node.states("e").await, ["warming", "cold"]);
}

#[tokio::test]
async fn parts_of_paths_are_no_ids() {
    let node = Node::start().await;
    for id in ["deploy", "detach"] {
        for path in ["/api/v1/endpoints", "/api/v1/endpoints/deploy"] {
            assert_eq!(node.post(path, body(id)).await.expect(422).code(), "invalid");
        }
    }
    node.post("/api/v1/services", json!({ "id": "deploy", "name": "deploy" })).await.expect(201);
}

#[tokio::test]
async fn clients_of_the_earlier_implementation_deploy_and_detach() {
    let node = Node::start_open().await;
    let body = json!({
        "name": "e", "image": "nachocode/axo:1", "security_policy": "sp", "resources": { "cpu": 1, "ram": "2GB" },
    });
    let answer = node.ask(Method::POST, "/api/v1/endpoints/deploy", None, body.to_string()).await.expect(201);
    let id = answer.json()["endpoint_id"].as_str().unwrap().to_owned();
    assert!(answer.json()["pubsub_port"].is_u64());
    node.ask(Method::DELETE, &format!("/api/v1/endpoints/detach/{id}"), None, "").await.expect(204);
    node.ask(Method::GET, &format!("/api/v1/endpoints/{id}"), None, "").await.expect(404);
}
