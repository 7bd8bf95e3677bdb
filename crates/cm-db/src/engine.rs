//! The seam: what an engine does for the tables.
//!
//! An engine keeps named tables of ordered byte keys and byte values. It has one writer and any number
//! of readers, each used by one thread at a time. It knows nothing of rows, versions or batches.

pub(crate) mod memory;
mod overlay;
pub(crate) mod postgres;
pub(crate) mod quorum;
pub(crate) mod sqlite;

use std::sync::Arc;

use tokio::sync::watch;

use crate::{DbError, Direction, KeyRange, Versions};

/// A key and its value, as stored.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// Reads within one transaction.
pub(crate) trait ReadStore {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, DbError>;

    /// The values under the keys, in their order.
    fn get_many(&self, table: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, DbError> {
        keys.iter().map(|key| self.get(table, key)).collect()
    }

    /// At most `limit` pairs of the range, in the order of the direction.
    fn scan(
        &self,
        table: &str,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, DbError>;

    /// The names of all tables in the data, in order; also of those that this program does not know.
    fn tables(&self) -> Result<Vec<String>, DbError>;

    /// What the data says of its versions; all zero if there is no data yet.
    fn versions(&self) -> Result<Versions, DbError>;
}

/// Reads and writes within one transaction. A write is visible to the reads after it.
pub(crate) trait WriteStore: ReadStore {
    /// `false` if the key was taken; nothing changed then.
    fn insert(&self, table: &str, key: &[u8], value: &[u8]) -> Result<bool, DbError>;

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> Result<(), DbError>;

    /// Whether there was something to delete.
    fn delete(&self, table: &str, key: &[u8]) -> Result<bool, DbError>;

    /// Sets the mark that [`WriteStore::rollback`] goes back to. Either that or [`WriteStore::release`]
    /// follows before the next mark.
    fn savepoint(&self) -> Result<(), DbError>;

    /// Keeps what was done since the mark, and forgets the mark.
    fn release(&self) -> Result<(), DbError>;

    /// Undoes everything since the mark, and forgets it.
    fn rollback(&self) -> Result<(), DbError>;

    /// Creates the table unless it is there.
    fn create_table(&self, table: &str) -> Result<(), DbError>;

    /// Records the versions.
    fn set_versions(&self, versions: Versions) -> Result<(), DbError>;

    /// Whether so much waits in memory for the commit that a batch should not grow any further.
    fn is_full(&self) -> bool {
        false
    }
}

/// How long a transaction may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Somebody waits for an answer.
    Short,
    /// All of the data is looked at or changed: a migration, a backup.
    Long,
}

/// The one connection that writes.
pub(crate) trait Writer: Send {
    /// Runs the body in a transaction and commits it durably. If the body fails, everything is undone
    /// and its error returned; if the commit fails, [`DbError::CommitFailed`].
    fn transaction(
        &mut self,
        pace: Pace,
        body: &mut dyn FnMut(&dyn WriteStore) -> Result<(), DbError>,
    ) -> Result<(), DbError>;

    /// Examines the whole storage for damage.
    fn check(&mut self) -> Result<(), DbError>;

    /// Leaves the storage tidy. Nothing is lost without it.
    fn close(&mut self) -> Result<(), DbError>;
}

/// One of the connections that read.
pub(crate) trait Reader: Send {
    /// Runs the body against one snapshot.
    fn snapshot(&mut self, pace: Pace, body: &mut dyn FnMut(&dyn ReadStore)) -> Result<(), DbError>;
}

/// Counts commits.
#[derive(Clone, Debug)]
pub(crate) struct Ticks {
    /// Of everybody.
    pub(crate) all: Arc<watch::Sender<u64>>,
    /// Of other processes.
    pub(crate) elsewhere: Arc<watch::Sender<u64>>,
}

impl Ticks {
    pub(crate) fn new() -> Self {
        Self { all: Arc::new(watch::Sender::new(0)), elsewhere: Arc::new(watch::Sender::new(0)) }
    }

    /// This process has committed.
    pub(crate) fn here(&self) {
        self.all.send_modify(|ticks| *ticks += 1);
    }

    /// Another one has, or may have.
    pub(crate) fn elsewhere(&self) {
        self.elsewhere.send_modify(|ticks| *ticks += 1);
        self.here();
    }
}

/// Opens connections.
pub(crate) trait Engine {
    fn writer(&self) -> Result<Box<dyn Writer>, DbError>;

    /// Called after the writer has prepared the tables.
    fn reader(&self) -> Result<Box<dyn Reader>, DbError>;

    /// Whether other processes may write as well.
    fn is_shared(&self) -> bool {
        false
    }

    /// How many readers are worth having.
    fn readers(&self) -> usize;

    /// How many more are worth having for look-ups on the threads that ask; none where a read waits for somebody else.
    fn inline_readers(&self) -> usize {
        0
    }

    /// The node's part, where nodes agree by themselves.
    fn quorum(&self) -> Option<quorum::Quorum> {
        None
    }

    /// Begins to tick whenever another process commits, until `stop` changes or is closed. Nothing to do for an
    /// engine that has one process.
    fn listen(&self, ticks: Ticks, stop: watch::Receiver<bool>) -> Result<(), DbError> {
        let _ = (ticks, stop);
        Ok(())
    }
}
