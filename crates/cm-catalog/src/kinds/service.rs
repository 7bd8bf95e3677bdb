//! Services.

use cm_types::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};

use super::{Resources, refer_optionally};
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, OnDelete, Reference};

/// A group of microservices under one security policy. Which ones belong to it is said by them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// What the service is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The security policy; also that of all microservices and functions without their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_policy: Option<ResourceId>,
    /// The processing power that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl KindSpec for Service {
    const KIND: ResourceKind = ResourceKind::Service;

    fn validate(&self, limits: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.description(self.description.as_deref());
        Resources::check(self.resources.as_ref(), limits, &mut findings);
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        let policy = self.security_policy.as_ref();
        refer_optionally("security_policy", ResourceKind::SecurityPolicy, policy, OnDelete::Restrict)
            .into_iter()
            .collect()
    }
}
