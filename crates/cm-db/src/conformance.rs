//! What every engine has to do, as one suite.
//!
//! `run(|schema| open_memory(schema))` panics with the first promise that is not kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Db, DbError, Direction, KeyPrefix, KeyRange, ReadTx, Row, Schema, Table, Versions, WriteTx};

/// Numbers by name.
pub struct Numbers;

impl Row for u64 {}

impl Table for Numbers {
    const NAME: &'static str = "conformance_numbers";
    type Key = (String, u64);
    type Row = u64;
}

/// A second table with the same keys.
pub struct Others;

impl Table for Others {
    const NAME: &'static str = "conformance_others";
    type Key = (String, u64);
    type Row = u64;
}

/// A table that no schema has.
struct Absent;

impl Table for Absent {
    const NAME: &'static str = "conformance_absent";
    type Key = u64;
    type Row = u64;
}

/// The tables of the suite.
pub fn schema() -> Schema {
    Schema::new(1).with_table::<Numbers>().with_table::<Others>()
}

/// Runs the suite on databases that `make` opens, each of them empty and with the given schema.
///
/// # Panics
/// If the engine breaks a promise, or a runtime cannot be started.
pub fn run(make: impl Fn(&Schema) -> Db) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime can be started");
    runtime.block_on(async {
        rows_are_kept(&make(&schema())).await;
        ranges_are_ordered(&make(&schema())).await;
        failures_undo_only_themselves(&make(&schema())).await;
        batches_keep_callers_apart(&make(&schema())).await;
        look_ups_are_reads(&make(&schema())).await;
        snapshots_stand_still(&make(&schema())).await;
        hooks_follow_the_commit(&make(&schema())).await;
        vanished_callers_harm_nobody(&make(&schema())).await;
        misuse_is_named(&make(&schema())).await;
        changes_are_told(&make(&schema())).await;
        barriers_are_passed(&make(&schema())).await;
        versions_are_kept(&make(&schema())).await;
        closing_finishes_what_is_queued(&make(&schema())).await;
    });
}

fn key(name: &str, number: u64) -> (String, u64) {
    (name.to_owned(), number)
}

async fn write<T: Send + 'static>(
    db: &Db,
    f: impl FnOnce(&mut WriteTx<'_>) -> Result<T, DbError> + Send + 'static,
) -> T {
    db.write(f).await.expect("the write succeeds")
}

async fn read<T: Send + 'static>(
    db: &Db,
    f: impl FnOnce(&ReadTx<'_>) -> Result<T, DbError> + Send + 'static,
) -> T {
    db.read(f).await.expect("the read succeeds")
}

async fn rows_are_kept(db: &Db) {
    write(db, |tx| {
        assert_eq!(tx.get::<Numbers>(&key("a", 1))?, None);
        tx.insert::<Numbers>(&key("a", 1), &10)?;
        assert!(matches!(tx.insert::<Numbers>(&key("a", 1), &11), Err(DbError::Exists { .. })));
        assert_eq!(tx.get::<Numbers>(&key("a", 1))?, Some(10), "a transaction reads its own writes");
        tx.put::<Numbers>(&key("a", 1), &12)?;
        tx.put::<Numbers>(&key("a", 2), &20)?;
        tx.insert_raw::<Numbers>(&key("a", 3), b"\x0130")?;
        assert!(tx.delete::<Numbers>(&key("a", 2))?);
        assert!(!tx.delete::<Numbers>(&key("a", 2))?);
        Ok(())
    })
    .await;
    read(db, |tx| {
        assert_eq!(tx.get::<Numbers>(&key("a", 1))?, Some(12));
        assert_eq!(tx.get::<Numbers>(&key("a", 2))?, None);
        assert_eq!(tx.get::<Numbers>(&key("a", 3))?, Some(30));
        assert_eq!(tx.raw_get::<Numbers>(&key("a", 1))?, Some(b"\x0112".to_vec()));
        let many = [key("a", 3), key("a", 2), key("a", 1), key("a", 3)];
        assert_eq!(tx.get_many::<Numbers>(&many)?, [Some(30), None, Some(12), Some(30)]);
        assert_eq!(tx.get_many::<Numbers>(&[])?, []);
        assert_eq!(tx.get::<Others>(&key("a", 1))?, None, "tables are apart");
        Ok(())
    })
    .await;
    db.check().await.expect("the storage is sound");
}

