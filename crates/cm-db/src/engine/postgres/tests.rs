//! What several processes on one real server promise each other. A process is a handle of its own here.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use cm_testkit::postgres::{Database, Server};

use super::*;
use crate::conformance::{self, Numbers, Others};
use crate::{
    Db, DbError, Direction, Effect, KeyRange, Schema, StorageClass, Versions, WriteTx, open_memory,
    open_postgres,
};

mod failures;
mod upgrades;

/// Longest that a condition may take to come about on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn key(number: u64) -> (String, u64) {
    ("n".to_owned(), number)
}

fn config(url: &str) -> PostgresConfig {
    PostgresConfig::parse(url, None).unwrap()
}

fn open(database: &Database) -> Db {
    open_postgres(&config(database.url()), &conformance::schema()).unwrap()
}

async fn number(db: &Db, n: u64) -> Option<u64> {
    db.read(move |tx| tx.get::<Numbers>(&key(n))).await.unwrap_or_else(|error: DbError| panic!("{error:?}"))
}

async fn put(db: &Db, n: u64, value: u64) -> Result<(), DbError> {
    db.write(move |tx| tx.put::<Numbers>(&key(n), &value)).await
}

/// Waits until the changes told by the receiver make the condition hold.
async fn until<F: AsyncFnMut() -> bool>(changes: &mut watch::Receiver<u64>, mut holds: F) {
    let waiting = async {
        while !holds().await {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("the change is told");
}

#[test]
fn postgres_conforms() {
    let databases = Mutex::new(Vec::new());
    conformance::run(|schema| {
        let database = Server::shared().create_database();
        let db = open_postgres(&config(database.url()), schema).unwrap();
        databases.lock().unwrap().push(database);
        db
    });
}

#[tokio::test]
async fn two_processes_lose_no_update() {
    let database = Server::shared().create_database();
    let handles = [open(&database), open(&database)];
    let tasks = cm_runtime::Tasks::new();
    let mut running = Vec::new();
    for caller in 0..16 {
        let db = handles[caller % 2].clone();
        running.push(tasks.spawn("caller", async move {
            for _ in 0..25 {
                let add = |tx: &mut WriteTx<'_>| {
                    let sum = tx.get::<Numbers>(&key(0))?.unwrap_or(0);
                    // Numbers without gaps, as those of the event log.
                    tx.insert::<Others>(&key(sum + 1), &1)?;
                    tx.put::<Numbers>(&key(0), &(sum + 1))
                };
                db.write(add).await.unwrap_or_else(|error: DbError| panic!("{error:?}"));
            }
        }));
    }
    for task in running {
        task.await.unwrap();
    }
    for db in &handles {
        assert_eq!(number(db, 0).await, Some(400));
        let rows: Result<_, DbError> =
            db.read(|tx| tx.range::<Others>(KeyRange::all(), Direction::Backward, 1000)).await;
        assert_eq!(rows.unwrap().len(), 400);
    }
}

#[tokio::test]
async fn a_change_wakes_those_who_wait_in_another_process() {
    let database = Server::shared().create_database();
    let (here, there) = (open(&database), open(&database));
    let mut changes = there.changes();
    for value in 1..=5 {
        changes.mark_unchanged();
        put(&here, 0, value).await.unwrap();
        until(&mut changes, async || number(&there, 0).await == Some(value)).await;
    }
    assert!(*there.changes_elsewhere().borrow() >= 5, "another process did all of that");
    assert!(*here.changes_elsewhere().borrow() < 5, "what a process does itself comes from nowhere else");
    // Also what happened while nobody could be told.
    let listening =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    assert_eq!(database.query(listening).as_deref(), Some("2"));
    changes.mark_unchanged();
    database.terminate_connections();
    changes.mark_unchanged();
    // The handle's own connections are made again as they are needed; one try may meet a dead one.
    let mut written = put(&here, 0, 6).await;
    while written.is_err() {
        written = put(&here, 0, 6).await;
    }
    until(&mut changes, async || number(&there, 0).await == Some(6)).await;
}

/// Asking whether the connection is still there passes over what is told at that moment, hence counts as a change.
#[tokio::test]
async fn no_change_is_lost_while_a_silent_connection_is_asked() {
    let database = Server::shared().create_database();
    let other = open(&database);
    let config = config(database.url());
    let (ticks, stop) = (Ticks::new(), watch::Sender::new(false));
    let listener = Listener {
        shared: Arc::new(Shared::new(config.clone(), config.make_tls().unwrap())),
        ticks: ticks.clone(),
        stop: stop.subscribe(),
        name: "nobody".to_owned(),
        // Asks all the time.
        ask_every: Duration::ZERO,
    };
    spawn_thread("listener".into(), move || {
        let link = listener.connect().unwrap();
        listener.run(link);
    })
    .unwrap();
    let mut changes = ticks.elsewhere.subscribe();
    for value in 0..50 {
        changes.mark_unchanged();
        put(&other, 0, value).await.unwrap();
        tokio::time::timeout(DEADLINE, changes.changed()).await.expect("the change is told").unwrap();
    }
    stop.send_replace(true);
}

#[tokio::test]
async fn closing_ends_every_connection() {
    let database = Server::shared().create_database();
    let db = open(&database);
    put(&db, 1, 1).await.unwrap();
    assert_eq!(number(&db, 1).await, Some(1));
    db.close().await.unwrap();
    let dropped = open(&database);
    put(&dropped, 1, 2).await.unwrap();
    drop(dropped);
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let ended = async {
        while database.query(others).as_deref() != Some("0") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.expect("no connection is left");
}

/// More than a transaction keeps in memory, in rows and in bytes.
#[tokio::test]
async fn a_large_transaction_is_sent_in_parts_and_committed_at_once() {
    let database = Server::shared().create_database();
    let db = open(&database);
    let fill = |tx: &mut WriteTx<'_>| {
        for n in 0..20_000 {
            tx.insert::<Numbers>(&key(n), &n)?;
        }
        let text = format!("\u{1}{}", "7".repeat(1 << 20));
        for n in 0..12 {
            tx.put_raw::<Others>(&key(n), text.as_bytes())?;
        }
        assert!(tx.delete::<Numbers>(&key(5))?);
        assert_eq!(tx.range::<Numbers>(KeyRange::of(key(4)..), Direction::Forward, 2)?.len(), 2);
        Ok(())
    };
    let undone: Result<(), DbError> = db.write(move |tx| fill(tx).and(Err(DbError::Closed))).await;
    assert!(matches!(undone, Err(DbError::Closed)));
    let none: Result<_, DbError> =
        db.read(|tx| tx.range::<Numbers>(KeyRange::all(), Direction::Forward, 1)).await;
    assert_eq!(none.unwrap(), []);
    db.write(fill).await.unwrap_or_else(|error: DbError| panic!("{error:?}"));
    // The next batch finds what was sent.
    let looked = db.write(|tx| {
        assert_eq!(tx.get::<Numbers>(&key(4))?, Some(4));
        assert_eq!(tx.get::<Numbers>(&key(5))?, None);
        Ok::<_, DbError>(tx.range::<Numbers>(KeyRange::all(), Direction::Forward, usize::MAX)?.len())
    });
    assert_eq!(looked.await.unwrap(), 19_999);
    db.check().await.unwrap();
}

#[tokio::test]
async fn a_backup_goes_from_engine_to_engine_unchanged() {
    let (first, second) = (Server::shared().create_database(), Server::shared().create_database());
    let from = open(&first);
    let fill = |tx: &mut WriteTx<'_>| {
        (0..3000).try_for_each(|n| tx.insert::<Numbers>(&(format!("a\0{}", n % 7), n), &n))
    };
    from.write(fill).await.unwrap_or_else(|error: DbError| panic!("{error:?}"));
    let (bytes, summary) = from.export(Vec::new()).await.unwrap();
    assert_eq!((summary.tables, summary.rows), (2, 3000));
    let memory = open_memory(&conformance::schema());
    memory.import(std::io::Cursor::new(bytes.clone())).await.unwrap();
    assert_eq!(memory.export(Vec::new()).await.unwrap().0, bytes);
    let to = open(&second);
    let mut altered = bytes.clone();
    let at = altered.len() - 40;
    altered[at] ^= 1;
    assert!(matches!(to.import(std::io::Cursor::new(altered)).await, Err(DbError::Backup(_))));
    to.import(std::io::Cursor::new(bytes.clone())).await.unwrap();
    assert_eq!(to.export(Vec::new()).await.unwrap().0, bytes);
    let refused = to.import(std::io::Cursor::new(bytes)).await;
    assert!(matches!(refused, Err(DbError::NotEmpty { .. })), "{refused:?}");
}

