//! The binary under test.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Path of the `cryptomesh` binary that was built in the same profile as this test.
///
/// # Panics
/// If it was not built; `cargo xtask test` builds it first.
pub fn cryptomesh() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.ancestors().map(|dir| dir.join("cryptomesh")).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("no `cryptomesh` beside {}; run `cargo build -p cryptomesh`", test.display())
    })
}

/// Runs one command to its end, without a terminal and without the caller's environment.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(cryptomesh())
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("the binary can be started")
}
