//! Computations on secret shares.

use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};

use super::GuardedBy;
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, Reference};

/// Something that several parties compute together on values that none of them sees. How it fares is its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Computation {
    /// What is computed, by whom and for whom: the plan, JSON text to the byte. Shares of inputs are sealed for its digest.
    pub plan: String,
    /// The job that it was made of, as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its own security policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_policy: Option<GuardedBy>,
}

impl KindSpec for Computation {
    const KIND: ResourceKind = ResourceKind::Computation;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        if self.plan.is_empty() {
            findings.add("spec.plan", "must not be empty");
        }
        findings.description(self.description.as_deref());
        GuardedBy::check(self.security_policy.as_ref(), &mut findings);
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        GuardedBy::references(self.security_policy.as_ref())
    }
}
