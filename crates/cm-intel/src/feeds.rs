//! Feeds: what others publish about threats, asked for again and again (ADR 0060).
//!
//! A feed is a collection of a TAXII server or a directory of MISP, added by an operator with a **weight**: how much its word is to count. What it says is
//! unsigned as a rule, so that it becomes no event, which would be this node's word; it becomes a **statement** of the feed
//! (`take`), and shows in the [indicators](crate::Indicator) that it is about (`claims`). A statement is known by the id that its author
//! gave it and replaced by later versions of itself; it is gone when its author takes it back, when its time is over, and with its feed. Signed
//! events that a feed carries are verified and kept as if somebody had imported them.
//!
//! Statements are passed on to no peer. Exports obey their markings as those of events.
//!
//! How far a feed was read is written in the transaction that keeps what was read: whatever happens, nothing is missed, and what comes twice is known. This
//! crate speaks no HTTP: a face implements [`FeedSource`].
//!
//! Reading order: [`source`], [`said`], [`tables`], `take`, `claims`, `manage`, `worker`.

pub(crate) mod claims;
mod manage;
pub mod said;
pub mod source;
pub(crate) mod sweep;
pub mod tables;
pub(crate) mod take;
pub(crate) mod worker;

#[cfg(test)]
mod tests;

use std::time::Duration;

use cm_crypto::Secret;
use cm_types::{ResourceId, Timestamp};

use crate::Tlp;

pub use said::{Entry, Said};
pub use source::{Batch, Credential, FeedFailure, FeedKind, FeedSource, Pulling, Target};
pub use tables::Tally;
pub(crate) use worker::Desk;

/// Most feeds of a node.
pub const FEEDS_MAX: usize = 100;
/// Most statements of one feed that hold at a time; what comes beyond is dropped and counted.
pub const STATEMENTS_MAX: u64 = 100_000;
/// How often a feed is asked, unless told, at most and at least.
pub const EVERY: Duration = Duration::from_secs(3600);
/// See [`EVERY`].
pub const EVERY_MIN: Duration = Duration::from_secs(60);
/// See [`EVERY`].
pub const EVERY_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How much the word of a feed counts unless told, in percent: alone it makes nobody act.
pub const WEIGHT: u8 = 20;
/// What a feed is marked with that says nothing about it.
pub const UNMARKED: Tlp = Tlp::Amber;
/// Longest address, name of a user and secret, in bytes.
pub const TEXT_LEN_MAX: usize = 2048;

/// A feed to be added.
#[derive(Clone, Debug)]
pub struct NewFeed {
    /// What it is called.
    pub id: ResourceId,
    /// What it speaks.
    pub kind: FeedKind,
    /// Where it is.
    pub url: String,
    /// The name that goes with the secret as a password; without one the secret is a bearer token.
    pub username: Option<String>,
    /// What the feed is asked with. Sealed at once, never shown again.
    pub secret: Option<Secret<String>>,
    /// How much its word counts, in percent.
    pub weight: u8,
    /// How often it is asked.
    pub every: Duration,
    /// The marking of what bears none.
    pub unmarked: Tlp,
}

/// Whether a feed is being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Not before its time.
    Waiting,
    /// As soon as there is room for it.
    Queued,
    /// Right now.
    Pulling,
}

impl Activity {
    /// The name, as in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Activity::Waiting => "waiting",
            Activity::Queued => "queued",
            Activity::Pulling => "pulling",
        }
    }
}

/// A feed as it is told of: without its secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// What it is called.
    pub id: ResourceId,
    /// What it speaks.
    pub kind: FeedKind,
    /// Where it is.
    pub url: String,
    /// The name that goes with the secret.
    pub username: Option<String>,
    /// Whether it is asked with a secret.
    pub has_secret: bool,
    /// How much its word counts, in percent.
    pub weight: u8,
    /// How often it is asked.
    pub every: Duration,
    /// The marking of what bears none.
    pub unmarked: Tlp,
    /// When it was added.
    pub created: Timestamp,
    /// Whether it is being asked.
    pub activity: Activity,
    /// When it is asked next.
    pub next: Timestamp,
    /// How often it was asked to the end, and in vain.
    pub pulls: u64,
    /// When it was last asked to the end.
    pub last_success: Option<Timestamp>,
    /// When it was last asked in vain, and why.
    pub last_failure: Option<(Timestamp, String)>,
    /// How often in a row it was asked in vain.
    pub failures: u32,
    /// Statements of it that hold.
    pub indicators: u64,
    /// What became of everything that was ever read of it.
    pub tally: Tally,
}
