//! Roles: named sets of permissions.

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

/// What a role permits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Permissions, `KIND:ACTION` or `KIND:ACTION@LABEL=VALUE,…`, where `*` stands for any kind or action.
    #[serde(default)]
    #[schema(example = json!(["function:invoke", "bucket:*@env=test"]))]
    pub permissions: Vec<String>,
}

impl WireSpec for RoleSpec {
    const KIND: ResourceKind = ResourceKind::Role;
}

#[utoipa::path(
    get, path = "/roles", operation_id = "list_roles", tag = "roles", params(ListParams, FilterParams),
    extensions(("x-permission" = json!("role:list"))),
    responses((status = 200, description = "One page of the roles that the caller may read", body = Listing<RecordView<RoleSpec>>))
)]
/// Lists roles.
pub async fn list_roles(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<ListParams>,
) -> Result<Json<Listing<RecordView<RoleSpec>>>, Failure> {
    record::list(&api.kernel, &op, params).await
}

#[utoipa::path(
    post, path = "/roles", operation_id = "create_role", tag = "roles", request_body = RecordCreation<RoleSpec>,
    extensions(("x-permission" = json!("role:create"))),
    responses((status = 201, description = "The new role; `Location` says where", body = RecordView<RoleSpec>))
)]
/// Creates a role.
pub async fn create_role(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<RecordCreation<RoleSpec>>,
) -> Result<Response, Failure> {
    record::create(&api.kernel, op, body).await
}

#[utoipa::path(
    get, path = "/roles/{id}", operation_id = "read_role", tag = "roles", params(("id" = String, Path, description = "The role")),
    extensions(("x-permission" = json!("role:read"))),
    responses(
        (status = 200, description = "The role; `ETag` is its generation", body = RecordView<RoleSpec>),
        (status = 304, description = "The version named by `If-None-Match`"),
    )
)]
/// Reads a role.
pub async fn read_role(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    record::read::<RoleSpec>(&api.kernel, &op, &id, &headers).await
}

#[utoipa::path(
    put, path = "/roles/{id}", operation_id = "replace_role", tag = "roles", params(("id" = String, Path, description = "The role")),
    request_body = RecordReplacement<RoleSpec>,
    extensions(("x-permission" = json!("role:update"))),
    responses(
        (status = 200, description = "The role as it is now", body = RecordView<RoleSpec>),
        (status = 412, description = "`If-Match` names another generation", body = ErrorBody),
    )
)]
/// Replaces what a role says.
pub async fn replace_role(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: JsonBody<RecordReplacement<RoleSpec>>,
) -> Result<Response, Failure> {
    record::replace(&api.kernel, op, &id, &headers, body).await
}

#[utoipa::path(
    delete, path = "/roles/{id}", operation_id = "delete_role", tag = "roles", params(("id" = String, Path, description = "The role")),
    extensions(("x-permission" = json!("role:delete"))),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "Something refers to it", body = ErrorBody),
        (status = 412, description = "`If-Match` names another generation", body = ErrorBody),
    )
)]
/// Removes a role.
pub async fn delete_role(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    record::delete(&api.kernel, &op, <RoleSpec as WireSpec>::KIND, &id, &headers).await
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_roles, create_role)).routes(routes!(
        read_role,
        replace_role,
        delete_role
    ))
}
