//! Commands that look around: describe, get as YAML, delete with its dependents, events and top.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use cm_e2e::{Node, NodeOptions, cryptomesh};
use serde_json::Value;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Demands an exit code, and returns what was said on standard output and standard error.
fn ends(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{}{}", said.0, said.1);
    said
}

fn json(node: &Node, arguments: &[&str]) -> Value {
    let said = ends(&node.command(&[arguments, &["--output", "json"]].concat()), 0).0;
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// A service with two microservices and two functions, all under one policy.
fn furnished(root: &std::path::Path) -> Node {
    let node = Node::start(root, &NodeOptions::default());
    for arguments in [
        &["role", "id=reader", r#"permissions=["function:read"]"#][..],
        &["security-policy", "id=clinic", "name=Clinic", r#"roles=["reader"]"#],
        &[
            "service",
            "id=imaging",
            "name=Imaging",
            "security_policy=clinic",
            r#"resources={"cpu":2,"ram":"2GB"}"#,
        ],
        &["microservice", "id=filters", "name=Filters", "service_id=imaging"],
        &["microservice", "id=reports", "service_id=imaging"],
        &["function", "id=blur", "microservice_id=filters", "description=takes noise out"],
        &["function", "id=sharpen", "microservice_id=filters"],
        &["endpoint", "id=edge", "image=edge:1", r#"resources={"cpu":1,"ram":"512MB"}"#],
    ] {
        ends(&node.command(&[&["create"], arguments].concat()), 0);
    }
    node
}

#[test]
fn a_resource_is_described_with_what_surrounds_it() {
    let root = tempfile::tempdir().unwrap();
    let node = furnished(root.path());
    let service = json(&node, &["describe", "service", "imaging"]);
    assert_eq!(service["record"]["resources"], serde_json::json!({"cpu": 2, "ram": "2GB"}));
    let policy = &service["refers_to"][0];
    assert_eq!(
        (policy["resource"].as_str(), policy["name"].as_str()),
        (Some("security-policy/clinic"), Some("Clinic"))
    );
    let referring = |described: &Value| -> Vec<String> {
        let all = described["referred_to_by"].as_array().unwrap().iter();
        let mut all: Vec<String> = all.map(|by| by["resource"].as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    };
    assert_eq!(referring(&service), ["microservice/filters", "microservice/reports"]);
    assert_eq!(service["newest_events"][0]["verb"], "service.created");
    assert_eq!(service["not_shown"], serde_json::json!([]));
    let microservice = json(&node, &["describe", "microservice", "filters"]);
    assert_eq!(referring(&microservice), ["function/blur", "function/sharpen"]);
    let policy = json(&node, &["describe", "security-policy", "clinic"]);
    assert_eq!(referring(&policy), ["service/imaging"]);
    assert_eq!(
        json(&node, &["describe", "function", "blur"])["newest"]["function-states"],
        serde_json::json!([])
    );

    let table = ends(&node.command(&["describe", "service", "imaging"]), 0).0;
    for part in
        ["Imaging", "REFERS TO", "REFERRED TO BY", "microservice/filters", "NEWEST EVENTS", "service.created"]
    {
        assert!(table.contains(part), "no {part}: {table}");
    }
    let yaml = ends(&node.command(&["describe", "service", "imaging", "-o", "yaml"]), 0).0;
    assert!(yaml.contains("resource: microservice/filters"), "{yaml}");
    ends(&node.command(&["describe", "service", "absent"]), 4);
    ends(&node.command(&["describe", "nothing", "absent"]), 2);
}

#[test]
fn what_one_may_not_list_is_left_out_of_a_description_and_said() {
    let root = tempfile::tempdir().unwrap();
    let node = furnished(root.path());
    let permissions = r#"permissions=["service:read","microservice:list","microservice:read"]"#;
    ends(&node.command(&["create", "role", "id=narrow", permissions]), 0);
    ends(&node.command(&["create", "principal", "id=ada", r#"roles=["narrow","reader"]"#]), 0);
    let key = ends(&node.command(&["principal", "api-key", "ada", "--label", "test", "-q"]), 0).0;
    let described = json(&node, &["describe", "service", "imaging", "--token", key.trim()]);
    assert_eq!(described["not_shown"], serde_json::json!(["events"]));
    assert_eq!(described["referred_to_by"].as_array().unwrap().len(), 2);
    assert_eq!(described["refers_to"][0]["found"], false, "the policy is not for ada to see");
    let said = ends(&node.command(&["describe", "service", "imaging", "--token", key.trim()]), 0).1;
    assert!(said.contains("events"), "{said}");
}

#[test]
fn a_record_is_shown_as_a_file_would_declare_it() {
    let root = tempfile::tempdir().unwrap();
    let node = furnished(root.path());
    let one = ends(&node.command(&["get", "service", "imaging", "-o", "yaml"]), 0).0;
    for part in
        ["cryptomesh: v1\n", "services:\n", "  imaging:\n", "name: Imaging\n", "security_policy: clinic\n"]
    {
        assert!(one.contains(part), "no {part:?}: {one}");
    }
    assert!(!one.contains("generation") && !one.contains("service_id"), "{one}");
    let all = ends(&node.command(&["get", "microservices", "-o", "yaml"]), 0).0;
    assert!(all.contains("  filters:\n") && all.contains("  reports:\n"), "{all}");
    let events = ends(&node.command(&["list", "event", "-o", "yaml", "--limit", "1"]), 0).0;
    assert!(events.contains("seq: 1\n"), "{events}");
}

#[test]
fn a_deletion_is_planned_refused_and_done() {
    let root = tempfile::tempdir().unwrap();
    let node = furnished(root.path());
    let delete = |more: &[&str]| node.command(&[&["delete", "service", "imaging"], more].concat());
    let refused = ends(&delete(&["--dry-run"]), 5).0;
    assert_eq!(refused, "refused by microservice/filters\nrefused by microservice/reports\n");
    ends(&delete(&[]), 5);
    let planned = json(&node, &["delete", "service", "imaging", "--dependents", "cascade", "--dry-run"]);
    let goes = [
        "service/imaging",
        "microservice/filters",
        "microservice/reports",
        "function/blur",
        "function/sharpen",
    ];
    assert_eq!(planned, serde_json::json!({"goes": goes, "refusing": [], "orphaned": []}));
    let orphaned = ends(&delete(&["--dependents", "orphan", "--dry-run"]), 0).0;
    assert!(orphaned.contains("orphans microservice/filters\n"), "{orphaned}");
    // Nobody is there to be asked.
    for choice in ["cascade", "orphan"] {
        assert!(ends(&delete(&["--dependents", choice]), 2).1.contains("--yes"));
    }
    ends(&node.command(&["get", "service", "imaging"]), 0);
    let said = ends(&delete(&["--dependents", "cascade", "--yes"]), 0).1;
    assert_eq!(said, "service/imaging and 4 more deleted\n");
    ends(&node.command(&["get", "function", "blur"]), 4);
    ends(&delete(&["--dry-run"]), 4);
    // What needs no plan needs no yes either, and what has none says so instead of going.
    ends(&node.command(&["delete", "security-policy", "clinic"]), 0);
    ends(&node.command(&["create", "principal", "id=ada"]), 0);
    assert!(
        ends(&node.command(&["delete", "principal", "ada", "--dry-run"]), 2)
            .1
            .contains("nothing was deleted")
    );
    ends(&node.command(&["delete", "principal", "ada", "--dependents", "cascade", "--yes"]), 2);
    ends(&node.command(&["get", "principal", "ada"]), 0);
}

#[test]
fn what_runs_is_shown_once_where_nobody_watches() {
    let root = tempfile::tempdir().unwrap();
    let node = furnished(root.path());
    let view = json(&node, &["top"]);
    let row = &view["rows"][0];
    assert_eq!(
        (row["kind"].as_str(), row["id"].as_str(), row["state"].as_str()),
        (Some("endpoint"), Some("edge"), Some("cold"))
    );
    assert_eq!(row["limits"], serde_json::json!({"cpu": 1, "ram": "512MB"}));
    assert!(row["age_seconds"].as_u64().unwrap() < 600, "{view}");
    for arguments in [&["top"][..], &["top", "--once"]] {
        let table = ends(&node.command(arguments), 0).0;
        assert!(
            table.contains("edge:1") && table.contains("cpu=1 ram=512MB") && !table.contains('\u{1b}'),
            "{table}"
        );
    }
    ends(&node.command(&["create", "principal", "id=ada"]), 0);
    let key = ends(&node.command(&["principal", "api-key", "ada", "--label", "test", "-q"]), 0).0;
    ends(&node.command(&["top", "--token", key.trim()]), 3);
}

#[test]
fn the_newest_events_are_shown_oldest_first() {
    let root = tempfile::tempdir().unwrap();
    let node = furnished(root.path());
    let verbs = |events: &Value| -> Vec<String> {
        events.as_array().unwrap().iter().map(|event| event["verb"].as_str().unwrap().to_owned()).collect()
    };
    let newest = json(&node, &["events", "--limit", "2"]);
    assert_eq!(verbs(&newest), ["function.created", "endpoint.created"]);
    let numbers: Vec<u64> =
        newest.as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers[0] + 1, numbers[1]);
    let about = json(&node, &["events", "--resource", "service/imaging"]);
    assert_eq!(verbs(&about), ["service.created"]);
    assert_eq!(json(&node, &["events", "--verb", "nothing."]), serde_json::json!([]));
    let first = json(&node, &["events", "--after", "0", "--limit", "1"]);
    assert_eq!(first[0]["seq"], 1);
    assert!(ends(&node.command(&["events", "--outcome", "perhaps"]), 2).1.contains("outcome"));
}

/// A command that follows, and the lines that it prints.
struct Follower {
    process: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn start(node: &Node, arguments: &[&str]) -> Follower {
        let mut process = Command::new(cryptomesh())
            .args(["--url", &node.url(), "--token", &node.admin_token()])
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Follower { process, lines }
    }

    fn next(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("an event in time");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Presses Ctrl-C; returns the exit code.
    fn interrupt(mut self) -> Option<i32> {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
        self.process.wait().unwrap().code()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn events_are_followed_across_a_nodes_death_until_somebody_interrupts() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let address = node.address("api").to_owned();
    let create = |node: &Node, name: &str| {
        ends(&node.command(&["create", "bucket", &format!("name={name}")]), 0);
    };
    create(&node, "before");
    let follow = ["events", "--follow", "--verb", "bucket.", "-o", "json", "--limit", "1"];
    let follower = Follower::start(&node, &follow);
    assert_eq!(follower.next()["resource"], "bucket/before");
    create(&node, "during");
    let during = follower.next();
    assert_eq!(during["resource"], "bucket/during");
    node.kill();
    let again = NodeOptions { set: vec![format!("listen.api={address}")], ..NodeOptions::default() };
    let node = Node::start(root.path(), &again);
    create(&node, "after");
    let after = follower.next();
    assert_eq!(after["resource"], "bucket/after", "nothing comes twice");
    assert!(after["seq"].as_u64() > during["seq"].as_u64());
    assert_eq!(follower.interrupt(), Some(0));
    // The audit log is followed in the same way.
    let audit = Follower::start(&node, &["audit", "log", "--follow", "--resource", "bucket/after"]);
    assert_eq!(audit.next(), after);
    assert_eq!(audit.interrupt(), Some(0));
    ends(&node.command(&["events", "--follow", "--url", "http://127.0.0.1:1"]), 6);
}
