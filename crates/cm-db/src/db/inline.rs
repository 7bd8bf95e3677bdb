//! Reads on the thread that asks.
//!
//! To hand a closure to another thread and its result back costs two changes of context, several times what a few
//! look-ups cost in a file that the operating system has in memory. Threads of an asynchronous runtime must not be held
//! up, though, and a file that is not in memory does hold them up. Hence the pause: where more than one read in
//! [`SLOW_WEIGHT`] takes long, the next ones are handed over for some time, so that a database on a slow disk is read by
//! threads that may wait. One slow read among many quick ones means nothing: a busy machine takes every thread its
//! processor away now and then.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use crate::engine::{Pace, Reader};
use crate::{DbError, ReadTx};

/// What the thread of a runtime may be held up for.
const LONG: Duration = Duration::from_micros(500);
/// How many quick reads make up for a slow one.
const SLOW_WEIGHT: u32 = 8;
/// From so many slow reads on that nothing has made up for, reads are handed over.
const SLOW_MAX: u32 = 3;
/// How many times as long as the last slow read the pause takes.
const PAUSE_FACTOR: u32 = 10;

/// Connections for whoever finds one free.
pub(super) struct Inline {
    readers: Vec<Mutex<Option<Box<dyn Reader>>>>,
    next: AtomicUsize,
    /// Slow reads, [`SLOW_WEIGHT`] each, less the quick ones since.
    slowness: AtomicU32,
    began: Instant,
    /// The end of the pause, in nanoseconds after `began`.
    paused_until: AtomicU64,
}

impl Inline {
    pub(super) fn new(readers: Vec<Box<dyn Reader>>) -> Self {
        Self {
            readers: readers.into_iter().map(|reader| Mutex::new(Some(reader))).collect(),
            next: AtomicUsize::new(0),
            slowness: AtomicU32::new(0),
            began: Instant::now(),
            paused_until: AtomicU64::new(0),
        }
    }

    /// Runs the closure against a snapshot, here and now; gives it back where that cannot be done.
    pub(super) fn run<T, E, F>(&self, closure: F) -> Result<Result<T, E>, F>
    where
        F: FnOnce(&ReadTx<'_>) -> Result<T, E>,
        E: From<DbError>,
    {
        let began = Instant::now();
        if self.is_paused(began) {
            return Err(closure);
        }
        let Some(mut free) = self.free() else { return Err(closure) };
        let Some(reader) = free.as_mut() else { return Err(closure) };
        let (mut closure, mut result) = (Some(closure), None);
        let snapshot = reader.snapshot(Pace::Short, &mut |store| {
            let Some(closure) = closure.take() else { return };
            // A snapshot cannot be left inconsistent.
            let outcome = catch_unwind(AssertUnwindSafe(|| closure(&ReadTx::new(store))));
            result = Some(outcome.unwrap_or_else(|_| Err(E::from(DbError::Panicked))));
        });
        self.note(began, began.elapsed());
        match (result, snapshot, closure) {
            (Some(result), _, _) => Ok(result),
            (None, Err(error), _) => Ok(Err(E::from(error))),
            (None, Ok(()), Some(closure)) => Err(closure),
            (None, Ok(()), None) => Ok(Err(E::from(DbError::Closed))),
        }
    }

    /// Lets go of the connections, each once nobody uses it.
    pub(super) fn close(&self) {
        for reader in &self.readers {
            reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        }
    }

    fn is_paused(&self, now: Instant) -> bool {
        let until = self.paused_until.load(Ordering::Relaxed);
        until > 0 && nanoseconds(now.saturating_duration_since(self.began)) < until
    }

    /// Keeps in mind how long a read took.
    fn note(&self, began: Instant, took: Duration) {
        // Two threads that count at once may lose a count, which matters to nobody.
        let slowness = self.slowness.load(Ordering::Relaxed);
        if took <= LONG {
            if slowness > 0 {
                self.slowness.store(slowness - 1, Ordering::Relaxed);
            }
            return;
        }
        let slowness = (slowness + SLOW_WEIGHT).min(SLOW_MAX * SLOW_WEIGHT);
        self.slowness.store(slowness, Ordering::Relaxed);
        if slowness == SLOW_MAX * SLOW_WEIGHT {
            let until = began.saturating_duration_since(self.began) + took * (1 + PAUSE_FACTOR);
            self.paused_until.fetch_max(nanoseconds(until), Ordering::Relaxed);
        }
    }

    /// A connection that nobody uses, if there is one.
    fn free(&self) -> Option<MutexGuard<'_, Option<Box<dyn Reader>>>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.readers.len()).find_map(|at| {
            match self.readers[first.wrapping_add(at) % self.readers.len()].try_lock() {
                Ok(reader) => Some(reader),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        })
    }
}

impl std::fmt::Debug for Inline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inline")
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::sqlite::SqliteEngine;

    fn inline(readers: usize) -> Inline {
        let dir = tempfile::tempdir().unwrap();
        let engine = SqliteEngine::open(&dir.path().join("db")).unwrap();
        Inline::new((0..readers).map(|_| engine.reader().unwrap()).collect())
    }

    /// Whether a closure that does nothing is run at once, however slow the machine was just now.
    fn runs(inline: &Inline) -> bool {
        inline.paused_until.store(0, Ordering::Relaxed);
        matches!(inline.run(|_| Ok::<_, DbError>(7)), Ok(Ok(7)))
    }

    #[test]
    fn closures_run_where_they_are_as_long_as_a_connection_is_free() {
        assert!(!runs(&inline(0)));
        let inline = inline(2);
        let outer = inline.run(|_| {
            let inner = inline.run(|_| {
                assert!(!runs(&inline), "both connections are used");
                Ok::<_, DbError>(())
            });
            inner.unwrap_or_else(|_| panic!("one connection is free"))
        });
        assert!(matches!(outer, Ok(Ok(()))));
        assert!(runs(&inline));
    }

    #[test]
    fn errors_and_panics_are_answers() {
        let inline = inline(1);
        assert!(matches!(inline.run(|_| Err::<(), _>(DbError::Closed)), Ok(Err(DbError::Closed))));
        let panicking =
            |_: &ReadTx<'_>| -> Result<(), DbError> { std::panic::resume_unwind(Box::new("deliberate")) };
        assert!(matches!(inline.run(panicking), Ok(Err(DbError::Panicked))));
        assert!(runs(&inline));
    }

    #[test]
    fn slow_reads_make_the_next_ones_be_handed_over_for_a_while() {
        let inline = inline(1);
        let (now, slow) = (Instant::now(), Duration::from_secs(2));
        for _ in 0..100 {
            inline.note(now, slow);
            (0..SLOW_WEIGHT).for_each(|_| inline.note(now, LONG));
        }
        assert!(!inline.is_paused(now), "few of many are slow");
        (0..SLOW_MAX).for_each(|_| inline.note(now, slow));
        assert!(inline.is_paused(now + slow * PAUSE_FACTOR));
        assert!(!inline.is_paused(now + slow * (2 + PAUSE_FACTOR)));
        assert!(inline.run(|_| Ok::<_, DbError>(7)).is_err());
    }

    #[test]
    fn a_closed_one_gives_closures_back() {
        let inline = inline(1);
        inline.close();
        assert!(!runs(&inline));
    }
}
