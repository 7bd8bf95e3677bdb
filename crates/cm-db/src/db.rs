//! The handle, and the threads behind it.

mod backup;
mod inline;
mod queue;
mod reader;
mod writer;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::memory::MemoryEngine;
use crate::engine::postgres::{PostgresConfig, PostgresEngine};
use crate::engine::quorum::{Carrier, Quorum, QuorumConfig, QuorumEngine, QuorumPort, begin_files};
use crate::engine::sqlite::SqliteEngine;
use crate::engine::{Engine, Pace, Ticks, Writer};
use crate::{DbError, ReadTx, Schema, Versions, WriteTx};

pub use backup::{BackupError, BackupSummary};
use inline::Inline;
use reader::{ReadJob, ReadMessage};
use writer::{WriteJob, WriteMessage};

/// Jobs waiting for a thread; beyond that, callers wait to hand theirs over.
const QUEUE_LEN: usize = 1024;

/// An open database. Clones share it; it closes when [`Db::close`] is called or the last clone goes.
#[derive(Clone, Debug)]
pub struct Db {
    writer: mpsc::Sender<WriteMessage>,
    readers: queue::Sender<ReadMessage>,
    readers_len: usize,
    inline: Arc<Inline>,
    schema: Arc<Schema>,
    ticks: Ticks,
    is_shared: bool,
    quorum: Option<Quorum>,
    /// Whether the database is closed; without a sender it is, too.
    stop: Arc<watch::Sender<bool>>,
}

/// Opens or creates a database file and brings its data to the schema's version.
///
/// Blocks for as long as that takes: a few milliseconds, or a migration. The file is for its owner only
/// (mode 0600), and its directory must exist. Two files appear beside it, `-wal` and `-shm`; they belong
/// to it.
///
/// Fails with [`DbError::NewerData`], [`DbError::Foreign`], [`DbError::Replicated`], [`DbError::Corrupt`] or
/// [`DbError::Storage`]; the data is untouched then. Only the parts of the file that are needed to open
/// it are examined; see [`Db::check`].
pub fn open_sqlite(path: &Path, schema: &Schema) -> Result<Db, DbError> {
    Db::open(&SqliteEngine::open(path)?.alone()?, schema)
}

/// Opens a PostgreSQL database that other processes may have open, too, and brings its data to the schema's version.
///
/// The database must exist; everything is kept in its schema `cryptomesh`, which is created on first use. Blocks for as
/// long as connecting takes, or a migration, which of several processes only one performs.
///
/// Fails with [`DbError::NewerData`] or [`DbError::Storage`]. A server that goes away later is no reason to open again:
/// transactions fail ([`DbError::retryable`]) until it is back.
pub fn open_postgres(config: &PostgresConfig, schema: &Schema) -> Result<Db, DbError> {
    let open = || Db::open(&PostgresEngine::open(config, schema.version())?, schema);
    // On a thread of its own: connections wait on a runtime, which cannot be done on a thread that has another one.
    std::thread::scope(|scope| scope.spawn(open).join().unwrap_or(Err(DbError::Panicked)))
}

/// Opens a node's part in a database that several nodes keep together, and brings its data to the schema's version.
///
/// Messages to others go through the carrier; those from others come through the port, from before this is called: it blocks until there
/// is a leader, [`QuorumConfig::open_wait`] at most, so that nodes that start together find each other. A node that
/// joins has to be named to the leader ([`Quorum::change`]) meanwhile.
///
/// Fails as [`open_sqlite`]; with [`DbError::Replicated`] if a node that joins, or one of several founders, has data already;
/// and with [`DbError::Storage`] if no leader is there in time, which is worth another attempt.
pub fn open_quorum(
    config: QuorumConfig,
    port: QuorumPort,
    carrier: Arc<dyn Carrier>,
    schema: &Schema,
) -> Result<(Db, Quorum), DbError> {
    let part = start_quorum(config, port, carrier, schema)?;
    Ok((part.open()?, part.handle()))
}

/// A node's part before there is a leader.
#[derive(Debug)]
pub struct QuorumPart {
    engine: QuorumEngine,
    schema: Schema,
}

impl QuorumPart {
    /// What can be asked of the part already: who the members are, as far as it knows.
    pub fn handle(&self) -> Quorum {
        self.engine.handle()
    }

    /// As [`open_quorum`]; blocks until there is a leader. Once.
    pub fn open(&self) -> Result<Db, DbError> {
        Db::open(&self.engine, &self.schema)
    }
}

