//! What commands say and how they end when they are used wrongly, refused, or given what cannot be read.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use cm_e2e::{Node, NodeOptions, cryptomesh, run};
use serde_json::Value;

/// Demands an exit code, and returns what was said on standard output and standard error.
fn ends(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{}{}", said.0, said.1);
    said
}

#[test]
fn wrong_usage_that_the_parser_does_not_see_ends_as_wrong_usage() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    for arguments in [
        &["object", "put", "Cargo.toml", "nokey"][..],
        &["object", "put", "Cargo.toml", "NO BUCKET/key"],
        &["object", "put", "Cargo.toml", "box/key", "--seal-to", "nokey"],
        &["object", "ls", "NO BUCKET"],
        &["create", "role"],
        &["create", "role", "nonpair"],
        &["list", "role", "--filter", "nonpair"],
    ] {
        let said = ends(&node.command(arguments), 2).1;
        assert!(said.starts_with("error: "), "{arguments:?}: {said}");
    }
}

#[test]
fn a_kind_alone_is_asked_about_as_its_collection() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let roles = r#"roles=["auditor"]"#;
    ends(&node.command(&["create", "principal", "id=bob", roles]), 0);
    ends(&node.command(&["can", "bob", "read", "event"]), 0);
    assert!(ends(&node.command(&["can", "bob", "create", "function"]), 3).0.starts_with("no"));
}

#[test]
fn a_refusal_says_what_is_wrong_where() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let said = ends(&node.command(&["can", "admin", "fly", "function"]), 2).1;
    assert!(said.contains("action: ") && said.contains("fly") && !said.contains('{'), "{said}");
    let program = serde_json::json!({
        "id": 0, "pi_hash": "11".repeat(32), "program_file_name": "f.wasm", "file_rights": [] });
    let policy = serde_json::json!({ "function": "f", "execution_strategy": "JIT", "programs": [program] });
    let file = root.path().join("policy.json");
    std::fs::write(&file, policy.to_string()).unwrap();
    ends(&node.command(&["function", "register", file.to_str().unwrap()]), 0);
    let identities = r#"identities=[{"certificate":"none","file_rights":[]}]"#;
    let said = ends(&node.command(&["create", "instance", "function=f", "instanceid=i", identities]), 2).1;
    assert!(said.contains("certificate"), "{said}");
}

/// A file without content but with a length: reading it takes no disk.
fn sparse(path: &Path, length: u64) {
    std::fs::File::create(path).unwrap().set_len(length).unwrap();
}

#[test]
fn an_upload_that_is_refused_ends_with_the_nodes_answer_however_large_it_is() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let public = ends(&node.command(&["keys", "seal", &path("secret")]), 0).0;
    sparse(&root.path().join("large"), 60 << 20);
    for _ in 0..3 {
        let plain = ends(&node.command(&["object", "put", &path("large"), "absent/key"]), 4).1;
        assert!(plain.contains("does not exist"), "{plain}");
        let seal = ["object", "put", &path("large"), "absent/key", "--seal-to", public.trim()];
        let sealed = ends(&node.command(&seal), 4).1;
        assert!(sealed.contains("does not exist"), "{sealed}");
    }
}

#[test]
fn a_source_that_cannot_be_read_to_its_end_becomes_no_object() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let public = ends(&node.command(&["keys", "seal", root.path().join("secret").to_str().unwrap()]), 0).0;
    ends(&node.command(&["create", "bucket", "name=box"]), 0);
    // A directory can be opened, but reading it fails. As standard input its length is not known in advance, so
    // nothing but the sender's own honesty tells the node that the object is not whole.
    for seal in [&["--seal-to", public.trim()][..], &[]] {
        let directory = std::fs::File::open(root.path()).unwrap();
        let mut command = Command::new(cryptomesh());
        command.arg("--data-dir").arg(node.data_dir()).args(["object", "put", "-", "box/key"]).args(seal);
        let output = command.env_clear().stdin(Stdio::from(directory)).output().unwrap();
        let said = ends(&output, 1).1;
        assert!(said.contains("directory"), "{said}");
        ends(&node.command(&["object", "get", "box/key", "-"]), 4);
    }
}

#[test]
fn the_demonstrations_result_is_a_document_if_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("numbers.csv");
    std::fs::write(&file, "x,y\n1,5\n2,7\n3,9\n4,11\n").unwrap();
    let output = run(&["demo", "--output", "json", "--input", file.to_str().unwrap()]);
    let result: Value =
        serde_json::from_str(&ends(&output, 0).0).expect("standard output is one JSON document");
    let near = |name: &str, expected: f64| (result[name].as_f64().unwrap() - expected).abs() < 1e-9;
    assert!(near("slope", 2.0) && near("intercept", 3.0) && result["points"] == 4, "{result}");
}

#[test]
fn a_verification_is_reported_as_the_api_describes_it() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let report = ends(&node.command(&["audit", "verify", "--output", "json"]), 0).0;
    let report: Value = serde_json::from_str(&report).unwrap();
    let head = ends(&node.command(&["audit", "head", "--output", "json"]), 0).0;
    let head: Value = serde_json::from_str(&head).unwrap();
    assert_eq!(report["intact"], true);
    assert_eq!(report["findings"], serde_json::json!([]));
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&report["head"]), fields(&head));
}
