use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::conformance::{self, Numbers};
use crate::engine::{Reader, WriteStore, Writer};
use crate::{Effect, StorageClass, StorageError};

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
}

impl Writer for FailingWriter {
    fn version(&mut self) -> Result<u32, DbError> {
        self.inner.version()
    }

    fn transaction(
        &mut self,
        body: &mut dyn FnMut(&dyn WriteStore) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let fail = self.fail.clone();
        self.inner.transaction(&mut |store| {
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
    for result in [first, second] {
        let error = result.unwrap_err();
        assert_eq!(error.effect(), Effect::Unknown);
        assert!(matches!(error, DbError::CommitFailed { .. }), "{error}");
        assert!(error.to_string().contains("unknown"));
    }
    assert!(matches!(refusing, Err(DbError::Exists { table: "own error" })));
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
    let error = Db::open(&engine, &schema(2)).unwrap_err();
    assert!(matches!(error, DbError::NewerData { found: 3, known: 2 }), "{error}");
    let broken = |tx: &mut WriteTx<'_>| {
        tx.put::<Numbers>(&("steps".into(), 0), &0)?;
        Err(DbError::Closed)
    };
    assert!(Db::open(&engine, &schema(4).with_migration(4, broken)).is_err());
    let db = Db::open(&engine, &schema(3)).unwrap();
    let steps: Result<_, DbError> = db.read(|tx| tx.get::<Numbers>(&("steps".into(), 0))).await;
    assert_eq!(steps.unwrap(), Some(12), "a failed migration leaves the data alone");
}
