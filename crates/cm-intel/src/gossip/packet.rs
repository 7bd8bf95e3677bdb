//! What peers of version 2 say to each other, and how it is written: a byte for what it is, then its parts, numbers with the greatest byte
//! first. A length in four bytes stands before each, as in version 1.

use cm_types::Sha256Digest;

use super::KEYS_MAX;
use super::reconcile::{Content, RANGES_MAX, RangeSummary};
use crate::{EventKey, Tlp};

/// What a peer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<M> {
    /// An event.
    Event(M),
    /// These are here.
    IHave(Vec<EventKey>),
    /// Send these.
    IWant(Vec<EventKey>),
    /// Do not send these: they are here.
    IDontWant(Vec<EventKey>),
    /// You are in my mesh.
    Graft,
    /// You are in my mesh no more; do not graft me for so many seconds.
    Prune {
        /// For how long.
        seconds: u32,
    },
    /// Announce events, and send them when asked.
    Choke,
    /// Send events unasked.
    Unchoke,
    /// This is what is here, range by range.
    Compare(Vec<RangeSummary>),
    /// Still there.
    Alive,
}

/// An event on its way between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// With whom it may be shared.
    pub tlp: Tlp,
    /// The payload, as in version 1.
    pub payload: std::sync::Arc<str>,
}

/// The bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a packet of version 2")]
pub struct NoPacket;

const EVENT: u8 = 1;
const I_HAVE: u8 = 2;
const I_WANT: u8 = 3;
const I_DONT_WANT: u8 = 4;
const GRAFT: u8 = 5;
const PRUNE: u8 = 6;
const CHOKE: u8 = 7;
const UNCHOKE: u8 = 8;
const COMPARE: u8 = 9;
const ALIVE: u8 = 10;

/// Content of a range: its fingerprint, or its keys.
const FINGERPRINT: u8 = 0;
const KEYS: u8 = 1;

impl Packet<Carried> {
    /// Writes the packet, without the length before it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        let keys = |out: &mut Vec<u8>, tag: u8, keys: &[EventKey]| {
            out.push(tag);
            keys.iter().for_each(|key| out.extend(key.0.as_bytes()));
        };
        match self {
            Packet::Event(carried) => {
                out.reserve(carried.payload.len());
                out.push(EVENT);
                out.push(tlp_code(carried.tlp));
                out.extend(carried.payload.as_bytes());
            }
            Packet::IHave(all) => keys(&mut out, I_HAVE, all),
            Packet::IWant(all) => keys(&mut out, I_WANT, all),
            Packet::IDontWant(all) => keys(&mut out, I_DONT_WANT, all),
            Packet::Graft => out.push(GRAFT),
            Packet::Prune { seconds } => {
                out.push(PRUNE);
                out.extend(seconds.to_be_bytes());
            }
            Packet::Choke => out.push(CHOKE),
            Packet::Unchoke => out.push(UNCHOKE),
            Packet::Compare(ranges) => {
                out.push(COMPARE);
                ranges.iter().for_each(|range| encode_range(range, &mut out));
            }
            Packet::Alive => out.push(ALIVE),
        }
        out
    }

    /// Reads a packet. Lists are bounded.
    ///
    /// # Errors
    /// [`NoPacket`].
    pub fn decode(bytes: &[u8]) -> Result<Self, NoPacket> {
        let (tag, rest) = bytes.split_first().ok_or(NoPacket)?;
        let empty = |packet| if rest.is_empty() { Ok(packet) } else { Err(NoPacket) };
        match *tag {
            EVENT => {
                let (code, payload) = rest.split_first().ok_or(NoPacket)?;
                let tlp = Tlp::ALL.into_iter().find(|tlp| tlp_code(*tlp) == *code).ok_or(NoPacket)?;
                let payload = std::str::from_utf8(payload).map_err(|_| NoPacket)?.into();
                Ok(Packet::Event(Carried { tlp, payload }))
            }
            I_HAVE => Ok(Packet::IHave(decode_keys(rest)?)),
            I_WANT => Ok(Packet::IWant(decode_keys(rest)?)),
            I_DONT_WANT => Ok(Packet::IDontWant(decode_keys(rest)?)),
            GRAFT => empty(Packet::Graft),
            PRUNE => {
                let seconds = rest.try_into().map(u32::from_be_bytes).map_err(|_| NoPacket)?;
                Ok(Packet::Prune { seconds })
            }
            CHOKE => empty(Packet::Choke),
            UNCHOKE => empty(Packet::Unchoke),
            COMPARE => {
                let (mut rest, mut ranges) = (rest, Vec::new());
                while !rest.is_empty() {
                    if ranges.len() == RANGES_MAX {
                        return Err(NoPacket);
                    }
                    ranges.push(decode_range(&mut rest)?);
                }
                Ok(Packet::Compare(ranges))
            }
            ALIVE => empty(Packet::Alive),
            _ => Err(NoPacket),
        }
    }
}

