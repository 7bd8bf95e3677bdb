//! What events come to: where threats come from, who says so, and how much of it is to be believed.

use std::net::IpAddr;
use std::time::Duration;

use cm_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ledger::reporter::Terms;
use crate::{KeyId, ThreatEvent, Tlp};

/// Reporters that are remembered of one indicator.
const REPORTERS_MAX: usize = 16;
/// Of those, ones whose word has no weight: a farm of keys must leave room for others.
const WEIGHTLESS_MAX: usize = 8;
/// Types of threats that are remembered of one indicator.
pub(crate) const TYPES_MAX: usize = 16;
/// Longest name of an indicator, in bytes.
pub const VALUE_LEN_MAX: usize = 256;
/// Within which time a later report confirms an earlier one.
const CONFIRMS_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// How sure one organisation in full standing makes: never quite.
pub(crate) const SURENESS_MAX: f64 = 0.9;
/// How sure reporters without weight make, each, and together at most.
const WEIGHTLESS_SURENESS: f64 = 0.02;
const WEIGHTLESS_SURENESS_MAX: f64 = 0.1;

/// A source of threats, drawn from events.
#[derive(Clone, Debug, PartialEq)]
pub struct Indicator {
    /// The address, or whatever reporters call the source.
    pub value: String,
    /// The address, if it is one.
    pub address: Option<IpAddr>,
    /// What it is said to do.
    pub threat_types: Vec<String>,
    /// The gravest of what is said.
    pub severity: String,
    /// When it was first seen, by what its reporters say.
    pub first_seen: Timestamp,
    /// When it was last seen, by what its reporters say; never later than they said so.
    pub last_seen: Timestamp,
    /// Until when it holds.
    pub expires: Timestamp,
    /// How many events there were.
    pub events: u64,
    /// By how many reporters, 16 at most.
    pub reporters: u64,
    /// Of how many organisations whose word has weight.
    pub organisations: u64,
    /// Which feeds say so.
    pub feeds: Vec<String>,
    /// How much of it is to be believed, 0 to 100.
    pub confidence: u8,
    /// The strictest marking of its events, and of what feeds say.
    pub tlp: Tlp,
}

/// What is stored of an indicator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sightings {
    types: Vec<String>,
    severity: String,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    events: u64,
    /// Who reported it, in order, and when first.
    reporters: Vec<(KeyId, Timestamp)>,
    #[serde(default)]
    tlp: Tlp,
    /// The number of the last event that told of it.
    #[serde(default)]
    pub(crate) seq: u64,
}

/// What an indicator is called: an address in its one form, any other source as it is said, without spaces around it.
pub fn value_of(source_ip: &str) -> String {
    let text = source_ip.trim();
    match text.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => {
            let end = (0..=text.len().min(VALUE_LEN_MAX)).rev().find(|at| text.is_char_boundary(*at));
            text[..end.unwrap_or(0)].to_owned()
        }
    }
}

/// When an event says that it was: one of the future is of now, as is one without a time that can be read. An old one that comes late, or again, is no
/// news.
pub fn seen_at(event: &ThreatEvent, now: Timestamp) -> Timestamp {
    let said = cm_stix::moment::said(&event.timestamp).unwrap_or(now);
    // Before 1970 nobody saw anything; such times do not print.
    said.clamp(Timestamp::from_micros(0).min(now), now)
}

/// How grave a word is; words that nobody agreed on come after those that are known, before `info`.
fn gravity(severity: &str) -> u8 {
    match severity.trim().to_ascii_lowercase().as_str() {
        "critical" | "fatal" | "emergency" => 5,
        "high" | "severe" | "error" => 4,
        "medium" | "moderate" | "warning" => 3,
        "low" | "minor" => 2,
        "info" | "informational" | "debug" => 0,
        _ => 1,
    }
}

/// Whether a severity is graver than what was said so far.
pub(crate) fn graver(severity: &str, so_far: &str) -> bool {
    so_far.is_empty() || gravity(severity) > gravity(so_far)
}

/// A reporter whom a new report confirms, and as which of those who said so before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Who.
    pub reporter: KeyId,
    /// From 1.
    pub position: usize,
}

impl Sightings {
    /// Of a source that nobody reported before, seen at this moment.
    pub fn new(seen: Timestamp) -> Self {
        let (types, severity) = (Vec::new(), String::new());
        Self {
            types,
            severity,
            first_seen: seen,
            last_seen: seen,
            events: 0,
            reporters: Vec::new(),
            tlp: Tlp::Clear,
            seq: 0,
        }
    }

