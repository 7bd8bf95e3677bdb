//! The cold tier: chunks that nobody has read for long lie in an S3 service, and no longer on peers.
//!
//! ```text
//! settings    after how many days without access the chunks of a bucket may go there
//! store       the service: sealed, under names that tell nothing, each call with an end
//! tables      which names there are, and how many chunks lie there
//! mover       one node for all: finds cold chunks, moves them, deletes what is not needed there any more
//! reading     a chunk that lies there, and its way back
//! ```
//!
//! **What goes there.** A chunk whose every mention is by a version of a bucket that wants it, each older than that bucket says, and
//! that nobody has read for as long. A chunk that any other bucket, a younger version or an upload names too stays where it is. Uses are
//! noted by chunk, in memory first and then in rows, at most once in a twenty-fourth of a day each: a crash forgets the last of them, and a chunk may then go
//! a little early, which costs its next reader a detour and nothing else.
//!
//! **Moving.** First a row says that a name is about to be written (`ColdObjects`). The chunk is read and verified, sealed
//! (AES-256-GCM under a key of the node's, bound to its name), written, **read back, opened and compared with its digest**. Then one transaction, which fails if the
//! chunk was named anew meanwhile or if the row is gone, notes the name with the chunk, takes the row off and gives up what peers have, by the same rounds as when
//! chunks are deleted ([`crate::network`]): what somebody has promised since stays.
//!
//! **Names are used once.** What the transaction did not take, and what chunks do not need any more, is left in the rows, and deleted after the grace period: a row is
//! first marked, so that nobody can take it, then the object is deleted, then the row. So a deletion that comes late, from a node that was paused for a week, hits
//! nothing that a chunk names.
//!
//! **Reading.** The service is not trusted: what does not open, or has another digest, is damage, as it is on a disk. A service that does not answer is
//! [`ObjectError::ColdUnavailable`], and nothing is lost. **The first read brings a chunk back**: it is served at once and stored on its peers in the background, as new; the name is given up
//! when that is durable. Writing the same bytes again does the same. Checks of everything leave chunks where they are.

pub(crate) mod mover;
pub(crate) mod reading;
pub mod settings;
pub(crate) mod store;
pub(crate) mod tables;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cm_crypto::derive;
use cm_runtime::{Backoff, spawn_worker};
use cm_types::{BucketName, Sha256Digest, TenantId, Timestamp};
use object_store::ObjectStore;
use tokio::sync::Semaphore;

use self::mover::Mover;
use self::store::ColdStore;
use self::tables::{ColdState, ColdTiers};
use crate::{ObjectError, Objects};

/// Chunks on their way back at once; a reader that finds all places taken leaves the chunk where it is.
const PROMOTIONS_MAX: usize = 4;
/// Uses that wait to be noted; beyond it the oldest are forgotten.
const USES_MAX: usize = 65_536;

/// How fast and how often things are moved. Every combination is legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdPace {
    /// How often is looked for cold chunks. 1 hour unless told.
    pub look_every: Duration,
    /// How many bytes in a second are moved at most. 16 MB unless told.
    pub bytes_per_second: u64,
    /// How long the service may take for one chunk. 20 s unless told.
    pub timeout: Duration,
}

impl Default for ColdPace {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(3600),
            bytes_per_second: 16_000_000,
            timeout: Duration::from_secs(20),
        }
    }
}

/// A service that takes cold chunks.
#[derive(Clone, Debug)]
pub struct ColdTier {
    /// The service, as of one bucket.
    pub store: Arc<dyn ObjectStore>,
    /// What it is called in what is told of it; no secret.
    pub place: String,
    /// Begins all names there; may be empty.
    pub prefix: String,
    /// Its pace.
    pub pace: ColdPace,
}

