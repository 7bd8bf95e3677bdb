//! What the engine is told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::KeyId;
use crate::automatic::Automatic;
use crate::ledger::Mode;

/// What the engine is told. [`Default`] is what a node has when nothing is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntelConfig {
    /// Where `intel.db` and `reporter.key` are.
    pub data_dir: PathBuf,
    /// How reporters are judged.
    pub mode: Mode,
    /// Whether peers of version 1, which speak in the clear, are spoken to.
    pub legacy: bool,
    /// Whose reports count in full, besides this node's.
    pub anchors: Vec<KeyId>,
    /// Which keys belong together.
    pub organisations: BTreeMap<KeyId, String>,
    /// For how long a newcomer is on probation at least.
    pub probation: Duration,
    /// What a key on probation may report, an hour.
    pub new_key_rate: u32,
    /// What other keys may report, an hour.
    pub known_key_rate: u32,
    /// Events that are kept; the oldest go first.
    pub events_max: u64,
    /// For how long an indicator holds after it was last seen.
    pub indicator_lifetime: Duration,
    /// Connections that are accepted at a time, and of them from one address.
    pub connections_max: usize,
    /// See [`IntelConfig::connections_max`].
    pub connections_per_address_max: usize,
    /// The port that is told to others; 0 for none.
    pub announced_port: u16,
    /// Whether what happens to the node itself becomes events.
    pub own_events: bool,
    /// What follows from indicators by itself; nothing unless told.
    pub automatic: Option<Automatic>,
}

impl Default for IntelConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("."),
            mode: Mode::Hardened,
            legacy: true,
            anchors: Vec::new(),
            organisations: BTreeMap::new(),
            probation: Duration::from_secs(24 * 3600),
            new_key_rate: 600,
            known_key_rate: 36_000,
            events_max: 1_000_000,
            indicator_lifetime: Duration::from_secs(7 * 24 * 3600),
            connections_max: 512,
            connections_per_address_max: 32,
            announced_port: 0,
            own_events: true,
            automatic: None,
        }
    }
}
