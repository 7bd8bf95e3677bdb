mod cluster;

use std::sync::Mutex;

use cm_quorum::{Change, MemberId};
use proptest::prelude::*;

use super::*;
use crate::conformance::{self, Numbers};
use crate::engine::memory::MemoryEngine;
use crate::engine::overlay::Changes;
use crate::engine::{Pace, ReadStore};
use crate::{Direction, Effect, KeyRange, Versions, open_sqlite};
use cluster::{Cluster, eventually};

fn key(number: u64) -> (String, u64) {
    ("n".to_owned(), number)
}

async fn put(db: &crate::Db, number: u64) -> Result<(), DbError> {
    db.write(move |tx| tx.put::<Numbers>(&key(number), &number)).await
}

async fn count(db: &crate::Db) -> usize {
    let rows: Result<_, DbError> =
        db.read(|tx| tx.range::<Numbers>(KeyRange::all(), Direction::Forward, 10_000)).await;
    rows.unwrap().len()
}

#[test]
fn a_cluster_of_three_conforms() {
    let clusters = Mutex::new(Vec::new());
    conformance::run(|schema| {
        let mut clusters = clusters.lock().unwrap();
        let cluster = Cluster::founded(3, schema);
        // Leaders and followers alike.
        let db = cluster.db(clusters.len() % 3);
        clusters.push(cluster);
        db
    });
}

#[tokio::test]
async fn what_one_node_writes_every_node_reads_behind_a_barrier() {
    let cluster = Cluster::founded(3, &conformance::schema());
    let mut told = cluster.db(2).changes_elsewhere();
    for number in 0..30 {
        put(&cluster.db(number as usize % 3), number).await.unwrap();
        let reader = cluster.db((number as usize + 1) % 3);
        reader.barrier().await.unwrap();
        assert_eq!(count(&reader).await, number as usize + 1, "what was answered is there");
    }
    told.changed().await.unwrap();
    // Each sees what the others have done, and nothing is lost.
    let sum = async |node: usize| {
        let db = cluster.db(node);
        for _ in 0..20 {
            let add = |tx: &mut crate::WriteTx<'_>| {
                let sum = tx.get::<Numbers>(&("sum".into(), 0))?.unwrap_or(0);
                tx.put::<Numbers>(&("sum".into(), 0), &(sum + 1))
            };
            while let Err(error) = db.write::<(), DbError, _>(add).await {
                assert!(error.effect() == Effect::NotDone && error.retryable(), "{error:?}");
            }
        }
    };
    tokio::join!(sum(0), sum(1), sum(2));
    cluster.db(1).barrier().await.unwrap();
    let found: Result<_, DbError> = cluster.db(1).read(|tx| tx.get::<Numbers>(&("sum".into(), 0))).await;
    assert_eq!(found.unwrap(), Some(60));
}

#[tokio::test]
async fn a_majority_goes_on_and_who_was_away_catches_up_by_a_copy() {
    let mut cluster = Cluster::founded(3, &conformance::schema());
    put(&cluster.db(0), 0).await.unwrap();
    let gone = cluster.leader().await;
    cluster.kill(gone).await;
    let stays = (gone + 1) % 3;
    for number in 1..120 {
        while let Err(error) = put(&cluster.db(stays), number).await {
            assert!(error.retryable(), "{error:?}");
        }
    }
    // More than the log keeps.
    eventually("the log is shorter than what was written", || {
        cluster.status(stays).applied > cluster::LOG_ENTRIES as u64 + 40
    })
    .await;
    cluster.start(gone, Start::Join);
    let back = cluster.db(gone);
    back.barrier().await.unwrap();
    assert_eq!(count(&back).await, 120);
    back.check().await.unwrap();
    put(&back, 120).await.unwrap();
    cluster.db(stays).barrier().await.unwrap();
    assert_eq!(count(&cluster.db(stays)).await, 121);
}

#[tokio::test]
async fn without_a_majority_nothing_is_written_and_reads_go_on() {
    let mut cluster = Cluster::founded(3, &conformance::schema());
    put(&cluster.db(0), 1).await.unwrap();
    cluster.db(1).barrier().await.unwrap();
    cluster.kill(0).await;
    cluster.kill(2).await;
    let error = put(&cluster.db(1), 2).await.unwrap_err();
    assert!(error.retryable(), "{error:?}");
    assert!(cluster.db(1).barrier().await.is_err());
    assert_eq!(count(&cluster.db(1)).await, 1);
    cluster.start(0, Start::Join);
    while let Err(error) = put(&cluster.db(1), 3).await {
        assert!(error.retryable(), "{error:?}");
    }
    assert!(count(&cluster.db(1)).await >= 2);
}

