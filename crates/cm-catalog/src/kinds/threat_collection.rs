//! Collections of threat intelligence that others put in and take out.

use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};

use super::GuardedBy;
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, Reference};

/// A collection of STIX objects, served by TAXII. Whoever may read it may take objects out, whoever may change it may put them in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreatCollection {
    /// What the collection is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it demands of its users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_policy: Option<GuardedBy>,
}

impl KindSpec for ThreatCollection {
    const KIND: ResourceKind = ResourceKind::ThreatCollection;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.description(self.description.as_deref());
        GuardedBy::check(self.security_policy.as_ref(), &mut findings);
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        GuardedBy::references(self.security_policy.as_ref())
    }
}
