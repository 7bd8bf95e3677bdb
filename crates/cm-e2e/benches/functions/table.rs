//! Samples, and their printing beside what they are compared with.

use std::io::Write;
use std::time::Duration;

use crate::Outcome;

/// What was measured in the rounds of one kind of run, in seconds, in the order of the rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Adds a round.
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    /// The median, in seconds.
    pub(crate) fn median(&self) -> f64 {
        median(self.0.clone())
    }

    fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The time that 99 of 100 runs stayed within: the nearest rank, hence the longest of fewer than 100.
    pub(crate) fn p99(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * 99).div_ceil(100);
        rank.checked_sub(1).map_or(f64::NAN, |index| sorted[index])
    }

    fn max(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }

    /// The median over the rounds of how many times as long this took as the reference.
    pub(crate) fn ratio(&self, reference: &Samples) -> f64 {
        median(self.0.iter().zip(&reference.0).map(|(own, other)| own / other).collect())
    }

    /// The same with every time multiplied.
    pub(crate) fn scaled(&self, factor: f64) -> Samples {
        Samples(self.0.iter().map(|time| time * factor).collect())
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(times.into_iter().map(|time| time.as_secs_f64()).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

/// How the numbers of a table are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// MiB per second, for so many MiB.
    Rate(f64),
    /// So many things per second.
    PerSecond(f64),
}

/// A group's table; printed when it is finished.
#[derive(Debug)]
pub(crate) struct Table {
    unit: Unit,
    lines: Vec<String>,
    load_before: String,
}

impl Table {
    /// An empty table that begins now: the load of the machine is noted.
    pub(crate) fn new(title: &str, unit: Unit) -> Self {
        let name = match unit {
            Unit::Milliseconds => "ms",
            Unit::Rate(_) => "MiB/s",
            Unit::PerSecond(_) => "1/s",
        };
        let last = if matches!(unit, Unit::Milliseconds) { "p99" } else { "max" };
        let head = format!("{:<52} {:>9} {:>9} {:>9}  ratio", name, "median", "min", last);
        Self { unit, lines: vec![String::new(), format!("== {title}"), head], load_before: load() }
    }

    /// A line that was measured.
    pub(crate) fn row(&mut self, label: &str, samples: &Samples) {
        self.lines.push(self.measured(label, samples));
    }

    /// A line with its ratio to another: of times for a table of times, of rates for one of rates.
    pub(crate) fn compared(&mut self, label: &str, samples: &Samples, reference: &Samples, name: &str) {
        let ratio = match self.unit {
            Unit::Milliseconds => samples.ratio(reference),
            Unit::Rate(_) | Unit::PerSecond(_) => reference.ratio(samples),
        };
        self.lines.push(format!("{}  {ratio:.3} of {name}", self.measured(label, samples)));
    }

    fn measured(&self, label: &str, samples: &Samples) -> String {
        let (middle, low, high) = match self.unit {
            Unit::Milliseconds => (samples.median() * 1e3, samples.min() * 1e3, samples.p99() * 1e3),
            Unit::Rate(amount) | Unit::PerSecond(amount) => {
                (amount / samples.median(), amount / samples.max(), amount / samples.min())
            }
        };
        let digits = if middle < 100.0 { 2 } else { 0 };
        format!("{label:<52} {middle:>9.digits$} {low:>9.digits$} {high:>9.digits$}")
    }

    /// A line of words.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.lines.push(text.into());
    }

    /// What was aimed at, and whether it was reached.
    pub(crate) fn aim(&mut self, aim: &str, found: &str, met: bool) {
        self.note(format!("aim: {aim}; found {found}: {}", if met { "met" } else { "MISSED" }));
    }

    /// Prints everything, with the load of the machine at the beginning and now.
    pub(crate) fn print(self) -> Outcome<()> {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let mut out = std::io::stdout().lock();
        for line in &self.lines {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "machine: {cores} cores, load average {} before, {} after", self.load_before, load())?;
        Ok(out.flush()?)
    }
}

/// The load averages over 1, 5 and 15 minutes.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
