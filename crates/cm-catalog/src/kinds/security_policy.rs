//! Security policies.

use cm_types::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};

use super::guarded_by::check_roles;
use super::refer;
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, OnDelete, Reference};

/// What a resource demands of its users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityPolicy {
    /// What the policy is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The roles of which a user must hold one. None: the policy does not narrow.
    #[serde(default)]
    pub roles: Vec<ResourceId>,
    /// Whether anonymous callers are refused; they are unless told otherwise.
    #[serde(default = "yes")]
    pub requires_authentication: bool,
}

fn yes() -> bool {
    true
}

impl KindSpec for SecurityPolicy {
    const KIND: ResourceKind = ResourceKind::SecurityPolicy;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.description(self.description.as_deref());
        check_roles("spec.roles", &self.roles, &mut findings);
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        self.roles
            .iter()
            .enumerate()
            .map(|(at, role)| refer(format!("roles[{at}]"), ResourceKind::Role, role, OnDelete::Restrict))
            .collect()
    }
}
