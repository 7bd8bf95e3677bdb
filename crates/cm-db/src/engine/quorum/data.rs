//! The data's file as the applier sees it.

use cm_quorum::{Applied, Entry, Position, Verdict, decode_members, encode_members};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OptionalExtension, params};

use super::changes;
use super::journal::{damaged, signed, unsigned};
use crate::DbError;
use crate::engine::sqlite::{SqliteEngine, SqliteStore, Transaction, storage_error};
use crate::engine::{ReadStore, WriteStore};

/// The row that makes a file one copy among several. Plain SQLite refuses to write to such a file.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS replicated (
        one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL, term INTEGER NOT NULL,
        version INTEGER NOT NULL, members BLOB NOT NULL, flushes INTEGER NOT NULL) STRICT";

pub(super) struct Data {
    connection: Connection,
    applied: Applied,
}

impl Data {
    pub(super) fn open(sqlite: &SqliteEngine) -> Result<Self, DbError> {
        let connection = sqlite.connect_writer()?;
        // What a power cut takes is applied again from the log.
        connection.pragma_update(None, "synchronous", "normal").map_err(storage_error)?;
        let mut data = Self { connection, applied: Applied::default() };
        if data.is_replicated()? {
            data.applied = read_applied(&data.connection)?;
        }
        Ok(data)
    }

    pub(super) fn is_replicated(&self) -> Result<bool, DbError> {
        is_replicated(&self.connection)
    }

    /// Whether there are no tables yet.
    pub(super) fn is_empty(&self) -> Result<bool, DbError> {
        Ok(SqliteStore(&self.connection).tables()?.is_empty())
    }

    /// How far it is.
    pub(super) fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Makes the file a copy that is so far.
    pub(super) fn begin(&mut self, applied: &Applied) -> Result<(), DbError> {
        let transaction = Transaction::begin(&self.connection, "BEGIN IMMEDIATE").map_err(storage_error)?;
        self.connection.execute_batch(SCHEMA).map_err(storage_error)?;
        put_applied(&self.connection, applied)?;
        transaction.commit().map_err(storage_error)?;
        self.applied = applied.clone();
        self.flush()
    }

    /// Applies entries, all or none. Whether each had an effect.
    pub(super) fn apply(&mut self, entries: &[Entry]) -> Result<Vec<bool>, DbError> {
        let transaction = Transaction::begin(&self.connection, "BEGIN IMMEDIATE").map_err(storage_error)?;
        let mut applied = self.applied.clone();
        let store = SqliteStore(&self.connection);
        let mut effects = Vec::with_capacity(entries.len());
        for entry in entries {
            if !applied.follows(entry) {
                return Err(damaged("an entry is applied out of order"));
            }
            let verdict = applied.apply(entry);
            if let Verdict::Change(bytes) = verdict {
                changes::apply(bytes, &store as &dyn WriteStore)?;
            }
            effects.push(verdict != Verdict::Nothing);
        }
        put_applied(&self.connection, &applied)?;
        transaction.commit().map_err(storage_error)?;
        self.applied = applied;
        Ok(effects)
    }

    /// Makes everything durable. A commit that is flushed takes along what was written to the same log before it.
    pub(super) fn flush(&mut self) -> Result<(), DbError> {
        let level =
            |level: &str| self.connection.pragma_update(None, "synchronous", level).map_err(storage_error);
        level("full")?;
        let flushed = self.connection.execute("UPDATE replicated SET flushes = flushes + 1", []);
        level("normal")?;
        flushed.map(drop).map_err(storage_error)
    }

    /// Puts a copy in the place of the data, in one transaction; readers go on with what they see.
    pub(super) fn replace(&mut self, copy: &Connection) -> Result<(), DbError> {
        self.connection.flush_prepared_statement_cache();
        // As long as another connection is in the middle of something.
        const ATTEMPTS: u32 = 100;
        let backup = Backup::new(copy, &mut self.connection).map_err(storage_error)?;
        for attempt in 0.. {
            match backup.step(-1).map_err(storage_error)? {
                StepResult::Done => break,
                _ if attempt == ATTEMPTS => return Err(damaged("the file is in use and cannot be replaced")),
                _ => std::thread::park_timeout(std::time::Duration::from_millis(50)),
            }
        }
        drop(backup);
        self.applied = read_applied(&self.connection)?;
        self.flush()
    }
}

/// Whether the file is one copy among several.
pub(in crate::engine) fn is_replicated(connection: &Connection) -> Result<bool, DbError> {
    let there = "SELECT count(*) FROM sqlite_schema WHERE name = 'replicated'";
    let there: i64 = connection.query_row(there, [], |row| row.get(0)).map_err(storage_error)?;
    Ok(there > 0)
}

/// How far the copy is, as of the transaction that the connection is in.
pub(super) fn read_applied(connection: &Connection) -> Result<Applied, DbError> {
    let row = connection
        .prepare_cached("SELECT position, term, version, members FROM replicated")
        .and_then(|mut statement| {
            statement
                .query_row([], |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, i64>(1)?,
                        row.get::<_, i64>(2)?,
                        row.get::<_, Vec<u8>>(3)?,
                    ))
                })
                .optional()
        })
        .map_err(storage_error)?;
    let (index, term, version, members) =
        row.ok_or_else(|| damaged("the data does not say how far it is"))?;
    Ok(Applied {
        at: Position { index: unsigned(index)?, term: unsigned(term)? },
        version: unsigned(version)?,
        members: decode_members(&members).map_err(damaged)?,
    })
}

fn put_applied(connection: &Connection, applied: &Applied) -> Result<(), DbError> {
    let Applied { at, version, members } = applied;
    let sql = "INSERT INTO replicated VALUES (1, ?1, ?2, ?3, ?4, 0) ON CONFLICT (one) DO UPDATE
               SET position = ?1, term = ?2, version = ?3, members = ?4";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.execute(params![
                signed(at.index),
                signed(at.term),
                signed(*version),
                encode_members(members)
            ])
        })
        .map(drop)
        .map_err(storage_error)
}
