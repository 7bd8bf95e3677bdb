//! `xtask test`: every test there is.
//!
//! The `cryptomesh` binary is built first because the end-to-end tests start it. The workspace's own tests come last,
//! so that the runner's summary is the last thing printed.

use anyhow::Result;

use crate::shell;

/// Runs the tests, with cargo-nextest where it is installed, else with `cargo test`. With `runner` arguments only the
/// workspace's tests run, and the runner gets the arguments.
pub(crate) fn run(runner: &[String]) -> Result<()> {
    for step in steps(runner, shell::has_nextest()) {
        shell::run(&mut shell::cargo(&step))?;
    }
    Ok(())
}

fn steps(runner: &[String], nextest: bool) -> Vec<Vec<&str>> {
    let mut steps = vec![vec!["build", "--package", "cryptomesh", "--bins"]];
    if runner.is_empty() {
        steps.push(vec!["test", "--quiet", "--manifest-path", "examples/Cargo.toml"]);
        steps.push(vec!["test", "--quiet", "--workspace", "--doc"]);
    }
    let mut last = if nextest {
        vec!["nextest", "run", "--workspace"]
    } else {
        vec!["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]
    };
    last.extend(runner.iter().map(String::as_str));
    steps.push(last);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_first_and_the_workspace_last() {
        for nextest in [true, false] {
            let steps = steps(&[], nextest);
            assert_eq!(steps.len(), 4);
            assert_eq!(steps[0][..3], ["build", "--package", "cryptomesh"]);
            assert_eq!(steps[3][0] == "nextest", nextest);
        }
    }

    #[test]
    fn a_selection_goes_to_the_runner_alone() {
        let runner = ["-p".to_owned(), "cm-types".to_owned()];
        let steps = steps(&runner, true);
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[1], ["nextest", "run", "--workspace", "-p", "cm-types"]);
    }
}
