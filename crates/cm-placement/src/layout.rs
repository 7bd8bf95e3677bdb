//! Who takes part in storing, numbered by epochs.

use std::collections::BTreeMap;

use cm_types::PeerId;

use crate::{Domain, LayoutError, Peer, PeerState};

/// Most peers of a layout. Holders are found by looking at all of them.
pub const PEERS_MAX: usize = 1000;

/// Counts the layouts of a network; 0 is the one without peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The peers of one epoch. It never changes: a change makes the layout of the next epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    epoch: Epoch,
    peers: BTreeMap<PeerId, Peer>,
}

/// One step from a layout to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new peer, active from now on.
    Add {
        /// Which.
        peer: PeerId,
        /// How many bytes it offers, at least 1.
        capacity_bytes: u64,
        /// What it fails together with.
        domain: Domain,
    },
    /// The peer offers another number of bytes, at least 1.
    Resize {
        /// Which.
        peer: PeerId,
        /// How many bytes it offers.
        capacity_bytes: u64,
    },
    /// The peer stands somewhere else.
    Relocate {
        /// Which.
        peer: PeerId,
        /// What it fails together with.
        domain: Domain,
    },
    /// The peer takes nothing new, and what it has moves away.
    Drain(PeerId),
    /// A draining peer takes new bytes again.
    Activate(PeerId),
    /// The peer is lost with everything on it.
    DeclareGone(PeerId),
    /// A peer that is draining or gone is forgotten. A [`History`](crate::History) does not take such a layout while data still moves out of it.
    Remove(PeerId),
}

impl Layout {
    /// The layout of epoch 0, in which nobody takes part.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A layout as it was stored.
    ///
    /// # Errors
    /// When it could not have come about: a peer without capacity, or too many peers.
    pub fn restore(
        epoch: Epoch,
        peers: impl IntoIterator<Item = (PeerId, Peer)>,
    ) -> Result<Self, LayoutError> {
        let mut layout = Self { epoch, peers: BTreeMap::new() };
        for (id, peer) in peers {
            layout.insert(id, peer)?;
        }
        Ok(layout)
    }

    /// Which layout of the network it is.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The peers, by id.
    pub fn peers(&self) -> impl ExactSizeIterator<Item = (&PeerId, &Peer)> {
        self.peers.iter()
    }

    /// What is known of one peer.
    pub fn peer(&self, id: &PeerId) -> Option<&Peer> {
        self.peers.get(id)
    }

    /// Whether bytes can be read from the peer, as far as the layout knows.
    pub fn serves(&self, id: &PeerId) -> bool {
        self.peer(id).is_some_and(|peer| peer.state.serves())
    }

    /// The layout of the next epoch, with all of the changes, one after the other.
    ///
    /// # Errors
    /// When one of them cannot be; then there is no next layout.
    pub fn change(&self, changes: &[Change]) -> Result<Self, LayoutError> {
        let mut next = self.clone();
        next.epoch = Epoch(self.epoch.0.checked_add(1).ok_or(LayoutError::LastEpoch)?);
        for change in changes {
            if let Change::Remove(peer) = change
                && self.peer(peer).is_some_and(|before| before.state == PeerState::Active)
                && next.peer(peer).is_some_and(|now| now.state == PeerState::Draining)
            {
                // Whoever begins to drain in this very step has moved nothing yet.
                return Err(LayoutError::StillHolds(peer.clone()));
            }
            next.apply(change)?;
        }
        let stops = |change: &Change| match change {
            Change::Drain(peer) | Change::DeclareGone(peer) => Some(peer.clone()),
            _ => None,
        };
        if let Some(peer) = changes.iter().rev().find_map(stops)
            && !next.peers.values().any(|left| left.state == PeerState::Active)
        {
            return Err(LayoutError::LastActive(peer));
        }
        if next.peers == self.peers { Err(LayoutError::Nothing) } else { Ok(next) }
    }

    fn apply(&mut self, change: &Change) -> Result<(), LayoutError> {
        match change {
            Change::Add { peer, capacity_bytes, domain } => {
                let state = PeerState::Active;
                let entry = Peer { capacity_bytes: *capacity_bytes, domain: domain.clone(), state };
                self.insert(peer.clone(), entry)
            }
            Change::Resize { peer, capacity_bytes: 0 } => Err(LayoutError::NoCapacity(peer.clone())),
            Change::Resize { peer, capacity_bytes } => {
                self.entry(peer)?.capacity_bytes = *capacity_bytes;
                Ok(())
            }
            Change::Relocate { peer, domain } => {
                self.entry(peer)?.domain = domain.clone();
                Ok(())
            }
            Change::Drain(peer) => self.set_state(peer, PeerState::Draining),
            Change::Activate(peer) => self.set_state(peer, PeerState::Active),
            Change::DeclareGone(peer) => {
                self.entry(peer)?.state = PeerState::Gone;
                Ok(())
            }
            Change::Remove(peer) => {
                if self.entry(peer)?.state == PeerState::Active {
                    return Err(LayoutError::StillHolds(peer.clone()));
                }
                self.peers.remove(peer);
                Ok(())
            }
        }
    }