/// The first half of [`open_quorum`]: opens the files and takes part, without waiting for anybody.
pub fn start_quorum(
    config: QuorumConfig,
    port: QuorumPort,
    carrier: Arc<dyn Carrier>,
    schema: &Schema,
) -> Result<QuorumPart, DbError> {
    let engine = QuorumEngine::open(config, port, carrier, schema.version())?;
    Ok(QuorumPart { engine, schema: schema.clone() })
}

/// Makes the files of a node that founds or joins, durably, unless they are there. A node that notes afterwards that it has
/// begun, and says [`crate::Start::Resume`] from then on, founds only once, and never takes part under its name without them.
///
/// Fails as [`open_quorum`].
pub fn begin_quorum(config: &QuorumConfig) -> Result<(), DbError> {
    begin_files(config)
}

/// Opens a database file as it is: nothing is created or migrated, and data of every version is accepted. Only for
/// [`Db::export`], [`Db::versions`] and [`Db::check`]; a node may be using the file.
///
/// Fails as [`open_sqlite`], and if there is no such file.
pub fn inspect_sqlite(path: &Path) -> Result<Db, DbError> {
    Db::open_as_found(&SqliteEngine::open_existing(path)?)
}

/// As [`inspect_sqlite`], a PostgreSQL database; one that was never used gets an empty record of versions.
pub fn inspect_postgres(config: &PostgresConfig) -> Result<Db, DbError> {
    let open = || Db::open_as_found(&PostgresEngine::open(config, 0)?);
    std::thread::scope(|scope| scope.spawn(open).join().unwrap_or(Err(DbError::Panicked)))
}

/// Opens an empty database in memory. It is gone with its last handle.
///
/// # Panics
/// If a migration of the schema fails on empty tables, or a thread cannot be started.
pub fn open_memory(schema: &Schema) -> Db {
    Db::open(&MemoryEngine::default(), schema)
        .expect("memory is always there and migrations fit empty tables")
}

impl Db {
    pub(crate) fn open(engine: &dyn Engine, schema: &Schema) -> Result<Db, DbError> {
        let mut writer = engine.writer()?;
        writer::prepare(&mut *writer, schema)?;
        Db::start(engine, writer, schema)
    }

    fn open_as_found(engine: &dyn Engine) -> Result<Db, DbError> {
        Db::start(engine, engine.writer()?, &Schema::new(u32::MAX))
    }

    fn start(engine: &dyn Engine, writer: Box<dyn Writer>, schema: &Schema) -> Result<Db, DbError> {
        let readers_len = engine.readers();
        let open = |number: usize| (0..number).map(|_| engine.reader()).collect::<Result<Vec<_>, _>>();
        let readers = open(readers_len)?;
        let inline = Arc::new(Inline::new(open(engine.inline_readers())?));
        let ticks = Ticks::new();
        let stop = Arc::new(watch::Sender::new(false));
        engine.listen(ticks.clone(), stop.subscribe())?;
        Ok(Db {
            writer: writer::spawn(writer, ticks.clone())?,
            readers: reader::spawn(readers)?,
            readers_len,
            inline,
            schema: Arc::new(schema.clone()),
            ticks,
            is_shared: engine.is_shared(),
            quorum: engine.quorum(),
            stop,
        })
    }

