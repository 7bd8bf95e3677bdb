//! What feeds say, in one form: indicators of STIX and events of MISP alike. Pure.

use cm_stix::misp::Read;
use cm_stix::{Marking, StixObject, misp as misp_format, moment};
use cm_types::Timestamp;
use serde_json::Value;

use crate::indicator::{VALUE_LEN_MAX, value_of};
use crate::{ThreatEvent, Tlp, stix as words};

/// Most values of one statement.
pub const VALUES_MAX: usize = 5000;
/// Longest type of threat that is kept, in characters.
const TYPE_CHARS_MAX: usize = 128;

/// Something that a feed has.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// It says something of its own.
    Said(Said),
    /// It passes on what somebody signed. Not verified.
    Signed(Box<ThreatEvent>, Tlp),
    /// Something that says nothing to us: a report, an identity, a rule in another language.
    Other,
    /// Nobody can read it.
    Unreadable,
}

/// A version of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// What its author calls it.
    pub id: String,
    /// Which version it is: when it was changed last.
    pub version: Timestamp,
    /// What it is about. Without any, the statement is taken back.
    pub values: Vec<String>,
    /// What those do.
    pub threat_type: String,
    /// How grave it is.
    pub severity: String,
    /// How sure its author is, 0 to 100; 100 for one who does not say.
    pub confidence: u8,
    /// From when on it holds.
    pub from: Timestamp,
    /// Until when; for as long as other indicators without it.
    pub until: Option<Timestamp>,
    /// With whom it may be shared.
    pub tlp: Tlp,
}

/// Reads an object of STIX; `unmarked` is the marking of what bears none.
pub fn stix(object: Value, unmarked: Tlp) -> Entry {
    let Ok(checked) = StixObject::check(object) else { return Entry::Unreadable };
    if checked.kind() != "indicator" {
        return Entry::Other;
    }
    let Some(version) = checked.version() else { return Entry::Unreadable };
    let id = checked.id().to_owned();
    let object = checked.into_value();
    let tlp = marked(&object, unmarked);
    let revoked = object.get("revoked").and_then(Value::as_bool).unwrap_or(false);
    if let Some((event, _)) = words::recovered(&object) {
        // Whoever signed it cannot take it back by an object that nobody signed.
        return if revoked { Entry::Other } else { Entry::Signed(Box::new(event), tlp) };
    }
    let mut said = Said {
        id,
        version,
        values: Vec::new(),
        threat_type: String::new(),
        severity: String::new(),
        confidence: 100,
        from: version,
        until: None,
        tlp,
    };
    if revoked {
        return Entry::Said(said);
    }
    let Some(foreign) = cm_stix::foreign(&object) else { return Entry::Other };
    said.values = values(foreign.observables.into_iter().map(|observable| observable.value));
    if said.values.is_empty() {
        // An earlier version may have been about something.
        return Entry::Said(said);
    }
    said.threat_type = short(&foreign.name);
    said.severity = "medium".to_owned();
    said.confidence = foreign.confidence.unwrap_or(100);
    said.from = foreign.valid_from.unwrap_or(version);
    said.until = foreign.valid_until;
    Entry::Said(said)
}

/// The strictest marking of an object, of parts of it too. One that is not understood is one all the same.
fn marked(object: &Value, unmarked: Tlp) -> Tlp {
    let list = |name: &str| object.get(name).and_then(Value::as_array).into_iter().flatten();
    // A marking that is not understood does not make anything less strict than none.
    let unknown = unmarked.max(Tlp::Amber);
    let of_parts = list("granular_markings").filter_map(|part| part.get("marking_ref"));
    let strictest = list("object_marking_refs")
        .chain(of_parts)
        .map(|id| id.as_str().and_then(Marking::of_id).map_or(unknown, words::tlp))
        .max();
    strictest.unwrap_or(unmarked)
}

/// What the statement of an event of MISP is called.
pub fn misp_id(uuid: &str) -> String {
    format!("misp--{uuid}")
}

