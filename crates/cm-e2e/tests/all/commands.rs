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

#[test]
fn the_token_that_is_kept_goes_to_the_own_node_by_its_address_too_and_nowhere_else() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    for url in [node.url(), format!("{}/", node.url())] {
        let said = ends(&node.command(&["whoami", "--url", &url]), 0).0;
        assert!(said.contains("admin"), "{said}");
    }
    let by_name = node.url().replace("127.0.0.1", "localhost");
    ends(&node.command(&["whoami", "--url", &by_name]), 3);
}

#[test]
fn what_a_variable_says_is_not_listed_as_lacking() {
    let command = |arguments: &[&str]| {
        let mut command = Command::new(cryptomesh());
        command.args(arguments).env_clear().env("CRYPTOMESH_DATA_DIR", "/nowhere");
        ends(&command.stdin(Stdio::null()).output().unwrap(), 2).1
    };
    let said = command(&["instance", "verify"]);
    assert!(said.contains("--cert <FILE>") && said.contains("--policy <FILE>|--instance <ID>"), "{said}");
    assert!(!said.contains("--data-dir"), "{said}");
    assert!(command(&["whoami"]).contains("/nowhere"), "the variable is read");
}

#[test]
fn commands_that_change_something_say_so_in_a_document() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let file = root.path().join("file");
    std::fs::write(&file, "content").unwrap();
    let file = file.to_str().unwrap();
    let back = root.path().join("back");
    let document = |arguments: &[&str]| -> serde_json::Value {
        let said = ends(&node.command(&[arguments, &["-o", "json"]].concat()), 0).0;
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
    };
    document(&["object", "put", file, "box/key", "--create-bucket"]);
    let got = document(&["object", "get", "box/key", back.to_str().unwrap()]);
    assert_eq!((&got["object"], &got["size"]), (&"box/key".into(), &7.into()));
    assert_eq!(document(&["object", "rm", "box/key"])["removed"], "box/key");
    document(&["create", "service", "id=s", "resources={\"cpu\":1,\"ram\":\"1GB\"}"]);
    let planned = document(&["delete", "service", "s", "--dry-run"]);
    assert_eq!(document(&["delete", "service", "s", "--yes"]), planned);
    document(&["create", "principal", "id=ada", "roles=[\"analyst\"]"]);
    document(&["principal", "api-key", "ada", "--label", "l"]);
    let keys = document(&["principal", "api-keys", "ada"]);
    let key = keys[0]["id"].as_str().unwrap();
    assert_eq!(document(&["principal", "revoke-api-key", "ada", key])["revoked"], key);
    let sealing = root.path().join("owner.key");
    let sealing = document(&["keys", "seal", sealing.to_str().unwrap()]);
    assert!(sealing["public_key"].as_str().is_some_and(|key| key.starts_with("cmpub")), "{sealing}");
}

#[test]
fn events_say_why_in_every_way_of_showing_them() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    ends(&node.command(&["create", "principal", "id=ada"]), 0);
    let key = ends(&node.command(&["principal", "api-key", "ada", "--label", "l", "-q"]), 0).0;
    ends(&node.command(&["list", "role", "--token", key.trim()]), 3);
    for command in [&["events"][..], &["audit", "log"]] {
        let said = ends(&node.command(command), 0).0;
        let line =
            said.lines().find(|line| line.contains("access.denied")).unwrap_or_else(|| panic!("{said}"));
        assert!(
            line.contains("denied") && line.contains("reasons=") && line.contains("action=list"),
            "{line}"
        );
    }
}
