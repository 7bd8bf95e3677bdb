//! The thread that writes: many closures, one commit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::{mpsc, oneshot};

use super::{QUEUE_LEN, spawn_thread};
use crate::engine::{Pace, Ticks, WriteStore, Writer};
use crate::tx::Hook;
use crate::{DbError, Effect, Schema, Versions, WriteTx};

/// Closures committed together at most. At some 20 µs each, a batch stays around the time of the flush
/// that it saves.
pub(super) const BATCH_LEN_MAX: usize = 128;

pub(super) enum WriteMessage {
    Run(Box<dyn Job>),
    /// Something that is no transaction of a caller.
    Alone(Task),
    Close(oneshot::Sender<Result<(), DbError>>),
}

/// What is done with the writer itself.
pub(super) type Task = Box<dyn FnOnce(&mut dyn Writer) + Send>;

/// A caller's closure with its types forgotten.
pub(super) trait Job: Send {
    /// Runs the closure once and keeps its result. The hooks to run after the commit if its effect
    /// shall be kept, `None` if it shall be undone.
    fn run(&mut self, store: &dyn WriteStore) -> Option<Vec<Hook>>;

    /// Answers the caller: with the result if the batch is durable, otherwise with what happened to it.
    fn answer(self: Box<Self>, durable: Result<(), DbError>);
}

