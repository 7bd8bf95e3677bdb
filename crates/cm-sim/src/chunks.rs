//! Chunks on peers under faults.
//!
//! What decides is the product's: [`cm_placement::Placing`], [`cm_placement::mend`], [`cm_placement::is_surplus`],
//! [`cm_placement::is_promised`], the rules of rounds, layouts and their history. What only carries it out in `cm-objects` is a
//! model here: a database whose transactions are atomic and which nodes see late, disks that keep what they were told, and messages that are lost, late,
//! repeated and overtaken. While objects are written, replaced and deleted, with contents that they share, peers
//! crash and come back, stop in the middle of a deletion and go on much later, lose their connections, drain and are filled again.
//!
//! Checked is after every event that each chunk that is counted is promised by parts that no deletion on its way may touch. At the
//! end everything heals; then every chunk has to be whole where the layout wants it, and nothing else may be left.

mod database;
mod maintenance;
mod peer;
mod world;
mod writer;

use std::time::Duration;

pub use world::World;

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long faults happen, in virtual time.
    pub duration: Duration,
    /// Whether chunks are kept as 3+2, and as three copies else.
    pub coded: bool,
    /// Whether the transaction that counts chunks does not look whether they were condemned meanwhile: the proof that this
    /// would be noticed.
    pub unfenced: bool,
    /// Whether peers forget in which round they promised what they have already: the proof that this would be noticed.
    pub forgetful: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { duration: Duration::from_secs(5), coded: false, unfenced: false, forgetful: false }
    }
}

/// What happened in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events.
    pub events: u64,
    /// Puts that were acknowledged.
    pub puts: u64,
    /// Puts that found their chunks with peers already.
    pub reused: u64,
    /// Puts that were refused.
    pub refused: u64,
    /// Promises that were overtaken by a condemnation, and renewed.
    pub renewed: u64,
    /// Chunks condemned.
    pub condemned: u64,
    /// Parts deleted because of that.
    pub deleted: u64,
    /// Deletions that found a part promised since.
    pub spared: u64,
    /// Parts dropped because they belong elsewhere.
    pub dropped: u64,
    /// Parts made or moved by the survey.
    pub mended: u64,
    /// Crashes.
    pub crashes: u64,
    /// Epochs.
    pub epochs: u64,
}

/// A promise was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after {at:?}: {what}")]
pub struct Violation {
    /// When, in virtual time.
    pub at: Duration,
    /// What.
    pub what: String,
}

/// Runs one schedule of faults.
///
/// # Errors
/// The first promise that was broken.
pub fn run(seed: u64, options: &Options) -> Result<Report, Violation> {
    World::new(seed, options.clone()).run()
}

#[cfg(test)]
mod tests;
