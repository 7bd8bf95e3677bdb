//! Functions: what can be computed.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use cm_http::{Failure, JsonBody, Params};
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::function_refusal;
use crate::listing::{FilterParams, ListParams, Listing};
use crate::record::{self, RecordCreation, RecordReplacement, RecordView, WireSpec};

/// What a function is. Its programs are uploaded separately.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How its data is protected while it runs: `confidential`.
    #[schema(example = "confidential")]
    pub executor: String,
    /// The container image, where the executor uses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The microservice that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microservice_id: Option<String>,
    /// The endpoint that it is deployed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<String>,
    /// Where its inputs come from and its outputs go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The security policy that guards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_policy: Option<String>,
    /// The settings of the executor `confidential`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidential: Option<Confidential>,
}

/// What a function may use.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// CPU cores.
    pub cpu: u32,
    /// Memory, with its unit.
    #[schema(example = "2GB")]
    pub ram: String,
}

/// The settings of a confidential function.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confidential {
    /// The program policy: JSON text, kept exactly as sent, for its bytes are what evidence speaks of.
    pub policy: String,
}

impl WireSpec for FunctionSpec {
    const KIND: ResourceKind = ResourceKind::Function;

    fn check(&self) -> Result<(), Failure> {
        match &self.confidential {
            Some(confidential) => cm_functions::check_policy(&confidential.policy).map_err(function_refusal),
            None => Ok(()),
        }
    }
}

#[utoipa::path(
    get, path = "/functions", operation_id = "list_functions", tag = "functions", params(ListParams, FilterParams),
    extensions(("x-permission" = json!("function:list"))),
    responses((status = 200, description = "One page of the functions that the caller may read", body = Listing<RecordView<FunctionSpec>>))
)]
/// Lists functions.
pub async fn list_functions(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<ListParams>,
) -> Result<Json<Listing<RecordView<FunctionSpec>>>, Failure> {
    record::list(&api.kernel, &op, params).await
}

#[utoipa::path(
    post, path = "/functions", operation_id = "create_function", tag = "functions", request_body = RecordCreation<FunctionSpec>,
    extensions(("x-permission" = json!("function:create"))),
    responses((status = 201, description = "The new function; `Location` says where", body = RecordView<FunctionSpec>))
)]
/// Creates a function.
pub async fn create_function(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<RecordCreation<FunctionSpec>>,
) -> Result<Response, Failure> {
    record::create(&api.kernel, op, body).await
}

#[utoipa::path(
    get, path = "/functions/{id}", operation_id = "read_function", tag = "functions", params(("id" = String, Path, description = "The function")),
    extensions(("x-permission" = json!("function:read"))),
    responses(
        (status = 200, description = "The function; `ETag` is its generation", body = RecordView<FunctionSpec>),
        (status = 304, description = "The version named by `If-None-Match`"),
    )
)]
/// Reads a function.
pub async fn read_function(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    record::read::<FunctionSpec>(&api.kernel, &op, &id, &headers).await
}

#[utoipa::path(
    put, path = "/functions/{id}", operation_id = "replace_function", tag = "functions", params(("id" = String, Path, description = "The function")),
    request_body = RecordReplacement<FunctionSpec>,
    extensions(("x-permission" = json!("function:update"))),
    responses(
        (status = 200, description = "The function as it is now", body = RecordView<FunctionSpec>),
        (status = 412, description = "`If-Match` names another generation", body = ErrorBody),
    )
)]
/// Replaces what a function says.
pub async fn replace_function(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: JsonBody<RecordReplacement<FunctionSpec>>,
) -> Result<Response, Failure> {
    record::replace(&api.kernel, op, &id, &headers, body).await
}

#[utoipa::path(
    delete, path = "/functions/{id}", operation_id = "delete_function", tag = "functions", params(("id" = String, Path, description = "The function")),
    extensions(("x-permission" = json!("function:delete"))),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "Something refers to it", body = ErrorBody),
        (status = 412, description = "`If-Match` names another generation", body = ErrorBody),
    )
)]
/// Removes a function.
pub async fn delete_function(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    record::delete(&api.kernel, &op, <FunctionSpec as WireSpec>::KIND, &id, &headers).await
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_functions, create_function)).routes(routes!(
        read_function,
        replace_function,
        delete_function
    ))
}
