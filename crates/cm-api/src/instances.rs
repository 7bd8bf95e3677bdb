//! Confidential instances: running functions that prove what they are.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cm_functions::{InstanceView, Wording, id_of};
use cm_http::body::from_json;
use cm_http::{Deadline, Failure, FailureClass, JsonBody, Params, Upload};
use cm_kernel::Part;
use cm_kernel::catalog::Record;
use cm_kernel::policy::{Create, Delete, Invoke, Read};
use cm_types::{ResourceKind, Sha256Digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::deletion::NoParams;
use crate::document::ErrorBody;
use crate::expand::ExpandParams;
use crate::failure::{function_refusal, refusal};
use crate::listing::{FilterParams, ListParams};
use crate::parts::SecurityPolicyChoice;
use crate::record::{self, RecordView, WireSpec, place};

/// Longest user policy, in bytes: some thousands of certificates.
const USER_POLICY_BYTES_MAX: usize = 8 << 20;

/// What an instance was asked to be.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct InstanceSpec {
    /// The function that it runs, unless it was asked for with programs of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Who may do what in it: the user policy, JSON text exactly as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_policy: Option<String>,
    /// What was asked for with programs of its own: the VaaS policy, JSON text exactly as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vaas_policy: Option<String>,
    /// The full policy that it obeys, to the byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What it may use.
    #[serde(default)]
    pub limits: serde_json::Map<String, Value>,
    /// Seconds after which it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u32>,
    /// The security policy that guards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SecurityPolicyChoice>)]
    pub security_policy: Option<Value>,
}

/// What an instance shows besides: nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceExtra {}

/// One of the instances as it travels.
pub type InstanceRecord = RecordView<InstanceSpec, InstanceExtra>;

impl WireSpec for InstanceSpec {
    const KIND: ResourceKind = ResourceKind::Instance;
    type Extra = InstanceExtra;
    const READ_ONLY: &'static [&'static str] = &[];

    fn extra(_: &Record, _: Vec<Part>) -> InstanceExtra {
        InstanceExtra {}
    }
}

/// Who may do what in the instance: the user policy of the seed system.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UserPolicy {
    /// The function.
    pub function: String,
    /// The id that the instance shall have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instanceid: Option<String>,
    /// Who may connect.
    pub identities: Vec<Identity>,
}

/// One who may connect to an instance.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// Its certificate, PEM.
    pub certificate: String,
    /// What it may do with which file.
    pub file_rights: Vec<FileRights>,
}

/// What may be done with one file.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FileRights {
    /// The file.
    pub file_name: String,
    /// The rights, a sum of the bits of WASI preview 1.
    pub rights: u64,
}

/// An instance that was just started.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StartedInstance {
    /// Its id.
    pub id: String,
    /// Where it listens.
    pub address: String,
    /// SHA-256 of the policy's exact bytes.
    #[schema(value_type = String)]
    pub policy_hash: Sha256Digest,
    /// The policy that it runs under, byte for byte.
    pub policy: String,
    /// SHA-256 of the executable that it runs.
    #[schema(value_type = String)]
    pub measurement: Sha256Digest,
    /// What isolates it, and what the host lacks.
    pub isolation: Vec<Isolation>,
}

/// One layer of isolation around an instance.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Isolation {
    /// Its name, such as `seccomp`.
    pub name: String,
    /// Whether it stands.
    pub active: bool,
    /// Why not.
    pub reason: Option<String>,
}

impl From<InstanceView> for StartedInstance {
    fn from(view: InstanceView) -> Self {
        let isolation = view.isolation.into_iter().map(|layer| Isolation {
            name: layer.name,
            active: layer.active,
            reason: layer.reason,
        });
        Self {
            id: view.id.to_string(),
            address: view.address,
            policy_hash: view.policy_hash,
            policy: view.policy_text,
            measurement: view.measurement,
            isolation: isolation.collect(),
        }
    }
}

/// What evidence is asked for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRequest {
    /// Fresh random bytes of the caller, 16 to 64, in hexadecimal.
    pub nonce: String,
}

/// What the instance is, signed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EvidenceAnswer {
    /// A compact JWS with EAT claims: measurement, TLS key, policy hash, nonce, isolation.
    pub evidence: String,
}

#[utoipa::path(
    get, path = "/instances", operation_id = "list_instances", tag = "instances", params(ListParams, FilterParams),
    extensions(("x-permission" = json!("instance:list"))),
    responses((
        status = 200, description = "What the caller may read, in the order of creation; `Next-Cursor` if it is a page and not the last. With `watch`, messages",
        content((Vec<InstanceRecord> = "application/json"), (String = "text/event-stream")),
    ))
)]
/// Lists instances.
pub async fn list_instances(
    State(api): State<Api>,
    Op(op): Op,
    headers: HeaderMap,
    params: Params<ListParams>,
) -> Result<Response, Failure> {
    record::list::<InstanceSpec>(&api.kernel, op, &headers, params).await
}