    /// Adds a report, which is kept under a number; returns whom it confirms. Only somebody's first report of a source does. `weight` is that of a reporter's word.
    pub fn add(
        &mut self,
        (event, seq): (&ThreatEvent, u64),
        reporter: KeyId,
        tlp: Tlp,
        now: Timestamp,
        terms: &Terms,
        weight: impl Fn(&KeyId) -> f64,
    ) -> Vec<Confirmed> {
        self.events += 1;
        self.seq = seq;
        let seen = seen_at(event, now);
        (self.first_seen, self.last_seen) = (self.first_seen.min(seen), self.last_seen.max(seen));
        self.tlp = self.tlp.max(tlp);
        if graver(&event.severity, &self.severity) {
            self.severity = event.severity.chars().take(64).collect();
        }
        let threat: String = event.threat_type.chars().take(128).collect();
        if self.types.len() < TYPES_MAX && !self.types.contains(&threat) {
            self.types.push(threat);
        }
        if self.reporters.iter().any(|(known, _)| *known == reporter) {
            return Vec::new();
        }
        let recent = |at: &Timestamp| now.since(*at) <= CONFIRMS_WITHIN;
        let before = self.reporters.iter().enumerate();
        let confirmed = before
            .filter(|(_, (earlier, at))| recent(at) && terms.independent(earlier, &reporter))
            .map(|(at, (earlier, _))| Confirmed { reporter: *earlier, position: at + 1 })
            .collect();
        self.enter(reporter, now, weight);
        confirmed
    }

    /// Remembers a reporter, if need be in the place of one whose word has no weight.
    fn enter(&mut self, reporter: KeyId, now: Timestamp, weight: impl Fn(&KeyId) -> f64) {
        let weightless = |key: &KeyId| weight(key) <= 0.0;
        let own_weightless = weightless(&reporter);
        let others = self.reporters.iter().filter(|(key, _)| weightless(key)).count();
        if own_weightless && others >= WEIGHTLESS_MAX {
            return;
        }
        if self.reporters.len() >= REPORTERS_MAX {
            let Some(at) = self.reporters.iter().rposition(|(key, _)| weightless(key)) else { return };
            if own_weightless {
                return;
            }
            self.reporters.remove(at);
        }
        self.reporters.push((reporter, now));
    }

    /// What a reporter said of it was false.
    pub fn withdraw(&mut self, reporter: &KeyId) {
        self.reporters.retain(|(known, _)| known != reporter);
        self.events = self.events.saturating_sub(1);
    }

    /// Who reported it.
    pub fn reporters(&self) -> impl Iterator<Item = &KeyId> {
        self.reporters.iter().map(|(key, _)| key)
    }

    /// What it comes to. Organisations are independent witnesses; each counts by its weightiest key.
    pub fn indicator(
        &self,
        value: String,
        lifetime: Duration,
        terms: &Terms,
        weight: impl Fn(&KeyId) -> f64,
    ) -> Indicator {
        let mut witnesses: Vec<(Option<&str>, f64)> = Vec::new();
        let mut weightless = 0.0;
        for key in self.reporters() {
            let weight = weight(key);
            let organisation = terms.organisation(key);
            if weight <= 0.0 {
                weightless += WEIGHTLESS_SURENESS;
                continue;
            }
            match witnesses.iter_mut().find(|(known, _)| known.is_some() && *known == organisation) {
                Some((_, most)) => *most = most.max(weight),
                None => witnesses.push((organisation, weight)),
            }
        }
        let doubt: f64 = witnesses.iter().map(|(_, weight)| 1.0 - weight.min(1.0) * SURENESS_MAX).product();
        let doubt = doubt * (1.0 - weightless.min(WEIGHTLESS_SURENESS_MAX));
        Indicator {
            address: value.parse().ok(),
            value,
            threat_types: self.types.clone(),
            severity: self.severity.clone(),
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            expires: self.last_seen.after(lifetime),
            events: self.events,
            reporters: self.reporters.len() as u64,
            organisations: witnesses.len() as u64,
            feeds: Vec::new(),
            // Between 0 and 100 by what it is made of.
            confidence: ((1.0 - doubt) * 100.0).round() as u8,
            tlp: self.tlp,
        }
    }
}

#[cfg(test)]
mod tests {
    use cm_types::Sha256Digest;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::Mode;
    use crate::ledger::bucket::Rate;

    fn key(number: u8) -> KeyId {
        KeyId(Sha256Digest::from_bytes([number; 32]))
    }

    fn terms() -> Terms {
        Terms {
            mode: Mode::Hardened,
            anchors: Vec::new(),
            organisations: [(key(1), "a".to_owned()), (key(2), "a".to_owned())].into(),
            probation: Duration::ZERO,
            rate_new: Rate::per_hour(1),
            rate_known: Rate::per_hour(1),
        }
    }

    fn event(source: &str, severity: &str) -> ThreatEvent {
        ThreatEvent {
            id: String::new(),
            source_ip: source.into(),
            threat_type: "scan".into(),
            severity: severity.into(),
            timestamp: String::new(),
            reporter_pubkey: String::new(),
            signature: String::new(),
        }
    }

