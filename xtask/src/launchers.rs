//! `xtask launchers`: the suite of launchers, asked of a real daemon or cluster.

use anyhow::Result;

use crate::shell;

/// Runs the suite with these arguments: the platform, then settings of the node.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    // What the suite starts is the real executable.
    shell::run(&mut shell::cargo(&["build", "--package", "cryptomesh", "--bins"]))?;
    let mut line = vec!["run", "--package", "cm-e2e", "--example", "launchers", "--"];
    line.extend(arguments.iter().map(String::as_str));
    shell::run(&mut shell::cargo(&line))
}
