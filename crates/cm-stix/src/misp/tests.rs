use super::*;

fn threat(severity: &str) -> SignedThreat {
    let text = str::to_owned;
    SignedThreat {
        id: text("5be1"),
        source_ip: text("198.51.100.23"),
        threat_type: text("Port \"Scan\""),
        severity: text(severity),
        timestamp: text("2026-11-21 12:00:00"),
        reporter_pubkey: text("KEY\n"),
        signature: text("AAAA"),
    }
}

fn circumstances() -> Circumstances<'static> {
    Circumstances {
        reporter: "abcdef",
        organisation: Some("ACME"),
        received: Timestamp::from_micros(0),
        marking: Marking::AmberStrict,
        confidence: None,
        expires: None,
    }
}

#[test]
fn the_original_comes_back_from_an_event_and_from_a_search() {
    let exported = event(&threat("High"), &circumstances());
    assert_eq!(exported["Event"]["threat_level_id"], "1");
    assert_eq!(exported["Event"]["Attribute"][0]["type"], "ip-src");
    assert_eq!(exported["Event"]["date"], "2026-11-21");
    let expected = vec![Read::Signed(threat("High"))];
    for document in [exported.clone(), json!([exported]), json!({ "response": [exported] })] {
        assert_eq!(read(&document).unwrap(), expected);
    }
}

#[test]
fn attributes_that_somebody_wants_to_be_looked_for_are_read() {
    let attribute = |kind: &str, value: &str, to_ids: bool| json!({ "type": kind, "value": value, "to_ids": to_ids, "timestamp": "1700000000" });
    let document = json!({ "Event": { "info": "Botnet", "threat_level_id": 2, "Tag": [{ "name": "tlp:green" }],
        "Attribute": [attribute("ip-dst", "198.51.100.1", true), attribute("ip-dst", "198.51.100.2", false), attribute("ip-src|port", "198.51.100.3|22", true), attribute("ip-src", "nonsense", true), attribute("md5", "x", true)],
        "Object": [{ "Attribute": [attribute("domain", "evil.example", true)] }] } });
    let found = read(&document).unwrap();
    let values: Vec<&str> = found
        .iter()
        .map(|read| match read {
            Read::Unsigned {
                observable,
                severity: "Medium",
                marking: Some(Marking::Green),
                at: Some(_),
                ..
            } => observable.value.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(values, ["198.51.100.1", "198.51.100.3", "evil.example"]);
}

#[test]
fn what_is_no_event_is_refused() {
    for bad in [json!(7), json!({}), json!({ "response": 7 }), json!([{}]), json!({ "Event": [] })] {
        assert_eq!(read(&bad), Err(StixError::NoMispEvent), "{bad}");
    }
    assert_eq!(read(&json!({ "Event": { "Attribute": 7, "Tag": "x" } })), Ok(Vec::new()));
}
