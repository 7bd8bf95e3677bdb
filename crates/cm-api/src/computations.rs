//! Computations on secret shares: what parties compute together on values that none of them sees.
//!
//! Values never pass here in the clear. Clients lower a job, seal a share of each input for each party, and put results together
//! from the parties' shares; this node keeps what it cannot open. What they need for it stands in the plan.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response, sse};
use cm_http::{Deadline, Failure, FailureClass, JsonBody, Params, Upload, sse as http_sse};
use cm_kernel::Part;
use cm_kernel::catalog::Record;
use cm_kernel::policy::{Create, Delete, Invoke, List, Read};
use cm_mpc::computation::Program;
use cm_mpc::{ComputationError, ErrorClass, NewComputation, PeerRow, Progress, Sign};
use cm_types::{Labels, ResourceKind, Timestamp};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::deletion::NoParams;
use crate::document::ErrorBody;
use crate::expand::ExpandParams;
use crate::failure::refusal;
use crate::listing::{FilterParams, ListParams};
use crate::parts::SecurityPolicyChoice;
use crate::record::{self, RecordView, WireSpec};

/// Longest sealed share, in bytes: of as many numbers as an input has at most, each of 32 bytes.
const SHARE_BYTES_MAX: usize = (32 << 24) + 64;
/// How often progress is told at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What a computation is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ComputationSpec {
    /// What is computed, by whom and for whom, JSON text to the byte; its SHA-256 is what shares of inputs are sealed for.
    pub plan: String,
    /// The job that it was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The security policy that guards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SecurityPolicyChoice>)]
    pub security_policy: Option<Value>,
}

/// What a computation shows besides: nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct ComputationExtra {}

/// One of the computations as it travels.
pub type ComputationRecord = RecordView<ComputationSpec, ComputationExtra>;

impl WireSpec for ComputationSpec {
    const KIND: ResourceKind = ResourceKind::Computation;
    type Extra = ComputationExtra;
    const READ_ONLY: &'static [&'static str] = &[];

    fn extra(_: &Record, _: Vec<Part>) -> ComputationExtra {
        ComputationExtra {}
    }
}

/// A computation that is to be: a program, or a job in the language that is lowered to one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewComputationBody {
    /// What it is called.
    #[serde(default)]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A job in the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// A program, as a job is lowered to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Value>,
    /// The parties, by number; without them this node and all of its peers, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parties: Option<Vec<String>>,
    /// The public keys of those who learn results, `cmpub1…`, by name.
    #[serde(default)]
    pub receivers: BTreeMap<String, String>,
    /// By which key the parties sign the result: `any` for one that they have already, or a fresh one; `fresh`; or the public part of
    /// the key, 66 hexadecimal digits. Without it they do not sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A key that parties have together.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct GroupKeyView {
    /// Its public part in hexadecimal digits: what results are verified by.
    pub key: String,
    /// The parties that have it, by number.
    pub parties: Vec<String>,
    /// As many of them can neither sign nor learn it together.
    pub threshold: u16,
    /// The run in which they made it.
    pub run: String,
    /// When.
    #[schema(value_type = String)]
    pub made_at: Timestamp,
}

/// How a run is started.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunBody {
    /// How long it may take, in seconds; without it, as long as the node says.
    pub within_seconds: Option<u32>,
}

/// What this node is to other parties.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PartyView {
    /// What it is called among parties.
    pub name: String,
    /// The key of its links: SHA-256 of the public key, in hexadecimal.
    pub link_key: String,
    /// The key that shares for it are sealed to.
    pub sealing_key: String,
    /// Whether it takes part in computations.
    pub on: bool,
    /// The nodes that may be parties beside it.
    pub peers: Vec<PartyPeerView>,
}

/// A node that may be a party beside this one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PartyPeerView {
    /// What it is called.
    pub name: String,
    /// Where it listens for parties.
    pub address: String,
    /// The key of its links.
    pub link_key: String,
    /// Whether it answers now.
    pub up: bool,
}

/// Where a node is that may be a party, and how it is known.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PartyPeerBody {
    /// Host and port of its listener for parties.
    pub address: String,
    /// The key of its links: SHA-256 of the public key, in hexadecimal, as that node tells it.
    pub link_key: String,
}

fn invalid(path: &str, reason: impl ToString) -> Failure {
    let reason = reason.to_string();
    Failure::new(FailureClass::Invalid, reason.clone())
        .with_detail("path", path)
        .with_detail("reason", reason)
}

