//! What each peer does for itself: it deletes what was condemned, and looks through what it has for parts that nobody knows and
//! for parts that belong elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cm_db::{Direction, KeyRange};
use cm_placement::{Epoch, Held, Redundancy, is_surplus};
use cm_runtime::{WorkState, Worker};
use cm_types::{PeerId, Sha256Digest};
use futures::future::join_all;
use tokio::time::Instant;

use super::store::keeping_of;
use super::tables::{Condemnations, Condemned, ExtraCopies, Rounds, Swept, SweptRow};
use super::wire::{HaveItem, ITEMS_MAX};
use super::{Network, condemn};
use crate::ObjectError;
use crate::chunks::{Part, shard_of};
use crate::tables::Chunks;

/// How many condemnations are read at a time.
const BATCH: usize = 4096;
/// How many condemned chunks are deleted at a time: each time, the directories are listed.
const DELETED_AT_ONCE: usize = 65_536;
/// Parts without a row that are remembered from one look to the next; further ones wait for their turn.
const ORPHANS_MAX: usize = 65_536;

type Listed = Vec<(Sha256Digest, Part, u64)>;

/// A part that this peer has and is not to have, or perhaps not.
struct Elsewhere {
    digest: Sha256Digest,
    part: Part,
    /// Whether it is of the form that the chunk is kept in.
    fits: bool,
    redundancy: Redundancy,
    /// Who is to have the chunk.
    wanted: Vec<PeerId>,
    /// The round in which others are to promise theirs anew.
    round: Option<u64>,
}

impl Elsewhere {
    fn is_surplus(&self, held: &Held, own: &PeerId) -> bool {
        let number = self.fits.then(|| self.part.number());
        is_surplus(self.redundancy, &self.wanted, held, own, number)
    }
}

/// Runs [`Network::sweep`] after changes and every so often.
pub(super) struct Sweeper {
    network: Arc<Network>,
    orphans: Orphans,
    /// When everything is to be looked through again.
    tidy_at: Instant,
    epoch: u64,
}

/// Parts that no row knows, and since when this was seen.
#[derive(Debug, Default)]
pub(super) struct Orphans(HashMap<Sha256Digest, Instant>);

/// What looking through everything has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tidied {
    /// Parts deleted because all their holders have theirs.
    pub(super) dropped: u64,
    /// Parts that should be elsewhere and are not there yet.
    pub(super) misplaced: u64,
    /// Parts that no row knows and that were condemned.
    pub(super) orphans: u64,
}

impl Sweeper {
    pub(super) fn new(network: Arc<Network>) -> Self {
        Self { network, orphans: Orphans::default(), tidy_at: Instant::now(), epoch: 0 }
    }
}

impl Worker for Sweeper {
    type Error = ObjectError;

    fn name(&self) -> &'static str {
        "storage-sweep"
    }

    async fn work(&mut self) -> Result<WorkState, ObjectError> {
        let network = self.network.clone();
        network.delete_condemned().await?;
        network.tell_usage();
        let (now, epoch) = (Instant::now(), network.known().current().epoch().0);
        if now < self.tidy_at && self.epoch == epoch {
            return Ok(WorkState::Idle);
        }
        let tidied = network.tidy(&mut self.orphans).await?;
        // What must wait for others, or for its grace, is looked at again soon.
        let pending = tidied.misplaced > 0 || !self.orphans.0.is_empty();
        let soon = network.pace.look_every * 2;
        let pause = if pending { soon.min(network.pace.tidy_every) } else { network.pace.tidy_every };
        self.tidy_at = Instant::now() + pause;
        self.epoch = epoch;
        Ok(WorkState::Idle)
    }

    async fn wait_for_work(&mut self) {
        tokio::select! {
            () = self.network.sweeping.notified() => {}
            () = tokio::time::sleep(self.network.pace.look_every) => {}
        }
    }
}

impl Network {
    /// Deletes the parts of what was condemned since the last time, unless they were promised since.
    pub(super) async fn delete_condemned(&self) -> Result<(), ObjectError> {
        let own = self.own.to_string();
        let key = own.clone();
        let (rounds, swept) = self
            .db
            .look_up(move |tx| {
                let rounds = tx.get::<Rounds>(&())?.unwrap_or_default();
                Ok::<_, ObjectError>((rounds, tx.get::<Swept>(&key)?.map_or(0, |row| row.round)))
            })
            .await?;
        if rounds.round == swept {
            return Ok(());
        }
        // Of what came before the floor nothing is known any more; those parts have no row and are found as orphans.
        let first = (swept.max(rounds.floor.saturating_sub(1)) + 1, Sha256Digest::from_bytes([0; 32]));
        let mut range = KeyRange::of(first..);
        let mut condemned = BTreeMap::new();
        loop {
            let page = range.clone();
            let rows = self
                .db
                .read(move |tx| {
                    Ok::<_, ObjectError>(tx.range::<Condemnations>(page, Direction::Forward, BATCH)?)
                })
                .await?;
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            condemned.extend(rows.into_iter().map(|((round, digest), _)| (digest, round)));
            if condemned.len() >= DELETED_AT_ONCE {
                self.delete_parts(std::mem::take(&mut condemned)).await?;
            }
        }
        self.delete_parts(condemned).await?;
        let round = rounds.round;
        self.db
            .write(move |tx| {
                let row = tx.get::<Swept>(&own)?.unwrap_or_default();
                Ok::<_, ObjectError>(tx.put::<Swept>(&own, &SweptRow { round, ..row })?)
            })
            .await
    }

