//! What stands in a frame: `{"type", "id", "payload", "timestamp"}`, written as Python writes it.

use std::borrow::Cow;

use cm_types::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::canonical;
use super::frame;
use crate::ThreatEvent;

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Somebody tells of a threat; the payload as it came.
    Event(&'a str),
    /// A sign of life, perhaps with what the sender can do.
    Hello(Hello),
    /// A type that this version does not know. It is passed over, and the connection kept.
    Unknown,
}

/// What a greeting says. The earlier node sends nothing and reads nothing of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The versions of the protocol that the sender speaks, if it says so.
    pub versions: Vec<u8>,
    /// The key by which the sender is known on links of version 2, in hexadecimal digits, if it says so.
    pub key: Option<String>,
}

/// The body is no message at all: not UTF-8, not JSON, or no object. Its connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame is not a JSON object in UTF-8")]
pub struct NoMessage;

#[derive(Deserialize)]
struct Wrapper<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct HelloPayload {
    #[serde(default)]
    versions: Vec<u8>,
    #[serde(default)]
    key: Option<String>,
}

impl<'a> Message<'a> {
    /// Reads the body of a frame. Spaces, order and other members do not matter.
    ///
    /// # Errors
    /// [`NoMessage`].
    pub fn parse(body: &'a [u8]) -> Result<Self, NoMessage> {
        let text = std::str::from_utf8(body).map_err(|_| NoMessage)?;
        // A list of two would pass for a struct of two members.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(NoMessage);
        }
        let wrapper: Wrapper<'a> = serde_json::from_str(text).map_err(|_| NoMessage)?;
        let kind = wrapper.kind.map_or("", RawValue::get);
        let kind: Cow<'_, str> = match kind.strip_prefix('"').and_then(|kind| kind.strip_suffix('"')) {
            Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
            _ => Cow::Owned(serde_json::from_str(kind).unwrap_or_default()),
        };
        Ok(match kind.as_ref() {
            "event" => Message::Event(wrapper.payload.map_or("null", RawValue::get)),
            "HELLO" => {
                let payload = wrapper.payload.map(RawValue::get).unwrap_or_default();
                // Whatever else stands there is nobody's business.
                let said = serde_json::from_str::<HelloPayload>(payload).ok();
                let versions_and_key = said.map(|said| Hello { versions: said.versions, key: said.key });
                Message::Hello(versions_and_key.unwrap_or_default())
            }
            _ => Message::Unknown,
        })
    }
}

/// The moment as the earlier node writes it: UTC, microseconds unless they are zero.
fn timestamp(now: Timestamp) -> String {
    let text = now.to_string();
    let (seconds, fraction) =
        text.trim_end_matches('Z').split_once('.').unwrap_or((text.trim_end_matches('Z'), ""));
    match fraction {
        "" => format!("{seconds}Z"),
        fraction => format!("{seconds}.{fraction:0<6}Z"),
    }
}

fn wrap(kind: &str, id: &str, payload: &str, now: Timestamp) -> Vec<u8> {
    let mut body = String::with_capacity(payload.len() + 160);
    body.push_str("{\"type\": ");
    canonical::string(kind, &mut body);
    body.push_str(", \"id\": ");
    canonical::string(id, &mut body);
    body.push_str(", \"payload\": ");
    body.push_str(payload);
    body.push_str(", \"timestamp\": ");
    canonical::string(&timestamp(now), &mut body);
    body.push('}');
    body.into_bytes()
}

/// An event in its frame. `None` if it is longer than a frame may be.
pub fn event(event: &ThreatEvent, now: Timestamp) -> Option<Vec<u8>> {
    frame::frame(&wrap("event", &event.id, &event.payload(), now)).ok()
}

