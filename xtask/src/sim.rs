//! `xtask sim`: more than a usual test run has time for.

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::shell;

/// What can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Clusters under random faults
    Quorum,
    /// Networks of 1000 and 10000 nodes that share threats, under attack; writes docs/guide/threat-gossip.md and its drawing
    Gossip,
}

/// Runs so many schedules of a cluster, from a seed on, optimised.
pub(crate) fn quorum(schedules: u64, seed: u64) -> Result<()> {
    let test = ["test", "--release", "--package", "cm-sim", "random_faults", "--", "--nocapture"];
    let mut command = shell::cargo(&test);
    command
        .env("CRYPTOMESH_SIM_SCHEDULES", schedules.to_string())
        .env("CRYPTOMESH_SIM_SEED", seed.to_string());
    shell::run(&mut command)
}

/// Runs networks under every attack, and writes what came of it into the guide.
pub(crate) fn gossip(seed: u64) -> Result<()> {
    let guide = shell::root().join("docs/guide");
    let guide = guide.to_str().context("the path of the workspace is no UTF-8")?;
    let mut command = shell::cargo(&["run", "--release", "--package", "cm-sim", "--example", "gossip", "--"]);
    command.args([&seed.to_string(), guide, "1000", "10000"]);
    shell::run(&mut command)
}
