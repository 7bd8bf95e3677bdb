//! What benchmarks have in common: samples and runs, what processes take of the machine, and the printed report.
//!
//! What is compared runs in turns, so that a busy machine slows all of it; a ratio is the median over the rounds of the ratio
//! within a round. Aims are printed with what was found and never asserted.

mod client;
mod report;
mod runs;
mod samples;
mod usage;
mod welch;

pub use client::{Answer, Request, Server, ask, ask_for};
pub use report::Report;
pub use runs::{Run, Runs};
pub use samples::{Samples, median};
pub use usage::{Usage, load, memory_peak};
pub use welch::{Classes, Contrast};

use std::error::Error;

/// What can fail in a benchmark ends it; nobody acts on the difference.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Says on standard error how far something is.
pub fn progress(text: &str) {
    eprintln!("{text} (load average {})", load());
}