#[tokio::test]
async fn data_of_one_node_becomes_everybodys_and_nobodys_alone() {
    let mut cluster = Cluster::empty(&conformance::schema());
    let path = cluster.path(0);
    let alone = open_sqlite(&path, &conformance::schema()).unwrap();
    for number in 0..50 {
        put(&alone, number).await.unwrap();
    }
    alone.close().await.unwrap();
    drop(alone);
    cluster.start(0, cluster.found(&[0]));
    put(&cluster.db(0), 50).await.unwrap();
    let (one, other) = (cluster.join(1), cluster.join(2));
    for id in [1, 2] {
        cluster.change(0, Change::Add { id: MemberId(id), contact: format!("node {id}") }).await;
    }
    cluster.joined(1, one);
    cluster.joined(2, other);
    for id in [1, 2] {
        cluster.change(0, Change::Promote { id: MemberId(id) }).await;
    }
    for node in [1, 2] {
        cluster.db(node).barrier().await.unwrap();
        assert_eq!(count(&cluster.db(node)).await, 51);
    }
    // The first one leaves; the others go on.
    cluster.db(0).close().await.unwrap();
    cluster.kill(0).await;
    while let Err(error) = put(&cluster.db(1), 51).await {
        assert!(error.retryable(), "{error:?}");
    }
    let refused = open_sqlite(&path, &conformance::schema());
    assert!(matches!(refused, Err(DbError::Replicated { .. })), "{refused:?}");
}

#[tokio::test]
async fn everything_is_there_after_all_were_closed() {
    let mut cluster = Cluster::founded(3, &conformance::schema());
    for number in 0..20 {
        put(&cluster.db(number as usize % 3), number).await.unwrap();
    }
    for node in 0..3 {
        cluster.db(node).close().await.unwrap();
        cluster.kill(node).await;
    }
    cluster.start_all(|_| Start::Join);
    for node in 0..3 {
        cluster.db(node).barrier().await.unwrap();
        assert_eq!(count(&cluster.db(node)).await, 20);
    }
}

#[tokio::test]
async fn a_node_that_lost_one_of_its_files_is_refused() {
    let mut cluster = Cluster::founded(1, &conformance::schema());
    put(&cluster.db(0), 1).await.unwrap();
    cluster.kill(0).await;
    for lost in [cluster.path(0), cluster.journal(0)] {
        let kept = lost.with_extension("kept");
        std::fs::rename(&lost, &kept).unwrap();
        let error = cluster.refused(0, cluster.found(&[0]));
        assert!(matches!(error, DbError::Corrupt(_)), "{error:?}");
        let _ = std::fs::remove_file(&lost);
        std::fs::rename(&kept, &lost).unwrap();
    }
    cluster.start(0, Start::Join);
    assert_eq!(count(&cluster.db(0)).await, 1);
}

#[tokio::test]
async fn who_took_part_never_begins_anew() {
    let mut cluster = Cluster::founded(1, &conformance::schema());
    put(&cluster.db(0), 1).await.unwrap();
    cluster.kill(0).await;
    cluster.start(0, Start::Resume);
    assert_eq!(count(&cluster.db(0)).await, 1);
    cluster.kill(0).await;
    for path in [cluster.path(0), cluster.journal(0)] {
        std::fs::remove_file(path).unwrap();
    }
    let error = cluster.refused(0, Start::Resume);
    assert!(matches!(error, DbError::Lost { .. }), "{error:?}");
}

#[tokio::test]
async fn learners_that_have_nothing_do_not_vote() {
    let cluster = Cluster::founded(1, &conformance::schema());
    let [id, never] = [MemberId(1), MemberId(9)];
    for id in [id, never] {
        cluster.change(0, Change::Add { id, contact: "nowhere".into() }).await;
        let refused = cluster.try_change(0, Change::Promote { id }).await;
        assert_eq!(refused, Err(ChangeFailed::Refused(cm_quorum::ChangeRefused::Behind)));
    }
    // The database goes on by itself.
    put(&cluster.db(0), 1).await.unwrap();
}

#[tokio::test]
async fn what_nobody_could_apply_does_not_get_into_the_log() {
    let cluster = Cluster::founded(3, &conformance::schema());
    put(&cluster.db(0), 1).await.unwrap();
    let leader = cluster.leader().await;
    let from = (leader + 1) % 3;
    for request in 0..20 {
        let base = cluster.status(leader).version;
        let changes: std::sync::Arc<[u8]> = b"no changes at all".as_slice().into();
        let batch = cm_quorum::Batch { origin: MemberId(from as u64), request, base, changes };
        cluster.say(from, leader, cm_quorum::Message::Submit { batch });
        // A time beyond all times, too.
        cluster.say(from, leader, cm_quorum::Message::TakeOver { term: u64::MAX });
        cluster.say(
            from,
            leader,
            cm_quorum::Message::VoteReply { term: u64::MAX, granted: false, pre: false },
        );
    }
    for node in 0..3 {
        put(&cluster.db(node), 10 + node as u64).await.unwrap();
    }
    assert!(cluster.status(leader).term < 1000);
}

