//! A program that loops, allocates or writes for ever ends within its limits, and the node stays responsive.

use std::time::{Duration, Instant};

use cm_client::InstanceConnection;
use cm_e2e::{Node, NodeOptions, PROGRAM_FILE, Party, Program, enrol, instance};

const READ: u32 = 8198;
const WRITE: u32 = 533_572;

const LOOPS: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#;
const ALLOCATES: &str = r#"(module (memory (export "memory") 1)
    (func (export "_start") (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))"#;
/// Opens /output for writing and writes 32 KiB pieces until a write fails, then traps.
const WRITES: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 0) "output")
    (data (i32.const 16) "\00\00\01\00\00\80\00\00")
    (func (export "_start")
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 9)
                (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 32)) (then unreachable))
        (loop (br_if 0 (i32.eqz
            (call $write (i32.load (i32.const 32)) (i32.const 16) (i32.const 1) (i32.const 40)))))
        unreachable))"#;

async fn start(node: &Node, party: &Party, name: &str, wat: &str) -> InstanceConnection {
    let wasm = wat::parse_str(wat).expect("the text is WebAssembly");
    let program = Program { name, strategy: "JIT", wasm, rights: &[("output", WRITE)] };
    instance(node, party, program, &[("output", READ)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_without_end_are_ended_and_the_node_stays_responsive() {
    let root = tempfile::tempdir().unwrap();
    let set = ["instances.run_timeout=2", "instances.memory=32MiB", "instances.storage=8MiB"];
    let options = NodeOptions { set: set.map(str::to_owned).to_vec(), ..NodeOptions::default() };
    let node = Node::start(root.path(), &options);
    let party = enrol(&node, "runner", &["developer", "analyst"]).await;

    let mut loops = start(&node, &party, "loops", LOOPS).await;
    let began = Instant::now();
    let (report, slowest) = tokio::join!(loops.execute(PROGRAM_FILE, Duration::from_secs(600)), async {
        let mut slowest = Duration::ZERO;
        while began.elapsed() < Duration::from_secs(1) {
            let asked = Instant::now();
            party.api.whoami().await.expect("the node answers");
            slowest = slowest.max(asked.elapsed());
        }
        slowest
    });
    assert_eq!(outcome(&report.unwrap()), "limit-exceeded/time");
    assert!(began.elapsed() < Duration::from_secs(30), "the loop ran for {:?}", began.elapsed());
    assert!(slowest < Duration::from_secs(1), "the node took {slowest:?} while a program looped");

    let mut allocates = start(&node, &party, "allocates", ALLOCATES).await;
    let report = allocates.execute(PROGRAM_FILE, Duration::from_secs(60)).await.unwrap();
    assert_eq!(outcome(&report), "limit-exceeded/memory");

    let mut writes = start(&node, &party, "writes", WRITES).await;
    let report = writes.execute(PROGRAM_FILE, Duration::from_secs(60)).await.unwrap();
    assert!(outcome(&report).starts_with("limit-exceeded/"), "{report:?}");
    assert!(node.stop().success());
}

fn outcome(report: &cm_client::ExecutionReport) -> String {
    let outcome = serde_json::to_value(&report.outcome).unwrap();
    format!("{}/{}", outcome["kind"].as_str().unwrap(), outcome["which"].as_str().unwrap_or("-"))
}
