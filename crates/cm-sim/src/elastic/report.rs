//! What a run has shown.

use super::world::Strategy;

/// For how long the reads of one point of a plot arrive, in seconds.
pub(super) const WINDOW_SECS: usize = 15;

/// Collects figures during a run.
#[derive(Debug)]
pub(super) struct Tape {
    /// When each read came and how long it took, in microseconds.
    reads: Vec<(u64, u64)>,
    pub(super) bytes_moved: u64,
    pub(super) copies: u64,
    pub(super) drops: u64,
    extra_bytes: Vec<u64>,
}

/// The figures of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How copies followed the load.
    pub strategy: Strategy,
    /// How many reads there were.
    pub reads: usize,
    /// The latency that half of them stayed below, in milliseconds.
    pub p50_ms: f64,
    /// The latency that 99 of 100 stayed below, in milliseconds.
    pub p99_ms: f64,
    /// The latency that 999 of 1,000 stayed below, in milliseconds.
    pub p999_ms: f64,
    /// What was copied, in bytes.
    pub bytes_moved: u64,
    /// How many copies were made.
    pub copies: u64,
    /// How many were dropped again.
    pub drops: u64,
    /// What the copies beyond the placed ones took at the mean, in bytes.
    pub extra_bytes: u64,
    /// How long the busiest peer worked, in proportion to the trace; above 1 it could not keep up.
    pub busiest: f64,
    /// 99th percentiles of the latency of reads that came within the same 15 s, in milliseconds.
    pub p99_ms_over_time: Vec<f64>,
}

impl Tape {
    pub(super) fn new(reads: usize) -> Self {
        Self {
            reads: Vec::with_capacity(reads),
            bytes_moved: 0,
            copies: 0,
            drops: 0,
            extra_bytes: Vec::new(),
        }
    }

    pub(super) fn read(&mut self, arrived_micros: u64, took_micros: u64) {
        self.reads.push((arrived_micros, took_micros));
    }

    pub(super) fn extra(&mut self, bytes: u64) {
        self.extra_bytes.push(bytes);
    }

    pub(super) fn finish(self, strategy: Strategy, busiest: f64) -> Outcome {
        let mut windows: Vec<Vec<u64>> = Vec::new();
        for (arrived, took) in &self.reads {
            let window = (*arrived / 1_000_000) as usize / WINDOW_SECS;
            if windows.len() <= window {
                windows.resize(window + 1, Vec::new());
            }
            windows[window].push(*took);
        }
        let mut all: Vec<u64> = self.reads.iter().map(|(_, took)| *took).collect();
        all.sort_unstable();
        let p99 = |mut window: Vec<u64>| {
            window.sort_unstable();
            percentile(&window, 0.99)
        };
        let extra_bytes = self.extra_bytes.iter().sum::<u64>() / self.extra_bytes.len().max(1) as u64;
        Outcome {
            strategy,
            reads: all.len(),
            p50_ms: percentile(&all, 0.5),
            p99_ms: percentile(&all, 0.99),
            p999_ms: percentile(&all, 0.999),
            bytes_moved: self.bytes_moved,
            copies: self.copies,
            drops: self.drops,
            extra_bytes,
            busiest,
            p99_ms_over_time: windows.into_iter().map(p99).collect(),
        }
    }
}

/// The nearest-rank percentile of sorted microseconds, in milliseconds.
fn percentile(sorted: &[u64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).map_or(0.0, |micros| *micros as f64 / 1000.0)
}

/// The outcomes of one trace as a table in Markdown.
pub fn table(trace: &str, outcomes: &[Outcome]) -> String {
    let reads = outcomes.first().map_or(0, |outcome| outcome.reads);
    let mut lines = vec![
        format!("**{trace}**, {reads} reads"),
        String::new(),
        "| copies | p50 ms | p99 ms | p99.9 ms | moved MB | made | dropped | extra MB | busiest peer |"
            .to_owned(),
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |".to_owned(),
    ];
    for outcome in outcomes {
        lines.push(format!(
            "| {} | {:.1} | {:.1} | {:.1} | {:.0} | {} | {} | {:.0} | {:.0} % |",
            outcome.strategy.name(),
            outcome.p50_ms,
            outcome.p99_ms,
            outcome.p999_ms,
            outcome.bytes_moved as f64 / 1e6,
            outcome.copies,
            outcome.drops,
            outcome.extra_bytes as f64 / 1e6,
            outcome.busiest * 100.0,
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}
