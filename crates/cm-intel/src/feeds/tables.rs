//! The tables of feeds. Every row is versioned; what was written once is read for ever.

use cm_db::{Row, Table};
use cm_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::FeedKind;
use crate::Tlp;

/// All of them.
pub const TABLES: &[&str] = &[Feeds::NAME, Statements::NAME, Claims::NAME];

/// Feeds under their ids.
pub(crate) struct Feeds;

impl Table for Feeds {
    const NAME: &'static str = "intel_feeds";
    type Key = String;
    type Row = FeedRow;
}

/// A feed and how far it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FeedRow {
    /// What its statements are kept under: one that is removed and added again begins anew.
    pub(crate) number: u64,
    pub(crate) kind: FeedKind,
    pub(crate) url: String,
    pub(crate) username: Option<String>,
    /// The secret, sealed, in base64.
    pub(crate) sealed: Option<String>,
    pub(crate) weight: u8,
    pub(crate) every_secs: u64,
    pub(crate) unmarked: Tlp,
    pub(crate) created: Timestamp,
    /// Where to go on.
    pub(crate) position: String,
    pub(crate) next: Timestamp,
    pub(crate) pulls: u64,
    pub(crate) last_success: Option<Timestamp>,
    pub(crate) last_failure: Option<(Timestamp, String)>,
    pub(crate) failures: u32,
    /// Statements that are about something.
    pub(crate) indicators: u64,
    pub(crate) tally: Tally,
}

impl Row for FeedRow {}

/// What became of what was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Objects and events that were read.
    pub read: u64,
    /// Statements that were kept, new ones and new versions.
    pub kept: u64,
    /// Statements that were known.
    pub known: u64,
    /// Statements that their authors took back.
    pub withdrawn: u64,
    /// Statements whose time was over when they came.
    pub expired: u64,
    /// Statements for which there was no room.
    pub dropped: u64,
    /// Signed events that are kept, or were.
    pub events: u64,
    /// Signed events that were forged, or whose reporter is not listened to.
    pub refused: u64,
    /// Objects that say nothing to this node.
    pub other: u64,
    /// Objects that nobody can read.
    pub unreadable: u64,
}

impl Tally {
    /// With what came besides.
    pub(crate) fn add(&mut self, more: &Tally) {
        let Tally { read, kept, known, withdrawn, expired, dropped, events, refused, other, unreadable } =
            more;
        for (sum, more) in [
            (&mut self.read, read),
            (&mut self.kept, kept),
            (&mut self.known, known),
            (&mut self.withdrawn, withdrawn),
            (&mut self.expired, expired),
            (&mut self.dropped, dropped),
            (&mut self.events, events),
            (&mut self.refused, refused),
            (&mut self.other, other),
            (&mut self.unreadable, unreadable),
        ] {
            *sum = sum.saturating_add(*more);
        }
    }
}

/// Statements under the number of their feed and their ids.
pub(crate) struct Statements;

impl Table for Statements {
    const NAME: &'static str = "intel_statements";
    type Key = (u64, String);
    type Row = StatementRow;
}

/// The newest version of a statement. Without values it was taken back, and is kept so that no earlier version comes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatementRow {
    #[serde(rename = "v")]
    pub(crate) version: Timestamp,
    #[serde(rename = "of")]
    pub(crate) values: Vec<String>,
    #[serde(rename = "to")]
    pub(crate) until: Timestamp,
}

impl Row for StatementRow {}

/// What statements say under what it is about: the name of an indicator, the number of the feed, the id of the statement.
pub(crate) struct Claims;

impl Table for Claims {
    const NAME: &'static str = "intel_claims";
    type Key = (String, u64, String);
    type Row = ClaimRow;
}

/// What a statement says of one value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClaimRow {
    #[serde(rename = "typ")]
    pub(crate) threat_type: String,
    #[serde(rename = "sev")]
    pub(crate) severity: String,
    #[serde(rename = "c")]
    pub(crate) confidence: u8,
    #[serde(rename = "at")]
    pub(crate) from: Timestamp,
    #[serde(rename = "to")]
    pub(crate) until: Timestamp,
    pub(crate) tlp: Tlp,
}

impl Row for ClaimRow {}