async fn ranges_are_ordered(db: &Db) {
    write(db, |tx| {
        for (name, number) in [("b", 1), ("a", 300), ("a", 2), ("ab", 5), ("", 9), ("a\0", 7)] {
            tx.insert::<Numbers>(&key(name, number), &number)?;
        }
        Ok(())
    })
    .await;
    read(db, |tx| {
        let check = |range: KeyRange, direction, limit, expected: &[u64]| {
            let rows = tx.range::<Numbers>(range, direction, limit).expect("the range is read");
            assert_eq!(rows.iter().map(|row| row.1).collect::<Vec<_>>(), expected);
        };
        check(KeyRange::all(), Direction::Forward, 99, &[9, 2, 300, 7, 5, 1]);
        check(KeyRange::all(), Direction::Backward, 2, &[1, 5]);
        check(KeyRange::all(), Direction::Forward, 0, &[]);
        check(KeyRange::of(key("a", 2)..key("ab", 5)), Direction::Forward, 99, &[2, 300, 7]);
        check(KeyRange::of(key("a", 3)..=key("ab", 5)), Direction::Backward, 99, &[5, 7, 300]);
        check(KeyRange::of(key("z", 0)..key("b", 0)), Direction::Forward, 99, &[]);
        let a = KeyPrefix::new().part(&"a".to_owned());
        check(KeyRange::prefix(&a), Direction::Forward, 99, &[2, 300]);
        check(KeyRange::prefix(KeyPrefix::new().text("a")), Direction::Backward, 99, &[5, 7, 300, 2]);
        let rest = tx.prefix::<Numbers>(&a, Some(&key("a", 2)), 99)?;
        assert_eq!(rest, [(key("a", 300), 300)]);
        Ok(())
    })
    .await;
}

async fn failures_undo_only_themselves(db: &Db) {
    write(db, |tx| tx.put::<Numbers>(&key("kept", 1), &1)).await;
    let failed: Result<(), DbError> = db
        .write(|tx| {
            tx.put::<Numbers>(&key("kept", 1), &2)?;
            tx.put::<Others>(&key("new", 1), &2)?;
            Err(DbError::Exists { table: "deliberate" })
        })
        .await;
    assert!(matches!(failed, Err(DbError::Exists { table: "deliberate" })));
    let panicked: Result<(), DbError> = db
        .write(|tx| {
            tx.delete::<Numbers>(&key("kept", 1))?;
            std::panic::resume_unwind(Box::new("deliberate"));
        })
        .await;
    assert!(matches!(panicked, Err(DbError::Panicked)));
    let panicked: Result<(), DbError> = db.read(|_| std::panic::resume_unwind(Box::new("deliberate"))).await;
    assert!(matches!(panicked, Err(DbError::Panicked)));
    read(db, |tx| {
        assert_eq!(tx.get::<Numbers>(&key("kept", 1))?, Some(1));
        assert_eq!(tx.get::<Others>(&key("new", 1))?, None);
        Ok(())
    })
    .await;
}