/// Reads an event of MISP, which is called so and was changed last at that moment.
pub fn misp(uuid: &str, changed: Timestamp, document: &Value, unmarked: Tlp) -> Vec<Entry> {
    let Ok(read) = misp_format::read(document) else { return vec![Entry::Unreadable] };
    let tlp = tagged(document, unmarked);
    let mut said = Said {
        id: misp_id(uuid),
        version: changed,
        values: Vec::new(),
        threat_type: String::new(),
        severity: String::new(),
        confidence: 100,
        from: changed,
        until: None,
        tlp,
    };
    let (mut entries, mut found) = (Vec::new(), Vec::new());
    for one in read {
        match one {
            Read::Signed(signed) => entries.push(Entry::Signed(Box::new(words::event(signed)), tlp)),
            Read::Unsigned { info, observable, severity, .. } => {
                (said.threat_type, said.severity) = (short(&info), severity.to_ascii_lowercase());
                found.push(observable.value);
            }
        }
    }
    said.values = values(found);
    if entries.is_empty() {
        entries.push(Entry::Said(said));
    }
    entries
}

/// The strictest marking of an event, of its objects and attributes too. One that is not understood is one all the same.
fn tagged(document: &Value, unmarked: Tlp) -> Tlp {
    let list = |of: &Value, name: &str| of.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let events = match document {
        Value::Array(events) => events.clone(),
        document if document.get("response").is_some() => list(document, "response"),
        document => vec![document.clone()],
    };
    let events = events.iter().filter_map(|event| event.get("Event"));
    let mut marked: Vec<Value> = events.cloned().collect();
    for part in ["Object", "Attribute"] {
        // The attributes of objects as well: those are among what is marked by then.
        let parts: Vec<Value> = marked.iter().flat_map(|of| list(of, part)).collect();
        marked.extend(parts);
    }
    let tags = marked.iter().flat_map(|of| list(of, "Tag"));
    let of_tag = |tag: Value| {
        let name = tag.get("name")?.as_str()?;
        let is_marking = name.get(..4).is_some_and(|beginning| beginning.eq_ignore_ascii_case("tlp:"));
        is_marking.then(|| Marking::of_tag(name).map_or(unmarked.max(Tlp::Amber), words::tlp))
    };
    tags.filter_map(of_tag).max().unwrap_or(unmarked)
}

/// Names of indicators, each once. What is too long to be one is left out: cut off, it would be about something else.
fn values(found: impl IntoIterator<Item = String>) -> Vec<String> {
    let is_name = |text: &String| {
        !text.trim().is_empty() && text.trim().len() <= VALUE_LEN_MAX && !text.chars().any(char::is_control)
    };
    let mut values: Vec<String> =
        found.into_iter().filter(is_name).take(VALUES_MAX).map(|text| value_of(&text)).collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn short(text: &str) -> String {
    let text: String = text.chars().filter(|letter| !letter.is_control()).take(TYPE_CHARS_MAX).collect();
    if text.trim().is_empty() { "indicator".to_owned() } else { text }
}

/// A moment that a manifest of MISP names, in seconds.
pub fn misp_moment(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds.clamp(0, i64::from(u32::MAX)).saturating_mul(1_000_000))
}