/// What the engine refused, as an answer.
pub(crate) fn computation_refusal(error: ComputationError) -> Failure {
    let error = match error {
        ComputationError::Kernel(error) => return refusal(error),
        error => error,
    };
    let class = match error.class() {
        ErrorClass::Kernel | ErrorClass::Internal => return Failure::internal(error),
        ErrorClass::Invalid => FailureClass::Invalid,
        ErrorClass::NoSuchPart => FailureClass::NotFound,
        ErrorClass::NotTheirs => FailureClass::Forbidden,
        ErrorClass::Conflict => FailureClass::Conflict,
        ErrorClass::TooMany => FailureClass::TooMany,
        ErrorClass::Party => FailureClass::UpstreamFailed,
        ErrorClass::SwitchedOff => FailureClass::Unavailable,
    };
    Failure::new(class, error.told())
}

#[utoipa::path(
    get, path = "/computations", operation_id = "list_computations", tag = "computations", params(ListParams, FilterParams),
    extensions(("x-permission" = json!("computation:list"))),
    responses((
        status = 200, description = "What the caller may read, in the order of creation; `Next-Cursor` if it is a page and not the last. With `watch`, messages",
        content((Vec<ComputationRecord> = "application/json"), (String = "text/event-stream")),
    ))
)]
/// Lists computations.
pub async fn list_computations(
    State(api): State<Api>,
    Op(op): Op,
    headers: HeaderMap,
    params: Params<ListParams>,
) -> Result<Response, Failure> {
    record::list::<ComputationSpec>(&api.kernel, op, &headers, params).await
}

#[utoipa::path(
    post, path = "/computations", operation_id = "create_computation", tag = "computations", request_body = NewComputationBody,
    extensions(("x-permission" = json!("computation:create"))),
    responses(
        (status = 201, description = "It waits for its inputs; `Location` says where it is described", body = ComputationRecord),
        (status = 422, description = "The job, the parties or a key cannot be", body = ErrorBody),
        (status = 502, description = "A party does not answer", body = ErrorBody),
    )
)]
/// Makes a computation: asks the parties for their keys and writes the plan down.
pub async fn create_computation(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<NewComputationBody>,
) -> Result<Response, Failure> {
    record::require_some_creation(&api.kernel, &op, ResourceKind::Computation).await?;
    let body = body.decode().await?;
    let labels = Labels::try_from(body.labels.clone()).map_err(|error| invalid("labels", error))?;
    let op = op.again(&api.kernel).await?;
    let permit = api.kernel.authorize_labelled::<Create>(&op, ResourceKind::Computation, &labels).await;
    let permit = permit.map_err(refusal)?;
    let (program, source) = match (body.job, body.program) {
        (Some(job), None) => {
            (cm_mpc::computation::parse(&job).map_err(|error| invalid("job", error))?, Some(job))
        }
        (job, Some(program)) => {
            let program: Program =
                serde_json::from_value(program).map_err(|error| invalid("program", error))?;
            (program, job)
        }
        (None, None) => return Err(invalid("job", "a job or a program is needed")),
    };
    let parties = body.parties.unwrap_or_else(|| {
        let mut all: Vec<String> = api.computations.peers().into_iter().map(|peer| peer.name).collect();
        all.push(api.computations.name().to_owned());
        all.sort();
        all
    });
    let name = if body.name.is_empty() { "computation".to_owned() } else { body.name };
    let new = NewComputation {
        name,
        description: body.description,
        program,
        source,
        parties,
        receivers: body.receivers,
        sign: body.sign.map(|sign| match sign.as_str() {
            "any" => Sign::Any,
            "fresh" => Sign::Fresh,
            _ => Sign::Group(sign),
        }),
        labels,
    };
    let record = api.computations.create(&op, &permit, new).await.map_err(computation_refusal)?;
    record::created::<ComputationSpec>(&api.kernel, &op, record).await
}

#[utoipa::path(
    get, path = "/computations/{id}", operation_id = "read_computation", tag = "computations",
    params(("id" = String, Path, description = "The computation"), ExpandParams),
    extensions(("x-permission" = json!("computation:read"))),
    responses(
        (status = 200, description = "The computation; `status` says how it fares", body = ComputationRecord),
        (status = 304, description = "The version named by `If-None-Match`"),
    )
)]
/// Reads a computation.
pub async fn read_computation(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params<ExpandParams>,
) -> Result<Response, Failure> {
    record::read::<ComputationSpec>(&api.kernel, &op, &id, &headers, params).await
}