pub(super) struct WriteJob<T, E, F> {
    closure: Option<F>,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> WriteJob<T, E, F> {
    pub(super) fn new(closure: F, answer: oneshot::Sender<Result<T, E>>) -> Self {
        Self { closure: Some(closure), result: None, answer }
    }
}

impl<T, E, F> Job for WriteJob<T, E, F>
where
    F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send,
    E: From<DbError> + Send,
    T: Send,
{
    fn run(&mut self, store: &dyn WriteStore) -> Option<Vec<Hook>> {
        let closure = self.closure.take()?;
        let mut tx = WriteTx::new(store);
        // Whatever a panicking closure left inconsistent is the transaction, which is undone.
        let result = catch_unwind(AssertUnwindSafe(|| closure(&mut tx)));
        let result = result.unwrap_or_else(|_| Err(E::from(DbError::Panicked)));
        let hooks = result.is_ok().then(|| tx.into_hooks());
        self.result = Some(result);
        hooks
    }

    fn answer(self: Box<Self>, durable: Result<(), DbError>) {
        let result = match (self.result, durable) {
            // Also to a closure that failed: what it found may have been written by another one of this batch.
            (_, Err(error)) => Err(E::from(error)),
            (Some(Err(error)), _) => Err(error),
            (Some(ok), Ok(())) => ok,
            (None, Ok(())) => Err(E::from(DbError::Closed)),
        };
        // The caller may have gone; the effect stays.
        let _ = self.answer.send(result);
    }
}

/// Brings the data to the schema's version, unless it is there or beyond.
pub(super) fn prepare(writer: &mut dyn Writer, schema: &Schema) -> Result<(), DbError> {
    let mut hooks = Vec::new();
    let mut found = Versions::default();
    // All in one transaction: of two programs that start at once, the second finds what the first has done.
    writer.transaction(Pace::Long, &mut |store| {
        found = store.versions()?;
        hooks = expand(store, schema, found)?;
        Ok(())
    })?;
    if found.data != 0 && found.data < schema.version() {
        tracing::info!(from = found.data, to = schema.version(), "data migrated");
    }
    run_hooks(hooks);
    Ok(())
}

/// Creates what is missing and runs the migrations after the version found; returns what to run after the commit.
pub(super) fn expand(store: &dyn WriteStore, schema: &Schema, found: Versions) -> Result<Vec<Hook>, DbError> {
    let Versions { data, compatible_from } = found;
    if compatible_from > schema.version() {
        return Err(DbError::NewerData { found: data, compatible_from, known: schema.version() });
    }
    for table in schema.tables() {
        store.create_table(table)?;
    }
    let mut hooks = Vec::new();
    for migration in schema.migrations_after(data) {
        let mut tx = WriteTx::new(store);
        (migration.run)(&mut tx)?;
        hooks.extend(tx.into_hooks());
    }
    if data < schema.version() {
        // What nobody older has seen is for nobody older.
        let compatible_from = if data == 0 { schema.version() } else { compatible_from };
        store.set_versions(Versions { data: schema.version(), compatible_from })?;
    }
    Ok(hooks)
}

pub(super) fn finish_upgrade(writer: &mut dyn Writer, schema: &Schema) -> Result<Versions, DbError> {
    let mut versions = Versions::default();
    writer.transaction(Pace::Long, &mut |store| {
        versions = store.versions()?;
        versions.compatible_from = versions.compatible_from.max(schema.version());
        store.set_versions(versions)
    })?;
    Ok(versions)
}

pub(super) fn spawn(
    mut writer: Box<dyn Writer>,
    ticks: Ticks,
) -> Result<mpsc::Sender<WriteMessage>, DbError> {
    let (sender, mut messages) = mpsc::channel(QUEUE_LEN);
    spawn_thread("db-writer".into(), move || {
        let closing = serve(&mut *writer, &mut messages, &ticks);
        let closed = writer.close();
        if let Err(error) = &closed {
            tracing::warn!(error = error as &dyn std::error::Error, "database not tidied at closing");
        }
        // Closes the queue first, so that whoever waits behind the one who closed learns of it too.
        drop((writer, messages));
        if let Some(answer) = closing {
            let _ = answer.send(closed);
        }
    })?;
    Ok(sender)
}

/// Serves until somebody closes, whom it returns, or nobody is left.
fn serve(
    writer: &mut dyn Writer,
    messages: &mut mpsc::Receiver<WriteMessage>,
    ticks: &Ticks,
) -> Option<oneshot::Sender<Result<(), DbError>>> {
    let mut next = messages.blocking_recv();
    loop {
        match next? {
            WriteMessage::Run(job) => next = run_batch(writer, messages, job, ticks),
            WriteMessage::Alone(run) => {
                run(writer);
                ticks.here();
                next = None;
            }
            WriteMessage::Close(answer) => return Some(answer),
        }
        if next.is_none() {
            next = messages.blocking_recv();
        }
    }
}

/// Runs the job and those queued behind it, commits once, then answers all. Returns a message that it
/// came upon and that is no job.
fn run_batch(
    writer: &mut dyn Writer,
    messages: &mut mpsc::Receiver<WriteMessage>,
    first: Box<dyn Job>,
    ticks: &Ticks,
) -> Option<WriteMessage> {
    let mut jobs = vec![first];
    let mut hooks = Vec::new();
    let mut other = None;
    let durable = writer.transaction(Pace::Short, &mut |store| {
        let mut at = 0;
        loop {
            run_job(store, &mut *jobs[at], &mut hooks)?;
            at += 1;
            if at == BATCH_LEN_MAX || store.is_full() {
                return Ok(());
            }
            match messages.try_recv() {
                Ok(WriteMessage::Run(job)) => jobs.push(job),
                Ok(message) => {
                    other = Some(message);
                    return Ok(());
                }
                Err(_) => return Ok(()),
            }
        }
    });
    match &durable {
        Ok(()) => {
            run_hooks(hooks);
            ticks.here();
        }
        Err(error) => {
            tracing::error!(
                error = error as &dyn std::error::Error,
                jobs = jobs.len(),
                "transactions not committed"
            );
            if error.effect() == Effect::Unknown {
                // Should it have happened, then without the hooks: it is for others to find, as what another process did.
                ticks.elsewhere();
            }
        }
    }
    for job in jobs {
        job.answer(durable.clone());
    }
    other
}

/// Runs one job in a savepoint. An error is one of the storage, and ends the batch.
fn run_job(store: &dyn WriteStore, job: &mut dyn Job, hooks: &mut Vec<Hook>) -> Result<(), DbError> {
    store.savepoint()?;
    match job.run(store) {
        Some(more) => {
            store.release()?;
            hooks.extend(more);
            Ok(())
        }
        None => store.rollback(),
    }
}

pub(super) fn run_hooks(hooks: Vec<Hook>) {
    for hook in hooks {
        if catch_unwind(AssertUnwindSafe(hook)).is_err() {
            tracing::error!("hook after a commit panicked");
        }
    }
}
