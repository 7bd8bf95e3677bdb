//! Storages.

use cm_types::{ByteCount, ResourceKind};
use serde::{Deserialize, Serialize};

use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, Reference};

/// Where a function's inputs come from and its outputs go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// What the storage is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How much it may hold, such as `10GB`.
    pub capacity: ByteCount,
    /// Where inputs come from.
    pub source_path: String,
    /// Where outputs go.
    pub sink_path: String,
}

impl KindSpec for Storage {
    const KIND: ResourceKind = ResourceKind::Storage;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.description(self.description.as_deref());
        if self.capacity.bytes() == 0 {
            findings.add("spec.capacity", "must not be zero");
        }
        findings.path("spec.source_path", &self.source_path);
        findings.path("spec.sink_path", &self.sink_path);
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}
