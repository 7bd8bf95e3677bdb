//! One altered byte in the log or in a stored chunk is found and named.

use std::path::{Path, PathBuf};

use cm_e2e::{Node, NodeOptions, run};
use cm_types::{BucketName, ObjectKey, ResourceKind};
use serde_json::{Value, json};

fn audit_offline(data_dir: &Path) -> (bool, Value) {
    let dir = data_dir.to_str().unwrap();
    let output = run(&["audit", "verify", "--offline", "--data-dir", dir, "--output", "json"]);
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.success(), report)
}

/// The data directory of a node that wrote some events and stopped.
fn stopped_node(root: &Path) -> PathBuf {
    let node = Node::start(root, &NodeOptions::default());
    for n in 0..20 {
        let name = format!("name=bucket-{n}");
        assert!(node.command(&["create", "bucket", &name]).status.success());
    }
    let data_dir = node.data_dir().to_owned();
    assert!(node.stop().success());
    data_dir
}

#[test]
fn a_log_that_was_not_touched_is_intact_online_and_offline() {
    let root = tempfile::tempdir().unwrap();
    let data_dir = stopped_node(root.path());
    let (intact, report) = audit_offline(&data_dir);
    assert!(intact, "{report}");
    assert!(report["records"].as_u64().unwrap() >= 20);
    let node = Node::start(root.path(), &NodeOptions::default());
    assert!(node.command(&["audit", "verify"]).status.success());
    let held = run(&["audit", "verify", "--offline", "--data-dir", data_dir.to_str().unwrap()]);
    assert!(!held.status.success(), "the directory was read while a node held it");
}

/// Changes the log behind the node's back, and demands that the verification names this record.
fn check(change: &str, named: u64) {
    let root = tempfile::tempdir().unwrap();
    let data_dir = stopped_node(root.path());
    let db = rusqlite::Connection::open(data_dir.join("cryptomesh.db")).unwrap();
    assert!(db.execute(change, []).unwrap() > 0, "{change} changed nothing");
    db.close().unwrap();
    let (intact, report) = audit_offline(&data_dir);
    assert!(!intact, "{change}: {report}");
    let found = report["findings"].as_array().unwrap().iter().any(|finding| finding["seq"] == named);
    assert!(found, "{change} is not named as record {named}: {report}");
}

/// The key of a record, as it is stored.
fn key(seq: u64) -> String {
    format!("x'{seq:016x}'")
}

#[test]
fn an_altered_byte_a_missing_record_and_an_exchange_are_named() {
    let row = key(12);
    // The last byte of the JSON is a brace; a space is no less valid a byte.
    check(
        &format!(
            "UPDATE t_events SET v = CAST(substr(v, 1, length(v) - 1) || x'20' AS BLOB) WHERE k = {row}"
        ),
        12,
    );
    check(&format!("DELETE FROM t_events WHERE k = {row}"), 12);
    let (a, b) = (key(12), key(13));
    check(
        &format!(
            "UPDATE t_events SET v = (SELECT other.v FROM t_events AS other WHERE other.k =
             CASE t_events.k WHEN {a} THEN {b} ELSE {a} END) WHERE k IN ({a}, {b})"
        ),
        12,
    );
}

#[test]
fn a_log_that_lost_its_end_is_found() {
    let root = tempfile::tempdir().unwrap();
    let data_dir = stopped_node(root.path());
    let db = rusqlite::Connection::open(data_dir.join("cryptomesh.db")).unwrap();
    let last: i64 = db.query_row("SELECT count(*) FROM t_events", [], |row| row.get(0)).unwrap();
    let change = format!("DELETE FROM t_events WHERE k = {}", key(last as u64));
    assert_eq!(db.execute(&change, []).unwrap(), 1);
    db.close().unwrap();
    let (intact, report) = audit_offline(&data_dir);
    assert!(!intact, "{report}");
    assert!(report["findings"].to_string().contains(&last.to_string()), "{report}");
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_altered_chunk_is_not_served_and_is_named() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let admin = node.admin();
    let (bucket, key) = (BucketName::parse("box").unwrap(), ObjectKey::parse("three/chunks").unwrap());
    admin.create(ResourceKind::Bucket, &json!({ "name": "box" })).await.unwrap();
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let source = std::io::Cursor::new(content.clone());
    admin.put_object(&bucket, &key, source, Some(content.len() as u64), None).await.unwrap();
    assert!(node.command(&["object", "verify"]).status.success());

    let chunk = files(&node.data_dir().join("objects/chunks"))
        .into_iter()
        .max_by_key(|path| std::fs::metadata(path).map(|file| file.len()).unwrap_or_default());
    let chunk = chunk.expect("the object has chunks");
    let mut bytes = std::fs::read(&chunk).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&chunk, bytes).unwrap();

    let output = node.command(&["object", "verify", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let digest = chunk.file_name().unwrap().to_str().unwrap();
    for part in ["three/chunks", "box", digest] {
        assert!(report.contains(part), "{part} is not named: {report}");
    }
    let mut download = admin.get_object(&bucket, &key).await.unwrap();
    let mut received = Vec::new();
    let failed = loop {
        match download.next().await {
            Ok(Some(part)) => received.extend_from_slice(&part),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(failed, "a damaged object was served as if it were whole");
    assert!(content.starts_with(&received), "altered bytes were served");
}
