//! What one node tells the others: a threat, as the earlier node says it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cm_crypto::digest;
use cm_types::Sha256Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::wire::canonical;

/// Longest payload of an event that is taken, in bytes as it came; events of people and programs take one or two thousand.
pub const PAYLOAD_LEN_MAX: usize = 64 * 1024;

/// A signed report of a threat. Every field is free text of whoever reported it: nothing in it is to be believed before
/// [`Verifier::verify`](crate::Verifier::verify), and nothing but who said it afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreatEvent {
    /// What the reporter calls it: SHA-256 of the other fields but the signature, as a rule. Nobody is held to that.
    pub id: String,
    /// Where the threat comes from: an address as a rule.
    pub source_ip: String,
    /// What it is.
    pub threat_type: String,
    /// How grave it is.
    pub severity: String,
    /// When it happened, in the reporter's local time, `YYYY-MM-DD HH:MM:SS`.
    pub timestamp: String,
    /// Who says so: a public RSA key in PEM, as it was signed.
    pub reporter_pubkey: String,
    /// Its signature over [`ThreatEvent::canonical`], in base64.
    pub signature: String,
}

/// The members of an event.
const MEMBERS: [&str; 7] =
    ["id", "source_ip", "threat_type", "severity", "timestamp", "reporter_pubkey", "signature"];

/// A payload that is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEvent {
    /// It is longer than [`PAYLOAD_LEN_MAX`].
    #[error("an event takes at most {PAYLOAD_LEN_MAX} bytes, this one {0}")]
    TooLong(usize),
    /// A field is missing, or the payload is no JSON object.
    #[error("not an event: {0}")]
    Shape(String),
    /// Every field is there, and one is no text; published nodes take that.
    #[error("an event whose fields are not all texts: {0}")]
    NoText(String),
}

impl ThreatEvent {
    /// Reads a payload. Members that no event has are dropped, whatever they claim; `valid_signature` is one of them.
    ///
    /// # Errors
    /// [`NoEvent`].
    pub fn from_payload(payload: &str) -> Result<Self, NoEvent> {
        if payload.len() > PAYLOAD_LEN_MAX {
            return Err(NoEvent::TooLong(payload.len()));
        }
        if !payload.trim_ascii_start().starts_with('{') {
            return Err(NoEvent::Shape("it is no JSON object".to_owned()));
        }
        serde_json::from_str(payload).map_err(|error| {
            let members: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_str(payload);
            let all = members.is_ok_and(|members| MEMBERS.iter().all(|name| members.contains_key(*name)));
            let error = error.to_string();
            if all { NoEvent::NoText(error) } else { NoEvent::Shape(error) }
        })
    }

    /// Whether [`ThreatEvent::payload`] takes more than so many bytes.
    pub(crate) fn longer_than(&self, len_max: usize) -> bool {
        let fields = [
            &self.id,
            &self.source_ip,
            &self.threat_type,
            &self.severity,
            &self.timestamp,
            &self.reporter_pubkey,
            &self.signature,
        ];
        let raw: usize = fields.iter().map(|field| field.len()).sum();
        // One byte becomes six at most, and names and quotes take less than 200: most need not be written to be measured.
        raw * 6 + 200 > len_max && self.payload().len() > len_max
    }

    /// The payload as the earlier node sends it.
    pub fn payload(&self) -> String {
        let mut out = String::with_capacity(1200);
        let members = [
            ("id", self.id.as_str()),
            ("source_ip", &self.source_ip),
            ("threat_type", &self.threat_type),
            ("severity", &self.severity),
            ("timestamp", &self.timestamp),
            ("reporter_pubkey", &self.reporter_pubkey),
            ("signature", &self.signature),
        ];
        canonical::object(&members, &mut out);
        out
    }

