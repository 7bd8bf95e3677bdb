//! Tables in a PostgreSQL database that several processes share.
//!
//! Each table is one SQL table of keys and values in the schema `cryptomesh`; `bytea` sorts as our keys do.
//!
//! **Writers** of all processes take turns: a batch holds an advisory lock of the database from its first statement to
//! its commit, so that it sees everything that was ever committed, and nothing it has read can change before it
//! commits. Nothing is tried again because of a conflict, and chains such as that of the event log stay chains.
//!
//! **Readers** see snapshots (`REPEATABLE READ`). A transaction opens in the round trip of its first statement and
//! ends without waiting.
//!
//! **When the server is gone**, transactions fail at once with an error that is worth a retry
//! ([`StorageClass::Unreachable`](crate::StorageClass)), and connections are made again as they are needed. Only a
//! connection that is lost during the commit leaves open whether it happened.
//!
//! Not for a pooler that gives every transaction another connection: prepared statements and notifications belong to
//! connections.

mod config;
mod known;
mod link;
mod listener;
mod reader;
mod session;
mod tls;
mod writer;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use tokio::sync::watch;

pub use config::{InvalidUrl, PostgresConfig};
use link::SCHEMA;
use listener::Listener;
use reader::PostgresReader;
use session::{LOCK, Session, Shared};
use writer::PostgresWriter;

use super::{Engine, Reader, Ticks, Writer};
use crate::DbError;
use crate::db::spawn_thread;

/// A commit is on disk before it is answered, whatever the server's default; a stronger setting stays.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Opens connections to one database.
pub(crate) struct PostgresEngine {
    shared: Arc<Shared>,
    /// This program's schema version.
    version: u32,
    /// What our notifications are told by.
    name: String,
}

impl PostgresEngine {
    /// Connects, and creates our schema with its record of versions unless it is there.
    pub(crate) fn open(config: &PostgresConfig, version: u32) -> Result<Self, DbError> {
        let shared = Arc::new(Shared::new(config.clone(), config.make_tls()?));
        let name = format!("{:016x}", RandomState::new().build_hasher().finish());
        let engine = Self { shared, version, name };
        engine.create()?;
        Ok(engine)
    }

    fn create(&self) -> Result<(), DbError> {
        let mut link = self.shared.connect()?;
        let there = format!("SELECT 1 WHERE to_regclass('{SCHEMA}.meta') IS NOT NULL");
        let there = link.ask(async |client| client.simple_query(&there).await)?;
        if there.iter().any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_))) {
            return Ok(());
        }
        // One command is one transaction, so that the lock is held to its end: of two that start at once, one waits.
        let create = format!(
            "SELECT pg_advisory_xact_lock({LOCK}); \
             CREATE SCHEMA IF NOT EXISTS {SCHEMA}; \
             CREATE TABLE IF NOT EXISTS {SCHEMA}.meta (\
                 one boolean PRIMARY KEY DEFAULT true CHECK (one), \
                 version integer NOT NULL, compatible_from integer NOT NULL); \
             INSERT INTO {SCHEMA}.meta (version, compatible_from) VALUES (0, 0) ON CONFLICT DO NOTHING"
        );
        link.ask(async |client| client.batch_execute(&create).await)?;
        Ok(())
    }
}

impl Engine for PostgresEngine {
    fn writer(&self) -> Result<Box<dyn Writer>, DbError> {
        let session = Session::new(self.shared.clone(), DURABLE);
        Ok(Box::new(PostgresWriter::new(session, self.version, self.name.clone())))
    }

    fn reader(&self) -> Result<Box<dyn Reader>, DbError> {
        Ok(Box::new(PostgresReader(Session::new(self.shared.clone(), ""))))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn readers(&self) -> usize {
        self.shared.config.readers
    }

    fn listen(&self, ticks: Ticks, stop: watch::Receiver<bool>) -> Result<(), DbError> {
        let (shared, name) = (self.shared.clone(), self.name.clone());
        let listener = Listener { shared, ticks, stop, name, ask_every: listener::ASK_EVERY };
        let link = listener.connect()?;
        spawn_thread("db-listener".into(), move || listener.run(link))
    }
}

#[cfg(test)]
mod tests;