/// A certificate for `localhost` and its key, both also their own root.
fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[test]
fn tls_proves_what_the_mode_promises() {
    let (pem, key) = certificate();
    let server = Server::start_own_with_tls(&pem, &key);
    let database = server.create_database();
    let dir = tempfile::tempdir().unwrap();
    let (right, wrong) = (dir.path().join("right.pem"), dir.path().join("wrong.pem"));
    std::fs::write(&right, &pem).unwrap();
    std::fs::write(&wrong, certificate().0).unwrap();
    let check = |host: &str, mode: &str, root: Option<&Path>, accepted: bool| {
        let url = format!("{}?sslmode={mode}", database.url().replace("127.0.0.1", host));
        let opened = open_postgres(&PostgresConfig::parse(&url, root).unwrap(), &conformance::schema());
        assert_eq!(opened.is_ok(), accepted, "{mode} to {host}: {opened:?}");
        opened.ok()
    };
    for mode in ["verify-full", "verify-ca", "require"] {
        check("localhost", mode, Some(&wrong), false);
        let open = check("localhost", mode, Some(&right), true);
        let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
             WHERE datname = current_database() AND application_name = 'cryptomesh'";
        assert_eq!(database.query(encrypted).as_deref(), Some("t"), "{mode}");
        drop(open);
    }
    check("127.0.0.1", "verify-full", Some(&right), false);
    check("127.0.0.1", "verify-ca", Some(&right), true);
    check("localhost", "require", None, true);
    check("localhost", "prefer", Some(&wrong), true);
    check("localhost", "disable", None, true);
    let missing = dir.path().join("missing.pem");
    check("localhost", "verify-full", Some(&missing), false);
}
