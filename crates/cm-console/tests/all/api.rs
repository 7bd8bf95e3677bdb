//! An API whose every text is hostile.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use cm_http::{Failure, RequestLimits, ServerLimits, frame};
use cm_runtime::Tasks;
use serde_json::{Value, json};

/// What a text tries: to be an element, to close one, to be a script, to be a link that runs.
pub(crate) const HOSTILE: &str =
    "javascript:window.pwned=1//'\"></p><img src=x onerror=window.pwned=1><script>window.pwned=1</script>";

/// A console over such an API.
pub(crate) struct Served {
    /// Where.
    pub(crate) address: SocketAddr,
    /// Changes that the API was asked for, but for logins.
    pub(crate) changes: Arc<Mutex<Vec<String>>>,
    _tasks: Tasks,
}

impl Served {
    /// Serves it on a free port.
    pub(crate) async fn start() -> Served {
        let (tasks, changes) = (Tasks::new(), Arc::<Mutex<Vec<String>>>::default());
        let api = Router::new().route("/api/v1/{*rest}", any(answer)).with_state(changes.clone());
        let api = frame(api, RequestLimits::default(), cm_http::shape, &tasks);
        let console = cm_console::beside(api, RequestLimits::default(), &tasks);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tasks.clone();
        tasks.spawn("console", async move {
            cm_http::serve(listener, console, ServerLimits::default(), &serving).await
        });
        Served { address, changes, _tasks: tasks }
    }

    /// An address of the console.
    pub(crate) fn url(&self, place: &str) -> String {
        format!("http://localhost:{}/console/{place}", self.address.port())
    }
}

async fn answer(State(changes): State<Arc<Mutex<Vec<String>>>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches("/api/v1/").to_owned();
    let known = request
        .headers()
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value == "Bearer session" || value == "Bearer key");
    match (request.method(), path.as_str()) {
        (&Method::POST, "auth/tokens") if known => {
            return Json(json!({ "token": "session", "expires_at": "2999-01-01T00:00:00Z" })).into_response();
        }
        // Asked before somebody is known, and no change.
        (&Method::POST, "auth/login/passkey") => {
            return Json(json!({ "state": HOSTILE, "options": {}, "origins": [HOSTILE] })).into_response();
        }
        _ if !known => return Failure::unauthenticated(HOSTILE).into_response(),
        (&Method::GET, _) => {}
        (method, path) => {
            changes.lock().unwrap().push(format!("{method} {path}"));
            return changed(path);
        }
    }
    if path.ends_with("/watch") {
        return ([(header::CONTENT_TYPE, "text/event-stream")], format!("id: 9\ndata: {}\n\n", one(&path)))
            .into_response();
    }
    match read(&path, request.uri()) {
        Some(value) => Json(value).into_response(),
        None => Failure::not_found().into_response(),
    }
}

