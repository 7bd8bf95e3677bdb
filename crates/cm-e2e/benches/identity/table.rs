//! The columns that this benchmark prints.

use cm_e2e::measure::{Report, Runs};

/// A report whose lines are [`row`]s and [`compared`] ones.
pub(crate) fn table(title: &str) -> Report {
    let mut report = Report::new(title);
    report.line(format!(
        "{:<32} {:>9} {:>8}..{:<8} {:>8} {:>8}  {:>5} {:>5} {:>5}",
        "", "per s", "min", "max", "p50 ms", "p99 ms", "clnt", "srvr", "all"
    ));
    report
}

/// What the columns mean, at the end.
pub(crate) fn legend(report: &mut Report) {
    report.line(
        "clnt, srvr, all: processors kept busy by the client, by the node, by the whole machine; without a node, none of them is measured",
    );
}

/// A line of what was measured.
pub(crate) fn row(label: &str, runs: &Runs) -> String {
    let rates = || runs.iter().map(|run| run.rate);
    let (low, high) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
    format!(
        "{label:<32} {:>9.1} {low:>8.1}..{high:<8.1} {:>8.3} {:>8.3}  {:>5.2} {:>5.2} {:>5.2}",
        runs.median(|run| run.rate),
        runs.median(|run| run.p50),
        runs.median(|run| run.p99),
        runs.median(|run| run.client),
        runs.median(|run| run.server),
        runs.median(|run| run.machine),
    )
}

/// As [`row`], with the ratio of its rate to another.
pub(crate) fn compared(label: &str, runs: &Runs, reference: &Runs, name: &str) -> String {
    let ratio = runs.ratio(reference, |run| run.rate);
    format!("{}  {ratio:.2} of {name}", row(label, runs))
}
