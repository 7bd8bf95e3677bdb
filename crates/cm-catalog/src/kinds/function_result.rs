//! Results of functions.

use std::collections::BTreeMap;

use cm_types::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};

use super::{refer, refer_optionally};
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, OnDelete, Reference};

/// What a function's run came to. Its time is the record's `created_at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionResult {
    /// The function, with which its results go.
    pub function_id: ResourceId,
    /// The state that the run ended in, with which the result goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_id: Option<ResourceId>,
    /// The instance that ran it. A memory and no reference: history outlives instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<ResourceId>,
    /// The result, or what is known about it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

impl KindSpec for FunctionResult {
    const KIND: ResourceKind = ResourceKind::FunctionResult;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.metadata(&self.metadata);
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        let state = self.state_id.as_ref();
        let mut references =
            vec![refer("function_id", ResourceKind::Function, &self.function_id, OnDelete::Cascade)];
        references.extend(refer_optionally(
            "state_id",
            ResourceKind::FunctionState,
            state,
            OnDelete::Cascade,
        ));
        references
    }
}
