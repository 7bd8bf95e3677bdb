//! The tables. Every row is versioned; what was written once is read for ever.

use cm_db::{Row, Table};
use cm_types::{Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::indicator::Sightings;
use crate::ledger::reporter::ReporterLedger;
use crate::{KeyId, ThreatEvent, Tlp};

/// All of them.
pub const TABLES: &[&str] =
    &[Events::NAME, Names::NAME, Reporters::NAME, Indicators::NAME, Evidence::NAME, Positions::NAME];
/// Those that came with the second version.
pub const TABLES_2: &[&str] = &[Weightless::NAME];

/// How an event came here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// This node reported it.
    Own,
    /// A peer brought it: its address, or its key.
    Link(String),
    /// It was imported: from what.
    Import(String),
    /// A feed carries it: its name. Nobody has looked at it, as with what a peer brings.
    Feed(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Own => f.write_str("own"),
            Origin::Link(from) => write!(f, "link {from}"),
            Origin::Import(from) => write!(f, "import {from}"),
            Origin::Feed(feed) => write!(f, "feed {feed}"),
        }
    }
}

/// Events by their number, in the order in which they were accepted.
pub struct Events;

impl Table for Events {
    const NAME: &'static str = "intel_events";
    type Key = u64;
    type Row = EventRow;
}

/// An event. The names are short because there are many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    #[serde(rename = "at")]
    pub(crate) received: Timestamp,
    #[serde(rename = "by")]
    pub(crate) reporter: KeyId,
    pub(crate) id: String,
    #[serde(rename = "src")]
    pub(crate) source_ip: String,
    #[serde(rename = "typ")]
    pub(crate) threat_type: String,
    #[serde(rename = "sev")]
    pub(crate) severity: String,
    #[serde(rename = "ts")]
    pub(crate) timestamp: String,
    #[serde(rename = "sig")]
    pub(crate) signature: String,
    /// The key as it was written, where that differs from what stands with the reporter.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) pem: Option<String>,
    #[serde(rename = "via")]
    pub(crate) origin: Origin,
    #[serde(default)]
    pub(crate) tlp: Tlp,
    /// An operator found it to be false.
    #[serde(rename = "no", skip_serializing_if = "std::ops::Not::not", default)]
    pub(crate) dismissed: bool,
}

impl Row for EventRow {}

impl EventRow {
    /// The event as it was signed; `pem` is what stands with the reporter.
    pub(crate) fn event(self, pem: &str) -> ThreatEvent {
        ThreatEvent {
            id: self.id,
            source_ip: self.source_ip,
            threat_type: self.threat_type,
            severity: self.severity,
            timestamp: self.timestamp,
            reporter_pubkey: self.pem.unwrap_or_else(|| pem.to_owned()),
            signature: self.signature,
        }
    }
}

/// Numbers of events by what reporters call them.
pub struct Names;

impl Table for Names {
    const NAME: &'static str = "intel_names";
    type Key = (String, Sha256Digest);
    type Row = NameRow;
}

/// Which event has a name, and what was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRow {
    pub(crate) seq: u64,
    /// The beginning of the SHA-256 of the signed text: whoever gives one name to two events is told from one who repeats.
    pub(crate) text: u64,
    /// Whether that was held against its reporter.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(crate) equivocated: bool,
}

impl Row for NameRow {}

/// Reporters by their key.
pub struct Reporters;

impl Table for Reporters {
    const NAME: &'static str = "intel_reporters";
    type Key = Sha256Digest;
    type Row = ReporterRow;
}

/// A reporter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReporterRow {
    /// Its key as it was first written.
    pub(crate) pem: String,
    pub(crate) ledger: ReporterLedger,
    /// How many events of it are kept; not known of reporters that were written down before this was counted, which stay.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) kept: Option<u64>,
}

impl Row for ReporterRow {}

/// The numbers of events that links brought and whose reporters had no weight.
pub struct Weightless;

impl Table for Weightless {
    const NAME: &'static str = "intel_weightless";
    type Key = u64;
    type Row = Mark;
}

/// That something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {}

impl Row for Mark {}

/// Sources of threats by what they are called.
pub struct Indicators;

impl Table for Indicators {
    const NAME: &'static str = "intel_indicators";
    type Key = String;
    type Row = Sightings;
}

impl Row for Sightings {}

/// What was forged, by a number that goes round.
pub struct Evidence;

impl Table for Evidence {
    const NAME: &'static str = "intel_evidence";
    type Key = u64;
    type Row = EvidenceRow;
}

/// An event that was not signed by whom it names: evidence against the link that brought it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceRow {
    pub(crate) at: Timestamp,
    pub(crate) link: String,
    pub(crate) reason: String,
    pub(crate) claimed: Option<KeyId>,
    /// The beginning of the payload.
    pub(crate) payload: String,
}

impl Row for EvidenceRow {}

/// How far sources of events were read, by their name.
pub struct Positions;

impl Table for Positions {
    const NAME: &'static str = "intel_positions";
    type Key = String;
    type Row = Position;
}

/// How far a source was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub(crate) at: u64,
}

impl Row for Position {}
