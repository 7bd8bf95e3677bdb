//! Taking back what nothing needs any more.

use std::collections::HashSet;
use std::time::Duration;

use cm_db::{Direction, KeyRange};
use cm_runtime::{WorkState, Worker};
use cm_types::{Sha256Digest, Timestamp};

use crate::claims::Seized;
use crate::cold::tables::forget;
use crate::network::sweep::condemn_unknown;
use crate::network::tables::Rounds;
use crate::network::{Network, condemn};
use crate::objects::Engine;
use crate::tables::{Chunks, Doomed, DoomedRow, IdleChunks, VersionKey, dismantle};
use crate::{ObjectError, Objects};

/// How many rows one step of the collector holds: small transactions, bounded memory.
const BATCH: usize = 256;

/// How long versions wait for nodes that do not say whether they use them.
const UNHEARD_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a collection took back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Versions taken apart: replaced, deleted, or never finished.
    pub versions: u64,
    /// Chunks deleted after their grace period.
    pub chunks: u64,
    /// Chunk files deleted that no table knew, left over from a crash or a put that came to nothing.
    pub orphans: u64,
    /// Bytes freed in the file system.
    pub bytes: u64,
}

impl Objects {
    /// Takes back everything that nothing needs: at once what puts left that came to nothing, and after
    /// the grace period what was replaced or deleted. Safe at any time; stops between two batches when
    /// shutdown begins. The collector of [`Config::collect_every`](crate::Config) calls it.
    ///
    /// Dropping the future is harmless: the next collection begins where this one was.
    ///
    /// # Errors
    /// Those of storage and tables. What was taken back stays so; calling again continues.
    pub async fn collect_garbage(&self) -> Result<Collected, ObjectError> {
        let mut collected = Collected::default();
        if self.0.awaits_network().await? {
            return Ok(collected);
        }
        self.0.end_old_uploads().await?;
        self.0.doom_ended_parts().await?;
        self.0.dismantle_doomed(&mut collected).await?;
        self.0.delete_idle(&mut collected).await?;
        self.0.delete_orphans(&mut collected).await?;
        Ok(collected)
    }
}

impl Engine {
    pub(crate) fn stopping(&self) -> bool {
        self.tasks.token().is_cancelled()
    }

    /// Whether there is a storage network of which this node is not a peer yet: what is here may be promised to others.
    pub(crate) async fn awaits_network(&self) -> Result<bool, ObjectError> {
        if self.network.get().is_some() {
            return Ok(false);
        }
        self.db.look_up(|tx| Ok(tx.get::<Rounds>(&())?.is_some_and(|rounds| rounds.epoch > 0))).await
    }

    pub(crate) async fn dismantle_doomed(&self, collected: &mut Collected) -> Result<(), ObjectError> {
        let mut range = KeyRange::all();
        while !self.stopping() {
            let page = range.clone();
            let doomed = self
                .db
                .read(move |tx| Ok::<_, ObjectError>(tx.range::<Doomed>(page, Direction::Forward, BATCH)?))
                .await?;
            let Some((last, _)) = doomed.last() else { break };
            range = range.after(last);
            let doomed = self.unleased(doomed).await?;
            for (VersionKey(version), _) in doomed {
                // Somebody writes or reads it: a later collection will find it again.
                let Some(_seized) = self.leases.seize(version) else { continue };
                let now = self.now();
                while self.write(move |tx| Ok(dismantle(tx, version, now)?)).await? {}
                collected.versions += 1;
            }
        }
        Ok(())
    }

    /// Those that no other node reads or writes. Where one does not answer that may, a version waits for as long as a put or a read may take.
    async fn unleased(
        &self,
        doomed: Vec<(VersionKey, DoomedRow)>,
    ) -> Result<Vec<(VersionKey, DoomedRow)>, ObjectError> {
        let Some(network) = self.network.get() else { return Ok(doomed) };
        let versions = doomed.iter().map(|(VersionKey(version), _)| *version).collect();
        let leased = network.leased_elsewhere(versions).await;
        let waits = |since: Timestamp| self.now().since(since) < UNHEARD_MAX;
        let free = doomed.into_iter().filter(|(VersionKey(version), row)| match &leased.versions {
            versions if versions.contains(version) => false,
            _ => row.begun || leased.is_complete || !waits(row.since),
        });
        Ok(free.collect())
    }