/// What the cold tier looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdStatus {
    /// What the service is called; `None` if this node has none.
    pub place: Option<String>,
    /// Buckets that want their cold chunks there.
    pub buckets: u64,
    /// Chunks that lie there and nowhere else.
    pub chunks: u64,
    /// Their bytes, before they were sealed.
    pub bytes: u64,
    /// Names there that are not needed any more and wait to be deleted, counted up to [`WAITING_COUNTED_MAX`].
    pub waiting: u64,
    /// When everything was last looked at.
    pub looked_at: Option<Timestamp>,
    /// Why this node has last failed to use the service, unless it succeeded since.
    pub failure: Option<String>,
}

/// Names that wait to be deleted are counted up to so many.
pub const WAITING_COUNTED_MAX: usize = 10_000;

/// The tier as this node has it.
pub(crate) struct Cold {
    pub(crate) store: ColdStore,
    pub(crate) pace: ColdPace,
    /// The buckets whose reads are noted.
    buckets: Mutex<Arc<HashSet<(TenantId, BucketName)>>>,
    uses: Mutex<Uses>,
    promotions: Arc<Semaphore>,
}

/// Chunks that were read and that no row says so of yet.
#[derive(Debug, Default)]
struct Uses {
    /// When each was last read.
    known: HashMap<Sha256Digest, Timestamp>,
    order: VecDeque<Sha256Digest>,
}

impl Uses {
    fn add(&mut self, digest: Sha256Digest, at: Timestamp) {
        if self.known.insert(digest, at).is_none() {
            self.order.push_back(digest);
        }
        if self.order.len() > USES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn take(&mut self, most: usize) -> Vec<(Sha256Digest, Timestamp)> {
        let taken = self.order.drain(..most.min(self.order.len()));
        taken.filter_map(|digest| Some((digest, self.known.remove(&digest)?))).collect()
    }
}

impl Cold {
    fn note_use(&self, digest: Sha256Digest, at: Timestamp) {
        lock(&self.uses).add(digest, at);
    }

    fn wants(&self, bucket: &(TenantId, BucketName)) -> bool {
        lock(&self.buckets).contains(bucket)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Objects {
    /// Gives this node a service for cold chunks, once, and starts to look for some. Every node that shares the tables needs the same one.
    ///
    /// # Errors
    /// [`ObjectError::ColdAlready`].
    pub fn use_cold_tier(&self, tier: ColdTier) -> Result<(), ObjectError> {
        let key = derive::derive_key(self.0.encryption_key.expose(), "cryptomesh/cold-tier/v1");
        let ColdTier { store, place, prefix, pace } = tier;
        let cold = Arc::new(Cold {
            store: ColdStore::new(store, place, prefix, key, pace.timeout, self.0.tasks.clone()),
            pace,
            buckets: Mutex::default(),
            uses: Mutex::default(),
            promotions: Arc::new(Semaphore::new(PROMOTIONS_MAX)),
        });
        self.0.cold.set(cold.clone()).map_err(|_| ObjectError::ColdAlready)?;
        spawn_worker(&self.0.tasks, Mover::new(self.0.clone(), cold), Backoff::default());
        Ok(())
    }

    /// The state of the cold tier.
    ///
    /// This concerns the node and not a tenant: the caller decides who may ask for it.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn cold_status(&self) -> Result<ColdStatus, ObjectError> {
        let (state, waiting, buckets) = self
            .0
            .db
            .read(|tx| {
                let state = tx.get::<ColdTiers>(&())?.unwrap_or_default();
                Ok::<_, ObjectError>((state, tables::waiting(tx)?, settings::cold_buckets(tx)?.len()))
            })
            .await?;
        let ColdState { chunks, bytes, looked_at } = state;
        let cold = self.0.cold.get();
        Ok(ColdStatus {
            place: cold.map(|cold| cold.store.place().to_owned()),
            buckets: buckets as u64,
            chunks,
            bytes,
            waiting,
            looked_at,
            failure: cold.and_then(|cold| cold.store.failure()),
        })
    }
}
