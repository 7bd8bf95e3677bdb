//! Copies of the data for those who lack entries that nobody has any more.

use std::sync::Arc;

use super::{Incoming, Mode, Raft, Role};
use crate::log::Log;
use crate::{Base, Index, MemberId, Message, PIECE_LEN_MAX, SnapshotMeta, Task, Term, Write};

impl Raft {
    /// Sends the piece that is due, or has a copy made.
    pub(super) fn ship(&mut self, to: MemberId) {
        let (now, term, resend, base) =
            (self.now, self.hard.term, self.timing.resend, self.log.base().at.index);
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peers.get_mut(&to) else { return };
        let Mode::Copy { offset, sent_at } = &mut peer.mode else { return };
        match &leader.shipment {
            // The entries after it are still here.
            Some(meta) if meta.at.index >= base => {
                if sent_at.is_some_and(|at| now < at + resend) {
                    return;
                }
                *sent_at = Some(now);
                let (meta, offset) = (Box::new(meta.clone()), *offset);
                self.task(Task::SendPiece { to, term, meta, offset });
            }
            _ if leader.making || now < leader.make_at => {}
            _ => {
                leader.making = true;
                leader.shipment = None;
                self.task(Task::MakeSnapshot);
            }
        }
    }

    /// A copy was made, or could not be.
    pub(crate) fn snapshot_made(&mut self, meta: Option<SnapshotMeta>) {
        let Role::Leader(leader) = &mut self.role else {
            return if meta.is_some() {
                self.task(Task::DropSnapshot)
            };
        };
        leader.making = false;
        let Some(meta) = meta else {
            // What was in the way, such as a full disk, stays for a while.
            leader.make_at = self.now + self.timing.election;
            return;
        };
        leader.shipment = Some(meta);
        let mut waiting = Vec::new();
        for (id, peer) in &mut leader.peers {
            if let Mode::Copy { offset, sent_at } = &mut peer.mode {
                (*offset, *sent_at) = (0, None);
                waiting.push(*id);
            }
        }
        waiting.into_iter().for_each(|id| self.ship(id));
        self.drop_idle_shipment();
    }

    pub(super) fn piece_kept(&mut self, from: MemberId, term: Term, id: u64, offset: u64) {
        if self.hear(from, term, 0).is_none() {
            return;
        }
        let Role::Leader(leader) = &mut self.role else { return };
        let (Some(meta), Some(peer)) = (&leader.shipment, leader.peers.get_mut(&from)) else { return };
        let Mode::Copy { offset: sent, sent_at } = &mut peer.mode else { return };
        // The end is told by the log when the copy is in place.
        if meta.id == id && offset != *sent && offset < meta.len {
            (*sent, *sent_at) = (offset, None);
            self.ship(from);
        }
    }

    /// The copy goes once nobody needs it.
    pub(super) fn drop_idle_shipment(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let needed = leader.peers.values().any(|peer| matches!(peer.mode, Mode::Copy { .. }));
        if !needed && leader.shipment.take().is_some() {
            self.task(Task::DropSnapshot);
        }
    }

    pub(super) fn drop_shipment(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.shipment.take().is_some() {
            self.task(Task::DropSnapshot);
        }
    }

    /// The last entry that nobody who is there needs from this leader: all have it, or it is in the copy that they are sent. As
    /// long as a copy is being made nobody knows what will be in it, and everything is needed.
    pub(crate) fn needed(&self) -> Option<Index> {
        let Role::Leader(leader) = &self.role else { return None };
        if leader.making {
            return Some(self.log.base().at.index);
        }
        let shipped = leader.shipment.as_ref().map(|meta| meta.at.index);
        let there = leader.peers.iter().filter(|(id, _)| self.is_active(**id));
        let has = there.filter_map(|(_, peer)| match peer.mode {
            Mode::Copy { .. } => shipped,
            Mode::Search | Mode::Stream => Some(peer.matched),
        });
        has.chain(shipped).min()
    }

