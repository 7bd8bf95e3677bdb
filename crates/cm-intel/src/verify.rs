//! Whether an event was signed by the key that it names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cm_crypto::digest;
use cm_crypto::pss::{PssKey, PssSigningKey};
use cm_types::Sha256Digest;

use crate::{EventKey, KeyId, ThreatEvent};

/// Keys that are remembered in parsed form; reading one takes four times as long as finding it.
const KEYS_MAX: usize = 8192;
/// The padding must be there, as Python demands; what remains of the last character does not matter, to Python neither.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);
/// Longest signature in base64: that of a key of 4096 bits.
const SIGNATURE_LEN_MAX: usize = 688;

/// An event that was signed by the key that it names. Only [`Verifier`] and [`sign`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    event: Arc<ThreatEvent>,
    reporter: KeyId,
    key: EventKey,
    text: u64,
}

impl Verified {
    /// The event.
    pub fn event(&self) -> &Arc<ThreatEvent> {
        &self.event
    }

    /// Who signed it.
    pub fn reporter(&self) -> KeyId {
        self.reporter
    }

    /// By what it is known.
    pub fn key(&self) -> EventKey {
        self.key
    }

    /// The beginning of the digest of what was signed: whoever gives one name to two events is told from one who repeats.
    pub(crate) fn text(&self) -> u64 {
        self.text
    }
}

/// Why an event is not believed to come from whom it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The reporter's key is none: RSA of 2048 to 4096 bits in PEM.
    #[error("the reporter's key is no RSA key of 2048 to 4096 bits in PEM")]
    Key,
    /// The signature was not made by that key over this event with the salt of the protocol.
    #[error("the signature was not made by the key that the event names")]
    Signature,
    /// The key signed it, with a salt of another length: some nodes of version 1 take that, others do not, and it cannot be passed on to those.
    #[error("the signature has another salt than the longest that fits the key")]
    Salt,
}

/// Verifies events; remembers keys. Shared by the threads that verify.
#[derive(Debug, Default)]
pub struct Verifier {
    /// By the digest of the PEM as it was written. What is no key is remembered, too.
    keys: Mutex<HashMap<Sha256Digest, Option<PssKey>>>,
}

impl Verifier {
    /// Whether the event was signed by the key that it names. Takes some 20 µs: off the runtime.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn verify(&self, event: ThreatEvent) -> Result<Verified, Box<(ThreatEvent, Invalid)>> {
        match self.check(&event) {
            Ok((reporter, text)) => {
                let key = EventKey::of(&event.id, &reporter);
                Ok(Verified { event: Arc::new(event), reporter, key, text })
            }
            Err(invalid) => Err(Box::new((event, invalid))),
        }
    }

    fn check(&self, event: &ThreatEvent) -> Result<(KeyId, u64), Invalid> {
        let key = self.key(&event.reporter_pubkey).ok_or(Invalid::Key)?;
        let signature = base64_text(&event.signature).ok_or(Invalid::Signature)?;
        let signature = BASE64.decode(signature).map_err(|_| Invalid::Signature)?;
        let signed = event.canonical();
        key.verify(signed.as_bytes(), &signature).map_err(|_| {
            match key.is_signed_with_another_salt(signed.as_bytes(), &signature) {
                true => Invalid::Salt,
                false => Invalid::Signature,
            }
        })?;
        Ok((KeyId(key.id()), beginning(&signed)))
    }

    /// The key in a PEM, if it is one.
    fn key(&self, pem: &str) -> Option<PssKey> {
        let spelling = digest::sha256(pem.as_bytes());
        let keys = || self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = keys().get(&spelling) {
            return known.clone();
        }
        let key = PssKey::from_pem(pem).ok();
        let mut keys = keys();
        if keys.len() >= KEYS_MAX {
            // Any of them will do: whoever floods with keys makes the others be read anew, no more.
            let forgotten: Vec<Sha256Digest> = keys.keys().take(KEYS_MAX / 4).copied().collect();
            forgotten.iter().for_each(|spelling| drop(keys.remove(spelling)));
        }
        keys.insert(spelling, key.clone());
        key
    }

    /// Who the claimed reporter would be; `None` if its key is none.
    pub fn claimed(&self, event: &ThreatEvent) -> Option<KeyId> {
        self.key(&event.reporter_pubkey).map(|key| KeyId(key.id()))
    }
}

/// What a new event says, before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Where the threat comes from.
    pub source_ip: String,
    /// What it is.
    pub threat_type: String,
    /// How grave it is.
    pub severity: String,
    /// When it happened, as the earlier node writes it.
    pub timestamp: String,
}

/// Names and signs a new event. Takes a quarter of a millisecond: off the runtime.
pub fn sign(key: &PssSigningKey, draft: Draft) -> Verified {
    let Draft { source_ip, threat_type, severity, timestamp } = draft;
    let pem = key.public_pem();
    let reporter = PssKey::from_pem(&pem).expect("a key of our own is one");
    let (id, signature) = (String::new(), String::new());
    let mut event =
        ThreatEvent { id, source_ip, threat_type, severity, timestamp, reporter_pubkey: pem, signature };
    event.id = event.computed_id();
    let signed = event.canonical();
    event.signature = BASE64.encode(key.sign(signed.as_bytes()));
    let reporter = KeyId(reporter.id());
    let key = EventKey::of(&event.id, &reporter);
    Verified { event: Arc::new(event), reporter, key, text: beginning(&signed) }
}

