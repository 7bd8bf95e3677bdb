//! The columns that this benchmark prints.

use std::io::Write;

use cm_e2e::measure::{Outcome, Report, Runs};

/// A report whose lines are [`row`]s.
pub(crate) fn table(title: &str) -> Report {
    let mut report = Report::new(title);
    report.line(format!(
        "{:<26} {:>9} {:>9} {:>9} {:>9}  {:>5} {:>5} {:>5} {:>9}",
        "", "per s", "MiB/s", "p50 ms", "p99 ms", "clnt", "srvr", "all", "peak MiB"
    ));
    report
}

/// A line of what was measured; each request moved so many bytes. `compared` says how its rate compares with others.
pub(crate) fn row(label: &str, runs: &Runs, bytes: usize, compared: &str) -> String {
    let rate = runs.median(|run| run.rate);
    format!(
        "{label:<26} {rate:>9.1} {:>9.1} {:>9.2} {:>9.2}  {:>5.2} {:>5.2} {:>5.2} {:>9.1}  {compared}",
        rate * bytes as f64 / f64::from(1 << 20),
        runs.median(|run| run.p50),
        runs.median(|run| run.p99),
        runs.median(|run| run.client),
        runs.median(|run| run.server),
        runs.median(|run| run.machine),
        runs.median(|run| run.memory),
    )
}

/// What was aimed at, and whether it was reached: a ratio that is to be so much at least.
pub(crate) fn aim(report: &mut Report, aim: &str, found: f64, least: f64) {
    report.aim(&format!("{aim}: at least {least:.2}"), format!("{found:.2}"), found >= least);
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
