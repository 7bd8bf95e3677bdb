//! `convert encode KIND INPUT OUTPUT` writes what a program reads; `convert decode KIND INPUT` prints what a file holds.

use std::io::Write;
use std::process::ExitCode;

use convert::{Kind, decode, encode};
use guest::program::{EXIT_FILES, EXIT_INPUT};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["encode", kind, input, output] => with(kind, |kind| encode_file(kind, input, output)),
        ["decode", kind, input] => with(kind, |kind| decode_file(kind, input)),
        _ => Err(usage()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, reason)) => {
            eprintln!("{reason}");
            ExitCode::from(code)
        }
    }
}

/// An exit code and the reason.
type Failure = (u8, String);

fn usage() -> Failure {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|(name, _)| *name).collect();
    let kinds = kinds.join(", ");
    (EXIT_FILES, format!("convert encode KIND INPUT OUTPUT\nconvert decode KIND INPUT\nkinds: {kinds}"))
}

fn with(kind: &str, act: impl FnOnce(Kind) -> Result<(), Failure>) -> Result<(), Failure> {
    Kind::parse(kind).map_or_else(|| Err(usage()), act)
}

fn encode_file(kind: Kind, input: &str, output: &str) -> Result<(), Failure> {
    let text = std::fs::read_to_string(input).map_err(|error| cannot("read", input, &error))?;
    let bytes = encode(kind, &text).map_err(|error| (EXIT_INPUT, format!("{input}: {error}")))?;
    std::fs::write(output, bytes).map_err(|error| cannot("write", output, &error))
}

fn decode_file(kind: Kind, input: &str) -> Result<(), Failure> {
    let bytes = std::fs::read(input).map_err(|error| cannot("read", input, &error))?;
    let text = decode(kind, &bytes).map_err(|error| (EXIT_INPUT, format!("{input}: {error}")))?;
    // A reader that has seen enough and gone away is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn cannot(verb: &str, file: &str, error: &std::io::Error) -> Failure {
    (EXIT_FILES, format!("cannot {verb} {file}: {error}"))
}
