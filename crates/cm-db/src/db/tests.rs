use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use cm_testkit::postgres::Server;
use proptest::prelude::*;

use super::*;
use crate::conformance::{self, Numbers};
use crate::engine::{Pace, Reader, WriteStore, Writer};
use crate::{Direction, Effect, KeyRange, StorageClass, StorageError};

#[test]
fn memory_conforms() {
    conformance::run(open_memory);
}

/// The memory engine, except that its commits fail while the flag is set; the gate holds the first
/// transaction open, so that more jobs gather behind it.
struct Failing {
    inner: MemoryEngine,
    fail: Arc<AtomicBool>,
}

struct FailingWriter {
    inner: Box<dyn Writer>,
    fail: Arc<AtomicBool>,
}

impl Engine for Failing {
    fn writer(&self) -> Result<Box<dyn Writer>, DbError> {
        Ok(Box::new(FailingWriter { inner: self.inner.writer()?, fail: self.fail.clone() }))
    }

    fn reader(&self) -> Result<Box<dyn Reader>, DbError> {
        self.inner.reader()
    }

    fn readers(&self) -> usize {
        self.inner.readers()
    }
}

impl Writer for FailingWriter {
    fn transaction(
        &mut self,
        pace: Pace,
        body: &mut dyn FnMut(&dyn WriteStore) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let fail = self.fail.clone();
        self.inner.transaction(pace, &mut |store| {
            body(store)?;
            if !fail.load(Ordering::SeqCst) {
                return Ok(());
            }
            let source = Arc::new(std::io::Error::other("deliberate"));
            let source = StorageError { class: StorageClass::Io, source };
            Err(DbError::CommitFailed { effect: Effect::Unknown, source })
        })
    }

    fn check(&mut self) -> Result<(), DbError> {
        self.inner.check()
    }

    fn close(&mut self) -> Result<(), DbError> {
        self.inner.close()
    }
}

#[tokio::test]
async fn a_failed_commit_is_told_to_every_caller_of_the_batch() {
    let fail = Arc::new(AtomicBool::new(false));
    let engine = Failing { inner: MemoryEngine::default(), fail: fail.clone() };
    let db = Db::open(&engine, &conformance::schema()).unwrap();
    let (open_gate, gate) = std::sync::mpsc::channel::<()>();
    let hooks = Arc::new(Mutex::new(0));
    let first = db.write(move |tx| {
        gate.recv().unwrap();
        tx.put::<Numbers>(&("n".into(), 1), &1)
    });
    let hooks_inner = hooks.clone();
    let second = db.write(move |tx| {
        tx.on_commit(Box::new(move || *hooks_inner.lock().unwrap() += 1));
        tx.put::<Numbers>(&("n".into(), 2), &2)
    });
    let refusing = db.write(|_| Err::<(), _>(DbError::Exists { table: "own error" }));
    let queued = async {
        fail.store(true, Ordering::SeqCst);
        open_gate.send(()).unwrap();
    };
    let (first, second, refusing, ()) = tokio::join!(biased; first, second, refusing, queued);
    // Also to the one that failed: what made it fail may be among what is lost.
    for result in [first, second, refusing] {
        let error = result.unwrap_err();
        assert_eq!(error.effect(), Effect::Unknown);
        assert!(matches!(error, DbError::CommitFailed { .. }), "{error}");
        assert!(error.to_string().contains("unknown"));
    }
    assert_eq!(*hooks.lock().unwrap(), 0);
    fail.store(false, Ordering::SeqCst);
    let found: Result<_, DbError> = db.write(|tx| tx.get::<Numbers>(&("n".into(), 1))).await;
    assert_eq!(found.unwrap(), None, "the writer goes on");
}

#[tokio::test]
async fn migrations_run_once_and_in_order() {
    let engine = MemoryEngine::default();
    let step = |tx: &mut WriteTx<'_>| {
        let steps = tx.get::<Numbers>(&("steps".into(), 0))?.unwrap_or(0);
        tx.put::<Numbers>(&("steps".into(), 0), &(steps * 10 + 1))
    };
    let next = |tx: &mut WriteTx<'_>| {
        let steps = tx.get::<Numbers>(&("steps".into(), 0))?.unwrap_or(0);
        tx.put::<Numbers>(&("steps".into(), 0), &(steps * 10 + 2))
    };
    let schema = |version| Schema::new(version).with_table::<Numbers>();
    Db::open(&engine, &schema(2).with_migration(2, step)).unwrap();
    for _ in 0..2 {
        let db = Db::open(&engine, &schema(3).with_migration(2, step).with_migration(3, next)).unwrap();
        let steps: Result<_, DbError> = db.read(|tx| tx.get::<Numbers>(&("steps".into(), 0))).await;
        assert_eq!(steps.unwrap(), Some(12));
    }
    let broken = |tx: &mut WriteTx<'_>| {
        tx.put::<Numbers>(&("steps".into(), 0), &0)?;
        Err(DbError::Closed)
    };
    assert!(Db::open(&engine, &schema(4).with_migration(4, broken)).is_err());
    let db = Db::open(&engine, &schema(3)).unwrap();
    let steps: Result<_, DbError> = db.read(|tx| tx.get::<Numbers>(&("steps".into(), 0))).await;
    assert_eq!(steps.unwrap(), Some(12), "a failed migration leaves the data alone");
}

