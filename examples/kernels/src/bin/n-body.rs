//! The `n-body` kernel as a program. Files: the library half.

use std::process::ExitCode;

use kernels::n_body::{SIZE_MAX, run};

fn main() -> ExitCode {
    guest::program::run(&["/input"], "/output", |files| kernels::run(run, SIZE_MAX, &files[0]))
}