    pub(crate) async fn delete_idle(&self, collected: &mut Collected) -> Result<(), ObjectError> {
        let grace_micros = i64::try_from(self.config.garbage_grace.as_micros()).unwrap_or(i64::MAX);
        let until = Timestamp::from_micros(self.now().as_micros().saturating_sub(grace_micros));
        let end = (Timestamp::from_micros(until.as_micros() + 1), Sha256Digest::from_bytes([0; 32]));
        let mut range = KeyRange::of(..end);
        while !self.stopping() {
            let page = range.clone();
            let idle = self
                .db
                .read(move |tx| {
                    Ok::<_, ObjectError>(tx.range::<IdleChunks>(page, Direction::Forward, BATCH)?)
                })
                .await?;
            let Some((last, _)) = idle.last() else { break };
            range = range.after(last);
            let keys: Vec<_> = idle.into_iter().map(|(key, _)| key).collect();
            self.delete_idle_batch(keys, collected).await?;
        }
        Ok(())
    }

    /// Seizes, then looks, then deletes the files, then the rows: a crash in between leaves rows without
    /// files that nothing names, and the next collection finishes them.
    async fn delete_idle_batch(
        &self,
        keys: Vec<(Timestamp, Sha256Digest)>,
        collected: &mut Collected,
    ) -> Result<(), ObjectError> {
        let mut seized = Vec::new();
        let mut candidates = Vec::new();
        let mut distinct = HashSet::new();
        for (since, digest) in keys {
            if distinct.insert(digest)
                && let Some(claim) = self.pins.seize(digest)
            {
                seized.push(claim);
                candidates.push((since, digest));
            }
        }
        if let Some(network) = self.network.get() {
            collected.chunks += self.condemn_idle(network, candidates).await?;
            return Ok(());
        }
        let condemned = self
            .write(move |tx| {
                let mut condemned = Vec::new();
                for (since, digest) in candidates {
                    let idle = tx.get::<Chunks>(&digest)?.is_none_or(|row| row.idle_since == Some(since));
                    if idle {
                        condemned.push((since, digest));
                    } else {
                        tx.delete::<IdleChunks>(&(since, digest))?;
                    }
                }
                Ok(condemned)
            })
            .await?;
        let digests = condemned.iter().map(|(_, digest)| *digest).collect();
        let (seized, files, bytes) = self.remove_files(seized, digests).await?;
        let now = self.now();
        self.write(move |tx| {
            for (since, digest) in condemned {
                if let Some(row) = tx.get::<Chunks>(&digest)? {
                    forget(tx, &digest, &row, now)?;
                }
                tx.delete::<Chunks>(&digest)?;
                tx.delete::<IdleChunks>(&(since, digest))?;
            }
            tx.on_commit(Box::new(move || drop(seized)));
            Ok(())
        })
        .await?;
        collected.chunks += files;
        collected.bytes += bytes;
        Ok(())
    }

    /// Gives up those that are still idle: their rows go, and peers delete what they have.
    async fn condemn_idle(
        &self,
        network: &Network,
        candidates: Vec<(Timestamp, Sha256Digest)>,
    ) -> Result<u64, ObjectError> {
        let now = self.now();
        let condemned = self
            .write(move |tx| {
                let mut condemned = Vec::new();
                for (since, digest) in candidates {
                    tx.delete::<IdleChunks>(&(since, digest))?;
                    let row = tx.get::<Chunks>(&digest)?;
                    if let Some(row) = row.filter(|row| row.idle_since == Some(since)) {
                        forget(tx, &digest, &row, now)?;
                        tx.delete::<Chunks>(&digest)?;
                        condemned.push(digest);
                    }
                }
                condemn(tx, &condemned, now)?;
                Ok(condemned.len() as u64)
            })
            .await?;
        network.sweep_soon();
        Ok(condemned)
    }

