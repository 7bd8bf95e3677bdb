//! Runs the checks of TAXII (`crates/cm-e2e/taxii`) with libraries that others wrote against a node of its own.
//!
//! ```sh
//! cargo xtask taxii --python ~/venv/bin/python -- -k filters
//! ```
//!
//! The first argument is the Python, the second the directory of the checks; the rest goes to `pytest`. The Python must have `taxii2-client==2.3.0`, `stix2==3.0.2`,
//! `stix2-validator==3.2.0`, `pymisp`, `requests` and `pytest`. It ends as `pytest` does.

#![allow(clippy::unwrap_used, reason = "a check that cannot go on fails by panicking")]

use std::process::{Command, ExitCode};

use cm_e2e::{Node, NodeOptions};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(python), Some(checks)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: taxii_checks PYTHON DIRECTORY [PYTEST ARGUMENT ...]");
        return ExitCode::FAILURE;
    };
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let token = std::fs::read_to_string(root.path().join("data/admin.token")).unwrap();
    let status = Command::new(python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(checks)
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("CRYPTOMESH_URL", format!("http://{}", node.address("api")))
        .env("CRYPTOMESH_TOKEN", token.trim())
        .status();
    let code = status.unwrap_or_else(|error| panic!("cannot run Python: {error}")).code();
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