#[utoipa::path(
    delete, path = "/computations/{id}", operation_id = "delete_computation", tag = "computations",
    params(("id" = String, Path, description = "The computation")),
    extensions(("x-permission" = json!("computation:delete"))),
    responses((status = 204, description = "It is gone, and its run and shares with it"))
)]
/// Deletes a computation, running or not.
pub async fn delete_computation(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    params: Params<NoParams>,
) -> Result<StatusCode, Failure> {
    let (record, permit) =
        api.kernel.look_up::<Delete>(&op, ResourceKind::Computation, &id).await.map_err(refusal)?;
    params.decode()?;
    api.computations.delete(&op, &record, &permit).await.map_err(computation_refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    put, path = "/computations/{id}/inputs/{input}/{party}", operation_id = "put_computation_input", tag = "computations",
    params(
        ("id" = String, Path, description = "The computation"),
        ("input" = String, Path, description = "The input"),
        ("party" = String, Path, description = "The party that the share is sealed for"),
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "The sealed share"),
    extensions(("x-permission" = json!("computation:invoke"))),
    responses(
        (status = 204, description = "It is kept until the run"),
        (status = 403, description = "It is somebody else's input", body = ErrorBody),
    )
)]
/// Gives a party's sealed share of an input.
pub async fn put_computation_input(
    State(api): State<Api>,
    Op(op): Op,
    Path((id, input, party)): Path<(String, String, String)>,
    body: Upload,
) -> Result<StatusCode, Failure> {
    api.kernel.look_up::<Invoke>(&op, ResourceKind::Computation, &id).await.map_err(refusal)?;
    let bytes = body.read_to_end(SHARE_BYTES_MAX).await?;
    let op = op.again(&api.kernel).await?;
    let (record, permit) =
        api.kernel.look_up::<Invoke>(&op, ResourceKind::Computation, &id).await.map_err(refusal)?;
    let put = api.computations.put_input(&op, &record, &permit, &input, &party, &bytes).await;
    put.map_err(computation_refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    post, path = "/computations/{id}/run", operation_id = "run_computation", tag = "computations",
    params(("id" = String, Path, description = "The computation")), request_body = RunBody,
    extensions(("x-permission" = json!("computation:invoke"))),
    responses(
        (status = 202, description = "It runs; `progress` tells how far it is"),
        (status = 409, description = "Inputs are missing, or it has run", body = ErrorBody),
    )
)]
/// Starts a computation whose inputs are there.
pub async fn run_computation(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<RunBody>,
) -> Result<StatusCode, Failure> {
    api.kernel.look_up::<Invoke>(&op, ResourceKind::Computation, &id).await.map_err(refusal)?;
    let within = body.decode().await?.within_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    let op = op.again(&api.kernel).await?;
    let (record, permit) =
        api.kernel.look_up::<Invoke>(&op, ResourceKind::Computation, &id).await.map_err(refusal)?;
    api.computations.start(&op, &record, &permit, within).await.map_err(computation_refusal)?;
    Ok(StatusCode::ACCEPTED)
}

#[utoipa::path(
    post, path = "/computations/{id}/cancel", operation_id = "cancel_computation", tag = "computations",
    params(("id" = String, Path, description = "The computation")),
    extensions(("x-permission" = json!("computation:invoke"))),
    responses(
        (status = 202, description = "The run is about to end"),
        (status = 409, description = "It does not run", body = ErrorBody),
    )
)]
/// Ends a run.
pub async fn cancel_computation(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let (record, permit) =
        api.kernel.look_up::<Invoke>(&op, ResourceKind::Computation, &id).await.map_err(refusal)?;
    if api.computations.cancel(&op, &record, &permit).map_err(computation_refusal)? {
        Ok(StatusCode::ACCEPTED)
    } else {
        Err(Failure::new(FailureClass::Conflict, "the computation does not run"))
    }
}

