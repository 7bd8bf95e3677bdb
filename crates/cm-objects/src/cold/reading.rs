//! Chunks that lie in the cold tier, and their way back.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cm_types::{BucketName, Sha256Digest, TenantId, Timestamp};

use super::Cold;
use super::store::Kept;
use super::tables::{ColdMark, give_up};
use crate::chunks::shard_of;
use crate::network::admit;
use crate::network::tables::Rounds;
use crate::objects::Engine;
use crate::tables::{ChunkRow, Chunks};
use crate::{Flaw, ObjectError};

/// What a chunk is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody wants its bytes.
    Use,
    /// It is only looked at.
    Check,
}

impl Engine {
    /// Where a chunk lies in the cold tier, if it does; as of now with `barrier`, else as of a moment ago.
    pub(crate) async fn cold_mark(
        &self,
        digest: Sha256Digest,
        barrier: bool,
    ) -> Result<Option<ColdMark>, ObjectError> {
        if barrier {
            self.db.barrier().await?;
        }
        let row = self.db.look_up(move |tx| Ok::<_, ObjectError>(tx.get::<Chunks>(&digest)?)).await?;
        Ok(row.and_then(|row| row.cold))
    }

    /// The bytes of a chunk that lies in the cold tier; `None` if it does not lie there any more, or never did under that name.
    ///
    /// # Errors
    /// [`ObjectError::ColdUnavailable`]; those of the tables.
    pub(crate) async fn read_cold(
        &self,
        digest: Sha256Digest,
        mark: &ColdMark,
    ) -> Result<Option<Result<Bytes, Flaw>>, ObjectError> {
        let Some(cold) = self.cold.get() else {
            return Err(ObjectError::ColdUnavailable { place: "not configured on this node".to_owned() });
        };
        match cold.store.get(&mark.name, digest).await? {
            Kept::Chunk(bytes) => {
                metrics::counter!("cm_storage_cold_reads_total").increment(1);
                Ok(Some(Ok(bytes)))
            }
            kept => {
                if self.cold_mark(digest, true).await?.as_ref() != Some(mark) {
                    return Ok(None);
                }
                tracing::error!(%digest, name = mark.name, ?kept, "cold chunk is not what was written");
                Ok(Some(Err(Flaw::Missing)))
            }
        }
    }

    /// Notes that somebody has read a chunk of a bucket.
    pub(crate) fn note_use(&self, digest: Sha256Digest, bucket: &(TenantId, BucketName)) {
        if let Some(cold) = self.cold.get().filter(|cold| cold.wants(bucket)) {
            cold.note_use(digest, self.now());
        }
    }

    /// Begins to bring a chunk back, unless many are on their way already.
    pub(crate) fn promote_soon(self: &Arc<Self>, digest: Sha256Digest, mark: ColdMark, bytes: Bytes) {
        let Some(cold) = self.cold.get() else { return };
        let Ok(place) = cold.promotions.clone().try_acquire_owned() else { return };
        let engine = self.clone();
        // Nobody waits for it: what fails is tried again by the next reader.
        drop(self.tasks.spawn("cold-promote", async move {
            let _place = place;
            match engine.promote(digest, &mark, bytes).await {
                Ok(true) => metrics::counter!("cm_storage_cold_promoted_total").increment(1),
                Ok(false) => {}
                Err(error) => tracing::debug!(%digest, %error, "chunk stays in the cold tier"),
            }
        }));
    }

    /// Brings a chunk back to where hot ones are; whether it did. Not if it lies in the cold tier no more, nor before this node is a peer
    /// of the network that the tables know.
    pub(crate) async fn promote(
        self: &Arc<Self>,
        digest: Sha256Digest,
        mark: &ColdMark,
        bytes: Bytes,
    ) -> Result<bool, ObjectError> {
        let (mark, now, is_peer) = (mark.clone(), self.now(), self.network.get().is_some());
        let back = move |tx: &mut cm_db::WriteTx<'_>| {
            let Some(row) = tx.get::<Chunks>(&digest)? else { return Ok(false) };
            // There may be a network by now that this node is no peer of yet.
            if !is_peer && tx.get::<Rounds>(&())?.is_some_and(|rounds| rounds.epoch > 0) {
                return Ok(false);
            }
            if row.references == 0 || row.cold.as_ref() != Some(&mark) {
                return Ok(false);
            }
            give_up(tx, &digest, &row, now)?;
            tx.put::<Chunks>(&digest, &ChunkRow { cold: None, ..row })?;
            Ok::<_, ObjectError>(true)
        };
        let Some(network) = self.network.get() else {
            if self.awaits_network().await? {
                return Ok(false);
            }
            let (pins, chunks) = (self.pins.clone(), self.chunks.clone());
            let written = self.tasks.spawn_blocking("cold-back", move || {
                // As a put does: before anybody looks whether the file is there.
                let pin = pins.share(digest);
                chunks.write(&digest, &bytes)?;
                chunks.sync_shard(shard_of(&digest))?;
                Ok::<_, ObjectError>(pin)
            });
            let pin = written.await.map_err(|_| ObjectError::Lost)??;
            let back = self.db.write(back).await?;
            drop(pin);
            return Ok(back);
        };
        let promise = network.store(digest, bytes, None).await?;
        let mut promises = HashMap::from([(digest, promise)]);
        network.keep_promises(&mut promises).await?;
        let default = network.known().default_redundancy();
        self.db
            .write(move |tx| {
                if !admit::overtaken(tx, &promises)?.is_empty() {
                    return Err(ObjectError::Overtaken);
                }
                let before = admit::counted_before(tx, &promises)?;
                let is_back = back(tx)?;
                if is_back {
                    admit::note(tx, &promises, &before, default, now)?;
                }
                Ok(is_back)
            })
            .await
    }
}

impl Cold {
    /// Which buckets' reads are to be noted from now on.
    pub(super) fn set_buckets(&self, buckets: impl Iterator<Item = (TenantId, BucketName)>) {
        *super::lock(&self.buckets) = Arc::new(buckets.collect());
    }

    /// Uses that are not noted in rows yet, so many at most.
    pub(super) fn take_uses(&self, most: usize) -> Vec<(Sha256Digest, Timestamp)> {
        super::lock(&self.uses).take(most)
    }
}
