//! Choreographies: graphs of active objects, buckets and the like, which ShieldX runs.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cm_http::{Failure, FailureClass, JsonBody};
use cm_kernel::catalog::Record;
use cm_kernel::policy::Invoke;
use cm_kernel::{Kernel, OpContext};
use cm_types::{ResourceKind, ResourceRef};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;
use crate::fields::decode_known;
use crate::record::unknown_fields;

/// Most vertices of one choreography.
const VERTICES_MAX: usize = 1000;
/// Most edges of one choreography.
const EDGES_MAX: usize = 10_000;
/// Longest id of a vertex, in bytes.
const ID_LEN_MAX: usize = 128;
/// The type of vertices that are active objects.
const ACTIVE_OBJECT: &str = "ActiveObject";

/// A graph of work.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Choreography {
    /// What takes part, 1 to 1000.
    pub vertices: Vec<Vertex>,
    /// What follows what, at most 10000.
    pub edges: Vec<Edge>,
}

/// What takes part in a choreography.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Vertex {
    /// Unique in the choreography.
    pub id: String,
    /// What it is, such as `ActiveObject`.
    #[serde(rename = "type")]
    pub vertex_type: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is done by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// What it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<VertexParams>,
    /// The bucket that its outputs go to. Active objects have their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink_bucket_id: Option<String>,
}

/// What a vertex is done by.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Rule {
    /// The active object.
    pub target: Target,
}

/// An active object and where it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Target {
    /// Its alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The bucket of its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_bucket_id: Option<String>,
    /// The endpoint that it lives on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_endpoint_id: Option<String>,
}

/// What a vertex is given.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct VertexParams {
    /// To its constructor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<BTreeMap<String, String>>,
    /// To its method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<BTreeMap<String, String>>,
}

/// One vertex follows another.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Edge {
    /// The id of the earlier one.
    pub from: String,
    /// The id of the later one.
    pub to: String,
}

/// What came of a choreography.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChoreographyStarted {
    /// A sentence for people.
    pub message: String,
    /// How many vertices it has.
    pub node_count: usize,
    /// What ShieldX answered.
    pub shieldx_response: Value,
}

/// Everything that is wrong with the graph.
fn check(graph: &Choreography) -> Result<(), Failure> {
    let mut errors = Vec::new();
    let mut wrong = |path: String, message: String| errors.push(json!({ "path": path, "message": message }));
    let (vertices, edges) = (&graph.vertices, &graph.edges);
    if vertices.is_empty() || vertices.len() > VERTICES_MAX {
        wrong("vertices".to_owned(), format!("must be 1 to {VERTICES_MAX}, not {}", vertices.len()));
    }
    if edges.len() > EDGES_MAX {
        wrong("edges".to_owned(), format!("must be at most {EDGES_MAX}, not {}", edges.len()));
    }
    let mut ids = HashSet::new();
    for (at, vertex) in vertices.iter().take(VERTICES_MAX).enumerate() {
        if vertex.id.is_empty() || vertex.id.len() > ID_LEN_MAX {
            wrong(format!("vertices[{at}].id"), format!("must have 1 to {ID_LEN_MAX} bytes"));
        }
        if !ids.insert(vertex.id.as_str()) {
            wrong(format!("vertices[{at}].id"), "is the id of an earlier vertex".to_owned());
        }
        if vertex.vertex_type == ACTIVE_OBJECT && vertex.sink_bucket_id.is_some() {
            let message = format!("is not for vertices of type `{ACTIVE_OBJECT}`");
            wrong(format!("vertices[{at}].sink_bucket_id"), message);
        }
    }
    for (at, edge) in edges.iter().take(EDGES_MAX).enumerate() {
        for (end, id) in [("from", &edge.from), ("to", &edge.to)] {
            if !ids.contains(id.as_str()) {
                wrong(format!("edges[{at}].{end}"), "is the id of no vertex".to_owned());
            }
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Failure::new(FailureClass::Invalid, "the choreography is not valid").with_detail("fields", errors))
}

/// The choreography as ShieldX takes it: each vertex with where its endpoint is deployed.
async fn located(kernel: &Kernel, op: &OpContext, graph: &Choreography) -> Result<Value, Failure> {
    let named: BTreeSet<&str> = graph.vertices.iter().filter_map(endpoint_of).collect();
    let resources = named.iter().map(|id| ResourceRef::new(ResourceKind::Endpoint, *id)).collect();
    let endpoints = kernel.readable(op, resources).await.map_err(refusal)?;
    let places: BTreeMap<&str, Value> =
        named.into_iter().zip(endpoints).filter_map(|(id, endpoint)| Some((id, place(&endpoint?)))).collect();
    let mut whole = serde_json::to_value(graph).map_err(Failure::internal)?;
    for (at, vertex) in graph.vertices.iter().enumerate() {
        let place = endpoint_of(vertex).and_then(|id| places.get(id)).cloned();
        whole["vertices"][at]["deployment_info"] = place.unwrap_or(Value::Null);
    }
    Ok(whole)
}

fn endpoint_of(vertex: &Vertex) -> Option<&str> {
    vertex.rule.as_ref()?.target.axo_endpoint_id.as_deref()
}

/// Where an endpoint is; it has ports while it is deployed.
fn place(endpoint: &Record) -> Value {
    let port = |name| endpoint.status.get(name).and_then(Value::as_u64);
    json!({
        "host": endpoint.header.id.as_str(),
        "req_res_port": port("req_res_port"),
        "pubsub_port": port("pubsub_port"),
    })
}

#[utoipa::path(
    post, path = "/choreography/run", tag = "functions", summary = "Has a choreography run",
    description = "The choreography is checked, told where its endpoints are deployed, and handed to ShieldX. An endpoint \
                   that does not exist, or that the caller may not read, is told nothing of.",
    request_body = Choreography,
    extensions(("x-permission" = json!("function:invoke"))),
    responses(
        (status = 202, description = "ShieldX took it", body = ChoreographyStarted),
        (status = 422, description = "The graph is not valid: `details.fields` says where", body = ErrorBody),
        (status = 424, description = "ShieldX failed; `details.effect` says whether it may run all the same", body = ErrorBody),
    )
)]
/// Has a choreography run.
pub async fn run_choreography(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<Value>,
) -> Result<(StatusCode, Json<ChoreographyStarted>), Failure> {
    api.kernel.authorize::<Invoke>(&op, ResourceKind::Function).await.map_err(refusal)?;
    let body = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    api.kernel.authorize::<Invoke>(&op, ResourceKind::Function).await.map_err(refusal)?;
    let graph: Choreography = decode_known(body, unknown_fields(&api.kernel))?;
    check(&graph)?;
    let answer = api.shieldx.run(&located(&api.kernel, &op, &graph).await?).await?;
    let started = ChoreographyStarted {
        message: "the choreography was handed to ShieldX".to_owned(),
        node_count: graph.vertices.len(),
        shieldx_response: answer,
    };
    Ok((StatusCode::ACCEPTED, Json(started)))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(run_choreography))
}
