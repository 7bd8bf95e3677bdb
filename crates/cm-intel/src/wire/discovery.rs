//! Datagrams by which nodes on one network find each other: `{"type": "PING", "node_id": …, "tcp_port": …}` and `PONG` alike.
//!
//! Whoever hears a ping answers everybody, which an attacker could use to make one datagram into many; see
//! `net::discovery` for how often this node does.

use serde::Deserialize;

use super::canonical;

/// Longest datagram that is looked at, in bytes.
pub const DATAGRAM_LEN_MAX: usize = 1024;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Who is there?
    Ping,
    /// I am here.
    Pong,
}

/// A datagram of discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Question or answer.
    pub call: Call,
    /// The sender's name for as long as its process runs.
    pub node_id: String,
    /// Where it listens, at the address that the datagram came from.
    pub tcp_port: u16,
    /// The versions that it speaks, where it says so.
    pub versions: Vec<u8>,
    /// Its key on links of version 2, where it says so.
    pub key: Option<String>,
}

#[derive(Deserialize)]
struct Read {
    #[serde(rename = "type")]
    kind: String,
    node_id: String,
    tcp_port: u16,
    #[serde(default)]
    versions: Vec<u8>,
    #[serde(default)]
    key: Option<String>,
}

impl Datagram {
    /// Reads a datagram; `None` for anything else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > DATAGRAM_LEN_MAX || bytes.first() != Some(&b'{') {
            return None;
        }
        let read: Read = serde_json::from_slice(bytes).ok()?;
        let call = match read.kind.as_str() {
            "PING" => Call::Ping,
            "PONG" => Call::Pong,
            _ => return None,
        };
        let valid = !read.node_id.is_empty() && read.node_id.len() <= 64 && read.tcp_port != 0;
        valid.then_some(Self {
            call,
            node_id: read.node_id,
            tcp_port: read.tcp_port,
            versions: read.versions,
            key: read.key,
        })
    }

    /// The datagram as the earlier node writes it; what only newer nodes read stands behind.
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self.call {
            Call::Ping => "PING",
            Call::Pong => "PONG",
        };
        let mut text = String::from("{\"type\": ");
        canonical::string(kind, &mut text);
        text.push_str(", \"node_id\": ");
        canonical::string(&self.node_id, &mut text);
        text.push_str(&format!(", \"tcp_port\": {}", self.tcp_port));
        if !self.versions.is_empty() {
            let versions: Vec<String> = self.versions.iter().map(u8::to_string).collect();
            text.push_str(&format!(", \"versions\": [{}]", versions.join(", ")));
        }
        if let Some(key) = &self.key {
            text.push_str(", \"key\": ");
            canonical::string(key, &mut text);
        }
        text.push('}');
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PING: &[u8] = include_bytes!("../../tests/vectors/udp_ping.bin");

    #[test]
    fn a_ping_is_that_of_the_earlier_node() {
        let read = Datagram::parse(PING).unwrap();
        assert_eq!((read.call, read.tcp_port), (Call::Ping, 9321));
        assert_eq!(read.encode(), PING);
        let newer = Datagram { call: Call::Pong, versions: vec![1, 2], key: Some("00".into()), ..read };
        assert_eq!(Datagram::parse(&newer.encode()), Some(newer));
    }

    #[test]
    fn what_is_no_datagram_is_passed_over() {
        let long = format!("{{\"type\": \"PING\", \"node_id\": \"{}\", \"tcp_port\": 1}}", "x".repeat(2000));
        for bad in [
            "",
            "{}",
            "PING",
            "{\"type\": \"PING\"}",
            &long,
            "{\"type\": \"PING\", \"node_id\": \"a\", \"tcp_port\": 0}",
            "{\"type\": \"PING\", \"node_id\": \"a\", \"tcp_port\": 70000}",
            "{\"type\": \"PUNG\", \"node_id\": \"a\", \"tcp_port\": 1}",
        ] {
            assert_eq!(Datagram::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Datagram::parse(&bytes);
        }
    }
}
