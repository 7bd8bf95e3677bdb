//! Ordered tables in transactions, behind one seam.
//!
//! A table maps ordered keys to versioned rows. Everything happens in transactions: [`Db::write`] runs
//! a closure against the newest state, [`Db::read`] against a snapshot. Both closures are synchronous,
//! run on threads of their own and must be short.
//!
//! **Writing.** One thread owns the only writing connection. It takes what is queued, runs each
//! closure in a savepoint (an error or a panic undoes just that closure), commits all of them at once
//! and only then answers: with one disk flush per batch instead of one per caller, durability is
//! affordable. [`WriteTx::on_commit`] runs code after that commit.
//!
//! **Engines.** SQLite ([`open_sqlite`]) keeps one file and is the default; PostgreSQL ([`open_postgres`]) serves several
//! nodes; without it nodes keep a SQLite file each and agree by themselves ([`open_quorum`]); [`open_memory`] keeps
//! nothing and serves tests and simulation. All pass the same [`conformance`] suite. An engine sees
//! only bytes, so that another one can be added without touching a table.
//!
//! **Encodings.** A key's bytes sort as the key does and say where they end ([`Key`]); a row is one
//! version byte and JSON ([`Row`]). Data written by an older version is read for ever; data written by
//! a newer one is refused at opening ([`DbError::NewerData`]).
//!
//! Deliberately absent: joins, secondary indexes kept by the engine, queries. Whoever needs another
//! order keeps another table in the same transaction.

pub mod conformance;
mod db;
mod engine;
mod error;
mod key;
mod range;
mod row;
mod schema;
mod tx;

pub use db::{
    BackupError, BackupSummary, Db, QuorumPart, begin_quorum, inspect_postgres, inspect_sqlite, open_memory,
    open_postgres, open_quorum, open_sqlite, start_quorum,
};
pub use engine::postgres::{InvalidUrl, PostgresConfig};
pub use engine::quorum::{
    Carrier, ChangeFailed, Quorum, QuorumConfig, QuorumError, QuorumPort, QuorumSender, Start,
};
pub use error::{Corruption, DbError, Effect, StorageClass, StorageError};
pub use key::{InvalidKey, Key};
pub use range::{Direction, KeyPrefix, KeyRange};
pub use row::{InvalidRow, Row, Table};
pub use schema::{Migration, Schema, Versions};
pub use tx::{KEY_LEN_MAX, ROW_LEN_MAX, RawRows, ReadTx, Rows, WriteTx};
