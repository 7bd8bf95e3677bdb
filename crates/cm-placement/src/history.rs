//! The layouts in which something may still lie.

use cm_types::{PeerId, Sha256Digest};

use crate::{Epoch, HistoryError, Layout, PeerState};

/// Most epochs out of which data may move at once.
pub const EPOCHS_MAX: usize = 16;

/// The current layout, and those before it whose data has not all arrived where the current one wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The oldest first; the last is current.
    layouts: Vec<Layout>,
}

impl History {
    /// Begins with a layout in which everything is at its place.
    pub fn settled(layout: Layout) -> Self {
        Self { layouts: vec![layout] }
    }

    /// A history as it was stored: the layouts of consecutive epochs, the oldest first.
    ///
    /// # Errors
    /// [`HistoryError::NotNext`] if the epochs do not follow each other, or there are none.
    pub fn restore(layouts: Vec<Layout>) -> Result<Self, HistoryError> {
        let none = HistoryError::NotNext { current: Epoch(0), found: Epoch(0) };
        if layouts.is_empty() {
            return Err(none);
        }
        for pair in layouts.windows(2) {
            let (current, found) = (pair[0].epoch(), pair[1].epoch());
            if current.0.checked_add(1) != Some(found.0) {
                return Err(HistoryError::NotNext { current, found });
            }
        }
        Ok(Self { layouts })
    }

    /// The layout by which new data is placed.
    pub fn current(&self) -> &Layout {
        self.layouts.last().expect("a history is never empty")
    }

    /// The layouts out of which data moves, the oldest first.
    pub fn unsettled(&self) -> &[Layout] {
        &self.layouts[..self.layouts.len() - 1]
    }

    /// A new layout is current from now on.
    ///
    /// # Errors
    /// When it is not that of the next epoch, when data still moves out of [`EPOCHS_MAX`] earlier ones, or when it forgets a peer out of
    /// which data still moves.
    pub fn advance(&mut self, layout: Layout) -> Result<(), HistoryError> {
        let current = self.current().epoch();
        if current.0.checked_add(1) != Some(layout.epoch().0) {
            return Err(HistoryError::NotNext { current, found: layout.epoch() });
        }
        if self.unsettled().len() >= EPOCHS_MAX {
            return Err(HistoryError::TooMany { max: EPOCHS_MAX });
        }
        if let Some(peer) = self.moving_out_of().find(|peer| layout.peer(peer).is_none()) {
            return Err(HistoryError::StillMoving(peer.clone()));
        }
        self.layouts.push(layout);
        Ok(())
    }

    /// The peers that drain and took new data in an epoch that is not settled: they may hold the only copy of something.
    pub fn moving_out_of(&self) -> impl Iterator<Item = &PeerId> {
        let draining = self.current().peers().filter(|(_, peer)| peer.state == PeerState::Draining);
        draining.map(|(id, _)| id).filter(|id| {
            let took = |layout: &Layout| layout.peer(id).is_some_and(|peer| peer.state == PeerState::Active);
            self.unsettled().iter().any(took)
        })
    }

    /// Everything is where the layout of this epoch wants it, or a later one: those before it are forgotten. The current
    /// layout stays, whatever the epoch.
    pub fn settle(&mut self, epoch: Epoch) {
        let keep = self.layouts.iter().position(|layout| layout.epoch() >= epoch);
        let keep = keep.unwrap_or(self.layouts.len() - 1);
        self.layouts.drain(..keep);
    }

    /// Whom to ask for what has this digest, each once: the holders of the current layout, then of the earlier ones, the
    /// newest first. Peers that the current layout calls gone, or does not know, are left out.
    pub fn readers(&self, digest: &Sha256Digest, count: usize) -> Vec<&PeerId> {
        let current = self.current();
        let mut readers: Vec<&PeerId> = Vec::new();
        for layout in self.layouts.iter().rev() {
            for holder in layout.holders(digest, count) {
                if current.serves(holder) && !readers.contains(&holder) {
                    readers.push(holder);
                }
            }
        }
        readers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Domain};

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    fn add(peer: &str) -> Change {
        Change::Add { peer: id(peer), capacity_bytes: 1, domain: Domain::parse(peer).unwrap() }
    }

    #[test]
    fn readers_fall_back_to_where_data_was() {
        let digest = Sha256Digest::from_bytes([1; 32]);
        let first = Layout::empty().change(&[add("a"), add("b")]).unwrap();
        let second = first.change(&[add("c"), Change::Drain(id("a")), Change::DeclareGone(id("b"))]).unwrap();
        let mut history = History::settled(first.clone());
        assert_eq!(
            history.advance(first.clone()),
            Err(HistoryError::NotNext { current: Epoch(1), found: Epoch(1) })
        );
        history.advance(second.clone()).unwrap();
        assert_eq!(history.readers(&digest, 2), [&id("c"), &id("a")], "the gone one is not asked");
        history.settle(Epoch(1));
        assert_eq!(history.unsettled(), [first], "the first has not moved yet");
        history.settle(Epoch(9));
        assert_eq!((history.unsettled().len(), history.current()), (0, &second));
        assert_eq!(history.readers(&digest, 2), [&id("c")]);
    }

    #[test]
    fn a_draining_peer_stays_until_its_data_has_moved() {
        let first = Layout::empty().change(&[add("a"), add("b")]).unwrap();
        let mut history = History::settled(first.clone());
        let draining = first.change(&[Change::Drain(id("a"))]).unwrap();
        history.advance(draining.clone()).unwrap();
        let without = draining.change(&[Change::Remove(id("a"))]).unwrap();
        assert_eq!(history.advance(without.clone()), Err(HistoryError::StillMoving(id("a"))));
        let other = draining.change(&[add("c")]).unwrap();
        let mut later = history.clone();
        later.advance(other.clone()).unwrap();
        assert_eq!(later.moving_out_of().collect::<Vec<_>>(), [&id("a")], "another epoch changes nothing");
        history.settle(draining.epoch());
        history.advance(without).unwrap();
        // Who is lost may be forgotten at once.
        let gone = other.change(&[Change::DeclareGone(id("a")), Change::Remove(id("a"))]);
        assert!(gone.is_ok());
    }

    #[test]
    fn epochs_out_of_which_data_moves_are_bounded() {
        let mut layout = Layout::empty();
        let mut history = History::settled(layout.clone());
        for number in 0..EPOCHS_MAX {
            layout = layout.change(&[add(&format!("p{number}"))]).unwrap();
            history.advance(layout.clone()).unwrap();
        }
        layout = layout.change(&[add("last")]).unwrap();
        assert_eq!(history.advance(layout.clone()), Err(HistoryError::TooMany { max: EPOCHS_MAX }));
        history.settle(Epoch(1));
        history.advance(layout).unwrap();
    }
}
