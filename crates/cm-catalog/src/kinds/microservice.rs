//! Microservices.

use cm_types::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};

use super::{GuardedBy, Resources, refer};
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, OnDelete, Reference};

/// A group of functions within a service. Which ones belong to it is said by them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Microservice {
    /// What the microservice is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The service that it belongs to.
    pub service_id: ResourceId,
    /// The processing power that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Its own security policy; without one, that of its service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_policy: Option<GuardedBy>,
    /// The policy file that declares it, as its author calls it. Nothing is looked up by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
}

impl KindSpec for Microservice {
    const KIND: ResourceKind = ResourceKind::Microservice;

    fn validate(&self, limits: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.description(self.description.as_deref());
        Resources::check(self.resources.as_ref(), limits, &mut findings);
        GuardedBy::check(self.security_policy.as_ref(), &mut findings);
        findings.policy_id(self.policy_id.as_deref());
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        let service = refer("service_id", ResourceKind::Service, &self.service_id, OnDelete::Part);
        [vec![service], GuardedBy::references(self.security_policy.as_ref())].concat()
    }
}
