//! Finding cold chunks, moving them, and deleting what the service need not have any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cm_db::{Direction, KeyPrefix, KeyRange};
use cm_runtime::{WorkState, Worker};
use cm_types::{Sha256Digest, Timestamp};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use uuid::Uuid;

use super::Cold;
use super::settings::{ColdBucket, cold_buckets};
use super::store::Kept;
use super::tables::{ChunkUses, ColdMark, ColdObjectRow, ColdObjects, ColdState, ColdTiers, UseRow, count};
use crate::network::tables::{Rounds, Short};
use crate::network::{Found, condemn};
use crate::objects::{Engine, info};
use crate::packing::Placed;
use crate::rows::{ObjectRow, VersionRow};
use crate::tables::{ChunkRow, Chunks, Manifests, ObjectRows, SEGMENT_BYTES, VersionKey, Versions};
use crate::{ObjectError, Objects};

/// Rows that are looked at in one transaction.
const BATCH: usize = 256;
/// Chunks that are considered at once; of more, those with the next digests come after them.
const CANDIDATES_MAX: usize = if cfg!(test) { 4 } else { 262_144 };
/// Chunks whose move is noted in one transaction.
const MOVED_AT_ONCE: usize = if cfg!(test) { 3 } else { 16 };
/// Chunks on their way at once.
const COPIES_MAX: usize = 4;
/// How long uses wait at most to be noted.
const USES_WAIT_MAX: Duration = Duration::from_secs(60);
/// Uses of a chunk are noted so often in a day.
const USES_PER_DAY: u32 = 24;

/// What was done for the cold tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tended {
    /// Chunks that were moved there.
    pub moved: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Names there that were deleted.
    pub deleted: u64,
}

/// What is known of a chunk that may be cold.
#[derive(Clone, Copy, Debug)]
struct Mention {
    /// How often versions name it that are old enough.
    count: u64,
    len: u32,
}

/// The chunks that one look considers: those with the lowest digests after `from`.
#[derive(Debug, Default)]
struct Candidates {
    from: Option<Sha256Digest>,
    found: BTreeMap<Sha256Digest, Mention>,
    /// What is not below it is for the next look.
    bound: Option<Sha256Digest>,
}

impl Candidates {
    fn takes(&self, digest: &Sha256Digest) -> bool {
        self.from.is_none_or(|from| *digest > from) && self.bound.is_none_or(|bound| *digest < bound)
    }

    /// One more mention. Whatever is in `found` has had all its mentions counted: the bound only sinks.
    fn add(&mut self, digest: Sha256Digest, len: u32) {
        if !self.takes(&digest) {
            return;
        }
        let mention = self.found.entry(digest).or_insert(Mention { count: 0, len });
        mention.count += 1;
        if self.found.len() > CANDIDATES_MAX {
            self.bound = self.found.pop_last().map(|(digest, _)| digest);
        }
    }
}

/// Tends the cold tier.
pub(super) struct Mover {
    engine: Arc<Engine>,
    cold: Arc<Cold>,
    from: Option<Sha256Digest>,
    look_at: Instant,
}

impl Mover {
    pub(super) fn new(engine: Arc<Engine>, cold: Arc<Cold>) -> Self {
        Self { engine, cold, from: None, look_at: Instant::now() }
    }
}

impl Worker for Mover {
    type Error = ObjectError;

    fn name(&self) -> &'static str {
        "objects-cold"
    }

    async fn work(&mut self) -> Result<WorkState, ObjectError> {
        self.engine.note_uses(&self.cold).await?;
        if Instant::now() < self.look_at || !self.engine.tends_cold().await? {
            return Ok(WorkState::Idle);
        }
        let (tended, rest) = self.engine.tend_cold(&self.cold, self.from).await?;
        if tended != Tended::default() {
            tracing::info!(?tended, "cold tier tended");
        }
        self.from = rest;
        if rest.is_none() {
            self.look_at = Instant::now() + self.cold.pace.look_every;
        }
        Ok(if rest.is_some() { WorkState::Busy } else { WorkState::Idle })
    }

    async fn wait_for_work(&mut self) {
        tokio::time::sleep(self.cold.pace.look_every.min(USES_WAIT_MAX)).await;
    }
}

