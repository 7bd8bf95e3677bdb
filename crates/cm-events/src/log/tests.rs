use std::time::Duration;

use cm_db::{PostgresConfig, Schema, open_memory, open_postgres, open_sqlite};
use cm_runtime::ManualClock;
use cm_types::TenantId;

use super::*;
use crate::{EventVerb, TABLES};

fn schema() -> Schema {
    Schema::new(1).with_tables(TABLES)
}

fn event(verb: &'static str) -> NewEvent {
    NewEvent::new(TenantId::default_tenant(), EventVerb::fixed(verb))
}

async fn append(db: &Db, log: &EventLog, verb: &'static str) -> Result<u64, EventError> {
    let log = log.clone();
    db.write(move |tx| log.append(tx, event(verb))).await
}

#[tokio::test]
async fn events_are_numbered_announced_and_survive_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let (clock, signer) = (ManualClock::new(), SigningKey::generate());
    let db = open_sqlite(&path, &schema()).unwrap();
    let log = EventLog::open(&db, Arc::new(clock.clone()), signer.clone()).await.unwrap();
    let mut head = log.head();
    assert_eq!(*head.borrow_and_update(), 0);
    assert_eq!(append(&db, &log, "a.one").await.unwrap(), 1);
    clock.advance(Duration::from_secs(1));
    assert_eq!(append(&db, &log, "a.two").await.unwrap(), 2);
    assert!(head.has_changed().unwrap());
    assert_eq!(*head.borrow_and_update(), 2);
    db.close().await.unwrap();

    let db = open_sqlite(&path, &schema()).unwrap();
    let log = EventLog::open(&db, Arc::new(clock), signer.clone()).await.unwrap();
    assert_eq!(*log.head().borrow(), 2);
    assert_eq!(append(&db, &log, "a.three").await.unwrap(), 3);
    let reading = log.clone();
    let page = db.read(move |tx| reading.page(tx, 1, PageLimit::default(), &EventFilter::default()));
    let page: Page<Event> = page.await.unwrap();
    assert_eq!(page.items.iter().map(|e| e.seq).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(page.items[0].at.to_string(), "2024-01-01T00:00:01Z");
    assert_eq!(page.next, None);
    let keys = log.verifying_keys().clone();
    let verified: Result<_, EventError> = db.read(move |tx| EventLog::verify(tx, &keys, None)).await;
    assert_eq!(verified.unwrap().records, 3);

    let stranger = EventLog::open(&db, Arc::new(ManualClock::new()), SigningKey::generate()).await;
    assert!(matches!(stranger, Err(EventError::Broken(Finding { what: What::Forged, .. }))));
}

#[tokio::test]
async fn an_undone_append_leaves_no_trace() {
    let db = open_memory(&schema());
    let log = EventLog::open(&db, Arc::new(ManualClock::new()), SigningKey::generate()).await.unwrap();
    append(&db, &log, "a.one").await.unwrap();
    let undone = log.clone();
    let result: Result<(), EventError> = db
        .write(move |tx| {
            assert_eq!(undone.append(tx, event("a.two"))?, 2);
            assert_eq!(undone.append(tx, event("a.three"))?, 3);
            Err(DbError::Closed.into())
        })
        .await;
    assert!(result.is_err());
    assert_eq!(*log.head().borrow(), 1);
    assert_eq!(append(&db, &log, "a.four").await.unwrap(), 2);
    let keys = log.verifying_keys().clone();
    let verified: Result<_, EventError> = db.read(move |tx| EventLog::verify(tx, &keys, None)).await;
    assert_eq!(verified.unwrap().records, 2);
}

#[tokio::test]
async fn pages_filter_and_continue() {
    let db = open_memory(&schema());
    let log = EventLog::open(&db, Arc::new(ManualClock::new()), SigningKey::generate()).await.unwrap();
    let appending = log.clone();
    let fill = move |tx: &mut WriteTx<'_>| {
        for n in 0..1300 {
            let verb = if n % 500 == 0 { "rare.thing" } else { "common.thing" };
            appending.append(tx, event(verb))?;
        }
        Ok::<_, EventError>(())
    };
    db.write(fill).await.unwrap();
    let check = async |after, limit, verb_prefix: Option<&str>, expected: &[u64], next: Option<&str>| {
        let filter = EventFilter { verb_prefix: verb_prefix.map(str::to_owned), ..Default::default() };
        let log = log.clone();
        let page = db.read(move |tx| log.page(tx, after, PageLimit::clamped(limit), &filter)).await;
        let page: Page<Event> = page.unwrap_or_else(|error: EventError| panic!("{error}"));
        assert_eq!(page.items.iter().map(|e| e.seq).collect::<Vec<_>>(), expected);
        assert_eq!(page.next, next.map(|next| Cursor(next.to_owned())));
    };
    check(0, 2, None, &[1, 2], Some("2")).await;
    check(1298, 2, None, &[1299, 1300], None).await;
    check(1300, 2, None, &[], None).await;
    check(0, 2, Some("rare."), &[1, 501], Some("501")).await;
    check(501, 2, Some("rare."), &[1001], None).await;
    check(0, 9, Some("no."), &[], None).await;
}

