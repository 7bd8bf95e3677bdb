//! Each peer reads all that it has, once in a while, and compares it with its digests.

use std::sync::Arc;

use cm_runtime::{WorkState, Worker};
use cm_types::Sha256Digest;

use super::Network;
use crate::chunks::Part;
use crate::scrub::turn::{Turn, pause};
use crate::{Flaw, ObjectError};

/// Reads one directory after the other, at the pace of a scrub.
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
        let (own, now) = (network.own.to_string(), network.clock.now().into());
        let due = Turn::due(&network.db, own.clone(), now, network.pace.scrub_every).await?;
        let Some(turn) = due else { return Ok(WorkState::Idle) };
        for directory in turn.directories() {
            network.scrub_directory(directory).await?;
        }
        if network.tasks.token().is_cancelled() {
            // It may have been left in the middle.
            return Ok(WorkState::Idle);
        }
        turn.end(&network.db, own).await?;
        Ok(WorkState::Busy)
    }

    async fn wait_for_work(&mut self) {
        tokio::time::sleep(self.network.pace.look_every * 4).await;
    }
}

impl Network {
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
