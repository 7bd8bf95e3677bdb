//! Which events one node has and another lacks, found with few bytes.
//!
//! Range-based set reconciliation (Meyer, 2023): two nodes compare a fingerprint of everything; where they differ, the range is cut into parts
//! which are compared in turn, down to ranges of few keys, which are listed. Neither remembers anything between
//! two packets, and a liar wins nothing but packets.

use std::collections::BTreeSet;
use std::ops::Bound;

use cm_crypto::digest;
use cm_types::Sha256Digest;

use crate::EventKey;

/// Keys that are kept, the newest as a rule: 32 bytes each and what a tree needs. Older events are beyond comparing.
pub const INVENTORY_MAX: usize = 200_000;
/// Into how many parts a range is cut, and from how few keys on they are listed.
const PARTS: usize = 16;
const LISTED_MAX: usize = 32;
/// Ranges in one packet at most.
pub const RANGES_MAX: usize = 256;
/// Keys that one comparison offers at most; what is left is found by the next.
const OFFERED_MAX: usize = 2048;

/// What somebody has of a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSummary {
    /// The first key that would be in it.
    pub from: EventKey,
    /// The first behind it; `None` where there is no end.
    pub to: Option<EventKey>,
    /// What is there.
    pub content: Content,
}

/// What is there of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// So much, in short: see [`Inventory`].
    Fingerprint([u8; 32]),
    /// Exactly these.
    Keys(Vec<EventKey>),
}

/// What a comparison comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// What to compare next.
    pub ranges: Vec<RangeSummary>,
    /// What the other has and this does not.
    pub lacking: Vec<EventKey>,
    /// What this has and the other does not.
    pub offered: Vec<EventKey>,
}

/// The keys of the events that are kept.
///
/// The fingerprint of some of them is the SHA-256 of their number and of their sum modulo 2^256. Without the digest around it, the
/// sum of keys that an attacker may choose could be made equal to another.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    keys: BTreeSet<EventKey>,
}

impl Inventory {
    /// Of these keys, so far as there is room.
    pub fn of(keys: impl IntoIterator<Item = EventKey>) -> Self {
        Self { keys: keys.into_iter().take(INVENTORY_MAX).collect() }
    }

