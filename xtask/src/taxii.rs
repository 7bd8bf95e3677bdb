//! `xtask taxii`: the checks of TAXII with clients and validators that others wrote.

use std::ffi::OsStr;

use anyhow::{Context, Result};

use crate::shell;

/// Runs the checks with a Python that has what `crates/cm-e2e/examples/taxii_checks.rs` names, and further arguments for `pytest`.
pub(crate) fn run(python: &OsStr, arguments: &[String]) -> Result<()> {
    // What the checks ask is the real executable.
    shell::run(&mut shell::cargo(&["build", "--package", "cryptomesh", "--bins"]))?;
    let checks = shell::root().join("crates/cm-e2e/taxii");
    let checks = checks.to_str().context("the path of the workspace is no UTF-8")?;
    let mut line = shell::cargo(&["run", "--package", "cm-e2e", "--example", "taxii_checks", "--"]);
    line.arg(python).arg(checks).args(arguments);
    shell::run(&mut line)
}