    fn insert(&mut self, id: PeerId, peer: Peer) -> Result<(), LayoutError> {
        if peer.capacity_bytes == 0 {
            return Err(LayoutError::NoCapacity(id));
        }
        if self.peers.contains_key(&id) {
            return Err(LayoutError::Exists(id));
        }
        if self.peers.len() >= PEERS_MAX {
            return Err(LayoutError::TooMany);
        }
        self.peers.insert(id, peer);
        Ok(())
    }

    fn entry(&mut self, id: &PeerId) -> Result<&mut Peer, LayoutError> {
        self.peers.get_mut(id).ok_or_else(|| LayoutError::Unknown(id.clone()))
    }

    fn set_state(&mut self, id: &PeerId, state: PeerState) -> Result<(), LayoutError> {
        let peer = self.entry(id)?;
        if peer.state == PeerState::Gone {
            return Err(LayoutError::Gone(id.clone()));
        }
        peer.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    fn add(peer: &str, capacity_bytes: u64) -> Change {
        Change::Add { peer: id(peer), capacity_bytes, domain: Domain::parse("r").unwrap() }
    }

    #[test]
    fn each_change_makes_the_next_epoch_and_leaves_the_old_one() {
        let first = Layout::empty().change(&[add("a", 1), add("b", 2)]).unwrap();
        let second =
            first.change(&[Change::Drain(id("a")), Change::Resize { peer: id("b"), capacity_bytes: 7 }]);
        let second = second.unwrap();
        assert_eq!((first.epoch(), second.epoch()), (Epoch(1), Epoch(2)));
        assert_eq!(first.peer(&id("a")).unwrap().state, PeerState::Active);
        assert_eq!(second.peer(&id("a")).unwrap().state, PeerState::Draining);
        assert_eq!(second.peer(&id("b")).unwrap().capacity_bytes, 7);
        let third = second.change(&[Change::Remove(id("a"))]).unwrap();
        assert_eq!(third.peers().len(), 1);
        let peers = third.peers().map(|(id, peer)| (id.clone(), peer.clone()));
        assert_eq!(Layout::restore(third.epoch(), peers).unwrap(), third);
    }

    #[test]
    fn changes_that_would_lose_data_or_mean_nothing_are_refused() {
        let layout = Layout::empty().change(&[add("a", 1), add("c", 1)]).unwrap();
        let gone = layout.change(&[Change::DeclareGone(id("a"))]).unwrap();
        let check = |layout: &Layout, change: Change, expected: LayoutError| {
            assert_eq!(layout.change(&[change]), Err(expected));
        };
        check(&layout, add("a", 1), LayoutError::Exists(id("a")));
        check(&layout, add("b", 0), LayoutError::NoCapacity(id("b")));
        check(&layout, Change::Resize { peer: id("a"), capacity_bytes: 0 }, LayoutError::NoCapacity(id("a")));
        check(&layout, Change::Drain(id("b")), LayoutError::Unknown(id("b")));
        check(&layout, Change::Remove(id("a")), LayoutError::StillHolds(id("a")));
        check(&layout, Change::Activate(id("a")), LayoutError::Nothing);
        check(&gone, Change::Drain(id("c")), LayoutError::LastActive(id("c")));
        check(&gone, Change::DeclareGone(id("c")), LayoutError::LastActive(id("c")));
        let at_once = [Change::Drain(id("a")), Change::Remove(id("a"))];
        assert_eq!(layout.change(&at_once), Err(LayoutError::StillHolds(id("a"))));
        check(&gone, Change::Activate(id("a")), LayoutError::Gone(id("a")));
        assert_eq!(layout.change(&[]), Err(LayoutError::Nothing));
        let last = Layout::restore(Epoch(u64::MAX), []).unwrap();
        check(&last, add("a", 1), LayoutError::LastEpoch);
        let many: Vec<_> = (0..=PEERS_MAX).map(|n| add(&format!("p{n}"), 1)).collect();
        assert_eq!(Layout::empty().change(&many), Err(LayoutError::TooMany));
    }
}
