//! Writes one event in all its forms, one JSON document a line: for validators of other makers.

use cm_stix::{Circumstances, Marking, SignedThreat, bundle, misp, objects};
use cm_types::Timestamp;

/// Sources of every kind, and texts that want escaping.
const SOURCES: &[&str] = &[
    "198.51.100.23",
    "2001:db8::1",
    "evil.example",
    "https://evil.example/a?b='c'\\d",
    "eve@evil.example",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "edge node 7 <script>alert('x')</script>",
];

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn main() {
    for (source, marking) in SOURCES.iter().zip(Marking::ALL.into_iter().cycle()) {
        let threat = SignedThreat {
            id: "5be1d2b0a7".to_owned(),
            source_ip: (*source).to_owned(),
            threat_type: "SSH \"Brute\" Force".to_owned(),
            severity: "High".to_owned(),
            timestamp: "2026-11-21 12:00:00".to_owned(),
            reporter_pubkey: "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n".to_owned(),
            signature: "c2lnbmF0dXJl".to_owned(),
        };
        let circumstances = Circumstances {
            reporter: &"ab".repeat(32),
            organisation: Some("ACME"),
            received: Timestamp::from_micros(1_795_262_400_123_456),
            marking,
            confidence: Some(70),
            expires: Some(Timestamp::from_micros(1_895_262_400_000_000)),
        };
        println!("{}", bundle(objects(&threat, &circumstances)));
        println!("{}", misp::event(&threat, &circumstances));
    }
}
