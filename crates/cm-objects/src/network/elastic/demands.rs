//! What policies of replication demand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use cm_db::KeyPrefix;
use cm_placement::apac::{Policy, Readings};
use cm_types::{BucketName, ObjectKey, PeerId, Sha256Digest, TenantId};
use futures::future::join_all;

use super::EXTRA_CHUNKS_MAX;
use super::counts::BucketId;
use super::sight::Sight;
use crate::encryption::stored_bytes;
use crate::network::Network;
use crate::network::wire::{NAMES_MAX, ReadingsHead};
use crate::packing::Placed;
use crate::rows::ObjectRow;
use crate::tables::{Chunks, Manifests, ObjectRows, VersionKey};
use crate::{CHUNK_BYTES, ObjectError};

/// Objects that are looked at in one tick, and chunks of them; of the last object all.
const LOOKED_AT_ONCE: usize = 1024;
/// Objects of more chunks, 1 GiB, are left alone by policies.
const OBJECT_CHUNKS_MAX: usize = 1024;
/// Chunks of which policies may demand copies at once; further ones are left alone.
const DEMANDED_MAX: usize = EXTRA_CHUNKS_MAX / 2;

/// Who is to have a copy of a chunk.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    pub(super) peers: BTreeSet<PeerId>,
    pub(super) len: u32,
    pub(super) bucket: Arc<BucketId>,
}

/// The demands as they were when all objects were last looked at, a page at a time.
#[derive(Default)]
pub(super) struct Demands {
    now: HashMap<Sha256Digest, Demand>,
    next: HashMap<Sha256Digest, Demand>,
    /// Where the next page begins.
    after: Option<(BucketId, Option<ObjectKey>)>,
    is_known: bool,
}

impl Demands {
    pub(super) fn of(&self, digest: &Sha256Digest) -> Option<&Demand> {
        self.now.get(digest)
    }

    pub(super) fn digests(&self) -> impl Iterator<Item = &Sha256Digest> {
        self.now.keys()
    }

