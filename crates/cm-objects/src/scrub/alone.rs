//! A node without a storage network reads all that it has, once in a while, and says what is damaged: there is nobody to make it anew from. In
//! a network peers do so, and mend.

use std::sync::Arc;
use std::time::Duration;

use cm_runtime::{WorkState, Worker};
use cm_types::Sha256Digest;

use super::turn::{Turn, pause};
use crate::network::SCRUB_BYTES_PER_SECOND;
use crate::objects::Engine;
use crate::{Flaw, ObjectError};

/// Who reads, where a peer has its id: no peer is called so.
const ALONE: &str = "";
/// How often is looked whether it is time.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Reads one directory after the other, unless the node is a peer.
pub(crate) struct Scrubber {
    engine: Arc<Engine>,
    every: Duration,
    bytes_per_second: u64,
}

impl Scrubber {
    pub(crate) fn new(engine: Arc<Engine>, every: Duration) -> Self {
        Self { engine, every, bytes_per_second: SCRUB_BYTES_PER_SECOND }
    }
}

impl Worker for Scrubber {
    type Error = ObjectError;

    fn name(&self) -> &'static str {
        "objects-scrub-all"
    }

    async fn work(&mut self) -> Result<WorkState, ObjectError> {
        let engine = &self.engine;
        // What is here may be promised to others.
        if engine.network.get().is_some() || engine.awaits_network().await? {
            return Ok(WorkState::Idle);
        }
        let due = Turn::due(&engine.db, ALONE.to_owned(), engine.now(), self.every).await?;
        let Some(turn) = due else { return Ok(WorkState::Idle) };
        for directory in turn.directories() {
            engine.scrub_directory(directory, self.bytes_per_second).await?;
        }
        if engine.stopping() {
            // It may have been left in the middle.
            return Ok(WorkState::Idle);
        }
        turn.end(&engine.db, ALONE.to_owned()).await?;
        Ok(WorkState::Busy)
    }

    async fn wait_for_work(&mut self) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Engine {
    /// Reads the chunks of one directory: how many are damaged.
    pub(crate) async fn scrub_directory(
        &self,
        directory: u8,
        bytes_per_second: u64,
    ) -> Result<u64, ObjectError> {
        let chunks = self.chunks.clone();
        let listed = self.tasks.spawn_blocking("chunk-list", move || chunks.list_parts(directory));
        let mut damaged = 0;
        for (digest, _, len) in listed.await.map_err(|_| ObjectError::Lost)?? {
            if self.stopping() {
                break;
            }
            damaged += u64::from(!self.scrub_chunk(digest, len).await?);
            metrics::counter!("cm_storage_scrubbed_bytes_total").increment(len);
            pause(len, bytes_per_second).await;
        }
        Ok(damaged)
    }

    /// Reads a chunk, which may go meanwhile: whether it is what it should be.
    async fn scrub_chunk(&self, digest: Sha256Digest, len: u64) -> Result<bool, ObjectError> {
        let (chunks, len) = (self.chunks.clone(), usize::try_from(len).unwrap_or(usize::MAX));
        let read = self.tasks.spawn_blocking("chunk-scrub", move || chunks.read(&digest, len));
        match read.await.map_err(|_| ObjectError::Lost)? {
            Ok(_) | Err(Flaw::Missing) => Ok(true),
            Err(flaw) => {
                tell_damaged(&digest, &flaw);
                Ok(false)
            }
        }
    }
}

/// Says that a chunk was found damaged that nobody else has.
pub(crate) fn tell_damaged(digest: &Sha256Digest, flaw: &Flaw) {
    tracing::error!(%digest, %flaw, "a chunk is damaged: `cryptomesh object verify` names the objects");
    metrics::counter!("cm_storage_parts_damaged_total").increment(1);
}