#[tokio::test]
async fn closures_that_find_what_another_node_wrote_are_not_told_of_an_old_state() {
    let cluster = Cluster::founded(3, &conformance::schema());
    for round in 0..20 {
        let (one, other) = (cluster.db(round % 3), cluster.db((round + 1) % 3));
        put(&one, round as u64).await.unwrap();
        // It changes nothing: what it sees must be the newest all the same.
        let found: Result<_, DbError> = other.write(move |tx| tx.get::<Numbers>(&key(round as u64))).await;
        assert_eq!(found.unwrap(), Some(round as u64));
    }
}

#[tokio::test]
async fn a_transaction_that_is_too_large_has_no_effect() {
    let cluster = Cluster::founded(1, &conformance::schema());
    let large = |tx: &mut crate::WriteTx<'_>| {
        for number in 0..3 {
            tx.put_raw::<Numbers>(&key(number), &vec![b' '; crate::ROW_LEN_MAX])?;
        }
        Ok(())
    };
    let error = cluster.db(0).write::<(), DbError, _>(large).await.unwrap_err();
    assert!(matches!(error, DbError::TransactionTooLarge { .. }), "{error:?}");
    assert_eq!(count(&cluster.db(0)).await, 0);
    put(&cluster.db(0), 1).await.unwrap();
}

#[tokio::test]
async fn backups_go_in_and_out() {
    let from = Cluster::founded(3, &conformance::schema());
    for number in 0..10 {
        put(&from.db(0), number).await.unwrap();
    }
    let (backup, summary) = from.db(0).export(Vec::new()).await.unwrap();
    let to = Cluster::founded(3, &conformance::schema());
    assert_eq!(to.db(1).import(std::io::Cursor::new(backup)).await.unwrap(), summary);
    to.db(2).barrier().await.unwrap();
    assert_eq!(count(&to.db(2)).await, 10);
}

fn rows(engine: &MemoryEngine, table: &str) -> Vec<crate::engine::Pair> {
    let mut found = Vec::new();
    let mut read = |store: &dyn ReadStore| {
        found = store.scan(table, &KeyRange::all(), Direction::Forward, 100).unwrap_or_default();
    };
    engine.reader().unwrap().snapshot(Pace::Short, &mut read).unwrap();
    found
}

proptest! {
    #[test]
    fn changes_come_back_as_they_were(
        changes in proptest::collection::btree_map(
            proptest::collection::vec(any::<u8>(), 0..5),
            proptest::option::of(proptest::collection::vec(any::<u8>(), 0..5)),
            0..8,
        ),
        cut in 1usize..20,
    ) {
        let versions = Versions { data: 3, compatible_from: 2 };
        let tables: std::collections::BTreeMap<String, Changes> = [("one".to_owned(), changes.clone())].into();
        let bytes = changes::encode(Some(versions), &["one".to_owned()], &tables);
        let engine = MemoryEngine::default();
        let mut writer = engine.writer().unwrap();
        let shorter = &bytes[..bytes.len().saturating_sub(cut)];
        prop_assert!(writer.transaction(Pace::Short, &mut |store| changes::apply(shorter, store)).is_err());
        writer.transaction(Pace::Short, &mut |store| changes::apply(&bytes, store)).unwrap();
        let expected: Vec<_> = changes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        prop_assert_eq!(rows(&engine, "one"), expected);
    }

    #[test]
    fn bytes_of_others_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let engine = MemoryEngine::default();
        let mut writer = engine.writer().unwrap();
        let framed = [&[1], bytes.as_slice()].concat();
        let _ = writer.transaction(Pace::Short, &mut |store| changes::apply(&framed, store));
    }
}

#[test]
fn names_of_tables_cannot_be_sql() {
    let tables: std::collections::BTreeMap<String, Changes> =
        [("a; DROP TABLE t_b".to_owned(), [(vec![1], Some(vec![2]))].into())].into();
    let bytes = changes::encode(None, &[], &tables);
    let mut writer = MemoryEngine::default().writer().unwrap();
    let refused = writer.transaction(Pace::Short, &mut |store| changes::apply(&bytes, store));
    assert!(matches!(refused, Err(DbError::Corrupt(_))), "{refused:?}");
}
