//! How often something may happen.

use cm_types::Timestamp;
use serde::{Deserialize, Serialize};

/// A rate, and how much may come at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How many a second, in the long run.
    pub per_second: f64,
    /// How many at once.
    pub burst: f64,
}

impl Rate {
    /// So many an hour, a quarter of them at once.
    pub fn per_hour(count: u32) -> Self {
        let count = f64::from(count);
        Self { per_second: count / 3600.0, burst: (count / 4.0).max(1.0) }
    }
}

/// How much of a rate is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// How many were taken and have not run out again.
    used: f64,
    at: Option<Timestamp>,
}

impl Bucket {
    /// Takes one, if the rate leaves one.
    pub fn take(&mut self, rate: Rate, now: Timestamp) -> bool {
        // A clock that was set back gives nothing and takes nothing.
        let passed = self.at.map_or(0.0, |at| now.since(at).as_secs_f64());
        self.used = (self.used - passed * rate.per_second).max(0.0);
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
        let left = self.used + 1.0 <= rate.burst;
        if left {
            self.used += 1.0;
        }
        left
    }

    /// Whether the rate leaves none at the moment.
    pub fn is_spent(&self, rate: Rate, now: Timestamp) -> bool {
        let passed = self.at.map_or(0.0, |at| now.since(at).as_secs_f64());
        (self.used - passed * rate.per_second).max(0.0) + 1.0 > rate.burst
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_more_than_the_rate_and_its_burst_passes(steps in prop::collection::vec(0u64..2000, 1..300)) {
            let rate = Rate { per_second: 2.0, burst: 10.0 };
            let begin = Timestamp::from_micros(1);
            let (mut bucket, mut now, mut passed) = (Bucket::default(), begin, 0u32);
            for step in steps {
                now = now.after(Duration::from_millis(step));
                passed += u32::from(bucket.take(rate, now));
            }
            let allowed = rate.burst + now.since(begin).as_secs_f64() * rate.per_second;
            prop_assert!(f64::from(passed) <= allowed + 1e-6, "{passed} of {allowed}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing() {
        let rate = Rate { per_second: 1.0, burst: 1.0 };
        let (late, early) = (Timestamp::from_micros(10_000_000), Timestamp::from_micros(0));
        let mut bucket = Bucket::default();
        assert!(bucket.take(rate, late));
        assert!(!bucket.take(rate, early));
        assert!(!bucket.take(rate, late));
        assert!(bucket.take(rate, late.after(Duration::from_secs(1))));
    }
}
