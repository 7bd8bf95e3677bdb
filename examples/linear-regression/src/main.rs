//! The least-squares line through the pairs in `/input-0`, written to `/output`. Formats: the library half.

use std::process::ExitCode;

fn main() -> ExitCode {
    guest::program::run(&["/input-0"], "/output", |files| linear_regression::run(&files[0]))
}
