//! Active objects.

use cm_types::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};

use super::refer_optionally;
use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, OnDelete, Reference};

/// Most modules that an active object may depend on.
const DEPENDENCIES_MAX: usize = 256;

/// Python code with state. Field names are those of the clients that use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActiveObject {
    /// The Python module.
    pub axo_module: String,
    /// The class in the module.
    pub axo_class_name: String,
    /// The microservice that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_microservice_id: Option<ResourceId>,
    /// The endpoint that it lives on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_endpoint_id: Option<ResourceId>,
    /// Its version.
    #[serde(default)]
    pub axo_version: u32,
    /// Whether its state never changes.
    #[serde(default)]
    pub axo_is_read_only: bool,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_alias: Option<String>,
    /// The modules that it depends on.
    #[serde(default)]
    pub axo_dependencies: Vec<String>,
    /// The source code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_code: Option<String>,
}

impl KindSpec for ActiveObject {
    const KIND: ResourceKind = ResourceKind::ActiveObject;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.name("spec.axo_module", &self.axo_module);
        findings.name("spec.axo_class_name", &self.axo_class_name);
        if let Some(alias) = &self.axo_alias {
            findings.name("spec.axo_alias", alias);
        }
        findings.count("spec.axo_dependencies", self.axo_dependencies.len(), DEPENDENCIES_MAX);
        for (at, dependency) in self.axo_dependencies.iter().enumerate() {
            findings.name(&format!("spec.axo_dependencies[{at}]"), dependency);
        }
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        let (home, endpoint) = (self.axo_microservice_id.as_ref(), self.axo_endpoint_id.as_ref());
        [
            refer_optionally("axo_microservice_id", ResourceKind::Microservice, home, OnDelete::Part),
            refer_optionally("axo_endpoint_id", ResourceKind::Endpoint, endpoint, OnDelete::Restrict),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
