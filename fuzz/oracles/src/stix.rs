//! Threat intelligence of others: STIX and MISP.

use cm_intel::Tlp;
use cm_intel::feeds::{Entry, said};
use cm_stix::{StixObject, foreign, misp, pattern, recover, threat};
use serde_json::Value;

/// What is kept has an id of its type; a pattern yields what it can be written as; an original that is recovered is exported again to the letter.
pub fn stix(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else {
        if let Ok(text) = std::str::from_utf8(data) {
            patterns(text);
        }
        return;
    };
    if let Ok(events) = misp::read(&value) {
        assert!(events.len() <= data.len());
    }
    said::misp("8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f", said::misp_moment(0), &value, Tlp::Amber)
        .iter()
        .for_each(named);
    let objects = threat::unbundle(value.clone()).unwrap_or_else(|_| vec![value]);
    for object in objects {
        if let Some(found) = foreign(&object) {
            assert!(found.confidence.is_none_or(|confidence| confidence <= 100));
        }
        if let Some(text) = object.get("pattern").and_then(Value::as_str) {
            patterns(text);
        }
        named(&said::stix(object.clone(), Tlp::Amber));
        let recovered = recover(&object);
        if let Ok(kept) = StixObject::check(object) {
            assert_eq!(kept.id().split_once("--").map(|(kind, _)| kind), Some(kept.kind()));
            assert_eq!(recover(&kept.into_value()), recovered);
        }
    }
}

/// What a feed says is about names of indicators, which stay what they are when read again.
fn named(entry: &Entry) {
    if let Entry::Said(said) = entry {
        assert!(said.confidence <= 100 && said.values.len() <= said::VALUES_MAX);
        assert!(said.values.iter().all(|value| cm_intel::indicator::value_of(value) == *value));
    }
}

fn patterns(text: &str) {
    for observable in pattern::observables(text) {
        assert_eq!(pattern::observables(&pattern::pattern(&observable)), [observable]);
    }
}