#[utoipa::path(
    get, path = "/computations/{id}/progress", operation_id = "watch_computation", tag = "computations",
    params(("id" = String, Path, description = "The computation")),
    extensions(("x-permission" = json!("computation:read"))),
    responses((
        status = 200, content_type = "text/event-stream", body = String,
        description = "Messages with `state`, `layers_done` and `layers`, until the run has ended"
    ))
)]
/// Follows a run.
pub async fn watch_computation(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let (record, _) =
        api.kernel.look_up::<Read>(&op, ResourceKind::Computation, &id).await.map_err(refusal)?;
    let messages = progress_messages(api.computations.progress(&record));
    let events = messages.map(|data| sse::Event::default().event("progress").data(data));
    Ok(http_sse::answer(events, api.kernel.tasks().token()))
}

/// What is told of a run, as JSON text, until it has ended.
pub(crate) fn progress_messages(progress: watch::Receiver<Progress>) -> impl Stream<Item = String> + Send {
    stream::unfold(Some((progress, true)), |state| async move {
        let (mut progress, first) = state?;
        if !first {
            // A run of thousands of layers would say nothing else; its end is told at once.
            let ended = async { progress.wait_for(|now| now.state != "running").await.map(|_| ()) };
            let is_gone = match tokio::time::timeout(PROGRESS_EVERY, ended).await {
                Ok(ended) => ended.is_err(),
                Err(_) => progress.changed().await.is_err(),
            };
            if is_gone {
                return None;
            }
        }
        let now = progress.borrow_and_update().clone();
        let data = serde_json::to_string(&now).expect("plain data");
        let next = (now.state == "running").then_some((progress, false));
        Some((data, next))
    })
}

#[utoipa::path(
    get, path = "/computations/{id}/results/{output}/{party}", operation_id = "read_computation_result", tag = "computations",
    params(
        ("id" = String, Path, description = "The computation"),
        ("output" = String, Path, description = "The result"),
        ("party" = String, Path, description = "The party whose share it is"),
    ),
    extensions(("x-permission" = json!("computation:read"))),
    responses(
        (status = 200, description = "The party's share, sealed to the caller's key", content_type = "application/octet-stream", body = String),
        (status = 404, description = "There is no such result for the caller", body = ErrorBody),
        (status = 409, description = "There is no result yet", body = ErrorBody),
    )
)]
/// Reads a party's sealed share of a result: only who learns the result.
pub async fn read_computation_result(
    State(api): State<Api>,
    Op(op): Op,
    Path((id, output, party)): Path<(String, String, String)>,
) -> Result<Response, Failure> {
    let (record, permit) =
        api.kernel.look_up::<Read>(&op, ResourceKind::Computation, &id).await.map_err(refusal)?;
    let share = api.computations.result_share(&op, &record, &permit, &output, &party).await;
    let share = share.map_err(computation_refusal)?;
    let media_type = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, media_type)], Bytes::from(share)).into_response())
}

#[utoipa::path(
    get, path = "/computations/{id}/proof", operation_id = "read_computation_proof", tag = "computations",
    params(("id" = String, Path, description = "The computation")),
    extensions(("x-permission" = json!("computation:read"))),
    responses(
        (status = 200, description = "What the parties came to, and their signature: anybody verifies it by their public key", body = Value),
        (status = 409, description = "There is no result yet, or it is not signed", body = ErrorBody),
    )
)]
/// Reads the parties' signature of a result.
pub async fn read_computation_proof(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    let (record, permit) =
        api.kernel.look_up::<Read>(&op, ResourceKind::Computation, &id).await.map_err(refusal)?;
    let proof = api.computations.proof(&record, &permit).map_err(computation_refusal)?;
    Ok(Json(serde_json::to_value(proof).map_err(Failure::internal)?))
}

#[utoipa::path(
    post, path = "/computations/{id}/anchor", operation_id = "anchor_computation", tag = "computations",
    params(("id" = String, Path, description = "The computation")),
    extensions(("x-permission" = json!("computation:invoke"))),
    responses(
        (status = 200, description = "It is recorded: where, and when", body = Value),
        (status = 409, description = "There is no result yet, or it is not signed", body = ErrorBody),
        (status = 502, description = "The ledger refused, or does not answer", body = ErrorBody),
        (status = 503, description = "This node records results nowhere", body = ErrorBody),
    )
)]
/// Records the digest of a signed result where the node records them: again, after it has failed or before the node did it by itself.
pub async fn anchor_computation(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    deadline: Deadline,
) -> Result<Json<Value>, Failure> {
    let (record, permit) =
        api.kernel.look_up::<Invoke>(&op, ResourceKind::Computation, &id).await.map_err(refusal)?;
    // Ledgers take their time.
    deadline.lift();
    let said = api.computations.anchor(&op, &record, &permit).await.map_err(computation_refusal)?;
    Ok(Json(said))
}

