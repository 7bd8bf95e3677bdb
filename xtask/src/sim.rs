//! `xtask sim`: more schedules of faults than a usual test run has time for.

use anyhow::Result;

use crate::shell;

/// Runs so many schedules, from a seed on, optimised.
pub(crate) fn run(schedules: u64, seed: u64) -> Result<()> {
    let test = ["test", "--release", "--package", "cm-sim", "random_faults", "--", "--nocapture"];
    let mut command = shell::cargo(&test);
    command
        .env("CRYPTOMESH_SIM_SCHEDULES", schedules.to_string())
        .env("CRYPTOMESH_SIM_SEED", seed.to_string());
    shell::run(&mut command)
}
