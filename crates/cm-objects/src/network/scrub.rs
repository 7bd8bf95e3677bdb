//! Each peer reads all that it has, once in a while, and compares it with its digests.

use std::sync::Arc;
use std::time::Duration;

use cm_runtime::{WorkState, Worker};
use cm_types::{Sha256Digest, Timestamp};

use super::Network;
use super::tables::{ScrubRow, Swept, SweptRow};
use crate::chunks::Part;
use crate::{Flaw, ObjectError};

/// How many of the 256 directories are read until it is noted how far that is; divides 256.
const STEP: u8 = 16;

/// Reads one directory after the other, at the pace of a scrub. How far it is is stored, so that restarts do not put it off for ever.
pub(super) struct Scrubber {
    network: Arc<Network>,
}

impl Scrubber {
    pub(super) fn new(network: Arc<Network>) -> Self {
        Self { network }
    }
}

impl Worker for Scrubber {
    type Error = ObjectError;

    fn name(&self) -> &'static str {
        "storage-scrub"
    }

    async fn work(&mut self) -> Result<WorkState, ObjectError> {
        let network = &self.network;
        let Some(scrub) = network.due_scrub().await? else { return Ok(WorkState::Idle) };
        for directory in scrub.directory..=scrub.directory.saturating_add(STEP - 1) {
            network.scrub_directory(directory).await?;
        }
        if network.tasks.token().is_cancelled() {
            // It may have been left in the middle.
            return Ok(WorkState::Idle);
        }
        network.scrubbed(scrub).await?;
        Ok(WorkState::Busy)
    }

    async fn wait_for_work(&mut self) {
        tokio::time::sleep(self.network.pace.look_every * 4).await;
    }
}

impl Network {
    /// What is to be read next; `None` if everything was, not long ago.
    async fn due_scrub(&self) -> Result<Option<ScrubRow>, ObjectError> {
        let own = self.own.to_string();
        let row = self.db.look_up(move |tx| Ok::<_, ObjectError>(tx.get::<Swept>(&own)?)).await?;
        let now: Timestamp = self.clock.now().into();
        Ok(match row.and_then(|row| row.scrub) {
            None => Some(ScrubRow { begun_at: now, directory: 0, is_done: false }),
            Some(scrub) if !scrub.is_done => Some(scrub),
            Some(scrub) if now.since(scrub.begun_at) >= self.pace.scrub_every => {
                Some(ScrubRow { begun_at: now, directory: 0, is_done: false })
            }
            Some(_) => None,
        })
    }

    /// Notes that some directories were read.
    async fn scrubbed(&self, scrub: ScrubRow) -> Result<(), ObjectError> {
        let own = self.own.to_string();
        let next = match scrub.directory.checked_add(STEP) {
            Some(directory) => ScrubRow { directory, ..scrub },
            None => ScrubRow { is_done: true, ..scrub },
        };
        self.db
            .write(move |tx| {
                let row = tx.get::<Swept>(&own)?.unwrap_or_default();
                Ok::<_, ObjectError>(tx.put::<Swept>(&own, &SweptRow { scrub: Some(next), ..row })?)
            })
            .await
    }

    /// Reads the parts of one directory; what is damaged goes, and is made anew from others.
    pub(super) async fn scrub_directory(&self, directory: u8) -> Result<(), ObjectError> {
        let chunks = self.chunks.clone();
        let listed = self.tasks.spawn_blocking("part-list", move || chunks.list_parts(directory));
        for (digest, part, len) in listed.await.map_err(|_| ObjectError::Lost)?? {
            if self.tasks.token().is_cancelled() {
                return Ok(());
            }
            self.scrub_part(digest, part).await?;
            metrics::counter!("cm_storage_scrubbed_bytes_total").increment(len);
            pause(len, self.pace.scrub_bytes_per_second).await;
        }
        Ok(())
    }

    async fn scrub_part(&self, digest: Sha256Digest, part: Part) -> Result<(), ObjectError> {
        let chunks = self.chunks.clone();
        let read = self.tasks.spawn_blocking("part-scrub", move || chunks.read_part(&digest, part));
        match read.await.map_err(|_| ObjectError::Lost)? {
            Ok(_) | Err(Flaw::Missing) => {}
            Err(_) => self.damaged(digest, part).await,
        }
        Ok(())
    }
}

/// Waits for as long as so many bytes take at that pace.
pub(super) async fn pause(bytes: u64, bytes_per_second: u64) {
    let seconds = bytes as f64 / bytes_per_second.max(1) as f64;
    tokio::time::sleep(Duration::from_secs_f64(seconds.min(60.0))).await;
}
