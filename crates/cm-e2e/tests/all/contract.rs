//! What scripts may rely on: starting, stopping, exit codes, the ready line.

use std::os::unix::fs::PermissionsExt;

use cm_e2e::{Node, NodeOptions, run};
use serde_json::Value;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_committed_description_of_the_api_is_what_the_program_says() {
    let said = run(&["openapi"]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    let committed = std::fs::read(crate::tools::repository("openapi/cryptomesh.json")).unwrap();
    let (old, new) = (text(&committed), text(&said.stdout));
    let differs = old.lines().zip(new.lines()).position(|(old, new)| old != new);
    assert_eq!(
        differs.map(|at| at + 1),
        None,
        "a line is stale: run `cargo xtask openapi` and commit the file"
    );
    assert_eq!(old.len(), new.len(), "the description ends elsewhere: run `cargo xtask openapi`");
}

#[test]
fn the_first_start_writes_an_admin_token_for_its_owner_alone() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let mode =
        |path: &str| std::fs::metadata(node.data_dir().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("admin.token"), 0o600);
    let whoami = node.command(&["whoami", "--output", "json"]);
    assert!(whoami.status.success(), "{}", text(&whoami.stderr));
    assert!(text(&whoami.stdout).contains("admin"));
    assert!(!node.log().contains(&node.admin_token()), "the token is in the log");
    assert!(node.stop().success());
}

#[test]
fn the_token_survives_a_restart_and_a_second_process_is_told_who_is_first() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let token = node.admin_token();
    let data_dir = node.data_dir().to_str().unwrap().to_owned();
    let second = run(&["up", "--data-dir", &data_dir]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains(&format!("process {}", node.pid())), "{}", text(&second.stderr));
    assert!(node.stop().success());
    let node = Node::start(root.path(), &NodeOptions::default());
    assert_eq!(node.admin_token(), token);
    assert!(node.command(&["whoami"]).status.success());
}

#[test]
fn wrong_configuration_exits_with_2_and_names_the_setting() {
    let root = tempfile::tempdir().unwrap();
    let data_dir = root.path().join("data");
    let up = |arguments: &[&str]| {
        let mut all = vec!["up", "--data-dir", data_dir.to_str().unwrap()];
        all.extend(arguments);
        run(&all)
    };
    for (arguments, part) in [
        (&["--set", "listen.nothing=1"][..], "nothing"),
        (&["--set", "log.format=xml"], "log.format"),
        (&["--config", "/nonexistent.toml"], "/nonexistent.toml"),
        (&["--open", "--set", "listen.api=0.0.0.0:0"], "not loopback"),
    ] {
        let output = up(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(part), "{arguments:?}: {}", text(&output.stderr));
    }
    assert!(!data_dir.exists(), "a refused configuration left a data directory");
}

#[test]
fn commands_say_by_their_exit_code_what_went_wrong() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let code = |arguments: &[&str]| node.command(arguments).status.code();
    assert_eq!(code(&["get", "function", "absent"]), Some(4));
    assert_eq!(code(&["create", "bucket", "name=twice"]), Some(0));
    assert_eq!(code(&["create", "bucket", "name=twice"]), Some(5));
    assert_eq!(code(&["create", "bucket", "name=NOT VALID"]), Some(2));
    assert_eq!(code(&["whoami", "--token", "cmk_wrong_wrong"]), Some(3));
    assert_eq!(code(&["whoami", "--url", "http://127.0.0.1:1"]), Some(6));
    let no_policy = r#"confidential={"policy":"{}"}"#;
    assert_eq!(code(&["create", "function", "id=f", "executor=confidential", no_policy]), Some(2));
    assert_eq!(code(&["get", "function", "f"]), Some(4));
    assert_eq!(code(&["no-such-command"]), Some(2));
    assert_eq!(code(&["can", "admin", "delete", "function/anything"]), Some(0));
}

#[test]
fn results_go_to_standard_output_as_json_and_everything_else_does_not() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let output = node.command(&["list", "role", "--output", "json"]);
    let roles: Vec<Value> =
        serde_json::from_slice(&output.stdout).expect("standard output is one JSON document");
    assert!(roles.iter().any(|role| role["id"] == "admin"), "{roles:?}");
    let quiet = node.command(&["delete", "role", "absent", "--quiet"]);
    assert!(quiet.stdout.is_empty());
    assert!(text(&quiet.stderr).starts_with("error: "));
}

#[test]
fn a_signal_drains_and_a_stopped_node_does_not_say_that_it_is_ready() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    assert!(node.data_dir().join("ready.json").exists());
    let data_dir = node.data_dir().to_owned();
    assert!(node.stop().success());
    assert!(!data_dir.join("ready.json").exists(), "a stopped node still says that it is ready");
}

#[test]
fn objects_travel_sealed_and_plain_through_the_commands() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(path("in"), &content).unwrap();
    let public = node.command(&["keys", "seal", &path("secret")]);
    let public = text(&public.stdout).trim().to_owned();
    let ok = |arguments: &[&str]| {
        let output = node.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    ok(&["object", "put", "--create-bucket", &path("in"), "box/plain"]);
    ok(&["object", "put", "--seal-to", &public, &path("in"), "box/sealed"]);
    ok(&["object", "get", "box/plain", &path("plain")]);
    ok(&["object", "get", "box/sealed", &path("ciphertext")]);
    ok(&["object", "get", "box/sealed", &path("opened"), "--open-with", &path("secret")]);
    assert_eq!(std::fs::read(path("plain")).unwrap(), content);
    assert_eq!(std::fs::read(path("opened")).unwrap(), content);
    let ciphertext = std::fs::read(path("ciphertext")).unwrap();
    assert!(!ciphertext.windows(64).any(|window| content.starts_with(window)));
    assert!(ok(&["object", "ls", "box", "--output", "json"]).contains("sealed"));
    ok(&["object", "rm", "box/plain"]);
    assert_eq!(node.command(&["object", "get", "box/plain", &path("x")]).status.code(), Some(4));
    assert!(!root.path().join("x").exists(), "a failed download left a file");
}

