//! How a peer answers.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use cm_db::{Direction, Key, KeyRange};
use cm_net::{Kind, Refusal};
use cm_placement::WIDTH_MAX;
use cm_types::{PeerId, Sha256Digest};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

use super::Network;
use super::elastic::counts::BucketId;
use super::elastic::settings::ELASTIC_BUCKETS_MAX;
use super::tables::BucketElastics;
use super::wire::{
    DROP, DropHead, GET, GetAnswer, GetHead, HAVE, HEAD_LEN_MAX, HEAT, HOT_BUCKETS_MAX, HOT_MAX, HaveAnswer,
    HaveHead, HeatAnswer, HotItem, ITEMS_MAX, LEASED, LeasedAnswer, LeasedHead, NAMES_MAX, PULL, PUT,
    PullHead, PutAnswer, PutHead, READINGS, ReadingsAnswer, ReadingsHead, STATISTICS, StatisticsAnswer, join,
    split,
};
use crate::chunks::{KeepError, PART_LEN_MAX, Part};
use crate::{Flaw, ObjectError};

/// What may be asked, and how long that is at most.
const KINDS: [(Kind, usize); 9] = [
    (PUT, 4 + HEAD_LEN_MAX + PART_LEN_MAX),
    (GET, 4 + HEAD_LEN_MAX),
    (HAVE, 4 + HEAD_LEN_MAX),
    (PULL, 4 + HEAD_LEN_MAX),
    (LEASED, 4 + HEAD_LEN_MAX),
    (STATISTICS, 64),
    (HEAT, 64),
    (READINGS, 4 + HEAD_LEN_MAX),
    (DROP, 4 + HEAD_LEN_MAX),
];

/// Registers everything that peers may ask.
pub(super) fn register(network: &Arc<Network>) -> Result<(), ObjectError> {
    for (kind, len_max) in KINDS {
        // The links outlive the engine, and must not keep it.
        let weak: Weak<Network> = Arc::downgrade(network);
        let answer = move |_: PeerId, message: Bytes| {
            let weak = weak.clone();
            async move {
                let network = weak.upgrade().ok_or(Refusal::Unavailable)?;
                network.serve(kind, message).await
            }
        };
        network.links.on_request(kind, len_max, answer).map_err(|_| ObjectError::ConnectedAlready)?;
    }
    Ok(())
}

fn head<T: DeserializeOwned>(message: Bytes) -> Result<(T, Bytes), Refusal> {
    split(message).ok_or(Refusal::Malformed)
}

