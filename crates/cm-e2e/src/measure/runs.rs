//! What callers saw while they asked for something again and again.

use std::time::Duration;

use super::median;

/// One run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Requests per second.
    pub rate: f64,
    /// The time that half of the requests took at most, in milliseconds.
    pub p50: f64,
    /// The time that 99 of 100 requests took at most, in milliseconds.
    pub p99: f64,
    /// Processors that the client kept busy.
    pub client: f64,
    /// Processors that the server kept busy.
    pub server: f64,
    /// Processors that were busy at all.
    pub machine: f64,
    /// The most memory that the server ever had so far, in MiB.
    pub memory: f64,
}

impl Run {
    /// Of what the callers waited for within a time.
    pub fn of(mut waits: Vec<Duration>, elapsed: Duration) -> Run {
        waits.sort_unstable();
        let at = |percent: usize| {
            let at = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
            waits.get(at).map_or(f64::NAN, Duration::as_secs_f64) * 1e3
        };
        let rate = waits.len() as f64 / elapsed.as_secs_f64();
        Run { rate, p50: at(50), p99: at(99), ..Run::default() }
    }
}

/// The runs of one kind, in the order of the rounds.
#[derive(Clone, Debug, Default)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// Adds a round.
    pub fn push(&mut self, run: Run) {
        self.0.push(run);
    }

    /// The runs in the order of the rounds.
    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.0.iter()
    }

    /// The median of something.
    pub fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.0.iter().map(of).collect())
    }

    /// The median over the rounds of how something compares with another.
    pub fn ratio(&self, other: &Runs, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(own, other)| of(own) / of(other)).collect())
    }
}
