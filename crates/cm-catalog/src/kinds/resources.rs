//! The processing power that a component asks for.

use cm_types::ByteCount;
use serde::{Deserialize, Serialize};

use crate::Limits;
use crate::validation::Findings;

/// CPU cores and memory of one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// CPU cores.
    pub cpu: u32,
    /// Memory, such as `2GB`.
    pub ram: ByteCount,
}

impl Resources {
    pub(super) fn check(resources: Option<&Resources>, limits: &Limits, findings: &mut Findings) {
        let Some(Resources { cpu, ram }) = resources else { return };
        let (low, high) = (limits.cpu_cores.start(), limits.cpu_cores.end());
        if !limits.cpu_cores.contains(cpu) {
            findings.add("spec.resources.cpu", format!("must be between {low} and {high} cores"));
        }
        let (low, high) = (limits.ram_bytes.start(), limits.ram_bytes.end());
        if !limits.ram_bytes.contains(&ram.bytes()) {
            findings.add("spec.resources.ram", format!("must be between {low} and {high} bytes"));
        }
    }
}
