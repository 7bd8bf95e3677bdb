//! Two hundred instances, eight at a time, a tenth of them killed: afterwards nothing is left of any.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cm_e2e::{Node, NodeOptions, Service, VeracruzClient};
use cm_runtime::Tasks;
use cm_types::Timestamp;
use serde_json::{Value, json};

const INSTANCES: usize = 200;
const AT_A_TIME: usize = 8;
/// Every how manieth is killed while it is used.
const KILLED: usize = 10;
const DEADLINE: Duration = Duration::from_secs(30);

/// A program that copies nothing and ends: what is under test is around it.
const PROGRAM: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

/// The certificate that all instances know.
struct User {
    certificate: String,
    key: String,
}

/// The processes that descend from one, which must live.
fn descendants(pid: u32) -> BTreeSet<u32> {
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
    let (mut found, mut new) = (BTreeSet::new(), vec![pid]);
    while let Some(current) = new.pop() {
        let children = all.iter().filter(|(_, parent)| *parent == current).map(|(process, _)| *process);
        new.extend(children.filter(|child| found.insert(*child)));
    }
    found
}

/// How many files the process has open.
fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).unwrap_or_default()
}

/// Files below a directory, apart from the database and its journal.
fn files(root: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(root) else { return 0 };
    let count = |entry: std::fs::DirEntry| match entry.path() {
        path if path.is_dir() => files(&path),
        _ => 1,
    };
    entries.flatten().map(count).sum()
}

/// One life: made, used, perhaps killed while it is used, deleted. What is not killed must do what it is asked.
async fn live(node: &Node, ccfaas: &Service, user: &User, number: usize, killed: &AtomicUsize) {
    let name = format!("i-{number}");
    let policy = json!({
        "function": "f", "instanceid": name,
        "identities": [{ "certificate": user.certificate, "file_rights": [
            { "file_name": "input-0", "rights": 533_572 },
            { "file_name": "program.wasm", "rights": 8198 | 1 << 29 },
        ] }],
    });
    let mut made = ccfaas.post("/instance", &policy).await;
    while made.status != 200 {
        // Its process may have been the one that was killed; then it can be made again.
        assert_eq!(made.status, 500, "{made:?}");
        assert!(killed.load(Ordering::SeqCst) > 0, "nothing was killed, and yet: {made:?}");
        ccfaas.delete(&format!("/instance/{name}")).await.demand(404);
        made = ccfaas.post("/instance", &policy).await;
    }
    if number % KILLED == KILLED - 1 {
        let victim = descendants(node.pid()).pop_last().expect("an instance runs");
        killed.fetch_add(1, Ordering::SeqCst);
        // Gone already is as good.
        let _ = Command::new("kill").args(["-s", "KILL", &victim.to_string()]).output();
    }
    let used = use_once(made.json()["policy"].as_str().unwrap(), user).await;
    if let Err(error) = used {
        assert!(killed.load(Ordering::SeqCst) > 0, "nothing was killed, and yet: {error}");
    }
    ccfaas.delete(&format!("/instance/{name}")).await.demand(200);
}

async fn use_once(policy: &str, user: &User) -> Result<(), String> {
    let mut client = VeracruzClient::connect(policy, &user.certificate, &user.key).await?;
    for answer in [client.write("/input-0", &[7; 10_000]).await?, client.compute("/program.wasm").await?] {
        if !answer.succeeded() {
            return Err(format!("{answer:?}"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_instances_leave_nothing_behind() {
    let (first, last) = cm_testkit::ports::free(u16::try_from(AT_A_TIME).unwrap());
    let root = tempfile::tempdir().unwrap();
    let set = vec![format!("listen.instances=127.0.0.1:{first}-{last}"), "instances.pool=0".to_owned()];
    let node = Arc::new(Node::start(root.path(), &NodeOptions { open: true, set, ..NodeOptions::default() }));
    let ccfaas = Service::of(&node, "ccfaas", None);
    let wasm = wat::parse_str(PROGRAM).unwrap();
    let function = json!({
        "function": "f", "execution_strategy": "Interpretation",
        "programs": [{
            "id": 0, "pi_hash": cm_crypto::digest::sha256(&wasm), "program_file_name": "program.wasm",
            "file_rights": [{ "file_name": "input-0", "rights": 8198 }],
        }],
    });
    ccfaas.post("/function", &function).await.demand(200);
    ccfaas.upload("/function/f/program/program.wasm", "application/wasm", wasm).await.demand(200);
    let now = Timestamp::from(std::time::SystemTime::now());
    let made = cm_crypto::cert::generate_identity("user", now, Duration::from_secs(3600)).unwrap();
    let key = made.private_key_pem().expose().to_owned();
    let user = Arc::new(User { certificate: made.certificate_pem(), key });
    let killed = Arc::new(AtomicUsize::new(0));

    // One life first: whatever is made once is no leak.
    live(&node, &ccfaas, &user, 0, &killed).await;
    let before = (descriptors(node.pid()), files(&node.data_dir().join("modules")));

    let (tasks, next) = (Tasks::new(), Arc::new(AtomicUsize::new(1)));
    let lives = (0..AT_A_TIME).map(|_| {
        let (node, ccfaas, user) = (node.clone(), ccfaas.clone(), user.clone());
        let (next, killed) = (next.clone(), killed.clone());
        tasks.spawn("life", async move {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number > INSTANCES {
                    return;
                }
                live(&node, &ccfaas, &user, number, &killed).await;
            }
        })
    });
    for life in lives.collect::<Vec<_>>() {
        life.await.unwrap();
    }
    assert_eq!(killed.load(Ordering::SeqCst), INSTANCES / KILLED);
    check_nothing_left(&node, &ccfaas, (first, last), before).await;
    let node = Arc::into_inner(node).expect("all lives are over");
    assert!(node.stop().success());
}

async fn check_nothing_left(node: &Node, ccfaas: &Service, ports: (u16, u16), before: (usize, usize)) {
    assert_eq!(ccfaas.get("/instance").await.json(), json!({ "instances": [] }));
    let api = Service::of(node, "api", None);
    assert_eq!(api.get("/api/v1/instances").await.json(), json!([]), "a record was left");
    let end = Instant::now() + DEADLINE;
    loop {
        let processes = descendants(node.pid());
        let taken: Vec<u16> =
            (ports.0..=ports.1).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_err()).collect();
        let now = (descriptors(node.pid()), files(&node.data_dir().join("modules")));
        // Connections of this test may still be open on either side of a count.
        if processes.is_empty() && taken.is_empty() && now.0 <= before.0 + AT_A_TIME && now.1 == before.1 {
            break;
        }
        assert!(
            Instant::now() < end,
            "left: processes {processes:?}, ports {taken:?}, descriptors and files {now:?} after {before:?}"
        );
        std::thread::yield_now();
    }
    let record: Value = api.get("/api/v1/functions/f").await.demand(200).json();
    assert_eq!(record["deployment_status"], "completed");
    ccfaas.delete("/function/f").await.demand(200);
    let metrics = api.get("/metrics").await.demand(200).text;
    assert!(metrics.contains("http_requests_total"), "{metrics}");
}
