//! For how long one party waits for another before it gives it up.
//!
//! A party that is waited for may itself wait for a third one, in an earlier step. Whoever gave it up then would blame the wrong one, and in
//! the robust tier, which survives the loss of a few, lose too many. So a party that has waited for half of its patience says in which step,
//! and who hears of an earlier step than its own waits on, once for each party that may be the one that is stuck.

use std::time::{Duration, Instant};

use cm_shares::Party;

/// What a party that waits does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It waits.
    Wait,
    /// It tells the others in which step it waits.
    Tell(u32),
    /// It gives up on whom it waits for.
    GiveUp,
}

/// The patience of one party.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    /// How often a wait may begin anew.
    renewals_max: usize,
    /// Whom it waits for, and in which step.
    awaited: Option<(Party, u32)>,
    since: Instant,
    renewals: usize,
    has_told: bool,
}

impl Patience {
    /// Of a party among so many.
    pub(crate) fn new(limit: Duration, parties: usize, now: Instant) -> Self {
        Self { limit, renewals_max: parties, awaited: None, since: now, renewals: 0, has_told: false }
    }

    /// It waits for a party's frame of a step. Frames of others do not begin the wait anew.
    pub(crate) fn await_frame(&mut self, party: Party, step: u32, now: Instant) {
        if self.awaited != Some((party, step)) {
            (self.awaited, self.since, self.renewals, self.has_told) = (Some((party, step)), now, 0, false);
        }
    }

    /// Something of the protocol has come of a party.
    pub(crate) fn heard(&mut self, party: Party, now: Instant) {
        if self.awaited.is_some_and(|(awaited, _)| awaited == party) {
            self.since = now;
        }
    }

    /// What to do now. `theirs` is the step in which the awaited party said that it waits, if that was the last thing that it said.
    pub(crate) fn next(&mut self, theirs: Option<u32>, now: Instant) -> Next {
        let Some((_, step)) = self.awaited else { return Next::Wait };
        let waited = now.saturating_duration_since(self.since);
        if waited < self.limit {
            let tells = !self.has_told && waited >= self.limit / 2;
            self.has_told |= tells;
            return if tells { Next::Tell(step) } else { Next::Wait };
        }
        if theirs.is_some_and(|theirs| theirs < step) && self.renewals < self.renewals_max {
            self.renewals += 1;
            self.since = now;
            return Next::Wait;
        }
        Next::GiveUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn after(begun: Instant, seconds: u64) -> Instant {
        begun + Duration::from_secs(seconds)
    }

    #[test]
    fn only_whom_it_waits_for_begins_a_wait_anew() {
        let begun = Instant::now();
        let mut patience = Patience::new(LIMIT, 4, begun);
        patience.await_frame(Party(1), 7, begun);
        assert_eq!(patience.next(None, after(begun, 4)), Next::Wait);
        assert_eq!(patience.next(None, after(begun, 5)), Next::Tell(7));
        assert_eq!(patience.next(None, after(begun, 6)), Next::Wait, "told once");
        // Another party sends as much as it likes.
        patience.heard(Party(2), after(begun, 9));
        patience.await_frame(Party(1), 7, after(begun, 9));
        assert_eq!(patience.next(None, after(begun, 10)), Next::GiveUp);
        patience.heard(Party(1), after(begun, 10));
        assert_eq!(patience.next(None, after(begun, 19)), Next::Wait);
        assert_eq!(patience.next(None, after(begun, 20)), Next::GiveUp);
        patience.await_frame(Party(2), 7, after(begun, 20));
        assert_eq!(patience.next(None, after(begun, 21)), Next::Wait);
    }

    #[test]
    fn who_waits_in_an_earlier_step_is_not_blamed_for_it() {
        let begun = Instant::now();
        let mut patience = Patience::new(LIMIT, 4, begun);
        patience.await_frame(Party(1), 7, begun);
        assert_eq!(patience.next(Some(3), after(begun, 10)), Next::Wait);
        assert_eq!(patience.next(Some(7), after(begun, 20)), Next::GiveUp, "it waits in the same step");
        // Whoever claims to wait for ever is given up on in the end.
        patience.await_frame(Party(1), 8, begun);
        let mut now = begun;
        let mut waits = 0;
        while patience.next(Some(0), now) != Next::GiveUp {
            now += LIMIT / 2;
            waits += 1;
            assert!(waits < 100, "it ends");
        }
        assert!(now - begun <= LIMIT * 5);
    }
}
