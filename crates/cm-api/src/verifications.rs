//! Verifications read everything that is stored: they take turns.

use std::sync::Arc;
use std::time::Duration;

use cm_http::{Failure, FailureClass};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// When to try again: a verification takes seconds to minutes.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// One place for each kind of verification. Clones share them.
#[derive(Clone, Debug)]
pub struct Verifications {
    events: Arc<Semaphore>,
    objects: Arc<Semaphore>,
}

impl Default for Verifications {
    fn default() -> Self {
        let one = || Arc::new(Semaphore::new(1));
        Self { events: one(), objects: one() }
    }
}

impl Verifications {
    /// The place of the one verification of the log.
    ///
    /// # Errors
    /// 429 while it is taken.
    pub(crate) fn events(&self) -> Result<OwnedSemaphorePermit, Failure> {
        turn(&self.events)
    }

    /// The place of the one verification of the objects.
    ///
    /// # Errors
    /// 429 while it is taken.
    pub(crate) fn objects(&self) -> Result<OwnedSemaphorePermit, Failure> {
        turn(&self.objects)
    }
}

fn turn(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
    Arc::clone(places).try_acquire_owned().map_err(|_| {
        Failure::new(FailureClass::TooMany, "another verification is under way").with_retry_after(RETRY_AFTER)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_place() {
        let verifications = Verifications::default();
        let events = verifications.events().unwrap();
        let _objects = verifications.objects().unwrap();
        assert_eq!(verifications.clone().events().unwrap_err().class(), FailureClass::TooMany);
        assert_eq!(verifications.objects().unwrap_err().class(), FailureClass::TooMany);
        drop(events);
        assert!(verifications.events().is_ok());
    }
}
