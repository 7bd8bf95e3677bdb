//! What came and was not kept.

use std::collections::HashSet;
use std::time::Duration;

use super::Moment;
use crate::EventKey;

/// Keys of events that came and were not kept: so many in each of two generations, each for so long.
pub(super) const UNKEPT_MAX: usize = 32_768;
const UNKEPT_FOR: Duration = Duration::from_secs(300);

/// Keys of events that came, verified, and were not kept: nobody is asked for them again before long.
#[derive(Clone, Debug, Default)]
pub(super) struct Unkept {
    new: HashSet<EventKey>,
    old: HashSet<EventKey>,
    /// When the older generation goes.
    pub(super) turn_at: Moment,
}

impl Unkept {
    pub(super) fn new(now: Moment) -> Self {
        Self { turn_at: now + UNKEPT_FOR, ..Self::default() }
    }

    pub(super) fn insert(&mut self, key: EventKey, now: Moment) {
        if self.new.len() >= UNKEPT_MAX {
            self.turn(now);
        }
        self.new.insert(key);
    }

    pub(super) fn turn(&mut self, now: Moment) {
        self.old = std::mem::take(&mut self.new);
        self.turn_at = now + UNKEPT_FOR;
    }

    pub(super) fn remove(&mut self, key: &EventKey) {
        self.new.remove(key);
        self.old.remove(key);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.new.len() + self.old.len()
    }

    pub(super) fn contains(&self, key: &EventKey) -> bool {
        self.new.contains(key) || self.old.contains(key)
    }
}
