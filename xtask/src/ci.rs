//! `xtask ci`: what continuous integration runs, cheap checks first.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::shell::{cargo, run as sh};
use crate::{examples, test, tidy};

type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("format", format),
    ("examples", examples::check),
    ("lints", lints),
    ("tidy", tidy::run),
    ("documentation", documentation),
    ("tests", || test::run(&[])),
];

/// Runs the steps in order and stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    for (index, (name, step)) in STEPS.iter().enumerate() {
        eprintln!("== {name} ({} of {})", index + 1, STEPS.len());
        let start = Instant::now();
        step().with_context(|| format!("the step `{name}` failed"))?;
        eprintln!("== {name}: passed in {} s", start.elapsed().as_secs());
    }
    eprintln!("== all {} steps passed", STEPS.len());
    Ok(())
}

fn format() -> Result<()> {
    sh(&mut cargo(&["fmt", "--all", "--", "--check"]))?;
    sh(&mut cargo(&["fmt", "--all", "--manifest-path", "examples/Cargo.toml", "--", "--check"]))?;
    // Not `--all`: that would also format the crates that the fuzz targets name by path.
    sh(&mut cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "-p", "cryptomesh-fuzz", "--", "--check"]))
}

fn lints() -> Result<()> {
    sh(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let examples =
        ["clippy", "--manifest-path", "examples/Cargo.toml", "--all-targets", "--", "-D", "warnings"];
    sh(&mut cargo(&examples))
}

fn documentation() -> Result<()> {
    sh(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}