/// A greeting in its frame: without a word, or with what this node can do.
pub fn hello(said: &Hello, now: Timestamp) -> Vec<u8> {
    let mut payload = String::from("{");
    if !said.versions.is_empty() {
        let versions: Vec<String> = said.versions.iter().map(u8::to_string).collect();
        payload.push_str(&format!("\"versions\": [{}]", versions.join(", ")));
        if let Some(key) = &said.key {
            payload.push_str(", \"key\": ");
            canonical::string(key, &mut payload);
        }
    }
    payload.push('}');
    let body = wrap("HELLO", &Uuid::new_v4().to_string(), &payload, now);
    frame::frame(&body).expect("a greeting is short")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENT: &[u8] = include_bytes!("../../tests/vectors/event_frame.bin");
    const HELLO: &[u8] = include_bytes!("../../tests/vectors/hello_frame.bin");

    #[test]
    fn frames_are_those_of_the_earlier_node() {
        let text = std::str::from_utf8(&EVENT[4..]).unwrap();
        let (_, at) = text.rsplit_once("\"timestamp\": \"").unwrap();
        let at: Timestamp = at.trim_end_matches("\"}").parse().unwrap();
        let Ok(Message::Event(payload)) = Message::parse(&EVENT[4..]) else { panic!("no event") };
        let read = ThreatEvent::from_payload(payload).unwrap();
        assert_eq!(event(&read, at).unwrap(), EVENT, "every byte is the same");
        assert_eq!(Message::parse(&HELLO[4..]), Ok(Message::Hello(Hello::default())));
        let own = hello(&Hello::default(), "2026-11-20T23:58:52.369442Z".parse().unwrap());
        assert_eq!(own.len(), HELLO.len());
        assert_eq!(own[..29], HELLO[..29]);
        assert_eq!(own[65..], HELLO[65..], "all but the random id");
    }

    #[test]
    fn times_are_those_of_python() {
        for (text, expected) in [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.500000Z"),
            ("2026-01-01T00:00:00.000042Z", "2026-01-01T00:00:00.000042Z"),
        ] {
            assert_eq!(timestamp(text.parse().unwrap()), expected);
        }
    }

    #[test]
    fn what_is_no_object_closes_and_what_is_unknown_does_not() {
        for bad in [
            &b""[..],
            b"x",
            b"[]",
            b"[\"event\", {}]",
            b"\"HELLO\"",
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
            b"{",
            b"{}x",
        ] {
            assert_eq!(Message::parse(bad), Err(NoMessage), "{bad:?}");
        }
        let nested = |inner: &str| [&"[".repeat(5000), inner, &"]".repeat(5000)].concat();
        let deep = format!("{{\"type\": \"event\", \"payload\": {{\"x\": {}}}}}", nested("7"));
        let Ok(Message::Event(payload)) = Message::parse(deep.as_bytes()) else {
            panic!("passed over unread")
        };
        assert!(ThreatEvent::from_payload(payload).is_err(), "depth takes neither stack nor effect");
        for unknown in ["{}", "{\"type\": 7}", "{\"type\":\"IHAVE\",\"payload\":{}}", "{\"type\": null}"] {
            assert_eq!(Message::parse(unknown.as_bytes()), Ok(Message::Unknown), "{unknown}");
        }
        let compact = "{\"payload\":{\"é\":1},\"type\":\"ev\\u0065nt\"}";
        assert_eq!(Message::parse(compact.as_bytes()), Ok(Message::Event("{\"é\":1}")));
    }

    #[test]
    fn a_greeting_says_what_this_node_can_do() {
        let said = Hello { versions: vec![1, 2], key: Some("ab".repeat(32)) };
        let framed = hello(&said, Timestamp::from_micros(0));
        assert_eq!(Message::parse(&framed[4..]), Ok(Message::Hello(said)));
        let odd = b"{\"type\": \"HELLO\", \"payload\": {\"versions\": \"x\"}}";
        assert_eq!(Message::parse(odd), Ok(Message::Hello(Hello::default())));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&body);
        }
    }
}
