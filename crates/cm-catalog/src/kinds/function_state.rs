//! States of functions.

use std::collections::BTreeMap;

use cm_types::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};

use super::refer;
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, OnDelete, Reference};

/// One moment in a function's run. Its time is the record's `created_at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionState {
    /// The function, with which its states go.
    pub function_id: ResourceId,
    /// The instance that ran it. A memory and no reference: history outlives instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<ResourceId>,
    /// What it is, such as `running`, `completed` or `failed`.
    pub state: String,
    /// Whatever else is known.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

impl KindSpec for FunctionState {
    const KIND: ResourceKind = ResourceKind::FunctionState;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.name("spec.state", &self.state);
        findings.metadata(&self.metadata);
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        vec![refer("function_id", ResourceKind::Function, &self.function_id, OnDelete::Cascade)]
    }
}
