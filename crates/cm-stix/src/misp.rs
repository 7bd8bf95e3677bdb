//! Threat events in MISP's core format (draft-dulaunoy-misp-core-format), and what MISP's events say to us.

use cm_types::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::pattern::observable;
use crate::threat::{identity_id, indicator_id};
use crate::{Circumstances, Marking, Observable, ObservableKind, SignedThreat, StixError, moment};

/// Tells the attribute that carries the original from other texts.
const ORIGINAL: &str = "cryptomesh signed threat event";
/// Most attributes that are read of one event.
const ATTRIBUTES_MAX: usize = 10_000;

/// What an event of MISP says to us.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// One of ours, to be verified.
    Signed(SignedThreat),
    /// What somebody marked as worth looking for.
    Unsigned {
        /// The event's title.
        info: String,
        /// What to look for.
        observable: Observable,
        /// How grave, in our words.
        severity: &'static str,
        /// How far it may be passed on.
        marking: Option<Marking>,
        /// When it was entered.
        at: Option<Timestamp>,
    },
}

/// An event of MISP with what to look for and, beside it, the original.
pub fn event(threat: &SignedThreat, circumstances: &Circumstances<'_>) -> Value {
    let at = moment::said(&threat.timestamp).unwrap_or(circumstances.received);
    let seconds = at.as_secs().to_string();
    let uuid = |id: String| id.split_once("--").map(|(_, uuid)| uuid.to_owned()).unwrap_or_default();
    let event = uuid(indicator_id(&threat.id, circumstances.reporter));
    let of_event = |name: &str| uuid_of(&event, name);
    let found = observable(&threat.source_ip);
    let (kind, category) = attribute_type(found.kind);
    let short: String = circumstances.reporter.chars().take(16).collect();
    let organisation = json!({
        "name": circumstances.organisation.map_or_else(|| format!("Reporter {short}"), str::to_owned),
        "uuid": uuid(identity_id(circumstances.reporter)),
    });
    let original = serde_json::to_string(threat).expect("texts are JSON");
    json!({ "Event": {
        "uuid": event, "info": format!("{} from {}", threat.threat_type, threat.source_ip), "date": moment::text(at)[..10].to_owned(),
        "timestamp": seconds, "threat_level_id": level(&threat.severity), "analysis": "2", "distribution": "0", "published": false,
        "Orgc": organisation, "Tag": [{ "name": circumstances.marking.tag() }],
        "Attribute": [
            { "uuid": of_event("source"), "type": kind, "category": category, "value": found.value, "to_ids": found.kind != ObservableKind::Other,
              "comment": format!("{}, severity {}", threat.threat_type, threat.severity), "timestamp": seconds, "distribution": "5" },
            { "uuid": of_event("original"), "type": "text", "category": "Other", "value": original, "to_ids": false,
              "comment": ORIGINAL, "timestamp": seconds, "distribution": "5", "disable_correlation": true },
        ],
    } })
}

fn uuid_of(event: &str, name: &str) -> String {
    let namespace = Uuid::try_parse(event).unwrap_or(Uuid::nil());
    Uuid::new_v5(&namespace, name.as_bytes()).to_string()
}

/// What an export holds: one event, a list of them, or the answer of a search.
///
/// # Errors
/// [`StixError::NoMispEvent`].
pub fn read(document: &Value) -> Result<Vec<Read>, StixError> {
    let entries: Vec<&Value> = match document {
        Value::Array(entries) => entries.iter().collect(),
        Value::Object(object) => match object.get("response") {
            Some(Value::Array(entries)) => entries.iter().collect(),
            Some(_) => return Err(StixError::NoMispEvent),
            None => vec![document],
        },
        _ => return Err(StixError::NoMispEvent),
    };
    let mut found = Vec::new();
    for entry in entries {
        let event = entry.get("Event").and_then(Value::as_object).ok_or(StixError::NoMispEvent)?;
        read_event(event, &mut found);
    }
    Ok(found)
}

fn read_event(event: &Map<String, Value>, found: &mut Vec<Read>) {
    let list = |value: Option<&'_ Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |object: &Value, name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let tags = list(event.get("Tag"));
    let markings = tags.iter().filter_map(|tag| Marking::of_tag(tag.get("name")?.as_str()?));
    let marking = markings.max_by_key(|marking| *marking as u8);
    let info = event.get("info").and_then(Value::as_str).unwrap_or("event of MISP").to_owned();
    let severity = severity(event.get("threat_level_id"));
    let objects = list(event.get("Object")).into_iter().flat_map(|object| list(object.get("Attribute")));
    let attributes: Vec<Value> =
        list(event.get("Attribute")).into_iter().chain(objects).take(ATTRIBUTES_MAX).collect();
    let originals: Vec<SignedThreat> = attributes
        .iter()
        .filter(|attribute| text(attribute, "comment").as_deref() == Some(ORIGINAL))
        .filter_map(|attribute| serde_json::from_str(&text(attribute, "value")?).ok())
        .collect();
    if !originals.is_empty() {
        found.extend(originals.into_iter().map(Read::Signed));
        return;
    }
    for attribute in attributes {
        let wanted = attribute.get("to_ids").and_then(Value::as_bool).unwrap_or(false);
        let gone = attribute.get("deleted").and_then(Value::as_bool).unwrap_or(false);
        let (Some(kind), Some(value)) = (text(&attribute, "type"), text(&attribute, "value")) else {
            continue;
        };
        let Some(observable) = value_of(&kind, &value).filter(|_| wanted && !gone) else { continue };
        let at = seconds(attribute.get("timestamp"))
            .map(|seconds| Timestamp::from_micros(seconds.saturating_mul(1_000_000)));
        found.push(Read::Unsigned { info: info.clone(), observable, severity, marking, at });
    }
}

/// MISP writes numbers as numbers or as texts.
fn seconds(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// MISP's type and category of what is looked for.
fn attribute_type(kind: ObservableKind) -> (&'static str, &'static str) {
    match kind {
        ObservableKind::Ipv4 | ObservableKind::Ipv6 => ("ip-src", "Network activity"),
        ObservableKind::Domain => ("domain", "Network activity"),
        ObservableKind::Url => ("url", "Network activity"),
        ObservableKind::Email => ("email-src", "Payload delivery"),
        ObservableKind::Sha256 => ("sha256", "Payload delivery"),
        ObservableKind::Other => ("text", "Other"),
    }
}

fn value_of(kind: &str, value: &str) -> Option<Observable> {
    // Types of two parts join their values by a bar: `ip-src|port`.
    let value = if kind.contains('|') { value.split('|').next().unwrap_or(value) } else { value };
    match kind.split('|').next().unwrap_or(kind) {
        "ip-src" | "ip-dst" | "domain" | "hostname" | "url" | "email-src" | "email" | "sha256" => {
            let found = observable(value);
            (found.kind != ObservableKind::Other).then_some(found)
        }
        _ => None,
    }
}

/// MISP counts from 1, high, to 4, undefined.
fn level(severity: &str) -> &'static str {
    match severity.trim().to_ascii_lowercase().as_str() {
        "critical" | "high" => "1",
        "medium" | "moderate" => "2",
        "low" | "info" | "informational" => "3",
        _ => "4",
    }
}

fn severity(level: Option<&Value>) -> &'static str {
    match seconds(level) {
        Some(1) => "High",
        Some(2) => "Medium",
        Some(3) => "Low",
        _ => "Info",
    }
}

#[cfg(test)]
mod tests;
