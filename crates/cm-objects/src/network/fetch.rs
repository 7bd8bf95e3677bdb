//! A chunk, wherever it is.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cm_crypto::digest::sha256;
use cm_crypto::secret::random_bytes;
use cm_erasure::{Code, Shard};
use cm_placement::Redundancy;
use cm_placement::elastic::two_choices;
use cm_types::{PeerId, Sha256Digest};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::Network;
use super::tables::ExtraCopies;
use super::wire::GetHead;
use crate::chunks::Part;
use crate::cold::tables::ColdMark;
use crate::tables::Chunks;
use crate::{Flaw, ObjectError};

/// What was found about a chunk.
#[derive(Debug)]
pub(crate) enum Found {
    /// Its bytes, verified.
    Bytes(Bytes),
    /// Everybody was asked, and too few have anything of it.
    Flaw(Flaw),
    /// Too few have answered to say so.
    Unreachable,
    /// It lies in the cold tier.
    Cold(ColdMark),
}

/// The answers to one search.
#[derive(Default)]
struct Search {
    shards: BTreeMap<usize, Shard>,
    /// Peers that have nothing of it.
    without: BTreeSet<PeerId>,
    /// Peers that did not answer.
    silent: usize,
}

impl Network {
    /// The bytes of a chunk.
    ///
    /// # Errors
    /// Those of the tables. What is wrong with the chunk is no error here.
    pub(crate) async fn fetch(&self, digest: Sha256Digest) -> Result<Found, ObjectError> {
        let chunks = self.chunks.clone();
        let local =
            self.tasks.spawn_blocking("part-read", move || chunks.read_part(&digest, Part::Whole)).await;
        match local.map_err(|_| ObjectError::Lost)? {
            Ok(bytes) => return Ok(Found::Bytes(bytes)),
            Err(Flaw::Missing) => {}
            Err(_) => self.damaged(digest, Part::Whole).await,
        }
        let looked = self.db.look_up(move |tx| {
            Ok::<_, ObjectError>((tx.get::<Chunks>(&digest)?, tx.get::<ExtraCopies>(&digest)?))
        });
        let (row, extra) = looked.await?;
        if let Some(mark) = row.as_ref().and_then(|row| row.cold.clone()) {
            return Ok(Found::Cold(mark));
        }
        let redundancy = self.redundancy(row.and_then(|row| row.kept));
        let mut extra = extra.map(|extra| extra.peers).unwrap_or_default();
        extra.retain(|peer| !self.is_own(peer) && self.is_up(peer));
        if redundancy.shards().is_some()
            && let Some(bytes) = self.fetch_extra(digest, &extra).await
        {
            return Ok(Found::Bytes(bytes));
        }
        let found = self.search(digest, redundancy, &extra).await;
        if matches!(found, Found::Bytes(_)) || redundancy.shards().is_none() {
            return Ok(found);
        }
        // It may have been kept otherwise before.
        let whole = Redundancy::replicas(redundancy.width()).expect("as wide as another redundancy");
        match self.search(digest, whole, &[]).await {
            Found::Bytes(bytes) => Ok(Found::Bytes(bytes)),
            Found::Flaw(_) | Found::Unreachable | Found::Cold(_) => Ok(found),
        }
    }

    /// The bytes of a chunk that is kept in shards, from one of those who have all of it besides: one answer is enough then, if
    /// it comes soon.
    async fn fetch_extra(&self, digest: Sha256Digest, extra: &[PeerId]) -> Option<Bytes> {
        let random = u64::from_be_bytes(random_bytes::<8>());
        let peer = two_choices(extra, random, |peer| self.under_way(peer))?;
        let head = GetHead { digest, parts: vec![Part::Whole] };
        let _flight = self.flight(peer, crate::CHUNK_BYTES);
        let answer = tokio::time::timeout(self.pace.hedge_after, self.ask_get(peer, &head)).await;
        let parts = answer.ok()?.ok()?;
        let whole = Redundancy::replicas(1).expect("one copy is a redundancy");
        match self.take(digest, whole, parts, &mut Search::default()).await {
            Taken::Chunk(bytes) => Some(bytes),
            Taken::Something | Taken::Nothing => None,
        }
    }

