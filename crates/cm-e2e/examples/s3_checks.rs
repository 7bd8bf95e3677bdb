//! Runs the checks of S3 (`crates/cm-e2e/s3`) with `boto3` against a node of its own.
//!
//! ```sh
//! cargo xtask s3 --python ~/venv/bin/python -- -k versions
//! ```
//!
//! The first argument is the Python, the second the directory of the checks; the rest goes to `pytest`. The Python must have `boto3` and
//! `pytest`. It ends as `pytest` does.

#![allow(clippy::unwrap_used, reason = "a check that cannot go on fails by panicking")]

use std::process::{Command, ExitCode};

use cm_e2e::{Node, NodeOptions};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(python), Some(checks)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: s3_checks PYTHON DIRECTORY [PYTEST ARGUMENT ...]");
        return ExitCode::FAILURE;
    };
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let key = runtime.block_on(async { node.admin().create_s3_key("admin", "checks").await }).unwrap();
    let status = Command::new(python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(checks)
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("S3_ENDPOINT", format!("http://{}", node.address("s3")))
        .env("AWS_ACCESS_KEY_ID", &key.id)
        .env("AWS_SECRET_ACCESS_KEY", &key.key)
        .status();
    let code = status.unwrap_or_else(|error| panic!("cannot run Python: {error}")).code();
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
