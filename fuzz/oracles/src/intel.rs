//! What peers of the threat network send, in both versions of its protocol.

use std::time::Duration;

use cm_intel::gossip::packet::Carried;
use cm_intel::gossip::{Gossip, Inventory, Packet, Step};
use cm_intel::wire::discovery::Datagram;
use cm_intel::wire::frame::{self, HEAD_LEN};
use cm_intel::wire::message::{self, Message};
use cm_intel::{EventKey, ThreatEvent};
use cm_types::{Sha256Digest, Timestamp};

/// A stream is cut into bodies that are no longer than they may be; a datagram and a greeting are read back unchanged; so is each event that stands in a body.
pub fn threat_frames(data: &[u8]) {
    for body in bodies(data) {
        messages(body);
    }
    if let Some(datagram) = Datagram::parse(data) {
        let again = datagram.encode();
        assert!(again.is_ascii());
        // What was short with its characters bare may be too long with each escaped; such a name is somebody's joke.
        if let Some(read) = Datagram::parse(&again) {
            assert_eq!(read, datagram);
        }
    }
}

/// The bodies of a stream: what a length promises and does not come is not one.
fn bodies(mut data: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((head, rest)) = data.split_first_chunk::<HEAD_LEN>() {
        let Ok(len) = frame::body_len(*head) else { break };
        assert!(len <= frame::BODY_LEN_MAX);
        let Some((body, rest)) = rest.split_at_checked(len) else { break };
        found.push(body);
        data = rest;
    }
    found
}

/// The wrapper, whatever stands in it.
pub fn threat_messages(data: &[u8]) {
    messages(data);
}

fn messages(body: &[u8]) {
    match Message::parse(body) {
        Ok(Message::Event(payload)) => payloads(payload),
        Ok(Message::Hello(said)) => {
            let framed = message::hello(&said, Timestamp::from_micros(0));
            // Without a version the key has no place.
            if !said.versions.is_empty() {
                assert_eq!(Message::parse(&framed[HEAD_LEN..]), Ok(Message::Hello(said)));
            }
        }
        Ok(Message::Unknown) | Err(_) => {}
    }
}

/// The payload of an event: what is read is written in one form, is signed in one form of printable characters, and has one name.
pub fn threat_payloads(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        payloads(text);
    }
}

fn payloads(text: &str) {
    let Ok(event) = ThreatEvent::from_payload(text) else { return };
    let signed = event.canonical();
    assert!(signed.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    assert_eq!(event.computed_id().len(), 64);
    let written = event.payload();
    match ThreatEvent::from_payload(&written) {
        Ok(again) => assert_eq!(again, event),
        // Every character escaped, it is longer than is taken: such events are not passed on.
        Err(_) => assert!(written.len() > cm_intel::event::PAYLOAD_LEN_MAX),
    }
    if let Some(framed) = message::event(&event, Timestamp::from_micros(0)) {
        assert_eq!(Message::parse(&framed[HEAD_LEN..]), Ok(Message::Event(written.as_str())));
    }
}

/// Packets of version 2 are written in one form; whoever sends any of them in any order gets bounded answers.
pub fn gossip_packets(data: &[u8]) {
    let key = |fill: u8| EventKey(Sha256Digest::from_bytes([fill; 32]));
    let inventory = Inventory::of((0..40).map(key));
    let mut gossip: Gossip<u8, Carried> = Gossip::new(inventory, 1, Duration::ZERO);
    let mut now = Duration::ZERO;
    for peer in [0, 1] {
        gossip.connected(peer, now);
    }
    let alone = std::iter::once(data);
    for (number, body) in alone.chain(bodies(data)).enumerate() {
        let Ok(packet) = Packet::decode(body) else { continue };
        assert_eq!(packet.encode(), body, "one form");
        let peer = u8::try_from(number % 2).expect("it is 0 or 1");
        let mut steps = gossip.received(peer, packet, now);
        now += Duration::from_millis(300);
        steps.extend(gossip.tick(now, |_| 0.0));
        assert!(steps.len() <= 4096, "{} steps", steps.len());
        for step in steps {
            if let Step::Send(_, packet) = step {
                let bytes = packet.encode();
                assert!(bytes.len() <= frame::BODY_LEN_MAX);
                assert_eq!(Packet::decode(&bytes), Ok(packet), "what this node says can be read");
            }
        }
    }
}