#[utoipa::path(
    get, path = "/mpc/keys", operation_id = "list_group_keys", tag = "computations",
    extensions(("x-permission" = json!("computation:list"))),
    responses((status = 200, description = "The keys that this node has shares of, the oldest first", body = Vec<GroupKeyView>))
)]
/// Lists the keys by which this node signs results with others.
pub async fn list_group_keys(State(api): State<Api>, Op(op): Op) -> Result<Json<Vec<GroupKeyView>>, Failure> {
    api.kernel.authorize::<List>(&op, ResourceKind::Computation).await.map_err(refusal)?;
    let keys = api.computations.group_keys().await.map_err(computation_refusal)?;
    let view = |key: cm_mpc::HeldKey| GroupKeyView {
        key: key.key,
        parties: key.parties,
        threshold: key.threshold,
        run: key.run.to_string(),
        made_at: key.made_at,
    };
    Ok(Json(keys.into_iter().map(view).collect()))
}

#[utoipa::path(
    get, path = "/mpc/party", operation_id = "read_party", tag = "computations",
    extensions(("x-permission" = json!("computation:list"))),
    responses((status = 200, description = "What this node is to other parties, and which it knows", body = PartyView))
)]
/// Shows what this node is among parties.
pub async fn read_party(State(api): State<Api>, Op(op): Op) -> Result<Json<PartyView>, Failure> {
    api.kernel.authorize::<List>(&op, ResourceKind::Computation).await.map_err(refusal)?;
    let computations = &api.computations;
    let peers = computations.peers().into_iter().map(|peer| PartyPeerView {
        name: peer.name,
        address: peer.address,
        link_key: peer.link_key.to_string(),
        up: peer.is_up,
    });
    Ok(Json(PartyView {
        name: computations.name().to_owned(),
        link_key: computations.link_key().to_string(),
        sealing_key: computations.sealing_key(),
        on: computations.is_on(),
        peers: peers.collect(),
    }))
}

#[utoipa::path(
    put, path = "/mpc/peers/{name}", operation_id = "put_party_peer", tag = "computations",
    params(("name" = String, Path, description = "What the node is called")), request_body = PartyPeerBody,
    extensions(("x-permission" = json!("endpoint:create"))),
    responses((status = 204, description = "It is known from now on"))
)]
/// Makes a node known that may be a party. Takes the right to add endpoints: whom a node talks to is for its operator to say.
pub async fn put_party_peer(
    State(api): State<Api>,
    Op(op): Op,
    Path(name): Path<String>,
    body: JsonBody<PartyPeerBody>,
) -> Result<StatusCode, Failure> {
    api.kernel.authorize::<Create>(&op, ResourceKind::Endpoint).await.map_err(refusal)?;
    let body = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    api.kernel.authorize::<Create>(&op, ResourceKind::Endpoint).await.map_err(refusal)?;
    let link_key = body.link_key.parse().map_err(|error| invalid("link_key", error))?;
    let row = PeerRow { address: body.address, link_key };
    api.computations.add_peer(&name, row).await.map_err(computation_refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    delete, path = "/mpc/peers/{name}", operation_id = "delete_party_peer", tag = "computations",
    params(("name" = String, Path, description = "What the node is called")),
    extensions(("x-permission" = json!("endpoint:create"))),
    responses(
        (status = 204, description = "It is not known any more"),
        (status = 404, description = "No operator has added it", body = ErrorBody),
    )
)]
/// Forgets a node that an operator added.
pub async fn delete_party_peer(
    State(api): State<Api>,
    Op(op): Op,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    api.kernel.authorize::<Create>(&op, ResourceKind::Endpoint).await.map_err(refusal)?;
    match api.computations.remove_peer(&name).await.map_err(computation_refusal)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Failure::not_found()),
    }
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_computations, create_computation))
        .routes(routes!(read_computation, delete_computation))
        .routes(routes!(put_computation_input))
        .routes(routes!(run_computation))
        .routes(routes!(cancel_computation))
        .routes(routes!(watch_computation))
        .routes(routes!(read_computation_result))
        .routes(routes!(read_computation_proof))
        .routes(routes!(anchor_computation))
        .routes(routes!(list_group_keys))
        .routes(routes!(read_party))
        .routes(routes!(put_party_peer, delete_party_peer))
}
