//! The processing power that a component asks for.

use cm_types::ByteCount;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::Limits;
use crate::validation::Findings;

/// CPU cores and memory of one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// CPU cores; a text of digits is understood too.
    #[serde(deserialize_with = "cores")]
    pub cpu: u32,
    /// Memory, such as `2GB`.
    pub ram: ByteCount,
}

impl Resources {
    pub(super) fn check(resources: Option<&Resources>, limits: &Limits, findings: &mut Findings) {
        let Some(Resources { cpu, ram }) = resources else { return };
        let (low, high) = (limits.cpu_cores.start(), limits.cpu_cores.end());
        if !limits.cpu_cores.contains(cpu) {
            findings.beyond_limit("spec.resources.cpu", format!("must be between {low} and {high} cores"));
        }
        let (low, high) = (limits.ram_bytes.start(), limits.ram_bytes.end());
        if !limits.ram_bytes.contains(&ram.bytes()) {
            findings.beyond_limit(
                "spec.resources.ram",
                format!("must be between {} and {}", written(*low), written(*high)),
            );
        }
    }
}

/// A number, or its digits as text, as the policy files of the earlier implementation have it.
fn cores<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = u32;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number of CPU cores")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u32, E> {
            u32::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u32, E> {
            u32::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u32, E> {
            let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
            if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(wrong());
            }
            text.parse().map_err(|_| wrong())
        }
    }

    deserializer.deserialize_any(Visitor)
}

/// Bytes in the largest decimal unit of which they are a whole number.
fn written(bytes: u64) -> String {
    let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000), ("B", 1)];
    let (unit, size) = units.into_iter().find(|(_, size)| bytes.is_multiple_of(*size)).unwrap_or(("B", 1));
    format!("{}{unit}", bytes / size)
}
