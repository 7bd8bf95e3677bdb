//! What threat intelligence looks like on the wire.

use cm_intel::{Forged, Imported, Indicator, PeerStatus, Reputation, Status, Stored, Tlp};
use cm_types::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An event that was accepted. What its reporter says is free text.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ThreatEventView {
    /// Its number on this node, from 1.
    pub seq: u64,
    /// When it was accepted, RFC 3339. Rises with the number and never repeats.
    #[schema(format = "date-time")]
    pub received: String,
    /// What its reporter calls it.
    pub id: String,
    /// Where the threat comes from: an address as a rule.
    pub source_ip: String,
    /// What it is.
    pub threat_type: String,
    /// How grave it is.
    pub severity: String,
    /// When it happened, as its reporter says.
    pub timestamp: String,
    /// Who reported it: SHA-256 of its public key.
    pub reporter: String,
    /// Where the reporter stands: `anchor`, `trusted`, `neutral`, `probation`, `distrusted` or `banned`.
    pub standing: String,
    /// How it came: `own`, `link FROM` or `import FROM`.
    pub origin: String,
    /// With whom it may be shared: `clear`, `green`, `amber`, `amber-strict` or `red`.
    pub tlp: String,
    /// The reporter's public key, in PEM as it was signed.
    pub reporter_pubkey: String,
    /// The signature, RSA-PSS with SHA-256 and the longest salt, in base64.
    pub signature: String,
}

impl From<Stored> for ThreatEventView {
    fn from(stored: Stored) -> Self {
        let event = cm_intel::ThreatEvent::clone(&stored.event);
        Self {
            seq: stored.seq,
            received: stored.received.to_string(),
            id: event.id,
            source_ip: event.source_ip,
            threat_type: event.threat_type,
            severity: event.severity,
            timestamp: event.timestamp,
            reporter: stored.key.to_string(),
            standing: stored.standing.as_str().to_owned(),
            origin: stored.origin.to_string(),
            tlp: stored.tlp.as_str().to_owned(),
            reporter_pubkey: event.reporter_pubkey,
            signature: event.signature,
        }
    }
}

/// A threat to report.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ThreatBody {
    /// Where it comes from: an address as a rule; at most 1024 bytes, as the other texts.
    #[schema(example = "198.51.100.23")]
    pub source_ip: String,
    /// What it is.
    #[schema(example = "ssh brute force")]
    pub threat_type: String,
    /// How grave it is: `low`, `medium`, `high` or `critical` as a rule.
    #[schema(example = "high")]
    pub severity: String,
    /// With whom it may be shared: `clear` unless told, `green`, `amber`, `amber-strict` or `red`; peers are given the first two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tlp: Option<String>,
}

/// A signed event of another node, as its reporter signed it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedEventBody {
    /// What its reporter calls it.
    pub id: String,
    /// Where the threat comes from.
    pub source_ip: String,
    /// What it is.
    pub threat_type: String,
    /// How grave it is.
    pub severity: String,
    /// When it happened.
    pub timestamp: String,
    /// The reporter's public key in PEM.
    pub reporter_pubkey: String,
    /// The signature in base64.
    pub signature: String,
    /// With whom it may be shared; `clear` unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tlp: Option<String>,
}

/// What became of an event that was imported.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportedView {
    /// Its number.
    pub seq: u64,
    /// Whether it was known before.
    pub known: bool,
}

impl From<Imported> for ImportedView {
    fn from(imported: Imported) -> Self {
        match imported {
            Imported::Stored(stored) => Self { seq: stored.seq, known: false },
            Imported::Known(seq) => Self { seq, known: true },
        }
    }
}

/// One reason for a score.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReasonView {
    /// For people.
    pub what: String,
    /// What it adds to the score, or takes.
    pub effect: f64,
}

/// A score of the past.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ScoreView {
    /// When.
    #[schema(format = "date-time")]
    pub at: String,
    /// How much.
    pub score: f64,
}

/// What is held of a reporter, and why.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReputationView {
    /// SHA-256 of the reporter's public key.
    pub key: String,
    /// How reporters are judged: `hardened` or `seed`.
    pub mode: String,
    /// From 0 to 1; in seed mode a whole number.
    pub score: f64,
    /// What follows: `anchor`, `trusted`, `neutral`, `probation`, `distrusted` or `banned`.
    pub standing: String,
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
    #[schema(format = "date-time")]
    pub first_seen: String,
    /// When its last valid event came.
    #[schema(format = "date-time")]
    pub last_seen: String,
    /// The organisation that the operator assigned it to.
    pub organisation: Option<String>,
    /// Why the score is what it is; the effects add up to it.
    pub reasons: Vec<ReasonView>,
    /// Scores of the past, the oldest first.
    pub history: Vec<ScoreView>,
}

impl From<Reputation> for ReputationView {
    fn from(of: Reputation) -> Self {
        let reasons =
            of.reasons.into_iter().map(|reason| ReasonView { what: reason.what, effect: reason.effect });
        let score = |(at, score): (Timestamp, f64)| ScoreView { at: at.to_string(), score };
        Self {
            key: of.key.to_string(),
            mode: of.mode.as_str().to_owned(),
            score: of.score,
            standing: of.standing.as_str().to_owned(),
            valid: of.valid,
            invalid: of.invalid,
            corroborated: of.corroborated,
            contradicted: of.contradicted,
            limited: of.limited,
            first_seen: of.first_seen.to_string(),
            last_seen: of.last_seen.to_string(),
            organisation: of.organisation,
            reasons: reasons.collect(),
            history: of.history.into_iter().map(score).collect(),
        }
    }
}

