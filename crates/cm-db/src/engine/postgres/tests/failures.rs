//! Servers that go away, and what is told of what was under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// What became of a write: done, not done, or nobody knows.
#[derive(Debug, PartialEq)]
enum Told {
    Done,
    NotDone,
    Unknown,
}

#[tokio::test]
async fn answers_are_true_whenever_connections_are_killed() {
    let database = Server::shared().create_database();
    let db = open(&database);
    let tasks = cm_runtime::Tasks::new();
    let stop = Arc::new(AtomicBool::new(false));
    let mut running = Vec::new();
    for caller in 0..8u64 {
        let (db, stop) = (db.clone(), stop.clone());
        running.push(tasks.spawn("caller", async move {
            let mut told = Vec::new();
            let mut n = caller * 1_000_000;
            while !stop.load(Ordering::Relaxed) {
                let result: Result<(), DbError> = db.write(move |tx| tx.insert::<Numbers>(&key(n), &n)).await;
                told.push((
                    n,
                    match result {
                        Ok(()) => Told::Done,
                        Err(error) => {
                            assert!(error.retryable(), "{error:?}");
                            match error.effect() {
                                Effect::NotDone => Told::NotDone,
                                Effect::Unknown => Told::Unknown,
                            }
                        }
                    },
                ));
                n += 1;
            }
            told
        }));
    }
    // Each time some writes have succeeded since the last.
    let mut changes = db.changes();
    for _ in 0..10 {
        changes.mark_unchanged();
        tokio::time::timeout(DEADLINE, changes.changed()).await.expect("writes go on").unwrap();
        database.terminate_connections();
    }
    stop.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for task in running {
        told.extend(task.await.unwrap());
    }
    let done = told.iter().filter(|(_, told)| *told == Told::Done).count();
    assert!(done > 0);
    for (n, told) in told {
        let found = loop {
            // The connections of the readers may be dead ones, too.
            match db.read(move |tx| tx.get::<Numbers>(&key(n))).await {
                Ok(found) => break found,
                Err(error) => assert!(DbError::retryable(&error), "{error:?}"),
            }
        };
        match told {
            Told::Done => assert_eq!(found, Some(n)),
            Told::NotDone => assert_eq!(found, None),
            Told::Unknown => assert!(found.is_none_or(|found| found == n)),
        }
    }
}

#[tokio::test]
async fn idle_connections_that_were_killed_harm_nobody() {
    let database = Server::shared().create_database();
    let db = open(&database);
    put(&db, 1, 1).await.unwrap();
    for _ in 0..3 {
        assert_eq!(number(&db, 1).await, Some(1));
        database.terminate_connections();
        put(&db, 2, 2).await.expect("the writer connects again");
        for _ in 0..20 {
            assert_eq!(number(&db, 1).await, Some(1), "every reader connects again");
        }
    }
}

#[tokio::test]
async fn a_connection_lost_before_the_commit_means_not_done() {
    let database = Server::shared().create_database();
    let db = open(&database);
    put(&db, 1, 1).await.unwrap();
    let database = Arc::new(database);
    for read_afterwards in [true, false] {
        let killer = database.clone();
        let lost: Result<(), DbError> = db
            .write(move |tx| {
                assert_eq!(tx.get::<Numbers>(&key(1))?, Some(1));
                tx.put::<Numbers>(&key(2), &2)?;
                killer.terminate_connections();
                if read_afterwards {
                    let refused = tx.get::<Numbers>(&key(3));
                    assert!(matches!(refused, Err(DbError::Storage(_))), "{refused:?}");
                }
                Ok(())
            })
            .await;
        let error = lost.unwrap_err();
        assert_eq!(error.effect(), Effect::NotDone, "{error:?}");
        assert!(error.retryable(), "{error:?}");
        assert_eq!(number(&db, 2).await, None);
    }
    put(&db, 2, 2).await.unwrap();
    assert_eq!(number(&db, 2).await, Some(2));
}

