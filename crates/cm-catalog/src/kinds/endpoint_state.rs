//! States of endpoints.

use std::collections::BTreeMap;

use cm_types::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};

use super::refer;
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, OnDelete, Reference};

/// One moment in an endpoint's life. Its time is the record's `created_at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointState {
    /// The endpoint, with which its states go.
    pub endpoint_id: ResourceId,
    /// What it is, such as `warm` or `cold`.
    pub state: String,
    /// Whatever else is known.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

impl KindSpec for EndpointState {
    const KIND: ResourceKind = ResourceKind::EndpointState;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.name("spec.state", &self.state);
        findings.metadata(&self.metadata);
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        vec![refer("endpoint_id", ResourceKind::Endpoint, &self.endpoint_id, OnDelete::Cascade)]
    }
}