    /// Runs the closure in a transaction on the writer thread, and answers once its effect is durable.
    ///
    /// If the closure fails, its effect is undone and its error returned; if it panics,
    /// [`DbError::Panicked`]; if the commit fails, [`DbError::CommitFailed`], which says whether the
    /// effect may have happened. Other closures are never affected by that of this caller, except by
    /// the time it takes: keep it in the microseconds, and never wait in it.
    ///
    /// Cancellation: dropping the future before the closure is queued means that it never runs; after
    /// that, it runs and commits all the same, unheard.
    pub async fn write<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<DbError> + Send + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = WriteMessage::Run(Box::new(WriteJob::new(f, answer)));
        self.writer.send(job).await.map_err(|_| DbError::Closed)?;
        answered.await.map_err(|_| DbError::Closed)?
    }

    /// Runs the closure against a snapshot on a reader thread. It sees every write that was answered
    /// before this call, and none half-way. Keep it in the milliseconds: read long ranges in several
    /// calls, each beginning after the last key of the one before.
    ///
    /// Cancellation: dropping the future loses the answer, nothing else.
    pub async fn read<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&ReadTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<DbError> + Send + 'static,
        T: Send + 'static,
    {
        self.read_at(Pace::Short, f).await
    }

    /// Answers once reads through this handle see everything that was answered anywhere before the call. Only where nodes agree by themselves
    /// ([`open_quorum`]) that takes time: a question to the leader, which callers share; reads without it may see a state of a moment ago. Fails
    /// with [`DbError::Storage`] if no leader answers in time.
    ///
    /// Cancellation: nothing happens.
    pub async fn barrier(&self) -> Result<(), DbError> {
        match &self.quorum {
            Some(quorum) => quorum.barrier().await,
            None => Ok(()),
        }
    }

    /// As [`Db::read`], for a few look-ups by key: the thread that asks does them itself where that is likely to take
    /// less than half a millisecond, which is seldom so of a database elsewhere.
    pub async fn look_up<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&ReadTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<DbError> + Send + 'static,
        T: Send + 'static,
    {
        match self.inline.run(f) {
            Ok(result) => result,
            Err(f) => self.read(f).await,
        }
    }

    async fn read_at<T, E, F>(&self, pace: Pace, f: F) -> Result<T, E>
    where
        F: FnOnce(&ReadTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<DbError> + Send + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = ReadMessage::Run(Box::new(ReadJob::new(f, answer)), pace);
        self.readers.send(job).await?;
        answered.await.map_err(|_| DbError::Closed)?
    }

    /// Runs the closure with the writer itself, between batches.
    async fn alone<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Writer) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let (answer, answered) = oneshot::channel();
        let run = move |writer: &mut dyn Writer| {
            // The caller may have gone; the effect stays.
            let _ = answer.send(f(writer));
        };
        self.writer.send(WriteMessage::Alone(Box::new(run))).await.map_err(|_| DbError::Closed)?;
        answered.await.map_err(|_| DbError::Closed)?
    }

    /// A number that changes whenever somebody has committed: through any clone of this handle or, with PostgreSQL,
    /// any other process, soon after it did. What was committed can be read by then. Changes that come
    /// together may count as one, and a change may be told though nothing that matters changed; none is left untold,
    /// not even those of a time when the server could not be reached.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.ticks.all.subscribe()
    }

    /// How many commits there were, where all of them are this process's own: the number is higher before the caller of
    /// the next one is answered. `None` where other processes may write, too.
    pub fn commits(&self) -> Option<u64> {
        (!self.is_shared).then(|| *self.ticks.all.borrow())
    }

    /// As [`Db::changes`], but only of other processes, and after a commit of this one whose effect is unknown.
    pub fn changes_elsewhere(&self) -> watch::Receiver<u64> {
        self.ticks.elsewhere.subscribe()
    }

    /// What the data says of its versions.
    pub async fn versions(&self) -> Result<Versions, DbError> {
        self.read(|tx| tx.store().versions()).await
    }

    /// Says that no program older than this one's schema will work with the data again, and returns the versions
    /// from then on. Programs that are older find [`DbError::NewerData`], also those that are running.
    pub async fn finish_upgrade(&self) -> Result<Versions, DbError> {
        let schema = self.schema.clone();
        self.alone(move |writer| writer::finish_upgrade(writer, &schema)).await
    }

    /// Examines the whole storage for damage of its structure: [`DbError::Corrupt`] names the first
    /// finding. Takes time linear in the size of the data, and writers wait. Contents that are
    /// well-formed but altered are not found; the audit log has its own verification.
    pub async fn check(&self) -> Result<(), DbError> {
        self.alone(|writer| writer.check()).await
    }

    /// Finishes what is queued, tidies the storage and closes it; every later call on any clone fails
    /// with [`DbError::Closed`]. Nothing that was answered is lost without it. Closing twice is fine.
    pub async fn close(&self) -> Result<(), DbError> {
        self.stop.send_replace(true);
        self.inline.close();
        for _ in 0..self.readers_len {
            let (answer, answered) = oneshot::channel();
            if self.readers.send(ReadMessage::Close(answer)).await.is_ok() {
                let _ = answered.await;
            }
        }
        let (answer, answered) = oneshot::channel();
        if self.writer.send(WriteMessage::Close(answer)).await.is_err() {
            return Ok(());
        }
        answered.await.unwrap_or(Ok(()))
    }
}

pub(crate) fn spawn_thread(name: String, run: impl FnOnce() + Send + 'static) -> Result<(), DbError> {
    let error = |source: std::io::Error| {
        let class = crate::StorageClass::Other;
        DbError::Storage(crate::StorageError { class, source: Arc::new(source) })
    };
    // Not a task: the threads live exactly as long as the handles, and end by themselves.
    std::thread::Builder::new().name(name).spawn(run).map(|_| ()).map_err(error)
}

#[cfg(test)]
mod tests;