    /// Says how much this peer keeps, once that was counted.
    fn tell_usage(&self) {
        if self.usage.counted.load(Ordering::Relaxed) {
            let (parts, bytes) = self.chunks.counted();
            metrics::gauge!("cm_storage_parts").set(parts as f64);
            metrics::gauge!("cm_storage_bytes").set(bytes as f64);
        }
    }

    async fn delete_parts(&self, condemned: BTreeMap<Sha256Digest, u64>) -> Result<(), ObjectError> {
        let directories: BTreeSet<u8> = condemned.keys().map(shard_of).collect();
        let condemned = Arc::new(condemned);
        for directory in directories {
            if self.tasks.token().is_cancelled() {
                return Err(ObjectError::Lost);
            }
            let (chunks, condemned) = (self.chunks.clone(), condemned.clone());
            let deleted = self.tasks.spawn_blocking("part-remove", move || {
                let mut parts = 0;
                for (digest, part) in chunks.part_names(directory)? {
                    let Some(round) = condemned.get(&digest) else { continue };
                    let freed = chunks.remove_before(&digest, part, *round)?;
                    parts += u64::from(freed.is_some());
                }
                Ok::<_, ObjectError>(parts)
            });
            let parts: u64 = deleted.await.map_err(|_| ObjectError::Lost)??;
            metrics::counter!("cm_storage_parts_deleted_total").increment(parts);
        }
        Ok(())
    }

    /// Looks through all that this peer has.
    pub(super) async fn tidy(&self, orphans: &mut Orphans) -> Result<Tidied, ObjectError> {
        let epoch = self.learn().await?.current().epoch();
        let mut tidied = Tidied::default();
        for directory in 0..=u8::MAX {
            if self.tasks.token().is_cancelled() {
                return Ok(tidied);
            }
            let chunks = self.chunks.clone();
            let listed = self.tasks.spawn_blocking("part-list", move || chunks.count_parts(directory));
            let mut listed = listed.await.map_err(|_| ObjectError::Lost)??;
            listed.sort_unstable();
            for batch in listed.chunks(ITEMS_MAX) {
                self.tidy_batch(batch.to_vec(), orphans, &mut tidied).await?;
            }
        }
        let usage = &self.usage;
        usage.counted.store(true, Ordering::Relaxed);
        self.tell_usage();
        if tidied.misplaced == 0 && self.known().current().epoch() == epoch {
            usage.tidy_in.store(epoch.0 + 1, Ordering::Relaxed);
        }
        Ok(tidied)
    }

    pub(super) async fn tidy_batch(
        &self,
        batch: Listed,
        orphans: &mut Orphans,
        tidied: &mut Tidied,
    ) -> Result<(), ObjectError> {
        self.db.barrier().await?;
        // Not by the layout of when this began: that may be long ago.
        let known = self.learn().await?;
        let epoch = known.current().epoch();
        let digests: Vec<Sha256Digest> = batch.iter().map(|(digest, _, _)| *digest).collect();
        let asked = digests.clone();
        let (rows, round, condemned, extra) = self
            .db
            .read(move |tx| {
                let rows = tx.get_many::<Chunks>(&asked)?;
                let round = tx.get::<Rounds>(&())?.unwrap_or_default().round;
                let extra = tx.get_many::<ExtraCopies>(&asked)?;
                Ok::<_, ObjectError>((rows, round, tx.get_many::<Condemned>(&asked)?, extra))
            })
            .await?;
        let mut unknown = Vec::new();
        let mut elsewhere = Vec::new();
        for (((entry, row), condemned), extra) in batch.into_iter().zip(rows).zip(condemned).zip(extra) {
            let (digest, part, _) = entry;
            // What lies in the cold tier is to lie nowhere else.
            let Some(row) = row.filter(|row| row.cold.is_none()) else {
                unknown.push(digest);
                continue;
            };
            orphans.0.remove(&digest);
            if part == Part::Whole && extra.is_some_and(|extra| extra.peers.contains(&self.own)) {
                continue;
            }
            let redundancy = self.redundancy(row.kept);
            let order = known.order(&digest);
            let wanted: Vec<PeerId> = order.into_iter().take(redundancy.width()).collect();
            let fits = Part::all(redundancy).any(|one| one == part);
            // Of several parts some may be too many though this peer is wanted.
            let is_alone = digests.iter().filter(|other| **other == digest).count() == 1;
            if row.references == 0 || (fits && is_alone && wanted.contains(&self.own)) {
                continue;
            }
            // Whatever may be about to be deleted where it is wanted is promised anew before this part goes.
            let round = condemned.map(|_| round);
            elsewhere.push(Elsewhere { digest, part, fits, redundancy, wanted, round });
        }
        self.condemn_orphans(unknown, orphans, tidied).await?;
        if elsewhere.is_empty() {
            return Ok(());
        }
        let held = self.held_where_wanted(&elsewhere, epoch, false).await;
        let mut surplus = Vec::new();
        for (one, held) in elsewhere.into_iter().zip(held) {
            if one.is_surplus(&held, &self.own) {
                surplus.push(one);
            } else {
                self.note_misplaced(&one, tidied);
            }
        }
        // Before the own part goes, the others are read: their names alone say nothing of their bytes.
        let read = self.held_where_wanted(&surplus, epoch, true).await;
        let (surplus, damaged): (Vec<_>, Vec<_>) =
            surplus.into_iter().zip(read).partition(|(one, held)| one.is_surplus(held, &self.own));
        for (one, _) in damaged {
            self.note_misplaced(&one, tidied);
        }
        self.db.barrier().await?;
        if self.learn().await?.current().epoch() != epoch {
            // Others may be wanted by now, or this peer again: looked at anew by the new layout.
            tidied.misplaced += surplus.len() as u64;
            return Ok(());
        }
        tidied.dropped += surplus.len() as u64;
        let chunks = self.chunks.clone();
        let dropped = self.tasks.spawn_blocking("part-remove", move || {
            for (Elsewhere { digest, part, .. }, _) in surplus {
                chunks.remove_before(&digest, part, u64::MAX)?;
            }
            Ok::<_, ObjectError>(())
        });
        dropped.await.map_err(|_| ObjectError::Lost)?
    }