impl Objects {
    /// Does all that is to do for the cold tier by now: moves what is cold, deletes what is not needed there any more. Safe at any time
    /// and on several nodes at once. The worker of [`Objects::use_cold_tier`] does the same every so often, on one node.
    ///
    /// Does nothing on a node that is not yet a peer of the network that its tables know: others hold what it does not see.
    ///
    /// # Errors
    /// [`ObjectError::NoColdTier`], [`ObjectError::ColdUnavailable`]; those of the tables. What was done stays so; calling again continues.
    pub async fn tend_cold_tier(&self) -> Result<Tended, ObjectError> {
        let cold = self.0.cold.get().ok_or(ObjectError::NoColdTier)?;
        let (mut all, mut from) = (Tended::default(), None);
        if self.0.awaits_network().await? {
            return Ok(all);
        }
        self.0.note_uses(cold).await?;
        loop {
            let (tended, rest) = self.0.tend_cold(cold, from).await?;
            all.moved += tended.moved;
            all.bytes += tended.bytes;
            all.deleted += tended.deleted;
            match rest {
                Some(rest) => from = Some(rest),
                None => return Ok(all),
            }
        }
    }
}

impl Engine {
    /// Whether this node tends the cold tier: where there are others, whoever surveys. Nothing goes wrong if two do.
    async fn tends_cold(&self) -> Result<bool, ObjectError> {
        match self.network.get() {
            Some(network) => network.surveys().await,
            None => Ok(!self.awaits_network().await?),
        }
    }

    /// Notes which chunks were read, and learns whose reads are to be noted.
    async fn note_uses(&self, cold: &Cold) -> Result<(), ObjectError> {
        let buckets = self.db.read(cold_buckets).await?;
        cold.set_buckets(buckets.into_iter().map(|(bucket, _)| bucket));
        let every = self.lifecycle_day() / USES_PER_DAY;
        loop {
            let uses = cold.take_uses(BATCH);
            if uses.is_empty() {
                return Ok(());
            }
            self.write(move |tx| {
                for (digest, at) in uses {
                    let noted = tx.get::<ChunkUses>(&digest)?.is_some_and(|row| row.at.after(every) > at);
                    if !noted && tx.get::<Chunks>(&digest)?.is_some() {
                        tx.put::<ChunkUses>(&digest, &UseRow { at })?;
                    }
                }
                Ok(())
            })
            .await?;
        }
    }

    /// Moves the next cold chunks, and deletes what the service need not have any more. If there may be more to move, where to go on.
    async fn tend_cold(
        self: &Arc<Self>,
        cold: &Cold,
        from: Option<Sha256Digest>,
    ) -> Result<(Tended, Option<Sha256Digest>), ObjectError> {
        let mut tended = Tended { deleted: self.delete_cold(cold).await?, ..Tended::default() };
        let mut candidates = Candidates { from, ..Candidates::default() };
        let buckets = self.db.read(cold_buckets).await?;
        for bucket in buckets {
            self.look_for_cold(&bucket, &mut candidates).await?;
        }
        let Candidates { found, bound, .. } = candidates;
        let rest = bound.and(found.last_key_value().map(|(digest, _)| *digest));
        let found: Vec<_> = found.into_iter().collect();
        for batch in found.chunks(MOVED_AT_ONCE) {
            if self.stopping() {
                return Ok((tended, None));
            }
            let begun = Instant::now();
            let (moved, bytes) = self.move_cold(cold, batch.to_vec()).await?;
            tended.moved += moved;
            tended.bytes += bytes;
            metrics::counter!("cm_storage_cold_moved_total").increment(moved);
            let due = Duration::from_secs_f64(bytes as f64 / cold.pace.bytes_per_second.max(1) as f64);
            tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
        }
        let (now, is_all) = (self.now(), rest.is_none());
        let state = self
            .write(move |tx| {
                let state = tx.get::<ColdTiers>(&())?.unwrap_or_default();
                if is_all {
                    tx.put::<ColdTiers>(&(), &ColdState { looked_at: Some(now), ..state })?;
                }
                Ok(state)
            })
            .await?;
        metrics::gauge!("cm_storage_cold_chunks").set(state.chunks as f64);
        metrics::gauge!("cm_storage_cold_bytes").set(state.bytes as f64);
        Ok((tended, rest))
    }

