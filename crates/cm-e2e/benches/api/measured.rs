//! What was measured, and its printing.

use std::io::Write;
use std::time::Duration;

use crate::Outcome;
use crate::usage::load;

/// One run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Requests per second.
    pub(crate) rate: f64,
    /// The time that half of the requests took at most, in milliseconds.
    pub(crate) p50: f64,
    /// The time that 99 of 100 requests took at most, in milliseconds.
    pub(crate) p99: f64,
    /// Processors that the client kept busy.
    pub(crate) client: f64,
    /// Processors that the server kept busy.
    pub(crate) server: f64,
    /// Processors that were busy at all.
    pub(crate) machine: f64,
}

impl Run {
    /// Of what the callers waited for within a time.
    pub(crate) fn of(mut waits: Vec<Duration>, elapsed: Duration) -> Run {
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
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    /// Adds a round.
    pub(crate) fn push(&mut self, run: Run) {
        self.0.push(run);
    }

    /// The median of something.
    pub(crate) fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.0.iter().map(of).collect())
    }

    /// The median over the rounds of how something compares with another.
    pub(crate) fn ratio(&self, other: &Runs, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(own, other)| of(own) / of(other)).collect())
    }

    fn line(&self, label: &str) -> String {
        let rates = self.0.iter().map(|run| run.rate);
        let (low, high) = (rates.clone().fold(f64::INFINITY, f64::min), rates.fold(0.0, f64::max));
        format!(
            "{label:<44} {:>8.0} {low:>7.0}..{high:<7.0} {:>8.2} {:>8.2}  {:>5.2} {:>5.2} {:>5.2}",
            self.median(|run| run.rate),
            self.median(|run| run.p50),
            self.median(|run| run.p99),
            self.median(|run| run.client),
            self.median(|run| run.server),
            self.median(|run| run.machine),
        )
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

/// A table; printed when it is finished.
#[derive(Debug)]
pub(crate) struct Table {
    lines: Vec<String>,
    load_before: String,
}

impl Table {
    /// An empty table that begins now: the load of the machine is noted.
    pub(crate) fn new(title: &str) -> Self {
        let head = format!(
            "{:<44} {:>8} {:>7}..{:<7} {:>8} {:>8}  {:>5} {:>5} {:>5}",
            "", "per s", "min", "max", "p50 ms", "p99 ms", "clnt", "srvr", "all"
        );
        Self { lines: vec![String::new(), format!("== {title}"), head], load_before: load() }
    }

    /// A line of what was measured.
    pub(crate) fn row(&mut self, label: &str, runs: &Runs) {
        self.lines.push(runs.line(label));
    }

    /// As [`Table::row`], with the ratio of its rate to another.
    pub(crate) fn compared(&mut self, label: &str, runs: &Runs, reference: &Runs, name: &str) {
        let ratio = runs.ratio(reference, |run| run.rate);
        self.lines.push(format!("{}  {ratio:.2} of {name}", runs.line(label)));
    }

    /// A line of words.
    pub(crate) fn note(&mut self, text: String) {
        self.lines.push(text);
    }

    /// What was aimed at, and whether it was reached.
    pub(crate) fn aim(&mut self, aim: &str, found: &str, met: bool) {
        self.lines.push(format!("aim: {aim}; found {found}: {}", if met { "met" } else { "MISSED" }));
    }

    /// Prints everything, with the load of the machine at the beginning and now.
    pub(crate) fn print(self) -> Outcome<()> {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let mut out = std::io::stdout().lock();
        for line in &self.lines {
            writeln!(out, "{line}")?;
        }
        writeln!(
            out,
            "clnt, srvr, all: processors kept busy by the client, by the node, by the whole machine"
        )?;
        writeln!(out, "machine: {cores} cores, load average {} before, {} after", self.load_before, load())?;
        Ok(out.flush()?)
    }
}

/// Says how far something is.
pub(crate) fn progress(text: &str) {
    eprintln!("{text} (load average {})", load());
}