/// Many callers at once, every third of which fails after writing.
async fn batches_keep_callers_apart(db: &Db) {
    let calls = (0..300u64).map(|n| {
        let db = db.clone();
        async move {
            let result: Result<(), DbError> = db
                .write(move |tx| {
                    let sum = tx.get::<Numbers>(&key("sum", 0))?.unwrap_or(0);
                    tx.put::<Numbers>(&key("sum", 0), &(sum + 1))?;
                    tx.insert::<Others>(&key("call", n), &n)?;
                    if n % 3 == 0 { Err(DbError::Closed) } else { Ok(()) }
                })
                .await;
            assert_eq!(result.is_err(), n % 3 == 0);
        }
    });
    join_all(calls.collect()).await;
    read(db, |tx| {
        assert_eq!(tx.get::<Numbers>(&key("sum", 0))?, Some(200));
        let calls = tx.range::<Others>(KeyRange::all(), Direction::Forward, 1000)?;
        let expected: Vec<_> = (0..300).filter(|n| n % 3 != 0).collect();
        assert_eq!(calls.into_iter().map(|call| call.1).collect::<Vec<_>>(), expected);
        Ok(())
    })
    .await;
}

/// Polls all futures to their end, in turn; enough for a suite, and no dependency.
async fn join_all<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut pending: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        pending.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn look_ups_are_reads(db: &Db) {
    let key = ("look".to_owned(), 1);
    for n in 0..100 {
        let row = key.clone();
        db.write(move |tx| tx.put::<Numbers>(&row, &n)).await.expect("a row is written");
        let row = key.clone();
        let found: Result<_, DbError> = db.look_up(move |tx| tx.get::<Numbers>(&row)).await;
        assert_eq!(found.expect("a row is read"), Some(n), "what was answered is seen");
    }
    let refused: Result<(), DbError> = db.look_up(|_| Err(DbError::Closed)).await;
    assert!(matches!(refused, Err(DbError::Closed)), "the closure's own error is returned");
    let panicked: Result<(), DbError> =
        db.look_up(|_| std::panic::resume_unwind(Box::new("deliberate"))).await;
    assert!(matches!(panicked, Err(DbError::Panicked)), "{panicked:?}");
    db.close().await.expect("it can be closed");
    let closed: Result<(), DbError> = db.look_up(|_| Ok(())).await;
    assert!(matches!(closed, Err(DbError::Closed)), "{closed:?}");
}

async fn snapshots_stand_still(db: &Db) {
    write(db, |tx| tx.put::<Numbers>(&key("n", 0), &1)).await;
    let (writing, written) = (db.clone(), db.clone());
    let handle = tokio::runtime::Handle::current();
    let (seen, wait) = std::sync::mpsc::channel::<()>();
    let (begun, begin) = tokio::sync::oneshot::channel();
    let reader = handle.spawn(async move {
        read(&written, move |tx| {
            let before = tx.get::<Numbers>(&key("n", 0))?;
            let _ = begun.send(());
            let _ = wait.recv();
            Ok((before, tx.get::<Numbers>(&key("n", 0))?))
        })
        .await
    });
    begin.await.expect("the reader begins");
    write(&writing, |tx| tx.put::<Numbers>(&key("n", 0), &2)).await;
    assert_eq!(read(db, |tx| tx.get::<Numbers>(&key("n", 0))).await, Some(2), "an answered write is seen");
    seen.send(()).expect("the reader waits");
    assert_eq!(reader.await.expect("the reader ends"), (Some(1), Some(1)), "a snapshot does not move");
}

async fn hooks_follow_the_commit(db: &Db) {
    let ran = Arc::new(AtomicU32::new(0));
    let (one, undone) = (ran.clone(), ran.clone());
    write(db, move |tx| {
        let inner = one.clone();
        tx.on_commit(Box::new(move || {
            inner.fetch_add(1, Ordering::SeqCst);
        }));
        tx.on_commit(Box::new(|| std::panic::resume_unwind(Box::new("deliberate"))));
        assert_eq!(one.load(Ordering::SeqCst), 0, "not before the commit");
        tx.put::<Numbers>(&key("hook", 0), &1)
    })
    .await;
    assert_eq!(ran.load(Ordering::SeqCst), 1, "before the answer");
    let failed: Result<(), DbError> = db
        .write(move |tx| {
            tx.on_commit(Box::new(move || {
                undone.fetch_add(1, Ordering::SeqCst);
            }));
            Err(DbError::Closed)
        })
        .await;
    assert!(failed.is_err());
    write(db, |tx| tx.put::<Numbers>(&key("hook", 0), &2)).await;
    assert_eq!(ran.load(Ordering::SeqCst), 1, "never for what is undone");
}

