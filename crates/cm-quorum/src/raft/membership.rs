//! Who takes part, and how that changes: one member at a time.

use super::{Mode, Peer, Raft, Role};
use crate::{Body, Change, ChangeRefused, Index};

/// A learner that lacks no more entries than these has caught up.
const BEHIND_MAX: Index = 64;

impl Raft {
    /// Begins a change. It is done when the entry is committed.
    pub(crate) fn change(&mut self, change: &Change) -> Result<Index, ChangeRefused> {
        let (members, since) = self.log.members();
        let Role::Leader(leader) = &self.role else { return Err(ChangeRefused::NotLeader) };
        // A leader that has committed nothing in its time may not know of an earlier change (Ongaro, raft-dev, 2015).
        if since > self.commit || self.commit < leader.began {
            return Err(ChangeRefused::Busy);
        }
        if let Change::Promote { id } = change {
            // One that has nothing, or is not there, would count in majorities that it cannot be part of.
            let base = self.log.base().at.index;
            let has_caught_up = |peer: &Peer| {
                peer.mode == Mode::Stream
                    && peer.matched > 0
                    && peer.matched >= base
                    && peer.matched.saturating_add(BEHIND_MAX) >= self.last()
                    && self.is_active(*id)
            };
            let is_here = *id == self.id || members.is_voter(*id);
            if members.get(*id).is_some() && !is_here && !leader.peers.get(id).is_some_and(has_caught_up) {
                return Err(ChangeRefused::Behind);
            }
        }
        let changed = members.changed(change)?;
        let index = self.last() + 1;
        // Known to the peers before it is sent.
        let body = Body::Members(changed);
        self.write_entry(crate::Entry { at: crate::Position { index, term: self.hard.term }, body });
        self.meet_members();
        self.broadcast();
        Ok(index)
    }

    /// Knows all members from here on.
    pub(super) fn meet_members(&mut self) {
        let (now, next, id) = (self.now, self.last() + 1, self.id);
        let Role::Leader(leader) = &mut self.role else { return };
        for (member, _) in self.log.members().0.iter().filter(|(member, _)| *member != id) {
            leader.peers.entry(member).or_insert(Peer {
                next,
                matched: 0,
                probe: 0,
                active_at: now,
                mode: Mode::Search,
            });
        }
    }

    /// Parts from those who are no members any more, once that is committed and they were told; also from itself.
    pub(super) fn settle_members(&mut self) {
        let (members, since) = self.log.members();
        if since > self.commit {
            return;
        }
        let stays = members.get(self.id).is_some();
        let Role::Leader(leader) = &mut self.role else { return };
        leader.peers.retain(|id, _| members.get(*id).is_some());
        if !stays {
            self.follow(self.hard.term, None);
        }
    }
}
