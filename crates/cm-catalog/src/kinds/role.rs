//! Roles.

use cm_policy::Permission;
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};

use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, Reference};

/// Most permissions of one role.
const PERMISSIONS_MAX: usize = 256;

/// A named set of permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// What the role is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it permits.
    #[serde(default)]
    pub permissions: Vec<Permission>,
}

impl KindSpec for Role {
    const KIND: ResourceKind = ResourceKind::Role;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.description(self.description.as_deref());
        findings.count("spec.permissions", self.permissions.len(), PERMISSIONS_MAX);
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}
