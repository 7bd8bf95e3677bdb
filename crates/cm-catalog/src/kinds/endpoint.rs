//! Endpoints.

use cm_types::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};

use super::{Resources, refer_optionally};
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, OnDelete, Reference};

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
    pub security_policy: Option<ResourceId>,
    /// TCP port for publishing and subscribing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pubsub_port: Option<u16>,
    /// TCP port for requests and responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req_res_port: Option<u16>,
}

impl KindSpec for Endpoint {
    const KIND: ResourceKind = ResourceKind::Endpoint;

    fn validate(&self, limits: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.description(self.description.as_deref());
        findings.path("spec.image", &self.image);
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
