//! A new chunk: its parts to their holders, enough of them durable before anybody counts on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use cm_erasure::Code;
use cm_placement::{Held, Placing, Redundancy, Slot, is_promised};
use cm_types::{PeerId, Sha256Digest, Timestamp};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use super::admit::{Promises, counted, overtaken};
use super::call::CallError;
use super::keeping::Keeping;
use super::tables::Rounds;
use super::wire::{HaveItem, PutAnswer, PutHead};
use super::{Known, Network, Promise};
use crate::ObjectError;
use crate::chunks::Part;
use crate::tables::{ChunkRow, Chunks, IdleChunks, IdleRow};

/// How often a promise that was overtaken is renewed before the put fails.
const RENEWALS_MAX: usize = 3;
/// How many peers beyond those of the layout are asked whether they have a chunk already.
const SPARES_ASKED: usize = 2;

/// What became of a placing.
struct Placed {
    placing: Placing,
    /// Whether somebody said that it has no room.
    is_full: bool,
}

impl Network {
    /// Makes a chunk durable on its peers, in the form that was wished for, or in that which it has and which is as good.
    ///
    /// # Errors
    /// [`ObjectError::NotEnoughPeers`]; those of the tables.
    pub(crate) async fn store(
        &self,
        digest: Sha256Digest,
        bytes: Bytes,
        wish: Option<Keeping>,
    ) -> Result<Promise, ObjectError> {
        // Before anything is stored: what is condemned from now on is of a later round.
        let (mut round, row) = self
            .db
            .look_up(move |tx| {
                let rounds = tx.get::<Rounds>(&())?.unwrap_or_default();
                Ok::<_, ObjectError>((rounds.round, tx.get::<Chunks>(&digest)?))
            })
            .await?;
        if row.as_ref().is_some_and(|row| row.references == 0) {
            round = self.spare(digest).await?;
        }
        let known = self.known();
        let epoch = known.current().epoch().0;
        let seen = counted(row.as_ref());
        let (mut kept, mut redundancy) = (wish, self.redundancy(wish));
        if let Some(row) = row.filter(|row| row.references > 0) {
            let there = self.redundancy(row.kept);
            if there.tolerates() >= redundancy.tolerates() {
                (kept, redundancy) = (row.kept, there);
            }
            let promise = Promise { kept, seen, redundancy, round, epoch, is_short: false };
            if there == redundancy
                && let Some(promise) = self.promised(&known, digest, promise).await
            {
                return Ok(promise);
            }
        }
        let parts = self.cut(digest, bytes, redundancy).await?;
        let order = known.order(&digest);
        let mut placed = self.place(&order, digest, redundancy, &parts, round, |peer| self.is_up(peer)).await;
        if !placed.placing.is_promised() {
            // Then also whoever was slow a moment ago.
            placed = self.place(&order, digest, redundancy, &parts, round, |peer| self.is_linked(peer)).await;
        }
        let Placed { placing, is_full } = placed;
        if !placing.is_promised() {
            metrics::counter!("cm_storage_writes_refused_total").increment(1);
            let (durable, width) = (placing.durable(), redundancy.width());
            return Err(ObjectError::NotEnoughPeers { durable, width, is_full });
        }
        Ok(Promise { kept, seen, redundancy, round, epoch, is_short: placing.is_short() })
    }

    /// Begins the grace period of an idle chunk anew, since it is about to be counted again: otherwise it might be condemned this moment. The
    /// round of now.
    async fn spare(&self, digest: Sha256Digest) -> Result<u64, ObjectError> {
        let now: Timestamp = self.clock.now().into();
        self.db
            .write(move |tx| {
                if let Some(row) = tx.get::<Chunks>(&digest)?
                    && let Some(since) = row.idle_since
                {
                    tx.delete::<IdleChunks>(&(since, digest))?;
                    tx.put::<IdleChunks>(&(now, digest), &IdleRow {})?;
                    tx.put::<Chunks>(&digest, &ChunkRow { idle_since: Some(now), ..row })?;
                }
                Ok::<_, ObjectError>(tx.get::<Rounds>(&())?.unwrap_or_default().round)
            })
            .await
    }

    fn is_linked(&self, peer: &PeerId) -> bool {
        self.is_own(peer)
            || self.links.status(peer).is_some_and(|status| status.state == cm_net::LinkState::Up)
    }

