//! Digests of bytes that arrive in pieces, made beside everything else that is done with the pieces.
//!
//! A digest cannot be cut in parts, so that the slowest one, MD5, sets how fast a body is taken in at best: it has to be at work whenever there
//! is something to hash, and nobody else may have to wait for it piece by piece. No thread is held while nothing is there to hash, as for a client that
//! is slow.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cm_crypto::digest::{Md5, Sha256};
use cm_runtime::Tasks;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::ObjectError;

/// How many pieces wait for their digest at once, the one at work included.
const WAITING_MAX: usize = 3;

/// A digest under construction.
pub(crate) trait Hash: Send + 'static {
    /// Takes in the next bytes.
    fn update(&mut self, bytes: &[u8]);
}

impl Hash for Sha256 {
    fn update(&mut self, bytes: &[u8]) {
        Sha256::update(self, bytes);
    }
}

impl Hash for Md5 {
    fn update(&mut self, bytes: &[u8]) {
        Md5::update(self, bytes);
    }
}

/// Takes pieces in, in the order in which they are given.
pub(crate) struct Hashing<H> {
    queue: Arc<Mutex<Queue<H>>>,
    room: Arc<Semaphore>,
    /// What was last begun to work the queue off.
    job: Option<JoinHandle<()>>,
}

struct Queue<H> {
    /// With whoever works the queue off, as long as that is at work.
    hash: Option<H>,
    waiting: VecDeque<(Bytes, OwnedSemaphorePermit)>,
}

impl<H: Hash> Hashing<H> {
    pub(crate) fn new(hash: H) -> Self {
        let queue = Queue { hash: Some(hash), waiting: VecDeque::new() };
        Self { queue: Arc::new(Mutex::new(queue)), room: Arc::new(Semaphore::new(WAITING_MAX)), job: None }
    }

    /// Takes a piece in here and now.
    ///
    /// # Errors
    /// [`ObjectError::Lost`] when the process stops.
    pub(crate) async fn take(&mut self, piece: &[u8]) -> Result<(), ObjectError> {
        self.rest().await?;
        lock(&self.queue).hash.as_mut().ok_or(ObjectError::Lost)?.update(piece);
        Ok(())
    }

    /// Has a piece taken in, after waiting until there is room for it.
    ///
    /// # Errors
    /// [`ObjectError::Lost`] when the process stops.
    pub(crate) async fn queue(&mut self, tasks: &Tasks, piece: Bytes) -> Result<(), ObjectError> {
        let room = self.room.clone().acquire_owned().await.map_err(|_| ObjectError::Lost)?;
        let idle = {
            let mut queue = lock(&self.queue);
            queue.waiting.push_back((piece, room));
            queue.hash.take()
        };
        if let Some(hash) = idle {
            let queue = self.queue.clone();
            self.job = Some(tasks.spawn_blocking("object-hash", move || work_off(&queue, hash)));
        }
        Ok(())
    }

    /// What is made of all pieces.
    ///
    /// # Errors
    /// [`ObjectError::Lost`] when the process stops.
    pub(crate) async fn finish(mut self) -> Result<H, ObjectError> {
        self.rest().await?;
        lock(&self.queue).hash.take().ok_or(ObjectError::Lost)
    }

    /// Waits until nothing is at work.
    async fn rest(&mut self) -> Result<(), ObjectError> {
        match self.job.take() {
            Some(job) => job.await.map_err(|_| ObjectError::Lost),
            None => Ok(()),
        }
    }
}

fn work_off<H: Hash>(queue: &Mutex<Queue<H>>, mut hash: H) {
    loop {
        let (piece, _room) = {
            let mut queue = lock(queue);
            match queue.waiting.pop_front() {
                Some(next) => next,
                None => {
                    queue.hash = Some(hash);
                    return;
                }
            }
        };
        hash.update(&piece);
    }
}

fn lock<H>(queue: &Mutex<Queue<H>>) -> MutexGuard<'_, Queue<H>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use cm_crypto::digest::sha256;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn pieces_are_taken_in_as_they_come_queued_or_at_once() {
        let tasks = Tasks::new();
        let (mut hashing, mut all) = (Hashing::new(Sha256::new()), Vec::new());
        for n in 0..200_u8 {
            let piece = vec![n; 10_000 * usize::from(n % 7)];
            all.extend_from_slice(&piece);
            if n % 5 == 0 {
                hashing.take(&piece).await.unwrap();
            } else {
                hashing.queue(&tasks, piece.into()).await.unwrap();
            }
        }
        assert_eq!(hashing.finish().await.unwrap().finish(), sha256(&all));
        let nothing = Hashing::new(Sha256::new());
        assert_eq!(nothing.finish().await.unwrap().finish(), sha256(b""));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_pieces_wait_than_there_is_room_for() {
        /// Stands still until it is told to go on.
        struct Slow(std::sync::mpsc::Receiver<()>, usize);
        impl Hash for Slow {
            fn update(&mut self, _: &[u8]) {
                self.0.recv().unwrap();
                self.1 += 1;
            }
        }
        let (go_on, told) = std::sync::mpsc::channel();
        let (tasks, mut hashing) = (Tasks::new(), Hashing::new(Slow(told, 0)));
        for _ in 0..WAITING_MAX {
            hashing.queue(&tasks, Bytes::from_static(b"piece")).await.unwrap();
        }
        assert_eq!(hashing.room.available_permits(), 0);
        go_on.send(()).unwrap();
        hashing.queue(&tasks, Bytes::from_static(b"piece")).await.unwrap();
        for _ in 0..WAITING_MAX {
            go_on.send(()).unwrap();
        }
        assert_eq!(hashing.finish().await.unwrap().1, WAITING_MAX + 1);
    }
}
