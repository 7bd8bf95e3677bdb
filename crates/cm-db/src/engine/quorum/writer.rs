//! The connection that writes: at its turn, in memory, and then to everybody.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use cm_quorum::{Answer, CHANGES_LEN_MAX, Version};
use rusqlite::Connection;

use super::changes;
use super::data::read_applied;
use super::driver::Event;
use super::handle::{Quorum, QuorumError};
use crate::engine::overlay::Overlay;
use crate::engine::sqlite::{SqliteStore, Transaction, check, storage_error};
use crate::engine::{Pace, Pair, ReadStore, WriteStore, Writer};
use crate::{DbError, Direction, Effect, KeyRange, Versions};

/// Bytes in memory beyond which a batch ends.
const PENDING_BYTES_MAX: usize = 8 << 20;

pub(super) struct QuorumWriter {
    connection: Connection,
    handle: Quorum,
    answers: mpsc::Receiver<(u64, Answer)>,
    /// This program's schema version.
    version: u32,
    /// Tells what is asked now from what was asked before.
    number: u64,
    stopped: bool,
}

impl QuorumWriter {
    pub(super) fn new(
        connection: Connection,
        handle: Quorum,
        answers: mpsc::Receiver<(u64, Answer)>,
        version: u32,
    ) -> Self {
        Self { connection, handle, answers, version, number: 0, stopped: false }
    }

    /// What is answered to the current question; `None` if nothing is in time.
    fn wait(&self, time: Duration) -> Result<Option<Answer>, DbError> {
        let until = Instant::now() + time;
        loop {
            match self.answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((number, answer)) if number == self.number => return Ok(Some(answer)),
                // Of a question that was given up.
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Timeout) => return Ok(None),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(self.handle.ended()),
            }
        }
    }

    fn take_turn(&mut self, pace: Pace) -> Result<(), DbError> {
        self.number += 1;
        self.handle.tell(Event::Ask(self.number));
        let wait = match pace {
            Pace::Short => self.handle.turn_wait,
            // Nodes that start together find each other first.
            Pace::Long => self.handle.open_wait,
        };
        match self.wait(wait)? {
            Some(_) => Ok(()),
            None => {
                self.give_up();
                Err(DbError::Storage(QuorumError::NoTurn.into_storage()))
            }
        }
    }

    fn give_up(&self) {
        self.handle.tell(Event::Forget(self.number));
    }

    /// Submits, and waits for what becomes of it.
    fn submit(&self, base: Version, changes: Vec<u8>) -> Result<(), DbError> {
        self.handle.tell(Event::Submit(self.number, base, changes.into()));
        let failed =
            |effect, error: QuorumError| Err(DbError::CommitFailed { effect, source: error.into_storage() });
        let answer = self.wait(self.handle.commit_wait);
        self.give_up();
        match answer {
            Ok(Some(Answer::Done { .. })) => Ok(()),
            Ok(Some(Answer::Stale { .. })) => failed(Effect::NotDone, QuorumError::Overtaken),
            Ok(_) => failed(Effect::Unknown, QuorumError::NoAnswer),
            // It was on its way when this node's part ended.
            Err(_) => failed(Effect::Unknown, QuorumError::NoAnswer),
        }
    }

    /// Runs the body on the newest state; the version of that, and what is to change.
    fn compute(
        &self,
        body: &mut dyn FnMut(&dyn WriteStore) -> Result<(), DbError>,
    ) -> Result<(Version, Option<Vec<u8>>), DbError> {
        let _snapshot = Transaction::begin(&self.connection, "BEGIN DEFERRED").map_err(storage_error)?;
        // The first read: what is read afterwards is as of this version.
        let base = read_applied(&self.connection)?.version;
        let sqlite = SqliteStore(&self.connection);
        let Versions { data, compatible_from } = sqlite.versions()?;
        if compatible_from > self.version {
            return Err(DbError::NewerData { found: data, compatible_from, known: self.version });
        }
        let store = QuorumStore { sqlite, pending: RefCell::default() };
        body(&store)?;
        let mut pending = store.pending.into_inner();
        let tables = pending.overlay.take();
        if tables.is_empty() && pending.created.is_empty() && pending.versions.is_none() {
            return Ok((base, None));
        }
        let created: Vec<String> = pending.created.into_iter().collect();
        let changes = changes::encode(pending.versions, &created, &tables);
        if changes.len() > CHANGES_LEN_MAX {
            return Err(DbError::TransactionTooLarge { bytes: changes.len(), max: CHANGES_LEN_MAX });
        }
        Ok((base, Some(changes)))
    }

    /// A batch that changes nothing was a read: it counts only if what it read is still the newest state. The turn does not say so: it may
    /// have been taken away, and closures join a batch long after it was given.
    fn confirm(&self, base: Version) -> Result<(), DbError> {
        self.handle.tell(Event::Confirm(self.number));
        let answer = self.wait(self.handle.turn_wait);
        self.give_up();
        match answer? {
            Some(Answer::Barrier { .. }) => {}
            _ => return Err(DbError::Storage(QuorumError::NoTurn.into_storage())),
        }
        if read_applied(&self.connection)?.version == base {
            return Ok(());
        }
        let source = QuorumError::Overtaken.into_storage();
        Err(DbError::CommitFailed { effect: Effect::NotDone, source })
    }
}

