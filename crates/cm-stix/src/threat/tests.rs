use proptest::prelude::*;

use super::*;
use crate::{ObservableKind, StixObject};

fn threat() -> SignedThreat {
    let text = str::to_owned;
    SignedThreat {
        id: text("5be1"),
        source_ip: text("198.51.100.23"),
        threat_type: text("Port Scan"),
        severity: text("High"),
        timestamp: text("2026-11-21 12:00:00"),
        reporter_pubkey: text("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"),
        signature: text("AAAA"),
    }
}

fn circumstances(reporter: &str) -> Circumstances<'_> {
    Circumstances {
        reporter,
        organisation: None,
        received: Timestamp::from_micros(1_795_262_400_123_456),
        marking: Marking::Green,
        confidence: Some(70),
        expires: None,
    }
}

fn of<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().rfind(|object| object["type"] == kind).unwrap()
}

#[test]
fn an_event_becomes_what_to_look_for_who_says_so_and_that_it_was_seen() {
    let objects = objects(&threat(), &circumstances(&"ab".repeat(32)));
    let indicator = of(&objects, "indicator");
    assert_eq!(indicator["pattern"], "[ipv4-addr:value = '198.51.100.23']");
    assert_eq!(indicator["created"], "2026-11-21T12:00:00.000Z");
    assert_eq!(indicator["confidence"], 70);
    let sighting = of(&objects, "sighting");
    assert_eq!(sighting["sighting_of_ref"], indicator["id"]);
    let identity = of(&objects, "identity");
    assert_eq!(indicator["created_by_ref"], identity["id"]);
    assert_eq!(sighting["where_sighted_refs"][0], identity["id"]);
    let definition = of(&objects, "extension-definition");
    assert!(indicator["extensions"].get(definition["id"].as_str().unwrap()).is_some());
    for object in objects {
        StixObject::check(object).unwrap();
    }
}

#[test]
fn ids_are_those_of_the_reporters_event_for_ever() {
    // They stand in other people's databases.
    assert_eq!(indicator_id("5be1", "ab"), indicator_id("5be1", "ab"));
    assert_ne!(
        indicator_id("5be1", "ab"),
        indicator_id("5be1", "cd"),
        "nobody takes the id of another's event"
    );
    let uuid = Uuid::try_parse(indicator_id("5be1", "ab").strip_prefix("indicator--").unwrap()).unwrap();
    assert_eq!(uuid.get_version_num(), 5);
    let first = objects(&threat(), &circumstances("ab"));
    let later =
        objects(&threat(), &Circumstances { received: Timestamp::from_micros(1), ..circumstances("ab") });
    assert_eq!(first, later, "whoever exports it, whenever it came");
}

#[test]
fn the_strictest_marking_counts_and_unknown_ones_are_defined() {
    let objects = objects(&threat(), &Circumstances { marking: Marking::AmberStrict, ..circumstances("ab") });
    assert_eq!(of(&objects, "marking-definition")["id"], Marking::AmberStrict.id());
    let mut indicator = of(&objects, "indicator").clone();
    indicator["object_marking_refs"] =
        json!([Marking::Clear.id(), Marking::Red.id(), "marking-definition--x"]);
    assert_eq!(foreign(&indicator).unwrap().marking, Some(Marking::Red));
}

#[test]
fn foreign_indicators_are_read_as_far_as_they_concern_us() {
    let given = json!({
        "type": "indicator", "id": "indicator--x", "pattern_type": "stix", "pattern": "[domain-name:value = 'evil.example']",
        "indicator_types": ["phishing"], "valid_from": "2026-01-01T00:00:00Z", "confidence": 1000, "revoked": true,
    });
    let found = foreign(&given).unwrap();
    assert_eq!(found.name, "phishing");
    assert_eq!(found.observables[0].kind, ObservableKind::Domain);
    assert_eq!((found.confidence, found.revoked), (Some(100), true));
    for (member, value) in [("pattern_type", "yara"), ("type", "malware")] {
        let mut other = given.clone();
        other[member] = value.into();
        assert_eq!(foreign(&other), None);
    }
}

#[test]
fn a_bundle_has_each_object_once() {
    let both =
        objects(&threat(), &circumstances("ab")).into_iter().chain(objects(&threat(), &circumstances("cd")));
    let bundle = bundle(both);
    let objects = unbundle(bundle.clone()).unwrap();
    assert_eq!(objects.len(), 8, "two of each but the extension and its publisher");
    assert_eq!(unbundle(json!({"type": "bundle"})), Ok(Vec::new()));
    for bad in [json!([]), json!({"type": "report", "objects": []}), json!({"type": "bundle", "objects": {}})]
    {
        assert_eq!(unbundle(bad), Err(StixError::NoBundle));
    }
}

proptest! {
    #[test]
    fn the_original_comes_back_to_the_letter(id in ".{0,20}", source_ip in ".{0,20}", threat_type in ".{0,20}", severity in ".{0,20}", timestamp in ".{0,20}") {
        let threat = SignedThreat { id, source_ip, threat_type, severity, timestamp, ..threat() };
        let text = bundle(objects(&threat, &circumstances("ab"))).to_string();
        let objects = unbundle(serde_json::from_str(&text).unwrap()).unwrap();
        prop_assert_eq!(objects.iter().filter_map(recover).collect::<Vec<_>>(), vec![threat.clone()]);
        for object in objects {
            prop_assert!(StixObject::check(object).is_ok());
        }
    }
}
