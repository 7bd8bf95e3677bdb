//! Events in the words of the field, and back: see [`cm_stix`], which knows no engine.

use cm_stix::{Circumstances, Marking, SignedThreat};
use serde_json::Value;

use crate::{Stored, ThreatEvent, Tlp};

/// The STIX objects of an event: who reports, what to look for with the original, and that it was seen.
pub fn objects(stored: &Stored) -> Vec<Value> {
    let reporter = stored.key.to_string();
    cm_stix::objects(&signed(&stored.event), &circumstances(stored, &reporter))
}

/// The same in a bundle.
pub fn bundle(stored: &Stored) -> Value {
    cm_stix::bundle(objects(stored))
}

/// The event as one of MISP.
pub fn misp(stored: &Stored) -> Value {
    let reporter = stored.key.to_string();
    cm_stix::misp::event(&signed(&stored.event), &circumstances(stored, &reporter))
}

/// The event that an object carries, and its marking; `None` for what carries none. Nothing of it is verified.
pub fn recovered(object: &Value) -> Option<(ThreatEvent, Tlp)> {
    let threat = cm_stix::recover(object)?;
    let marking = cm_stix::foreign(object).and_then(|foreign| foreign.marking);
    // A marking that is not understood is one all the same.
    let marked =
        object.get("object_marking_refs").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    let unmarked = if marked { Tlp::Amber } else { Tlp::Clear };
    Some((event(threat), marking.map_or(unmarked, tlp)))
}

/// The event that was exported so.
pub fn event(threat: SignedThreat) -> ThreatEvent {
    let SignedThreat { id, source_ip, threat_type, severity, timestamp, reporter_pubkey, signature } = threat;
    ThreatEvent { id, source_ip, threat_type, severity, timestamp, reporter_pubkey, signature }
}

fn signed(event: &ThreatEvent) -> SignedThreat {
    let ThreatEvent { id, source_ip, threat_type, severity, timestamp, reporter_pubkey, signature } =
        event.clone();
    SignedThreat { id, source_ip, threat_type, severity, timestamp, reporter_pubkey, signature }
}

fn circumstances<'a>(stored: &Stored, reporter: &'a str) -> Circumstances<'a> {
    Circumstances {
        reporter,
        organisation: None,
        received: stored.received,
        marking: marking(stored.tlp),
        confidence: None,
        expires: None,
    }
}

/// A marking, as STIX has it.
pub fn marking(tlp: Tlp) -> Marking {
    match tlp {
        Tlp::Clear => Marking::Clear,
        Tlp::Green => Marking::Green,
        Tlp::Amber => Marking::Amber,
        Tlp::AmberStrict => Marking::AmberStrict,
        Tlp::Red => Marking::Red,
    }
}

/// A marking of STIX.
pub fn tlp(marking: Marking) -> Tlp {
    match marking {
        Marking::Clear => Tlp::Clear,
        Marking::Green => Tlp::Green,
        Marking::Amber => Tlp::Amber,
        Marking::AmberStrict => Tlp::AmberStrict,
        Marking::Red => Tlp::Red,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marking_that_is_not_understood_keeps_an_event_here() {
        let event = ThreatEvent::from_payload(include_str!("../tests/vectors/event_payload.json")).unwrap();
        let stored = Stored {
            seq: 1,
            received: cm_types::Timestamp::from_micros(0),
            event: event.clone().into(),
            key: crate::KeyId(cm_types::Sha256Digest::from_bytes([0; 32])),
            origin: crate::Origin::Own,
            tlp: Tlp::Green,
            standing: crate::Standing::Neutral,
        };
        let mut object = objects(&stored).into_iter().find(|object| recovered(object).is_some()).unwrap();
        assert_eq!(recovered(&object), Some((event.clone(), Tlp::Green)));
        object["object_marking_refs"] =
            serde_json::json!(["marking-definition--00000000-0000-4000-8000-000000000000"]);
        assert_eq!(recovered(&object), Some((event.clone(), Tlp::Amber)));
        object["object_marking_refs"] = serde_json::json!([]);
        assert_eq!(recovered(&object), Some((event, Tlp::Clear)));
    }

    #[test]
    fn markings_are_the_same_in_both() {
        for marked in Tlp::ALL {
            assert_eq!(tlp(marking(marked)), marked);
        }
    }
}