impl Writer for QuorumWriter {
    fn transaction(
        &mut self,
        pace: Pace,
        body: &mut dyn FnMut(&dyn WriteStore) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        self.take_turn(pace)?;
        match self.compute(body) {
            Ok((base, Some(changes))) => self.submit(base, changes),
            Ok((base, None)) => self.confirm(base),
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    fn check(&mut self) -> Result<(), DbError> {
        check(&self.connection)
    }

    fn close(&mut self) -> Result<(), DbError> {
        self.stopped = true;
        self.handle.stop();
        Ok(())
    }
}

impl Drop for QuorumWriter {
    fn drop(&mut self) {
        if !self.stopped {
            self.handle.stop();
        }
    }
}

/// What a batch wants to change.
#[derive(Debug, Default)]
struct Pending {
    overlay: Overlay,
    created: BTreeSet<String>,
    versions: Option<Versions>,
}

/// The newest state, and what a batch wants to change of it.
struct QuorumStore<'a> {
    sqlite: SqliteStore<'a>,
    pending: RefCell<Pending>,
}

impl QuorumStore<'_> {
    fn is_new(&self, table: &str) -> bool {
        self.pending.borrow().created.contains(table)
    }

    fn check_table(&self, table: &str) -> Result<(), DbError> {
        if self.is_new(table) { Ok(()) } else { self.sqlite.check_table(table) }
    }

    fn set(&self, table: &str, key: &[u8], value: Option<&[u8]>) {
        self.pending.borrow_mut().overlay.set(table, key, value.map(<[u8]>::to_vec));
    }
}

impl ReadStore for QuorumStore<'_> {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        if let Some(value) = self.pending.borrow().overlay.get(table, key) {
            return Ok(value.clone());
        }
        if self.is_new(table) { Ok(None) } else { self.sqlite.get(table, key) }
    }

    fn scan(
        &self,
        table: &str,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, DbError> {
        let pending = self.pending.borrow();
        let wanted = limit.saturating_add(pending.overlay.deleted(table, range));
        let here = match pending.created.contains(table) {
            true => Vec::new(),
            false => self.sqlite.scan(table, range, direction, if limit == 0 { 0 } else { wanted })?,
        };
        Ok(pending.overlay.merge(table, range, direction, limit, here))
    }

    fn tables(&self) -> Result<Vec<String>, DbError> {
        let mut tables: BTreeSet<String> = self.sqlite.tables()?.into_iter().collect();
        tables.extend(self.pending.borrow().created.iter().cloned());
        Ok(tables.into_iter().collect())
    }

    fn versions(&self) -> Result<Versions, DbError> {
        self.pending.borrow().versions.map_or_else(|| self.sqlite.versions(), Ok)
    }
}

impl WriteStore for QuorumStore<'_> {
    fn insert(&self, table: &str, key: &[u8], value: &[u8]) -> Result<bool, DbError> {
        let free = self.get(table, key)?.is_none();
        if free {
            self.set(table, key, Some(value));
        }
        Ok(free)
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> Result<(), DbError> {
        self.check_table(table)?;
        self.set(table, key, Some(value));
        Ok(())
    }

    fn delete(&self, table: &str, key: &[u8]) -> Result<bool, DbError> {
        let existed = self.get(table, key)?.is_some();
        if existed {
            self.set(table, key, None);
        }
        Ok(existed)
    }

    fn savepoint(&self) -> Result<(), DbError> {
        self.pending.borrow_mut().overlay.mark();
        Ok(())
    }

    fn release(&self) -> Result<(), DbError> {
        self.pending.borrow_mut().overlay.keep();
        Ok(())
    }

    fn rollback(&self) -> Result<(), DbError> {
        self.pending.borrow_mut().overlay.undo();
        Ok(())
    }

    fn create_table(&self, table: &str) -> Result<(), DbError> {
        match self.sqlite.check_table(table) {
            Err(DbError::UnknownTable { .. }) => {
                self.pending.borrow_mut().created.insert(table.to_owned());
                Ok(())
            }
            checked => checked,
        }
    }

    fn set_versions(&self, versions: Versions) -> Result<(), DbError> {
        self.pending.borrow_mut().versions = (self.sqlite.versions()? != versions).then_some(versions);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.pending.borrow().overlay.bytes() >= PENDING_BYTES_MAX
    }
}
