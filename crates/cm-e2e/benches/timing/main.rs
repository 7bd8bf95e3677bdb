//! Whether the time that it takes to compare a password or a token tells anything of the secret.
//!
//! `cargo xtask bench timing -- --help` says what can be chosen.
//!
//! Each comparison is timed on two classes of what a guesser shows, in random order: guesses that are nearly or wholly right, and
//! guesses that are wrong from the first byte on. Both are made before the clock is looked at, at the same place in memory. Welch's
//! t-test says whether the classes differ ([`cm_e2e::measure::Classes`]); up to 4.5 nothing was seen, from 10 on they surely differ.
//!
//! The same test is made of a comparison that stops at the first difference. If it does not see that one, it can see nothing, and
//! fails. It also fails when one of ours surely differs. It is a benchmark and no test of the ordinary suite, because a busy machine
//! makes it blind; that the comparisons are the ones in constant time is what ordinary tests show (`cm_crypto::secret`,
//! `cm_identity`).

mod subjects;

use std::process::ExitCode;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use cm_e2e::measure::{Outcome, Report, progress};

use subjects::{Subject, subjects};

/// Whether the time that it takes to compare a password or a token tells anything of the secret.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask bench timing --")]
struct Options {
    /// How many samples of a comparison that is quick.
    #[arg(long, value_name = "COUNT", default_value = "50000", value_parser = RangedU64ValueParser::<usize>::new().range(1_000..))]
    samples: usize,
    /// What cargo itself adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(Options::parse().samples) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(samples: usize) -> Outcome<()> {
    let mut report = Report::new("does the time of a comparison depend on the secret?");
    report.line(format!(
        "{:<52} {:>8} {:>9} {:>6} {:>12}",
        "near or right, against wrong from the start", "samples", "t", "part", "difference"
    ));
    let (mut blind, mut leaks) = (false, Vec::new());
    for mut subject in subjects()? {
        let contrast = subject.measure((samples / subject.dearness).max(100));
        let Subject { name, is_control, .. } = subject;
        report.line(format!(
            "{name:<52} {:>8} {:>9.2} {:>6.2} {:>9.2} ns  {}",
            contrast.samples,
            contrast.t,
            contrast.part,
            contrast.difference,
            if is_control && contrast.is_sure() { "leaks, as it is meant to" } else { contrast.verdict() },
        ));
        match is_control {
            true => blind |= !contrast.is_sure(),
            false if contrast.is_sure() => leaks.push(name),
            false => {}
        }
        progress(&format!("{name}: done"));
    }
    report.line(
        "|t| < 4.5: nothing seen; >= 10: surely; the largest over the shortest parts of the samples is shown",
    );
    report.print()?;
    if blind {
        return Err(
            "the comparison that leaks was not told apart: the machine is too busy to see anything".into()
        );
    }
    match leaks.is_empty() {
        true => Ok(()),
        false => Err(format!("the time depends on the secret: {}", leaks.join(", ")).into()),
    }
}