/// What Python reads of a text in base64: it skips what does not belong there, and ends with the padding that completes a group. `None` for
/// what it refuses, and for what is longer than any signature.
fn base64_text(text: &str) -> Option<String> {
    if !text.is_ascii() {
        return None;
    }
    let (mut out, mut padding) = (String::with_capacity(text.len().min(SIGNATURE_LEN_MAX)), 0);
    for character in text.chars() {
        let filled = out.len() % 4;
        match character {
            '=' if filled >= 2 => {
                padding += 1;
                if filled + padding >= 4 {
                    out.extend(std::iter::repeat_n('=', 4 - filled));
                    return Some(out);
                }
            }
            'A'..='Z' | 'a'..='z' | '0'..='9' | '+' | '/' => {
                padding = 0;
                out.push(character);
                if out.len() > SIGNATURE_LEN_MAX {
                    return None;
                }
            }
            _ => {}
        }
    }
    out.len().is_multiple_of(4).then_some(out)
}

fn beginning(signed: &str) -> u64 {
    let digest = digest::sha256(signed.as_bytes());
    let (head, _) = digest.as_bytes().split_first_chunk::<8>().expect("a digest has 32 bytes");
    u64::from_be_bytes(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &str = include_str!("../tests/vectors/event_payload.json");

    fn event() -> ThreatEvent {
        ThreatEvent::from_payload(PAYLOAD).unwrap()
    }

    fn check(event: ThreatEvent) -> Result<KeyId, Invalid> {
        Verifier::default().verify(event).map(|verified| verified.reporter()).map_err(|refused| refused.1)
    }

    #[test]
    fn the_event_of_the_earlier_node_verifies() {
        let reporter = check(event()).unwrap();
        let crlf = event().reporter_pubkey.replace('\n', "\r\n");
        let respelt = ThreatEvent { reporter_pubkey: crlf, ..event() };
        assert_eq!(check(respelt.clone()), Err(Invalid::Signature), "the spelling is signed");
        assert_eq!(Verifier::default().claimed(&respelt), Some(reporter), "it names the same reporter");
    }

    #[test]
    fn every_field_is_signed() {
        let changes: [fn(&mut ThreatEvent); 6] = [
            |event| event.id.push('0'),
            |event| event.source_ip.push('0'),
            |event| event.threat_type.push('0'),
            |event| event.severity.push('0'),
            |event| event.timestamp.push('0'),
            |event| event.reporter_pubkey.push('\n'),
        ];
        for change in changes {
            let mut changed = event();
            change(&mut changed);
            assert_eq!(check(changed), Err(Invalid::Signature));
        }
        for signature in ["", "AAAA", "!", &"A".repeat(4096), event().signature.trim_end_matches('=')] {
            assert_eq!(
                check(ThreatEvent { signature: signature.into(), ..event() }),
                Err(Invalid::Signature)
            );
        }
        assert_eq!(check(ThreatEvent { reporter_pubkey: "junk".into(), ..event() }), Err(Invalid::Key));
    }

    #[test]
    fn signatures_are_read_as_python_reads_them() {
        let signature = event().signature;
        let (head, tail) = signature.split_at(70);
        for spelt in [
            format!("{head}\n{tail}"),
            format!(" {head}-_!=\0{tail}\r\n"),
            format!("{signature}anything"),
            format!("{}{}", "\n".repeat(1000), signature),
        ] {
            assert!(check(ThreatEvent { signature: spelt.clone(), ..event() }).is_ok(), "{spelt:?}");
        }
        for refused in [format!("{head}é{tail}"), signature.replace('=', "")] {
            assert_eq!(check(ThreatEvent { signature: refused, ..event() }), Err(Invalid::Signature));
        }
    }

    #[test]
    fn own_events_verify_and_are_named_by_their_content() {
        let key = PssSigningKey::generate().unwrap();
        let draft = Draft {
            source_ip: "203.0.113.9".into(),
            threat_type: "port scan".into(),
            severity: "low".into(),
            timestamp: "2026-11-21 10:00:00".into(),
        };
        let signed = sign(&key, draft.clone());
        let again = sign(&key, draft);
        assert_eq!(signed.event().id, signed.event().computed_id());
        assert_eq!(check(ThreatEvent::clone(signed.event())), Ok(signed.reporter()));
        assert_ne!(signed.event().signature, again.event().signature);
        assert_eq!(signed.key(), again.key(), "signing anew makes no new event");
    }

    #[test]
    fn the_memory_for_keys_is_bounded() {
        let verifier = Verifier::default();
        for number in 0..KEYS_MAX + 10 {
            let _ = verifier.key(&number.to_string());
        }
        assert!(verifier.keys.lock().unwrap().len() <= KEYS_MAX);
    }
}
