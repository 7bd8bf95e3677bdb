//! `xtask test`: every test there is.
//!
//! The binaries are built first because the end-to-end tests start them, with all tests: what is built alone has other features of
//! its dependencies, and everything would be built twice. The workspace's own tests come last, so that the runner's summary is the
//! last thing printed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// Runs the tests, with cargo-nextest where it is installed, else with `cargo test`. With `runner` arguments only the
/// workspace's tests run, and the runner gets the arguments.
///
/// Tests of the database need a PostgreSQL server: the machine's own, which a helper starts in a temporary directory, or the
/// one that the variable names.
pub(crate) fn run(runner: &[String]) -> Result<()> {
    install_postgres()?;
    let steps = steps(runner, shell::has_nextest());
    let Some((last, first)) = steps.split_last() else { return Ok(()) };
    for step in first {
        shell::run(&mut shell::cargo(step))?;
    }
    // The helper runs the last step with the server, and stops it afterwards, however the tests end.
    let helper = std::env::current_exe().context("our own path is unknown")?.with_file_name("with-postgres");
    let mut tests = Command::new(helper);
    tests.current_dir(shell::root()).arg(shell::cargo_program()).args(last);
    shell::run(&mut tests)
}

/// Names a PostgreSQL server for tests; without it one is started.
const POSTGRES: &str = "CRYPTOMESH_TEST_POSTGRES";

/// Installs PostgreSQL unless it is there, or is not needed.
fn install_postgres() -> Result<()> {
    if std::env::var_os(POSTGRES).is_some_and(|url| !url.is_empty()) || has_postgres() {
        return Ok(());
    }
    // The package would create and start a server of its own, which nobody here asks and nobody would stop.
    let settings = Path::new("/etc/postgresql-common/createcluster.d");
    let alone = std::fs::create_dir_all(settings)
        .and_then(|()| std::fs::write(settings.join("no-main.conf"), "create_main_cluster = false\n"));
    if let Err(error) = alone {
        eprintln!("the package's own server cannot be declined: {error}");
    }
    let installed = shell::run(Command::new("apt-get").args(["update"])).and_then(|()| {
        let mut install = Command::new("apt-get");
        install.args(["install", "--yes", "--no-install-recommends", "postgresql"]);
        shell::run(install.env("DEBIAN_FRONTEND", "noninteractive"))
    });
    installed.with_context(|| {
        format!(
            "the tests need PostgreSQL: install its server (as root: apt-get install postgresql), or set {POSTGRES} to the \
             address of a database whose user may create databases"
        )
    })
}

/// Where Debian puts servers, or the search path.
fn has_postgres() -> bool {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian.chain(std::env::split_paths(&path)).any(|bin| bin.join("initdb").is_file())
}

fn steps(runner: &[String], nextest: bool) -> Vec<Vec<&str>> {
    let mut steps = vec![vec!["build", "--workspace", "--bins", "--tests"]];
    if runner.is_empty() {
        steps.push(vec!["test", "--quiet", "--manifest-path", "examples/Cargo.toml"]);
        steps.push(vec!["test", "--quiet", "--workspace", "--doc"]);
    }
    let mut last = if nextest {
        vec!["nextest", "run", "--workspace"]
    } else {
        vec!["test", "--workspace", "--lib", "--bins", "--tests"]
    };
    // Whoever runs everything wants to know everything that fails.
    if runner.is_empty() {
        last.push("--no-fail-fast");
    }
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
            assert_eq!(steps[0], ["build", "--workspace", "--bins", "--tests"]);
            assert_eq!(steps[3][0] == "nextest", nextest);
            assert_eq!(steps[3].last(), Some(&"--no-fail-fast"));
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
