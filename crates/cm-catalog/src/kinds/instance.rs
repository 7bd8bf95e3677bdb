//! Instances.

use cm_types::{ByteCount, ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};

use super::{GuardedBy, refer_optionally};
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, OnDelete, Reference};

/// What an instance may use at most. What is absent is the executor's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceLimits {
    /// Memory of its programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteCount>,
    /// Files that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<ByteCount>,
    /// Duration of one run, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_seconds: Option<u32>,
    /// Connections at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
}

/// A running, sealed copy of a function. Where it listens and how it fares is its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// The function, which stays as long as it has instances; `None` if the instance was asked for with programs of its
    /// own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<ResourceId>,
    /// Who may do what in an instance of a function: the user policy, JSON text exactly as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_policy: Option<String>,
    /// What was asked for together with its programs: the VaaS policy, JSON text exactly as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vaas_policy: Option<String>,
    /// The full policy that it obeys, to the byte. Instances that are older than this field have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What it may use.
    #[serde(default)]
    pub limits: InstanceLimits,
    /// Seconds after which it is ended; without them, the executor's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u32>,
    /// Its own security policy; without one, that of its function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_policy: Option<GuardedBy>,
}

impl KindSpec for Instance {
    const KIND: ResourceKind = ResourceKind::Instance;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        let texts = [
            ("spec.user_policy", &self.user_policy),
            ("spec.vaas_policy", &self.vaas_policy),
            ("spec.policy", &self.policy),
        ];
        for (path, _) in texts.into_iter().filter(|(_, text)| text.as_ref().is_some_and(String::is_empty)) {
            findings.add(path, "must not be empty");
        }
        let numbers = [
            ("spec.limits.memory", self.limits.memory.as_ref().map(ByteCount::bytes)),
            ("spec.limits.storage", self.limits.storage.as_ref().map(ByteCount::bytes)),
            ("spec.limits.wall_seconds", self.limits.wall_seconds.map(u64::from)),
            ("spec.limits.connections", self.limits.connections.map(u64::from)),
            ("spec.lifetime_seconds", self.lifetime_seconds.map(u64::from)),
        ];
        for (path, _) in numbers.into_iter().filter(|(_, number)| *number == Some(0)) {
            findings.add(path, "must not be zero");
        }
        GuardedBy::check(self.security_policy.as_ref(), &mut findings);
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        let function =
            refer_optionally("function", ResourceKind::Function, self.function.as_ref(), OnDelete::Restrict);
        let guarded = GuardedBy::references(self.security_policy.as_ref());
        function.into_iter().chain(guarded).collect()
    }
}
