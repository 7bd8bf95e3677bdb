//! How often something is read.

use std::time::Duration;

use cm_types::Timestamp;

/// A count of events that is halved with every half-life: `score · 2^(−Δt / half-life) + 1` at each event. Under a steady
/// rate λ it settles at `λ · half-life / ln 2`, which is how the rate is read off it.
///
/// It takes two numbers per object and no timer, and forgets at the same pace whatever the load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    score: f64,
    at_micros: i64,
}

impl Rate {
    /// One event. An event before the last one, by a clock that was set back, counts as at the same time.
    pub fn record(&mut self, now: Timestamp, half_life: Duration) {
        self.score = self.score_at(now, half_life) + 1.0;
        self.at_micros = self.at_micros.max(now.as_micros());
    }

    fn score_at(&self, now: Timestamp, half_life: Duration) -> f64 {
        let elapsed = now.since(Timestamp::from_micros(self.at_micros)).as_secs_f64();
        let lives = elapsed / half_life.as_secs_f64().max(f64::MIN_POSITIVE);
        self.score * (-lives).exp2()
    }

    /// Events per second, as of now.
    pub fn per_second(&self, now: Timestamp, half_life: Duration) -> f64 {
        self.score_at(now, half_life) * std::f64::consts::LN_2
            / half_life.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// The rate of reads by two memories: a short one that sees a crowd come within seconds, and a long one that does not forget it
/// at the first pause. The greater of both counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Heat {
    short: Rate,
    long: Rate,
}

impl Heat {
    /// Half-life of the short memory.
    pub const SHORT: Duration = Duration::from_secs(10);
    /// Half-life of the long memory.
    pub const LONG: Duration = Duration::from_secs(600);

    /// One read.
    pub fn record(&mut self, now: Timestamp) {
        self.short.record(now, Self::SHORT);
        self.long.record(now, Self::LONG);
    }

    /// Reads per second, as of now.
    pub fn per_second(&self, now: Timestamp) -> f64 {
        self.short.per_second(now, Self::SHORT).max(self.long.per_second(now, Self::LONG))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: f64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + (secs * 1e6) as i64)
    }

    #[test]
    fn a_crowd_is_seen_soon_and_forgotten_slowly() {
        let mut heat = Heat::default();
        for n in 0..2000 {
            heat.record(at(f64::from(n) / 100.0));
        }
        let seen = heat.per_second(at(20.0));
        assert!(seen > 70.0, "{seen} of 100 per second are seen after 20 seconds");
        let later = heat.per_second(at(320.0));
        assert!((1.0..3.0).contains(&later), "{later}");
    }

    proptest! {
        #[test]
        fn a_steady_rate_is_found(rate in 0.1_f64..1000.0, half_life in 1.0_f64..100.0) {
            let half_life = Duration::from_secs_f64(half_life);
            let mut found = Rate::default();
            let count = (rate * half_life.as_secs_f64() * 10.0).max(50.0) as u32;
            let mut secs = 0.0;
            for _ in 0..count {
                secs += 1.0 / rate;
                found.record(at(secs), half_life);
            }
            // Right after an event the count is at most one too high.
            let allowed = rate * 0.01 + std::f64::consts::LN_2 / half_life.as_secs_f64();
            let found = found.per_second(at(secs), half_life);
            prop_assert!((found - rate).abs() <= allowed, "{found} instead of {rate}");
        }

        #[test]
        fn it_only_falls_without_events_and_survives_clocks_set_back(first in 0.0_f64..1e6, second in 0.0_f64..1e6) {
            let half_life = Duration::from_secs(10);
            let mut rate = Rate::default();
            rate.record(at(first), half_life);
            rate.record(at(second), half_life);
            let (latest, later) = (first.max(second), first.max(second) + 5.0);
            prop_assert!(rate.per_second(at(later), half_life) < rate.per_second(at(latest), half_life));
            prop_assert!(rate.per_second(at(latest), half_life) <= 2.0 * 0.07);
        }
    }
}
