//! `xtask s3` and `xtask taxii`: checks with clients that others wrote, in Python.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// Runs the checks in a directory by an example of the end-to-end tests, which starts the node, with a Python that has what the example
/// names, and further arguments for `pytest`.
pub(crate) fn run(example: &str, directory: &str, python: &OsStr, arguments: &[String]) -> Result<()> {
    // As the tests are built, so that nothing is built anew; what the checks ask is the real executable.
    let build = ["build", "--workspace", "--bins", "--tests", "--example", example];
    shell::run(&mut shell::cargo(&build))?;
    let built = std::env::current_exe().context("our own path is unknown")?;
    let built = built.parent().unwrap_or(Path::new("")).join("examples").join(example);
    let mut checks = Command::new(built);
    shell::run(checks.arg(python).arg(shell::root().join(directory)).args(arguments))
}