    /// The bytes of each part.
    async fn cut(
        &self,
        digest: Sha256Digest,
        bytes: Bytes,
        redundancy: Redundancy,
    ) -> Result<Arc<Vec<Bytes>>, ObjectError> {
        let Ok(code) = Code::new(redundancy) else {
            return Ok(Arc::new(vec![bytes; redundancy.width()]));
        };
        let cut = self.tasks.spawn_blocking("chunk-cut", move || {
            let shards = code.encode(digest, &bytes).ok()?;
            Some(shards.iter().map(|shard| shard.encode().into()).collect::<Vec<Bytes>>())
        });
        // A chunk is shorter than what can be cut.
        cut.await.ok().flatten().map(Arc::new).ok_or(ObjectError::Lost)
    }

    async fn place(
        &self,
        order: &[PeerId],
        digest: Sha256Digest,
        redundancy: Redundancy,
        parts: &[Bytes],
        round: u64,
        is_up: impl Fn(&PeerId) -> bool,
    ) -> Placed {
        let (mut placing, slots) = Placing::begin(redundancy, order, is_up);
        let put = |slot: Slot| {
            let head = PutHead { digest, part: Part::of(redundancy, slot.part), round };
            let bytes = parts[slot.part].clone();
            async move {
                let answer = self.ask_put(&slot.peer, head, bytes).await;
                (slot, answer)
            }
        };
        let mut puts: FuturesUnordered<_> = slots.into_iter().map(put).collect();
        let (mut until, mut is_full, mut made_up) = (None::<Instant>, false, false);
        while !placing.is_over() {
            let next = match until {
                None => puts.next().await,
                Some(at) => match timeout_at(at, puts.next()).await {
                    Ok(next) => next,
                    Err(_) if !made_up => {
                        // Enough is durable, yet not all: what goes to whoever is slow goes to the next peer, too, if there is one.
                        made_up = true;
                        let slow = placing.under_way().to_vec();
                        self.were_slow(slow.iter().map(|slot| &slot.peer));
                        puts.extend(slow.iter().filter_map(|slot| placing.failed(slot)).map(put));
                        until = Some(self.no_later_than(&placing));
                        continue;
                    }
                    Err(_) => {
                        self.were_slow(placing.under_way().iter().map(|slot| &slot.peer));
                        break;
                    }
                },
            };
            let Some((slot, answer)) = next else { break };
            match answer {
                Ok(PutAnswer::Stored) => placing.stored(&slot),
                answer => {
                    is_full |= matches!(answer, Ok(PutAnswer::Full));
                    log_refusal(&slot, &answer);
                    if let Some(instead) = placing.failed(&slot) {
                        puts.push(put(instead));
                    }
                }
            }
            if until.is_none() && placing.is_promised() {
                until = Some(self.no_later_than(&placing));
            }
        }
        Placed { placing, is_full }
    }

    /// Until when those are waited for who have not answered, since enough is durable.
    fn no_later_than(&self, placing: &Placing) -> Instant {
        Instant::now() + self.patience(placing.under_way().iter().map(|slot| &slot.peer))
    }

