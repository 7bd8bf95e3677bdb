//! Threat intelligence of others: STIX and MISP.

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
    let objects = threat::unbundle(value.clone()).unwrap_or_else(|_| vec![value]);
    for object in objects {
        if let Some(found) = foreign(&object) {
            assert!(found.confidence.is_none_or(|confidence| confidence <= 100));
        }
        if let Some(text) = object.get("pattern").and_then(Value::as_str) {
            patterns(text);
        }
        let recovered = recover(&object);
        if let Ok(kept) = StixObject::check(object) {
            assert_eq!(kept.id().split_once("--").map(|(kind, _)| kind), Some(kept.kind()));
            assert_eq!(recover(&kept.into_value()), recovered);
        }
    }
}

fn patterns(text: &str) {
    for observable in pattern::observables(text) {
        assert_eq!(pattern::observables(&pattern::pattern(&observable)), [observable]);
    }
}
