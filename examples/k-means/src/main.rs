//! Clusters the points in `/input-0` as `/parameters` says and writes the result to `/output`. Formats: the library
//! half.

use std::process::ExitCode;

fn main() -> ExitCode {
    guest::program::run(&["/parameters", "/input-0"], "/output", |files| k_means::run(&files[0], &files[1]))
}
