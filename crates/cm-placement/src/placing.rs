//! Where the parts of a new chunk go, while some peers do not answer.
//!
//! A [`Placing`] is told what happened to each part and says where to send the next one. It knows no clock and no network: the
//! node that writes runs it, and so does the simulator.
//!
//! Part `i` goes to the `i`-th peer in the order of [`Layout::holders`](crate::Layout::holders). What should lie with a peer that is down, or
//! that fails, goes to the next one in that order that has none yet; readers follow the same order, so that they find it there, and
//! repair moves it home later. Shards may share a peer when there are fewer peers than shards; copies may not, since two copies on
//! one disk are one.

use std::collections::{BTreeMap, BTreeSet};

use cm_types::PeerId;

use crate::Redundancy;

/// A part of a chunk on its way to a peer. Copies are numbered too, though they are all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Which part.
    pub part: usize,
    /// Who gets it.
    pub peer: PeerId,
}

/// The parts of one chunk on their way.
#[derive(Clone, Debug)]
pub struct Placing {
    redundancy: Redundancy,
    /// Who would be next, the best first.
    spares: Vec<PeerId>,
    under_way: Vec<Slot>,
    stored: Vec<Slot>,
    /// Parts for which no peer was left.
    homeless: usize,
    failed: BTreeSet<PeerId>,
    /// Whether every part lies with the peer that the layout wants it on.
    at_home: bool,
}

impl Redundancy {
    /// How many further losses of peers a write must survive from the moment that it is acknowledged: half of what the chunk
    /// tolerates when it is whole, rounded up. Three copies: one, hence two copies are durable; 3+2: one, hence four shards on as many peers. What
    /// is missing is made by repair.
    pub fn promise(self) -> usize {
        self.tolerates().div_ceil(2)
    }

    /// Whether the chunk can be read after the loss of any so many of the peers, each of which has so many different parts.
    pub fn survives(self, parts_of_peers: impl IntoIterator<Item = usize>, losses: usize) -> bool {
        let mut counts: Vec<usize> = parts_of_peers.into_iter().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts.iter().skip(losses).sum::<usize>() >= self.needed()
    }
}

impl Placing {
    /// Begins with the active peers in the order of the chunk. Answers with the parts to send.
    pub fn begin(
        redundancy: Redundancy,
        order: &[PeerId],
        is_up: impl Fn(&PeerId) -> bool,
    ) -> (Self, Vec<Slot>) {
        let width = redundancy.width();
        let home: Vec<Option<&PeerId>> =
            (0..width).map(|part| order.get(part).filter(|peer| is_up(peer))).collect();
        let spares = order.iter().skip(width).filter(|peer| is_up(peer)).cloned().collect();
        let mut placing = Self {
            redundancy,
            spares,
            under_way: Vec::new(),
            stored: Vec::new(),
            homeless: 0,
            failed: BTreeSet::new(),
            at_home: true,
        };
        let mut slots = Vec::new();
        for (part, peer) in home.iter().enumerate() {
            if let Some(peer) = peer {
                slots.push(placing.send(Slot { part, peer: (*peer).clone() }));
            }
        }
        for part in (0..width).filter(|part| home[*part].is_none()) {
            slots.extend(placing.elsewhere(part));
        }
        (placing, slots)
    }

    fn send(&mut self, slot: Slot) -> Slot {
        self.under_way.push(slot.clone());
        slot
    }

    /// Where a part goes that cannot go home.
    fn elsewhere(&mut self, part: usize) -> Option<Slot> {
        self.at_home = false;
        if !self.spares.is_empty() {
            let peer = self.spares.remove(0);
            return Some(self.send(Slot { part, peer }));
        }
        let peer = self.redundancy.shards().and_then(|_| self.least_laden());
        let Some(peer) = peer else {
            self.homeless += 1;
            return None;
        };
        Some(self.send(Slot { part, peer }))
    }

    /// Who has the fewest shards, has not failed, and may take one more without the loss of that peer being the loss of the chunk.
    fn least_laden(&self) -> Option<PeerId> {
        let mut laden: BTreeMap<&PeerId, usize> = BTreeMap::new();
        for slot in self.under_way.iter().chain(&self.stored) {
            *laden.entry(&slot.peer).or_default() += 1;
        }
        let most = self.redundancy.tolerates();
        let usable = laden.into_iter().filter(|(peer, count)| !self.failed.contains(*peer) && *count < most);
        usable.min_by_key(|(_, count)| *count).map(|(peer, _)| peer.clone())
    }

    /// The peer has made the part durable.
    pub fn stored(&mut self, slot: &Slot) {
        if let Some(at) = self.under_way.iter().position(|one| one == slot) {
            let slot = self.under_way.swap_remove(at);
            self.stored.push(slot);
        }
    }