/// Runs a command of the node with something on its standard input.
fn feed(node: &Node, arguments: &[&str], input: &str) -> std::process::Output {
    use std::io::Write;
    let mut child = std::process::Command::new(cm_e2e::cryptomesh())
        .arg("--data-dir")
        .arg(node.data_dir())
        .args(arguments)
        .env_clear()
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_person_logs_in_with_a_password_and_out_again() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let ok = |output: std::process::Output| {
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    ok(node.command(&["create", "principal", "id=ada", "roles=[\"auditor\"]"]));
    ok(feed(&node, &["principal", "passwd", "ada"], "a long enough password\n"));
    assert_eq!(feed(&node, &["login", "ada"], "another password\n").status.code(), Some(3));
    ok(feed(&node, &["login", "ada"], "a long enough password\n"));
    assert!(ok(node.command(&["whoami"])).contains("ada"));
    let passwd = ["principal", "passwd", "ada"];
    assert_eq!(feed(&node, &passwd, "an even longer password\nanother password\n").status.code(), Some(3));
    ok(feed(&node, &passwd, "an even longer password\na long enough password\n"));
    assert_eq!(node.command(&["whoami"]).status.code(), Some(3), "a token outlived the password");
    ok(feed(&node, &["login", "ada"], "an even longer password\n"));
    assert_eq!(node.command(&["create", "bucket", "name=forbidden"]).status.code(), Some(3));
    ok(node.command(&["logout"]));
    assert!(ok(node.command(&["whoami"])).contains("admin"));
    assert_eq!(node.command(&["can", "ada", "list", "event/*"]).status.code(), Some(0));
    assert_eq!(node.command(&["can", "ada", "create", "function/*"]).status.code(), Some(3));
}

#[test]
fn data_of_a_newer_version_is_used_as_long_as_it_serves_this_one_and_then_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let data_dir = node.data_dir().to_owned();
    assert!(node.stop().success());
    let open = || rusqlite::Connection::open(data_dir.join("cryptomesh.db")).unwrap();
    let db = open();
    let version: u32 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    db.execute_batch(&format!("PRAGMA user_version = {}", version + 1)).unwrap();
    db.close().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    assert!(node.command(&["whoami"]).status.success());
    assert!(node.stop().success());
    let db = open();
    db.execute_batch(&format!("UPDATE compatible_from SET version = {}", version + 1)).unwrap();
    db.close().unwrap();
    let refused = run(&["up", "--data-dir", data_dir.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    let newer = version + 1;
    let named =
        format!("for programs that know version {newer}, but this program knows versions up to {version}");
    assert!(said.contains(&named), "{said}");
}

#[test]
fn an_administrator_without_a_key_is_helped_offline() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let (data_dir, old) = (node.data_dir().to_str().unwrap().to_owned(), node.admin_token());
    let busy = run(&["admin", "reset-token", "--data-dir", &data_dir]);
    assert_eq!(busy.status.code(), Some(1), "a running node was meddled with");
    assert!(node.stop().success());
    let reset = run(&["admin", "reset-token", "--data-dir", &data_dir]);
    assert!(reset.status.success(), "{}", text(&reset.stderr));
    let node = Node::start(root.path(), &NodeOptions::default());
    assert_ne!(node.admin_token(), old);
    assert!(node.command(&["whoami"]).status.success());
    assert!(node.command(&["audit", "verify"]).status.success());
}

#[test]
fn a_transfer_that_does_not_end_does_not_hold_the_node() {
    use std::io::Write;
    let root = tempfile::tempdir().unwrap();
    let options = NodeOptions { set: vec!["shutdown.deadline=4".to_owned()], ..NodeOptions::default() };
    let node = Node::start(root.path(), &options);
    assert!(node.command(&["create", "bucket", "name=stuck"]).status.success());
    let mut upload = std::net::TcpStream::connect(node.address("api")).unwrap();
    let token = node.admin_token();
    let head = format!(
        "PUT /api/v1/buckets/stuck/objects/x HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-length: 1000000\r\n\r\nbegun"
    );
    upload.write_all(head.as_bytes()).unwrap();
    let began = std::time::Instant::now();
    assert_eq!(node.stop().code(), Some(0));
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_flag_wins_over_an_assignment_and_an_assignment_over_a_variable() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let status = std::process::Command::new(cm_e2e::cryptomesh())
        .args(["up", "--set", &format!("data_dir={}", path("by-set")), "--set", "listen.api=192.0.2.1:1"])
        .env_clear()
        .env("CRYPTOMESH_DATA_DIR", path("by-variable"))
        .output()
        .unwrap();
    // No interface has this address (RFC 5737), so the node ends; the directory has been chosen by then.
    drop(status);
    assert!(root.path().join("by-set").exists() && !root.path().join("by-variable").exists());
}
