//! The example functions are registered and run from the command line, with files of the repository alone; what is
//! not what it should be is refused by exit code.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use cm_e2e::{Node, NodeOptions, cryptomesh};
use serde_json::Value;

const INSECURE: &str = "--allow-insecure-software";

/// A file of the repository. Cargo says at run time where the package lies; see `xtask::shell`.
fn repository(path: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("../..").join(path)
}

/// A committed result, which the example's library computed natively.
fn known(result: &str) -> Vec<u8> {
    std::fs::read(repository("examples/data").join(result)).expect("the result is committed")
}

/// Demands an exit code, and returns what was said on standard output and standard error.
fn ends(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{}{}", said.0, said.1);
    said
}

fn json(node: &Node, arguments: &[&str]) -> Value {
    let output = node.command(&[arguments, &["--output", "json"]].concat());
    serde_json::from_str(&ends(&output, 0).0).expect("JSON was asked for")
}

/// The program policy of an example, as its author published it.
fn policy(name: &str) -> String {
    repository(&format!("examples/{name}/policy.json")).to_str().unwrap().to_owned()
}

/// Registers an example, with the program of `program`.
fn register(node: &Node, name: &str, program: &str) -> Output {
    let wasm = repository(&format!("examples/{program}/{program}.wasm"));
    let program = format!("{name}.wasm={}", wasm.display());
    node.command(&["function", "register", &policy(name), "--program", &program])
}

/// Runs an example on committed inputs, and demands the committed result and a trail of the run.
fn check(node: &Node, dir: &Path, name: &str, inputs: &[(&str, &str)], result: &str) {
    ends(&register(node, name, name), 0);
    let fetched = dir.join(result);
    let mut arguments = ["function", "run", name, INSECURE, "--function-policy"].map(str::to_owned).to_vec();
    arguments.push(policy(name));
    for (file, input) in inputs {
        let input = repository("examples/data").join(input);
        arguments.extend(["--input".to_owned(), format!("{file}={}", input.display())]);
    }
    arguments.extend(["--result".to_owned(), format!("output={}", fetched.display())]);
    ends(&node.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()), 0);
    assert_eq!(std::fs::read(fetched).unwrap(), known(result), "{name}");

    let status = json(node, &["function", "status", name]);
    assert_eq!(status["latest_state"]["state"], "completed", "{status}");
    assert_eq!(status["latest_result"]["state_id"], status["latest_state"]["id"], "{status}");
    let states = states(node, name);
    assert_eq!(states[..2], ["completed", "running"], "{states:?}");
}

/// The states that a function went through, the newest first.
fn states(node: &Node, name: &str) -> Vec<String> {
    let logs = json(node, &["function", "logs", name]);
    let state = |entry: &Value| entry["state"].as_str().expect("a state has a name").to_owned();
    logs.as_array().expect("logs are a list").iter().map(state).collect()
}

#[test]
fn every_example_gives_its_known_result() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    check(&node, root.path(), "linear-regression", &[("input-0", "cars.points")], "cars.line");
    let iris = [("model", "iris.model"), ("input-0", "iris.rows")];
    check(&node, root.path(), "logistic-regression", &iris, "iris.probabilities");
    let iris = [("parameters", "iris-k-means.parameters"), ("input-0", "iris.rows")];
    check(&node, root.path(), "k-means", &iris, "iris.clusters");
    // The published regression, lest program and committed result be wrong alike.
    let gradient = f64::from_le_bytes(known("cars.line")[..8].try_into().unwrap());
    assert!((gradient - 3.932_408_759_124_09).abs() < 1e-9, "{gradient}");
    assert!(node.stop().success());
}

/// Runs an example on files of its own folder, and gives back the result.
fn result(node: &Node, dir: &Path, name: &str, inputs: &[(&str, &str)], result: &str) -> String {
    ends(&register(node, name, name), 0);
    let fetched = dir.join(name);
    let (policy, result) = (policy(name), format!("{result}={}", fetched.display()));
    let inputs: Vec<String> = inputs
        .iter()
        .map(|(file, input)| format!("{file}={}", repository(&format!("examples/{input}")).display()))
        .collect();
    let mut arguments = vec!["function", "run", name, INSECURE, "--function-policy", &policy];
    arguments.extend(inputs.iter().flat_map(|input| ["--input", input]));
    arguments.extend(["--result", &result]);
    ends(&node.command(&arguments), 0);
    std::fs::read_to_string(fetched).unwrap()
}

/// What needs more of an instance than files: all of it behind the walls of a real one.
#[test]
fn components_models_and_streams_run_in_real_instances() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let inputs = [
        ("/input/video", "motion/data/clip.y4m.aes"),
        ("/user_input/key", "motion/data/key"),
        ("/user_input/iv", "motion/data/iv"),
    ];
    let detections = result(&node, root.path(), "motion", &inputs, "/output/detections");
    assert_eq!(detections, std::fs::read_to_string(repository("examples/motion/data/detections")).unwrap());

    let inputs = [
        ("/input/digits.csv", "classifier/data/digits.csv"),
        ("/model/digits.onnx", "classifier/data/digits.onnx"),
    ];
    let digits = result(&node, root.path(), "classifier", &inputs, "/output/digits.csv");
    let expected = std::fs::read_to_string(repository("examples/classifier/data/expected.csv")).unwrap();
    let said =
        |text: &str| -> Vec<char> { text.lines().take(360).filter_map(|line| line.chars().next()).collect() };
    assert_eq!(said(&digits), said(&expected));

    let inputs = [("/input/women.csv", "data/women.csv")];
    let means = result(&node, root.path(), "column-means", &inputs, "/output/women.csv");
    assert_eq!(means.lines().count(), 2, "{means}");
    assert!(node.stop().success());
}