/// A link to a peer, or a peer that cannot be reached.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PeerView {
    /// What it is called: the id of its record, or its address.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Whether this node dialled it.
    pub outgoing: bool,
    /// The version of the protocol: 1 in the clear, 2 encrypted.
    pub version: u8,
    /// Its key, on encrypted links.
    pub key: Option<String>,
    /// `connecting`, `up`, `down` or `refused`.
    pub state: String,
    /// Since when.
    #[schema(format = "date-time")]
    pub since: String,
    /// Events that came.
    pub received: u64,
    /// Of those, new ones that were kept.
    pub accepted: u64,
    /// Of those, ones that were known.
    pub duplicates: u64,
    /// Of those, forged ones and what was no event.
    pub invalid: u64,
    /// Of those, ones that were not kept: the peer or the reporter is not listened to, or says too much.
    pub refused: u64,
    /// Events that were sent.
    pub sent: u64,
    /// Events that were not sent, because the peer reads too slowly.
    pub dropped: u64,
    /// What is held of the link; below -20 its events are not looked at, below -80 it is cut.
    pub score: f64,
    /// Why its events are not looked at or it cannot be reached.
    pub ignored: Option<String>,
}

impl From<PeerStatus> for PeerView {
    fn from(peer: PeerStatus) -> Self {
        Self {
            name: peer.name,
            address: peer.address,
            outgoing: peer.outgoing,
            version: peer.version,
            key: peer.key,
            state: peer.state.as_str().to_owned(),
            since: peer.since.to_string(),
            received: peer.received,
            accepted: peer.accepted,
            duplicates: peer.duplicates,
            invalid: peer.invalid,
            refused: peer.refused,
            sent: peer.sent,
            dropped: peer.dropped,
            score: peer.score,
            ignored: peer.ignored,
        }
    }
}

/// A source of threats, drawn from events.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IndicatorView {
    /// The address, or whatever reporters call the source.
    pub value: String,
    /// The address, if it is one.
    pub address: Option<String>,
    /// What it is said to do.
    pub threat_types: Vec<String>,
    /// The gravest of what is said.
    pub severity: String,
    /// When it was first reported.
    #[schema(format = "date-time")]
    pub first_seen: String,
    /// When it was last reported.
    #[schema(format = "date-time")]
    pub last_seen: String,
    /// Until when it holds.
    #[schema(format = "date-time")]
    pub expires: String,
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
    pub tlp: String,
}

impl From<Indicator> for IndicatorView {
    fn from(of: Indicator) -> Self {
        Self {
            value: of.value,
            address: of.address.map(|address| address.to_string()),
            threat_types: of.threat_types,
            severity: of.severity,
            first_seen: of.first_seen.to_string(),
            last_seen: of.last_seen.to_string(),
            expires: of.expires.to_string(),
            events: of.events,
            reporters: of.reporters,
            organisations: of.organisations,
            feeds: of.feeds,
            confidence: of.confidence,
            tlp: of.tlp.as_str().to_owned(),
        }
    }
}

/// An event that was not signed by whom it names: evidence against who brought it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ForgedView {
    /// When it came.
    #[schema(format = "date-time")]
    pub at: String,
    /// Who brought it.
    pub link: String,
    /// What is wrong with it.
    pub reason: String,
    /// Whose key it names, if it is one.
    pub claimed: Option<String>,
    /// The beginning of what came.
    pub payload: String,
}

impl From<Forged> for ForgedView {
    fn from(of: Forged) -> Self {
        Self {
            at: of.at.to_string(),
            link: of.link,
            reason: of.reason,
            claimed: of.claimed.map(|key| key.to_string()),
            payload: of.payload,
        }
    }
}

/// How threat intelligence is doing on this node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IntelStatusView {
    /// How reporters are judged: `hardened` or `seed`.
    pub mode: String,
    /// Who this node is as a reporter.
    pub reporter: String,
    /// Who this node is on encrypted links.
    pub link_key: String,
    /// The number of the oldest event that is kept.
    pub first: Option<u64>,
    /// The number of the newest.
    pub last: Option<u64>,
    /// How many links are open.
    pub links: usize,
    /// Events that wait to be verified.
    pub waiting: usize,
    /// Events that came since the node started.
    pub received: u64,
    /// Of those, new ones that were kept.
    pub accepted: u64,
    /// Of those, ones that were known.
    pub duplicates: u64,
    /// Of those, forged ones and what was no event.
    pub invalid: u64,
    /// Of those, valid ones that were not kept.
    pub refused: u64,
}

impl From<Status> for IntelStatusView {
    fn from(of: Status) -> Self {
        Self {
            mode: of.mode.as_str().to_owned(),
            reporter: of.reporter.to_string(),
            link_key: of.link_key.to_string(),
            first: of.events.map(|(first, _)| first),
            last: of.events.map(|(_, last)| last),
            links: of.links,
            waiting: of.waiting,
            received: of.counts.received,
            accepted: of.counts.accepted,
            duplicates: of.counts.duplicates,
            invalid: of.counts.invalid,
            refused: of.counts.refused,
        }
    }
}

/// The marking that was sent; `clear` without one.
pub(crate) fn tlp(text: Option<&str>) -> Result<Tlp, cm_http::Failure> {
    let Some(text) = text else { return Ok(Tlp::default()) };
    let wrong = |error: cm_intel::tlp::UnknownTlp| {
        cm_http::Failure::new(cm_http::FailureClass::Invalid, error.to_string())
    };
    text.parse().map_err(wrong)
}
