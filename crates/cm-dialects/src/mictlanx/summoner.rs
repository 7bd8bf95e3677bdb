//! The Summoner, which launched containers for CryptoMesh, and for routers that wanted more peers.
//!
//! It ran an image that its caller named. Nothing here does: what CryptoMesh had it launch are endpoints, and those
//! are servers of this node ([`cm_endpoints`]), whatever their image is called. So a container that says that it is an endpoint,
//! by the label that CryptoMesh writes or by an image that the operator listed, becomes one, deployed by the same launcher and
//! held to the same limits and permissions as by the native API. Anything else is refused by name: launching
//! something for somebody who asked for another thing would be a wrong success.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use cm_door::{Caller, endpoint_refusal, refusal};
use cm_http::{Failure, FailureClass, RequestLimits, Upload};
use cm_kernel::catalog::kinds::{Endpoint, Resources};
use cm_kernel::catalog::lifecycle::ENDPOINT_COLD;
use cm_kernel::catalog::{NewRecord, Query, Record};
use cm_kernel::policy::{Create, Delete, List, Permit, Update};
use cm_kernel::{ErrorClass, Kernel};
use cm_types::{ByteCount, Labels, PageLimit, ResourceId, ResourceKind};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::MictlanX;
use super::face::face;
use super::router::milliseconds;
use super::shape::{invalid_field, typed};
use super::writing::json_body;

/// Endpoints that are listed at once.
const LISTED_MAX: usize = 10_000;
/// The label by which CryptoMesh says what it has launched.
const TYPE: &str = "type";
/// What it says of an endpoint.
const ENDPOINT: &str = "axo-endpoint";
/// Where the servers of endpoints listen.
const ADDRESS: &str = "127.0.0.1";

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

/// What is to be launched. An endpoint has no environment, network or volumes of its own, so that what is said of
/// those is passed over.
#[derive(Debug, Deserialize)]
struct Summons {
    container_id: String,
    image: String,
    #[serde(default)]
    exposed_ports: Vec<ExposedPort>,
    /// In bytes.
    #[serde(default = "default_memory")]
    memory: i64,
    #[serde(default = "one")]
    cpu_count: i64,
    #[serde(default)]
    mounts: Vec<Mount>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Whether what runs under the id is ended first.
    #[serde(default = "yes")]
    force: bool,
}

#[derive(Debug, Deserialize)]
struct ExposedPort {
    host_port: i64,
    container_port: i64,
}

#[derive(Debug, Deserialize)]
struct Mount {
    mount_type: i64,
}

fn default_memory() -> i64 {
    1_000_000_000
}

fn one() -> i64 {
    1
}

fn yes() -> bool {
    true
}

impl Summons {
    /// What the catalogue is to say of the endpoint.
    fn endpoint(&self) -> Result<Endpoint, Failure> {
        if self.image.is_empty() {
            return Err(invalid_field("image", "must not be empty"));
        }
        let is_port = |port: i64| u16::try_from(port).is_ok_and(|port| port != 0);
        if self.exposed_ports.iter().any(|port| !is_port(port.host_port) || !is_port(port.container_port)) {
            return Err(invalid_field("exposed_ports", "a port is 1 to 65535"));
        }
        // Volumes, temporary and empty directories are the container's own; the rest is the host's.
        if self.mounts.iter().any(|mount| !matches!(mount.mount_type, 1 | 2 | 4)) {
            return Err(invalid_field("mounts", "nothing of the host is shown: mount_type is 1, 2 or 4"));
        }
        let cpu = u32::try_from(self.cpu_count).ok().filter(|cpu| *cpu > 0);
        let cpu = cpu.ok_or_else(|| invalid_field("cpu_count", "at least one CPU"))?;
        let memory = u64::try_from(self.memory).map_err(|_| invalid_field("memory", "bytes, not below 0"))?;
        Ok(Endpoint {
            description: None,
            image: self.image.clone(),
            resources: Some(Resources { cpu, ram: ByteCount::from_bytes(memory) }),
            security_policy: None,
            policy_id: None,
        })
    }

