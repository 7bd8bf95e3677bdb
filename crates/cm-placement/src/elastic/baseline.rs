//! The strategy of the earlier system, to be compared with.

use std::collections::{BTreeMap, BTreeSet};

use cm_types::PeerId;

use super::planner::{ObjectFacts, PeerFacts, Step};

/// How often each peer has served each object, since the beginning.
pub type Hits<K> = BTreeMap<PeerId, BTreeMap<K, u64>>;

/// Copies what is warmer than the mean.
///
/// Each peer's hits are divided by their sum; the mean of an object over all peers is its temperature, the mean of all
/// cells the threshold. Of the objects above it that have fewer than `replicas_max` copies the warmest gets one more, one
/// per tick: from the holder that has served it least to the peer that would be least full. Nothing is ever dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeanTemperature {
    /// Most copies of an object.
    pub replicas_max: usize,
}

impl MeanTemperature {
    /// The one step of a tick, if there is any.
    pub fn plan<K: Ord + Clone>(
        &self,
        hits: &Hits<K>,
        objects: &[ObjectFacts<K>],
        peers: &BTreeMap<PeerId, PeerFacts>,
    ) -> Option<Step<K>> {
        let temperatures = temperatures(hits, objects, peers);
        let mean = temperatures.iter().sum::<f64>() / temperatures.len().max(1) as f64;
        let candidates = objects.iter().zip(&temperatures).filter(|(object, temperature)| {
            **temperature > mean && object.holders().count() < self.replicas_max
        });
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by(|(a, warm), (b, warmer)| warmer.total_cmp(warm).then_with(|| a.id.cmp(&b.id)));
        candidates.into_iter().find_map(|(object, _)| copy(hits, object, peers))
    }

    /// What the earlier system may do after a copy: every holder's hits of the object are set to an equal share, so that the
    /// new one is not asked for everything until it has caught up.
    pub fn balance<K: Ord + Clone>(hits: &mut Hits<K>, object: &ObjectFacts<K>, to: &PeerId) {
        let holders: BTreeSet<&PeerId> = object.holders().chain([to]).collect();
        let served =
            |peer: &&PeerId| hits.get(*peer).and_then(|row| row.get(&object.id)).copied().unwrap_or(0);
        let share = holders.iter().map(served).sum::<u64>().div_ceil(holders.len() as u64);
        for holder in holders {
            hits.entry(holder.clone()).or_default().insert(object.id.clone(), share);
        }
    }
}

/// The mean of each object's column.
fn temperatures<K: Ord>(
    hits: &Hits<K>,
    objects: &[ObjectFacts<K>],
    peers: &BTreeMap<PeerId, PeerFacts>,
) -> Vec<f64> {
    let mut temperatures: BTreeMap<&K, f64> = BTreeMap::new();
    for row in hits.iter().filter(|(peer, _)| peers.contains_key(*peer)).map(|(_, row)| row) {
        let sum = row.values().sum::<u64>().max(1) as f64;
        for (object, count) in row {
            *temperatures.entry(object).or_default() += *count as f64 / sum;
        }
    }
    let rows = peers.len().max(1) as f64;
    objects.iter().map(|object| temperatures.get(&object.id).copied().unwrap_or(0.0) / rows).collect()
}

fn copy<K: Ord + Clone>(
    hits: &Hits<K>,
    object: &ObjectFacts<K>,
    peers: &BTreeMap<PeerId, PeerFacts>,
) -> Option<Step<K>> {
    let served = |peer: &PeerId| hits.get(peer).and_then(|row| row.get(&object.id)).copied().unwrap_or(0);
    let from = object.holders().min_by_key(|peer| served(peer))?.clone();
    let fits = peers.iter().filter(|(peer, facts)| facts.fits(object.bytes) && !object.is_held_by(peer));
    let fullness = |facts: &PeerFacts| {
        let free = facts.free_bytes - object.bytes;
        1.0 - free as f64 / facts.capacity_bytes.max(1) as f64
    };
    let (to, _) = fits.min_by(|(_, a), (_, b)| fullness(a).total_cmp(&fullness(b)))?;
    Some(Step::Copy { object: object.id.clone(), from, to: to.clone(), bytes: object.bytes })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Domain;

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    fn peers(free: &[u64]) -> BTreeMap<PeerId, PeerFacts> {
        let facts = |free_bytes: &u64| PeerFacts {
            domain: Domain::parse("d").unwrap(),
            capacity_bytes: 100,
            free_bytes: *free_bytes,
            accepts: true,
        };
        free.iter().enumerate().map(|(n, free)| (id(&format!("p{n}")), facts(free))).collect()
    }

    fn object(name: u32, bytes: u64, holders: &[&str]) -> ObjectFacts<u32> {
        let placed = holders.iter().map(|holder| id(holder)).collect();
        let service_time = Duration::from_millis(1);
        ObjectFacts {
            id: name,
            bytes,
            reads_per_second: 0.0,
            service_time,
            placed,
            extra: vec![],
            demanded: vec![],
            changed_at: None,
            replicas_max: None,
        }
    }

    #[test]
    fn the_warmest_goes_to_the_emptiest_one_at_a_time() {
        let objects = [object(1, 10, &["p0"]), object(2, 10, &["p1"]), object(3, 10, &["p0"])];
        let row = |counts: &[(u32, u64)]| counts.iter().copied().collect::<BTreeMap<_, _>>();
        let mut hits = Hits::from([(id("p0"), row(&[(1, 8), (3, 2)])), (id("p1"), row(&[(2, 5)]))]);
        let strategy = MeanTemperature { replicas_max: 2 };
        // Object 2 is all that p1 serves: by this measure it is the warmest, though object 1 is read more often.
        let step = strategy.plan(&hits, &objects, &peers(&[50, 50, 40, 60]));
        assert_eq!(step, Some(Step::Copy { object: 2, from: id("p1"), to: id("p3"), bytes: 10 }));
        assert_eq!(
            strategy.plan(&hits, &objects, &peers(&[50, 50, 9, 9])),
            Some(Step::Copy { object: 2, from: id("p1"), to: id("p0"), bytes: 10 })
        );
        assert_eq!(MeanTemperature { replicas_max: 1 }.plan(&hits, &objects, &peers(&[50, 50])), None);
        MeanTemperature::balance(&mut hits, &objects[1], &id("p3"));
        assert_eq!((hits[&id("p1")][&2], hits[&id("p3")][&2]), (3, 3));
        assert_eq!(strategy.plan(&Hits::new(), &objects, &peers(&[50, 50])), None);
    }
}
