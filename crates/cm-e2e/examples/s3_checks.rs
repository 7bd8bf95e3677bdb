//! Runs the checks of S3 (`crates/cm-e2e/s3`) with `boto3` against a node of its own.
//!
//! ```sh
//! cargo xtask s3 --python ~/venv/bin/python -- -k versions
//! ```
//!
//! The first argument is the Python, the second the directory of the checks; the rest goes to `pytest`. The Python must have `boto3[crt]`, `requests` and
//! `pytest`. It ends as `pytest` does.

#![allow(clippy::unwrap_used, reason = "a check that cannot go on fails by panicking")]

use std::process::{Command, ExitCode};

use cm_e2e::{Node, NodeOptions};
use cm_types::ResourceKind;
use serde_json::json;

/// What a principal needs to work by S3.
const ROLE: &str = "s3-user";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(python), Some(checks)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: s3_checks PYTHON DIRECTORY [PYTEST ARGUMENT ...]");
        return ExitCode::FAILURE;
    };
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (key, main, alt) = runtime.block_on(async {
        let key = node.admin().create_s3_key("admin", "checks").await.unwrap();
        let role = json!({ "id": ROLE, "name": ROLE, "permissions": ["bucket:create", "bucket:list"] });
        node.admin().create(ResourceKind::Role, &role).await.unwrap();
        (key, person(&node, "main").await, person(&node, "alt").await)
    });
    let status = Command::new(python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(checks)
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("S3_ENDPOINT", format!("http://{}", node.address("s3")))
        .env("AWS_ACCESS_KEY_ID", &key.id)
        .env("AWS_SECRET_ACCESS_KEY", &key.key)
        .env("S3_MAIN", main)
        .env("S3_ALT", alt)
        .status();
    let code = status.unwrap_or_else(|error| panic!("cannot run Python: {error}")).code();
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Somebody who may make buckets and list them, as the checks of access read it: `ID:KEY:SECRET`.
async fn person(node: &Node, id: &str) -> String {
    let principal = json!({ "id": id, "roles": [ROLE] });
    node.admin().create(ResourceKind::Principal, &principal).await.unwrap();
    let key = node.admin().create_s3_key(id, "checks").await.unwrap();
    format!("{id}:{}:{}", key.id, key.key)
}