    fn labels(&self) -> Result<Labels, Failure> {
        Labels::try_from(self.labels.clone()).map_err(|error| invalid_field("labels", &error.to_string()))
    }
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Endpoints that are deployed, as far as the caller may see them.
async fn stats(State(mictlanx): State<MictlanX>, caller: Caller) -> Result<Json<Value>, Failure> {
    let kernel = mictlanx.kernel();
    let permit = kernel.authorize::<List>(&caller, ResourceKind::Endpoint).await.map_err(refusal)?;
    let mut query = Query { limit: PageLimit::MAX, ..Query::of(ResourceKind::Endpoint) };
    let mut summons = Map::new();
    loop {
        let page = kernel.list_records(&caller, &permit, query.clone()).await.map_err(refusal)?;
        for record in page.items.iter().filter(|record| !is_cold(record)) {
            let id = record.header.id.clone();
            let summon = json!({
                "id": id, "container_id": id, "created_at": record.header.created_at.as_secs(),
                "client_id": record.header.owner,
            });
            summons.insert(id.to_string(), summon);
        }
        match page.next {
            Some(next) if summons.len() < LISTED_MAX => query.after = Some(next),
            _ => return Ok(Json(json!({ "summons": summons }))),
        }
    }
}

fn is_cold(record: &Record) -> bool {
    record.status.get("state").and_then(Value::as_str).is_none_or(|state| state == ENDPOINT_COLD)
}

/// Deploys an endpoint. It is answered while the server starts, with the port on which it will be: the node chooses, and
/// `host_port` is not kept.
async fn summon(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    body: Upload,
) -> Result<Json<Value>, Failure> {
    let began = Instant::now();
    let kernel = mictlanx.kernel();
    let summons: Summons = json_body(body).await?;
    let caller = caller.again(kernel).await?;
    let id = ResourceId::parse(summons.container_id.clone())
        .map_err(|error| invalid_field("container_id", &error.to_string()))?;
    let (endpoint, labels) = (summons.endpoint()?, summons.labels()?);
    let record = match there(kernel, &caller, &id).await? {
        Some(there) => deploy_again(&mictlanx, &caller, there, &summons).await?,
        None => {
            let permit = kernel.authorize_labelled::<Create>(&caller, ResourceKind::Endpoint, &labels).await;
            let permit = permit.map_err(refusal)?;
            demand_endpoint(&mictlanx, &summons)?;
            let new = NewRecord { labels, ..NewRecord::of(id.as_str(), &endpoint).with_id(id.clone()) };
            let made = mictlanx.endpoints().create_deployed(&caller, &permit, new, None).await;
            made.map_err(endpoint_refusal)?
        }
    };
    let port = record.status.get("req_res_port").cloned().unwrap_or_default();
    Ok(Json(json!({
        "container_id": id, "service_time": milliseconds(began), "ip_addr": ADDRESS, "port": port,
    })))
}

/// The endpoint of this id, if the caller may know of it.
async fn there(
    kernel: &Kernel,
    caller: &Caller,
    id: &ResourceId,
) -> Result<Option<(Record, Permit<Update>)>, Failure> {
    match kernel.look_up::<Update>(caller, ResourceKind::Endpoint, id.as_str()).await {
        Ok(there) => Ok(Some(there)),
        Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
        Err(error) => Err(refusal(error)),
    }
}

/// Deploys an endpoint that is declared already; one that runs is ended first if the caller wants it so.
async fn deploy_again(
    mictlanx: &MictlanX,
    caller: &Caller,
    (mut record, permit): (Record, Permit<Update>),
    summons: &Summons,
) -> Result<Record, Failure> {
    let id = &record.header.id;
    let conflict = |what: &str| Err(typed(FailureClass::Conflict, 409, 400, format!("`{id}` {what}")));
    if record.spec.get("image").and_then(Value::as_str) != Some(&summons.image) {
        return conflict("is there already, with another image");
    }
    if !is_cold(&record) {
        if !summons.force {
            return conflict("runs already; `force` ends it first");
        }
        record = mictlanx.endpoints().detach(caller, &record, &permit).await.map_err(endpoint_refusal)?;
    }
    mictlanx.endpoints().deploy(caller, &record, &permit).await.map_err(endpoint_refusal)
}

/// Refuses what is not said to be an endpoint.
fn demand_endpoint(mictlanx: &MictlanX, summons: &Summons) -> Result<(), Failure> {
    if summons.labels.get(TYPE).is_some_and(|kind| kind == ENDPOINT)
        || mictlanx.settings().is_endpoint_image(&summons.image)
    {
        return Ok(());
    }
    let message = format!(
        "this node runs no images but endpoints: label the container `{TYPE}`: `{ENDPOINT}`, or have its image listed in \
         `mictlanx.endpoint_images`; a peer is another node, started by `cryptomesh up`"
    );
    Err(typed(FailureClass::UpstreamFailed, 501, 400, message))
}

/// Ends an endpoint and deletes its record, as CryptoMesh does it with its own.
async fn dismiss(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let kernel = mictlanx.kernel();
    let (record, permit) =
        kernel.look_up::<Delete>(&caller, ResourceKind::Endpoint, &id).await.map_err(refusal)?;
    let dependents = kernel.dependents_default();
    let ended = mictlanx.endpoints().end_before_deletion(&caller, &record, &permit, dependents).await;
    let record = ended.map_err(endpoint_refusal)?;
    let gone = kernel.delete_record(&caller, &permit, &record.header.id, None, dependents).await;
    gone.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}
