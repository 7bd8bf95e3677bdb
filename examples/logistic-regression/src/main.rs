//! Probabilities for the rows in `/input-0` under the model in `/model`, written to `/output`. Formats: the library
//! half.

use std::process::ExitCode;

fn main() -> ExitCode {
    guest::program::run(&["/model", "/input-0"], "/output", |files| {
        logistic_regression::run(&files[0], &files[1])
    })
}