async fn vanished_callers_harm_nobody(db: &Db) {
    for n in 0..50 {
        let mut call = Box::pin(db.write(move |tx| tx.put::<Numbers>(&key("gone", n), &n)));
        // Polled once, hence queued; then dropped.
        std::future::poll_fn(|cx| {
            let _ = call.as_mut().poll(cx);
            std::task::Poll::Ready(())
        })
        .await;
        drop(call);
    }
    write(db, |tx| tx.put::<Numbers>(&key("there", 0), &0)).await;
    let rows = read(db, |tx| tx.range::<Numbers>(KeyRange::all(), Direction::Forward, 99)).await;
    assert_eq!(rows.len(), 51, "what was queued is done");
}

async fn misuse_is_named(db: &Db) {
    let absent: Result<_, DbError> = db.read(|tx| tx.get::<Absent>(&1)).await;
    assert!(matches!(absent, Err(DbError::UnknownTable { .. })), "{absent:?}");
    let absent: Result<_, DbError> = db.write(|tx| tx.put::<Absent>(&1, &1)).await;
    assert!(matches!(absent, Err(DbError::UnknownTable { .. })), "{absent:?}");
    let long: Result<_, DbError> = db.write(|tx| tx.put::<Numbers>(&key(&"x".repeat(5000), 1), &1)).await;
    assert!(matches!(long, Err(DbError::TooLarge { what: "key", .. })), "{long:?}");
    write(db, |tx| tx.put_raw::<Numbers>(&key("bad", 1), b"\x01x")).await;
    let bad: Result<_, DbError> = db.read(|tx| tx.get::<Numbers>(&key("bad", 1))).await;
    assert!(matches!(bad, Err(DbError::Corrupt(_))), "{bad:?}");
}

async fn changes_are_told(db: &Db) {
    let mut changes = db.changes();
    changes.mark_unchanged();
    write(db, |tx| tx.put::<Numbers>(&key("told", 0), &1)).await;
    changes.changed().await.expect("the database is open");
    assert_eq!(read(db, |tx| tx.get::<Numbers>(&key("told", 0))).await, Some(1), "what is told can be read");
}

async fn barriers_are_passed(db: &Db) {
    for n in 0..10 {
        write(db, move |tx| tx.put::<Numbers>(&key("passed", 0), &n)).await;
        db.barrier().await.expect("the barrier is passed");
        assert_eq!(read(db, |tx| tx.get::<Numbers>(&key("passed", 0))).await, Some(n));
    }
}

async fn versions_are_kept(db: &Db) {
    let expected = Versions { data: 1, compatible_from: 1 };
    assert_eq!(db.versions().await.expect("the versions are read"), expected);
    assert_eq!(db.finish_upgrade().await.expect("the floor is raised"), expected);
}

async fn closing_finishes_what_is_queued(db: &Db) {
    let write = db.write(|tx| tx.put::<Numbers>(&key("last", 0), &1));
    let (written, closed) = tokio::join!(biased; write, db.close());
    assert!(written.is_ok() && closed.is_ok());
    let refused: Result<(), DbError> = db.write(|_| Ok(())).await;
    assert!(matches!(refused, Err(DbError::Closed)));
    let refused: Result<(), DbError> = db.read(|_| Ok(())).await;
    assert!(matches!(refused, Err(DbError::Closed)));
    assert!(db.close().await.is_ok(), "closing twice is fine");
}
