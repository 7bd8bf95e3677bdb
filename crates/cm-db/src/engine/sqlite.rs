//! Tables in one SQLite file.
//!
//! The journal is a write-ahead log (readers see snapshots while the writer works) and `synchronous` is
//! `FULL`: a commit returns after the log is on disk. SQLite moves the log into the file by itself now
//! and then; closing does it once more. Each table is one SQL table of keys and values, clustered by key.
//!
//! Where the log takes `cm_db::sql=trace` when a database is opened, every statement is logged as it runs, without its
//! values: those are people's data, and nothing of a log's business.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::quorum::is_replicated;
use super::{Engine, Pace, Pair, ReadStore, Reader, WriteStore, Writer};
use crate::{Corruption, DbError, Direction, Effect, KeyRange, StorageClass, StorageError, Versions};

/// Marks the file as ours: "CMsh" in ASCII. Part of the stored format.
const APPLICATION_ID: i32 = 0x434d_7368;
/// Every SQLite file begins so.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// How long a connection waits for another process (a backup, an inspection) to let go of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection: seven per table, for some thirty tables.
const STATEMENTS_CACHED: usize = 256;
/// Threads that read. Reads are short, so a few suffice; each holds a connection.
const READERS: usize = 4;
/// Connections for threads that read themselves, at most: one for each processor, for so many can read at once.
const INLINE_READERS_MAX: usize = 16;

/// Opens connections to one file.
pub(crate) struct SqliteEngine {
    path: PathBuf,
}

impl SqliteEngine {
    /// Creates the file, readable by its owner only, or makes sure that it is ours.
    pub(crate) fn open(path: &Path) -> Result<Self, DbError> {
        let foreign = || DbError::Foreign { path: path.to_owned() };
        if !begins_as_sqlite(path).map_err(io_error)? {
            return Err(foreign());
        }
        create_private(path).map_err(io_error)?;
        let engine = Self { path: path.to_owned() };
        if !engine.claim()? {
            return Err(foreign());
        }
        make_private(path).map_err(io_error)?;
        Ok(engine)
    }

    /// Makes sure that a file is there and ours, and leaves it as it is.
    pub(crate) fn open_existing(path: &Path) -> Result<Self, DbError> {
        let engine = Self { path: path.to_owned() };
        let is_file = std::fs::metadata(path).map_err(io_error)?.is_file();
        let id = || {
            let connection = engine.connect()?;
            connection
                .pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0))
                .map_err(storage_error)
        };
        if is_file && begins_as_sqlite(path).map_err(io_error)? && id()? == APPLICATION_ID {
            Ok(engine)
        } else {
            Err(DbError::Foreign { path: path.to_owned() })
        }
    }

    /// Marks an empty file as ours. `false` if the file is somebody else's.
    fn claim(&self) -> Result<bool, DbError> {
        let connection = self.connect()?;
        let id: i32 =
            connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(storage_error)?;
        let objects: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(storage_error)?;
        if id == 0 && objects == 0 {
            connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(storage_error)?;
            return Ok(true);
        }
        Ok(id == APPLICATION_ID)
    }

    /// Makes sure that the file is not one copy among several: what were written to it alone would be nowhere else.
    pub(crate) fn alone(self) -> Result<Self, DbError> {
        match is_replicated(&self.connect()?)? {
            true => Err(DbError::Replicated { path: self.path }),
            false => Ok(self),
        }
    }

    /// A connection whose commits are durable.
    pub(in crate::engine) fn connect_writer(&self) -> Result<Connection, DbError> {
        let connection = self.connect()?;
        connection.pragma_update(None, "journal_mode", "wal").map_err(storage_error)?;
        connection.pragma_update(None, "synchronous", "full").map_err(storage_error)?;
        Ok(connection)
    }

    /// A connection that changes nothing.
    pub(in crate::engine) fn connect_reader(&self) -> Result<Connection, DbError> {
        let connection = self.connect()?;
        connection.pragma_update(None, "query_only", true).map_err(storage_error)?;
        Ok(connection)
    }

    fn connect(&self) -> Result<Connection, DbError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags).map_err(storage_error)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(storage_error)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        if tracing::enabled!(target: "cm_db::sql", tracing::Level::TRACE) {
            let logged = connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(log_statement));
            logged.map_err(storage_error)?;
        }
        Ok(connection)
    }
}

fn log_statement(event: TraceEvent<'_>) {
    if let TraceEvent::Stmt(statement, _) = event {
        tracing::trace!(target: "cm_db::sql", sql = %statement.sql(), "statement");
    }
}

