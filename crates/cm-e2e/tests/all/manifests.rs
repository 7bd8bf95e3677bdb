//! Files that declare a mesh: both shapes apply, twice the same is nothing, and a wrong file changes nothing.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use cm_e2e::{Node, NodeOptions, cryptomesh};
use serde_json::{Value, json};
use tempfile::TempDir;

mod wrong;

const FLAT: &str = include_str!("manifests/flat.yml");
const NESTED: &str = include_str!("manifests/nested.yml");

/// A node and a directory of files.
struct Mesh {
    root: TempDir,
    node: Node,
}

impl Mesh {
    fn start(open: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        let node = Node::start(root.path(), &NodeOptions { open, ..NodeOptions::default() });
        Self { root, node }
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.root.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs a command that must end with this code; what it says on standard output and standard error.
    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> (String, String) {
        ends(&self.node.command(arguments), code)
    }

    /// The counts of created, changed and unchanged resources, and the changes of fields as `kind/id path before after`.
    #[track_caller]
    fn outcome(&self, arguments: &[&str], code: i32) -> (Vec<u64>, Vec<String>) {
        let arguments = [arguments, &["--output", "json"]].concat();
        let report: Value = serde_json::from_str(&self.run(&arguments, code).0).unwrap();
        let counts = ["created", "changed", "unchanged"].map(|name| report[name].as_u64().unwrap()).to_vec();
        let resources = report["resources"].as_array().unwrap();
        let changes = resources.iter().flat_map(|resource| {
            let name = format!("{}/{}", resource["kind"].as_str().unwrap(), resource["id"].as_str().unwrap());
            resource["changes"].as_array().unwrap().iter().map(move |change| {
                format!(
                    "{name} {} {} {}",
                    change["path"].as_str().unwrap(),
                    change["before"],
                    change["after"]
                )
            })
        });
        (counts, changes.collect())
    }

    /// The number of the last event: whatever is changed or refused by a decision is one more.
    fn events(&self) -> Value {
        let head = self.run(&["audit", "head", "--output", "json"], 0).0;
        serde_json::from_str::<Value>(&head).unwrap()["seq"].clone()
    }

    #[track_caller]
    fn record(&self, kind: &str, id: &str) -> Value {
        serde_json::from_str(&self.run(&["get", kind, id, "--output", "json"], 0).0).unwrap()
    }

    /// Runs a command with this on its standard input.
    fn fed(&self, arguments: &[&str], input: &str) -> Output {
        let mut process = Command::new(cryptomesh())
            .arg("--data-dir")
            .arg(self.node.data_dir())
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        process.wait_with_output().unwrap()
    }
}

#[track_caller]
fn ends(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{}{}", said.0, said.1);
    said
}

#[test]
fn both_shapes_apply_and_twice_the_same_is_nothing() {
    for open in [false, true] {
        let mesh = Mesh::start(open);
        let (flat, nested) = (mesh.file("flat.yml", FLAT), mesh.file("nested.yml", NESTED));
        let both = ["-f", &flat, &nested];
        // What would happen is what happens, and asking changes nothing.
        let before = mesh.events();
        let expected = (vec![24, 0, 0], vec![]);
        assert_eq!(mesh.outcome(&[&["diff"], &both[..]].concat(), 1), expected, "open: {open}");
        assert_eq!(mesh.outcome(&[&["apply", "--dry-run"], &both[..]].concat(), 0), expected);
        assert_eq!(mesh.events(), before);
        mesh.run(&["get", "service", "imaging"], 4);
        assert_eq!(mesh.outcome(&[&["apply"], &both[..]].concat(), 0), expected);
        // Ids, names, nesting and what was written are kept.
        let service = mesh.record("service", "imaging");
        assert_eq!(service["name"], "Imaging");
        assert_eq!(service["labels"], json!({ "department": "radiology", "tier": "gold" }));
        assert_eq!(mesh.record("function", "edges")["resources"], json!({ "cpu": 1, "ram": "1.5 GiB" }));
        assert_eq!(mesh.record("function", "edges")["description"], "Finds edges.\n  Slowly.\n");
        assert_eq!(mesh.record("function", "send")["microservice_id"], "mail");
        assert_eq!(mesh.record("microservice", "filters")["service_id"], "imaging");
        let policy = &mesh.record("endpoint", "edge-1")["security_policy"];
        assert_eq!(policy["roles"], json!(["radiologist", "porter"]));
        // Roles that only policies name are there, and permit nothing.
        assert_eq!(mesh.record("role", "porter")["permissions"], json!([]));
        let after = mesh.events();
        let same = (vec![0, 0, 24], vec![]);
        assert_eq!(mesh.outcome(&[&["apply"], &both[..]].concat(), 0), same);
        assert_eq!(mesh.outcome(&[&["diff"], &both[..]].concat(), 0), same);
        assert_eq!(mesh.events(), after);
        let said = mesh.run(&["diff", "-f", &flat], 0);
        assert_eq!(said.0, "0 to create, 0 to change, 14 unchanged\n");
        assert_eq!(mesh.node.stop().code(), Some(0));
    }
}

#[test]
fn what_is_exported_applies_and_changes_nothing() {
    for open in [false, true] {
        let mesh = Mesh::start(open);
        let (flat, nested) = (mesh.file("flat.yml", FLAT), mesh.file("nested.yml", NESTED));
        // A text whose end is easily lost, where the file ends.
        let last = "active-objects:\n  zz:\n    axo_module: m\n    axo_class_name: Z\n    axo_microservice_id: mail\n";
        let last = mesh.file("last.yml", &format!("{last}    axo_code: \"class Z:\\n  pass\\n\\n\\n\"\n"));
        mesh.run(&["apply", "-f", &flat, &nested, &last], 0);
        let after = mesh.events();
        for arguments in [&["export"][..], &["export", "--all"]] {
            let exported = mesh.run(arguments, 0).0;
            let outcome: Value = serde_json::from_str(
                &ends(&mesh.fed(&["diff", "-f", "-", "--output", "json"], &exported), 0).0,
            )
            .unwrap();
            let unchanged = outcome["unchanged"].as_u64().unwrap();
            assert!(if arguments.len() == 1 { unchanged == 25 } else { unchanged > 25 }, "{exported}");
            ends(&mesh.fed(&["apply", "-f", "-"], &exported), 0);
        }
        assert_eq!(mesh.events(), after, "open: {open}");
        // An empty node becomes the same by it.
        let exported = mesh.run(&["export"], 0).0;
        let other = Mesh::start(open);
        ends(&other.fed(&["apply", "-f", "-"], &exported), 0);
        assert_eq!(other.run(&["export"], 0).0, exported);
        // Kinds and labels choose.
        let gold = mesh.run(&["export", "services", "--selector", "tier=gold"], 0).0;
        assert!(gold.contains("imaging:") && !gold.contains("reports:"), "{gold}");
        assert!(!gold.contains("functions:"), "{gold}");
        mesh.run(&["export", "events"], 2);
    }
}

#[test]
fn a_difference_is_shown_by_its_fields() {
    for open in [false, true] {
        let mesh = Mesh::start(open);
        let flat = mesh.file("flat.yml", FLAT);
        mesh.run(&["apply", "-f", &flat], 0);
        let changed = FLAT
            .replace("tier: gold", "tier: silver")
            .replace("cpu: 2, ram: 512MB", "cpu: 3, ram: 512MB")
            .replace("    policy_id: radiology-7\n", "")
            .replace("name: Edge one", "name: Edge 1");
        let changed = mesh.file("changed.yml", &changed);
        let expected = [
            r#"service/imaging labels.tier "gold" "silver""#,
            "function/blur resources.cpu 2 3",
            r#"function/edges policy_id "radiology-7" null"#,
            r#"endpoint/edge-1 name "Edge one" "Edge 1""#,
        ];
        let outcome = (vec![0, 4, 10], expected.map(str::to_owned).to_vec());
        assert_eq!(mesh.outcome(&["diff", "-f", &changed], 1), outcome, "open: {open}");
        let shown = mesh.run(&["diff", "-f", &changed], 1).0;
        assert!(shown.contains("~ function/blur\n    resources.cpu: 2 -> 3\n"), "{shown}");
        assert!(shown.contains("    policy_id: radiology-7 -> (none)\n"), "{shown}");
        assert!(shown.ends_with("0 to create, 4 to change, 10 unchanged\n"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "no colours without a terminal: {shown}");
        mesh.run(&["diff", "--exit-zero", "-f", &changed], 0);
        assert_eq!(mesh.outcome(&["apply", "-f", &changed], 0), outcome);
        mesh.run(&["diff", "-f", &changed], 0);
        mesh.run(&["diff", "-f", &flat], 1);
    }
}

#[test]
fn what_has_no_effect_is_said_with_its_place() {
    let mesh = Mesh::start(false);
    let nested = mesh.file("nested.yml", NESTED);
    let said = mesh.run(&["apply", "-f", &nested], 0).1;
    let place = NESTED.lines().position(|line| line.starts_with("connections")).unwrap() + 1;
    assert!(said.contains(&format!("{nested}:{place}:1: warning: connections are not kept")), "{said}");
    assert!(said.contains("role/clerk created without permissions; nobody has it yet"), "{said}");
    let said = mesh.run(&["apply", "--quiet", "-f", &nested], 0).1;
    assert_eq!(said, "");
}

#[test]
fn standard_input_is_a_file_that_is_read_once() {
    let mesh = Mesh::start(false);
    assert_eq!(ends(&mesh.fed(&["apply", "-f", "-"], NESTED), 0).0.lines().count(), 11);
    let said = ends(&mesh.fed(&["apply", "-f", "-", "-"], NESTED), 2).1;
    assert!(said.contains("once"), "{said}");
    let said = ends(&mesh.fed(&["diff", "-f", "-"], "roles: [x]\n"), 2).1;
    assert!(said.starts_with("<stdin>:1:8: "), "{said}");
    let absent = mesh.root.path().join("absent.yml");
    let said = mesh.run(&["diff", "-f", absent.to_str().unwrap()], 2).1;
    assert!(said.contains("absent.yml"), "{said}");
}

/// What the guide shows is what a node takes.
#[test]
fn the_examples_of_the_guide_apply() {
    let guide = include_str!("../../../../docs/guide/manifests.md");
    let examples: Vec<&str> =
        guide.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 3);
    let mesh = Mesh::start(false);
    for example in examples {
        let file = mesh.file("example.yml", example);
        mesh.run(&["apply", "-f", &file], 0);
        mesh.run(&["diff", "-f", &file], 0);
    }
    let service = mesh.run(&["get", "service", "imaging", "-o", "yaml"], 0).0;
    let outcome = ends(&mesh.fed(&["diff", "-f", "-"], &service), 0).0;
    assert_eq!(outcome, "0 to create, 0 to change, 1 unchanged\n", "{service}");
}
