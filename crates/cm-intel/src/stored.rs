//! What the engine tells of what it keeps.

use std::net::IpAddr;
use std::sync::Arc;

use cm_types::Timestamp;

use crate::ledger::Mode;
use crate::ledger::reporter::{Reason, Standing};
use crate::store::tables::Origin;
use crate::{KeyId, ThreatEvent, Tlp};

/// An event that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its number on this node, from 1. It serves as a cursor.
    pub seq: u64,
    /// When it was accepted. Rises with the number and never repeats.
    pub received: Timestamp,
    /// The event, as it was signed.
    pub event: Arc<ThreatEvent>,
    /// Who signed it.
    pub key: KeyId,
    /// How it came.
    pub origin: Origin,
    /// With whom it may be shared.
    pub tlp: Tlp,
    /// Where its reporter stood when this was read.
    pub standing: Standing,
}

impl Stored {
    /// Where the threat comes from, if that is an address.
    pub fn address(&self) -> Option<IpAddr> {
        self.event.address()
    }
}

/// What is held of a reporter, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Reputation {
    /// Who.
    pub key: KeyId,
    /// How reporters are judged.
    pub mode: Mode,
    /// From 0 to 1; in [`Mode::Seed`] a whole number.
    pub score: f64,
    /// What follows from it.
    pub standing: Standing,
    /// Valid events that were kept.
    pub valid: u64,
    /// Events in its name that it had not signed.
    pub invalid: u64,
    /// How often others with weight confirmed it.
    pub corroborated: u64,
    /// How often it was found wrong.
    pub contradicted: u64,
    /// Valid events that were dropped because there were too many.
    pub limited: u64,
    /// When its first valid event came.
    pub first_seen: Timestamp,
    /// When its last valid event came.
    pub last_seen: Timestamp,
    /// Which organisation the operator assigned it to.
    pub organisation: Option<String>,
    /// Why the score is what it is.
    pub reasons: Vec<Reason>,
    /// Scores of the past, oldest first.
    pub history: Vec<(Timestamp, f64)>,
}

/// An event that was not signed by whom it names.
#[derive(Clone, Debug, PartialEq)]
pub struct Forged {
    /// When it came.
    pub at: Timestamp,
    /// Who brought it.
    pub link: String,
    /// What is wrong with it.
    pub reason: String,
    /// Whose key it names, if it is one.
    pub claimed: Option<KeyId>,
    /// The beginning of the payload.
    pub payload: String,
}

/// Which events to read; a field that is `None` lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only of this source, exactly.
    pub source: Option<String>,
    /// Only of this type, exactly.
    pub threat_type: Option<String>,
    /// Only of this severity, exactly.
    pub severity: Option<String>,
    /// Only of this reporter.
    pub reporter: Option<KeyId>,
    /// Only accepted at this moment or later.
    pub since: Option<Timestamp>,
    /// Only accepted before this moment.
    pub until: Option<Timestamp>,
    /// Only with this in source or type, whatever the case.
    pub text: Option<String>,
}

impl EventFilter {
    /// Whether an event passes.
    pub fn matches(&self, stored: &Stored) -> bool {
        let event = &stored.event;
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let within = |text: &String| {
            let text = text.to_lowercase();
            event.source_ip.to_lowercase().contains(&text) || event.threat_type.to_lowercase().contains(&text)
        };
        is(&self.source, &event.source_ip)
            && is(&self.threat_type, &event.threat_type)
            && is(&self.severity, &event.severity)
            && self.reporter.is_none_or(|key| key == stored.key)
            && self.since.is_none_or(|since| stored.received >= since)
            && self.until.is_none_or(|until| stored.received < until)
            && self.text.as_ref().is_none_or(within)
    }
}
