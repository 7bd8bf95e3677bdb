//! Endpoints.

use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};

use super::{GuardedBy, Resources};
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, Reference};

/// A server that functions are deployed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// What the endpoint is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The container image.
    pub image: String,
    /// The processing power that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What it demands of its users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_policy: Option<GuardedBy>,
    /// The policy file that declares it, as its author calls it. Nothing is looked up by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
}

impl KindSpec for Endpoint {
    const KIND: ResourceKind = ResourceKind::Endpoint;

    fn validate(&self, limits: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.description(self.description.as_deref());
        findings.path("spec.image", &self.image);
        Resources::check(self.resources.as_ref(), limits, &mut findings);
        GuardedBy::check(self.security_policy.as_ref(), &mut findings);
        findings.policy_id(self.policy_id.as_deref());
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        GuardedBy::references(self.security_policy.as_ref())
    }
}
