//! What a simulated node keeps over a crash.

use cm_quorum::{Base, Rng, Stored, Write};

use super::copy::Copy;

/// A disk: the log as flushed, and a copy of the data that was flushed now and then.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) log: Stored,
    /// The copy as it is for sure.
    pub(super) flushed: Copy,
    /// The log before the last writes: what a disk that does not keep its word falls back to.
    before: Option<Stored>,
}

impl Disk {
    pub(super) fn new(log: Stored, copy: Copy) -> Self {
        Self { log, flushed: copy, before: None }
    }

    pub(super) fn write(&mut self, writes: Vec<Write>) {
        self.before = Some(self.log.clone());
        for write in writes {
            match write {
                Write::Hard(hard) => self.log.hard = hard,
                Write::Truncate { from } => self.log.entries.retain(|entry| entry.at.index < from),
                Write::Append(entry) => self.log.entries.push(entry),
                Write::Compact(base) => {
                    self.log.entries.retain(|entry| entry.at.index > base.at.index);
                    self.log.base = base;
                }
                Write::Reset(base) => self.reset(base),
            }
        }
    }

    fn reset(&mut self, base: Base) {
        self.log.entries.clear();
        self.log.base = base;
    }

    /// What is left of the copy: all of it if only the program went, otherwise what was flushed.
    pub(super) fn crash(&mut self, rng: &mut Rng, copy: Copy, forgetful: bool) -> Copy {
        if forgetful
            && rng.per_mille(700)
            && let Some(before) = self.before.take()
        {
            self.log = before;
        }
        // The log may have forgotten only what was flushed: the replica finds out if that is not so.
        if rng.per_mille(500) { self.flushed.clone() } else { copy }
    }
}
