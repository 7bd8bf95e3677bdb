//! Endpoints as processes: what a deployed one serves, what confines it, and how it ends, whoever ends it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cm_e2e::{Node, NodeOptions, Program, enrol, instance};
use serde_json::{Value, json};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node whose endpoints have ports that no other test uses.
fn start(root: &Path, bases: u16, more: &[&str]) -> Node {
    let mut set = vec![
        format!("endpoints.req_res_base_port={bases}"),
        format!("endpoints.pubsub_base_port={}", bases + 1000),
    ];
    set.extend(more.iter().map(|assignment| (*assignment).to_owned()));
    Node::start(root, &NodeOptions { set, ..NodeOptions::default() })
}

/// The API without the client that commands use.
struct Caller {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Caller {
    fn of(node: &Node) -> Caller {
        let base = format!("{}/api/v1", node.url());
        Caller {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base,
            token: node.admin_token(),
        }
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        let answer = request.json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask(reqwest::Method::POST, path, body).await
    }

    async fn deploy(&self, id: &str) -> (u16, Value) {
        let resources = json!({ "cpu": 1, "ram": "256MB" });
        let body = json!({ "id": id, "name": id, "image": "example/endpoint:1", "resources": resources });
        self.post("/endpoints/deploy", body).await
    }

    async fn endpoint(&self, id: &str) -> Value {
        self.ask(reqwest::Method::GET, &format!("/endpoints/{id}"), Value::Null).await.1
    }

    async fn until(&self, id: &str, state: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let endpoint = self.endpoint(id).await;
            if endpoint["state"] == state {
                return endpoint;
            }
            assert!(Instant::now() < end, "{id} did not become {state}: {endpoint}");
            tokio::task::yield_now().await;
        }
    }

    async fn states(&self, id: &str) -> Vec<(String, Value)> {
        let path = format!("/endpoint-states?filter=endpoint_id={id}");
        let states = self.ask(reqwest::Method::GET, &path, Value::Null).await.1;
        let state = |state: &Value| (state["state"].as_str().unwrap().to_owned(), state["metadata"].clone());
        states.as_array().unwrap().iter().map(state).collect()
    }

    async fn local(&self, port: &Value, path: &str) -> reqwest::Result<reqwest::Response> {
        self.http.get(format!("http://127.0.0.1:{port}{path}")).send().await
    }
}

