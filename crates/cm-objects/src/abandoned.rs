//! Chunks of puts that came to nothing, on their way to the collector.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cm_crypto::digest::sha256;
use cm_types::Sha256Digest;
use tokio::sync::Notify;

use crate::claims::{Claims, Shared};
use crate::network::Promise;
use crate::network::admit::Promises;

/// How many digests wait for the collector at most: 2 MiB of them, the full segments of 64 puts. Beyond
/// that it searches the directories instead. Few in unit tests, so that they go beyond.
const WAITING_MAX: usize = if cfg!(test) { 8 } else { 65_536 };

/// What the collector has to look at because its put came to nothing.
pub(crate) struct Abandoned {
    waiting: Mutex<Waiting>,
    garbage: Arc<Notify>,
}

struct Waiting {
    // Invariant: empty if everything is to be searched, which finds them too.
    digests: Vec<Sha256Digest>,
    everywhere: bool,
    uncertain: bool,
}

impl Abandoned {
    /// Begins with a search of everything: what an earlier process abandoned, only the directories know.
    pub(crate) fn new(garbage: Arc<Notify>) -> Self {
        let waiting = Waiting { digests: Vec::new(), everywhere: true, uncertain: false };
        Self { waiting: Mutex::new(waiting), garbage }
    }

    /// Hands the search to the caller, who reports it finished or leaves it to the next one by dropping it.
    pub(crate) fn take(&self) -> Search<'_> {
        let mut waiting = self.lock();
        if waiting.uncertain {
            return Search { abandoned: self, digests: Vec::new(), everywhere: false };
        }
        let digests = std::mem::take(&mut waiting.digests);
        let everywhere = std::mem::take(&mut waiting.everywhere);
        Search { abandoned: self, digests, everywhere }
    }

    pub(crate) fn search_everywhere(&self) {
        let mut waiting = self.lock();
        waiting.digests = Vec::new();
        waiting.everywhere = true;
    }

    /// Ends all searches of this process: whether a row counts a chunk is unknown, and will be known when
    /// the tables are opened again. Until then, too much is better than too little.
    pub(crate) fn search_no_more(&self) {
        self.lock().uncertain = true;
        tracing::warn!("effect of a commit unknown, abandoned chunks stay until the next start");
    }

    fn add(&self, digests: Vec<Sha256Digest>) {
        let mut waiting = self.lock();
        if waiting.everywhere {
            return;
        }
        if waiting.digests.len() + digests.len() <= WAITING_MAX {
            waiting.digests.extend(digests);
        } else {
            waiting.digests = Vec::new();
            waiting.everywhere = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> (usize, bool) {
        let waiting = self.lock();
        (waiting.digests.len(), waiting.everywhere)
    }
}

/// What one search looks at. Dropped unfinished, it makes the next one look everywhere.
pub(crate) struct Search<'a> {
    abandoned: &'a Abandoned,
    /// Chunks that may be orphans.
    pub(crate) digests: Vec<Sha256Digest>,
    /// Any file may be an orphan.
    pub(crate) everywhere: bool,
}

impl Search<'_> {
    pub(crate) fn finish(mut self) {
        self.digests.clear();
        self.everywhere = false;
    }
}

impl Drop for Search<'_> {
    fn drop(&mut self) {
        if self.everywhere || !self.digests.is_empty() {
            self.abandoned.search_everywhere();
        }
    }
}

/// Chunks that a put made durable and that no row counts yet, each pinned. Dropped uncounted, it gives
/// the pins up and tells the collector.
pub(crate) struct Uncounted {
    abandoned: Arc<Abandoned>,
    claims: Claims<Sha256Digest>,
    pins: Vec<Shared<Sha256Digest>>,
    /// What peers have promised about them.
    promises: Promises,
}

impl Uncounted {
    pub(crate) fn new(abandoned: Arc<Abandoned>, claims: Claims<Sha256Digest>) -> Self {
        Self { abandoned, claims, pins: Vec::new(), promises: Promises::new() }
    }

    /// Notes what peers have promised about one of the chunks.
    pub(crate) fn promise(&mut self, digest: Sha256Digest, promise: Promise) {
        self.promises.insert(digest, promise);
    }

    pub(crate) fn is_promised(&self, digest: &Sha256Digest) -> bool {
        self.promises.contains_key(digest)
    }

    pub(crate) fn promises(&mut self) -> &mut Promises {
        &mut self.promises
    }

    /// Hashes a chunk and adds it, before anybody looks whether it exists: see the story of the crate. Waits while the
    /// collector has it: for blocking threads only.
    pub(crate) fn hash(&mut self, chunk: &[u8]) -> Sha256Digest {
        let digest = sha256(chunk);
        self.pins.push(self.claims.share(digest));
        digest
    }

    /// Adds the chunks of another, after its own.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.pins.append(&mut other.pins);
        self.promises.extend(other.promises.drain());
    }

    /// The chunks in the order of the object.
    pub(crate) fn digests(&self) -> Vec<Sha256Digest> {
        self.pins.iter().map(Shared::key).collect()
    }

    /// Another with no chunk.
    pub(crate) fn none(&self) -> Self {
        Self::new(self.abandoned.clone(), self.claims.clone())
    }

    /// Takes all chunks out.
    pub(crate) fn take(&mut self) -> Self {
        let none = self.none();
        std::mem::replace(self, none)
    }

    /// The transaction that counts the chunks has committed.
    pub(crate) fn counted(mut self) {
        self.pins.clear();
    }

    /// Nobody knows whether the transaction that counts the chunks has committed.
    pub(crate) fn uncertain(self) {
        self.abandoned.search_no_more();
    }
}

impl Drop for Uncounted {
    fn drop(&mut self) {
        let digests = self.digests();
        if digests.is_empty() {
            return;
        }
        // The pins first. A digest that the collector then finds pinned is pinned by another put, which
        // counts it or hands it over itself.
        self.pins.clear();
        self.abandoned.add(digests);
        self.abandoned.garbage.notify_one();
    }
}
