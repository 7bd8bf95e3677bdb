//! The Summoner, which launched containers for routers that wanted more peers.
//!
//! It runs an image that its caller names. No launcher of this node does: instances run the node's own measured executable, and endpoints are processes of
//! it. Launching one of these for somebody who asked for an image would be another thing than was asked for. So what is asked for is
//! checked, and refused by name; nothing that a Summoner launched is here.

use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use cm_door::{Caller, refusal};
use cm_http::{Failure, FailureClass, RequestLimits, Upload};
use cm_kernel::policy::{Create, List};
use cm_types::ResourceKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::MictlanX;
use super::face::face;
use super::shape::{invalid_field, typed};
use super::writing::json_body;

/// The routes of the Summoner.
pub fn router(mictlanx: MictlanX, limits: RequestLimits) -> Router {
    let routes = Router::new()
        .route("/api/v3/health", get(health))
        .route("/api/v3/stats", get(stats))
        .route("/api/v3/containers", post(summon))
        .route("/api/v3/services", post(summon))
        .route("/api/v3/containers/{id}", delete(dismiss))
        .route("/api/v3/services/{id}", delete(dismiss));
    face(routes, mictlanx, limits)
}

/// What is to be launched, as far as it must be said.
#[derive(Debug, Deserialize)]
struct Summons {
    container_id: String,
    image: String,
    #[serde(default)]
    exposed_ports: Vec<ExposedPort>,
}

#[derive(Debug, Deserialize)]
struct ExposedPort {
    host_port: i64,
    container_port: i64,
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

async fn stats(State(mictlanx): State<MictlanX>, caller: Caller) -> Result<Json<Value>, Failure> {
    mictlanx.kernel().authorize::<List>(&caller, ResourceKind::Endpoint).await.map_err(refusal)?;
    Ok(Json(json!({ "summons": {} })))
}

async fn summon(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    body: Upload,
) -> Result<Json<Value>, Failure> {
    mictlanx.kernel().authorize::<Create>(&caller, ResourceKind::Endpoint).await.map_err(refusal)?;
    let Summons { container_id, image, exposed_ports } = json_body(body).await?;
    for (field, text) in [("container_id", &container_id), ("image", &image)] {
        if text.is_empty() {
            return Err(invalid_field(field, "must not be empty"));
        }
    }
    let is_port = |port: i64| u16::try_from(port).is_ok_and(|port| port != 0);
    if exposed_ports.iter().any(|port| !is_port(port.host_port) || !is_port(port.container_port)) {
        return Err(invalid_field("exposed_ports", "a port is 1 to 65535"));
    }
    let message =
        "this node launches no images; start the container by other means, and a peer by `cryptomesh up`";
    Err(typed(FailureClass::UpstreamFailed, 501, 400, message))
}

async fn dismiss(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    mictlanx.kernel().authorize::<List>(&caller, ResourceKind::Endpoint).await.map_err(refusal)?;
    Err(typed(FailureClass::NotFound, 404, 404, format!("nothing with the id {id} was launched here")))
}
