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
    /// What it permits, as written: see [`Permission::granted_by`].
    #[serde(default)]
    pub permissions: Vec<String>,
}

impl Role {
    /// What the role permits. A word that is no permission permits nothing.
    pub fn granted(&self) -> Vec<Permission> {
        self.permissions.iter().filter_map(|text| Permission::granted_by(text).ok()).flatten().collect()
    }

    /// The words that are no permissions, and hence permit nothing, each with its place and what is wrong with it.
    pub fn unknown_permissions(&self) -> Vec<FieldError> {
        let unknown = |(at, text): (usize, &String)| {
            let error = Permission::granted_by(text).err()?;
            Some(FieldError::form(format!("spec.permissions[{at}]"), error.to_string()))
        };
        self.permissions.iter().enumerate().filter_map(unknown).collect()
    }
}

impl KindSpec for Role {
    const KIND: ResourceKind = ResourceKind::Role;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.description(self.description.as_deref());
        findings.count("spec.permissions", self.permissions.len(), PERMISSIONS_MAX);
        for (at, text) in self.permissions.iter().enumerate() {
            let path = format!("spec.permissions[{at}]");
            findings.text(&path, text, 1, cm_policy::permission::PERMISSION_LEN_MAX, false);
        }
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}
