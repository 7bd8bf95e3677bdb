//! Named, owned tasks.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Owns the tasks of one process (or one test): each has a name, all learn of shutdown through one
/// token, and [`Tasks::drain`] waits for them.
///
/// Clones share the same tasks. Spawning needs a running tokio runtime.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
    running: Running,
}

/// How a [`Tasks::drain`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every task has returned.
    All,
    /// The deadline passed first. The tasks are not aborted here; they end with their runtime.
    Abandoned {
        /// How many tasks were still running. Their names are in the log.
        count: usize,
    },
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs the future as a task. The name appears in its span and in the log if it panics or is
    /// abandoned; it is a constant, never data.
    ///
    /// A task should return soon after [`Tasks::token`] is cancelled. Dropping the handle lets the
    /// task run on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let entry = self.running.enter(name);
        let span = tracing::info_span!("task", name);
        self.tracker.spawn(
            async move {
                let output = future.await;
                drop(entry);
                output
            }
            .instrument(span),
        )
    }

    /// Runs the closure on the pool for blocking work. It cannot be interrupted: keep it short, or let
    /// it look at the token.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn_blocking<F, T>(&self, name: &'static str, work: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let entry = self.running.enter(name);
        let span = tracing::info_span!("task", name);
        self.tracker.spawn_blocking(move || {
            let _entered = span.enter();
            let output = work();
            drop(entry);
            output
        })
    }

    /// Cancelled when shutdown begins. Tasks and requests hold clones or children of it.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// How many tasks are running.
    pub fn count(&self) -> usize {
        self.tracker.len()
    }

    /// Cancels the token and waits until every task has returned, at most `deadline` long.
    ///
    /// Cancel-safe: dropping the future leaves the token cancelled and loses nothing else. May be
    /// called again.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        self.token.cancel();
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok() {
            return Drained::All;
        }
        let names = self.running.names();
        let count = self.tracker.len();
        if count == 0 {
            return Drained::All;
        }
        tracing::warn!(count, ?names, "tasks abandoned at shutdown");
        Drained::Abandoned { count }
    }
}

/// The names of the running tasks, each with how often it runs.
#[derive(Clone, Debug, Default)]
struct Running(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Running {
    fn enter(&self, name: &'static str) -> Entry {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        Entry { running: self.clone(), name }
    }

    fn names(&self) -> BTreeMap<&'static str, usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One running task; dropped when it returns, panics or is aborted.
struct Entry {
    running: Running,
    name: &'static str,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut names = self.running.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = names.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(self.name);
            }
        }
        drop(names);
        if std::thread::panicking() {
            tracing::error!(task = self.name, "task panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn draining_tells_tasks_and_waits_for_them() {
        let tasks = Tasks::new();
        let token = tasks.token();
        let handle = tasks.spawn("waits", async move {
            token.cancelled().await;
            7
        });
        let blocking = tasks.spawn_blocking("computes", || 8);
        assert_eq!(tasks.drain(Duration::from_secs(10)).await, Drained::All);
        assert_eq!((handle.await.unwrap(), blocking.await.unwrap()), (7, 8));
        assert!(tasks.running.names().is_empty());
    }

    #[tokio::test]
    async fn a_task_that_ignores_shutdown_is_counted() {
        let tasks = Tasks::new();
        let handle = tasks.spawn("deaf", std::future::pending::<()>());
        assert_eq!(tasks.drain(Duration::from_millis(5)).await, Drained::Abandoned { count: 1 });
        handle.abort();
        assert_eq!(tasks.drain(Duration::from_secs(10)).await, Drained::All);
    }

    #[tokio::test]
    async fn a_panicking_task_is_forgotten_and_reported_to_who_joins() {
        let tasks = Tasks::new();
        let handle = tasks.spawn("breaks", async { panic!("deliberate") });
        assert!(handle.await.unwrap_err().is_panic());
        assert_eq!(tasks.drain(Duration::from_secs(10)).await, Drained::All);
        assert!(tasks.running.names().is_empty());
    }
}