#[tokio::test]
async fn a_connection_lost_within_the_commit_means_unknown() {
    let database = Server::shared().create_database();
    let db = open(&database);
    put(&db, 1, 1).await.unwrap();
    // Runs after everything else of the transaction, when the commit has begun.
    database.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON cryptomesh.t_conformance_numbers
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let committing = async {
        let waiting =
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        while database.query(waiting).is_none() {
            tokio::task::yield_now().await;
        }
        // That one alone: who is told of changes goes on.
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event = 'PgSleep'",
        );
    };
    let mut elsewhere = db.changes_elsewhere();
    let first = async { elsewhere.wait_for(|ticks| *ticks > 0).await.map(|ticks| *ticks) };
    let listening = tokio::time::timeout(DEADLINE, first).await.expect("the first change is told").unwrap();
    let (written, ()) =
        tokio::time::timeout(DEADLINE, async { tokio::join!(put(&db, 2, 2), committing) }).await.unwrap();
    let error = written.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "{error:?}");
    assert!(*elsewhere.borrow() > listening, "what may have happened is told");
    database.execute("DROP TRIGGER slow ON cryptomesh.t_conformance_numbers");
    put(&db, 3, 3).await.expect("the writer goes on");
}

#[tokio::test]
async fn a_refused_statement_undoes_the_batch_and_says_so() {
    let database = Server::shared().create_database();
    let db = open(&database);
    database.execute("ALTER TABLE cryptomesh.t_conformance_numbers ADD CHECK (octet_length(v) < 4)");
    let error = put(&db, 1, 1_000_000).await.unwrap_err();
    assert!(matches!(error, DbError::CommitFailed { effect: Effect::NotDone, .. }), "{error:?}");
    assert!(!error.retryable());
    put(&db, 1, 1).await.unwrap();
    assert_eq!(number(&db, 1).await, Some(1));
    // A closure that passes over an error is not told that all is well.
    database.execute("ALTER TABLE cryptomesh.t_conformance_others RENAME TO elsewhere");
    let passed: Result<(), DbError> = db
        .write(|tx| {
            assert!(tx.get::<Others>(&key(1)).is_err());
            assert!(tx.get::<Numbers>(&key(1)).is_err(), "the server has undone the transaction");
            tx.put::<Numbers>(&key(2), &2)
        })
        .await;
    assert!(passed.is_err());
    assert_eq!(number(&db, 2).await, None);
}

#[tokio::test]
async fn a_server_that_is_down_is_told_at_once_and_found_again() {
    let mut server = Server::start_own(&[]);
    let database = server.create_database();
    let db = open(&database);
    for n in 0..10 {
        put(&db, n, n).await.unwrap();
    }
    let mut changes = db.changes();
    server.crash();
    for _ in 0..5 {
        let refused = tokio::time::timeout(DEADLINE, put(&db, 11, 11)).await.expect("no write hangs");
        let error = refused.unwrap_err();
        assert!(error.retryable(), "{error:?}");
        let refused: Result<_, DbError> =
            tokio::time::timeout(DEADLINE, db.read(|tx| tx.get::<Numbers>(&key(1))))
                .await
                .expect("no read hangs");
        assert!(refused.unwrap_err().retryable());
    }
    let unopened = open_postgres(&config(database.url()), &conformance::schema()).unwrap_err();
    assert!(unopened.retryable(), "{unopened:?}");
    changes.mark_unchanged();
    server.restart();
    tokio::time::timeout(DEADLINE, changes.changed()).await.expect("it is found by itself").unwrap();
    for n in 0..10 {
        assert_eq!(number(&db, n).await, Some(n), "what was acknowledged is there");
    }
    put(&db, 11, 11).await.unwrap();
}

#[tokio::test]
async fn who_holds_the_write_lock_for_ever_is_not_waited_for() {
    let database = Arc::new(Server::shared().create_database());
    let config = config(database.url()).statement_timeout(Duration::from_millis(500));
    let db = open_postgres(&config, &conformance::schema()).unwrap();
    let other = open(&database);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (held, holds) = tokio::sync::oneshot::channel();
    let holder = async {
        other
            .write(move |tx| {
                tx.get::<Numbers>(&key(1))?;
                let _ = held.send(());
                let _ = released.recv();
                Ok::<_, DbError>(())
            })
            .await
    };
    let refused = async {
        holds.await.unwrap();
        let refused: Result<(), DbError> = db
            .write(|tx| {
                tx.get::<Numbers>(&key(1))?;
                Ok(())
            })
            .await;
        // Readers do not care.
        assert_eq!(number(&db, 1).await, None);
        release.send(()).unwrap();
        refused
    };
    let (holder, refused) = tokio::join!(holder, refused);
    holder.unwrap();
    let error = refused.unwrap_err();
    assert!(matches!(&error, DbError::Storage(source) if source.class == StorageClass::Busy), "{error:?}");
    assert!(error.retryable());
    put(&db, 1, 1).await.unwrap();
}
