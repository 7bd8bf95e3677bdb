//! The threads that read.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::queue::{Receiver, Sender, queue};
use super::{QUEUE_LEN, spawn_thread};
use crate::engine::{Pace, Reader};
use crate::{DbError, ReadTx};

pub(super) enum ReadMessage {
    Run(Box<dyn Job>, Pace),
    /// Ends one thread.
    Close(oneshot::Sender<()>),
}

/// A caller's closure with its types forgotten.
pub(super) trait Job: Send {
    fn run(&mut self, tx: &ReadTx<'_>);

    /// Answers the caller: with the result if the closure ran, otherwise with why it did not.
    fn answer(self: Box<Self>, snapshot: Result<(), DbError>);
}

pub(super) struct ReadJob<T, E, F> {
    closure: Option<F>,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> ReadJob<T, E, F> {
    pub(super) fn new(closure: F, answer: oneshot::Sender<Result<T, E>>) -> Self {
        Self { closure: Some(closure), result: None, answer }
    }
}

impl<T, E, F> Job for ReadJob<T, E, F>
where
    F: FnOnce(&ReadTx<'_>) -> Result<T, E> + Send,
    E: From<DbError> + Send,
    T: Send,
{
    fn run(&mut self, tx: &ReadTx<'_>) {
        let Some(closure) = self.closure.take() else { return };
        if self.answer.is_closed() {
            return;
        }
        // A snapshot cannot be left inconsistent.
        let result = catch_unwind(AssertUnwindSafe(|| closure(tx)));
        self.result = Some(result.unwrap_or_else(|_| Err(E::from(DbError::Panicked))));
    }

    fn answer(self: Box<Self>, snapshot: Result<(), DbError>) {
        let result = match (self.result, snapshot) {
            (Some(result), _) => result,
            (None, Err(error)) => Err(E::from(error)),
            // Not run, because nobody listens.
            (None, Ok(())) => return,
        };
        let _ = self.answer.send(result);
    }
}

pub(super) fn spawn(readers: Vec<Box<dyn Reader>>) -> Result<Sender<ReadMessage>, DbError> {
    let (sender, receivers) = queue(QUEUE_LEN, readers.len());
    for (at, (reader, messages)) in readers.into_iter().zip(receivers).enumerate() {
        spawn_thread(format!("db-reader-{at}"), move || serve(reader, messages))?;
    }
    Ok(sender)
}

fn serve(mut reader: Box<dyn Reader>, messages: Receiver<ReadMessage>) {
    while let Some(message) = messages.receive() {
        match message {
            ReadMessage::Run(mut job, pace) => {
                let snapshot = reader.snapshot(pace, &mut |store| job.run(&ReadTx::new(store)));
                job.answer(snapshot);
            }
            ReadMessage::Close(answer) => {
                drop((reader, messages));
                let _ = answer.send(());
                return;
            }
        }
    }
}
