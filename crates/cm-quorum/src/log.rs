//! The log, as much of it as is kept.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{ClusterId, MemberId, Members};

/// The place of an entry; the first is 1, and 0 is before all.
pub type Index = u64;
/// The time of one leader.
pub type Term = u64;
/// The index of the last entry that had an effect.
pub type Version = u64;
/// Names what a node asked for; each only once.
pub type Request = u64;

/// Most bytes of changes in one batch: one and a half times the largest row. Messages stay below what links carry.
pub const CHANGES_LEN_MAX: usize = 48 << 20;
/// What an entry takes beyond its changes, about.
const ENTRY_OVERHEAD: usize = 64;

/// A place in the log, and who led when it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The place.
    pub index: Index,
    /// The leader's time.
    pub term: Term,
}

impl Position {
    /// Whether a log that ends here has all that one has that ends there and may have been committed.
    pub(crate) fn is_at_least(self, other: Position) -> bool {
        (self.term, self.index) >= (other.term, other.index)
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub at: Position,
    /// What it says.
    pub body: Body,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing: a new leader's first.
    Blank,
    /// Who the members are from here on.
    Members(Members),
    /// Changes of the data.
    Batch(Batch),
}

impl Body {
    pub(crate) fn len(&self) -> usize {
        ENTRY_OVERHEAD
            + match self {
                Body::Blank => 0,
                Body::Members(members) => members.iter().map(|(_, member)| 16 + member.contact.len()).sum(),
                Body::Batch(batch) => batch.changes.len(),
            }
    }
}

/// Changes of the data, computed on one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Who computed it.
    pub origin: MemberId,
    /// What the origin calls it.
    pub request: Request,
    /// What it was computed on. The token: any other version at its turn, and it has no effect.
    pub base: Version,
    /// The changes, in the words of whoever applies them; at most [`CHANGES_LEN_MAX`] bytes.
    pub changes: Arc<[u8]>,
}

/// What a node must never forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hard {
    /// The newest time it knows of.
    pub term: Term,
    /// For whom it voted in it.
    pub vote: Option<MemberId>,
    /// Which log it keeps; `None` as long as it has not heard of any.
    pub cluster: Option<ClusterId>,
}

/// What the kept part of a log begins after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// The last entry that is gone.
    pub at: Position,
    /// The members as of that entry.
    pub members: Members,
}

/// The kept part of a log.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    base: Base,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The entries that changed the members.
    changes: Vec<(Index, Members)>,
}

impl Log {
    pub(crate) fn new(base: Base) -> Self {
        Self { base, entries: VecDeque::new(), bytes: 0, changes: Vec::new() }
    }

    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn last(&self) -> Position {
        self.entries.back().map_or(self.base.at, |entry| entry.at)
    }

    /// The newest members, and the entry that says so.
    pub(crate) fn members(&self) -> (&Members, Index) {
        match self.changes.last() {
            Some((index, members)) => (members, *index),
            None => (&self.base.members, self.base.at.index),
        }
    }

    pub(crate) fn entry(&self, index: Index) -> Option<&Entry> {
        let at = index.checked_sub(self.base.at.index + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        match self.base.at {
            at if at.index == index => Some(at.term),
            _ => self.entry(index).map(|entry| entry.at.term),
        }
    }

    /// The entries from there on, about so many bytes of them, but one at least.
    pub(crate) fn from(&self, index: Index, bytes_max: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let mut entries = Vec::new();
        let mut index = index;
        while let Some(entry) = self.entry(index) {
            bytes += entry.body.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
            index += 1;
        }
        entries
    }

    /// The entry must be the next one.
    pub(crate) fn append(&mut self, entry: Entry) {
        debug_assert_eq!(entry.at.index, self.last().index + 1, "entries follow each other");
        if let Body::Members(members) = &entry.body {
            self.changes.push((entry.at.index, members.clone()));
        }
        self.bytes += entry.body.len();
        self.entries.push_back(entry);
    }

    /// Forgets the entries from there on.
    pub(crate) fn truncate(&mut self, from: Index) {
        while self.entries.back().is_some_and(|entry| entry.at.index >= from) {
            let Some(entry) = self.entries.pop_back() else { break };
            self.bytes -= entry.body.len();
        }
        self.changes.retain(|(index, _)| *index < from);
    }

    /// Forgets the entries up to there. The new base; `None` if there is nothing to forget, or no such entry.
    pub(crate) fn compact(&mut self, to: Index) -> Option<Base> {
        let at = self.entry(to)?.at;
        while self.entries.front().is_some_and(|entry| entry.at.index <= to) {
            let Some(entry) = self.entries.pop_front() else { break };
            self.bytes -= entry.body.len();
        }
        let kept = self.changes.partition_point(|(index, _)| *index <= to);
        if let Some((_, members)) = self.changes.drain(..kept).next_back() {
            self.base.members = members;
        }
        self.base.at = at;
        Some(self.base.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: Index, term: Term, members: Option<u64>) -> Entry {
        let body = members
            .map_or(Body::Blank, |id| Body::Members(Members::new().with_voter(MemberId(id), "somewhere")));
        Entry { at: Position { index, term }, body }
    }

    #[test]
    fn what_is_kept_stays_consistent() {
        let mut log = Log::new(Base { at: Position { index: 4, term: 2 }, members: Members::new() });
        for (index, member) in [(5, None), (6, Some(1)), (7, None), (8, Some(2)), (9, None)] {
            log.append(entry(index, 3, member));
        }
        assert_eq!((log.last().index, log.members().1, log.len()), (9, 8, 5));
        assert_eq!(
            (log.term_at(3), log.term_at(4), log.term_at(5), log.term_at(10)),
            (None, Some(2), Some(3), None)
        );
        assert_eq!(log.from(8, 1).len(), 1, "one at least");
        assert_eq!(log.from(5, usize::MAX).len(), 5);
        log.truncate(8);
        assert_eq!((log.last().index, log.members().1), (7, 6));
        let base = log.compact(6).unwrap();
        assert!(base.at.index == 6 && base.members.is_voter(MemberId(1)));
        assert_eq!((log.len(), log.members().1, log.compact(6)), (1, 6, None));
        assert_eq!(log.bytes(), log.entry(7).unwrap().body.len());
        log.truncate(0);
        assert_eq!((log.bytes(), log.last()), (0, Position { index: 6, term: 3 }));
    }
}
