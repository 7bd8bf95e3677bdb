//! In which order damage is repaired.

use cm_types::{ByteCount, Sha256Digest};

use crate::Redundancy;

/// A chunk of which parts are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Which.
    pub digest: Sha256Digest,
    /// How long the whole chunk is.
    pub bytes: ByteCount,
    /// How it is kept.
    pub redundancy: Redundancy,
    /// How many of its parts are known to be whole.
    pub surviving: usize,
}

impl Damaged {
    /// How many more parts may be lost before it cannot be read; `None` if it cannot be read now.
    pub fn spare(&self) -> Option<usize> {
        self.surviving.checked_sub(self.redundancy.needed())
    }

    fn missing(&self) -> usize {
        self.redundancy.width().saturating_sub(self.surviving)
    }
}

/// One repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// What is repaired.
    pub chunk: Damaged,
    /// How many parts have to be made.
    pub missing: usize,
    /// How many bytes are read and written for it.
    pub bytes_moved: u64,
}

/// What to repair, in order, and what cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairPlan {
    /// The most endangered first.
    pub repairs: Vec<Repair>,
    /// What too few parts are left of. A peer that comes back may bring it back.
    pub lost: Vec<Damaged>,
}

/// Orders repairs by what one more loss would cost: first what it would destroy, then what it would leave without
/// reserve. Among equals the ones that move least come first, since that makes most of them safe soonest; then the order
/// is that of the digests. What is whole is left out.
pub fn repair_order(damaged: impl IntoIterator<Item = Damaged>) -> RepairPlan {
    let mut plan = RepairPlan::default();
    for chunk in damaged {
        match (chunk.spare(), chunk.missing()) {
            (None, _) => plan.lost.push(chunk),
            (Some(_), 0) => {}
            (Some(_), missing) => {
                let part = chunk.redundancy.bytes_per_holder(chunk.bytes.bytes());
                let parts = (chunk.redundancy.needed() + missing) as u64;
                plan.repairs.push(Repair { missing, bytes_moved: part.saturating_mul(parts), chunk });
            }
        }
    }
    plan.repairs.sort_by_key(|repair| (repair.chunk.spare(), repair.bytes_moved, repair.chunk.digest));
    plan.lost.sort_by_key(|chunk| chunk.digest);
    plan
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn damaged(number: u8, bytes: u64, redundancy: Redundancy, surviving: usize) -> Damaged {
        let digest = Sha256Digest::from_bytes([number; 32]);
        Damaged { digest, bytes: ByteCount::from_bytes(bytes), redundancy, surviving }
    }

    #[test]
    fn the_most_endangered_comes_first() {
        let three = Redundancy::replicas(3).unwrap();
        let coded = Redundancy::erasure(3, 2).unwrap();
        let plan = repair_order([
            damaged(1, 10, three, 2),
            damaged(2, 10, three, 1),
            damaged(3, 10, three, 3),
            damaged(4, 10, three, 0),
            damaged(5, 1, coded, 4),
            damaged(6, 300, coded, 3),
            damaged(7, 10, coded, 2),
        ]);
        let order: Vec<_> = plan.repairs.iter().map(|repair| repair.chunk.digest.as_bytes()[0]).collect();
        assert_eq!(order, [2, 6, 5, 1]);
        assert_eq!(plan.repairs[1].bytes_moved, 500, "three shards are read, two are written");
        let lost: Vec<_> = plan.lost.iter().map(|chunk| chunk.digest.as_bytes()[0]).collect();
        assert_eq!(lost, [4, 7]);
    }

    proptest! {
        #[test]
        fn nothing_safer_comes_before_something_less_safe(
            all in prop::collection::vec((any::<u8>(), 0_u64..1_000_000, 1_usize..5, 0_usize..5), 0..50),
        ) {
            let chunks: Vec<_> = all
                .into_iter()
                .map(|(n, bytes, copies, left)| damaged(n, bytes, Redundancy::replicas(copies).unwrap(), left))
                .collect();
            let plan = repair_order(chunks.clone());
            for pair in plan.repairs.windows(2) {
                prop_assert!(pair[0].chunk.spare() <= pair[1].chunk.spare());
            }
            let whole = chunks.iter().filter(|chunk| chunk.surviving >= chunk.redundancy.width()).count();
            prop_assert_eq!(plan.repairs.len() + plan.lost.len() + whole, chunks.len());
        }
    }
}
