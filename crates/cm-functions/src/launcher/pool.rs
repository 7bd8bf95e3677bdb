//! Processes that wait for work, so that a launch need not wait for a process.
//!
//! What is taken is replaced in the background: at once when none is left, otherwise after a moment in which the launch that
//! took it has the processors for itself. Those that died while they waited are replaced, too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cm_runtime::Tasks;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::process::{Starter, Waiting};

/// For the launch that took a process, before its replacement is started.
const REFILL_PAUSE: Duration = Duration::from_millis(25);
/// Between two looks whether those that wait are alive, and after a process could not be started.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// So many processes, waiting.
pub(super) struct Pool {
    size: usize,
    waiting: Mutex<VecDeque<Waiting>>,
    taken: Notify,
    drained: CancellationToken,
}

impl Pool {
    pub(super) fn new(size: usize) -> Arc<Self> {
        let drained = CancellationToken::new();
        Arc::new(Self { size, waiting: Mutex::default(), taken: Notify::new(), drained })
    }

    /// The one that has waited longest.
    pub(super) fn take(&self) -> Option<Waiting> {
        let mut waiting = self.waiting();
        while let Some(mut longest) = waiting.pop_front() {
            if longest.is_alive() {
                self.taken.notify_one();
                return Some(longest);
            }
        }
        None
    }

    /// Takes back one that was not used.
    pub(super) fn give_back(&self, unused: Waiting) {
        let mut waiting = self.waiting();
        // Asked while holding the lock, so that a drain leaves none.
        if !self.drained.is_cancelled() {
            waiting.push_front(unused);
        }
    }

    /// Ends all that wait, and starts no more.
    pub(super) fn drain(&self) {
        let mut waiting = self.waiting();
        self.drained.cancel();
        waiting.clear();
    }

    /// Keeps as many waiting as there should be, until the drain or the shutdown of the tasks.
    pub(super) fn keep_filled(self: Arc<Self>, starter: Arc<Starter>, tasks: &Tasks) {
        if self.size == 0 {
            return;
        }
        let stop = tasks.token();
        tasks.spawn("instance-pool", async move {
            let filling = async {
                loop {
                    self.fill(&starter).await;
                    self.wait().await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => self.drain(),
                () = self.drained.cancelled() => {}
                () = filling => {}
            }
        });
    }

    async fn fill(&self, starter: &Starter) {
        loop {
            let missing = {
                let mut waiting = self.waiting();
                waiting.retain_mut(Waiting::is_alive);
                self.size.saturating_sub(waiting.len())
            };
            if missing == 0 {
                return;
            }
            match starter.start_waiting() {
                Ok(waiting) => self.add(waiting),
                // Instances that run may have all ports, now or for long: the next look tries again.
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "no process waits");
                    return;
                }
            }
            // Others have work, too.
            tokio::task::yield_now().await;
        }
    }

    fn add(&self, started: Waiting) {
        let mut waiting = self.waiting();
        if !self.drained.is_cancelled() {
            waiting.push_back(started);
        }
    }

    /// Until it is time to look again.
    async fn wait(&self) {
        let taken = tokio::time::timeout(CHECK_INTERVAL, self.taken.notified()).await;
        while taken.is_ok() && !self.waiting().is_empty() {
            // As long as more are taken, and some are left, those who took them come first.
            if tokio::time::timeout(REFILL_PAUSE, self.taken.notified()).await.is_err() {
                return;
            }
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
