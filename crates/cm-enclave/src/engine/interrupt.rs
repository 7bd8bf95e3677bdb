//! What ends a run from outside: a cancellation, or its deadline.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Cancels runs. Clones cancel the same runs; a cancellation holds for good.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    alarms: Vec<Arc<Watch>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Interrupt {
    /// One that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every run that has this interrupt, and those that begin later.
    pub fn cancel(&self) {
        let mut state = lock(&self.0.state);
        state.cancelled = true;
        for alarm in &state.alarms {
            alarm.engine.increment_epoch();
        }
        self.0.changed.notify_all();
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        lock(&self.0.state).cancelled
    }

    /// Waits so long, or until it is cancelled; says which.
    pub(crate) fn wait(&self, wait: Duration) -> bool {
        let state = lock(&self.0.state);
        let waited = self.0.changed.wait_timeout_while(state, wait, |state| !state.cancelled);
        waited.unwrap_or_else(PoisonError::into_inner).0.cancelled
    }
}

/// The deadlines of one engine's runs.
struct Watch {
    engine: wasmtime::Engine,
    deadlines: Mutex<Deadlines>,
    changed: Condvar,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Deadlines {
    next: u64,
    runs: BTreeMap<u64, Instant>,
    closed: bool,
}

/// The thread that advances an engine's epoch when a deadline has passed.
pub(super) struct Alarm {
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

impl Alarm {
    pub(super) fn start(engine: wasmtime::Engine) -> io::Result<Self> {
        let watch =
            Arc::new(Watch { engine, deadlines: Mutex::new(Deadlines::default()), changed: Condvar::new() });
        let watched = watch.clone();
        let thread =
            std::thread::Builder::new().name("deadlines".to_owned()).spawn(move || watched.serve())?;
        Ok(Self { watch, thread: Some(thread) })
    }

    /// Watches over a run until the guard is dropped.
    pub(super) fn watch(&self, deadline: Instant, interrupt: &Interrupt) -> AlarmGuard {
        let mut deadlines = lock(&self.watch.deadlines);
        let number = deadlines.next;
        deadlines.next += 1;
        deadlines.runs.insert(number, deadline);
        drop(deadlines);
        self.watch.changed.notify_all();
        lock(&interrupt.0.state).alarms.push(self.watch.clone());
        AlarmGuard { watch: self.watch.clone(), number, interrupt: interrupt.clone() }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        lock(&self.watch.deadlines).closed = true;
        self.watch.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // The thread only fails if it panicked, and then it is over too.
            let _ = thread.join();
        }
    }
}

impl Watch {
    fn serve(&self) {
        let mut deadlines = lock(&self.deadlines);
        while !deadlines.closed {
            let now = Instant::now();
            let before = deadlines.runs.len();
            deadlines.runs.retain(|_, deadline| *deadline > now);
            if deadlines.runs.len() < before {
                self.engine.increment_epoch();
            }
            let earliest = deadlines.runs.values().min().copied();
            deadlines = match earliest {
                None => self.changed.wait(deadlines).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let wait = at.saturating_duration_since(now);
                    let waited = self.changed.wait_timeout(deadlines, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Ends the watch over one run.
pub(super) struct AlarmGuard {
    watch: Arc<Watch>,
    number: u64,
    interrupt: Interrupt,
}

impl Drop for AlarmGuard {
    fn drop(&mut self) {
        lock(&self.watch.deadlines).runs.remove(&self.number);
        let mut state = lock(&self.interrupt.0.state);
        if let Some(at) = state.alarms.iter().position(|alarm| Arc::ptr_eq(alarm, &self.watch)) {
            state.alarms.swap_remove(at);
        }
    }
}
