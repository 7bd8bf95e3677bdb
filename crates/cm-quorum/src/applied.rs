//! How far a copy is, and what an entry does to it.

use crate::{Body, Entry, Members, Position, Version};

/// What a copy of the data says of itself. It is stored with the data, in the transaction that changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The last entry that was applied.
    pub at: Position,
    /// The index of the last entry that had an effect.
    pub version: Version,
    /// The members as of that entry.
    pub members: Members,
}

/// What an entry does to the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Its changes are made.
    Change(&'a [u8]),
    /// It changes no data: it holds none, or what it holds was computed on a state that is no longer the newest.
    Nothing,
}

impl Applied {
    /// Counts an entry as applied, and says what it does. Every copy comes to the same verdict.
    ///
    /// Entries come in the order of their indices, each once; of another one this says nothing that matters, and
    /// [`Applied::follows`] tells.
    pub fn apply<'a>(&mut self, entry: &'a Entry) -> Verdict<'a> {
        self.at = entry.at;
        match &entry.body {
            Body::Batch(batch) if batch.base == self.version => {
                self.version = entry.at.index;
                Verdict::Change(&batch.changes)
            }
            Body::Members(members) => {
                self.members = members.clone();
                Verdict::Nothing
            }
            Body::Batch(_) | Body::Blank => Verdict::Nothing,
        }
    }

    /// Whether the entry is the next one.
    pub fn follows(&self, entry: &Entry) -> bool {
        entry.at.index == self.at.index + 1 && entry.at.term >= self.at.term
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, MemberId};

    fn batch(index: u64, base: u64) -> Entry {
        let batch = Batch { origin: MemberId(1), request: 1, base, changes: b"x".as_slice().into() };
        Entry { at: Position { index, term: 1 }, body: Body::Batch(batch) }
    }

    #[test]
    fn only_what_was_computed_on_the_newest_state_has_an_effect() {
        let mut applied = Applied::default();
        let blank = Entry { at: Position { index: 3, term: 1 }, body: Body::Blank };
        for (entry, expected) in [
            (batch(1, 0), true),
            // The same entry, submitted twice.
            (batch(2, 0), false),
            (blank, false),
            // Entries without an effect are no reason to compute anew.
            (batch(4, 1), true),
            (batch(5, 1), false),
            (batch(6, 5), false),
            (batch(7, 4), true),
        ] {
            assert!(applied.follows(&entry));
            assert_eq!(applied.apply(&entry) != Verdict::Nothing, expected, "{entry:?}");
            assert_eq!(applied.at, entry.at);
        }
        assert_eq!(applied.version, 7);
        assert!(!applied.follows(&batch(7, 0)) && !applied.follows(&batch(9, 0)));
    }
}
