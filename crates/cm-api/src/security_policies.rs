//! Security policies: what resources demand of their users.

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

/// What resources under this policy demand of their users.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
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

/// What a security policy shows besides.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecurityPolicyExtra {
    /// The id, as clients of the earlier implementation call it; they may choose it by this name.
    pub sp_id: String,
}

impl WireSpec for SecurityPolicySpec {
    const KIND: ResourceKind = ResourceKind::SecurityPolicy;
    type Extra = SecurityPolicyExtra;
    const READ_ONLY: &'static [&'static str] = &["sp_id", "policy_id"];
    const CHOSEN_ID: &'static str = "sp_id";

    fn extra(record: &Record, _: Vec<Part>) -> SecurityPolicyExtra {
        SecurityPolicyExtra { sp_id: record.header.id.to_string() }
    }
}

record_routes!(
    SecurityPolicyRecord = SecurityPolicySpec, SecurityPolicyExtra; SecurityPolicyBody; "security-policies", "security-policy", "/security-policies", "/security-policies/{id}",
    list_security_policies, create_security_policy, read_security_policy, change_security_policy, delete_security_policy
);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_security_policies, create_security_policy)).routes(routes!(
        read_security_policy,
        change_security_policy,
        delete_security_policy
    ))
}
