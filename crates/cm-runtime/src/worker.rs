//! Background work as a reconciler: run on a signal and on a timer, retried when it fails.
//!
//! The signature says what may be interrupted: [`Worker::work`] is always let finish,
//! [`Worker::wait_for_work`] is dropped at will (after Garage's `util/background/worker.rs`).

use std::future::Future;

use tokio::task::JoinHandle;

use crate::{Backoff, Tasks};

/// What a worker wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkState {
    /// Call [`Worker::work`] again at once.
    Busy,
    /// Wait in [`Worker::wait_for_work`] first.
    Idle,
    /// The worker has finished for good.
    Done,
}

/// Something that works in the background until shutdown.
pub trait Worker: Send + 'static {
    /// Why a step can fail. It is logged and the step retried.
    type Error: std::fmt::Display + Send;

    /// The name of its task; a constant.
    fn name(&self) -> &'static str;

    /// One step. Never dropped half-way by shutdown, so it has to be short, and bounded in time; it must
    /// be idempotent, because an error leads to another attempt.
    fn work(&mut self) -> impl Future<Output = Result<WorkState, Self::Error>> + Send;

    /// Returns when there may be work. Must be cancel-safe: shutdown drops it.
    fn wait_for_work(&mut self) -> impl Future<Output = ()> + Send;
}

/// Runs the worker as a task until it is done or shutdown begins. An error waits out the backoff, a
/// success resets it.
pub fn spawn_worker<W: Worker>(tasks: &Tasks, mut worker: W, mut backoff: Backoff) -> JoinHandle<()> {
    let token = tasks.token();
    tasks.spawn(worker.name(), async move {
        while !token.is_cancelled() {
            match worker.work().await {
                Ok(WorkState::Done) => return,
                Ok(WorkState::Busy) => backoff.reset(),
                Ok(WorkState::Idle) => {
                    backoff.reset();
                    tokio::select! {
                        () = token.cancelled() => return,
                        () = worker.wait_for_work() => {}
                    }
                }
                Err(error) => {
                    let delay = backoff.next_delay();
                    let attempts = backoff.attempts();
                    tracing::warn!(worker = worker.name(), %error, attempts, ?delay, "work failed");
                    tokio::select! {
                        () = token.cancelled() => return,
                        () = tokio::time::sleep(delay) => {}
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;
    use crate::Drained;

    struct Flaky {
        failures_left: u32,
        done: mpsc::Sender<u32>,
        steps: u32,
    }

    impl Worker for Flaky {
        type Error = &'static str;

        fn name(&self) -> &'static str {
            "flaky"
        }

        async fn work(&mut self) -> Result<WorkState, &'static str> {
            self.steps += 1;
            if self.failures_left > 0 {
                self.failures_left -= 1;
                return Err("deliberate");
            }
            self.done.send(self.steps).await.map_err(|_| "nobody listens")?;
            Ok(WorkState::Idle)
        }

        async fn wait_for_work(&mut self) {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_failing_worker_is_retried_and_an_idle_one_stops_at_shutdown() {
        let tasks = Tasks::new();
        let (done, mut steps) = mpsc::channel(1);
        let backoff = Backoff::new(Duration::from_micros(10), Duration::from_millis(1));
        let handle = spawn_worker(&tasks, Flaky { failures_left: 3, done, steps: 0 }, backoff);
        assert_eq!(steps.recv().await, Some(4));
        assert_eq!(tasks.drain(Duration::from_secs(10)).await, Drained::All);
        handle.await.unwrap();
    }
}