fn tlp_code(tlp: Tlp) -> u8 {
    match tlp {
        Tlp::Clear => 0,
        Tlp::Green => 1,
        Tlp::Amber => 2,
        Tlp::AmberStrict => 3,
        Tlp::Red => 4,
    }
}

fn key(bytes: [u8; 32]) -> EventKey {
    EventKey(Sha256Digest::from_bytes(bytes))
}

fn decode_keys(bytes: &[u8]) -> Result<Vec<EventKey>, NoPacket> {
    let (keys, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || keys.len() > KEYS_MAX {
        return Err(NoPacket);
    }
    Ok(keys.iter().map(|bytes| key(*bytes)).collect())
}

fn encode_range(range: &RangeSummary, out: &mut Vec<u8>) {
    out.extend(range.from.0.as_bytes());
    out.push(u8::from(range.to.is_some()));
    if let Some(to) = &range.to {
        out.extend(to.0.as_bytes());
    }
    match &range.content {
        Content::Fingerprint(fingerprint) => {
            out.push(FINGERPRINT);
            out.extend(fingerprint);
        }
        Content::Keys(keys) => {
            out.push(KEYS);
            // Never more than a leaf holds, which is far below 65536.
            out.extend(u16::try_from(keys.len()).unwrap_or(u16::MAX).to_be_bytes());
            keys.iter().for_each(|key| out.extend(key.0.as_bytes()));
        }
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], NoPacket> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(NoPacket)?;
    *bytes = rest;
    Ok(*head)
}

fn decode_range(bytes: &mut &[u8]) -> Result<RangeSummary, NoPacket> {
    let from = key(take(bytes)?);
    let to = match take::<1>(bytes)? {
        [0] => None,
        [1] => Some(key(take(bytes)?)),
        _ => return Err(NoPacket),
    };
    let content = match take::<1>(bytes)? {
        [FINGERPRINT] => Content::Fingerprint(take(bytes)?),
        [KEYS] => {
            let count = usize::from(u16::from_be_bytes(take(bytes)?));
            let (keys, rest) = bytes.split_at_checked(count * 32).ok_or(NoPacket)?;
            *bytes = rest;
            Content::Keys(decode_keys(keys)?)
        }
        _ => return Err(NoPacket),
    };
    Ok(RangeSummary { from, to, content })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Vec<EventKey>> {
        prop::collection::vec(any::<[u8; 32]>().prop_map(key), 0..20)
    }

    fn range() -> impl Strategy<Value = RangeSummary> {
        let content =
            prop_oneof![any::<[u8; 32]>().prop_map(Content::Fingerprint), keys().prop_map(Content::Keys)];
        (any::<[u8; 32]>(), any::<Option<[u8; 32]>>(), content).prop_map(|(from, to, content)| RangeSummary {
            from: key(from),
            to: to.map(key),
            content,
        })
    }

    fn packet() -> impl Strategy<Value = Packet<Carried>> {
        prop_oneof![
            (0usize..5, any::<String>())
                .prop_map(|(tlp, text)| Packet::Event(Carried { tlp: Tlp::ALL[tlp], payload: text.into() })),
            keys().prop_map(Packet::IHave),
            keys().prop_map(Packet::IWant),
            keys().prop_map(Packet::IDontWant),
            any::<u32>().prop_map(|seconds| Packet::Prune { seconds }),
            prop::collection::vec(range(), 0..10).prop_map(Packet::Compare),
            Just(Packet::Graft),
            Just(Packet::Choke),
            Just(Packet::Unchoke),
            Just(Packet::Alive),
        ]
    }

    proptest! {
        #[test]
        fn packets_read_back(packet in packet()) {
            prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(packet) = Packet::decode(&bytes) {
                prop_assert_eq!(packet.encode(), bytes, "there is one way to write a packet");
            }
        }
    }

    #[test]
    fn lists_are_bounded() {
        let many = Packet::IWant(vec![key([0; 32]); KEYS_MAX + 1]).encode();
        assert_eq!(Packet::decode(&many), Err(NoPacket));
        let content = Content::Fingerprint([0; 32]);
        let range = RangeSummary { from: key([0; 32]), to: None, content };
        let many = Packet::Compare(vec![range; RANGES_MAX + 1]).encode();
        assert_eq!(Packet::decode(&many), Err(NoPacket));
    }
}
