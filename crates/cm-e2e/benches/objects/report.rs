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
    /// The most memory that the server ever had so far, in MiB.
    pub(crate) memory: f64,
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

    /// The median over the rounds of how its rate compares with another.
    pub(crate) fn ratio(&self, other: &Runs) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(own, other)| own.rate / other.rate).collect())
    }
}

/// The median of some values; no number if there are none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
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
            "{:<26} {:>9} {:>9} {:>9} {:>9}  {:>5} {:>5} {:>5} {:>9}",
            "", "per s", "MiB/s", "p50 ms", "p99 ms", "clnt", "srvr", "all", "peak MiB"
        );
        Self { lines: vec![String::new(), format!("== {title}"), head], load_before: load() }
    }

    /// One whose columns are none of those of runs.
    pub(crate) fn of_notes(title: &str) -> Self {
        Self { lines: vec![String::new(), format!("== {title}")], load_before: load() }
    }

    /// A line of what was measured; each request moved so many bytes. `compared` says how its rate compares with others.
    pub(crate) fn row(&mut self, label: &str, runs: &Runs, bytes: usize, compared: &str) {
        let rate = runs.median(|run| run.rate);
        let line = format!(
            "{label:<26} {rate:>9.1} {:>9.1} {:>9.2} {:>9.2}  {:>5.2} {:>5.2} {:>5.2} {:>9.1}  {compared}",
            rate * bytes as f64 / f64::from(1 << 20),
            runs.median(|run| run.p50),
            runs.median(|run| run.p99),
            runs.median(|run| run.client),
            runs.median(|run| run.server),
            runs.median(|run| run.machine),
            runs.median(|run| run.memory),
        );
        self.lines.push(line.trim_end().to_owned());
    }

    /// A line of words.
    pub(crate) fn note(&mut self, text: String) {
        self.lines.push(text);
    }

    /// What was aimed at, and whether it was reached.
    pub(crate) fn aim(&mut self, aim: &str, found: f64, least: f64) {
        let met = if found >= least { "met" } else { "MISSED" };
        self.lines.push(format!("aim: {aim}: at least {least:.2}; found {found:.2}: {met}"));
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

/// Says what the columns mean; once is enough.
pub(crate) fn legend() -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "clnt, srvr, all: processors kept busy by the client, by the server, by the whole machine; peak: the most memory \
         that the server ever had.\nWhat is read was written just before and is in the system's cache for all contenders."
    )?;
    Ok(())
}

/// Says how far something is.
pub(crate) fn progress(text: &str) {
    eprintln!("{text} (load average {})", load());
}

/// The most memory that a process ever had, in MiB.
pub(crate) fn memory_peak(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().map_or(f64::NAN, |kib| kib / 1024.0)
}
