//! Security policies: what resources demand of their users.

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
use crate::listing::{FilterParams, ListParams, Listing};
use crate::record::{self, RecordCreation, RecordReplacement, RecordView, WireSpec};

/// What resources under this policy demand of their users.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecurityPolicySpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The ids of roles of which a user must hold one; any user will do without any.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Whether anonymous callers are refused.
    #[serde(default = "demanding")]
    pub requires_authentication: bool,
}

fn demanding() -> bool {
    true
}

impl WireSpec for SecurityPolicySpec {
    const KIND: ResourceKind = ResourceKind::SecurityPolicy;
}

#[utoipa::path(
    get, path = "/security-policies", operation_id = "list_security_policies", tag = "security-policies", params(ListParams, FilterParams),
    extensions(("x-permission" = json!("security-policy:list"))),
    responses((status = 200, description = "One page of the security policies that the caller may read", body = Listing<RecordView<SecurityPolicySpec>>))
)]
/// Lists security policies.
pub async fn list_security_policies(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<ListParams>,
) -> Result<Json<Listing<RecordView<SecurityPolicySpec>>>, Failure> {
    record::list(&api.kernel, &op, params).await
}

#[utoipa::path(
    post, path = "/security-policies", operation_id = "create_security_policy", tag = "security-policies", request_body = RecordCreation<SecurityPolicySpec>,
    extensions(("x-permission" = json!("security-policy:create"))),
    responses((status = 201, description = "The new security policy; `Location` says where", body = RecordView<SecurityPolicySpec>))
)]
/// Creates a security policy.
pub async fn create_security_policy(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<RecordCreation<SecurityPolicySpec>>,
) -> Result<Response, Failure> {
    record::create(&api.kernel, op, body).await
}

#[utoipa::path(
    get, path = "/security-policies/{id}", operation_id = "read_security_policy", tag = "security-policies", params(("id" = String, Path, description = "The security policy")),
    extensions(("x-permission" = json!("security-policy:read"))),
    responses(
        (status = 200, description = "The security policy; `ETag` is its generation", body = RecordView<SecurityPolicySpec>),
        (status = 304, description = "The version named by `If-None-Match`"),
    )
)]
/// Reads a security policy.
pub async fn read_security_policy(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    record::read::<SecurityPolicySpec>(&api.kernel, &op, &id, &headers).await
}

#[utoipa::path(
    put, path = "/security-policies/{id}", operation_id = "replace_security_policy", tag = "security-policies", params(("id" = String, Path, description = "The security policy")),
    request_body = RecordReplacement<SecurityPolicySpec>,
    extensions(("x-permission" = json!("security-policy:update"))),
    responses(
        (status = 200, description = "The security policy as it is now", body = RecordView<SecurityPolicySpec>),
        (status = 412, description = "`If-Match` names another generation", body = ErrorBody),
    )
)]
/// Replaces what a security policy says.
pub async fn replace_security_policy(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: JsonBody<RecordReplacement<SecurityPolicySpec>>,
) -> Result<Response, Failure> {
    record::replace(&api.kernel, op, &id, &headers, body).await
}

#[utoipa::path(
    delete, path = "/security-policies/{id}", operation_id = "delete_security_policy", tag = "security-policies", params(("id" = String, Path, description = "The security policy")),
    extensions(("x-permission" = json!("security-policy:delete"))),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "Something refers to it", body = ErrorBody),
        (status = 412, description = "`If-Match` names another generation", body = ErrorBody),
    )
)]
/// Removes a security policy.
pub async fn delete_security_policy(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    record::delete(&api.kernel, &op, <SecurityPolicySpec as WireSpec>::KIND, &id, &headers).await
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_security_policies, create_security_policy)).routes(routes!(
        read_security_policy,
        replace_security_policy,
        delete_security_policy
    ))
}
