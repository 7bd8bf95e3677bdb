//! Permission policies: what may be done in a tenant, in the permissions language.

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

/// What may be done in a tenant and what may not.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PermissionPolicySpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The document, which begins with `pdl 1`.
    #[schema(example = "pdl 1\n\nallow role analyst to read, list on bucket \"ct-scans/*\" when mfa\n")]
    pub source: String,
    /// Whether it is in force.
    #[serde(default = "yes")]
    pub enforced: bool,
}

fn yes() -> bool {
    true
}

/// What a permission policy shows besides: nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct PermissionPolicyExtra {}

impl WireSpec for PermissionPolicySpec {
    const KIND: ResourceKind = ResourceKind::PermissionPolicy;
    type Extra = PermissionPolicyExtra;
    const READ_ONLY: &'static [&'static str] = &["permission_policy_id"];

    fn extra(_: &Record, _: Vec<Part>) -> PermissionPolicyExtra {
        PermissionPolicyExtra {}
    }
}

record_routes!(
    PermissionPolicyRecord = PermissionPolicySpec, PermissionPolicyExtra; PermissionPolicyBody; "permission-policies", "permission-policy",
    "/permission-policies", "/permission-policies/{id}",
    list_permission_policies, create_permission_policy, read_permission_policy, change_permission_policy, delete_permission_policy
);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_permission_policies, create_permission_policy)).routes(routes!(
        read_permission_policy,
        change_permission_policy,
        delete_permission_policy
    ))
}