/// A moment as TAXII writes it; `None` for anything else.
pub fn taxii_moment(text: &str) -> Option<Timestamp> {
    moment::parse(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f";

    fn indicator(change: Value) -> Value {
        let mut object = json!({
            "type": "indicator", "spec_version": "2.1", "id": ID, "created": "2026-11-01T00:00:00Z", "modified": "2026-11-02T00:00:00Z",
            "name": "beacon", "pattern": "[ipv4-addr:value = '198.51.100.7']", "pattern_type": "stix", "valid_from": "2026-11-01T00:00:00Z",
        });
        for (name, value) in change.as_object().unwrap() {
            object[name] = value.clone();
        }
        object
    }

    fn said(change: Value) -> Said {
        match stix(indicator(change), Tlp::Amber) {
            Entry::Said(said) => said,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_indicator_says_what_how_sure_and_until_when() {
        let found = said(json!({ "confidence": 40, "valid_until": "2026-12-01T00:00:00Z" }));
        assert_eq!((found.id.as_str(), found.values.as_slice()), (ID, &["198.51.100.7".to_owned()][..]));
        assert_eq!((found.confidence, found.tlp), (40, Tlp::Amber));
        assert_eq!(found.until, taxii_moment("2026-12-01T00:00:00Z"));
        assert_eq!(said(json!({})).confidence, 100);
        assert!(said(json!({ "revoked": true })).values.is_empty(), "taken back");
        assert!(said(json!({ "pattern": "[x:y = 'z']" })).values.is_empty(), "about nothing any more");
    }

    #[test]
    fn the_strictest_marking_counts_and_an_unknown_one_is_one() {
        let of = |change| said(change).tlp;
        let (clear, red) = (Marking::Clear.id(), Marking::Red.id());
        let unknown = "marking-definition--00000000-0000-4000-8000-000000000000";
        assert_eq!(of(json!({ "object_marking_refs": [clear] })), Tlp::Clear);
        assert_eq!(of(json!({ "object_marking_refs": [clear, red] })), Tlp::Red);
        assert_eq!(of(json!({ "object_marking_refs": [clear, unknown] })), Tlp::Amber);
        assert_eq!(
            of(
                json!({ "object_marking_refs": [clear], "granular_markings": [{ "marking_ref": red, "selectors": ["name"] }] })
            ),
            Tlp::Red
        );
    }

    #[test]
    fn what_says_nothing_to_us_is_told_from_what_nobody_can_read() {
        let of = |value| stix(value, Tlp::Clear);
        let identity = json!({ "type": "identity", "id": ID.replace("indicator", "identity"), "created": "2026-11-01T00:00:00Z" });
        assert_eq!(of(identity), Entry::Other);
        assert_eq!(of(indicator(json!({ "pattern_type": "yara" }))), Entry::Other);
        for bad in
            [json!(7), json!({}), indicator(json!({ "id": "x" })), indicator(json!({ "modified": "now" }))]
        {
            assert_eq!(of(bad), Entry::Unreadable);
        }
    }

    #[test]
    fn values_are_names_or_left_out() {
        let long = "a".repeat(300);
        let given = ["::ffff:198.51.100.7", "198.51.100.7", " ", "a\u{1b}b", &long].map(str::to_owned);
        assert_eq!(values(given), ["198.51.100.7"]);
    }

    #[test]
    fn an_event_of_misp_is_one_statement() {
        let attribute =
            |value: &str, wanted: bool| json!({ "type": "ip-dst", "value": value, "to_ids": wanted });
        let document = json!({ "Event": {
            "info": "campaign", "threat_level_id": "1", "Tag": [{ "name": "tlp:green" }],
            "Attribute": [attribute("198.51.100.7", true), attribute("198.51.100.8", true), attribute("198.51.100.9", false)],
        } });
        let found = misp("u", Timestamp::from_micros(5), &document, Tlp::Amber);
        let [Entry::Said(said)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((said.id.as_str(), said.values.len(), said.tlp), ("misp--u", 2, Tlp::Green));
        assert_eq!((said.threat_type.as_str(), said.severity.as_str()), ("campaign", "high"));
        assert_eq!(misp("u", Timestamp::from_micros(5), &json!([1]), Tlp::Amber), [Entry::Unreadable]);
    }

    #[test]
    fn tags_of_parts_of_an_event_are_obeyed() {
        let of = |event: &str, attribute: &str, object: &str| {
            let tag = |name: &str| json!([{ "name": name }]);
            let document = json!({ "Event": {
                "Tag": tag(event), "Attribute": [{ "type": "ip-dst", "value": "198.51.100.7", "to_ids": true, "Tag": tag(attribute) }],
                "Object": [{ "Attribute": [{ "type": "ip-dst", "value": "198.51.100.8", "to_ids": true, "Tag": tag(object) }] }],
            } });
            match misp("u", Timestamp::from_micros(5), &document, Tlp::Clear).as_slice() {
                [Entry::Said(said)] => said.tlp,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(of("x", "y", "z"), Tlp::Clear, "unmarked");
        assert_eq!(of("TLP:GREEN", "y", "z"), Tlp::Green);
        assert_eq!(of("tlp:green", "tlp:red", "z"), Tlp::Red);
        assert_eq!(of("tlp:green", "y", "tlp:amber+strict"), Tlp::AmberStrict);
        assert_eq!(of("tlp:pink", "y", "z"), Tlp::Amber);
    }
}
