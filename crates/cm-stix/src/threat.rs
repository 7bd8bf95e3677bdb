//! A signed threat event as STIX objects, and back.

use cm_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::pattern::{self, Observable};
use crate::{Marking, StixError, moment};

/// The namespace of ids that are derived (RFC 9562, section 5.5). It stands in ids that others keep: never change it.
const NAMESPACE: Uuid = Uuid::from_u128(0x5f0c_6f0e_94c1_4d5c_9a53_7c25_1f3a_e0d1);
/// The extension of indicators that carries the original. It stands in documents that others keep: never change it.
pub const EXTENSION: &str = "extension-definition--3a9c1f52-6d0b-4e8e-8f57-2c1b9e7d4a60";
/// Whose extension it is.
const PUBLISHER: &str = "identity--b5f2c1de-2f74-4a3b-9c38-5d0a7e61f8c4";
/// When the objects above were made, and the identities of reporters, of whom nobody knows when they began.
const EPOCH: &str = "2026-01-01T00:00:00.000Z";

/// A threat event as its reporter signed it: the members of the earlier node's payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedThreat {
    /// What the reporter calls it.
    pub id: String,
    /// Where the threat comes from.
    pub source_ip: String,
    /// What it is.
    pub threat_type: String,
    /// How grave it is.
    pub severity: String,
    /// When it happened, in the reporter's words.
    pub timestamp: String,
    /// The reporter's public key, PEM.
    pub reporter_pubkey: String,
    /// The signature, base64.
    pub signature: String,
}

/// What is known of an event besides what was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// The SHA-256 of the reporter's key, in hexadecimal digits.
    pub reporter: &'a str,
    /// The reporter's organisation, if it is known.
    pub organisation: Option<&'a str>,
    /// When the event came.
    pub received: Timestamp,
    /// How far it may be passed on.
    pub marking: Marking,
    /// How far it is believed, 0 to 100.
    pub confidence: Option<u8>,
    /// Until when it is acted on.
    pub expires: Option<Timestamp>,
}

/// The objects of one event: who defined the extension and what it is, who reports, a marking that readers may not know, the indicator, the sighting.
/// They are the same whoever exports the event, as far as the event itself says when it happened.
pub fn objects(threat: &SignedThreat, circumstances: &Circumstances<'_>) -> Vec<Value> {
    let reporter = identity_id(circumstances.reporter);
    let at = moment::said(&threat.timestamp).unwrap_or(circumstances.received);
    let mut objects = vec![publisher(), extension(), identity(&reporter, circumstances)];
    objects.extend(circumstances.marking.definition());
    let indicator = indicator(threat, circumstances, &reporter, at);
    let sighting = sighting(threat, circumstances, &reporter, at);
    objects.extend([indicator, sighting]);
    objects
}

/// The id of the indicator that an event becomes. Reporters choose the ids of their events, so the reporter is part of it: nobody can take another's.
pub fn indicator_id(event: &str, reporter: &str) -> String {
    derived("indicator", &format!("{reporter}/{event}"))
}

/// The id of the identity that a reporter becomes.
pub fn identity_id(reporter: &str) -> String {
    derived("identity", reporter)
}

fn derived(kind: &str, name: &str) -> String {
    format!("{kind}--{}", Uuid::new_v5(&NAMESPACE, format!("{kind}/{name}").as_bytes()))
}

fn publisher() -> Value {
    json!({
        "type": "identity", "spec_version": "2.1", "id": PUBLISHER, "created": EPOCH, "modified": EPOCH,
        "name": "CryptoMesh", "identity_class": "system",
    })
}

fn extension() -> Value {
    json!({
        "type": "extension-definition", "spec_version": "2.1", "id": EXTENSION, "created_by_ref": PUBLISHER, "created": EPOCH, "modified": EPOCH,
        "name": "Signed threat event",
        "description": "The event that an indicator was made of, with its reporter's key and signature, so that the original can be verified.",
        "schema": "Properties event_id, source_ip, threat_type, severity, timestamp, reporter_pubkey (PEM) and signature (base64), all texts. The signature is \
                   RSASSA-PSS with SHA-256 and a salt of 222 bytes over the JSON object of all but the signature, with event_id as id, keys sorted, separated by \
                   comma and space, and colon and space, and characters outside of printable ASCII escaped.",
        "version": "1.0.0", "extension_types": ["property-extension"],
    })
}

fn identity(id: &str, circumstances: &Circumstances<'_>) -> Value {
    let short: String = circumstances.reporter.chars().take(16).collect();
    let name = match circumstances.organisation {
        Some(organisation) => format!("{organisation} ({short})"),
        None => format!("Reporter {short}"),
    };
    json!({
        "type": "identity", "spec_version": "2.1", "id": id, "created": EPOCH, "modified": EPOCH, "name": name, "identity_class": "system",
        "description": format!("Whoever holds the key whose SHA-256 is {}", circumstances.reporter),
    })
}

