//! The frame of a program: files in, one file out, an exit code.
//!
//! Inside an instance the file names are fixed and absolute. Natively the same program takes its file names as
//! arguments, inputs first and the output last, so that both builds can be compared on the same bytes.

use std::fmt::Display;
use std::process::ExitCode;

/// The exit code of a program whose input is wrong.
pub const EXIT_INPUT: u8 = 1;
/// The exit code of a program that could not read or write a file.
pub const EXIT_FILES: u8 = 2;

/// Reads `inputs`, gives their bytes to `compute`, and writes what it returns to `output`. Nothing is written
/// when anything fails; the reason goes to standard error.
pub fn run<E: Display>(
    inputs: &[&str],
    output: &str,
    compute: impl FnOnce(&[Vec<u8>]) -> Result<Vec<u8>, E>,
) -> ExitCode {
    let names = file_names(inputs, output);
    let Some((output, inputs)) = names.split_last() else {
        return ExitCode::from(EXIT_FILES);
    };
    let mut contents = Vec::new();
    for name in inputs {
        match std::fs::read(name) {
            Ok(bytes) => contents.push(bytes),
            Err(error) => {
                eprintln!("cannot read {name}: {error}");
                return ExitCode::from(EXIT_FILES);
            }
        }
    }
    let result = match compute(&contents) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_INPUT);
        }
    };
    match std::fs::write(output, result) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write {output}: {error}");
            ExitCode::from(EXIT_FILES)
        }
    }
}

/// Inside an instance the names are the fixed ones: programs import no arguments.
#[cfg(target_os = "wasi")]
fn file_names(inputs: &[&str], output: &str) -> Vec<String> {
    inputs.iter().chain([&output]).map(|name| (*name).to_owned()).collect()
}

/// Natively the names come from the command line; without arguments they are the fixed ones.
#[cfg(not(target_os = "wasi"))]
fn file_names(inputs: &[&str], output: &str) -> Vec<String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.len() == inputs.len() + 1 {
        return arguments;
    }
    inputs.iter().chain([&output]).map(|name| (*name).to_owned()).collect()
}