    /// Counts the mentions of chunks by the old versions of a bucket.
    async fn look_for_cold(
        &self,
        (bucket, days): &ColdBucket,
        candidates: &mut Candidates,
    ) -> Result<(), ObjectError> {
        let all = || KeyRange::prefix(KeyPrefix::new().part(&bucket.0).part(&bucket.1));
        let mut range = all();
        loop {
            let page = range.clone();
            let rows = self
                .db
                .read(move |tx| {
                    Ok::<_, ObjectError>(tx.range::<ObjectRows>(page, Direction::Forward, BATCH)?)
                })
                .await?;
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            for (name, row) in rows {
                self.look_for_cold_in(name.1, name.2, row, *days, candidates).await?;
            }
        }
        let mut range = all();
        loop {
            let page = range.clone();
            let rows = self
                .db
                .read(move |tx| {
                    Ok::<_, ObjectError>(tx.range::<Versions>(page, Direction::Forward, BATCH)?)
                })
                .await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            range = range.after(last);
            for ((_, bucket, key, _), row) in rows {
                if let VersionRow::Object(row) = row {
                    self.look_for_cold_in(bucket, key, *row, *days, candidates).await?;
                }
            }
        }
    }

    /// The same of one version.
    async fn look_for_cold_in(
        &self,
        bucket: cm_types::BucketName,
        key: cm_types::ObjectKey,
        row: ObjectRow,
        days: u32,
        candidates: &mut Candidates,
    ) -> Result<(), ObjectError> {
        let (now, cold_for) = (self.now(), self.lifecycle_day().saturating_mul(days));
        if row.created_at.after(cold_for) > now {
            return Ok(());
        }
        let (version, size) = (row.version, info(bucket, key, row).stored().0);
        for segment in 0..size.div_ceil(SEGMENT_BYTES) {
            let (chunks, rows, uses) = self.segment_rows(version, segment, size).await?;
            if chunks.is_empty() {
                break;
            }
            for ((chunk, row), used) in chunks.into_iter().zip(rows).zip(uses) {
                let is_used = used.is_some_and(|row| row.at.after(cold_for) > now);
                if is_used || row.is_none_or(|row| row.cold.is_some()) {
                    continue;
                }
                candidates.add(chunk.digest, u32::try_from(chunk.stored()).unwrap_or(u32::MAX));
            }
        }
        Ok(())
    }

    async fn segment_rows(
        &self,
        version: Uuid,
        segment: u64,
        size: u64,
    ) -> Result<(Vec<Placed>, Vec<Option<ChunkRow>>, Vec<Option<UseRow>>), ObjectError> {
        self.db
            .read(move |tx| {
                let row = tx.get::<Manifests>(&(VersionKey(version), segment))?;
                let Some(row) = row else { return Ok::<_, ObjectError>(Default::default()) };
                let rows = tx.get_many::<Chunks>(&row.digests)?;
                Ok((row.placed(segment, size), rows, tx.get_many::<ChunkUses>(&row.digests)?))
            })
            .await
    }

