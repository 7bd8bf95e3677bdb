//! Making copies and dropping them.

use std::collections::{BTreeMap, HashMap};

use cm_db::WriteTx;
use cm_placement::elastic::{ObjectFacts, Plan, Step};
use cm_types::{PeerId, Sha256Digest, Timestamp};
use futures::StreamExt;
use futures::future::join_all;

use super::counts::BucketId;
use super::demands::Demands;
use super::sight::Sight;
use crate::ObjectError;
use crate::chunks::Part;
use crate::network::Network;
use crate::network::sweep::Orphans;
use crate::network::tables::{ExtraCopies, ExtraRow, Rounds};
use crate::network::wire::{DropHead, ITEMS_MAX, PullHead};
use crate::tables::Chunks;

/// How many copies are under way at once.
const COPIES_MAX: usize = 4;

/// A copy to be made.
struct Copy {
    digest: Sha256Digest,
    to: PeerId,
    from: Vec<PeerId>,
    bucket: BucketId,
    len: u32,
}

impl Network {
    /// Makes and drops what was planned.
    pub(super) async fn execute(
        &self,
        sight: &Sight,
        demands: &Demands,
        facts: &[ObjectFacts<Sha256Digest>],
        plan: Plan<Sha256Digest>,
    ) -> Result<(), ObjectError> {
        let facts: HashMap<Sha256Digest, &ObjectFacts<Sha256Digest>> =
            facts.iter().map(|facts| (facts.id, facts)).collect();
        let (mut copies, mut drops) = (Vec::new(), Vec::new());
        for step in plan.steps {
            match step {
                Step::Drop { object, peer } => drops.push((object, peer)),
                Step::Copy { object: digest, to, .. } => {
                    let bucket = sight.bucket_of(demands, &digest);
                    let (Some(facts), Some(bucket)) = (facts.get(&digest), bucket) else { continue };
                    let from = facts.holders().cloned().collect();
                    let len = u32::try_from(facts.bytes).unwrap_or(u32::MAX);
                    copies.push(Copy { digest, to, from, bucket, len });
                }
            }
        }
        let mut made = futures::stream::iter(copies.into_iter().map(|copy| self.copy(copy)))
            .buffer_unordered(COPIES_MAX);
        while let Some(outcome) = made.next().await {
            outcome?;
        }
        drop(made);
        self.drop_extra(drops).await
    }

    /// Sends a copy. The row comes first: what is there and in no row would be taken for misplaced.
    async fn copy(&self, copy: Copy) -> Result<(), ObjectError> {
        let Copy { digest, to, from, bucket, len } = copy;
        let (now, peer) = (self.clock.now().into(), to.clone());
        let noted = self.db.write(move |tx| note_extra(tx, digest, bucket, len, peer, now)).await?;
        let Some(round) = noted else { return Ok(()) };
        let head = PullHead { digest, part: Part::Whole, round, from };
        match self.ask_pull(&to, &head).await {
            Ok(true) => {
                metrics::counter!("cm_storage_extra_copies_made_total").increment(1);
                metrics::counter!("cm_storage_extra_copies_bytes_total").increment(len.into());
                Ok(())
            }
            failed => {
                tracing::debug!(%digest, peer = %to, ?failed, "no extra copy could be made");
                self.drop_extra(vec![(digest, to)]).await
            }
        }
    }

    /// Takes extra copies off their rows, and has their peers delete them as far as they belong elsewhere.
    pub(super) async fn drop_extra(&self, dropped: Vec<(Sha256Digest, PeerId)>) -> Result<(), ObjectError> {
        if dropped.is_empty() {
            return Ok(());
        }
        let (now, gone) = (self.clock.now().into(), dropped.clone());
        self.db
            .write(move |tx| gone.iter().try_for_each(|(digest, peer)| forget_extra(tx, digest, peer, now)))
            .await?;
        metrics::counter!("cm_storage_extra_copies_dropped_total").increment(dropped.len() as u64);
        let mut by_peer: BTreeMap<PeerId, Vec<Sha256Digest>> = BTreeMap::new();
        for (digest, peer) in dropped {
            by_peer.entry(peer).or_default().push(digest);
        }
        // Whoever does not hear of it finds it when it next looks through what it has.
        join_all(by_peer.into_iter().filter(|(peer, _)| self.is_up(peer)).map(
            |(peer, digests)| async move {
                for digests in digests.chunks(ITEMS_MAX) {
                    if let Err(error) = self.ask_drop(&peer, &DropHead { digests: digests.to_vec() }).await {
                        tracing::debug!(%peer, %error, "peer did not drop extra copies");
                    }
                }
            },
        ))
        .await;
        Ok(())
    }

    /// Deletes what this peer has of these chunks and what belongs elsewhere, as when it looks through everything.
    pub(in crate::network) async fn drop_surplus(
        &self,
        digests: Vec<Sha256Digest>,
    ) -> Result<(), ObjectError> {
        let chunks = self.chunks.clone();
        let listed = self.tasks.spawn_blocking("part-list", move || {
            let there = |digest: &Sha256Digest| chunks.hold(digest, Part::Whole, None).unwrap_or(false);
            let there = digests.into_iter().filter(there);
            there.map(|digest| (digest, Part::Whole, 0)).collect::<Vec<_>>()
        });
        let listed = listed.await.map_err(|_| ObjectError::Lost)?;
        for batch in listed.chunks(ITEMS_MAX) {
            // What no row knows is left to the look at everything, which waits for its grace.
            self.tidy_batch(batch.to_vec(), &mut Orphans::default(), &mut Default::default()).await?;
        }
        Ok(())
    }
}

/// Notes that a peer is to have a copy. The round in which it is promised; `None` if the chunk is gone.
fn note_extra(
    tx: &mut WriteTx<'_>,
    digest: Sha256Digest,
    bucket: BucketId,
    len: u32,
    peer: PeerId,
    now: Timestamp,
) -> Result<Option<u64>, ObjectError> {
    if tx.get::<Chunks>(&digest)?.is_none_or(|row| row.references == 0) {
        return Ok(None);
    }
    let (tenant, bucket) = bucket;
    let old = tx.get::<ExtraCopies>(&digest)?;
    let mut row = old.unwrap_or(ExtraRow { tenant, bucket, len, peers: Vec::new(), changed_at: now });
    if !row.peers.contains(&peer) {
        row.peers.push(peer);
    }
    row.changed_at = now;
    tx.put::<ExtraCopies>(&digest, &row)?;
    Ok(Some(tx.get::<Rounds>(&())?.unwrap_or_default().round))
}

fn forget_extra(
    tx: &mut WriteTx<'_>,
    digest: &Sha256Digest,
    peer: &PeerId,
    now: Timestamp,
) -> Result<(), ObjectError> {
    let Some(mut row) = tx.get::<ExtraCopies>(digest)? else { return Ok(()) };
    row.peers.retain(|other| other != peer);
    row.changed_at = now;
    match row.peers.is_empty() {
        true => tx.delete::<ExtraCopies>(digest).map(drop)?,
        false => tx.put::<ExtraCopies>(digest, &row)?,
    }
    Ok(())
}