#[utoipa::path(
    post, path = "/instances", operation_id = "create_instance", tag = "instances", request_body = UserPolicy,
    extensions(("x-permission" = json!("instance:create"))),
    responses(
        (status = 201, description = "It runs; `Location` says where it is described", body = StartedInstance),
        (status = 409, description = "The id is taken, or a program is missing", body = ErrorBody),
    )
)]
/// Starts an instance of a function; asks for `function:invoke` on it too.
pub async fn create_instance(
    State(api): State<Api>,
    Op(op): Op,
    deadline: Deadline,
    body: Upload,
) -> Result<Response, Failure> {
    api.kernel.authorize::<Create>(&op, ResourceKind::Instance).await.map_err(refusal)?;
    body.require_json()?;
    let text = body.read_to_end(USER_POLICY_BYTES_MAX).await?;
    let op = op.again(&api.kernel).await?;
    api.kernel.authorize::<Create>(&op, ResourceKind::Instance).await.map_err(refusal)?;
    // Programs may have to be compiled first; the start of the process has a limit of its own.
    deadline.lift();

    let text = String::from_utf8(text.into())
        .map_err(|error| Failure::new(FailureClass::Malformed, "the body is no UTF-8").with_cause(error))?;
    let policy: UserPolicy = from_json(text.as_bytes())?;
    let (function, permit) = api
        .kernel
        .look_up::<Invoke>(&op, ResourceKind::Function, id_of(&policy.function).as_str())
        .await
        .map_err(refusal)?;
    let started = api
        .functions
        .create_instance(&op, &function, &permit, &text, Wording::Native)
        .await
        .map_err(function_refusal)?;
    let place = place(&format!("instances/{}", started.id))?;
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(StartedInstance::from(started)))
        .into_response())
}

#[utoipa::path(
    get, path = "/instances/{id}", operation_id = "read_instance", tag = "instances",
    params(("id" = String, Path, description = "The instance"), ExpandParams),
    extensions(("x-permission" = json!("instance:read"))),
    responses(
        (status = 200, description = "The instance; `status` says where it listens", body = InstanceRecord),
        (status = 304, description = "The version named by `If-None-Match`"),
    )
)]
/// Reads an instance.
pub async fn read_instance(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params<ExpandParams>,
) -> Result<Response, Failure> {
    record::read::<InstanceSpec>(&api.kernel, &op, &id, &headers, params).await
}

#[utoipa::path(
    delete, path = "/instances/{id}", operation_id = "delete_instance", tag = "instances",
    params(("id" = String, Path, description = "The instance")),
    extensions(("x-permission" = json!("instance:delete"))),
    responses((status = 204, description = "It has ended, and what it held is gone"))
)]
/// Ends an instance.
pub async fn delete_instance(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    params: Params<NoParams>,
) -> Result<StatusCode, Failure> {
    let (instance, permit) =
        api.kernel.look_up::<Delete>(&op, ResourceKind::Instance, &id).await.map_err(refusal)?;
    params.decode()?;
    api.functions.delete_instance(&op, &instance, &permit).await.map_err(function_refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    get, path = "/instances/{id}/policy", operation_id = "read_instance_policy", tag = "instances",
    params(("id" = String, Path, description = "The instance")),
    extensions(("x-permission" = json!("instance:read"))),
    responses((status = 200, description = "The policy that it runs under, byte for byte", content_type = "application/json", body = String))
)]
/// Reads the exact policy of an instance.
pub async fn read_instance_policy(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let (instance, _) =
        api.kernel.look_up::<Read>(&op, ResourceKind::Instance, &id).await.map_err(refusal)?;
    let text = api.functions.instance(&instance).map_err(function_refusal)?.policy_text;
    let media_type = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}

#[utoipa::path(
    post, path = "/instances/{id}/evidence", operation_id = "create_evidence", tag = "instances",
    params(("id" = String, Path, description = "The instance")), request_body = EvidenceRequest,
    extensions(("x-permission" = json!("instance:invoke"))),
    responses((status = 200, description = "Evidence that binds the nonce", body = EvidenceAnswer))
)]
/// Has the node sign what an instance is.
pub async fn create_evidence(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<EvidenceRequest>,
) -> Result<Json<EvidenceAnswer>, Failure> {
    api.kernel.look_up::<Invoke>(&op, ResourceKind::Instance, &id).await.map_err(refusal)?;
    let text = body.decode().await?.nonce;
    let op = op.again(&api.kernel).await?;
    let (instance, permit) =
        api.kernel.look_up::<Invoke>(&op, ResourceKind::Instance, &id).await.map_err(refusal)?;
    let Ok(nonce) = text.parse() else {
        return Err(Failure::new(FailureClass::Invalid, "the body has the wrong shape")
            .with_detail("path", "nonce")
            .with_detail("reason", "expected 16 to 64 bytes in hexadecimal"));
    };
    let evidence = api.functions.evidence(&instance, &permit, &nonce).map_err(function_refusal)?;
    Ok(Json(EvidenceAnswer { evidence: evidence.to_string() }))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_instances, create_instance))
        .routes(routes!(read_instance, delete_instance))
        .routes(routes!(read_instance_policy))
        .routes(routes!(create_evidence))
}
