//! How often this node has read what.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cm_placement::elastic::Heat;
use cm_types::{BucketName, ObjectKey, Sha256Digest, TenantId, Timestamp};

use crate::network::lock;

/// Chunks that are remembered, and objects; of more the colder half is forgotten.
const REMEMBERED_MAX: usize = 16_384;
/// How much of the mean service time the latest read makes up.
const LATEST_SHARE: f64 = 0.1;
/// No read counts as longer: behind a peer that hangs the load is not what it seems.
const SERVICE_MAX: Duration = Duration::from_millis(500);

/// A bucket of a tenant.
pub(crate) type BucketId = (TenantId, BucketName);

/// The reads of this node since it started.
#[derive(Default)]
pub(crate) struct Reads(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    chunks: HashMap<Sha256Digest, ChunkReads>,
    objects: HashMap<(TenantId, BucketName, ObjectKey), ObjectReads>,
    all: Heat,
}

/// The reads of a chunk.
#[derive(Clone, Debug)]
pub(crate) struct ChunkReads {
    heat: Heat,
    service_secs: f64,
    /// How long the chunk is.
    pub(crate) len: u32,
    /// Of the object that it was last read for.
    pub(crate) bucket: Arc<BucketId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ObjectReads {
    heat: Heat,
    gets: u64,
}

impl ChunkReads {
    pub(crate) fn per_second(&self, now: Timestamp) -> f64 {
        self.heat.per_second(now)
    }

    /// How long one read takes.
    pub(crate) fn service_time(&self) -> Duration {
        Duration::from_secs_f64(self.service_secs)
    }
}

impl Reads {
    /// A chunk was read, which took so long.
    pub(crate) fn chunk(
        &self,
        digest: Sha256Digest,
        len: usize,
        bucket: &Arc<BucketId>,
        took: Duration,
        now: Timestamp,
    ) {
        let mut counts = lock(&self.0);
        forget_colder(&mut counts.chunks, &digest, |reads| reads.heat.per_second(now));
        let took = took.min(SERVICE_MAX).as_secs_f64();
        let reads = counts.chunks.entry(digest).or_insert_with(|| ChunkReads {
            heat: Heat::default(),
            service_secs: took,
            len: 0,
            bucket: bucket.clone(),
        });
        reads.heat.record(now);
        reads.service_secs += (took - reads.service_secs) * LATEST_SHARE;
        reads.len = u32::try_from(len).unwrap_or(u32::MAX);
        reads.bucket.clone_from(bucket);
    }

    /// An object was opened.
    pub(crate) fn object(&self, name: (TenantId, BucketName, ObjectKey), now: Timestamp) {
        let mut counts = lock(&self.0);
        forget_colder(&mut counts.objects, &name, |reads| reads.heat.per_second(now));
        counts.all.record(now);
        let reads = counts.objects.entry(name).or_default();
        reads.heat.record(now);
        reads.gets = reads.gets.saturating_add(1);
    }

    /// The chunks that are read most among those that `wanted` says, and how often any object is opened, per second.
    pub(crate) fn hottest(
        &self,
        count: usize,
        now: Timestamp,
        wanted: impl Fn(&BucketId) -> bool,
    ) -> (Vec<(Sha256Digest, ChunkReads)>, f64) {
        let counts = lock(&self.0);
        let chunks = counts.chunks.iter().filter(|(_, reads)| wanted(&reads.bucket));
        let chunks: Vec<_> = chunks.map(|(digest, reads)| (*digest, reads.clone())).collect();
        let all = counts.all.per_second(now);
        drop(counts);
        // A rate takes longer to compute than to compare.
        let mut rated: Vec<_> = chunks.into_iter().map(|one| (one.1.heat.per_second(now), one)).collect();
        rated.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        (rated.into_iter().take(count).map(|(_, one)| one).collect(), all)
    }

    /// How often an object was opened, and how often per second now.
    pub(crate) fn of(&self, name: &(TenantId, BucketName, ObjectKey), now: Timestamp) -> (u64, f64) {
        let counts = lock(&self.0);
        counts.objects.get(name).map_or((0, 0.0), |reads| (reads.gets, reads.heat.per_second(now)))
    }
}

/// Makes room for one more.
fn forget_colder<K: Eq + Hash, R>(all: &mut HashMap<K, R>, new: &K, rate: impl Fn(&R) -> f64) {
    if all.len() < REMEMBERED_MAX || all.contains_key(new) {
        return;
    }
    let mut rates: Vec<f64> = all.values().map(&rate).collect();
    let middle = rates.len() / 2;
    let (_, median, _) = rates.select_nth_unstable_by(middle, f64::total_cmp);
    let median = *median;
    let hotter = all.values().filter(|reads| rate(reads) > median).count();
    // Of equally cold ones no more than make up the half stay.
    let mut left = middle.saturating_sub(hotter);
    all.retain(|_, reads| match rate(reads).total_cmp(&median) {
        Ordering::Greater => true,
        Ordering::Equal if left > 0 => {
            left -= 1;
            true
        }
        Ordering::Equal | Ordering::Less => false,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: usize) -> Sha256Digest {
        cm_crypto::digest::sha256(&n.to_be_bytes())
    }

    #[test]
    fn what_is_read_most_is_remembered_within_bounds() {
        let (reads, now) = (Reads::default(), Timestamp::from_micros(1_800_000_000_000_000));
        let bucket = Arc::new((TenantId::default_tenant(), BucketName::parse("scans").unwrap()));
        for n in 0..REMEMBERED_MAX * 3 {
            let took = Duration::from_millis(if n == 0 { 4 } else { 1 });
            reads.chunk(digest(n), 10, &bucket, took, now);
            reads.chunk(digest(0), 10, &bucket, Duration::from_millis(4), now);
            assert!(lock(&reads.0).chunks.len() <= REMEMBERED_MAX);
        }
        let (hottest, _) = reads.hottest(2, now, |_| true);
        assert_eq!(hottest[0].0, digest(0));
        assert_eq!(hottest[0].1.service_time(), Duration::from_millis(4));
        assert!(hottest[0].1.per_second(now) > hottest[1].1.per_second(now) * 1000.0);
        assert!(reads.hottest(2, now, |_| false).0.is_empty());
    }

    #[test]
    fn objects_are_counted_by_name() {
        let (reads, now) = (Reads::default(), Timestamp::from_micros(1_800_000_000_000_000));
        let name = |key: &str| {
            (TenantId::default_tenant(), BucketName::parse("scans").unwrap(), ObjectKey::parse(key).unwrap())
        };
        for _ in 0..3 {
            reads.object(name("a"), now);
        }
        assert_eq!(reads.of(&name("a"), now).0, 3);
        assert_eq!(reads.of(&name("b"), now), (0, 0.0));
    }
}