/// Processes of this node that serve endpoints.
fn servers(parent: u32) -> Vec<u32> {
    let of_node = |process: &std::fs::DirEntry| {
        let read = |name: &str| std::fs::read_to_string(process.path().join(name)).unwrap_or_default();
        let is_child = read("status").contains(&format!("PPid:\t{parent}\n"));
        is_child && read("cmdline") == "cryptomesh\0serve-endpoint\0" && !read("status").contains("State:\tZ")
    };
    let found = std::fs::read_dir("/proc").unwrap().flatten().filter(of_node);
    found.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect()
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// Waits until a process is gone.
fn gone(pid: u32) {
    let (end, process) = (Instant::now() + PATIENCE, PathBuf::from(format!("/proc/{pid}/status")));
    while std::fs::read_to_string(&process).is_ok_and(|status| !status.contains("State:\tZ")) {
        assert!(Instant::now() < end, "process {pid} is still there");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn an_endpoint_serves_while_it_is_warm() {
    let root = tempfile::tempdir().unwrap();
    let node = start(root.path(), 23_000, &[]);
    let caller = Caller::of(&node);
    let (status, created) = caller.deploy("e").await;
    assert_eq!((status, &created["state"]), (201, &json!("warming")), "{created}");
    let warm = caller.until("e", "warm").await;
    let (req_res, pubsub) = (&warm["req_res_port"], &warm["pubsub_port"]);

    let health: Value = caller.local(req_res, "/health").await.unwrap().json().await.unwrap();
    assert_eq!((&health["endpoint_id"], &health["name"]), (&json!("e"), &json!("e")));
    assert!(health["since"].is_string());
    assert_eq!(caller.local(req_res, "/nothing").await.unwrap().status(), 404);

    // Those who listen are told what is, and then what happens.
    let mut events = caller.local(pubsub, "/events").await.unwrap();
    let (status, _) = caller.post("/functions", json!({ "id": "f", "endpoint_id": "e" })).await;
    assert_eq!(status, 201);
    let mut heard = String::new();
    while !heard.contains(r#"{"function_id":"f","deployment_status":"initiated"}"#) {
        let chunk = tokio::time::timeout(PATIENCE, events.chunk()).await.expect(&heard).unwrap();
        heard += &String::from_utf8_lossy(&chunk.expect(&heard));
    }
    assert!(heard.contains("event: state\n") && heard.contains("event: function\n"), "{heard}");
    let functions: Value = caller.local(req_res, "/functions").await.unwrap().json().await.unwrap();
    assert_eq!(functions, json!(["f"]));

    // It is confined, in a group of its own, and has none of the node's environment.
    let pid = servers(node.pid())[0];
    let proc = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let limits = proc("limits");
    let data = limits.lines().find(|line| line.starts_with("Max data size")).unwrap();
    assert!(data.contains("256000000"), "{data}");
    let environment = proc("environ");
    assert!(environment.contains("ENDPOINT_ID=e\0") && !environment.contains("HOME="), "{environment}");
    let group = proc("stat").rsplit(')').next().unwrap().split_whitespace().nth(2).unwrap().to_owned();
    assert_eq!(group, pid.to_string());
    let data_kb: u64 = {
        let status = proc("status");
        let line = status.lines().find(|line| line.starts_with("VmData")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert!(data_kb < 16 << 10, "a server takes {data_kb} kB, more than the least that it gets");

    let (status, cold) = caller.post("/endpoints/e/detach", json!({})).await;
    assert_eq!((status, &cold["state"]), (200, &json!("cold")), "{cold}");
    let mut rest = String::new();
    while let Ok(Some(chunk)) = tokio::time::timeout(PATIENCE, events.chunk()).await.expect(&rest) {
        rest += &String::from_utf8_lossy(&chunk);
    }
    assert!(caller.local(req_res, "/health").await.is_err(), "a cold endpoint answers");
    gone(pid);
    let states = caller.states("e").await;
    let names: Vec<&str> = states.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(names, ["warming", "warm", "draining", "cold"]);
    assert!(
        states
            .iter()
            .all(|(_, metadata)| metadata["launcher"] == "process" && metadata["runs_image"] == "false")
    );
    assert!(node.stop().success());
}

#[tokio::test]
async fn a_server_that_is_killed_makes_its_endpoint_cold() {
    let root = tempfile::tempdir().unwrap();
    let node = start(root.path(), 23_100, &[]);
    let caller = Caller::of(&node);
    caller.deploy("e").await;
    let first = caller.until("e", "warm").await;
    let killed = servers(node.pid())[0];
    kill(killed);
    let cold = caller.until("e", "cold").await;
    assert!(cold["status"]["reason"].as_str().unwrap().contains("signal 9"), "{cold}");
    let (_, last) = caller.states("e").await.pop().unwrap();
    assert!(last["reason"].as_str().unwrap().contains("signal 9"), "{last}");
    // And nothing stands in the way of another attempt.
    let (status, _) = caller.post("/endpoints/e/deploy", json!({})).await;
    assert_eq!(status, 202);
    let second = caller.until("e", "warm").await;
    assert_eq!(second["req_res_port"], first["req_res_port"], "its ports are not free");
    let deletion = caller.ask(reqwest::Method::DELETE, "/endpoints/detach/e", Value::Null).await;
    assert_eq!(deletion.0, 204);
    assert!(servers(node.pid()).is_empty());
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_at_a_time_two_are_deployed_and_no_two_share_ports() {
    let root = tempfile::tempdir().unwrap();
    let node = start(root.path(), 23_200, &["endpoints.deployed_max=2"]);
    let caller = Caller::of(&node);
    let tasks = cm_runtime::Tasks::new();
    let asked = (0..10).map(|n| {
        let (http, base, token) = (caller.http.clone(), caller.base.clone(), caller.token.clone());
        tasks.spawn("deploy", async move {
            let id = format!("e{n}");
            (Caller { http, base, token }.deploy(&id).await, id)
        })
    });
    let mut outcomes = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        outcomes.push(asked.await.unwrap());
    }
    let deployed: Vec<_> = outcomes.iter().filter(|((status, _), _)| *status == 201).collect();
    assert_eq!(deployed.len(), 2, "{outcomes:?}");
    assert!(outcomes.iter().all(|((status, _), _)| [201, 429].contains(status)), "{outcomes:?}");
    let mut ports = BTreeSet::new();
    for (_, id) in &deployed {
        let warm = caller.until(id, "warm").await;
        ports.extend([warm["req_res_port"].as_u64(), warm["pubsub_port"].as_u64()]);
    }
    assert_eq!(ports.len(), 4, "{ports:?}");
    assert_eq!(servers(node.pid()).len(), 2);
    // Three deployed one after another, the first detached, another deployed: the earlier implementation gave it the
    // ports of a live one.
    let (first, second) = (&deployed[0].1, &deployed[1].1);
    let live = caller.endpoint(second).await;
    assert_eq!(caller.post(&format!("/endpoints/{first}/detach"), json!({})).await.0, 200);
    assert_eq!(caller.deploy("late").await.0, 201);
    let late = caller.until("late", "warm").await;
    assert_ne!(late["req_res_port"], live["req_res_port"]);
    assert_eq!(servers(node.pid()).len(), 2);
    assert!(node.stop().success());
}

#[tokio::test]
async fn endpoints_end_with_their_node_however_it_ends() {
    let root = tempfile::tempdir().unwrap();
    let node = start(root.path(), 23_300, &[]);
    let caller = Caller::of(&node);
    caller.deploy("e").await;
    caller.until("e", "warm").await;
    let server = servers(node.pid())[0];
    node.kill();
    gone(server);

    let node = start(root.path(), 23_300, &[]);
    let caller = Caller::of(&node);
    let cold = caller.endpoint("e").await;
    assert_eq!(
        (&cold["state"], &cold["status"]["reason"]),
        (&json!("cold"), &json!("the node was restarted"))
    );
    assert_eq!(caller.post("/endpoints/e/deploy", json!({})).await.0, 202);
    caller.until("e", "warm").await;
    let server = servers(node.pid())[0];
    assert!(node.stop().success());
    gone(server);

    let node = start(root.path(), 23_300, &[]);
    let cold = Caller::of(&node).endpoint("e").await;
    assert_eq!((&cold["state"], &cold["status"]["reason"]), (&json!("cold"), &json!("the node was stopped")));
    let verified = node.command(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    assert!(node.stop().success());
}

#[tokio::test]
async fn endpoints_are_deployed_from_the_command_line() {
    let root = tempfile::tempdir().unwrap();
    let node = start(root.path(), 23_400, &["endpoints.deployed_max=1"]);
    let json = |arguments: &[&str]| {
        let output = node.command(&[&["--output", "json", "endpoint"], arguments].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let shown: Value = serde_json::from_str(&text).unwrap_or_default();
        (output.status.code(), shown, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, deployed, said) =
        json(&["deploy", "e", "--image", "example/endpoint:1", "--cpu", "1", "--ram", "64MB"]);
    assert_eq!((code, &deployed["state"]), (Some(0), &json!("warm")), "{said}");
    let (code, _, said) = json(&["deploy", "more", "--image", "example/endpoint:1"]);
    assert!(code != Some(0) && said.contains("endpoints.deployed_max"), "{said}");
    let (_, shown, _) = json(&["status", "e"]);
    let states = shown["latest_states"].as_array().unwrap();
    assert_eq!((&states[0]["state"], &states[1]["state"]), (&json!("warm"), &json!("warming")));
    let (code, cold, said) = json(&["detach", "e"]);
    assert_eq!((code, &cold["state"]), (Some(0), &json!("cold")), "{said}");
    assert_eq!(json(&["deploy", "e", "--no-wait"]).0, Some(0));
    assert_eq!(json(&["detach", "e", "--delete"]).0, Some(0));
    assert_eq!(json(&["status", "e"]).0, Some(4));
    assert!(node.stop().success());
}

#[tokio::test]
async fn a_function_is_completed_once_an_instance_was_ready() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let caller = Caller::of(&node);
    let party = enrol(&node, "alice", &["developer", "analyst"]).await;
    let wasm = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
    let program = Program { name: "f", strategy: "JIT", wasm, rights: &[("output", 533_572)] };
    let _instance = instance(&node, &party, program, &[("output", 8198)]).await;
    let function = caller.ask(reqwest::Method::GET, "/functions/f", Value::Null).await.1;
    assert_eq!(function["deployment_status"], "completed", "{function}");
    assert!(node.stop().success());
}

#[test]
fn a_person_is_told_that_the_server_is_not_for_them() {
    let output = cm_e2e::run(&["serve-endpoint"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("started by a node"));
}