    /// Asks holders, more of them whenever one has nothing or takes long.
    async fn search(&self, digest: Sha256Digest, redundancy: Redundancy, extra: &[PeerId]) -> Found {
        let known = self.known();
        let width = redundancy.width();
        let mut peers = known.readers(&digest, width);
        if redundancy.shards().is_none() {
            // As good as holders, and behind them if all are equal.
            peers.retain(|peer| !extra.contains(peer));
            let at = width.min(peers.len());
            peers.splice(at..at, extra.iter().cloned());
        }
        // Whoever is down is asked last: it may have come back this moment.
        peers.sort_by_key(|peer| !self.is_up(peer));
        let home: BTreeSet<PeerId> = known.order(&digest).into_iter().take(width).collect();
        if redundancy.shards().is_none() {
            self.prefer(&mut peers, width + extra.len());
        } else {
            let at = width.min(peers.len());
            peers[..at].sort_by_key(|peer| (!self.is_up(peer), self.slow.has(peer)));
        }
        let parts: Vec<Part> = Part::all(redundancy).collect();
        let ask = |peer: PeerId| {
            let head = GetHead { digest, parts: parts.clone() };
            async move {
                let _flight = self.flight(&peer, crate::CHUNK_BYTES / redundancy.needed());
                let answer = self.ask_get(&peer, &head).await;
                (peer, answer)
            }
        };
        let mut search = Search::default();
        let mut peers = peers.into_iter();
        let first: Vec<PeerId> = peers.by_ref().take(redundancy.needed()).collect();
        let mut waiting: BTreeSet<PeerId> = first.iter().cloned().collect();
        let mut asked: FuturesUnordered<_> = first.into_iter().map(ask).collect();
        while !asked.is_empty() {
            let hedge = tokio::time::sleep(self.pace.hedge_after);
            let (peer, answer) = tokio::select! {
                answered = asked.next() => match answered {
                    Some(answered) => answered,
                    None => break,
                },
                () = hedge, if peers.len() > 0 => {
                    metrics::counter!("cm_storage_reads_hedged_total").increment(1);
                    self.were_slow(&waiting);
                    if let Some(peer) = peers.next() {
                        waiting.insert(peer.clone());
                        asked.push(ask(peer));
                    }
                    continue;
                }
            };
            waiting.remove(&peer);
            let usable = match answer {
                Ok(parts) => self.take(digest, redundancy, parts, &mut search).await,
                Err(error) => {
                    tracing::debug!(%peer, %error, "peer did not send a part");
                    search.silent += 1;
                    Taken::Nothing
                }
            };
            match usable {
                Taken::Chunk(bytes) => {
                    if search.without.iter().any(|peer| home.contains(peer)) {
                        self.found_short(digest);
                    }
                    return Found::Bytes(bytes);
                }
                Taken::Something => {}
                Taken::Nothing => {
                    search.without.insert(peer);
                }
            }
            if (asked.len() + search.shards.len() < redundancy.needed() || asked.is_empty())
                && let Some(peer) = peers.next()
            {
                waiting.insert(peer.clone());
                asked.push(ask(peer));
            }
        }
        match search.silent {
            0 => Found::Flaw(Flaw::Missing),
            _ => Found::Unreachable,
        }
    }

    /// Puts the less busy of two random holders first.
    fn prefer(&self, peers: &mut [PeerId], width: usize) {
        let up = peers.iter().take(width).take_while(|peer| self.is_up(peer)).count();
        let random = u64::from_be_bytes(random_bytes::<8>());
        let chosen = two_choices(&peers[..up], random, |peer| match self.slow.has(peer) {
            true => u64::MAX,
            false => self.under_way(peer),
        });
        let chosen = chosen.cloned();
        if let Some(at) = chosen.and_then(|chosen| peers.iter().position(|peer| *peer == chosen)) {
            peers[..=at].rotate_right(1);
        }
    }

    async fn take(
        &self,
        digest: Sha256Digest,
        redundancy: Redundancy,
        parts: Vec<(Part, Bytes)>,
        search: &mut Search,
    ) -> Taken {
        let Ok(code) = Code::new(redundancy) else {
            let Some((_, bytes)) = parts.into_iter().next() else { return Taken::Nothing };
            let verified =
                self.tasks.spawn_blocking("part-verify", move || (sha256(&bytes) == digest).then_some(bytes));
            return match verified.await {
                Ok(Some(bytes)) => Taken::Chunk(bytes),
                Ok(None) | Err(_) => Taken::Nothing,
            };
        };
        let before = search.shards.len();
        let given = std::mem::take(&mut search.shards);
        let joined = self.tasks.spawn_blocking("chunk-join", move || {
            let mut shards = given;
            for (_, bytes) in parts {
                if let Ok(shard) = Shard::decode(&bytes)
                    && *shard.chunk() == digest
                {
                    shards.entry(shard.number()).or_insert(shard);
                }
            }
            // Whoever lies about the length keeps nobody from the chunk.
            let lens: BTreeSet<usize> = shards.values().map(Shard::chunk_len).collect();
            let all: Vec<Shard> = shards.values().cloned().collect();
            let decoded = lens.into_iter().find_map(|len| code.decode(&digest, len, &all).ok());
            (shards, decoded.map(|decoded| Bytes::from(decoded.bytes)))
        });
        let Ok((shards, chunk)) = joined.await else { return Taken::Nothing };
        search.shards = shards;
        match chunk {
            Some(bytes) => Taken::Chunk(bytes),
            None if search.shards.len() > before => Taken::Something,
            None => Taken::Nothing,
        }
    }

    /// The bytes of one part, from who has it as it is, or made of the chunk. Whoever keeps it verifies it.
    pub(super) async fn gather(&self, digest: &Sha256Digest, part: Part, from: &[PeerId]) -> Option<Bytes> {
        let mut others: Vec<&PeerId> = from.iter().filter(|peer| !self.is_own(peer)).collect();
        others.sort_by_key(|peer| (!self.is_up(peer), self.under_way(peer)));
        for peer in others {
            let head = GetHead { digest: *digest, parts: vec![part] };
            let _flight = self.flight(peer, crate::CHUNK_BYTES);
            let Ok(parts) = self.ask_get(peer, &head).await else { continue };
            if let Some((_, bytes)) = parts.into_iter().next() {
                return Some(bytes);
            }
        }
        let Found::Bytes(bytes) = self.fetch(*digest).await.ok()? else { return None };
        let Part::Shard { data, parity, number } = part else { return Some(bytes) };
        let code = Code::new(Redundancy::erasure(data.into(), parity.into()).ok()?).ok()?;
        let digest = *digest;
        let cut = self.tasks.spawn_blocking("chunk-cut", move || {
            let mut shards = code.encode(digest, &bytes).ok()?;
            (usize::from(number) < shards.len()).then(|| shards.swap_remove(number.into()).encode().into())
        });
        cut.await.ok().flatten()
    }
}

/// What an answer was good for.
enum Taken {
    /// The chunk is complete.
    Chunk(Bytes),
    /// It brought something.
    Something,
    Nothing,
}