    /// Whether a key is there.
    pub fn contains(&self, key: &EventKey) -> bool {
        self.keys.contains(key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds a key; whether it was new. Where there is no room, any other one goes.
    pub fn insert(&mut self, key: EventKey) -> bool {
        let new = self.keys.insert(key);
        if self.keys.len() > INVENTORY_MAX {
            let after = self.keys.range((Bound::Excluded(key), Bound::Unbounded)).next().copied();
            let other = after.or_else(|| self.keys.first().copied());
            if let Some(other) = other {
                self.keys.remove(&other);
            }
        }
        new
    }

    /// Takes a key away.
    pub fn remove(&mut self, key: &EventKey) {
        self.keys.remove(key);
    }

    /// All of it, to begin with.
    pub fn whole(&self) -> RangeSummary {
        let from = EventKey(Sha256Digest::from_bytes([0; 32]));
        RangeSummary { from, to: None, content: Content::Fingerprint(self.fingerprint(&from, None).0) }
    }

    fn range(&self, from: &EventKey, to: Option<&EventKey>) -> impl Iterator<Item = &EventKey> {
        // A range that ends before it begins is empty, whoever says so.
        let end = match to {
            Some(to) if to < from => Bound::Excluded(*from),
            Some(to) => Bound::Excluded(*to),
            None => Bound::Unbounded,
        };
        self.keys.range((Bound::Included(*from), end))
    }

    fn fingerprint(&self, from: &EventKey, to: Option<&EventKey>) -> ([u8; 32], usize) {
        let (mut sum, mut count) = ([0u8; 32], 0usize);
        for key in self.range(from, to) {
            let mut carry = 0u16;
            for (digit, add) in sum.iter_mut().zip(key.0.as_bytes()).rev() {
                carry += u16::from(*digit) + u16::from(*add);
                *digit = carry.to_be_bytes()[1];
                carry >>= 8;
            }
            count += 1;
        }
        let mut fingerprint = digest::Sha256::new();
        fingerprint.update(&(count as u64).to_be_bytes());
        fingerprint.update(&sum);
        (*fingerprint.finish().as_bytes(), count)
    }

    /// Compares what somebody else has.
    pub fn compare(&self, theirs: &[RangeSummary]) -> Compared {
        let mut compared = Compared::default();
        for range in theirs.iter().take(RANGES_MAX) {
            let to = range.to.as_ref();
            match &range.content {
                Content::Keys(keys) => {
                    let theirs: BTreeSet<&EventKey> = keys.iter().collect();
                    compared.lacking.extend(keys.iter().filter(|key| !self.keys.contains(key)));
                    let room = OFFERED_MAX.saturating_sub(compared.offered.len());
                    let offered = self.range(&range.from, to).filter(|key| !theirs.contains(key));
                    compared.offered.extend(offered.take(room));
                }
                Content::Fingerprint(fingerprint) => {
                    let (own, count) = self.fingerprint(&range.from, to);
                    if own != *fingerprint {
                        self.part(range, count, &mut compared.ranges);
                    }
                }
            }
        }
        compared
    }

    /// Says more of a range that differs: its keys if they are few, otherwise what its parts come to.
    fn part(&self, range: &RangeSummary, count: usize, out: &mut Vec<RangeSummary>) {
        let to = range.to.as_ref();
        if count <= LISTED_MAX {
            if out.len() < RANGES_MAX {
                let keys = self.range(&range.from, to).copied().collect();
                out.push(RangeSummary { from: range.from, to: range.to, content: Content::Keys(keys) });
            }
            return;
        }
        let each = count.div_ceil(PARTS);
        let cuts: Vec<EventKey> = self.range(&range.from, to).skip(each).step_by(each).copied().collect();
        let mut from = range.from;
        for end in cuts.into_iter().map(Some).chain([range.to]) {
            if out.len() == RANGES_MAX {
                return;
            }
            let content = Content::Fingerprint(self.fingerprint(&from, end.as_ref()).0);
            out.push(RangeSummary { from, to: end, content });
            from = end.unwrap_or(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u32) -> EventKey {
        EventKey(digest::sha256(&number.to_be_bytes()))
    }

    /// Compares until nothing is left to say; what each learned that it lacks, and how many ranges were sent.
    fn exchange(a: &mut Inventory, b: &mut Inventory) -> usize {
        let (mut ranges, mut sent, mut turn) = (vec![a.whole()], 1, 0);
        while !ranges.is_empty() {
            let (own, other) = if turn % 2 == 0 { (&mut *b, &mut *a) } else { (&mut *a, &mut *b) };
            let compared = own.compare(&ranges);
            for key in compared.lacking {
                own.insert(key);
            }
            for key in compared.offered {
                other.insert(key);
            }
            ranges = compared.ranges;
            sent += ranges.len();
            turn += 1;
            assert!(turn < 20, "it ends");
        }
        sent
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn both_have_everything_in_the_end(
            common in prop::collection::vec(any::<u32>(), 0..1500),
            only_a in prop::collection::vec(any::<u32>(), 0..60),
            only_b in prop::collection::vec(any::<u32>(), 0..60),
        ) {
            let mut a = Inventory::of(common.iter().chain(&only_a).map(|number| key(*number)));
            let mut b = Inventory::of(common.iter().chain(&only_b).map(|number| key(*number)));
            let all: BTreeSet<EventKey> = common.iter().chain(&only_a).chain(&only_b).map(|number| key(*number)).collect();
            exchange(&mut a, &mut b);
            prop_assert_eq!(&a.keys, &all);
            prop_assert_eq!(&b.keys, &all);
        }
    }

    #[test]
    fn little_is_said_where_little_differs() {
        let mut a = Inventory::of((0..50_000).map(key));
        let mut b = Inventory::of((0..50_000).filter(|number| number % 10_000 != 7).map(key));
        assert_eq!(exchange(&mut a.clone(), &mut a), 1, "equal ones say nothing more");
        let sent = exchange(&mut a, &mut b);
        assert_eq!(a.keys, b.keys);
        assert!(sent < 400, "{sent} ranges for 5 keys of 50000");
    }

    #[test]
    fn a_newcomer_is_offered_as_much_as_is_allowed_at_a_time() {
        let full = Inventory::of((0..10_000).map(key));
        let nobody = Inventory::default();
        let listed = nobody.compare(&[full.whole()]).ranges;
        assert_eq!(listed.len(), 1);
        assert_eq!(full.compare(&listed).offered.len(), OFFERED_MAX);
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_empty() {
        let inventory = Inventory::of((0..100).map(key));
        let (low, high) =
            (EventKey(Sha256Digest::from_bytes([0; 32])), EventKey(Sha256Digest::from_bytes([255; 32])));
        let content = Content::Fingerprint([0; 32]);
        let backwards = RangeSummary { from: high, to: Some(low), content };
        let compared = inventory.compare(&[backwards]);
        assert!(compared.lacking.is_empty() && compared.offered.is_empty());
    }

    #[test]
    fn the_inventory_is_bounded() {
        let mut inventory = Inventory::of((0..INVENTORY_MAX as u32).map(key));
        assert!(inventory.insert(key(u32::MAX)));
        assert_eq!(inventory.len(), INVENTORY_MAX);
        assert!(inventory.contains(&key(u32::MAX)));
    }
}
