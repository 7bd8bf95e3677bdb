//! What peers ask each other about parts of chunks.
//!
//! A message is a head in JSON behind its length (4 bytes, big-endian), and the bytes of parts behind it.

use bytes::{BufMut, Bytes, BytesMut};
use cm_net::Kind;
use cm_types::{BucketName, ObjectKey, PeerId, Sha256Digest, TenantId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::chunks::Part;
use crate::network::keeping::Keeping;

/// Keep these bytes.
pub(crate) const PUT: Kind = Kind::new("chunk.put");
/// Give me what you have of this chunk.
pub(crate) const GET: Kind = Kind::new("chunk.get");
/// Do you have these?
pub(crate) const HAVE: Kind = Kind::new("chunk.have");
/// Get this for yourself from others.
pub(crate) const PULL: Kind = Kind::new("chunk.pull");
/// Does anybody read or write these versions at your place?
pub(crate) const LEASED: Kind = Kind::new("chunk.leased");
/// How much do you have?
pub(crate) const STATISTICS: Kind = Kind::new("chunk.statistics");

/// What is read most at your place?
pub(crate) const HEAT: Kind = Kind::new("chunk.heat");
/// How often were these objects read at your place?
pub(crate) const READINGS: Kind = Kind::new("chunk.readings");
/// Delete what you have of these and what belongs elsewhere.
pub(crate) const DROP: Kind = Kind::new("chunk.drop");

/// Longest head.
pub(crate) const HEAD_LEN_MAX: usize = 256 * 1024;
/// How many things one question is about at most; with their names they fit into a head.
pub(crate) const ITEMS_MAX: usize = 512;
/// How many parts an answer may name at most; so many fit into a head.
pub(crate) const PARTS_NAMED_MAX: usize = 4096;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PutHead {
    pub(crate) digest: Sha256Digest,
    pub(crate) part: Part,
    pub(crate) round: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PutAnswer {
    /// It is durable.
    Stored,
    /// There is no room for it.
    Full,
    /// What arrived is not what it says.
    Damaged,
    /// It could not be written.
    Failed,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GetHead {
    pub(crate) digest: Sha256Digest,
    /// Which will do.
    pub(crate) parts: Vec<Part>,
}

/// The parts that follow, with their lengths.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GetAnswer {
    pub(crate) parts: Vec<(Part, u32)>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HaveHead {
    pub(crate) items: Vec<HaveItem>,
    /// Whoever asks is going to drop its own parts: only a peer that goes by the same layout may say that it has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<u64>,
    /// Whoever asks relies on what is there: it is read first, and what is damaged does not count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_relied_on: bool,
}

impl HaveItem {
    /// How many of the items, the first ones, may be asked about at once: the longest answer still fits into a head.
    pub(crate) fn page(items: &[Self]) -> usize {
        let mut parts = 0;
        let named = items.iter().take(ITEMS_MAX).take_while(|item| {
            parts += item.kept.redundancy().map_or(1, |redundancy| Part::all(redundancy).count());
            parts <= PARTS_NAMED_MAX
        });
        named.count().max(1)
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HaveItem {
    pub(crate) digest: Sha256Digest,
    /// In which form.
    pub(crate) kept: Keeping,
    /// Promise what you have in this round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) round: Option<u64>,
}

/// Which parts are there, in the order of the items.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HaveAnswer {
    pub(crate) parts: Vec<Vec<Part>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PullHead {
    pub(crate) digest: Sha256Digest,
    pub(crate) part: Part,
    pub(crate) round: u64,
    /// Who has the part as it is; of shards, nobody: then it is made anew.
    pub(crate) from: Vec<PeerId>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LeasedHead {
    pub(crate) versions: Vec<Uuid>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LeasedAnswer {
    pub(crate) leased: Vec<Uuid>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatisticsAnswer {
    pub(crate) parts: u64,
    pub(crate) bytes: u64,
    /// Whether everything was counted since the start.
    pub(crate) counted: bool,
    /// Parts that were found damaged since the start.
    pub(crate) damaged: u64,
    /// The epoch that the peer goes by.
    pub(crate) epoch: u64,
    /// The epoch in which it last looked through all that it has, and found nothing that should be elsewhere.
    #[serde(default)]
    pub(crate) tidy_in: Option<u64>,
}

/// How many chunks and buckets an answer about heat names at most; with their names they fit into a head.
pub(crate) const HOT_MAX: usize = 1024;
pub(crate) const HOT_BUCKETS_MAX: usize = 256;
/// How many objects are asked about at once; with their names they fit into a head.
pub(crate) const NAMES_MAX: usize = 64;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeatAnswer {
    pub(crate) buckets: Vec<(TenantId, BucketName)>,
    /// The hottest first.
    pub(crate) chunks: Vec<HotItem>,
    /// How often objects are opened, per second.
    pub(crate) per_second: f64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HotItem {
    pub(crate) digest: Sha256Digest,
    /// Which of the buckets it is read in.
    pub(crate) bucket: u16,
    pub(crate) per_second: f64,
    /// How long one read takes.
    pub(crate) service_micros: u64,
    pub(crate) len: u32,
}

/// No peer is believed to be read faster, in events per second: far beyond what any does, and far from where sums end.
const RATE_MAX: f64 = 1e9;
/// No read is believed to take longer; peers count none as longer.
const SERVICE_MICROS_MAX: u64 = 500_000;

/// A rate as a peer tells it, within what can be.
pub(crate) fn believed(rate: f64) -> f64 {
    // What is no number is nothing.
    if rate > 0.0 { rate.min(RATE_MAX) } else { 0.0 }
}

impl HeatAnswer {
    /// The answer within what can be.
    pub(crate) fn believed(mut self) -> Self {
        self.per_second = believed(self.per_second);
        for item in &mut self.chunks {
            item.per_second = believed(item.per_second);
            item.service_micros = item.service_micros.min(SERVICE_MICROS_MAX);
        }
        self
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReadingsHead {
    pub(crate) tenant: TenantId,
    pub(crate) bucket: BucketName,
    pub(crate) keys: Vec<ObjectKey>,
}

/// How often each was opened, and how often per second now.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReadingsAnswer {
    pub(crate) counts: Vec<(u64, f64)>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DropHead {
    pub(crate) digests: Vec<Sha256Digest>,
}

/// Head and bytes as one message.
pub(crate) fn join(head: &impl Serialize, bytes: &[&[u8]]) -> Bytes {
    let head = serde_json::to_vec(head).expect("heads are plain structs with texts and numbers");
    let len = bytes.iter().map(|bytes| bytes.len()).sum::<usize>();
    let mut message = BytesMut::with_capacity(4 + head.len() + len);
    message.put_u32(u32::try_from(head.len()).unwrap_or(u32::MAX));
    message.put_slice(&head);
    for bytes in bytes {
        message.put_slice(bytes);
    }
    message.freeze()
}

/// Takes the head off a message; `None` if there is none.
pub(crate) fn split<T: DeserializeOwned>(mut message: Bytes) -> Option<(T, Bytes)> {
    let (len, _) = message.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    if len > HEAD_LEN_MAX || message.len() < 4 + len {
        return None;
    }
    let rest = message.split_off(4 + len);
    Some((serde_json::from_slice(&message[4..]).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use cm_crypto::digest::sha256;
    use cm_placement::Redundancy;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_question_fits() {
        let kept = Keeping::Erasure { data: 32, parity: 32 };
        let item = || HaveItem { digest: sha256(b"x"), kept, round: Some(u64::MAX) };
        let head = HaveHead {
            items: (0..ITEMS_MAX).map(|_| item()).collect(),
            epoch: Some(u64::MAX),
            is_relied_on: true,
        };
        assert!(join(&head, &[]).len() < HEAD_LEN_MAX, "{}", join(&head, &[]).len());
    }

    #[test]
    fn a_full_answer_fits() {
        let kept = Keeping::Erasure { data: 32, parity: 32 };
        let item = |_| HaveItem { digest: sha256(b"x"), kept, round: None };
        let items: Vec<HaveItem> = (0..ITEMS_MAX).map(item).collect();
        let all = |item: &HaveItem| Part::all(item.kept.redundancy().unwrap()).collect();
        let answer = HaveAnswer { parts: items[..HaveItem::page(&items)].iter().map(all).collect() };
        assert_eq!(answer.parts.len(), 64);
        assert!(join(&answer, &[]).len() < HEAD_LEN_MAX, "{}", join(&answer, &[]).len());
    }

    #[test]
    fn what_is_hot_and_is_asked_about_fits() {
        let name = |n: usize| {
            (TenantId::parse(format!("{n:0>64}")).unwrap(), BucketName::parse(format!("{n:0>63}")).unwrap())
        };
        let item = |_| HotItem {
            digest: sha256(b"x"),
            bucket: 255,
            per_second: -1.234_567_890_123_456_7e-300,
            service_micros: 500_000,
            len: u32::MAX,
        };
        let answer = HeatAnswer {
            buckets: (0..HOT_BUCKETS_MAX).map(name).collect(),
            chunks: (0..HOT_MAX).map(item).collect(),
            per_second: 1e-300,
        };
        assert!(join(&answer, &[]).len() < HEAD_LEN_MAX, "{}", join(&answer, &[]).len());
        let (tenant, bucket) = name(1);
        // Every character of it is written as two.
        let key = ObjectKey::parse("\"".repeat(1024)).unwrap();
        let head = ReadingsHead { tenant, bucket, keys: vec![key; NAMES_MAX] };
        assert!(join(&head, &[]).len() < HEAD_LEN_MAX, "{}", join(&head, &[]).len());
    }

    #[test]
    fn rates_that_cannot_be_are_not_believed() {
        for (told, taken) in
            [(1e308, RATE_MAX), (f64::INFINITY, RATE_MAX), (f64::NAN, 0.0), (-1.0, 0.0), (2.5, 2.5)]
        {
            assert_eq!(believed(told), taken, "{told}");
        }
        let item =
            HotItem { digest: sha256(b"x"), bucket: 0, per_second: 1e308, service_micros: u64::MAX, len: 1 };
        let answer = HeatAnswer { buckets: vec![], chunks: vec![item], per_second: 1e308 }.believed();
        let [item] = answer.chunks.as_slice() else { panic!("{answer:?}") };
        assert_eq!((answer.per_second, item.per_second, item.service_micros), (RATE_MAX, RATE_MAX, 500_000));
    }

    proptest! {
        #[test]
        fn heads_read_back_and_any_bytes_are_read_or_refused(
            round: u64,
            number in 0_u8..5,
            body in prop::collection::vec(any::<u8>(), 0..100),
            noise in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let part = Part::of(Redundancy::erasure(3, 2).unwrap(), number.into());
            let head = PutHead { digest: sha256(&body), part, round };
            let (found, bytes) = split::<PutHead>(join(&head, &[&body[..1.min(body.len())], &body[1.min(body.len())..]])).unwrap();
            prop_assert_eq!((found, &bytes[..]), (head, &body[..]));
            let _ = split::<PutHead>(noise.into());
        }
    }
}
