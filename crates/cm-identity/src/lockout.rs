//! Failed logins in a row, and how long they lock a name.
//!
//! The rule is the same for every name, whether a principal of that name exists or not: otherwise the lock
//! would tell which names exist. Failures of existing principals are kept in the database, those of
//! unknown names in a bounded map in memory, so that inventing names does not fill the disk.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use cm_types::{PrincipalId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// Failures in a row that lock.
pub const FAILURES_MAX: u32 = 5;
/// The first lock.
pub const LOCK_MIN: Duration = Duration::from_secs(30);
/// The longest lock; each failure after a lock doubles it until here.
pub const LOCK_MAX: Duration = Duration::from_secs(15 * 60);
/// Unknown names that are remembered at once. The oldest is forgotten first.
const UNKNOWN_NAMES_MAX: usize = 10_000;
/// At most one event in so long tells of logins under unknown names.
const UNKNOWN_EVENT_EVERY: Duration = Duration::from_secs(1);

/// How often a name failed in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    count: u32,
    locked_until: Option<Timestamp>,
}

impl Failures {
    /// How long the name is still locked; `None` if it is not.
    pub fn locked_for(&self, now: Timestamp) -> Option<Duration> {
        // A wall clock that was set back must not make a lock longer than any lock may be.
        let remaining = self.locked_until?.since(now).min(LOCK_MAX);
        (!remaining.is_zero()).then_some(remaining)
    }

    /// The state after one more failure.
    pub fn after_failure(self, now: Timestamp) -> Self {
        let count = self.count.saturating_add(1);
        let locked_until = count.checked_sub(FAILURES_MAX).map(|doublings| {
            let factor = 2u32.saturating_pow(doublings.min(16));
            now.after(LOCK_MIN.saturating_mul(factor).min(LOCK_MAX))
        });
        Self { count, locked_until }
    }

    /// How many there were.
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// The failures of names that do not exist.
#[derive(Debug, Default)]
pub(crate) struct UnknownNames {
    failures: HashMap<(TenantId, PrincipalId), Failures>,
    oldest_first: VecDeque<(TenantId, PrincipalId)>,
    event_at: Option<Timestamp>,
}

impl UnknownNames {
    pub(crate) fn get(&self, name: &(TenantId, PrincipalId)) -> Failures {
        self.failures.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn fail(&mut self, name: (TenantId, PrincipalId), now: Timestamp) {
        if let Some(failures) = self.failures.get_mut(&name) {
            *failures = failures.after_failure(now);
            return;
        }
        if self.failures.len() >= UNKNOWN_NAMES_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.failures.remove(&oldest);
        }
        self.oldest_first.push_back(name.clone());
        self.failures.insert(name, Failures::default().after_failure(now));
    }

    /// Whether an event about an unknown name is due; if so, the next one is not for a while.
    pub(crate) fn event_due(&mut self, now: Timestamp) -> bool {
        let due = self.event_at.is_none_or(|last| now < last || now.since(last) >= UNKNOWN_EVENT_EVERY);
        if due {
            self.event_at = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(NOW + secs * 1_000_000)
    }

    #[test]
    fn the_fifth_failure_locks_and_each_further_one_doubles() {
        let mut failures = Failures::default();
        let mut lock_secs = Vec::new();
        for _ in 0..13 {
            failures = failures.after_failure(at(0));
            lock_secs.push(failures.locked_for(at(0)).map_or(0, |lock| lock.as_secs()));
        }
        assert_eq!(lock_secs, [0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900, 900]);
    }

    #[test]
    fn a_lock_ends() {
        let locked = (0..5).fold(Failures::default(), |failures, _| failures.after_failure(at(0)));
        assert_eq!(locked.locked_for(at(29)), Some(Duration::from_secs(1)));
        assert_eq!(locked.locked_for(at(30)), None);
        assert_eq!(locked.locked_for(at(-86_400)), Some(LOCK_MAX), "a clock set back");
    }

    #[test]
    fn a_great_many_failures_do_not_overflow() {
        let failures = Failures { count: u32::MAX, locked_until: None }.after_failure(at(0));
        assert_eq!(failures.locked_for(at(0)), Some(LOCK_MAX));
    }

    #[test]
    fn unknown_names_are_counted_within_bounds() {
        let mut names = UnknownNames::default();
        let name = |number: usize| {
            (TenantId::default_tenant(), PrincipalId::parse(format!("ghost-{number}")).unwrap())
        };
        for _ in 0..5 {
            names.fail(name(0), at(0));
        }
        assert!(names.get(&name(0)).locked_for(at(0)).is_some());
        for number in 1..=UNKNOWN_NAMES_MAX {
            names.fail(name(number), at(0));
        }
        assert_eq!(names.failures.len(), UNKNOWN_NAMES_MAX);
        assert_eq!(names.oldest_first.len(), UNKNOWN_NAMES_MAX);
        assert_eq!(names.get(&name(0)), Failures::default());
        assert_eq!(names.get(&name(UNKNOWN_NAMES_MAX)).count(), 1);
    }

    #[test]
    fn events_about_unknown_names_are_few() {
        let mut names = UnknownNames::default();
        assert!(names.event_due(at(0)));
        assert!(!names.event_due(at(0)));
        assert!(names.event_due(at(1)));
        assert!(names.event_due(at(-5)), "a clock set back does not silence them");
    }
}
