//! What the tests of the commands for policies, instances and keys share: a node, a registered example, and somebody
//! whom its instances know.

use std::path::{Path, PathBuf};
use std::process::Output;

use cm_e2e::{Node, NodeOptions};
use serde_json::Value;

pub(crate) const INSECURE: &str = "--allow-insecure-software";
pub(crate) const FUNCTION: &str = "linear-regression";
pub(crate) const PROGRAM: &str = "linear-regression.wasm";

/// A file of the repository. Cargo says at run time where the package lies; see `xtask::shell`.
pub(crate) fn repository(path: &str) -> String {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("../..").join(path).to_str().unwrap().to_owned()
}

/// Demands an exit code, and returns what was said on standard output and standard error.
#[track_caller]
pub(crate) fn ends(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{}{}", said.0, said.1);
    said
}

/// A node with one function, and a directory of somebody who uses it.
pub(crate) struct Bench {
    root: tempfile::TempDir,
    pub(crate) node: Node,
}

impl Bench {
    /// A node that knows the function, and a certificate `me`.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let node = Node::start(root.path(), &NodeOptions::default());
        let bench = Self { root, node };
        let policy = repository("examples/linear-regression/policy.json");
        let program =
            format!("{PROGRAM}={}", repository("examples/linear-regression/linear-regression.wasm"));
        bench.ok(&["function", "register", &policy, "--program", &program]);
        let (certificate, key) = (bench.path("me.cert.pem"), bench.path("me.key.pem"));
        bench.ok(&["keys", "identity", "me", "--certificate", &certificate, "--key", &key]);
        bench
    }

    /// A file of the user's directory.
    pub(crate) fn path(&self, name: &str) -> String {
        self.root.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.node.command(arguments)
    }

    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> (String, String) {
        ends(&self.run(arguments), 0)
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let said = self.ok(&[arguments, &["--output", "json"]].concat()).0;
        serde_json::from_str(&said).expect("JSON was asked for")
    }

    /// Starts an instance for `me`; its policy is in a file of the same name.
    #[track_caller]
    pub(crate) fn create(&self, instance: &str) -> String {
        let (user, full) = (self.path("user.json"), self.path(&format!("{instance}.json")));
        let certificate = self.path("me.cert.pem");
        self.ok(&[
            "policy",
            "generate",
            "--form",
            "user",
            "--function",
            FUNCTION,
            "--instance",
            instance,
            "--certificate",
            &certificate,
            "--capability",
            "input-0:533572,output:8198",
            "--output-policy-file",
            &user,
        ]);
        let agreed = repository("examples/linear-regression/policy.json");
        self.ok(&["instance", "create", &user, "--function-policy", &agreed, "--output-policy-file", &full]);
        full
    }

    /// A command about an instance, as `me`.
    pub(crate) fn inside(&self, command: &str, target: &[&str], more: &[&str]) -> Output {
        let (certificate, key) = (self.path("me.cert.pem"), self.path("me.key.pem"));
        let identity = ["--cert", &certificate, "--key", &key];
        self.run(&[&["instance", command][..], target, &identity[..], more].concat())
    }

    /// Every file below the node's data directory.
    pub(crate) fn stored(&self) -> Vec<PathBuf> {
        let mut directories = vec![self.node.data_dir().to_owned()];
        let mut files = Vec::new();
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() { directories.push(path) } else { files.push(path) }
            }
        }
        files
    }
}
