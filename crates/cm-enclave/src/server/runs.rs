//! The runs of programs: one at a time per program, each on a thread of its own.
//!
//! A run belongs to the instance and not to the connection that asked for it: a client that leaves loses
//! the answer only. Who waits for a program that is running, or because too many run, waits in a bounded
//! queue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cm_instance::control::{RunPhase, RunState};
use cm_instance::{ExecutionReport, GuestPath, Outcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::host::Host;

/// Programs that run at a time: as many as the process's memory has room for.
pub(crate) const RUNNING_MAX: usize = 4;
/// Runs that may wait for others to end.
const WAITING_MAX: usize = 32;
/// Stack of the thread that a run has. Guests have a stack of their own; this is for the host's calls.
const STACK_LEN: usize = 4 * 1024 * 1024;

/// Told about every step of every run; never about data. Called from several threads.
pub(crate) type Observe = dyn Fn(RunState) + Send + Sync;

/// Why a run did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RunRefused {
    /// Too many others wait.
    #[error("too many runs are waiting")]
    Busy,
    /// The host has no thread for it.
    #[error("no thread for the run")]
    Thread,
    /// The run's thread ended without an answer.
    #[error("the run broke off")]
    Broken,
}

/// All runs of an instance.
pub(crate) struct Runs {
    host: Arc<dyn Host>,
    observe: Arc<Observe>,
    running: Arc<Semaphore>,
    waiting: Semaphore,
    stop: CancellationToken,
    last: AtomicU64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// One place per program.
    places: HashMap<GuestPath, Arc<Semaphore>>,
    /// What runs or waits: who asked, and how to end it.
    active: HashMap<u64, (u64, CancellationToken)>,
}

impl Runs {
    /// No runs yet. `stop` ends all of them.
    pub(crate) fn new(host: Arc<dyn Host>, observe: Arc<Observe>, stop: CancellationToken) -> Self {
        let (running, waiting) = (Arc::new(Semaphore::new(RUNNING_MAX)), Semaphore::new(WAITING_MAX));
        Self { host, observe, running, waiting, stop, last: AtomicU64::new(0), state: Arc::default() }
    }

    /// Runs a program for an identity and waits for its end. When the future is dropped, a run that has
    /// begun goes on; one that waits is given up.
    pub(crate) async fn run(
        &self,
        identity: u64,
        program: &GuestPath,
        arguments: &[String],
        time_max: Duration,
    ) -> Result<ExecutionReport, RunRefused> {
        let cancel = self.stop.child_token();
        let run_id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.state).active.insert(run_id, (identity, cancel.clone()));
        let active = Active {
            state: self.state.clone(),
            observe: self.observe.clone(),
            run: RunState {
                run_id,
                program: program.clone(),
                identity,
                state: RunPhase::Starting,
                report: None,
            },
        };
        active.tell(RunPhase::Starting, None);
        let Some(places) = self.places(program, &cancel).await? else {
            return Ok(ExecutionReport::before_start(Outcome::Cancelled));
        };
        let (answer, ended) = oneshot::channel();
        let host = self.host.clone();
        let arguments = arguments.to_vec();
        let work = move || {
            active.tell(RunPhase::Running, None);
            let report = host.execute(&active.run.program, &arguments, time_max, &cancel);
            active.end(report.clone());
            drop(places);
            // Nobody may be waiting any more.
            let _ = answer.send(report);
        };
        let thread = std::thread::Builder::new().name("run".to_owned()).stack_size(STACK_LEN);
        thread.spawn(work).map_err(|_| RunRefused::Thread)?;
        ended.await.map_err(|_| RunRefused::Broken)
    }

    /// Waits for the program's own place and one of all programs; `None` if it was cancelled meanwhile.
    async fn places(
        &self,
        program: &GuestPath,
        cancel: &CancellationToken,
    ) -> Result<Option<[OwnedSemaphorePermit; 2]>, RunRefused> {
        let own = lock(&self.state).places.entry(program.clone()).or_insert_with(one_place).clone();
        if let (Ok(own), Ok(one)) =
            (own.clone().try_acquire_owned(), self.running.clone().try_acquire_owned())
        {
            return Ok(Some([own, one]));
        }
        let _waiting = self.waiting.try_acquire().map_err(|_| RunRefused::Busy)?;
        let both = async {
            let own = own.acquire_owned().await.expect("the semaphore is never closed");
            let one = self.running.clone().acquire_owned().await.expect("the semaphore is never closed");
            [own, one]
        };
        tokio::select! {
            () = cancel.cancelled() => Ok(None),
            places = both => Ok(Some(places)),
        }
    }

    /// Ends every run that the identity asked for; returns how many there were.
    pub(crate) fn cancel(&self, identity: u64) -> usize {
        let state = lock(&self.state);
        let own = state.active.values().filter(|(owner, _)| *owner == identity);
        own.map(|(_, cancel)| cancel.cancel()).count()
    }
}

fn one_place() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run among those that can be cancelled. It travels with the run, onto its thread, and tells of a run
/// that never came to its end that it failed.
struct Active {
    state: Arc<Mutex<State>>,
    observe: Arc<Observe>,
    run: RunState,
}

impl Active {
    fn tell(&self, state: RunPhase, report: Option<ExecutionReport>) {
        (self.observe)(RunState { state, report, ..self.run.clone() });
    }

    /// Forgets the run, then tells how it ended.
    fn end(mut self, report: ExecutionReport) {
        self.run.report = Some(report);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        lock(&self.state).active.remove(&self.run.run_id);
        let given_up = || ExecutionReport::before_start(Outcome::Cancelled);
        let report = self.run.report.take().unwrap_or_else(given_up);
        let phase = if report.succeeded() { RunPhase::Completed } else { RunPhase::Failed };
        self.tell(phase, Some(report));
    }
}

#[cfg(test)]
mod tests;
