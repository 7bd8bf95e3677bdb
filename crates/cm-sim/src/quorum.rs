//! The replicated log under faults.
//!
//! Each node is a [`cm_quorum::Replica`] on a disk that keeps what was flushed and may lose the rest, with a clock of
//! its own speed. Programs on the nodes write in batches and read behind barriers, as the database engine does.
//! While they do, nodes crash and come back, stop and go on, lose their connections, change their members; messages are
//! lost, late, repeated, overtaken. At the end everything heals, and the cluster has to work again.
//!
//! Checked are: that never two lead at the same time, that all copies are the same after the same entry, that what clients
//! saw is linearizable key by key, that no node finds its log contradictory, and that all copies become the same.

mod client;
mod copy;
mod disk;
mod faults;
mod node;
mod world;

use std::time::Duration;

pub use world::World;

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long faults happen, in virtual time.
    pub duration: Duration,
    /// Whether disks forget what they were told to keep when their node crashes: the proof that this would be noticed.
    pub forgetful_disks: bool,
    /// Whether programs name another version than they computed on, the newest they know: the proof that this would be
    /// noticed.
    pub unfenced: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { duration: Duration::from_secs(20), forgetful_disks: false, unfenced: false }
    }
}

/// What happened in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events.
    pub events: u64,
    /// Batches that were answered as done.
    pub batches: u64,
    /// Operations that were answered.
    pub operations: u64,
    /// Operations whose outcome nobody knows.
    pub unknown: u64,
    /// Batches that were computed in vain.
    pub stale: u64,
    /// Crashes.
    pub crashes: u64,
    /// Elections.
    pub terms: u64,
    /// Copies of the data that were put in place.
    pub snapshots: u64,
    /// Changes of membership.
    pub changes: u64,
    /// A digest of everything that happened.
    pub trace: u64,
}

/// What must not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two members led at the same time.
    #[error("{one} and {other} both led in term {term}")]
    TwoLeaders {
        /// The term.
        term: u64,
        /// The first.
        one: u64,
        /// The second.
        other: u64,
    },
    /// Two copies differ.
    #[error("copies differ after entry {index}")]
    Copies {
        /// After which entry.
        index: u64,
    },
    /// A node stopped because its log contradicts itself.
    #[error("node {node}: {source}")]
    Contradiction {
        /// The node.
        node: u64,
        /// What it found.
        source: cm_quorum::Inconsistent,
    },
    /// Clients saw what cannot be.
    #[error("what was seen of key {key} is not linearizable")]
    NotLinearizable {
        /// The key.
        key: u64,
    },
    /// Without faults the cluster did not work again.
    #[error("the cluster does not work though everything has healed: {what}")]
    NotAvailable {
        /// What was waited for in vain.
        what: &'static str,
    },
}

/// Runs one schedule of faults.
pub fn run(seed: u64, options: &Options) -> Result<Report, Violation> {
    World::new(seed, options.clone()).run()
}

#[cfg(test)]
mod tests;
