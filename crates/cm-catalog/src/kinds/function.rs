//! Functions.

use cm_types::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};

use super::{GuardedBy, Resources, StoredIn, refer_optionally};
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, OnDelete, Reference};

/// How data is protected while a function runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    /// An attested, sealed WebAssembly instance under a per-file policy.
    #[default]
    Confidential,
}

/// What the confidential executor has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confidential {
    /// The program policy, JSON text exactly as it was sent: its hash is part of what is attested.
    pub policy: String,
}

/// Something that can be computed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// What the function computes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How its data is protected.
    #[serde(default)]
    pub executor: Executor,
    /// The container image, for executors that use one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The microservice that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microservice_id: Option<ResourceId>,
    /// The endpoint that it is deployed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<ResourceId>,
    /// Where its inputs come from and its outputs go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StoredIn>,
    /// The processing power that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Its own security policy; without one, that of its service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_policy: Option<GuardedBy>,
    /// What the confidential executor has to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidential: Option<Confidential>,
    /// The active object whose method it is, with which it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_object_id: Option<ResourceId>,
    /// The policy file that declares it, as its author calls it. Nothing is looked up by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
}

impl KindSpec for Function {
    const KIND: ResourceKind = ResourceKind::Function;

    fn validate(&self, limits: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.description(self.description.as_deref());
        if let Some(image) = &self.image {
            findings.path("spec.image", image);
        }
        Resources::check(self.resources.as_ref(), limits, &mut findings);
        GuardedBy::check(self.security_policy.as_ref(), &mut findings);
        StoredIn::check(self.storage.as_ref(), &mut findings);
        findings.policy_id(self.policy_id.as_deref());
        if self.confidential.as_ref().is_some_and(|confidential| confidential.policy.is_empty()) {
            findings.add("spec.confidential.policy", "must not be empty");
        }
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        let fields = [
            ("microservice_id", ResourceKind::Microservice, &self.microservice_id, OnDelete::Part),
            ("active_object_id", ResourceKind::ActiveObject, &self.active_object_id, OnDelete::Cascade),
            ("endpoint_id", ResourceKind::Endpoint, &self.endpoint_id, OnDelete::Restrict),
        ];
        fields
            .into_iter()
            .filter_map(|(field, kind, id, on_delete)| refer_optionally(field, kind, id.as_ref(), on_delete))
            .chain(StoredIn::reference(self.storage.as_ref()))
            .chain(GuardedBy::references(self.security_policy.as_ref()))
            .collect()
    }
}