#[tokio::test]
async fn a_log_that_was_tampered_with_at_its_end_is_not_extended() {
    let db = open_memory(&schema());
    let log = EventLog::open(&db, Arc::new(ManualClock::new()), SigningKey::generate()).await.unwrap();
    append(&db, &log, "a.one").await.unwrap();
    append(&db, &log, "a.two").await.unwrap();
    let check = async |tamper: fn(&mut WriteTx<'_>) -> Result<(), EventError>, expected| {
        let log = log.clone();
        let result: Result<u64, EventError> = db
            .write(move |tx| {
                tamper(tx)?;
                log.append(tx, event("a.three"))
            })
            .await;
        match result {
            Err(EventError::Broken(finding)) => assert_eq!(finding.what, expected),
            other => panic!("{other:?}"),
        }
    };
    check(|tx| Ok(tx.insert_raw::<Records>(&3, b"extra")?), What::Extra).await;
    check(|tx| Ok(tx.put_raw::<HeadTable>(&(), b"\x01nonsense")?), What::Forged).await;
    let all = |tx: &mut WriteTx<'_>| {
        tx.delete::<HeadTable>(&())?;
        tx.delete::<Records>(&1)?;
        tx.delete::<Records>(&2)?;
        Ok(())
    };
    check(all, What::RolledBack).await;
    assert_eq!(append(&db, &log, "a.three").await.unwrap(), 3);
}

/// Two nodes on one database: one chain, each sees what the other wrote, and each notices when it is cut.
#[tokio::test]
async fn several_nodes_write_one_log() {
    let database = cm_testkit::postgres::Server::shared().create_database();
    let config = PostgresConfig::parse(database.url(), None).unwrap();
    let signer = SigningKey::generate();
    let tasks = Tasks::new();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let db = open_postgres(&config, &schema()).unwrap();
        let log = EventLog::open(&db, Arc::new(ManualClock::new()), signer.clone()).await.unwrap();
        log.follow(&db, &tasks);
        nodes.push((db, log));
    }
    let mut heads = [nodes[0].1.head(), nodes[1].1.head()];
    let until = async |head: &mut watch::Receiver<u64>, seq| {
        let reached = head.wait_for(|head| *head >= seq);
        assert_eq!(*tokio::time::timeout(Duration::from_secs(60), reached).await.unwrap().unwrap(), seq);
    };
    for seq in 1..=10 {
        let (db, log) = &nodes[usize::from(seq % 3 == 0)];
        assert_eq!(append(db, log, "a.thing").await.unwrap(), seq);
        for head in &mut heads {
            until(head, seq).await;
        }
    }
    let appending = nodes.iter().cycle().take(20).map(|(db, log)| append(db, log, "a.race"));
    let mut numbers = Vec::new();
    for appended in futures_in_turn(appending.collect()).await {
        numbers.push(appended.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (11..=30).collect::<Vec<_>>(), "numbers without gaps, whoever writes");
    for head in &mut heads {
        until(head, 30).await;
    }
    let keys = nodes[0].1.verifying_keys().clone();
    let verified: Result<_, EventError> = nodes[1].0.read(move |tx| EventLog::verify(tx, &keys, None)).await;
    assert_eq!(verified.unwrap().records, 30);

    database.execute("DELETE FROM cryptomesh.t_events; DELETE FROM cryptomesh.t_event_head");
    for (db, log) in &nodes {
        match append(db, log, "a.after").await {
            Err(EventError::Broken(finding)) => assert_eq!(finding.what, What::RolledBack),
            other => panic!("{other:?}"),
        }
    }
    tasks.drain(Duration::from_secs(5)).await;
}

/// All at once, on this task.
async fn futures_in_turn<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs = Vec::new();
    std::future::poll_fn(|cx| {
        pending.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => {
                outputs.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    outputs
}
