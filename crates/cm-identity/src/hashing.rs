//! Password hashing off the runtime, a few at a time; and what else of logins takes long.

use std::sync::Arc;
use std::time::Duration;

use cm_crypto::Secret;
use cm_crypto::password::{self, PasswordHash};
use cm_runtime::Tasks;
use tokio::sync::Semaphore;

use crate::IdentityError;

/// Hashes computed at once: 19 MiB each, so a flood of logins costs 76 MiB at most.
const RUNNING_MAX: usize = 4;
/// Callers waiting for one of these places; further ones are turned away. At some 30 ms each the last of
/// them waits half a second.
const WAITING_MAX: usize = 64;
/// What a caller that was turned away is told.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct Hashing {
    tasks: Tasks,
    running: Arc<Semaphore>,
    /// Counts those that run as well.
    admitted: Arc<Semaphore>,
}

impl Hashing {
    pub(crate) fn new(tasks: Tasks) -> Self {
        Self {
            tasks,
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            admitted: Arc::new(Semaphore::new(RUNNING_MAX + WAITING_MAX)),
        }
    }

    /// Cancel-safe: a hash that was begun is finished and forgotten.
    pub(crate) async fn hash(&self, password: Secret<String>) -> Result<PasswordHash, IdentityError> {
        self.run("password-hash", move || password::hash(&password)).await
    }

    /// Whether the password is the one of the hash; with no hash, never, but in the same time.
    pub(crate) async fn verify(
        &self,
        password: Secret<String>,
        hash: Option<PasswordHash>,
    ) -> Result<bool, IdentityError> {
        self.run("password-verify", move || {
            // Taken in either case, because the first caller pays for making it.
            let decoy = PasswordHash::decoy();
            let matches = password::verify(&password, hash.as_ref().unwrap_or(decoy));
            matches && hash.is_some()
        })
        .await
    }

    /// The places are held by the work itself: a caller that goes away frees none before it is done.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, IdentityError> {
        let admitted = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_| IdentityError::Busy { retry_after: RETRY_AFTER })?;
        let running =
            Arc::clone(&self.running).acquire_owned().await.map_err(|_| IdentityError::ShuttingDown)?;
        let places = (admitted, running);
        let handle = self.tasks.spawn_blocking(name, move || {
            let result = work();
            drop(places);
            result
        });
        handle.await.map_err(|_| IdentityError::ShuttingDown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_is_turned_away_and_the_rest_is_served() {
        let hashing = Arc::new(Hashing::new(Tasks::new()));
        let taken = Arc::clone(&hashing.admitted)
            .acquire_many_owned((RUNNING_MAX + WAITING_MAX - 1) as u32)
            .await
            .unwrap();
        let last = hashing.run("test", || 7).await;
        assert_eq!(last.unwrap(), 7);
        let one_more = Arc::clone(&hashing.admitted).acquire_owned().await.unwrap();
        assert!(matches!(hashing.run("test", || 7).await, Err(IdentityError::Busy { .. })));
        drop((taken, one_more));
        assert_eq!(hashing.run("test", || 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn without_a_hash_nothing_matches() {
        let hashing = Hashing::new(Tasks::new());
        let secret = || Secret::new("correct horse".to_owned());
        let hash = hashing.hash(secret()).await.unwrap();
        assert!(hashing.verify(secret(), Some(hash)).await.unwrap());
        assert!(!hashing.verify(secret(), None).await.unwrap());
    }
}
