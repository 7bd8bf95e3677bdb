//! Tables in one SQLite file per node, and one log that all nodes agree on.
//!
//! `cm_quorum` decides; here are the threads that do what it says.
//!
//! - The **driver** owns the replica. It hears messages and requests, keeps the log durable (a SQLite file of its own), sends,
//!   and gives out what is committed.
//! - The **applier** alone writes to the data's file: entries in order, each batch of them in one transaction with how far
//!   the file is. It does not flush: what a power cut takes is in the log. Before the log forgets, it flushes.
//! - The **writer** waits for its turn, runs closures against a snapshot with their writes in memory, and submits them. The version
//!   is read in that very snapshot, so that what is submitted is valid on what was read, or not at all.
//! - **Readers** are those of SQLite.
//!
//! Messages are carried by somebody else ([`Carrier`]), who knows for sure who sent them.

mod applier;
mod changes;
mod config;
mod copier;
mod data;
mod driver;
mod handle;
mod journal;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::watch;

use cm_quorum::{Applied, Replica, Setup, Stored};
pub use config::{Carrier, QuorumConfig, QuorumPort, QuorumSender, Start};
use data::Data;
pub(super) use data::is_replicated;
use driver::Driver;
use handle::Shared;
pub use handle::{ChangeFailed, Quorum, QuorumError};
use journal::{Journal, damaged};
use writer::QuorumWriter;

use super::sqlite::SqliteEngine;
use super::{Engine, Reader, Ticks, Writer};
use crate::db::spawn_thread;
use crate::{Corruption, DbError};

/// Opens connections to one node's part.
pub(crate) struct QuorumEngine {
    sqlite: SqliteEngine,
    handle: Quorum,
    /// Taken by the writer, of which there is one.
    writer: Mutex<Option<QuorumWriter>>,
    ticks: Arc<Mutex<Option<Ticks>>>,
}

impl std::fmt::Debug for QuorumEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuorumEngine").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl QuorumEngine {
    /// Opens both files and starts to take part.
    pub(crate) fn open(
        config: QuorumConfig,
        port: QuorumPort,
        carrier: Arc<dyn Carrier>,
        version: u32,
    ) -> Result<Self, DbError> {
        let sqlite = SqliteEngine::open(&config.path)?;
        let mut data = Data::open(&sqlite)?;
        let mut journal = Journal::open(&config.journal)?;
        let stored = begin(&config, &mut data, &mut journal)?;
        let applied = data.applied().clone();
        let seed = port.seed;
        let setup = Setup { id: config.id, timing: config.timing, seed };
        let replica = Replica::new(setup, stored, applied).map_err(inconsistent)?;
        let (events, inbox) = (port.sender(), port.events);
        let ticks = Arc::new(Mutex::new(None));
        let awaited = Arc::new(Mutex::new(None));
        let files = copier::Files::new(&config.path)?;
        let (work, works) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let applier = applier::Applier {
            id: config.id,
            data,
            events: events.clone(),
            ticks: ticks.clone(),
            awaited: awaited.clone(),
            files,
            path: config.path.clone(),
            shared: shared.clone(),
        };
        spawn_thread("db-applier".into(), move || applier.run(&works))?;
        let (answers, answered) = mpsc::channel();
        let (driver, handle) =
            Driver::new(replica, journal, carrier, work, answers, awaited, &config, events, shared);
        spawn_thread("db-quorum".into(), move || driver.run(&inbox))?;
        let writer = QuorumWriter::new(sqlite.connect_reader()?, handle.clone(), answered, version);
        Ok(Self { sqlite, handle, writer: Mutex::new(Some(writer)), ticks })
    }

    pub(crate) fn handle(&self) -> Quorum {
        self.handle.clone()
    }
}

/// Makes both files of a node that founds or joins, durably. A node that records afterwards that it has them, and opens with
/// [`Start::Resume`] from then on, can found only once, and never comes back under its name without them.
pub(crate) fn begin_files(config: &QuorumConfig) -> Result<(), DbError> {
    let mut data = Data::open(&SqliteEngine::open(&config.path)?)?;
    begin(config, &mut data, &mut Journal::open(&config.journal)?).map(drop)
}

/// What the node begins with: what it left, or what the configuration says if there is nothing yet.
fn begin(config: &QuorumConfig, data: &mut Data, journal: &mut Journal) -> Result<Stored, DbError> {
    let stored = journal.load()?;
    let is_new = stored.hard.term == 0;
    if data.is_replicated()? {
        // It may have voted, and promised to keep entries: without its log it is somebody else.
        return match is_new && data.applied().at.index > 0 {
            true => Err(damaged("its file is gone; remove the data, too, and join under another name")),
            false => Ok(stored),
        };
    }
    let conflict = || Err(DbError::Replicated { path: config.path.clone() });
    match &config.start {
        // It voted, and promised to keep entries, under this name; a founder would found a second network under the same one.
        Start::Resume => Err(DbError::Lost { path: config.path.clone() }),
        Start::Join if is_new && data.is_empty()? => {
            data.begin(&Applied::default())?;
            Ok(stored)
        }
        Start::Join => conflict(),
        // Each founder would have data of its own.
        Start::Found { members, .. } if members.len() > 1 && !data.is_empty()? => conflict(),
        Start::Found { cluster, members } => {
            let founding = Stored::founding(*cluster, members.clone());
            // The log first: data that says it is replicated has one. If it ended there, it goes on here.
            if is_new {
                journal.begin(&founding)?;
            } else if stored != founding {
                return Err(damaged(
                    "the data's file is gone; remove the log, too, and join under another name",
                ));
            }
            let at = founding.base.at;
            data.begin(&Applied { at, version: at.index, members: members.clone() })?;
            Ok(founding)
        }
    }
}

pub(super) fn inconsistent(error: cm_quorum::Inconsistent) -> DbError {
    DbError::Corrupt(Corruption::Check { finding: error.to_string() })
}

/// A path beside another one.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl Engine for QuorumEngine {
    fn writer(&self) -> Result<Box<dyn Writer>, DbError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        writer.map(|writer| Box::new(writer) as Box<dyn Writer>).ok_or(DbError::Closed)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, DbError> {
        self.sqlite.reader()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn readers(&self) -> usize {
        self.sqlite.readers()
    }

    fn inline_readers(&self) -> usize {
        self.sqlite.inline_readers()
    }

    fn listen(&self, ticks: Ticks, _: watch::Receiver<bool>) -> Result<(), DbError> {
        // What came before counts as one change.
        ticks.elsewhere();
        *self.ticks.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticks);
        Ok(())
    }

    fn quorum(&self) -> Option<Quorum> {
        Some(self.handle())
    }
}

#[cfg(test)]
mod tests;
