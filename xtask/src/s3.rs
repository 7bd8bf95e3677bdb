//! `xtask s3`: the checks of S3 with a client that others wrote.

use std::ffi::OsStr;

use anyhow::{Context, Result};

use crate::shell;

/// Runs the checks with a Python that has `boto3[crt]`, `requests` and `pytest`, and further arguments for `pytest`.
pub(crate) fn run(python: &OsStr, arguments: &[String]) -> Result<()> {
    // What the checks ask is the real executable.
    shell::run(&mut shell::cargo(&["build", "--package", "cryptomesh", "--bins"]))?;
    let checks = shell::root().join("crates/cm-e2e/s3");
    let checks = checks.to_str().context("the path of the workspace is no UTF-8")?;
    let mut line = shell::cargo(&["run", "--package", "cm-e2e", "--example", "s3_checks", "--"]);
    line.arg(python).arg(checks).args(arguments);
    shell::run(&mut line)
}