    fn note_misplaced(&self, one: &Elsewhere, tidied: &mut Tidied) {
        if !(one.fits && one.wanted.contains(&self.own)) {
            tidied.misplaced += 1;
            self.found_short(one.digest);
        }
    }

    /// Which parts of each the wanted holders have that go by the same layout; sound ones, if they are to be read.
    async fn held_where_wanted(&self, all: &[Elsewhere], epoch: Epoch, is_relied_on: bool) -> Vec<Held> {
        let peers: BTreeSet<&PeerId> = all.iter().flat_map(|one| &one.wanted).collect();
        let answers = join_all(peers.into_iter().map(|peer| {
            let mine: Vec<&Elsewhere> = all.iter().filter(|one| one.wanted.contains(peer)).collect();
            let items = mine.iter().map(|one| HaveItem {
                digest: one.digest,
                kept: keeping_of(one.redundancy),
                round: one.round,
            });
            let items: Vec<HaveItem> = items.collect();
            let digests: Vec<Sha256Digest> = mine.iter().map(|one| one.digest).collect();
            async move {
                let parts = self.ask_have_in(peer, items, Some(epoch.0), is_relied_on).await.ok()?;
                Some((peer, digests.into_iter().zip(parts).collect::<HashMap<_, _>>()))
            }
        }));
        let answers: Vec<_> = answers.await.into_iter().flatten().collect();
        let held = |one: &Elsewhere| {
            let found =
                answers.iter().filter_map(|(peer, parts)| Some(((*peer).clone(), parts.get(&one.digest)?)));
            found.map(|(peer, parts)| (peer, parts.iter().map(|part| part.number()).collect())).collect()
        };
        all.iter().map(held).collect()
    }

    /// Condemns what has had no row for the grace period: whoever is just writing it counts it before that, or promises it anew.
    async fn condemn_orphans(
        &self,
        unknown: Vec<Sha256Digest>,
        orphans: &mut Orphans,
        tidied: &mut Tidied,
    ) -> Result<(), ObjectError> {
        let mut ripe = Vec::new();
        for digest in unknown {
            match orphans.0.get(&digest) {
                Some(since) if since.elapsed() >= self.orphan_grace => {
                    orphans.0.remove(&digest);
                    ripe.push(digest);
                }
                Some(_) => {}
                None if orphans.0.len() < ORPHANS_MAX => {
                    orphans.0.insert(digest, Instant::now());
                }
                None => {}
            }
        }
        if ripe.is_empty() {
            return Ok(());
        }
        let condemned = condemn_unknown(self, ripe).await?;
        tidied.orphans += condemned;
        self.sweep_soon();
        Ok(())
    }
}

/// Condemns those of the chunks that have no row, or lie in the cold tier. How many.
pub(crate) async fn condemn_unknown(
    network: &Network,
    digests: Vec<Sha256Digest>,
) -> Result<u64, ObjectError> {
    let now = network.clock.now().into();
    network
        .db
        .write(move |tx| {
            let rows = tx.get_many::<Chunks>(&digests)?;
            let unknown = digests
                .into_iter()
                .zip(rows)
                .filter(|(_, row)| row.as_ref().is_none_or(|row| row.cold.is_some()));
            let unknown: Vec<Sha256Digest> = unknown.map(|(digest, _)| digest).collect();
            condemn(tx, &unknown, now)?;
            Ok(unknown.len() as u64)
        })
        .await
}