    /// A promise about what peers have already, if they have enough of it.
    async fn promised(&self, known: &Known, digest: Sha256Digest, promise: Promise) -> Option<Promise> {
        let redundancy = promise.redundancy;
        let kept = keeping_of(redundancy);
        let order = known.order(&digest);
        let asked = order.iter().take(redundancy.width() + SPARES_ASKED).filter(|peer| self.is_up(peer));
        let mut waiting: BTreeSet<&PeerId> = asked.collect();
        let mut answers: FuturesUnordered<_> = waiting
            .iter()
            .map(|peer| {
                let (peer, item) = (*peer, HaveItem { digest, kept, round: Some(promise.round) });
                async move { (peer, self.ask_have_in(peer, vec![item], None, true).await) }
            })
            .collect();
        let (mut held, mut until, mut enough) = (BTreeMap::new(), None::<Instant>, None::<Promise>);
        while enough.is_none_or(|promise| promise.is_short) {
            let next = match until {
                None => answers.next().await,
                Some(at) => match timeout_at(at, answers.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        self.were_slow(waiting);
                        break;
                    }
                },
            };
            let Some((peer, answer)) = next else { break };
            waiting.remove(peer);
            if let Some(parts) = answer.ok().and_then(|mut all| all.pop()) {
                held.insert(peer, parts);
            }
            enough = self.enough(&order, &held, promise);
            if until.is_none() && enough.is_some() {
                until = Some(Instant::now() + self.patience(waiting.iter().copied()));
            }
        }
        enough
    }

    fn enough(
        &self,
        order: &[PeerId],
        held: &BTreeMap<&PeerId, Vec<Part>>,
        promise: Promise,
    ) -> Option<Promise> {
        let redundancy = promise.redundancy;
        let numbers = |parts: &Vec<Part>| parts.iter().map(|part| part.number()).collect();
        let all: Held = held.iter().map(|(peer, parts)| ((*peer).clone(), numbers(parts))).collect();
        let whole = order.iter().take(redundancy.width());
        let at_home = whole.clone().all(|peer| held.get(peer).is_some_and(|parts| !parts.is_empty()));
        let is_short = !at_home || whole.count() < redundancy.width();
        is_promised(redundancy, &all).then_some(Promise { is_short, ..promise })
    }

    /// Renews what was overtaken, so that the transaction which counts the chunks will take them.
    ///
    /// # Errors
    /// [`ObjectError::Overtaken`] if some of them are gone.
    pub(crate) async fn keep_promises(&self, promises: &mut Promises) -> Result<(), ObjectError> {
        for _ in 0..RENEWALS_MAX {
            let asked = promises.clone();
            let late = self.db.look_up(move |tx| overtaken(tx, &asked)).await?;
            if late.is_empty() {
                return Ok(());
            }
            self.renew(&late, promises).await?;
        }
        Err(ObjectError::Overtaken)
    }

    async fn renew(&self, late: &[Sha256Digest], promises: &mut Promises) -> Result<(), ObjectError> {
        // What this node sees must not be older than what overtook the promises.
        self.db.barrier().await?;
        let known = self.learn().await?;
        let round = known.rounds.round;
        let asked = late.to_vec();
        let rows = self.db.read(move |tx| Ok::<_, ObjectError>(tx.get_many::<Chunks>(&asked)?)).await?;
        let items = |promises: &Promises| -> Vec<HaveItem> {
            let item = |digest: &Sha256Digest| {
                let redundancy = promises.get(digest)?.redundancy;
                Some(HaveItem { digest: *digest, kept: keeping_of(redundancy), round: Some(round) })
            };
            late.iter().filter_map(item).collect()
        };
        let serving = known.current().peers().filter(|(_, peer)| peer.state.serves()).map(|(id, _)| id);
        let peers: Vec<&PeerId> = serving.filter(|peer| self.is_up(peer)).collect();
        let answers = join_all(peers.iter().map(|peer| {
            let items = items(promises);
            async move { Some((*peer, self.ask_have(peer, items).await.ok()?)) }
        }));
        let answers: Vec<_> = answers.await.into_iter().flatten().collect();
        for (at, digest) in late.iter().enumerate() {
            let held = answers
                .iter()
                .filter_map(|(peer, all)| Some((*peer, all.get(at)?.clone())))
                .filter(|(_, parts)| !parts.is_empty())
                .collect();
            let promise = promises.get(digest).copied().ok_or(ObjectError::Overtaken)?;
            let seen = counted(rows[at].as_ref());
            let promise = Promise { seen, round, epoch: known.current().epoch().0, ..promise };
            let renewed = self.enough(&known.order(digest), &held, promise).ok_or(ObjectError::Overtaken)?;
            promises.insert(*digest, Promise { is_short: true, ..renewed });
        }
        Ok(())
    }
}

/// A redundancy in the words of messages and rows.
pub(super) fn keeping_of(redundancy: Redundancy) -> Keeping {
    let byte = |count: usize| u8::try_from(count).expect("a redundancy has at most 64 holders");
    match redundancy.shards() {
        None => Keeping::Replicas(byte(redundancy.width())),
        Some((data, parity)) => Keeping::Erasure { data: byte(data), parity: byte(parity) },
    }
}

fn log_refusal(slot: &Slot, answer: &Result<PutAnswer, CallError>) {
    match answer {
        Ok(answer) => tracing::warn!(peer = %slot.peer, ?answer, "peer did not store a part"),
        Err(error) => tracing::debug!(peer = %slot.peer, %error, "peer did not store a part"),
    }
}
