//! Permission policies.

use cm_policy::pdl::{self, Document};
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};

use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, Reference};

/// What may be done in a tenant and what may not, in the permissions language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermissionPolicy {
    /// What the policy is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The document, as it is written.
    pub source: String,
    /// Whether it is in force.
    #[serde(default = "yes")]
    pub enforced: bool,
}

fn yes() -> bool {
    true
}

impl PermissionPolicy {
    /// The document. What was stored was well formed; what a later version reads differently is refused rather than guessed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn document(&self) -> Result<Document, pdl::PdlErrors> {
        pdl::parse(&self.source)
    }
}

impl KindSpec for PermissionPolicy {
    const KIND: ResourceKind = ResourceKind::PermissionPolicy;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.description(self.description.as_deref());
        if let Err(errors) = self.document() {
            for error in errors.0 {
                findings.add("spec.source", error.to_string());
            }
        }
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}
