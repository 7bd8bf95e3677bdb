//! How entries get to everybody, and when they stay.

use super::{Mode, Raft, Role};
use crate::{Entry, Index, MemberId, Message, Position, Term, Write};

/// About how many bytes of entries travel together.
const APPEND_BYTES: usize = 1 << 20;

impl Raft {
    /// Sends to every member what it lacks, and a probe that proves that this is still the leader when it comes back.
    pub(crate) fn broadcast(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        leader.probe += 1;
        leader.beat_at = self.now + self.timing.heartbeat;
        let peers: Vec<_> = leader.peers.keys().copied().collect();
        for peer in peers {
            self.send_append(peer);
        }
    }

    /// The probe of the next broadcast.
    pub(crate) fn next_probe(&self) -> u64 {
        match &self.role {
            Role::Leader(leader) => leader.probe + 1,
            _ => u64::MAX,
        }
    }

    /// Whether the probe came back from a majority.
    pub(crate) fn is_confirmed(&self, probe: u64) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let seen = |id| leader.peers.get(&id).is_some_and(|peer| peer.probe >= probe);
        leader.probe >= probe && self.members().has_majority(|id| id == self.id || seen(id))
    }

    /// Whether a member was heard of lately.
    pub(crate) fn is_active(&self, id: MemberId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let lives = |at| self.now.saturating_sub(at) <= self.timing.election;
        id == self.id || leader.peers.get(&id).is_some_and(|peer| lives(peer.active_at))
    }

    pub(super) fn send_append(&mut self, to: MemberId) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peers.get_mut(&to) else { return };
        let probe = leader.probe;
        if peer.next <= self.log.base().at.index && !matches!(peer.mode, Mode::Copy { .. }) {
            peer.mode = Mode::Copy { offset: 0, sent_at: None };
        }
        let before = |index: Index| Position { index, term: self.log.term_at(index).unwrap_or_default() };
        let (previous, entries) = match peer.mode {
            Mode::Copy { .. } => (self.log.last(), Vec::new()),
            Mode::Search => (before(peer.next - 1), Vec::new()),
            Mode::Stream => {
                let entries = self.log.from(peer.next, APPEND_BYTES);
                let previous = before(peer.next - 1);
                peer.next += entries.len() as u64;
                (previous, entries)
            }
        };
        let copying = matches!(peer.mode, Mode::Copy { .. });
        let (term, commit) = (self.hard.term, self.commit);
        self.send(to, Message::Append { term, previous, entries, commit, probe });
        if copying {
            self.ship(to);
        }
    }

    pub(super) fn append(
        &mut self,
        from: MemberId,
        term: Term,
        previous: Position,
        entries: Vec<Entry>,
        commit: Index,
        probe: u64,
    ) {
        if term < self.hard.term {
            let term = self.hard.term;
            return self.send(from, Message::Refused { term, next: self.last() + 1, probe });
        }
        if self.is_leader() && term == self.hard.term {
            self.fault = Some("two lead at the same time");
            return;
        }
        let is_next = |(at, entry): (Index, &Entry)| {
            Some(entry.at.index) == previous.index.checked_add(at) && entry.at.term <= term
        };
        if !(1..).zip(&entries).all(is_next) {
            // No leader sends that.
            return;
        }
        self.follow(term, Some(from));
        if self.is_installing() {
            return;
        }
        let base = self.log.base().at;
        if previous.index < base.index {
            // All up to the base is committed, hence the same for everybody.
            let skipped = usize::try_from(base.index - previous.index).unwrap_or(usize::MAX);
            return match entries.into_iter().skip(skipped).collect::<Vec<_>>() {
                rest if rest.is_empty() => {
                    self.send(from, Message::Appended { term, matched: base.index, probe });
                }
                rest => self.take_entries(from, base.index, rest, commit, probe),
            };
        }
        if self.log.term_at(previous.index) != Some(previous.term) {
            let next = self.search_from(previous.index);
            return self.send(from, Message::Refused { term, next, probe });
        }
        self.take_entries(from, previous.index, entries, commit, probe);
    }

    /// Where the leader should look next if the logs differ at an index: not within the same leader's entries.
    fn search_from(&self, differs: Index) -> Index {
        let Some(term) = self.log.term_at(differs) else { return self.last() + 1 };
        let mut index = differs;
        while index > self.commit + 1 && self.log.term_at(index - 1) == Some(term) {
            index -= 1;
        }
        index
    }

    fn take_entries(&mut self, from: MemberId, after: Index, entries: Vec<Entry>, commit: Index, probe: u64) {
        let end = after.saturating_add(entries.len() as u64);
        for entry in entries {
            let Position { index, term } = entry.at;
            match self.log.term_at(index) {
                Some(here) if here == term => continue,
                Some(_) if index <= self.commit => {
                    self.fault = Some("a committed entry is another one elsewhere");
                    return;
                }
                Some(_) => {
                    self.log.truncate(index);
                    self.stable = self.stable.min(index - 1);
                    self.out.writes.push(Write::Truncate { from: index });
                }
                None => {}
            }
            if index != self.last() + 1 {
                self.fault = Some("entries do not follow each other");
                return;
            }
            self.write_entry(entry);
        }
        self.commit = self.commit.max(commit.min(end));
        let term = self.hard.term;
        self.send(from, Message::Appended { term, matched: end, probe });
    }

    pub(super) fn appended(&mut self, from: MemberId, term: Term, matched: Index, probe: u64) {
        let Some(last) = self.hear(from, term, probe) else { return };
        let base = self.log.base().at.index;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peers.get_mut(&from) else { return };
        let more = matched > peer.matched;
        peer.matched = peer.matched.max(matched).min(last);
        match peer.mode {
            Mode::Search => {
                (peer.mode, peer.next) = (Mode::Stream, peer.matched + 1);
            }
            Mode::Copy { .. } if peer.matched >= base => {
                (peer.mode, peer.next) = (Mode::Stream, peer.matched + 1);
                self.drop_idle_shipment();
            }
            Mode::Stream | Mode::Copy { .. } => peer.next = peer.next.max(peer.matched + 1),
        }
        if more {
            self.advance_commit();
            self.finish_hand_over(from);
        }
        self.send_rest(from);
    }

    /// Sends what is left, if anything is.
    fn send_rest(&mut self, to: MemberId) {
        let last = self.last();
        let Role::Leader(leader) = &self.role else { return };
        if leader.peers.get(&to).is_some_and(|peer| peer.mode == Mode::Stream && peer.next <= last) {
            self.send_append(to);
        }
    }

    pub(super) fn refused(&mut self, from: MemberId, term: Term, next: Index, probe: u64) {
        let Some(last) = self.hear(from, term, probe) else { return };
        let base = self.log.base().at.index;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peers.get_mut(&from) else { return };
        if next <= peer.matched {
            // An answer from before.
            return;
        }
        match peer.mode {
            Mode::Copy { .. } if next <= base => return,
            Mode::Copy { .. } => peer.next = next.min(last + 1),
            Mode::Search | Mode::Stream => peer.next = next.min(peer.next.saturating_sub(1)),
        }
        peer.next = peer.next.max(peer.matched + 1);
        peer.mode = Mode::Search;
        self.drop_idle_shipment();
        self.send_append(from);
    }

    /// Notes that a member has answered in this leader's time; the end of the log if it counts.
    pub(super) fn hear(&mut self, from: MemberId, term: Term, probe: u64) -> Option<Index> {
        if term > self.hard.term {
            self.follow(term, None);
            return None;
        }
        let (now, last) = (self.now, self.last());
        let Role::Leader(leader) = &mut self.role else { return None };
        if term < self.hard.term {
            return None;
        }
        let peer = leader.peers.get_mut(&from)?;
        peer.active_at = now;
        peer.probe = peer.probe.max(probe);
        Some(last)
    }

    /// Commits what a majority has, if it is of this leader's time: only then nobody can be elected who lacks it.
    pub(super) fn advance_commit(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let has = |id| match id == self.id {
            true => self.stable,
            false => leader.peers.get(&id).map_or(0, |peer| peer.matched),
        };
        let mut matched: Vec<Index> = self.members().voters().map(has).collect();
        matched.sort_unstable_by(|a, b| b.cmp(a));
        let Some(index) = matched.get(matched.len() / 2).copied() else { return };
        if index > self.commit && self.log.term_at(index) == Some(self.hard.term) {
            self.commit = index;
            // So that it is applied elsewhere soon.
            self.broadcast();
            self.settle_members();
        }
    }
}
