//! What is held of those who deliver events: whether somebody is listened to, and whether the connection is kept.
//!
//! Nobody forwards what they could not verify, hence an event whose signature is wrong is the fault of whoever delivered it. After
//! gossipsub 1.1, a few mistakes weigh little and many weigh much: penalties grow with the square of what was done, and what was done
//! is forgotten by and by. Senders of version 1 show no key; they are known by their address.

use std::time::Duration;

use cm_types::Timestamp;

use super::bucket::{Bucket, Rate};

/// After how long half of what was done is forgotten.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// What one first delivery of a new event is worth, and how many count.
const DELIVERY_WORTH: f64 = 0.2;
const DELIVERIES_MAX: f64 = 50.0;
/// What events with a wrong signature, bodies that are no events, and events beyond the sender's rate weigh, each with its square.
const INVALID_WEIGHT: f64 = 4.0;
const MALFORMED_WEIGHT: f64 = 0.5;
const MISBEHAVIOUR_WEIGHT: f64 = 1.0;
/// How much of what reporters say beyond their rates one link may bring; more of it is not looked at.
const LIMITED_RATE: Rate = Rate { per_second: 10.0, burst: 9000.0 };
/// Below this a link's events are dropped unread.
pub const IGNORED_BELOW: f64 = -20.0;
/// Below this a link is cut, and its sender refused for a while.
pub const CUT_BELOW: f64 = -80.0;

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Was the first to bring a valid event.
    Delivered,
    /// Brought an event that was not signed by the key that it names.
    Invalid,
    /// Brought something that is no event.
    Malformed,
    /// Broke the rules of the protocol in another way: promised what it did not send, asked for too much.
    Misbehaved,
}

/// The ledger of one link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkLedger {
    delivered: f64,
    invalid: f64,
    malformed: f64,
    misbehaved: f64,
    at: Option<Timestamp>,
    bucket: Bucket,
}

impl LinkLedger {
    /// Writes down a deed.
    pub fn record(&mut self, deed: Deed, now: Timestamp) {
        self.forget(now);
        match deed {
            Deed::Delivered => self.delivered = (self.delivered + 1.0).min(DELIVERIES_MAX),
            Deed::Invalid => self.invalid += 1.0,
            Deed::Malformed => self.malformed += 1.0,
            Deed::Misbehaved => self.misbehaved += 1.0,
        }
    }

    /// An event came whose reporter says more than it may: no deed, as it may be an old one that a newcomer asked for. Whether one more
    /// may come.
    pub fn take(&mut self, now: Timestamp) -> bool {
        self.bucket.take(LIMITED_RATE, now)
    }

    /// Whether so many of those came that no event is looked at for the moment.
    pub fn is_flooding(&self, now: Timestamp) -> bool {
        self.bucket.is_spent(LIMITED_RATE, now)
    }

    fn forget(&mut self, now: Timestamp) {
        let factor = self.factor(now);
        for what in [&mut self.delivered, &mut self.invalid, &mut self.malformed, &mut self.misbehaved] {
            *what *= factor;
        }
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
    }

    fn factor(&self, now: Timestamp) -> f64 {
        let passed = self.at.map_or(Duration::ZERO, |at| now.since(at));
        0.5f64.powf(passed.as_secs_f64() / HALF_LIFE.as_secs_f64())
    }

    /// What all of it comes to: at most 10, and without a bound below.
    pub fn score(&self, now: Timestamp) -> f64 {
        let factor = self.factor(now);
        let squared = |what: f64, weight: f64| weight * (what * factor).powi(2);
        self.delivered * factor * DELIVERY_WORTH
            - squared(self.invalid, INVALID_WEIGHT)
            - squared(self.malformed, MALFORMED_WEIGHT)
            - squared(self.misbehaved, MISBEHAVIOUR_WEIGHT)
    }

    /// Why the link is not listened to, for people; `None` if it is.
    pub fn ignored(&self, now: Timestamp) -> Option<String> {
        (self.score(now) < IGNORED_BELOW).then(|| {
            let factor = self.factor(now);
            format!(
                "of late {:.0} events with wrong signatures, {:.0} malformed messages and {:.0} breaches of the protocol",
                self.invalid * factor,
                self.malformed * factor,
                self.misbehaved * factor,
            )
        })
    }

    /// Whether the link is to be cut.
    pub fn cut(&self, now: Timestamp) -> bool {
        self.score(now) < CUT_BELOW
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![Just(Deed::Delivered), Just(Deed::Invalid), Just(Deed::Malformed), Just(Deed::Misbehaved)]
    }

    proptest! {
        #[test]
        fn good_deeds_never_harm_and_bad_ones_never_help(deeds in prop::collection::vec((deed(), 0u64..100_000), 0..60)) {
            let (mut ledger, mut now) = (LinkLedger::default(), Timestamp::from_micros(0));
            for (deed, step) in deeds {
                now = now.after(Duration::from_millis(step));
                let before = ledger.score(now);
                ledger.record(deed, now);
                let after = ledger.score(now);
                if deed == Deed::Delivered {
                    prop_assert!(after >= before - 1e-9);
                } else {
                    prop_assert!(after < before);
                }
                prop_assert!(after <= DELIVERIES_MAX * DELIVERY_WORTH);
            }
            let later = now.after(Duration::from_secs(24 * 3600));
            prop_assert!(ledger.score(later) > IGNORED_BELOW, "all is forgotten in a day");
        }
    }

    #[test]
    fn a_flood_is_not_looked_at_and_is_no_deed() {
        let (mut ledger, now) = (LinkLedger::default(), Timestamp::from_micros(1));
        assert!(!ledger.is_flooding(now));
        assert_eq!((0..20_000).filter(|_| ledger.take(now)).count(), 9000);
        assert!(ledger.is_flooding(now));
        assert_eq!(ledger.score(now), 0.0);
        assert!(!ledger.is_flooding(now.after(Duration::from_secs(1))));
    }

    #[test]
    fn deliveries_do_not_pay_for_many_forgeries() {
        let now = Timestamp::from_micros(0);
        let mut ledger = LinkLedger::default();
        (0..100_000).for_each(|_| ledger.record(Deed::Delivered, now));
        (0..2).for_each(|_| ledger.record(Deed::Invalid, now));
        assert_eq!(ledger.ignored(now), None, "mistakes happen");
        (0..2).for_each(|_| ledger.record(Deed::Invalid, now));
        assert!(ledger.ignored(now).unwrap().contains("4 events with wrong signatures"));
        assert!(!ledger.cut(now));
        ledger.record(Deed::Invalid, now);
        assert!(ledger.cut(now));
    }
}