fn changed(path: &str) -> Response {
    match path {
        "decisions" => {
            Json(json!({ "allowed": false, "reasons": [HOSTILE], "codes": [HOSTILE] })).into_response()
        }
        "events/verify" => {
            let finding = json!({ "seq": 3, "what": HOSTILE, "detail": HOSTILE });
            let head = json!({ "seq": 3, "hash": HOSTILE, "anchor": HOSTILE });
            Json(json!({ "intact": false, "records": 3, "head": head, "findings": [finding] }))
                .into_response()
        }
        "intel/events" => Json(threat(8)).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

/// What one message of a stream holds.
fn one(path: &str) -> Value {
    if path.starts_with("intel") { threat(9) } else { event(9) }
}

fn event(seq: u64) -> Value {
    json!({ "seq": seq, "at": "2026-11-21T12:00:00Z", "tenant": HOSTILE, "actor": HOSTILE, "verb": HOSTILE, "resource": format!("function/{HOSTILE}"),
        "request": HOSTILE, "outcome": HOSTILE, "facts": { HOSTILE: HOSTILE } })
}

fn threat(seq: u64) -> Value {
    json!({ "seq": seq, "received": "2026-11-21T12:00:00.000001Z", "id": HOSTILE, "source_ip": HOSTILE, "threat_type": HOSTILE, "severity": HOSTILE, "timestamp": HOSTILE,
        "reporter": HOSTILE, "standing": HOSTILE, "origin": HOSTILE, "tlp": HOSTILE, "reporter_pubkey": HOSTILE, "signature": HOSTILE })
}

fn reputation() -> Value {
    let history = json!([{ "at": HOSTILE, "score": 0.5 }, { "at": HOSTILE, "score": 0.1 }]);
    json!({ "key": HOSTILE, "mode": HOSTILE, "score": 0.25, "standing": HOSTILE, "valid": 1, "invalid": 2, "corroborated": 3, "contradicted": 4, "limited": 5, "first_seen": HOSTILE,
        "last_seen": HOSTILE, "organisation": HOSTILE, "reasons": [{ "what": HOSTILE, "effect": -0.5 }], "history": history })
}

fn object() -> Value {
    json!({ "key": HOSTILE, "size": 7, "sha256": HOSTILE, "etag": HOSTILE, "version": HOSTILE, "content_type": HOSTILE, "metadata": { HOSTILE: HOSTILE }, "created_at": HOSTILE,
        "is_latest": true, "is_delete_marker": false })
}

/// A record with every field that any kind has.
fn record() -> Value {
    json!({
        "id": HOSTILE, "name": HOSTILE, "tenant": HOSTILE, "owner": HOSTILE, "labels": { HOSTILE: HOSTILE }, "generation": 1, "created_at": HOSTILE, "updated_at": HOSTILE, "description": HOSTILE,
        "executor": HOSTILE, "deployment_status": HOSTILE, "microservice_id": HOSTILE, "endpoint_id": HOSTILE, "active_object_id": HOSTILE, "image": HOSTILE, "resources": { "cpu": HOSTILE, "ram": HOSTILE },
        "security_policy": HOSTILE, "confidential": { "policy": HOSTILE }, "function": HOSTILE, "state": HOSTILE, "roles": [HOSTILE], "permissions": [HOSTILE], "axo_code": HOSTILE,
        "display_name": HOSTILE, "disabled": false, "has_password": true, "label": HOSTILE, "kind": HOSTILE,
        "status": { "state": HOSTILE, "address": HOSTILE, "evidence": HOSTILE, "measurement": HOSTILE, "policy_hash": HOSTILE, "isolation": [{ "name": HOSTILE, "active": false, "reason": HOSTILE }] },
        "instance_id": HOSTILE, "metadata": { "run": HOSTILE, "outcome": HOSTILE, "exit_code": HOSTILE, "wall_ms": HOSTILE },
    })
}

fn read(path: &str, uri: &Uri) -> Option<Value> {
    let leaf = |name: &str| json!({ "function_id": HOSTILE, name: HOSTILE });
    let last = path.rsplit('/').next().unwrap_or_default();
    Some(match path {
        "auth/whoami" => {
            json!({ "principal": HOSTILE, "tenant": HOSTILE, "roles": [HOSTILE], "permissions": [HOSTILE], "credential": "token" })
        }
        "node" => {
            json!({ "name": HOSTILE, "version": HOSTILE, "verifying_key": HOSTILE, "ca_certificate": HOSTILE, "measurement": HOSTILE })
        }
        "auth/passkeys" => {
            let passkey = |used: Value| json!({ "id": HOSTILE, "label": HOSTILE, "created_at": HOSTILE, "last_used_at": used });
            json!({ "passkeys": [passkey(HOSTILE.into()), passkey(Value::Null)], "max": 16, "used": true })
        }
        "events/head" => json!({ "seq": 3, "hash": HOSTILE, "anchor": HOSTILE }),
        "events" => json!([event(2), event(1)]),
        "hierarchy" => {
            let object = json!({ "active_object_id": HOSTILE, "object_name": HOSTILE, "alias": HOSTILE, "functions": [leaf("name")] });
            let micro = json!({ "microservice_id": HOSTILE, "microservice_name": HOSTILE, "active_objects": [object], "functions": [leaf("name")] });
            json!([{ "service_id": HOSTILE, "service_name": HOSTILE, "microservices": [micro] }])
        }
        "intel/status" => {
            json!({ "links": 1, "received": 2, "accepted": 3, "duplicates": 4, "invalid": 5, "refused": 6 })
        }
        "intel/events" => json!([threat(7), threat(6)]),
        "intel/peers" => {
            json!([{ "name": HOSTILE, "address": HOSTILE, "outgoing": true, "version": 1, "key": HOSTILE, "state": HOSTILE, "since": HOSTILE, "received": 1, "accepted": 1,
            "duplicates": 0, "invalid": 0, "refused": 0, "sent": 0, "dropped": 0, "score": -3, "ignored": HOSTILE }])
        }
        "intel/reputations" => json!([reputation()]),
        _ if path.starts_with("intel/reputations/") => reputation(),
        _ if path.starts_with("intel/events/") => match last {
            "stix" | "misp" => json!({ HOSTILE: HOSTILE }),
            _ => threat(7),
        },
        _ if path.starts_with("buckets/") && (last == "objects" || last == "versions") => {
            // The page of one object asks for exactly its key.
            let _all = uri;
            json!([object()])
        }
        _ if last == "referrers" => {
            json!([{ "kind": HOSTILE, "id": HOSTILE, "resource": format!("function/{HOSTILE}") }])
        }
        _ if last == "programs" || last == "data-files" => {
            json!([{ "name": HOSTILE, "sha256": HOSTILE, "size": 7 }])
        }
        _ if last == "policy" => json!({ HOSTILE: HOSTILE }),
        _ if last == "states" || last == "results" || last == "api-keys" => json!([record()]),
        "services" | "functions" | "instances" | "buckets" | "endpoints" | "storages" | "active-objects"
        | "security-policies" | "roles" | "principals" => json!([record()]),
        _ if path.split('/').count() == 2 => record(),
        _ => return None,
    })
}