    /// The text that is signed: all members but the signature, in the order of their names.
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(800);
        let members = [
            ("id", self.id.as_str()),
            ("reporter_pubkey", &self.reporter_pubkey),
            ("severity", &self.severity),
            ("source_ip", &self.source_ip),
            ("threat_type", &self.threat_type),
            ("timestamp", &self.timestamp),
        ];
        canonical::object(&members, &mut out);
        out
    }

    /// What the id should be: the SHA-256 of the signed text without the id, in lower-case hexadecimal digits.
    pub fn computed_id(&self) -> String {
        let mut out = String::with_capacity(800);
        let members = [
            ("reporter_pubkey", self.reporter_pubkey.as_str()),
            ("severity", &self.severity),
            ("source_ip", &self.source_ip),
            ("threat_type", &self.threat_type),
            ("timestamp", &self.timestamp),
        ];
        canonical::object(&members, &mut out);
        digest::sha256(out.as_bytes()).to_string()
    }

    /// Where the threat comes from, if that is an address.
    pub fn address(&self) -> Option<IpAddr> {
        self.source_ip.trim().parse().ok().map(|address: IpAddr| address.to_canonical())
    }
}

/// By what a node knows an event: what its reporter calls it, and who that is. Nobody can take the name of somebody else's event,
/// and the same event has one key at every node, whatever its signature: signing anew makes no new event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventKey(pub Sha256Digest);

impl EventKey {
    /// The key of a reporter's event.
    pub fn of(id: &str, reporter: &KeyId) -> Self {
        let mut digest = digest::Sha256::new();
        digest.update_field(b"cryptomesh threat event 1");
        digest.update_field(id.as_bytes());
        digest.update_field(reporter.0.as_bytes());
        Self(digest.finish())
    }
}

/// Names a reporter: the SHA-256 of its key's SubjectPublicKeyInfo in DER. The earlier node goes by the text of the PEM, so that a
/// reporter could begin anew with a space more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId(pub Sha256Digest);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for KeyId {
    type Err = cm_types::digest::InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &str = include_str!("../tests/vectors/event_payload.json");
    const CANONICAL: &str = include_str!("../tests/vectors/event_canonical.txt");
    const PREIMAGE: &str = include_str!("../tests/vectors/event_id_preimage.txt");

    #[test]
    fn the_signed_text_and_the_id_are_those_of_the_earlier_node() {
        let event = ThreatEvent::from_payload(PAYLOAD).unwrap();
        assert_eq!(event.canonical(), CANONICAL.trim_end_matches('\n'));
        assert_eq!(event.computed_id(), event.id);
        assert_eq!(digest::sha256(PREIMAGE.trim_end_matches('\n').as_bytes()).to_string(), event.id);
        assert_eq!(ThreatEvent::from_payload(&event.payload()).unwrap(), event);
        assert_eq!(event.address(), "198.51.100.23".parse().ok());
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let event = ThreatEvent::from_payload(PAYLOAD).unwrap();
        for bad in ["null", "[]", "{}", "\"x\"", "[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\"]"] {
            assert!(matches!(ThreatEvent::from_payload(bad), Err(NoEvent::Shape(_))), "{bad}");
        }
        let numbered = event.payload().replace("\"high\"", "7");
        assert!(matches!(ThreatEvent::from_payload(&numbered), Err(NoEvent::NoText(_))), "texts only");
        let surrogate = event.payload().replace("\"high\"", "\"\\ud800\"");
        assert!(matches!(ThreatEvent::from_payload(&surrogate), Err(NoEvent::NoText(_))));
        let accents = ThreatEvent { severity: "é".repeat(12_000), ..event.clone() };
        assert!(serde_json::to_string(&accents).unwrap().len() < PAYLOAD_LEN_MAX);
        assert!(accents.longer_than(PAYLOAD_LEN_MAX), "it is sent with every one escaped");
        assert!(!event.longer_than(PAYLOAD_LEN_MAX));
        let long = ThreatEvent { severity: "x".repeat(PAYLOAD_LEN_MAX), ..event.clone() };
        assert!(matches!(ThreatEvent::from_payload(&long.payload()), Err(NoEvent::TooLong(_))));
        let flagged = event.payload().replacen('{', "{\"valid_signature\": true, ", 1);
        assert_eq!(ThreatEvent::from_payload(&flagged).unwrap(), event, "a claim of validity is dropped");
    }

    #[test]
    fn an_event_is_known_by_name_and_reporter() {
        let key = |fill: u8| KeyId(Sha256Digest::from_bytes([fill; 32]));
        assert_eq!(EventKey::of("a", &key(1)), EventKey::of("a", &key(1)));
        assert_ne!(EventKey::of("a", &key(1)), EventKey::of("a", &key(2)));
        assert_ne!(EventKey::of("a", &key(1)), EventKey::of("b", &key(1)));
    }
}
