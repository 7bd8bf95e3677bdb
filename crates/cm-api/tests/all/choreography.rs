//! Choreographies, with a small server in ShieldX's place.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use cm_runtime::Tasks;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Node, PATIENCE};

const RUN: &str = "/api/v1/choreography/run";

/// Answers every choreography alike, and keeps what it was sent.
#[derive(Clone)]
struct Standin {
    answer: (StatusCode, &'static str),
    asked: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
}

async fn run(
    State(standin): State<Standin>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, String) {
    standin.asked.lock().unwrap().push((headers, body));
    (standin.answer.0, standin.answer.1.to_owned())
}

async fn shieldx(tasks: &Tasks, answer: (StatusCode, &'static str)) -> (Standin, SocketAddr) {
    let standin = Standin { answer, asked: Arc::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/v1/choreography/run", post(run)).with_state(standin.clone());
    tasks.spawn("shieldx", async move { axum::serve(listener, router).await.unwrap() });
    (standin, address)
}

fn graph() -> Value {
    json!({
        "vertices": [
            { "id": "a", "type": "ActiveObject", "name": "first",
              "rule": { "target": { "alias": "counter", "axo_bucket_id": "b", "axo_endpoint_id": "e" } },
              "params": { "init": { "start": "1" }, "call": { "by": "2" } } },
            { "id": "b", "type": "ActiveObject", "rule": { "target": { "axo_endpoint_id": "elsewhere" } } },
            { "id": "c", "type": "Bucket", "sink_bucket_id": "sinks" },
        ],
        "edges": [{ "from": "a", "to": "b" }, { "from": "b", "to": "c" }],
    })
}

async fn node_of(address: SocketAddr) -> Node {
    let node = Node::start_with_shieldx(&format!("http://{address}/v1/")).await;
    let endpoint = json!({ "id": "e", "image": "i", "resources": { "cpu": 1, "ram": "1GB" } });
    node.post("/api/v1/endpoints", endpoint).await.expect(201);
    node
}

#[tokio::test]
async fn a_choreography_is_handed_on_with_where_its_endpoints_are() {
    let tasks = Tasks::new();
    let (standin, address) = shieldx(&tasks, (StatusCode::OK, "{\"run\":7}")).await;
    let node = node_of(address).await;
    let answer = node.post(RUN, graph()).await.expect(202).json();
    assert_eq!((&answer["node_count"], &answer["shieldx_response"]), (&json!(3), &json!({ "run": 7 })));
    assert!(answer["message"].is_string());
    let (headers, sent) = standin.asked.lock().unwrap().pop().unwrap();
    assert!(!headers.contains_key("authorization"), "credentials stay here");
    let mut expected = graph();
    expected["vertices"][0]["deployment_info"] =
        json!({ "host": "e", "req_res_port": null, "pubsub_port": null });
    expected["vertices"][1]["deployment_info"] = Value::Null;
    expected["vertices"][2]["deployment_info"] = Value::Null;
    assert_eq!(sent, expected);

    let invoker = node.somebody("invoker", &["function:invoke"]).await;
    node.ask(Method::POST, RUN, Some(&invoker), graph().to_string()).await.expect(202);
    let (_, sent) = standin.asked.lock().unwrap().pop().unwrap();
    assert_eq!(
        sent["vertices"][0]["deployment_info"],
        Value::Null,
        "who may not read an endpoint learns nothing"
    );
    let reader = node.somebody("reader", &["function:read", "endpoint:read"]).await;
    node.ask(Method::POST, RUN, Some(&reader), graph().to_string()).await.expect(403);
    assert!(standin.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_deployed_endpoint_has_ports() {
    let tasks = Tasks::new();
    let (standin, address) = shieldx(&tasks, (StatusCode::ACCEPTED, "")).await;
    let node = Node::start_with_shieldx(&format!("http://{address}/v1")).await;
    let endpoint = json!({ "id": "e", "image": "i", "resources": { "cpu": 1, "ram": "1GB" } });
    node.post("/api/v1/endpoints/deploy", endpoint).await.expect(201);
    let warm = async {
        while node.get("/api/v1/endpoints/e").await.expect(200).json()["req_res_port"].is_null() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, warm).await.expect("the endpoint is deployed");
    let answer = node.post(RUN, graph()).await.expect(202).json();
    assert_eq!(answer["shieldx_response"], Value::Null, "it said nothing");
    let (_, sent) = standin.asked.lock().unwrap().pop().unwrap();
    let place = &sent["vertices"][0]["deployment_info"];
    assert!(place["req_res_port"].is_u64() && place["pubsub_port"].is_u64(), "{place}");
}

#[tokio::test]
async fn a_graph_that_is_none_is_refused_before_anybody_is_asked() {
    let tasks = Tasks::new();
    let (standin, address) = shieldx(&tasks, (StatusCode::OK, "{}")).await;
    let node = node_of(address).await;
    let check = async |change: &dyn Fn(&mut Value), path: &str| {
        let mut graph = graph();
        change(&mut graph);
        let refused = node.post(RUN, graph).await.expect(422);
        assert!(refused.json()["error"]["details"].to_string().contains(path), "{path}: {refused:?}");
    };
    check(&|graph| graph["vertices"][0]["sink_bucket_id"] = json!("x"), "vertices[0].sink_bucket_id").await;
    check(&|graph| graph["vertices"][1]["id"] = json!("a"), "vertices[1].id").await;
    check(&|graph| graph["edges"][1]["to"] = json!("nobody"), "edges[1].to").await;
    check(&|graph| graph["edges"][0]["from"] = json!("nobody"), "edges[0].from").await;
    check(&|graph| graph["vertices"] = json!([]), "vertices").await;
    check(&|graph| graph["edges"] = Value::Null, "edges").await;
    check(&|graph| graph["vertices"][0]["params"]["init"]["start"] = json!(1), "vertices[0].params.init")
        .await;
    check(&|graph| graph["vertices"][0]["colour"] = json!("red"), "colour").await;
    check(&|graph| drop(graph.as_object_mut().unwrap().remove("edges")), "edges").await;
    assert!(standin.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_shieldx_fails_at_is_no_success() {
    let tasks = Tasks::new();
    let check = async |answer: (StatusCode, &'static str), effect: &str| {
        let (_, address) = shieldx(&tasks, answer).await;
        let node = node_of(address).await;
        let refused = node.post(RUN, graph()).await.expect(424);
        assert_eq!(refused.code(), "upstream-failed");
        let details = refused.json()["error"]["details"].clone();
        assert_eq!(
            (&details["upstream"], &details["effect"]),
            (&json!("shieldx"), &json!(effect)),
            "{answer:?}"
        );
        details
    };
    let details = check((StatusCode::INTERNAL_SERVER_ERROR, "secret trace"), "unknown").await;
    assert_eq!(details["upstream_status"], 500);
    assert!(!details.to_string().contains("secret"), "{details}");
    check((StatusCode::UNPROCESSABLE_ENTITY, "{}"), "none").await;
    check((StatusCode::OK, "no json"), "unknown").await;
    check((StatusCode::FOUND, ""), "unknown").await;
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let node = node_of(address).await;
    let refused = node.post(RUN, graph()).await.expect(424).json();
    assert_eq!(refused["error"]["details"]["effect"], "none");
}
