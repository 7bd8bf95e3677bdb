use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::conformance::{self, Numbers};
use crate::{Schema, open_sqlite};

fn key(number: u64) -> (String, u64) {
    ("n".to_owned(), number)
}

#[test]
fn sqlite_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let count = AtomicU32::new(0);
    conformance::run(|schema| {
        let name = format!("{}.db", count.fetch_add(1, Ordering::SeqCst));
        open_sqlite(&dir.path().join(name), schema).unwrap()
    });
}

#[tokio::test]
async fn acknowledged_writes_are_there_after_opening_again_without_closing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let db = open_sqlite(&path, &conformance::schema()).unwrap();
    for n in 0..20 {
        db.write(move |tx| tx.insert::<Numbers>(&key(n), &n)).await.unwrap();
    }
    // What a crash would leave: the files as they are at this moment, the log not yet moved.
    let after = tempfile::tempdir().unwrap();
    for name in ["a.db", "a.db-wal"] {
        std::fs::copy(dir.path().join(name), after.path().join(name)).unwrap();
    }
    for path in [&path, &after.path().join("a.db")] {
        let again = open_sqlite(path, &conformance::schema()).unwrap();
        let rows =
            again.read(|tx| tx.range::<Numbers>(KeyRange::all(), Direction::Forward, 99)).await.unwrap();
        assert_eq!(rows.len(), 20);
        again.check().await.unwrap();
    }
}

#[tokio::test]
async fn files_are_private_and_closing_moves_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let db = open_sqlite(&path, &conformance::schema()).unwrap();
    db.write(|tx| tx.insert::<Numbers>(&key(1), &1)).await.unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
    db.close().await.unwrap();
    let wal = dir.path().join("a.db-wal");
    assert!(std::fs::metadata(wal).map_or(0, |meta| meta.len()) == 0);
}

#[test]
fn newer_and_foreign_and_damaged_files_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let refused = |path: &Path| open_sqlite(path, &Schema::new(1)).unwrap_err();

    drop(open_sqlite(&path, &Schema::new(2)).unwrap());
    let error = refused(&path);
    assert!(matches!(error, DbError::NewerData { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("start the version of the program that wrote the data"));

    let text = dir.path().join("text");
    std::fs::write(&text, "no database at all, but long enough to be one").unwrap();
    std::fs::set_permissions(&text, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(refused(&text), DbError::Foreign { .. }));
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("no database"));
    assert_eq!(std::fs::metadata(&text).unwrap().permissions().mode() & 0o777, 0o644);

    let other = dir.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE x (y)").unwrap();
    assert!(matches!(refused(&other), DbError::Foreign { .. }));

    let damaged = dir.path().join("damaged.db");
    std::fs::write(&damaged, [MAGIC.as_slice(), &[0xa5; 4080]].concat()).unwrap();
    let error = refused(&damaged);
    assert!(matches!(error, DbError::Corrupt(_)), "{error:?}");

    let missing = dir.path().join("no/such/dir.db");
    assert!(matches!(refused(&missing), DbError::Storage(_)));
}

#[tokio::test]
async fn a_check_finds_a_damaged_page() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let db = open_sqlite(&path, &conformance::schema()).unwrap();
    for batch in 0..20u64 {
        let insert = move |tx: &mut crate::WriteTx<'_>| {
            (0..500).try_for_each(|n| tx.insert::<Numbers>(&key(batch * 500 + n), &n))
        };
        db.write(insert).await.unwrap();
    }
    db.close().await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 64].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let db = open_sqlite(&path, &conformance::schema()).unwrap();
    assert!(matches!(db.check().await, Err(DbError::Corrupt(_))));
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let engine = SqliteEngine::open(&dir.path().join("a.db")).unwrap();
    let mut connection = engine.connect().unwrap();
    connection.pragma_update(None, "max_page_count", 20).unwrap();
    connection.execute_batch("CREATE TABLE t_x (k BLOB PRIMARY KEY, v BLOB NOT NULL)").unwrap();
    let mut writer = SqliteConnection(connection);
    let error = writer
        .transaction(Pace::Short, &mut |store| {
            store.put("x", b"small", b"1")?;
            store.put("x", b"large", &vec![7; 1 << 20])
        })
        .unwrap_err();
    assert!(matches!(&error, DbError::Storage(source) if source.class == StorageClass::Full), "{error:?}");
    connection = writer.0;
    let rows: i64 = connection.query_row("SELECT count(*) FROM t_x", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
}