    pub(super) fn piece(
        &mut self,
        from: MemberId,
        term: Term,
        meta: Box<SnapshotMeta>,
        offset: u64,
        bytes: Arc<[u8]>,
    ) {
        if term < self.hard.term {
            return self.send(from, Message::PieceReply { term: self.hard.term, id: meta.id, offset });
        }
        if self.is_leader() && term == self.hard.term {
            self.fault = Some("two lead at the same time");
            return;
        }
        if meta.at.term > term || meta.version > meta.at.index {
            // No leader sends that.
            return;
        }
        self.follow(term, Some(from));
        if meta.at.index <= self.commit {
            let matched = self.commit;
            return self.send(from, Message::Appended { term, matched, probe: 0 });
        }
        let id = meta.id;
        let may_begin = |incoming: &Incoming| incoming.meta.id != id && !incoming.is_busy();
        if offset == 0 && self.incoming.as_ref().is_none_or(may_begin) {
            self.incoming =
                Some(Incoming { meta: meta.clone(), offset: 0, keeping: None, installing: false });
        }
        let wanted = match &mut self.incoming {
            // What is being kept is answered when it is: so no more waits here than one piece.
            Some(incoming) if incoming.is_busy() => return,
            Some(incoming) if incoming.meta.id == id => incoming,
            // Also in the place of another copy, of which a piece came late: whichever is still sent begins anew.
            _ => return self.send(from, Message::PieceReply { term, id, offset: 0 }),
        };
        let end = offset.saturating_add(bytes.len() as u64);
        let fits = bytes.len() <= PIECE_LEN_MAX && !bytes.is_empty() && end <= meta.len;
        if wanted.offset == offset && fits {
            wanted.keeping = Some(end);
            return self.task(Task::KeepPiece { meta, offset, bytes });
        }
        let offset = wanted.offset;
        self.send(from, Message::PieceReply { term, id, offset });
    }

    /// The piece of a copy that was to be kept is, or could not be: then the copy is needed again from its beginning.
    pub(crate) fn kept(&mut self, id: u64, done: bool) {
        let Some(incoming) = self.incoming.as_mut().filter(|incoming| incoming.meta.id == id) else { return };
        let Some(end) = incoming.keeping.take() else { return };
        if !done {
            self.incoming = None;
            return;
        }
        incoming.offset = end;
        incoming.installing = end == incoming.meta.len;
        let install = incoming.installing.then(|| incoming.meta.clone());
        if let Some(meta) = install {
            self.task(Task::Install { meta });
        }
        if let Some(leader) = self.leader.filter(|leader| *leader != self.id) {
            self.send(leader, Message::PieceReply { term: self.hard.term, id, offset: end });
        }
    }

    /// The copy is in the place of the data.
    pub(crate) fn installed(&mut self, base: Base) {
        self.incoming = None;
        let index = base.at.index;
        if self.log.term_at(index) == Some(base.at.term) {
            self.compact_to(index);
        } else {
            self.log = Log::new(base.clone());
            self.stable = index;
            self.out.writes.push(Write::Reset(base));
        }
        self.commit = self.commit.max(index);
        if let Some(leader) = self.leader.filter(|leader| *leader != self.id) {
            self.send(leader, Message::Appended { term: self.hard.term, matched: index, probe: 0 });
        }
    }

    fn compact_to(&mut self, index: Index) {
        if let Some(base) = self.log.compact(index) {
            self.out.writes.push(Write::Compact(base));
        }
    }

    /// The copy was damaged, or could not be kept: it is needed again.
    pub(crate) fn not_installed(&mut self) {
        self.incoming = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClusterId, Members, Position, Stored, Timing};

    #[test]
    fn a_late_piece_of_an_old_copy_does_not_stall_the_newer() {
        let (own, leader, term) = (MemberId(1), MemberId(2), 3);
        let members = Members::new().with_voter(own, "").with_voter(leader, "");
        let stored = Stored::founding(ClusterId(1), members.clone());
        let base = stored.base.clone();
        let mut raft = Raft::new(own, Timing::default(), 1, stored, &base).unwrap();
        let meta = |id: u64| {
            let at = Position { index: 9, term: 2 };
            Box::new(SnapshotMeta { id, at, version: 9, members: members.clone(), len: 30, digest: [0; 32] })
        };
        let piece: Arc<[u8]> = [0; 10].as_slice().into();
        let (old, newer) = (4, 5);
        raft.piece(leader, term, meta(old), 0, piece.clone());
        raft.kept(old, true);
        raft.out = crate::Effects::default();
        raft.piece(leader, term, meta(newer), 10, piece.clone());
        let said: Vec<_> = raft.out.first.iter().chain(&raft.out.after).map(|sent| &sent.message).collect();
        assert_eq!(
            said,
            [&Message::PieceReply { term, id: newer, offset: 0 }],
            "it is sent from its beginning"
        );
        raft.piece(leader, term, meta(newer), 0, piece);
        assert!(
            raft.incoming.as_ref().is_some_and(|incoming| incoming.meta.id == newer && incoming.is_busy())
        );
    }
}
