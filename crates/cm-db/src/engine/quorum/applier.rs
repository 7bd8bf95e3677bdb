//! The thread that changes the data.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use cm_quorum::{Body, Entry, Index, MemberId, Message, Request, SnapshotMeta, Task};

use super::config::QuorumSender;
use super::copier::Files;
use super::data::Data;
use super::driver::Event;
use super::handle::Shared;
use crate::DbError;
use crate::db::spawn_thread;
use crate::engine::Ticks;

/// What is to be done, in order.
pub(super) enum Work {
    Apply(Vec<Entry>),
    Task(Task),
    /// Make everything durable; the log shall forget what is before the index.
    Flush(Index),
    Stop(mpsc::Sender<()>),
}

/// Tells what became of a copy, also if its thread panics: nobody would ever ask for another one.
struct Told {
    events: QuorumSender,
    made: Option<SnapshotMeta>,
}

impl Told {
    fn take(&mut self, made: Result<SnapshotMeta, DbError>) {
        match made {
            Ok(meta) => self.made = Some(meta),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "copy of the data not made");
            }
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.events.tell(Event::Made(self.made.take()));
    }
}

pub(super) struct Applier {
    pub(super) id: MemberId,
    pub(super) data: Data,
    pub(super) events: QuorumSender,
    pub(super) ticks: Arc<Mutex<Option<Ticks>>>,
    /// The batch of this node that somebody waits for.
    pub(super) awaited: Arc<Mutex<Option<Request>>>,
    pub(super) files: Files,
    pub(super) path: PathBuf,
    pub(super) shared: Arc<Shared>,
}

impl Applier {
    pub(super) fn run(mut self, works: &mpsc::Receiver<Work>) {
        while let Ok(work) = works.recv() {
            let done = match work {
                Work::Apply(entries) => self.apply(&entries),
                Work::Task(task) => self.task(task),
                Work::Flush(index) => self.data.flush().map(|()| self.events.tell(Event::Flushed(index))),
                Work::Stop(stopped) => {
                    self.end();
                    drop(self);
                    let _ = stopped.send(());
                    return;
                }
            };
            if let Err(error) = done {
                // Before the end of what is handed on to this thread shows.
                self.shared.fail(error.clone());
                self.events.tell(Event::Failed(error));
                return self.end();
            }
        }
        self.end();
    }

    fn end(&mut self) {
        if let Err(error) = self.data.flush() {
            tracing::warn!(error = &error as &dyn std::error::Error, "data not flushed at closing");
        }
        self.files.drop_made();
    }

    fn apply(&mut self, entries: &[Entry]) -> Result<(), DbError> {
        let effects = self.data.apply(entries)?;
        let awaited = *self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        // What a writer of this node waits for it tells itself.
        let elsewhere = |entry: &Entry| match &entry.body {
            Body::Batch(batch) => batch.origin != self.id || Some(batch.request) != awaited,
            _ => false,
        };
        let told = entries.iter().zip(effects).any(|(entry, effective)| effective && elsewhere(entry));
        let applied = self.data.applied();
        self.events.tell(Event::Applied(applied.at.index, applied.version));
        if told {
            self.tick();
        }
        Ok(())
    }

    fn tick(&self) {
        if let Some(ticks) = &*self.ticks.lock().unwrap_or_else(PoisonError::into_inner) {
            ticks.elsewhere();
        }
    }

    fn task(&mut self, task: Task) -> Result<(), DbError> {
        match task {
            Task::MakeSnapshot => return self.make(),
            Task::DropSnapshot => self.files.drop_made(),
            Task::SendPiece { to, term, meta, offset } => {
                if let Some(bytes) = self.files.piece(meta.id, offset)? {
                    self.events
                        .tell(Event::Send(to, Message::Piece { term, meta, offset, bytes: bytes.into() }));
                }
            }
            Task::KeepPiece { meta, offset, bytes } => {
                let kept = self.files.keep(offset, &bytes);
                if let Err(error) = &kept {
                    tracing::warn!(error = error as &dyn std::error::Error, "copy of the data not kept");
                }
                self.events.tell(Event::Kept(meta.id, kept.is_ok()));
            }
            Task::Install { meta } => return self.install(meta),
        }
        Ok(())
    }

    /// On a thread of its own: entries are applied meanwhile.
    fn make(&self) -> Result<(), DbError> {
        let (files, path, events) = (self.files.clone(), self.path.clone(), self.events.clone());
        let id = super::config::QuorumPort::new().seed;
        // Made before the thread, so that one that cannot be started is told of, too.
        let told = Told { events, made: None };
        spawn_thread("db-copier".into(), move || {
            let mut told = told;
            told.take(files.make(&path, id));
        })
    }

    fn install(&mut self, meta: Box<SnapshotMeta>) -> Result<(), DbError> {
        match self.files.came(&meta) {
            Ok(copy) => {
                self.data.replace(&copy)?;
                drop(copy);
                self.files.drop_came();
                tracing::info!(index = meta.at.index, bytes = meta.len, "data replaced by a copy");
                self.events.tell(Event::Installed(meta));
                self.tick();
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "copy of the data refused");
                self.files.drop_came();
                self.events.tell(Event::NotInstalled);
            }
        }
        Ok(())
    }
}