    /// Deletes the files that no row knows. There is no grace: nobody was told that they exist.
    async fn delete_orphans(&self, collected: &mut Collected) -> Result<(), ObjectError> {
        let search = self.abandoned.take();
        if let Some(network) = self.network.get() {
            for batch in search.digests.chunks(BATCH) {
                // Whatever another put of this node pins is counted or handed over by it.
                let free = batch.iter().filter(|digest| !self.pins.is_shared(**digest)).copied();
                collected.orphans += condemn_unknown(network, free.collect()).await?;
                network.sweep_soon();
            }
            // Whatever else no row knows, each peer finds by itself.
            search.finish();
            return Ok(());
        }
        for batch in search.digests.chunks(BATCH) {
            if self.stopping() {
                return Ok(());
            }
            self.delete_orphan_batch(batch.to_vec(), collected).await?;
        }
        for shard in (0..=u8::MAX).filter(|_| search.everywhere) {
            if self.stopping() {
                return Ok(());
            }
            let chunks = self.chunks.clone();
            let listed = self.tasks.spawn_blocking("object-orphans", move || chunks.list_shard(shard));
            let listed = listed.await.map_err(|_| ObjectError::Lost)??;
            // It became a peer meanwhile: from now on others count on files that have no row yet.
            if self.network.get().is_some() {
                return Ok(());
            }
            for batch in listed.chunks(BATCH) {
                self.delete_orphan_batch(batch.to_vec(), collected).await?;
            }
        }
        search.finish();
        Ok(())
    }

    async fn delete_orphan_batch(
        &self,
        digests: Vec<Sha256Digest>,
        collected: &mut Collected,
    ) -> Result<(), ObjectError> {
        let unknown = self.without_row(digests).await?;
        let seized: Vec<_> =
            unknown.iter().filter_map(|digest| Some((*digest, self.pins.seize(*digest)?))).collect();
        let (digests, seized): (Vec<_>, Vec<_>) = seized.into_iter().unzip();
        // Look again once they are seized: a put may have counted them in between.
        let orphans = self.without_row(digests).await?;
        let (_seized, files, bytes) = self.remove_files(seized, orphans).await?;
        collected.orphans += files;
        collected.bytes += bytes;
        Ok(())
    }

    async fn without_row(&self, digests: Vec<Sha256Digest>) -> Result<Vec<Sha256Digest>, ObjectError> {
        if digests.is_empty() {
            return Ok(digests);
        }
        self.db
            .read(move |tx| {
                let mut unknown = Vec::new();
                for digest in digests {
                    if tx.get::<Chunks>(&digest)?.is_none() {
                        unknown.push(digest);
                    }
                }
                Ok(unknown)
            })
            .await
    }

    /// Deletes files that were seized. The claims travel along, so that they outlive the deletion even if
    /// the caller goes away.
    pub(crate) async fn remove_files(
        &self,
        seized: Vec<Seized<Sha256Digest>>,
        digests: Vec<Sha256Digest>,
    ) -> Result<(Vec<Seized<Sha256Digest>>, u64, u64), ObjectError> {
        let chunks = self.chunks.clone();
        let removed = self.tasks.spawn_blocking("object-remove", move || {
            let (mut files, mut bytes) = (0, 0);
            for digest in &digests {
                if let Some(freed) = chunks.remove(digest)? {
                    bytes += freed;
                    files += 1;
                }
            }
            Ok((seized, files, bytes))
        });
        removed.await.map_err(|_| ObjectError::Lost)?
    }
}

/// Collects after every deletion, after every put that came to nothing, and every so often. The directories
/// are searched once, after opening: later orphans come from puts of this process, which hand them over.
pub(crate) struct Collector {
    objects: Objects,
    every: Duration,
}

impl Collector {
    pub(crate) fn new(objects: Objects, every: Duration) -> Self {
        Self { objects, every }
    }
}

impl Worker for Collector {
    type Error = ObjectError;

    fn name(&self) -> &'static str {
        "objects-collector"
    }

    async fn work(&mut self) -> Result<WorkState, ObjectError> {
        self.objects.0.learn_versions().await?;
        let collected = self.objects.collect_garbage().await?;
        if collected != Collected::default() {
            tracing::debug!(?collected, "garbage collected");
        }
        Ok(WorkState::Idle)
    }

    async fn wait_for_work(&mut self) {
        tokio::select! {
            () = self.objects.0.garbage.notified() => {}
            () = tokio::time::sleep(self.every) => {}
        }
    }
}