    /// Moves chunks: how many, and how many bytes.
    async fn move_cold(
        self: &Arc<Self>,
        cold: &Cold,
        batch: Vec<(Sha256Digest, Mention)>,
    ) -> Result<(u64, u64), ObjectError> {
        let batch = self.still_cold(batch).await?;
        if batch.is_empty() {
            return Ok((0, 0));
        }
        let named: Vec<(Sha256Digest, Mention, String)> =
            batch.into_iter().map(|(digest, mention)| (digest, mention, cold.store.new_name())).collect();
        let (names, since) = (named.clone(), self.now());
        self.write(move |tx| {
            for (digest, _, name) in names {
                tx.insert::<ColdObjects>(&name, &ColdObjectRow { digest, since, doomed: false })?;
            }
            Ok(())
        })
        .await?;
        let copies = stream::iter(named.into_iter().map(|(digest, mention, name)| async move {
            let is_there = self.copy_cold(cold, digest, mention.len, &name).await?;
            Ok::<_, ObjectError>(is_there.then_some((digest, mention, name)))
        }));
        let copied: Vec<_> = copies.buffer_unordered(COPIES_MAX).try_collect().await?;
        self.let_go(copied.into_iter().flatten().collect()).await
    }

    /// Those of which that is still true.
    async fn still_cold(
        &self,
        batch: Vec<(Sha256Digest, Mention)>,
    ) -> Result<Vec<(Sha256Digest, Mention)>, ObjectError> {
        self.db
            .read(move |tx| {
                let digests: Vec<_> = batch.iter().map(|(digest, _)| *digest).collect();
                let rows = tx.get_many::<Chunks>(&digests)?;
                let all_count = |(_, mention): &(Sha256Digest, Mention), row: &Option<ChunkRow>| {
                    row.as_ref().is_some_and(|row| row.references == mention.count && row.cold.is_none())
                };
                let still = batch.into_iter().zip(rows).filter(|(chunk, row)| all_count(chunk, row));
                Ok::<_, ObjectError>(still.map(|(chunk, _)| chunk).collect())
            })
            .await
    }

    /// Writes a chunk under a name and reads it back; whether it is there then.
    async fn copy_cold(
        &self,
        cold: &Cold,
        digest: Sha256Digest,
        len: u32,
        name: &str,
    ) -> Result<bool, ObjectError> {
        let Some(chunk) = self.hot_bytes(digest, len).await? else { return Ok(false) };
        cold.store.put(name, chunk).await?;
        match cold.store.get(name, digest).await? {
            Kept::Chunk(_) => Ok(true),
            kept @ (Kept::Nothing | Kept::Other) => {
                tracing::error!(%digest, name, ?kept, "the cold tier did not keep what it was given");
                Ok(false)
            }
        }
    }

    /// The bytes of a chunk that is not cold yet; `None` if they cannot be had now.
    async fn hot_bytes(&self, digest: Sha256Digest, len: u32) -> Result<Option<Bytes>, ObjectError> {
        if let Some(network) = self.network.get() {
            return Ok(match network.fetch(digest).await? {
                Found::Bytes(bytes) => Some(bytes),
                Found::Cold(_) | Found::Flaw(_) | Found::Unreachable => None,
            });
        }
        let chunks = self.chunks.clone();
        let read = self.tasks.spawn_blocking("cold-read", move || chunks.read(&digest, len as usize).ok());
        read.await.map_err(|_| ObjectError::Lost)
    }