    /// The peer has not. Answers with where to send the part instead.
    pub fn failed(&mut self, slot: &Slot) -> Option<Slot> {
        let at = self.under_way.iter().position(|one| one == slot)?;
        let slot = self.under_way.swap_remove(at);
        self.failed.insert(slot.peer);
        self.elsewhere(slot.part)
    }

    /// Whether the chunk may be counted on: enough is durable to survive what [`Redundancy::promise`] says.
    pub fn is_promised(&self) -> bool {
        let mut counts: BTreeMap<&PeerId, usize> = BTreeMap::new();
        for slot in &self.stored {
            *counts.entry(&slot.peer).or_default() += 1;
        }
        self.redundancy.survives(counts.into_values(), self.redundancy.promise())
    }

    /// Whether nothing is on its way any more.
    pub fn is_over(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether repair has something to do: a part is missing, or lies elsewhere than the layout wants it.
    pub fn is_short(&self) -> bool {
        !self.at_home || self.stored.len() < self.redundancy.width()
    }

    /// The parts of which nothing was heard yet.
    pub fn under_way(&self) -> &[Slot] {
        &self.under_way
    }

    /// How many parts are durable.
    pub fn durable(&self) -> usize {
        self.stored.len()
    }

    /// The parts that are durable, with who has them.
    pub fn stored_slots(&self) -> &[Slot] {
        &self.stored
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peers(count: usize) -> Vec<PeerId> {
        (0..count).map(|n| format!("p{n}").parse().unwrap()).collect()
    }

    fn run(redundancy: Redundancy, count: usize, down: &[usize], failing: &[usize]) -> (Placing, Vec<Slot>) {
        let order = peers(count);
        let at = |peer: &PeerId| order.iter().position(|one| one == peer).unwrap();
        let (mut placing, mut slots) = Placing::begin(redundancy, &order, |peer| !down.contains(&at(peer)));
        let mut stored = Vec::new();
        while let Some(slot) = slots.pop() {
            if failing.contains(&at(&slot.peer)) {
                slots.extend(placing.failed(&slot));
            } else {
                placing.stored(&slot);
                stored.push(slot);
            }
        }
        assert!(placing.is_over());
        (placing, stored)
    }

    #[test]
    fn what_is_down_or_fails_is_made_up_for_by_the_next_in_order() {
        let three = Redundancy::replicas(3).unwrap();
        let (placing, stored) = run(three, 5, &[], &[]);
        assert!(placing.is_promised() && !placing.is_short() && stored.len() == 3);
        let (placing, stored) = run(three, 5, &[0], &[1]);
        let mut got: Vec<_> = stored.iter().map(|slot| slot.peer.to_string()).collect();
        got.sort();
        assert_eq!(got, ["p2", "p3", "p4"]);
        assert!(placing.is_promised() && placing.is_short());
        let (placing, _) = run(three, 3, &[0], &[]);
        assert!(placing.is_promised() && placing.durable() == 2);
        let (placing, _) = run(three, 3, &[0, 1], &[]);
        assert!(!placing.is_promised(), "one copy of three is not what was promised");
        assert!(run(Redundancy::replicas(1).unwrap(), 1, &[], &[]).0.is_promised());
    }

    #[test]
    fn shards_share_peers_only_as_far_as_one_of_them_may_be_lost() {
        let coded = Redundancy::erasure(3, 2).unwrap();
        let (placing, stored) = run(coded, 5, &[1, 3], &[]);
        assert!(placing.is_promised() && stored.len() == 5);
        assert!(!run(coded, 5, &[0, 1, 2, 3], &[]).0.is_promised());
        assert!(!run(coded, 2, &[], &[]).0.is_promised(), "two of two peers would both be needed");
    }

    proptest! {
        #[test]
        fn a_promise_is_kept_whoever_is_lost(
            coded: bool,
            count in 1_usize..8,
            down in prop::collection::vec(0_usize..8, 0..5),
            failing in prop::collection::vec(0_usize..8, 0..5),
            lost in 0_usize..8,
        ) {
            let redundancy = if coded { Redundancy::erasure(3, 2) } else { Redundancy::replicas(3) }.unwrap();
            let (placing, stored) = run(redundancy, count, &down, &failing);
            let numbers: BTreeSet<_> = stored.iter().map(|slot| slot.part).collect();
            prop_assert_eq!(numbers.len(), stored.len(), "no part is stored twice");
            if !coded {
                let peers: BTreeSet<_> = stored.iter().map(|slot| &slot.peer).collect();
                prop_assert_eq!(peers.len(), stored.len());
            }
            if placing.is_promised() {
                let lost = format!("p{lost}");
                let left = stored.iter().filter(|slot| slot.peer.as_str() != lost).count();
                prop_assert!(left >= redundancy.needed());
            }
            let up = (0..count).filter(|n| !down.contains(n) && !failing.contains(n)).count();
            prop_assert_eq!(placing.is_promised(), up >= if coded { 3 } else { 2 }, "{} peers are up", up);
        }
    }
}
