//! What ends a run from outside: a cancellation, or its deadline.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::brake::Brake;

/// Cancels runs. Clones cancel the same runs; a cancellation holds for good.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<Shared>);

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupt").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    cancelled: bool,
    brakes: Vec<Arc<Brake>>,
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
        for brake in &state.brakes {
            brake.pull();
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
#[derive(Default)]
struct Watch {
    deadlines: Mutex<Deadlines>,
    changed: Condvar,
}

#[derive(Default)]
struct Deadlines {
    next: u64,
    runs: BTreeMap<u64, (Instant, Arc<Brake>)>,
    closed: bool,
}

/// The thread that pulls the brakes of runs whose deadlines have passed.
pub(super) struct Alarm {
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

impl Alarm {
    pub(super) fn start() -> io::Result<Self> {
        let watch = Arc::new(Watch::default());
        let watched = watch.clone();
        let thread =
            std::thread::Builder::new().name("deadlines".to_owned()).spawn(move || watched.serve())?;
        Ok(Self { watch, thread: Some(thread) })
    }

    /// Watches over a run until the guard is dropped.
    pub(super) fn watch(&self, deadline: Instant, interrupt: &Interrupt, brake: &Arc<Brake>) -> AlarmGuard {
        let mut deadlines = lock(&self.watch.deadlines);
        let number = deadlines.next;
        deadlines.next += 1;
        deadlines.runs.insert(number, (deadline, brake.clone()));
        drop(deadlines);
        self.watch.changed.notify_all();
        lock(&interrupt.0.state).brakes.push(brake.clone());
        AlarmGuard { watch: self.watch.clone(), number, interrupt: interrupt.clone(), brake: brake.clone() }
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
            deadlines.runs.retain(|_, (deadline, brake)| {
                let remains = *deadline > now;
                if !remains {
                    brake.pull();
                }
                remains
            });
            let earliest = deadlines.runs.values().map(|(deadline, _)| *deadline).min();
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

/// Ends the watch over one run. Afterwards nobody pulls its brake.
pub(super) struct AlarmGuard {
    watch: Arc<Watch>,
    number: u64,
    interrupt: Interrupt,
    brake: Arc<Brake>,
}

impl Drop for AlarmGuard {
    fn drop(&mut self) {
        lock(&self.watch.deadlines).runs.remove(&self.number);
        lock(&self.interrupt.0.state).brakes.retain(|brake| !Arc::ptr_eq(brake, &self.brake));
        self.brake.release();
    }
}
