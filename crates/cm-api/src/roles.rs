//! Roles: named sets of permissions.

use cm_kernel::Part;
use cm_kernel::catalog::Record;
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::family::record_routes;
use crate::record::WireSpec;

/// What a role permits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RoleSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Permissions, `KIND:ACTION` or `KIND:ACTION@LABEL=VALUE,…`, where `*` stands for any kind or action. The bare name
    /// of an action permits it on everything; `write` stands for `create` and `update`, `execute` for `invoke`.
    #[serde(default)]
    #[schema(example = json!(["function:invoke", "bucket:*@env=test"]))]
    pub permissions: Vec<String>,
}

/// What a role shows besides.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoleExtra {
    /// The id, as clients of the earlier implementation call it.
    pub role_id: String,
}

impl WireSpec for RoleSpec {
    const KIND: ResourceKind = ResourceKind::Role;
    type Extra = RoleExtra;
    const READ_ONLY: &'static [&'static str] = &["role_id"];

    fn extra(record: &Record, _: Vec<Part>) -> RoleExtra {
        RoleExtra { role_id: record.header.id.to_string() }
    }
}

record_routes!(
    RoleRecord = RoleSpec, RoleExtra; RoleBody; "roles", "role", "/roles", "/roles/{id}",
    list_roles, create_role, read_role, change_role, delete_role
);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_roles, create_role)).routes(routes!(
        read_role,
        change_role,
        delete_role
    ))
}