fn indicator(
    threat: &SignedThreat,
    circumstances: &Circumstances<'_>,
    reporter: &str,
    at: Timestamp,
) -> Value {
    let observable = pattern::observable(&threat.source_ip);
    let mut indicator = json!({
        "type": "indicator", "spec_version": "2.1", "id": indicator_id(&threat.id, circumstances.reporter), "created_by_ref": reporter,
        "created": moment::text_millis(at), "modified": moment::text_millis(at),
        "name": threat.threat_type, "description": format!("{} from {}, severity {}", threat.threat_type, threat.source_ip, threat.severity),
        "indicator_types": ["malicious-activity"], "labels": [threat.severity],
        "pattern": pattern::pattern(&observable), "pattern_type": "stix", "pattern_version": "2.1", "valid_from": moment::text_millis(at),
        "object_marking_refs": [circumstances.marking.id()],
        "extensions": { EXTENSION: {
            "extension_type": "property-extension", "event_id": threat.id, "source_ip": threat.source_ip, "threat_type": threat.threat_type,
            "severity": threat.severity, "timestamp": threat.timestamp, "reporter_pubkey": threat.reporter_pubkey, "signature": threat.signature,
        } },
    });
    // STIX knows no empty texts in lists.
    if threat.severity.is_empty() {
        remove(&mut indicator, "labels");
    }
    if let Some(confidence) = circumstances.confidence {
        indicator["confidence"] = confidence.min(100).into();
    }
    if let Some(expires) =
        circumstances.expires.filter(|expires| expires.as_micros() / 1000 > at.as_micros() / 1000)
    {
        indicator["valid_until"] = moment::text_millis(expires).into();
    }
    indicator
}

fn remove(value: &mut Value, name: &str) {
    if let Some(object) = value.as_object_mut() {
        object.remove(name);
    }
}

fn sighting(
    threat: &SignedThreat,
    circumstances: &Circumstances<'_>,
    reporter: &str,
    at: Timestamp,
) -> Value {
    let indicator = indicator_id(&threat.id, circumstances.reporter);
    let at = moment::text_millis(at);
    json!({
        "type": "sighting", "spec_version": "2.1", "id": derived("sighting", &indicator), "created_by_ref": reporter, "created": at, "modified": at,
        "first_seen": at, "last_seen": at, "count": 1, "sighting_of_ref": indicator, "where_sighted_refs": [reporter],
        "object_marking_refs": [circumstances.marking.id()],
    })
}

/// Objects in one bundle, each once.
pub fn bundle(objects: impl IntoIterator<Item = Value>) -> Value {
    let mut seen = std::collections::HashSet::new();
    let mut kept = Vec::new();
    let mut names = String::new();
    for object in objects {
        let id = object["id"].as_str().unwrap_or_default().to_owned();
        let version = object["modified"].as_str().unwrap_or_default().to_owned();
        names.push_str(&id);
        names.push_str(&version);
        if seen.insert((id, version)) {
            kept.push(object);
        }
    }
    json!({ "type": "bundle", "id": derived("bundle", &names), "objects": kept })
}

/// The objects of a bundle.
///
/// # Errors
/// [`StixError::NoBundle`].
pub fn unbundle(bundle: Value) -> Result<Vec<Value>, StixError> {
    match bundle {
        Value::Object(mut bundle) if bundle.get("type").is_some_and(|kind| kind == "bundle") => {
            match bundle.remove("objects") {
                Some(Value::Array(objects)) => Ok(objects),
                None => Ok(Vec::new()),
                Some(_) => Err(StixError::NoBundle),
            }
        }
        _ => Err(StixError::NoBundle),
    }
}

/// The event that an indicator was made of, if it carries one. Nothing of it is verified.
pub fn recover(object: &Value) -> Option<SignedThreat> {
    let carried: &Map<String, Value> = object.get("extensions")?.get(EXTENSION)?.as_object()?;
    let text = |name: &str| Some(carried.get(name)?.as_str()?.to_owned());
    Some(SignedThreat {
        id: text("event_id")?,
        source_ip: text("source_ip")?,
        threat_type: text("threat_type")?,
        severity: text("severity")?,
        timestamp: text("timestamp")?,
        reporter_pubkey: text("reporter_pubkey")?,
        signature: text("signature")?,
    })
}

/// What somebody else's indicator says, as far as it concerns us.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    /// The indicator's id.
    pub id: String,
    /// What it is about: its name, or what kind of activity it indicates.
    pub name: String,
    /// What to look for.
    pub observables: Vec<Observable>,
    /// From when.
    pub valid_from: Option<Timestamp>,
    /// Until when.
    pub valid_until: Option<Timestamp>,
    /// How sure its author is, 0 to 100.
    pub confidence: Option<u8>,
    /// How far it may be passed on; the strictest of its markings.
    pub marking: Option<Marking>,
    /// Whether its author took it back.
    pub revoked: bool,
}

/// Reads an indicator; `None` for anything else, and for patterns in languages other than STIX's.
pub fn foreign(object: &Value) -> Option<Foreign> {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    if text("type")? != "indicator" || text("pattern_type").unwrap_or("stix") != "stix" {
        return None;
    }
    let kinds = object.get("indicator_types").or_else(|| object.get("labels")).and_then(Value::as_array);
    let kind = kinds.and_then(|kinds| kinds.first()?.as_str());
    let markings = object.get("object_marking_refs").and_then(Value::as_array);
    let markings = markings.into_iter().flatten().filter_map(|id| Marking::of_id(id.as_str()?));
    let time = |name: &str| text(name).and_then(|text| moment::parse(text).ok());
    Some(Foreign {
        id: text("id")?.to_owned(),
        name: text("name").or(kind).unwrap_or("indicator").to_owned(),
        observables: pattern::observables(text("pattern")?),
        valid_from: time("valid_from"),
        valid_until: time("valid_until"),
        confidence: object
            .get("confidence")
            .and_then(Value::as_u64)
            .and_then(|value| u8::try_from(value.min(100)).ok()),
        marking: markings.max_by_key(|marking| *marking as u8),
        revoked: object.get("revoked").and_then(Value::as_bool).unwrap_or(false),
    })
}

#[cfg(test)]
mod tests;
