//! A printed report.

use std::fmt::Display;
use std::io::Write;

use super::{Outcome, load};

/// Lines under a title; printed when the report is finished.
#[derive(Debug)]
pub struct Report {
    lines: Vec<String>,
    load_before: String,
}

impl Report {
    /// A report that begins now: the load of the machine is noted.
    pub fn new(title: &str) -> Self {
        Self { lines: vec![String::new(), format!("== {title}")], load_before: load() }
    }

    /// Adds a line.
    pub fn line(&mut self, text: impl Into<String>) {
        self.lines.push(text.into());
    }

    /// What was aimed at, and whether what was found reaches it.
    pub fn aim(&mut self, aim: &str, found: impl Display, met: bool) {
        self.line(format!("aim: {aim}; found {found}: {}", if met { "met" } else { "MISSED" }));
    }

    /// Prints everything, with the load of the machine at the beginning and now.
    pub fn print(self) -> Outcome<()> {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let mut out = std::io::stdout().lock();
        for line in &self.lines {
            writeln!(out, "{}", line.trim_end())?;
        }
        writeln!(out, "machine: {cores} cores, load average {} before, {} after", self.load_before, load())?;
        Ok(out.flush()?)
    }
}