impl Network {
    /// Answers one question. The links have seen to it that whoever asks is of this catalogue.
    /// Dropping the future loses the answer; what was begun on the disk is finished.
    // Boxed, since getting a part from others may be asking oneself.
    pub(super) fn serve(&self, kind: Kind, message: Bytes) -> BoxFuture<'_, Result<Bytes, Refusal>> {
        self.answer(kind, message).boxed()
    }

    async fn answer(&self, kind: Kind, message: Bytes) -> Result<Bytes, Refusal> {
        if kind == PUT {
            let (head, bytes) = head::<PutHead>(message)?;
            return Ok(join(&self.serve_put(head, bytes).await?, &[]));
        }
        if kind == GET {
            return self.serve_get(head::<GetHead>(message)?.0).await;
        }
        if kind == HAVE {
            return Ok(join(&self.serve_have(head::<HaveHead>(message)?.0).await?, &[]));
        }
        if kind == PULL {
            return Ok(join(&self.serve_pull(head::<PullHead>(message)?.0).await?, &[]));
        }
        if kind == LEASED {
            let LeasedHead { versions } = head::<LeasedHead>(message)?.0;
            // A reader or writer that comes after the answer sees then what the asker has seen: the version is doomed.
            self.db.barrier().await.map_err(|_| Refusal::Unavailable)?;
            let leased = versions.into_iter().filter(|version| self.leases.is_shared(*version)).collect();
            return Ok(join(&LeasedAnswer { leased }, &[]));
        }
        if kind == HEAT {
            return Ok(join(&self.serve_heat().await?, &[]));
        }
        if kind == READINGS {
            return Ok(join(&self.serve_readings(head::<ReadingsHead>(message)?.0)?, &[]));
        }
        if kind == DROP {
            let DropHead { digests } = head::<DropHead>(message)?.0;
            if digests.len() > ITEMS_MAX {
                return Err(Refusal::Malformed);
            }
            self.drop_surplus(digests).await.map_err(|_| Refusal::Unavailable)?;
            return Ok(join(&(), &[]));
        }
        Ok(join(&self.statistics(), &[]))
    }

    /// What is read most here of buckets whose copies follow the load.
    async fn serve_heat(&self) -> Result<HeatAnswer, Refusal> {
        let elastic = self.db.read(|tx| {
            // Their names only: policies can be long.
            let rows =
                tx.raw_range::<BucketElastics>(KeyRange::all(), Direction::Forward, ELASTIC_BUCKETS_MAX)?;
            let names = rows.iter().filter_map(|(name, _)| BucketId::decode(name).ok());
            Ok::<_, ObjectError>(names.collect::<HashSet<_>>())
        });
        let elastic = elastic.await.map_err(|_| Refusal::Unavailable)?;
        let now = self.clock.now().into();
        let (hottest, per_second) = self.reads.hottest(HOT_MAX, now, |bucket| elastic.contains(bucket));
        let (mut buckets, mut numbers, mut chunks) = (Vec::new(), HashMap::new(), Vec::new());
        for (digest, reads) in hottest {
            let bucket = match numbers.get(&reads.bucket) {
                Some(number) => *number,
                None if buckets.len() == HOT_BUCKETS_MAX => continue,
                None => {
                    let number = u16::try_from(buckets.len()).expect("fewer than the limit above");
                    buckets.push(reads.bucket.as_ref().clone());
                    numbers.insert(reads.bucket.clone(), number);
                    number
                }
            };
            chunks.push(HotItem {
                digest,
                bucket,
                per_second: reads.per_second(now),
                service_micros: u64::try_from(reads.service_time().as_micros()).unwrap_or(u64::MAX),
                len: reads.len,
            });
        }
        Ok(HeatAnswer { buckets, chunks, per_second })
    }

    fn serve_readings(&self, head: ReadingsHead) -> Result<ReadingsAnswer, Refusal> {
        let ReadingsHead { tenant, bucket, keys } = head;
        if keys.len() > NAMES_MAX {
            return Err(Refusal::Malformed);
        }
        let now = self.clock.now().into();
        let names = keys.into_iter().map(|key| (tenant.clone(), bucket.clone(), key));
        Ok(ReadingsAnswer { counts: names.map(|name| self.reads.of(&name, now)).collect() })
    }

    pub(super) async fn serve_put(&self, head: PutHead, bytes: Bytes) -> Result<PutAnswer, Refusal> {
        let PutHead { digest, part, round } = head;
        if !self.has_room(bytes.len() as u64) {
            return Ok(PutAnswer::Full);
        }
        let chunks = self.chunks.clone();
        let kept = self.tasks.spawn_blocking("part-keep", move || chunks.keep(&digest, part, &bytes, round));
        match kept.await.map_err(|_| Refusal::Unavailable)? {
            Ok(_) => {
                metrics::counter!("cm_storage_parts_kept_total").increment(1);
                Ok(PutAnswer::Stored)
            }
            Err(KeepError::Damaged) => Ok(PutAnswer::Damaged),
            Err(KeepError::Storage(error)) if error.is_full() => Ok(PutAnswer::Full),
            Err(KeepError::Storage(error)) => {
                tracing::error!(%digest, error = &error as &dyn std::error::Error, "part could not be kept");
                Ok(PutAnswer::Failed)
            }
        }
    }

    /// Whether so many bytes more are within what this peer offers.
    fn has_room(&self, bytes: u64) -> bool {
        let known = self.known();
        let offered = known.current().peer(&self.own).map(|peer| peer.capacity_bytes);
        let (_, used) = self.chunks.counted();
        offered.is_some_and(|offered| used.saturating_add(bytes) <= offered)
    }

    async fn serve_get(&self, head: GetHead) -> Result<Bytes, Refusal> {
        let GetHead { digest, mut parts } = head;
        parts.truncate(PARTS_MAX);
        let chunks = self.chunks.clone();
        let read = self.tasks.spawn_blocking("part-read", move || {
            let (mut found, mut damaged) = (Vec::new(), Vec::new());
            for part in parts {
                match chunks.read_part(&digest, part) {
                    Ok(bytes) => found.push((part, bytes)),
                    Err(Flaw::Missing) => {}
                    Err(_) => damaged.push(part),
                }
            }
            (found, damaged)
        });
        let (found, damaged) = read.await.map_err(|_| Refusal::Unavailable)?;
        for part in damaged {
            self.damaged(digest, part).await;
        }
        let lens = found.iter().map(|(part, bytes)| (*part, u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        let answer = GetAnswer { parts: lens.collect() };
        let bytes: Vec<&[u8]> = found.iter().map(|(_, bytes)| &bytes[..]).collect();
        Ok(join(&answer, &bytes))
    }

    async fn serve_have(&self, head: HaveHead) -> Result<HaveAnswer, Refusal> {
        if head.items.len() > ITEMS_MAX {
            return Err(Refusal::Malformed);
        }
        if head.epoch.is_some() {
            let known = self.learn().await.map_err(|_| Refusal::Unavailable)?;
            if head.epoch != Some(known.current().epoch().0) {
                return Err(Refusal::Unavailable);
            }
        }
        let chunks = self.chunks.clone();
        let looked = self.tasks.spawn_blocking("part-look", move || {
            let (mut all, mut damaged) = (Vec::with_capacity(head.items.len()), Vec::new());
            for item in head.items {
                let Ok(redundancy) = item.kept.redundancy() else { return Err(Refusal::Malformed) };
                let mut parts = Vec::new();
                for part in Part::all(redundancy) {
                    match head.is_relied_on.then(|| chunks.read_part(&item.digest, part)) {
                        None | Some(Ok(_)) => {}
                        Some(Err(Flaw::Missing)) => continue,
                        Some(Err(_)) => {
                            damaged.push((item.digest, part));
                            continue;
                        }
                    }
                    match chunks.hold(&item.digest, part, item.round) {
                        Ok(true) => parts.push(part),
                        Ok(false) => {}
                        Err(error) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::error!(digest = %item.digest, error, "part could not be promised");
                        }
                    }
                }
                all.push(parts);
            }
            Ok((HaveAnswer { parts: all }, damaged))
        });
        let (answer, damaged) = looked.await.map_err(|_| Refusal::Unavailable)??;
        for (digest, part) in damaged {
            self.damaged(digest, part).await;
        }
        Ok(answer)
    }

    async fn serve_pull(&self, head: PullHead) -> Result<bool, Refusal> {
        let PullHead { digest, part, round, from } = head;
        let chunks = self.chunks.clone();
        let held = self
            .tasks
            .spawn_blocking("part-look", move || {
                // Rot is not mended by finding it there.
                Ok::<_, ObjectError>(
                    chunks.read_part(&digest, part).is_ok() && chunks.hold(&digest, part, Some(round))?,
                )
            })
            .await;
        if matches!(held, Ok(Ok(true))) {
            return Ok(true);
        }
        let Some(bytes) = self.gather(&digest, part, &from).await else { return Ok(false) };
        let stored = self.serve_put(PutHead { digest, part, round }, bytes).await?;
        Ok(stored == PutAnswer::Stored)
    }

    /// A part was read and is not what it should be: it is deleted, and made anew from others.
    pub(super) async fn damaged(&self, digest: Sha256Digest, part: Part) {
        let chunks = self.chunks.clone();
        let removed =
            self.tasks.spawn_blocking("part-remove", move || chunks.remove_damaged(&digest, part)).await;
        if matches!(removed, Ok(Ok(true))) {
            tracing::warn!(%digest, ?part, "damaged part of a chunk deleted, to be made anew from other peers");
            metrics::counter!("cm_storage_parts_damaged_total").increment(1);
            self.usage.damaged.fetch_add(1, Ordering::Relaxed);
        }
        self.found_short(digest);
    }

    pub(super) fn statistics(&self) -> StatisticsAnswer {
        let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let (parts, bytes) = self.chunks.counted();
        StatisticsAnswer {
            parts,
            bytes,
            counted: self.usage.counted.load(Ordering::Relaxed),
            damaged: read(&self.usage.damaged),
            epoch: self.known().current().epoch().0,
            tidy_in: read(&self.usage.tidy_in).checked_sub(1),
        }
    }
}

/// Most parts of one chunk that are asked for at once.
const PARTS_MAX: usize = WIDTH_MAX;