    /// Whether all objects have been looked at since this peer plans. Before that nothing may be dropped that may be demanded.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Looks at the next objects.
    pub(super) async fn advance(&mut self, network: &Network, sight: &Sight) -> Result<(), ObjectError> {
        let texts =
            sight.settings.iter().filter_map(|(bucket, row)| Some((bucket.clone(), row.policy.as_deref()?)));
        let policies: BTreeMap<BucketId, &str> = texts.collect();
        // Of the bucket at hand: reading a policy takes long enough to do it once.
        let mut read: Option<(BucketId, Policy)> = None;
        let mut looked_at = 0;
        while looked_at < LOOKED_AT_ONCE {
            let next = match self.after.take() {
                None => policies.first_key_value().map(|(bucket, _)| (bucket.clone(), None)),
                Some((bucket, after)) => {
                    let rest = policies.range(bucket.clone()..).next();
                    rest.map(|(found, _)| (found.clone(), after.filter(|_| *found == bucket)))
                }
            };
            let Some((bucket, after)) = next else {
                self.finish();
                return Ok(());
            };
            let objects = page(network, &bucket, after).await?;
            if !objects.is_empty() && read.as_ref().is_none_or(|(of, _)| *of != bucket) {
                read =
                    policies.get(&bucket).and_then(|text| Some((bucket.clone(), Policy::parse(text).ok()?)));
            }
            // It was read before it was stored: one that cannot be read demands nothing.
            let policy = read.as_ref().filter(|(of, _)| !objects.is_empty() && *of == bucket);
            let Some((_, policy)) = policy else {
                looked_at += 1;
                // The next bucket is the first one behind this.
                let next = policies.range((Bound::Excluded(&bucket), Bound::Unbounded)).next();
                let Some((next, _)) = next else {
                    self.finish();
                    return Ok(());
                };
                self.after = Some((next.clone(), None));
                continue;
            };
            looked_at +=
                self.judge(network, sight, policy, bucket, objects, LOOKED_AT_ONCE - looked_at).await?;
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.now = std::mem::take(&mut self.next);
        self.after = None;
        self.is_known = true;
    }

    /// Looks at the objects of a bucket until it has looked at so many of them and of their chunks; at how many it did.
    async fn judge(
        &mut self,
        network: &Network,
        sight: &Sight,
        policy: &Policy,
        bucket: BucketId,
        objects: Vec<(ObjectKey, ObjectRow)>,
        most: usize,
    ) -> Result<usize, ObjectError> {
        let bucket = Arc::new(bucket);
        let keys: Vec<ObjectKey> = objects.iter().map(|(key, _)| key.clone()).collect();
        let readings = network.readings(&bucket, keys, sight.reads_per_second).await;
        // Were it held by everybody: only then is there something to be found out about the chunks.
        let anywhere: Vec<PeerId> = sight.known.current().peers().map(|(id, _)| id.clone()).collect();
        let mut looked_at = 0;
        for ((key, row), readings) in objects.iter().zip(readings) {
            if looked_at >= most {
                break;
            }
            self.after = Some((bucket.as_ref().clone(), Some(key.clone())));
            looked_at += 1;
            if self.next.len() >= DEMANDED_MAX
                || policy.demands(&bucket.1, key, &anywhere, &readings).next().is_none()
            {
                continue;
            }
            let chunks = chunks_of(network, row).await?;
            looked_at += chunks.len();
            for (digest, len, placed) in chunks {
                let peers = policy.demands(&bucket.1, key, &placed, &readings);
                let peers: BTreeSet<PeerId> = peers.filter(|peer| !placed.contains(peer)).cloned().collect();
                if peers.is_empty() || (self.next.len() >= DEMANDED_MAX && !self.next.contains_key(&digest)) {
                    continue;
                }
                let demand = || Demand { peers: BTreeSet::new(), len, bucket: bucket.clone() };
                self.next.entry(digest).or_insert_with(demand).peers.extend(peers);
            }
        }
        Ok(looked_at)
    }
}

async fn page(
    network: &Network,
    bucket: &BucketId,
    after: Option<ObjectKey>,
) -> Result<Vec<(ObjectKey, ObjectRow)>, ObjectError> {
    let (tenant, name): (TenantId, BucketName) = bucket.clone();
    let rows = network.db.read(move |tx| {
        let all = KeyPrefix::new().part(&tenant).part(&name);
        let after = after.map(|key| (tenant, name, key));
        Ok::<_, ObjectError>(tx.prefix::<ObjectRows>(&all, after.as_ref(), NAMES_MAX)?)
    });
    Ok(rows.await?.into_iter().map(|((_, _, key), row)| (key, row)).collect())
}

/// The chunks of an object with their lengths and whom placement wants to have them; none of one that is too large.
async fn chunks_of(
    network: &Network,
    row: &ObjectRow,
) -> Result<Vec<(Sha256Digest, u32, Vec<PeerId>)>, ObjectError> {
    let size = row.encryption.as_ref().map_or(row.size, |_| stored_bytes(row.size));
    let count = usize::try_from(size.div_ceil(CHUNK_BYTES as u64)).unwrap_or(usize::MAX);
    if count > OBJECT_CHUNKS_MAX {
        return Ok(Vec::new());
    }
    let version = VersionKey(row.version);
    let found = network.db.read(move |tx| {
        let segments = tx.prefix::<Manifests>(KeyPrefix::new().part(&version), None, OBJECT_CHUNKS_MAX)?;
        let chunks: Vec<Placed> =
            segments.into_iter().flat_map(|((_, number), row)| row.placed(number, size)).collect();
        let digests: Vec<Sha256Digest> = chunks.iter().map(|chunk| chunk.digest).collect();
        let rows = tx.get_many::<Chunks>(&digests)?;
        Ok::<_, ObjectError>(chunks.into_iter().zip(rows).collect::<Vec<_>>())
    });
    let known = network.known();
    let chunks = found.await?.into_iter().filter_map(|(chunk, row)| {
        let redundancy = network.redundancy(row?.kept);
        let placed = known.order(&chunk.digest).into_iter().take(redundancy.width()).collect();
        Some((chunk.digest, u32::try_from(chunk.stored()).unwrap_or(u32::MAX), placed))
    });
    Ok(chunks.collect())
}

impl Network {
    /// What the counters of objects say, all nodes taken together.
    async fn readings(&self, bucket: &BucketId, keys: Vec<ObjectKey>, all_per_second: f64) -> Vec<Readings> {
        let (tenant, bucket) = bucket.clone();
        let count = keys.len();
        let head = ReadingsHead { tenant, bucket, keys };
        let peers = self.everybody();
        let answers = join_all(peers.iter().map(|peer| self.ask_readings(peer, &head))).await;
        let mut sums = vec![(0_u64, 0.0_f64); count];
        for answer in answers.into_iter().flatten() {
            for (sum, one) in sums.iter_mut().zip(answer) {
                *sum = (sum.0.saturating_add(one.0), sum.1 + one.1.max(0.0));
            }
        }
        let percent = |rate: f64| match all_per_second > 0.0 {
            true => (rate / all_per_second * 100.0).min(100.0),
            false => 0.0,
        };
        sums.into_iter().map(|(gets, rate)| Readings { gets, access_percent: percent(rate) }).collect()
    }
}
