//! What the node's operator can see: with data directory, logs and environment in hand, no plaintext of inputs or
//! results; and no unprivileged process reads an instance's memory.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cm_crypto::seal::RecipientSecretKey;
use cm_e2e::{Node, NodeOptions, PROGRAM_FILE, Program, enrol, instance};
use cm_types::{BucketName, ObjectKey, ResourceKind};
use serde_json::json;

const READ: u32 = 8198;
const WRITE: u32 = 533_572;
/// The user and group that own nothing.
const NOBODY: u32 = 65_534;

/// Reads up to 4 KiB of /input-0, adds 1 to each byte, and writes them to /output.
const SHIFTS: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "input-0")
    (data (i32.const 8) "output")
    (func (export "_start") (local $at i32)
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 0)
                (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 32)) (then unreachable))
        (i32.store (i32.const 16) (i32.const 1024))
        (i32.store (i32.const 20) (i32.const 4096))
        (if (call $read (i32.load (i32.const 32)) (i32.const 16) (i32.const 1) (i32.const 20)) (then unreachable))
        (loop
            (i32.store8 (i32.add (i32.const 1024) (local.get $at))
                (i32.add (i32.const 1) (i32.load8_u (i32.add (i32.const 1024) (local.get $at)))))
            (br_if 0 (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.load (i32.const 20)))))
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 6) (i32.const 9)
                (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 36)) (then unreachable))
        (if (call $write (i32.load (i32.const 36)) (i32.const 16) (i32.const 1) (i32.const 40)) (then unreachable))))"#;

/// Files below `dir` that hold any of the needles.
fn files_with(dir: &Path, needles: &[&[u8]]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            found.extend(files_with(&path, needles));
        } else if let Ok(bytes) = std::fs::read(&path) {
            let holds = |needle: &&[u8]| bytes.windows(needle.len()).any(|window| window == *needle);
            if needles.iter().any(holds) {
                found.push(path);
            }
        }
    }
    found
}

/// The processes below `pid`.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return found };
    for task in tasks.flatten() {
        let mut children = String::new();
        if let Ok(mut file) = std::fs::File::open(task.path().join("children")) {
            let _ = file.read_to_string(&mut children);
        }
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}

/// Whether a process without privileges can read a file.
fn unprivileged_reads(path: &str) -> bool {
    let mut command = Command::new("head");
    command.args(["-c", "1", path]);
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().expect("`head` can be run");
    output.status.success() && !output.stdout.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_finds_no_plaintext() {
    let root = tempfile::tempdir().unwrap();
    let options = NodeOptions { set: vec!["log.level=trace".to_owned()], ..NodeOptions::default() };
    let node = Node::start(root.path(), &options);
    let party = enrol(&node, "party", &["developer", "analyst"]).await;
    let canary = cm_crypto::secret::random_token();
    let input = format!("the canary sings {}", canary.expose());
    let result: Vec<u8> = input.bytes().map(|byte| byte + 1).collect();
    // As bytes, and as they would be in a row of the database.
    let rows = [BASE64_STANDARD.encode(&input), BASE64_STANDARD.encode(&result)];
    let needles = [input.as_bytes(), &result, rows[0].as_bytes(), rows[1].as_bytes()];

    // The input rests sealed in the node's store.
    let bucket = BucketName::parse("canaries").unwrap();
    let key = ObjectKey::parse("sealed").unwrap();
    let secret = RecipientSecretKey::generate();
    party.api.create(ResourceKind::Bucket, &json!({ "name": bucket.as_str() })).await.unwrap();
    let source = std::io::Cursor::new(input.clone().into_bytes());
    let recipients = vec![secret.public_key()];
    party.api.put_object_sealed(&bucket, &key, source, None, recipients, None).await.unwrap();

    let program = Program {
        name: "shift",
        strategy: "Interpretation",
        wasm: wat::parse_str(SHIFTS).unwrap(),
        rights: &[("input-0", READ), ("output", WRITE)],
    };
    let mut inside = instance(&node, &party, program, &[("input-0", WRITE), ("output", READ)]).await;
    inside.write_file("input-0", input.as_bytes()).await.unwrap();
    let report = inside.execute(PROGRAM_FILE, Duration::from_secs(60)).await.unwrap();
    assert!(report.succeeded(), "{report:?}");
    assert_eq!(inside.read_file("output").await.unwrap(), result);

    // While the instance holds both in memory: nothing on disk, in the log, in any environment.
    assert_eq!(files_with(root.path(), &needles), Vec::<PathBuf>::new());
    let instances = descendants(node.pid());
    assert!(!instances.is_empty(), "no instance process was found");
    for pid in instances.iter().copied().chain([node.pid()]) {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert!(!environment.windows(16).any(|window| input.as_bytes().starts_with(window)));
    }
    for pid in &instances {
        for file in ["maps", "mem", "environ"] {
            assert!(
                !unprivileged_reads(&format!("/proc/{pid}/{file}")),
                "{file} of instance {pid} is readable"
            );
        }
    }

    // The search can fail: the same bytes stored without sealing are found, in the very same places.
    let padded = format!("{input}{}", " ".repeat(1 << 20)).into_bytes();
    for (name, bytes) in [("open-row", input.clone().into_bytes()), ("open-chunk", padded)] {
        let before = files_with(root.path(), &needles).len();
        let open = ObjectKey::parse(name).unwrap();
        party.api.put_object(&bucket, &open, std::io::Cursor::new(bytes), None, None).await.unwrap();
        assert!(
            files_with(root.path(), &needles).len() > before,
            "the search does not find plaintext that is there: {name}"
        );
    }
    assert!(unprivileged_reads("/proc/self/maps"), "the probe cannot read anything at all");
}