#[test]
fn an_instance_that_is_not_trusted_gets_nothing() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    ends(&register(&node, "linear-regression", "linear-regression"), 0);
    // The input does not exist: whoever gets as far as sending ends otherwise, as the last of these does.
    let run = |more: &[&str]| {
        let policy = policy("linear-regression");
        let arguments = ["function", "run", "linear-regression", "--function-policy", &policy];
        node.command(&[&arguments, &["--input", "input-0=absent.points"][..], more].concat())
    };
    assert!(ends(&run(&[]), 3).1.contains(INSECURE));
    let other = "0".repeat(64);
    assert!(ends(&run(&[INSECURE, "--measurement", &other]), 3).1.contains("is not accepted"));
    assert!(ends(&run(&[INSECURE, "--require-isolation", "absent"]), 3).1.contains("absent"));
    assert!(ends(&run(&[INSECURE]), 1).1.contains("cannot read absent.points"));
    let states = states(&node, "linear-regression");
    assert!(!states.iter().any(|state| state == "running" || state == "completed"), "{states:?}");
    assert_eq!(json(&node, &["list", "instance"]), serde_json::json!([]), "an instance was left behind");
    assert!(node.stop().success());
}

/// A node that lies is one that registered something else than the author published, and is consistent about it.
#[test]
fn what_runs_is_what_the_author_published_or_nothing_is_sent() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let published = std::fs::read_to_string(policy("linear-regression")).unwrap();
    let digest = |text: &str| {
        serde_json::from_str::<Value>(text).unwrap()["programs"][0]["pi_hash"].as_str().unwrap().to_owned()
    };
    let other = digest(&std::fs::read_to_string(policy("k-means")).unwrap());
    let forged = root.path().join("forged.json");
    std::fs::write(&forged, published.replace(&digest(&published), &other)).unwrap();
    let wasm = repository("examples/k-means/k-means.wasm");
    let program = format!("linear-regression.wasm={}", wasm.display());
    let register = ["function", "register", forged.to_str().unwrap(), "--program", &program];
    ends(&node.command(&register), 0);
    // The input does not exist: whoever gets as far as sending ends with 1.
    let run = |more: &[&str]| {
        let arguments =
            ["function", "run", "linear-regression", INSECURE, "--input", "input-0=absent.points"];
        node.command(&[&arguments[..], more].concat())
    };
    let said = ends(&run(&["--function-policy", &policy("linear-regression")]), 3).1;
    assert!(said.contains("the programs, their digests or their rights are not those agreed on"), "{said}");
    let named = |digest: &str| format!("linear-regression.wasm={digest}");
    assert!(ends(&run(&["--program-sha256", &named(&digest(&published))]), 3).1.contains(&other));
    assert!(ends(&run(&["--program-sha256", &named(&other)]), 1).1.contains("cannot read absent.points"));
    assert!(
        ends(&run(&["--trust-node-policy"]), 1)
            .1
            .contains(&format!("word: linear-regression.wasm is SHA-256 {other}"))
    );
    assert!(ends(&run(&[]), 2).1.contains("--function-policy"));
    let of_another = ends(&run(&["--function-policy", &policy("k-means")]), 2).1;
    assert!(of_another.contains("is no program policy of linear-regression"), "{of_another}");
    assert!(node.stop().success());
}

#[test]
fn a_policy_is_shown_as_the_document_that_it_is() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let registered = ends(&register(&node, "linear-regression", "linear-regression"), 0).0;
    let shown = ends(&node.command(&["get", "function", "linear-regression"]), 0).0;
    for text in [registered, shown] {
        assert!(text.contains("\"execution_strategy\": \"JIT\"") && !text.contains('\\'), "{text}");
    }
    assert!(node.stop().success());
}

#[test]
fn other_bytes_than_the_policy_names_are_refused_and_nothing_stays() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let said = ends(&register(&node, "linear-regression", "k-means"), 5).1;
    let policy = std::fs::read_to_string(repository("examples/linear-regression/policy.json")).unwrap();
    let policy: Value = serde_json::from_str(&policy).unwrap();
    assert!(said.contains(policy["programs"][0]["pi_hash"].as_str().unwrap()), "{said}");
    ends(&node.command(&["function", "status", "linear-regression"]), 4);
    ends(&register(&node, "linear-regression", "linear-regression"), 0);
    assert!(node.stop().success());
}

/// The block of the README that registers and runs a function.
fn commands_of_the_readme() -> String {
    let readme = std::fs::read_to_string(repository("README.md")).unwrap();
    let block = readme.split("```\n").find(|block| block.starts_with("cryptomesh function register"));
    block.expect("the README shows how to register a function").to_owned()
}

#[test]
fn the_commands_of_the_readme_work_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    std::os::unix::fs::symlink(node.data_dir(), root.path().join(".cryptomesh")).unwrap();
    std::os::unix::fs::symlink(repository("examples"), root.path().join("examples")).unwrap();
    let binary = cryptomesh();
    let output = Command::new("/bin/sh")
        .args(["-e", "-c", &commands_of_the_readme()])
        .current_dir(root.path())
        .env_clear()
        .env("PATH", binary.parent().unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, _) = ends(&output, 0);
    assert!(said.contains("completed"), "{said}");
    assert_eq!(std::fs::read(root.path().join("cars.line")).unwrap(), known("cars.line"));
    assert!(node.stop().success());
}
