//! A queue to several threads that wakes one of them per message.
//!
//! An asynchronous channel has one receiver. Threads that share it behind a lock cost two wake-ups per message: that of
//! the thread that waits for a message, and that of the next, which takes its place. For reads of a few microseconds
//! the second is most of what they cost.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::DbError;

/// Hands messages over. When the last clone is dropped, the receivers get what is queued, then nothing.
pub(super) struct Sender<T>(Arc<Sending<T>>);

/// One of the threads that take messages. When the last is dropped, so is what is queued, and nothing more is taken.
pub(super) struct Receiver<T>(Arc<Queue<T>>);

struct Sending<T>(Arc<Queue<T>>);

struct Queue<T> {
    state: Mutex<State<T>>,
    /// There is a message, or the senders have gone.
    changed: Condvar,
    /// How many more messages may be queued; closed when the receivers have gone.
    room: Semaphore,
}

struct State<T> {
    waiting: VecDeque<T>,
    receivers: usize,
    senders_gone: bool,
}

impl<T> Queue<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue of at most `room` messages to so many receivers.
pub(super) fn queue<T>(room: usize, receivers: usize) -> (Sender<T>, Vec<Receiver<T>>) {
    let state = State { waiting: VecDeque::new(), receivers, senders_gone: false };
    let queue =
        Arc::new(Queue { state: Mutex::new(state), changed: Condvar::new(), room: Semaphore::new(room) });
    let receivers = (0..receivers).map(|_| Receiver(queue.clone())).collect();
    (Sender(Arc::new(Sending(queue))), receivers)
}

impl<T> Sender<T> {
    /// Queues a message, once there is room for it. Cancel-safe: dropped before, nothing was queued.
    ///
    /// [`DbError::Closed`] if nobody takes messages any more.
    pub(super) async fn send(&self, message: T) -> Result<(), DbError> {
        let queue = &self.0.0;
        let room = queue.room.acquire().await.map_err(|_| DbError::Closed)?;
        let mut state = queue.state();
        if state.receivers == 0 {
            return Err(DbError::Closed);
        }
        // The receiver makes room again.
        room.forget();
        state.waiting.push_back(message);
        drop(state);
        queue.changed.notify_one();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> Drop for Sending<T> {
    fn drop(&mut self) {
        self.0.state().senders_gone = true;
        self.0.changed.notify_all();
    }
}

impl<T> Receiver<T> {
    /// Waits for a message; `None` once the queue is empty and the senders have gone.
    pub(super) fn receive(&self) -> Option<T> {
        let mut state = self.0.state();
        loop {
            if let Some(message) = state.waiting.pop_front() {
                drop(state);
                self.0.room.add_permits(1);
                return Some(message);
            }
            if state.senders_gone {
                return None;
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.receivers -= 1;
        let left = match state.receivers {
            0 => std::mem::take(&mut state.waiting),
            _ => VecDeque::new(),
        };
        let last = state.receivers == 0;
        drop(state);
        if last {
            self.0.room.close();
        } else {
            // A message may have woken this one.
            self.0.changed.notify_one();
        }
        // Outside of the lock: whoever waits for their answers learns that there are none.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    #[test]
    fn every_message_reaches_one_of_many_receivers_and_then_they_end() {
        let (sender, receivers) = queue(4, 3);
        let threads: Vec<_> = receivers
            .into_iter()
            .map(|receiver| {
                std::thread::spawn(move || std::iter::from_fn(|| receiver.receive()).collect::<Vec<u32>>())
            })
            .collect();
        let other = sender.clone();
        block_on(async {
            for n in 0..1000 {
                sender.send(n).await.unwrap();
                other.send(1000 + n).await.unwrap();
            }
        });
        drop((sender, other));
        let mut got: Vec<u32> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, (0..2000).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_queue_makes_senders_wait() {
        let (sender, receivers) = queue(1, 1);
        block_on(async {
            sender.send(1).await.unwrap();
            let mut second = std::pin::pin!(sender.send(2));
            assert!(futures::poll!(second.as_mut()).is_pending());
            assert_eq!(receivers[0].receive(), Some(1));
            second.await.unwrap();
        });
        assert_eq!(receivers[0].receive(), Some(2));
    }

    #[test]
    fn the_last_receiver_takes_what_is_queued_along() {
        let (sender, mut receivers) = queue(4, 2);
        let (answer, mut answered) = tokio::sync::oneshot::channel::<()>();
        block_on(sender.send(answer)).unwrap();
        receivers.pop();
        assert_eq!(answered.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty));
        receivers.pop();
        assert_eq!(answered.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed));
        let (answer, _) = tokio::sync::oneshot::channel();
        assert!(matches!(block_on(sender.send(answer)), Err(DbError::Closed)));
    }
}
