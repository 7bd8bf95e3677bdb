//! Processes of instances: what they hold, when they end, and what is left when they do not come to run.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cm_client::InstanceConnection;
use cm_e2e::{Node, NodeOptions, PROGRAM_FILE, Party, Program, enrol, instance, policy_for};
use cm_types::ResourceKind;
use serde_json::Value;

const READ: u32 = 8198;
const WRITE: u32 = 533_572;
const DEADLINE: Duration = Duration::from_secs(20);

const ENDS: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
const LOOPS: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#;

async fn start(node: &Node, party: &Party, name: &str, wat: &str) -> InstanceConnection {
    let wasm = wat::parse_str(wat).unwrap();
    let program = Program { name, strategy: "JIT", wasm, rights: &[("output", WRITE)] };
    instance(node, party, program, &[("output", READ)]).await
}

/// The processes that descend from one, which must live.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let parent = |process: u32| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("PPid:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let all: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|process| Some((process, parent(process)?)))
        .collect();
    let mut found = vec![pid];
    let mut at = 0;
    while at < found.len() {
        let current = found[at];
        found.extend(all.iter().filter(|(_, parent)| *parent == current).map(|(process, _)| *process));
        at += 1;
    }
    found.split_off(1)
}

/// Whether a process still runs; one that only waits to be reaped does not.
fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
}

fn wait_until_gone(processes: &[u32]) {
    let end = Instant::now() + DEADLINE;
    while processes.iter().any(|pid| alive(*pid)) {
        assert!(Instant::now() < end, "instances outlive their node: {processes:?}");
        std::thread::yield_now();
    }
}

async fn status(party: &Party, id: &str) -> Value {
    let record: Value = party.api.get(&format!("/api/v1/instances/{id}")).await.expect("the record is there");
    record["status"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_does_not_outlive_its_killed_node_even_while_it_computes() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let party = enrol(&node, "party", &["developer", "analyst"]).await;
    let mut loops = start(&node, &party, "loops", LOOPS).await;
    let _idle = start(&node, &party, "idle", ENDS).await;
    let processes = descendants(node.pid());
    assert!(processes.len() >= 2, "two instances are fewer than two processes: {processes:?}");
    let running = loops.execute(PROGRAM_FILE, Duration::from_secs(600));
    let killed = async {
        // The loop counts as begun when its state is told.
        let end = Instant::now() + DEADLINE;
        loop {
            let states: Value = party.api.get("/api/v1/functions/loops/states").await.unwrap();
            if states.to_string().contains("running") {
                break;
            }
            assert!(Instant::now() < end, "the run never began");
        }
        node.signal("KILL");
        wait_until_gone(&processes);
    };
    let (outcome, ()) = tokio::join!(running, killed);
    // An instance that sees its launcher go may still say that it gave the run up, or be gone before it can.
    if let Ok(report) = outcome {
        let ended = serde_json::to_value(&report.outcome).unwrap();
        assert_eq!(ended["kind"], "cancelled", "a run ended otherwise in an instance without its node");
    }
    drop(node);

    // The node that comes back knows that they are gone.
    let node = Node::start(root.path(), &NodeOptions::default());
    let party = Party { api: node.api(Some(party.token.clone())), ..party };
    let left = status(&party, "idle-1").await;
    assert_eq!(left["state"], "failed", "{left}");
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_instances_and_records_it() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let party = enrol(&node, "party", &["developer", "analyst"]).await;
    let _idle = start(&node, &party, "idle", ENDS).await;
    let processes = descendants(node.pid());
    assert!(node.stop().success());
    wait_until_gone(&processes);
    let node = Node::start(root.path(), &NodeOptions::default());
    let party = Party { api: node.api(Some(party.token.clone())), ..party };
    let ended = status(&party, "idle-1").await;
    assert_eq!((&ended["state"], &ended["code"]), (&"exited".into(), &0.into()), "{ended}");
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_holds_two_sockets_and_no_environment() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let party = enrol(&node, "party", &["developer", "analyst"]).await;
    let _idle = start(&node, &party, "idle", ENDS).await;
    for pid in descendants(node.pid()) {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert!(environment.is_empty(), "{}", String::from_utf8_lossy(&environment));
        // Only a privileged process sees them at all.
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
            let text = target.to_string_lossy();
            let known = ["socket:", "/dev/null", "anon_inode:"].iter().any(|kind| text.starts_with(kind));
            assert!(known || text.is_empty(), "process {pid} holds {text}");
        }
    }
    let report = status(&party, "idle-1").await["isolation"].clone();
    let layers = report.as_array().unwrap();
    for layer in layers {
        assert!(layer["active"] == true || layer["reason"].is_string(), "no reason is given: {layer}");
    }
    for name in ["seccomp", "no-new-privileges", "no-capabilities", "not-dumpable", "empty-environment"] {
        let active = layers.iter().any(|layer| layer["name"] == name && layer["active"] == true);
        assert!(active, "{name} does not stand: {report}");
    }
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_range_and_a_taken_name_leave_nothing_behind() {
    let (port, _) = cm_testkit::ports::free(1);
    let root = tempfile::tempdir().unwrap();
    let set = vec![format!("listen.instances=127.0.0.1:{port}-{port}"), "instances.pool=0".to_owned()];
    let node = Node::start(root.path(), &NodeOptions { set, ..NodeOptions::default() });
    let party = enrol(&node, "party", &["developer", "analyst"]).await;
    let mut first = start(&node, &party, "first", ENDS).await;
    let processes = descendants(node.pid());

    for name in ["first-2", "first-1"] {
        let policy = policy_for("first", name, &[(&party, &[("output", READ)])]);
        assert!(party.api.create_instance(&policy).await.is_err(), "{name} was started");
    }
    let listed = node.command(&["list", "instance", "--output", "json"]);
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(descendants(node.pid()), processes);
    assert!(first.execute(PROGRAM_FILE, Duration::from_secs(10)).await.unwrap().succeeded());

    party.api.remove(ResourceKind::Instance, "first-1").await.expect("the instance is ended");
    wait_until_gone(&processes);
    let policy = policy_for("first", "first-2", &[(&party, &[("output", READ)])]);
    party.api.create_instance(&policy).await.expect("the port is free again");
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tampered_module_cache_is_not_trusted() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let party = enrol(&node, "party", &["developer", "analyst"]).await;
    let _first = start(&node, &party, "cached", ENDS).await;
    let cache = || -> Vec<(PathBuf, Vec<u8>)> {
        let files = std::fs::read_dir(node.data_dir().join("modules")).into_iter().flatten().flatten();
        let files = files.map(|file| file.path()).filter(|path| path.extension().is_none());
        files.filter_map(|path| Some((path.clone(), std::fs::read(path).ok()?))).collect()
    };
    let end = Instant::now() + DEADLINE;
    while cache().is_empty() {
        assert!(Instant::now() < end, "nothing was cached");
    }
    let (path, genuine) = cache().remove(0);
    let mut altered = genuine.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    std::fs::write(&path, &altered).unwrap();
    let policy = policy_for("cached", "cached-2", &[(&party, &[("output", READ)])]);
    party.api.create_instance(&policy).await.expect("the program is compiled anew");
    while std::fs::read(&path).unwrap() == altered {
        assert!(Instant::now() < end, "the altered module was used");
    }
    assert!(node.stop().success());
}