    /// Notes where chunks lie that were copied, and lets go of what is here or on peers. Not of those that were named anew meanwhile.
    async fn let_go(&self, copied: Vec<(Sha256Digest, Mention, String)>) -> Result<(u64, u64), ObjectError> {
        let has_peers = self.network.get().is_some();
        let mut seized = Vec::new();
        let mut free = Vec::new();
        for chunk in copied {
            // Alone, a put that has found the file counts on it; among peers that is what rounds are for.
            if has_peers {
                free.push(chunk);
            } else if let Some(claim) = self.pins.seize(chunk.0) {
                seized.push(claim);
                free.push(chunk);
            }
        }
        let now = self.now();
        let moved = self
            .write(move |tx| {
                let mut moved = Vec::new();
                let mut bytes = 0;
                // Since this look began there may be a network that this node is no peer of yet.
                let knows_all = has_peers || tx.get::<Rounds>(&())?.is_none_or(|rounds| rounds.epoch == 0);
                for (digest, mention, name) in free.into_iter().filter(|_| knows_all) {
                    let Some(row) = tx.get::<Chunks>(&digest)? else { continue };
                    let is_ours = tx.get::<ColdObjects>(&name)?.is_some_and(|row| !row.doomed);
                    let is_whole = tx.get::<Short>(&digest)?.is_none();
                    if !is_ours || !is_whole || row.cold.is_some() || row.references != mention.count {
                        continue;
                    }
                    tx.delete::<ColdObjects>(&name)?;
                    let mark = ColdMark { name, len: mention.len };
                    count(tx, &mark)?;
                    bytes += u64::from(mark.len);
                    tx.put::<Chunks>(&digest, &ChunkRow { cold: Some(mark), ..row })?;
                    moved.push(digest);
                }
                if has_peers {
                    condemn(tx, &moved, now)?;
                }
                Ok((moved, bytes))
            })
            .await;
        let (moved, bytes) = moved?;
        let count = moved.len() as u64;
        match self.network.get() {
            Some(network) => network.sweep_soon(),
            None => drop(self.remove_files(seized, moved).await?),
        }
        Ok((count, bytes))
    }

    /// Deletes what no chunk needs any more: how much.
    async fn delete_cold(&self, cold: &Cold) -> Result<u64, ObjectError> {
        let (mut deleted, mut range) = (0, KeyRange::all());
        while !self.stopping() {
            let page = range.clone();
            let rows = self
                .db
                .read(move |tx| {
                    Ok::<_, ObjectError>(tx.range::<ColdObjects>(page, Direction::Forward, BATCH)?)
                })
                .await?;
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            let (now, grace) = (self.now(), self.config.garbage_grace);
            let due = |row: &ColdObjectRow| row.doomed || Timestamp::after(row.since, grace) <= now;
            let names: Vec<String> =
                rows.into_iter().filter(|(_, row)| due(row)).map(|(name, _)| name).collect();
            let doomed = self.doom_cold(names).await?;
            for name in &doomed {
                cold.store.delete(name).await?;
                deleted += 1;
            }
            self.write(move |tx| {
                for name in doomed {
                    tx.delete::<ColdObjects>(&name)?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(deleted)
    }

    /// Keeps names from being given to chunks: those that are still there.
    async fn doom_cold(&self, names: Vec<String>) -> Result<Vec<String>, ObjectError> {
        self.write(move |tx| {
            let mut doomed = Vec::new();
            for name in names {
                let Some(row) = tx.get::<ColdObjects>(&name)? else { continue };
                tx.put::<ColdObjects>(&name, &ColdObjectRow { doomed: true, ..row })?;
                doomed.push(name);
            }
            Ok(doomed)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Sha256Digest {
        Sha256Digest::from_bytes([n; 32])
    }

    #[test]
    fn every_candidate_has_all_its_mentions_and_each_has_its_turn() {
        // Nine chunks, mentioned in an order that evicts and meets again, each as often as its number says.
        let mentions: Vec<u8> = [9, 1, 5, 3, 7, 2, 8, 4, 6].into_iter().cycle().take(9 * 9).collect();
        let (mut from, mut seen) = (None, Vec::new());
        loop {
            let mut candidates = Candidates { from, ..Candidates::default() };
            for (at, n) in mentions.iter().enumerate() {
                if at / 9 < usize::from(*n) {
                    candidates.add(digest(*n), 1);
                }
            }
            let Candidates { found, bound, .. } = candidates;
            assert!(found.len() <= CANDIDATES_MAX);
            seen.extend(found.iter().map(|(digest, mention)| (digest.as_bytes()[0], mention.count)));
            from = found.last_key_value().map(|(digest, _)| *digest);
            if bound.is_none() {
                break;
            }
        }
        assert_eq!(seen, (1..=9).map(|n| (n, u64::from(n))).collect::<Vec<_>>());
    }
}
