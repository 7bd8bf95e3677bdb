//! Waiting for a node that says nothing.
//!
//! Not left to the HTTP client: its limit counts from the moment when a request begins, so that a large object on a slow way
//! would never be sent, and it tells nobody that it waits.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::error::Unanswered;

/// How long a node may be silent until its caller is told.
const TELL_AFTER: Duration = Duration::from_secs(10);
/// How long to wait for what a node answers out of its head.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait for anything else, and between two reads of an answer. A whole answer may take longer, as a large object does.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// Called when a node has said nothing for so long; the second is how long it is waited for altogether, if there is an end.
pub type OnSilence = Arc<dyn Fn(Duration, Option<Duration>) + Send + Sync>;

/// When something of a request last went on its way.
#[derive(Clone)]
pub(crate) struct Movement(Arc<Mutex<Instant>>);

impl Movement {
    fn begin() -> Movement {
        Movement(Arc::new(Mutex::new(Instant::now())))
    }

    /// Something has just moved.
    pub(crate) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn silence(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// How long an answer may take to begin, counted from when something last moved.
pub(crate) struct Waiting {
    limit: Option<Duration>,
    movement: Movement,
}

impl Waiting {
    /// For a question that changes nothing and takes no reading of what is stored.
    pub(crate) fn question() -> Waiting {
        Waiting { limit: Some(QUESTION_TIMEOUT), movement: Movement::begin() }
    }

    /// For anything else.
    pub(crate) fn work() -> Waiting {
        Waiting { limit: Some(READ_TIMEOUT), movement: Movement::begin() }
    }

    /// For work that grows with what is stored.
    pub(crate) fn endless() -> Waiting {
        Waiting { limit: None, movement: Movement::begin() }
    }

    /// To be told that a body moves.
    pub(crate) fn movement(&self) -> Movement {
        self.movement.clone()
    }

    /// The same, and no longer than this where there is an end.
    pub(crate) fn at_most(self, limit: Duration) -> Waiting {
        Waiting { limit: self.limit.map(|own| own.min(limit)), ..self }
    }

    /// Waits for an answer, and tells `on_silence` once if it takes its time.
    pub(crate) async fn wait<T>(
        self,
        answer: impl Future<Output = Result<T, reqwest::Error>>,
        on_silence: &OnSilence,
    ) -> Result<T, Unanswered> {
        let mut answer = pin!(answer);
        let mut is_told = false;
        loop {
            let silence = self.movement.silence();
            if let Some(limit) = self.limit.filter(|limit| silence >= *limit) {
                return Err(Unanswered::Silent(limit));
            }
            if silence >= TELL_AFTER && !is_told {
                is_told = true;
                on_silence(TELL_AFTER, self.limit);
            }
            let until = if is_told {
                self.limit
            } else {
                Some(self.limit.map_or(TELL_AFTER, |limit| limit.min(TELL_AFTER)))
            };
            let answered = match until {
                Some(until) => timeout(until.saturating_sub(silence), &mut answer).await,
                None => Ok(answer.as_mut().await),
            };
            if let Ok(answered) = answered {
                return answered.map_err(Unanswered::from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn counted() -> (OnSilence, Arc<AtomicUsize>) {
        let told = Arc::new(AtomicUsize::new(0));
        let count = told.clone();
        let on_silence: OnSilence = Arc::new(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        (on_silence, told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_is_told_of_once_and_waited_for_as_long_as_was_said() {
        for (waiting, limit) in
            [(Waiting::question as fn() -> Waiting, QUESTION_TIMEOUT), (Waiting::work, READ_TIMEOUT)]
        {
            let (on_silence, told) = counted();
            let begun = Instant::now();
            let outcome = waiting().wait(std::future::pending::<Result<(), _>>(), &on_silence).await;
            assert!(matches!(outcome, Err(Unanswered::Silent(waited)) if waited == limit), "{outcome:?}");
            assert_eq!(begun.elapsed(), limit);
            assert_eq!(told.load(Ordering::Relaxed), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_moves_is_no_silence_however_long_it_takes() {
        let (on_silence, told) = counted();
        let waiting = Waiting::work();
        let movement = waiting.movement();
        let sending = async {
            for _ in 0..100 {
                tokio::time::sleep(TELL_AFTER / 2).await;
                movement.note();
            }
            Ok(7)
        };
        assert_eq!(waiting.wait(sending, &on_silence).await.unwrap(), 7);
        assert_eq!(told.load(Ordering::Relaxed), 0);
        let late = async {
            tokio::time::sleep(READ_TIMEOUT * 10).await;
            Ok(8)
        };
        assert_eq!(Waiting::endless().wait(late, &on_silence).await.unwrap(), 8);
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }
}
