//! A simulated cluster: as much of an API server as the launcher uses, a garbage collector, a kubelet that starts real
//! processes, and a proxy that leads the ports of the Service to them.
//!
//! What it is held to: names exist once (409), deletions in the foreground end when the last dependant has, objects without
//! their owner go, watches tell every change behind a version, and pods end when their processes do.

mod kubelet;
mod store;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use cm_runtime::Tasks;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::agents::Processes;
use super::faults::Faults;
use super::suite::Fault;
pub(super) use store::Store;

/// The cluster.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) store: Store,
    pub(super) faults: Faults,
    pub(super) address: SocketAddr,
}

impl Cluster {
    pub(super) async fn start(tasks: &Tasks, processes: &Processes) -> Cluster {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let store = Store::new(tasks, processes);
        let cluster = Cluster { store, faults: Faults::default(), address };
        let router = Router::new()
            .route("/api/v1/namespaces/{namespace}/{kind}", any(collection))
            .route("/api/v1/namespaces/{namespace}/{kind}/{name}", any(item))
            .route("/apis/discovery.k8s.io/v1/namespaces/{namespace}/{kind}", any(collection))
            .route("/apis/discovery.k8s.io/v1/namespaces/{namespace}/{kind}/{name}", any(item))
            .with_state(cluster.clone());
        tasks.spawn("api-server", async move { axum::serve(listener, router).await.unwrap() });
        cluster
    }

    /// Writes a file that leads a node here.
    pub(super) fn kubeconfig(&self, dir: &std::path::Path) -> PathBuf {
        let path = dir.join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{}", self.address) } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "users": [{ "name": "test", "user": {} }],
        });
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason,
        "reason": reason, "code": code.as_u16(),
    });
    (code, axum::Json(body)).into_response()
}

fn failed() -> Response {
    status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
}

fn answer(outcome: Result<Value, StatusCode>) -> Response {
    match outcome {
        Ok(object) => axum::Json(object).into_response(),
        Err(code) => status(code, reason(code)),
    }
}

/// The word of the API for a refusal. Clients go by it rather than by the code.
fn reason(code: StatusCode) -> &'static str {
    match code {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "AlreadyExists",
        StatusCode::UNPROCESSABLE_ENTITY => "Invalid",
        _ => "InternalError",
    }
}

async fn collection(
    State(cluster): State<Cluster>,
    Path((_, kind)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    method: Method,
    body: Bytes,
) -> Response {
    let fault = cluster.faults.take(&format!("{method} {kind}"));
    if fault == Some(Fault::Refused) {
        return failed();
    }
    let response = match method {
        Method::POST => answer(
            serde_json::from_slice(&body)
                .map_err(|_| StatusCode::BAD_REQUEST)
                .and_then(|object| cluster.store.create(&kind, object)),
        ),
        Method::GET if query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") => {
            watch(&cluster, kind, &query)
        }
        Method::GET => {
            let selector = query.get("labelSelector").map_or("", String::as_str);
            answer(Ok(cluster.store.list(&kind, selector)))
        }
        _ => status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    };
    if fault.is_some() { failed() } else { response }
}

async fn item(
    State(cluster): State<Cluster>,
    Path((_, kind, name)): Path<(String, String, String)>,
    Query(query): Query<HashMap<String, String>>,
    method: Method,
    body: Bytes,
) -> Response {
    let fault = cluster.faults.take(&format!("{method} {kind}"));
    if fault == Some(Fault::Refused) {
        return failed();
    }
    let options: Value = serde_json::from_slice(&body).unwrap_or_default();
    let response = match method {
        Method::GET => answer(cluster.store.get(&kind, &name)),
        Method::PATCH => answer(cluster.store.merge(&kind, &name, &options)),
        Method::DELETE => {
            let foreground = options["propagationPolicy"] == "Foreground"
                || query.get("propagationPolicy").is_some_and(|policy| policy == "Foreground");
            answer(cluster.store.delete(&kind, &name, foreground))
        }
        _ => status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    };
    if fault.is_some() { failed() } else { response }
}

/// Tells changes of one object, each as a line, until the client leaves. A client that is too slow is told to look anew.
fn watch(cluster: &Cluster, kind: String, query: &HashMap<String, String>) -> Response {
    let selector = query.get("fieldSelector").cloned().unwrap_or_default();
    let name = selector.strip_prefix("metadata.name=").unwrap_or_default().to_owned();
    let version = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    let (missed, events) = cluster.store.watch(&kind, &name, version);
    let concerns = move |change: &store::Change| change.kind == kind && change.name == name;
    let later = stream::unfold((events, concerns), |(mut events, concerns)| async move {
        loop {
            match events.recv().await {
                Ok(change) if concerns(&change) => return Some((change.line(), (events, concerns))),
                Ok(_) => {}
                Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
            }
        }
    });
    let missed = stream::iter(missed.into_iter().map(|change| change.line()));
    let lines = missed.chain(later).map(Ok::<_, std::convert::Infallible>);
    Response::new(Body::from_stream(lines))
}
