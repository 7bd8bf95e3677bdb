//! The log, durable: a SQLite file of its own.

use std::path::Path;

use cm_quorum::{
    Base, ClusterId, Entry, Hard, MemberId, Position, Stored, Write, decode_body, decode_members,
    encode_body, encode_members,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::engine::sqlite::{SqliteEngine, Transaction, storage_error};
use crate::{Corruption, DbError};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS hard (
        one INTEGER PRIMARY KEY CHECK (one = 1), term INTEGER NOT NULL, vote BLOB, cluster BLOB) STRICT;
    CREATE TABLE IF NOT EXISTS base (
        one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL, term INTEGER NOT NULL, members BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS entries (
        position INTEGER PRIMARY KEY, term INTEGER NOT NULL, body BLOB NOT NULL) STRICT";

pub(super) struct Journal(Connection);

impl Journal {
    pub(super) fn open(path: &Path) -> Result<Self, DbError> {
        let connection = SqliteEngine::open(path)?.connect_writer()?;
        connection.execute_batch(SCHEMA).map_err(storage_error)?;
        Ok(Self(connection))
    }

    pub(super) fn load(&mut self) -> Result<Stored, DbError> {
        let hard = self.0.query_row("SELECT term, vote, cluster FROM hard", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Vec<u8>>>(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
        });
        let mut stored = Stored::default();
        if let Some((term, vote, cluster)) = hard.optional().map_err(storage_error)? {
            let vote = vote.map(array).transpose()?.map(|id| MemberId(u64::from_be_bytes(id)));
            let cluster = cluster.map(array).transpose()?.map(|id| ClusterId(u128::from_be_bytes(id)));
            stored.hard = Hard { term: unsigned(term)?, vote, cluster };
        }
        let base = self.0.query_row("SELECT position, term, members FROM base", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?))
        });
        if let Some((index, term, members)) = base.optional().map_err(storage_error)? {
            let at = Position { index: unsigned(index)?, term: unsigned(term)? };
            stored.base = Base { at, members: decode_members(&members).map_err(damaged)? };
        }
        let mut statement = self
            .0
            .prepare("SELECT position, term, body FROM entries ORDER BY position")
            .map_err(storage_error)?;
        let mut rows = statement.query([]).map_err(storage_error)?;
        while let Some(row) = rows.next().map_err(storage_error)? {
            let number = |at| row.get::<_, i64>(at).map_err(storage_error).and_then(unsigned);
            let body = row.get_ref(2).and_then(|body| Ok(body.as_blob()?)).map_err(storage_error)?;
            let at = Position { index: number(0)?, term: number(1)? };
            stored.entries.push(Entry { at, body: decode_body(body).map_err(damaged)? });
        }
        Ok(stored)
    }

    /// The first that is ever written.
    pub(super) fn begin(&mut self, stored: &Stored) -> Result<(), DbError> {
        self.write(&[Write::Hard(stored.hard), Write::Reset(stored.base.clone())])
    }

    /// All of it or nothing, and durable.
    pub(super) fn write(&mut self, writes: &[Write]) -> Result<(), DbError> {
        let transaction = Transaction::begin(&self.0, "BEGIN IMMEDIATE").map_err(storage_error)?;
        for write in writes {
            self.put(write).map_err(storage_error)?;
        }
        transaction.commit().map_err(storage_error)
    }

    fn put(&self, write: &Write) -> rusqlite::Result<()> {
        let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
            self.0.prepare_cached(sql)?.execute(params).map(drop)
        };
        match write {
            Write::Hard(Hard { term, vote, cluster }) => run(
                "INSERT OR REPLACE INTO hard VALUES (1, ?1, ?2, ?3)",
                params![
                    signed(*term),
                    vote.map(|id| id.0.to_be_bytes()),
                    cluster.map(|id| id.0.to_be_bytes())
                ],
            ),
            Write::Truncate { from } => {
                run("DELETE FROM entries WHERE position >= ?1", params![signed(*from)])
            }
            Write::Append(Entry { at, body }) => run(
                "INSERT INTO entries VALUES (?1, ?2, ?3)",
                params![signed(at.index), signed(at.term), encode_body(body)],
            ),
            Write::Compact(base) => {
                run("DELETE FROM entries WHERE position <= ?1", params![signed(base.at.index)])?;
                self.put_base(base)
            }
            Write::Reset(base) => {
                run("DELETE FROM entries", params![])?;
                self.put_base(base)
            }
        }
    }

    fn put_base(&self, base: &Base) -> rusqlite::Result<()> {
        let members = encode_members(&base.members);
        self.0
            .prepare_cached("INSERT OR REPLACE INTO base VALUES (1, ?1, ?2, ?3)")?
            .execute(params![signed(base.at.index), signed(base.at.term), members])
            .map(drop)
    }
}

/// Indices and terms never come near the end of either range.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> Result<u64, DbError> {
    u64::try_from(number).map_err(damaged)
}

fn array<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N], DbError> {
    bytes.try_into().map_err(|_| damaged("a name has another length"))
}

pub(super) fn damaged(error: impl std::fmt::Display) -> DbError {
    DbError::Corrupt(Corruption::Check { finding: format!("the replicated log: {error}") })
}
