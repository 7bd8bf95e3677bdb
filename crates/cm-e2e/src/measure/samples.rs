//! Times that something took.

use std::time::Duration;

/// What was measured in the rounds of one kind of run, in seconds, in the order of the rounds.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a round.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    /// The median, in seconds.
    pub fn median(&self) -> f64 {
        median(self.0.clone())
    }

    /// The shortest, in seconds.
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The longest, in seconds.
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }

    /// The time that 99 of 100 runs stayed within: the nearest rank, hence the longest of fewer than 100.
    pub fn p99(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * 99).div_ceil(100);
        rank.checked_sub(1).map_or(f64::NAN, |index| sorted[index])
    }

    /// The median over the rounds of how many times as long this took as the reference.
    pub fn ratio(&self, reference: &Samples) -> f64 {
        median(self.0.iter().zip(&reference.0).map(|(own, other)| own / other).collect())
    }

    /// The same with every time multiplied.
    pub fn scaled(&self, factor: f64) -> Samples {
        Samples(self.0.iter().map(|time| time * factor).collect())
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(times.into_iter().map(|time| time.as_secs_f64()).collect())
    }
}

/// The median of some values; no number if there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}
