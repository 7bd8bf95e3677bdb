//! The columns that this benchmark prints.

use cm_e2e::measure::{Report, Samples};

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

/// A group's report, whose lines show samples in one unit.
#[derive(Debug)]
pub(crate) struct Table {
    unit: Unit,
    /// Where the lines go.
    pub(crate) report: Report,
}

impl Table {
    /// An empty table that begins now.
    pub(crate) fn new(title: &str, unit: Unit) -> Self {
        let name = match unit {
            Unit::Milliseconds => "ms",
            Unit::Rate(_) => "MiB/s",
            Unit::PerSecond(_) => "1/s",
        };
        let last = if matches!(unit, Unit::Milliseconds) { "p99" } else { "max" };
        let mut report = Report::new(title);
        report.line(format!("{name:<52} {:>9} {:>9} {last:>9}  ratio", "median", "min"));
        Self { unit, report }
    }

    /// A line that was measured.
    pub(crate) fn row(&mut self, label: &str, samples: &Samples) {
        let line = self.measured(label, samples);
        self.report.line(line);
    }

    /// A line with its ratio to another: of times for a table of times, of rates for one of rates.
    pub(crate) fn compared(&mut self, label: &str, samples: &Samples, reference: &Samples, name: &str) {
        let ratio = match self.unit {
            Unit::Milliseconds => samples.ratio(reference),
            Unit::Rate(_) | Unit::PerSecond(_) => reference.ratio(samples),
        };
        let line = format!("{}  {ratio:.3} of {name}", self.measured(label, samples));
        self.report.line(line);
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
}