#[tokio::test]
async fn an_older_program_goes_on_until_the_upgrade_is_finished() {
    let engine = MemoryEngine::default();
    let schema = |version| Schema::new(version).with_table::<Numbers>();
    let old = Db::open(&engine, &schema(2)).unwrap();
    assert_eq!(old.versions().await.unwrap(), Versions { data: 2, compatible_from: 2 });
    assert!(matches!(Db::open(&engine, &schema(1)), Err(DbError::NewerData { found: 2, known: 1, .. })));
    let new = Db::open(&engine, &schema(4)).unwrap();
    assert_eq!(new.versions().await.unwrap(), Versions { data: 4, compatible_from: 2 });
    let again = Db::open(&engine, &schema(3)).unwrap();
    assert_eq!(
        again.versions().await.unwrap(),
        Versions { data: 4, compatible_from: 2 },
        "nothing goes back"
    );
    assert_eq!(new.finish_upgrade().await.unwrap(), Versions { data: 4, compatible_from: 4 });
    let refused = Db::open(&engine, &schema(3)).unwrap_err();
    assert!(matches!(refused, DbError::NewerData { found: 4, compatible_from: 4, known: 3 }), "{refused}");
}

/// One operation of a random transaction on one table.
#[derive(Clone, Debug)]
enum Op {
    Insert(u8, u64),
    Put(u8, u64),
    Delete(u8),
    Scan(u8, u8, bool, usize),
}

type Model = std::collections::BTreeMap<(String, u64), u64>;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u8..12, any::<u64>()).prop_map(|(key, row)| Op::Insert(key, row)),
        (0u8..12, any::<u64>()).prop_map(|(key, row)| Op::Put(key, row)),
        (0u8..12).prop_map(Op::Delete),
        (0u8..12, 0u8..12, any::<bool>(), 0usize..6)
            .prop_map(|(a, b, back, limit)| Op::Scan(a, b, back, limit)),
    ]
}

/// Few keys, among them some that are the beginning of others.
fn key(number: u8) -> (String, u64) {
    (["", "a", "a\0", "ab"][usize::from(number % 4)].to_owned(), u64::from(number / 4))
}

fn perform(tx: &mut WriteTx<'_>, model: &mut Model, op: &Op) {
    match *op {
        Op::Insert(k, row) => {
            let result = tx.insert::<Numbers>(&key(k), &row);
            assert_eq!(result.is_ok(), !model.contains_key(&key(k)));
            model.entry(key(k)).or_insert(row);
        }
        Op::Put(k, row) => {
            tx.put::<Numbers>(&key(k), &row).unwrap();
            model.insert(key(k), row);
        }
        Op::Delete(k) => {
            assert_eq!(tx.delete::<Numbers>(&key(k)).unwrap(), model.remove(&key(k)).is_some());
        }
        Op::Scan(a, b, back, limit) => {
            let (a, b) = (key(a).min(key(b)), key(a).max(key(b)));
            let direction = if back { Direction::Backward } else { Direction::Forward };
            let found = tx.range::<Numbers>(KeyRange::of(a.clone()..=b.clone()), direction, limit).unwrap();
            let mut expected: Vec<_> = model.range(a..=b).map(|(key, row)| (key.clone(), *row)).collect();
            if back {
                expected.reverse();
            }
            expected.truncate(limit);
            assert_eq!(found, expected);
        }
    }
}

fn equals_model(db: &Db, transactions: &[(Vec<Op>, bool)]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut model = Model::new();
    for (ops, keep) in transactions.iter().cloned() {
        let mut attempt = model.clone();
        let transaction = move |tx: &mut WriteTx<'_>| {
            ops.iter().for_each(|op| perform(tx, &mut attempt, op));
            if keep { Ok(attempt) } else { Err(DbError::Closed) }
        };
        match runtime.block_on(db.write(transaction)) {
            Ok(attempt) => model = attempt,
            Err(error) => assert!(matches!(error, DbError::Closed) && !keep, "{error}"),
        }
        let read = |tx: &ReadTx<'_>| tx.range::<Numbers>(KeyRange::all(), Direction::Forward, 99);
        let rows: Result<_, DbError> = runtime.block_on(db.read(read));
        assert_eq!(rows.unwrap(), model.clone().into_iter().collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_engines_do_as_a_map_would(
        transactions in proptest::collection::vec((proptest::collection::vec(op(), 0..8), any::<bool>()), 0..6),
    ) {
        equals_model(&open_memory(&conformance::schema()), &transactions);
        let dir = tempfile::tempdir().unwrap();
        let db = open_sqlite(&dir.path().join("a.db"), &conformance::schema()).unwrap();
        equals_model(&db, &transactions);
    }
}

proptest! {
    // Each case has a database of its own on a real server.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn postgres_does_as_a_map_would(
        transactions in proptest::collection::vec((proptest::collection::vec(op(), 0..8), any::<bool>()), 1..8),
    ) {
        let database = Server::shared().create_database();
        let config = PostgresConfig::parse(database.url(), None).unwrap();
        equals_model(&open_postgres(&config, &conformance::schema()).unwrap(), &transactions);
    }
}