/// Creates the file unless it is there, and makes its name durable: a power cut must not lose the name of
/// a file whose contents were answered for.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// SQLite gives its side files the mode of the file.
fn make_private(path: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

/// Whether the file is a database of some sort, or not there yet.
fn begins_as_sqlite(path: &Path) -> std::io::Result<bool> {
    use std::io::Read;
    let mut head = Vec::with_capacity(MAGIC.len());
    match std::fs::File::open(path) {
        Ok(file) => file.take(MAGIC.len() as u64).read_to_end(&mut head)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    Ok(head.is_empty() || head == MAGIC)
}

impl Engine for SqliteEngine {
    fn writer(&self) -> Result<Box<dyn Writer>, DbError> {
        Ok(Box::new(SqliteConnection(self.connect_writer()?)))
    }

    fn reader(&self) -> Result<Box<dyn Reader>, DbError> {
        Ok(Box::new(SqliteConnection(self.connect_reader()?)))
    }

    fn readers(&self) -> usize {
        READERS
    }

    fn inline_readers(&self) -> usize {
        std::thread::available_parallelism().map_or(READERS, usize::from).min(INLINE_READERS_MAX)
    }
}

struct SqliteConnection(Connection);

/// Examines a whole file for damage.
pub(in crate::engine) fn check(connection: &Connection) -> Result<(), DbError> {
    let finding: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(storage_error)?;
    if finding == "ok" { Ok(()) } else { Err(DbError::Corrupt(Corruption::Check { finding })) }
}

impl Writer for SqliteConnection {
    fn transaction(
        &mut self,
        _: Pace,
        body: &mut dyn FnMut(&dyn WriteStore) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let transaction = Transaction::begin(&self.0, "BEGIN IMMEDIATE").map_err(storage_error)?;
        body(&SqliteStore(&self.0))?;
        // A serious failure makes SQLite roll back by itself; COMMIT would then fail as "no transaction".
        transaction.commit().map_err(|error| {
            let source = StorageError::from(error);
            let certain = matches!(source.class, StorageClass::Busy | StorageClass::Full);
            let effect = if certain { Effect::NotDone } else { Effect::Unknown };
            DbError::CommitFailed { effect, source }
        })
    }

    fn check(&mut self) -> Result<(), DbError> {
        check(&self.0)
    }

    fn close(&mut self) -> Result<(), DbError> {
        self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(storage_error)
    }
}

impl Reader for SqliteConnection {
    fn snapshot(&mut self, _: Pace, body: &mut dyn FnMut(&dyn ReadStore)) -> Result<(), DbError> {
        let _transaction = Transaction::begin(&self.0, "BEGIN DEFERRED").map_err(storage_error)?;
        body(&SqliteStore(&self.0));
        Ok(())
    }
}

/// A transaction, rolled back when it is dropped without a commit. As that of `rusqlite`, whose statements are parsed
/// anew each time, which is a third of what a look-up costs.
pub(in crate::engine) struct Transaction<'a>(&'a Connection);

impl<'a> Transaction<'a> {
    pub(in crate::engine) fn begin(connection: &'a Connection, sql: &str) -> rusqlite::Result<Self> {
        if !connection.is_autocommit() {
            // An earlier one could not be rolled back.
            connection.execute_batch("ROLLBACK")?;
        }
        connection.prepare_cached(sql)?.execute([])?;
        Ok(Self(connection))
    }

    /// If it fails, whatever is left of the transaction is rolled back.
    pub(in crate::engine) fn commit(self) -> rusqlite::Result<()> {
        self.0.prepare_cached("COMMIT")?.execute([]).map(drop)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.0.is_autocommit() {
            return;
        }
        let rolled_back = self.0.prepare_cached("ROLLBACK").and_then(|mut rollback| rollback.execute([]));
        if let Err(error) = rolled_back {
            tracing::error!(%error, "transaction not rolled back");
        }
    }
}

pub(in crate::engine) struct SqliteStore<'a>(pub(in crate::engine) &'a Connection);

impl SqliteStore<'_> {
    /// Runs a statement about one table; the number of rows changed.
    fn execute(
        &self,
        table: &str,
        sql: impl Fn(&str) -> String,
        params: impl rusqlite::Params,
    ) -> Result<usize, DbError> {
        let mut statement = self.prepare(table, &sql(table))?;
        statement.execute(params).map_err(storage_error)
    }

    /// [`DbError::UnknownTable`] if there is no such table.
    pub(in crate::engine) fn check_table(&self, table: &str) -> Result<(), DbError> {
        self.prepare(table, &format!("SELECT v FROM t_{table} WHERE k = ?1")).map(drop)
    }

    fn prepare(&self, table: &str, sql: &str) -> Result<rusqlite::CachedStatement<'_>, DbError> {
        self.0.prepare_cached(sql).map_err(|error| match &error {
            rusqlite::Error::SqlInputError { msg, .. } | rusqlite::Error::SqliteFailure(_, Some(msg))
                if msg.starts_with("no such table") =>
            {
                DbError::UnknownTable { table: table.to_owned() }
            }
            _ => storage_error(error),
        })
    }

    /// Runs a statement that begins or ends something.
    fn control(&self, sql: &str) -> Result<(), DbError> {
        let mut statement = self.0.prepare_cached(sql).map_err(storage_error)?;
        statement.execute([]).map(drop).map_err(storage_error)
    }

    fn batch(&self, sql: &str) -> Result<(), DbError> {
        self.0.execute_batch(sql).map_err(storage_error)
    }
}

