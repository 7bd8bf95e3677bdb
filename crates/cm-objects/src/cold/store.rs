//! The service that takes cold chunks: nothing that it is given tells it anything, and nothing that it gives is believed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cm_crypto::digest::sha256;
use cm_crypto::{Secret, sealed};
use cm_runtime::Tasks;
use cm_types::Sha256Digest;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload};
use uuid::Uuid;

use super::lock;
use crate::{CHUNK_BYTES, ObjectError};

/// What chunks are sealed for, with their names.
const SEALED_FOR: &str = "cryptomesh/cold-chunk/v1/";
/// Longest chunk with what sealing adds; more is not read.
const SEALED_BYTES_MAX: u64 = CHUNK_BYTES as u64 + 1024;

/// What the service has under a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The chunk, verified.
    Chunk(Bytes),
    /// Nothing.
    Nothing,
    /// Something else.
    Other,
}

pub(crate) struct ColdStore {
    store: Arc<dyn ObjectStore>,
    place: String,
    prefix: String,
    key: Arc<Secret<[u8; 32]>>,
    timeout: Duration,
    tasks: Tasks,
    failure: Mutex<Option<String>>,
}

impl ColdStore {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        place: String,
        prefix: String,
        key: Secret<[u8; 32]>,
        timeout: Duration,
        tasks: Tasks,
    ) -> Self {
        Self { store, place, prefix, key: Arc::new(key), timeout, tasks, failure: Mutex::default() }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Why the service was last of no use, unless it was since.
    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// A name that nothing had and nothing will have again. It tells nothing of the chunk.
    pub(super) fn new_name(&self) -> String {
        let id = Uuid::new_v4().simple().to_string();
        let prefix = self.prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("{prefix}{slash}{}/{id}", &id[..2])
    }

    /// Writes a chunk under a name, sealed.
    ///
    /// # Errors
    /// [`ObjectError::ColdUnavailable`]. Whether it was written is unknown.
    pub(super) async fn put(&self, name: &str, chunk: Bytes) -> Result<(), ObjectError> {
        let (key, context) = (self.key.clone(), format!("{SEALED_FOR}{name}"));
        let sealing =
            self.tasks.spawn_blocking("cold-seal", move || sealed::seal(&key, context.as_bytes(), &chunk));
        let sealed = sealing.await.map_err(|_| ObjectError::Lost)?;
        let path = Path::from(name);
        self.within("put", self.store.put(&path, PutPayload::from(sealed))).await.map(drop)
    }

    /// What there is under a name, opened and compared with the digest.
    ///
    /// # Errors
    /// [`ObjectError::ColdUnavailable`].
    pub(super) async fn get(&self, name: &str, digest: Sha256Digest) -> Result<Kept, ObjectError> {
        let path = Path::from(name);
        let fetched = self.within("get", async {
            match self.store.get(&path).await {
                Ok(found) if found.meta.size > SEALED_BYTES_MAX => Ok(Err(Kept::Other)),
                Ok(found) => found.bytes().await.map(Ok),
                Err(Error::NotFound { .. }) => Ok(Err(Kept::Nothing)),
                Err(error) => Err(error),
            }
        });
        let sealed = match fetched.await? {
            Ok(sealed) => sealed,
            Err(kept) => return Ok(kept),
        };
        let (key, context) = (self.key.clone(), format!("{SEALED_FOR}{name}"));
        let opening = self.tasks.spawn_blocking("cold-open", move || {
            let opened = sealed::open(&key, context.as_bytes(), &sealed).ok()?;
            (sha256(&opened) == digest).then(|| Bytes::from(opened))
        });
        let opened = opening.await.map_err(|_| ObjectError::Lost)?;
        Ok(opened.map_or(Kept::Other, Kept::Chunk))
    }

    /// Sees to it that there is nothing under a name.
    ///
    /// # Errors
    /// [`ObjectError::ColdUnavailable`]. Whether it was deleted is unknown.
    pub(super) async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        let path = Path::from(name);
        let deleting = async {
            match self.store.delete(&path).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.within("delete", deleting).await
    }

    async fn within<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, ObjectError> {
        let failure = match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(done)) => {
                *lock(&self.failure) = None;
                return Ok(done);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", self.timeout.as_secs()),
        };
        metrics::counter!("cm_storage_cold_failures_total", "operation" => operation).increment(1);
        tracing::debug!(place = self.place, operation, failure, "cold tier of no use");
        *lock(&self.failure) = Some(format!("{operation}: {failure}"));
        Err(ObjectError::ColdUnavailable { place: self.place.clone() })
    }
}