    #[test]
    fn a_source_has_one_name() {
        for (source, expected) in [
            (" 198.51.100.7 ", "198.51.100.7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("2001:DB8::0:1", "2001:db8::1"),
            (" evil.example ", "evil.example"),
        ] {
            assert_eq!(value_of(source), expected);
        }
        assert!(value_of(&"ä".repeat(500)).len() <= VALUE_LEN_MAX);
    }

    #[test]
    fn only_first_reports_of_independent_reporters_confirm() {
        let (terms, now) = (terms(), Timestamp::from_micros(0));
        let mut sightings = Sightings::new(now);
        let mut add = |by: u8| -> Vec<(KeyId, usize)> {
            let added =
                sightings.add((&event("198.51.100.7", "low"), 1), key(by), Tlp::Clear, now, &terms, |_| 1.0);
            added.iter().map(|confirmed| (confirmed.reporter, confirmed.position)).collect()
        };
        assert_eq!(add(1), []);
        assert_eq!(add(2), [], "one organisation");
        assert_eq!(add(3), [(key(1), 1), (key(2), 2)]);
        assert_eq!(add(3), [], "said before");
        assert_eq!(add(1), []);
    }

    #[test]
    fn the_gravest_word_and_the_strictest_marking_stay() {
        let (terms, now) = (terms(), Timestamp::from_micros(0));
        let mut sightings = Sightings::new(now);
        for (severity, tlp) in
            [("info", Tlp::Green), ("Critical", Tlp::Clear), ("high", Tlp::Clear), ("odd", Tlp::Clear)]
        {
            sightings.add((&event("x", severity), 1), key(3), tlp, now, &terms, |_| 1.0);
        }
        let indicator = sightings.indicator("x".into(), Duration::from_secs(60), &terms, |_| 1.0);
        assert_eq!(
            (indicator.severity.as_str(), indicator.tlp, indicator.events),
            ("Critical", Tlp::Green, 4)
        );
        assert_eq!((indicator.reporters, indicator.confidence), (1, 90));
    }

    #[test]
    fn an_old_event_is_no_news_and_one_of_the_future_is_of_now() {
        let (terms, now) = (terms(), Timestamp::from_micros(1_795_000_000_000_000));
        let said = |at: &str| ThreatEvent { timestamp: at.into(), ..event("x", "low") };
        let first = said("2026-11-01 10:00:00");
        let mut sightings = Sightings::new(seen_at(&first, now));
        sightings.add((&said("2026-11-01 10:00:00"), 1), key(3), Tlp::Clear, now, &terms, |_| 1.0);
        let first = sightings.indicator("x".into(), Duration::from_secs(60), &terms, |_| 1.0);
        assert_eq!(
            (first.last_seen.to_string(), first.first_seen),
            ("2026-11-01T10:00:00Z".into(), first.last_seen)
        );
        for at in ["2025-01-01 00:00:00", "2026-10-31 10:00:00"] {
            sightings.add((&said(at), 2), key(3), Tlp::Clear, now, &terms, |_| 1.0);
        }
        assert_eq!(sightings.last_seen, first.last_seen, "said again, nothing was seen again");
        assert_eq!(sightings.first_seen.to_string(), "2025-01-01T00:00:00Z");
        for at in ["2999-01-01 00:00:00", "yesterday"] {
            sightings.add((&said(at), 3), key(3), Tlp::Clear, now, &terms, |_| 1.0);
            assert_eq!(sightings.last_seen, now, "{at}");
        }
    }

    #[test]
    fn a_farm_neither_convinces_nor_crowds_out() {
        let (terms, now) = (terms(), Timestamp::from_micros(0));
        let mut sightings = Sightings::new(now);
        let weight = |key: &KeyId| f64::from(u8::from(key.0.as_bytes()[0] >= 200));
        for by in 10..190 {
            sightings.add((&event("x", "low"), 1), key(by), Tlp::Clear, now, &terms, weight);
        }
        assert!(sightings.indicator("x".into(), Duration::ZERO, &terms, weight).confidence <= 10);
        for by in 200..240 {
            sightings.add((&event("x", "low"), 1), key(by), Tlp::Clear, now, &terms, weight);
        }
        let indicator = sightings.indicator("x".into(), Duration::ZERO, &terms, weight);
        assert!(indicator.organisations >= 8 && indicator.reporters <= REPORTERS_MAX as u64, "{indicator:?}");
    }

    proptest! {
        #[test]
        fn one_more_witness_never_lowers_confidence(weights in prop::collection::vec(0.0f64..=1.0, 1..15)) {
            let (terms, now) = (terms(), Timestamp::from_micros(0));
            let weight = |key: &KeyId| weights[usize::from(key.0.as_bytes()[0]) - 10];
            let mut sightings = Sightings::new(now);
            let mut last = 0;
            for by in 0..weights.len() {
                sightings.add((&event("x", "low"), 1), key(10 + by as u8), Tlp::Clear, now, &terms, weight);
                let confidence = sightings.indicator("x".into(), Duration::ZERO, &terms, weight).confidence;
                prop_assert!(confidence >= last && confidence <= 100);
                last = confidence;
            }
        }
    }
}
