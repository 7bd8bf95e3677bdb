//! What a record may ask for.

use std::ops::RangeInclusive;

const MEGABYTE: u64 = 1_000_000;

/// Limits that are checked when something is written, never when it is read: lowering one leaves what
/// is stored as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU cores of one `resources`; 1 to 4 unless configured.
    pub cpu_cores: RangeInclusive<u32>,
    /// Memory of one `resources`, in bytes; 1 MB to 8 GB (powers of ten) unless configured.
    pub ram_bytes: RangeInclusive<u64>,
    /// Longest name of a role, a security policy, a service, a microservice, an endpoint, a function or an active
    /// object, in characters; 32 unless configured. A name that is the id is not held to it.
    pub name_chars_max: usize,
    /// Longest spec, in bytes of JSON; 1 MiB unless configured.
    pub spec_bytes_max: usize,
    /// Most records that may go along with one deletion; 100,000 unless configured.
    pub cascade_records_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_cores: 1..=4,
            ram_bytes: MEGABYTE..=8000 * MEGABYTE,
            name_chars_max: 32,
            spec_bytes_max: 1024 * 1024,
            cascade_records_max: 100_000,
        }
    }
}