impl ReadStore for SqliteStore<'_> {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        let mut statement = self.prepare(table, &format!("SELECT v FROM t_{table} WHERE k = ?1"))?;
        statement.query_row([key], |row| row.get(0)).optional().map_err(storage_error)
    }

    fn scan(
        &self,
        table: &str,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, DbError> {
        let order = match direction {
            Direction::Forward => "ASC",
            Direction::Backward => "DESC",
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let select = format!("SELECT k, v FROM t_{table} WHERE k >= ?1");
        let result: rusqlite::Result<Vec<Pair>> = match &range.end {
            Some(end) => self
                .prepare(table, &format!("{select} AND k < ?2 ORDER BY k {order} LIMIT ?3"))?
                .query_map(params![range.start, end, limit], pair)
                .and_then(Iterator::collect),
            None => self
                .prepare(table, &format!("{select} ORDER BY k {order} LIMIT ?2"))?
                .query_map(params![range.start, limit], pair)
                .and_then(Iterator::collect),
        };
        result.map_err(storage_error)
    }

    fn tables(&self) -> Result<Vec<String>, DbError> {
        let sql =
            "SELECT substr(name, 3) FROM sqlite_schema WHERE type = 'table' AND name GLOB 't_*' ORDER BY 1";
        let mut statement = self.0.prepare(sql).map_err(storage_error)?;
        let names = statement.query_map([], |row| row.get(0)).and_then(Iterator::collect);
        names.map_err(storage_error)
    }

    fn versions(&self) -> Result<Versions, DbError> {
        let data =
            self.0.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(storage_error)?;
        let there = "SELECT count(*) FROM sqlite_schema WHERE name = 'compatible_from'";
        let there: i64 = self.0.query_row(there, [], |row| row.get(0)).map_err(storage_error)?;
        if there == 0 {
            // Data of the time when every version refused all older programs.
            return Ok(Versions { data, compatible_from: data });
        }
        let compatible_from = self
            .0
            .query_row("SELECT version FROM compatible_from", [], |row| row.get(0))
            .map_err(storage_error)?;
        Ok(Versions { data, compatible_from })
    }
}

impl WriteStore for SqliteStore<'_> {
    fn insert(&self, table: &str, key: &[u8], value: &[u8]) -> Result<bool, DbError> {
        let sql =
            |table: &str| format!("INSERT INTO t_{table} (k, v) VALUES (?1, ?2) ON CONFLICT (k) DO NOTHING");
        Ok(self.execute(table, sql, [key, value])? == 1)
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> Result<(), DbError> {
        let sql = |table: &str| {
            format!("INSERT INTO t_{table} (k, v) VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = ?2")
        };
        self.execute(table, sql, [key, value]).map(|_| ())
    }

    fn delete(&self, table: &str, key: &[u8]) -> Result<bool, DbError> {
        let sql = |table: &str| format!("DELETE FROM t_{table} WHERE k = ?1");
        Ok(self.execute(table, sql, [key])? == 1)
    }

    fn savepoint(&self) -> Result<(), DbError> {
        self.control("SAVEPOINT closure")
    }

    fn release(&self) -> Result<(), DbError> {
        self.control("RELEASE closure")
    }

    fn rollback(&self) -> Result<(), DbError> {
        self.batch("ROLLBACK TO closure; RELEASE closure")
    }

    fn create_table(&self, table: &str) -> Result<(), DbError> {
        self.batch(&format!(
            "CREATE TABLE IF NOT EXISTS t_{table} (k BLOB NOT NULL PRIMARY KEY, v BLOB NOT NULL) STRICT, WITHOUT ROWID"
        ))
    }

    fn set_versions(&self, versions: Versions) -> Result<(), DbError> {
        self.0.pragma_update(None, "user_version", versions.data).map_err(storage_error)?;
        self.batch(&format!(
            "CREATE TABLE IF NOT EXISTS compatible_from (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL) STRICT;
             INSERT INTO compatible_from VALUES (1, {floor}) ON CONFLICT (one) DO UPDATE SET version = {floor}",
            floor = versions.compatible_from,
        ))
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        let class = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StorageClass::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StorageClass::Busy,
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly,
            ) => StorageClass::Io,
            _ => StorageClass::Other,
        };
        StorageError { class, source: Arc::new(error) }
    }
}

pub(in crate::engine) fn storage_error(error: rusqlite::Error) -> DbError {
    let damaged =
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
    let source = StorageError::from(error);
    if damaged { DbError::Corrupt(Corruption::Storage(source)) } else { DbError::Storage(source) }
}

pub(in crate::engine) fn io_error(error: std::io::Error) -> DbError {
    let class = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StorageClass::Full,
        _ => StorageClass::Io,
    };
    DbError::Storage(StorageError { class, source: Arc::new(error) })
}

#[cfg(test)]
mod tests;
