//! Chunks on several peers: what a node does besides when it belongs to a storage network.
//!
//! The peers share the database: buckets, objects, manifests, counts of chunks and the layouts of the network. What is local is the
//! bytes of chunks. [`cm_placement`] says who keeps what; this module moves it.
//!
//! ```text
//! wire, serve      what peers ask each other, and how a peer answers
//! call             asking, be it this node itself
//! layouts          who takes part, as the database says
//! store            a new chunk: parts to their holders, enough of them durable before the object is shown
//! admit            the transaction that shows it: nothing of it was given up meanwhile
//! fetch            a chunk wherever it is: here, with its holders, with anybody
//! sweep, scrub     each peer for itself: deletes what was condemned, looks for orphans, for what belongs elsewhere and for rot
//! survey           one peer for all: mends what is short, looks at every chunk after changes
//! elastic          copies beyond the promised ones, where there is much reading
//! status           what all this looks like
//! ```
//!
//! **Writing.** The parts of a chunk go to the first active peers in the order of its digest, and past those that are down or fail
//! to the next ones ([`cm_placement::Placing`]). A peer answers when a part is durable. An object is shown once each chunk survives
//! half of the losses that it will survive when it is whole ([`Redundancy::promise`]): 2 of 3 copies, 4 of 5 shards in 3+2. What is
//! missing then is noted in the same transaction and made by the survey. If fewer are durable the put fails, may be tried again, and what was
//! stored is taken back.
//!
//! **Taking back** must not race with writers that find a chunk present and count on it. No clock and no lock decides about that, but
//! **rounds**, numbers in the database. A collector *condemns* a chunk that nothing names: a transaction removes its row and notes
//! the digest with the next round. Each peer then deletes its parts of it, unless they were promised in that round or later. A writer knows the
//! round from before it stored anything; peers keep it with the parts. The transaction that counts the chunks refuses those that
//! were condemned in a later round than the writer's; the writer then has its parts promised anew, in the current round, and tries again. So a
//! deletion that arrives late, from a peer that was paused for a week, finds a part that was promised after it and leaves it. Parts that no row knows are
//! condemned too, before they are deleted.
//!
//! **Versions** are leased in memory by whoever reads or writes them; a collector asks the other peers before it takes a version apart, and
//! a version that was begun to be taken apart cannot be shown.
//!
//! **Changing the layout.** Each change is an epoch. Writers that placed by an epoch that is settled meanwhile are refused as above. Readers fall
//! back to earlier epochs, and to everybody at last. A peer drops a part that belongs elsewhere only after all its
//! holders have said that they have theirs.
//!
//! A peer is never believed: chunks are compared with their digests here, whoever sent them.

pub(crate) mod admit;
mod call;
pub mod elastic;
mod fetch;
pub mod keeping;
mod layouts;
mod marks;
mod scrub;
mod serve;
pub mod status;
mod store;
mod survey;
pub(crate) mod sweep;
pub(crate) mod tables;
pub(crate) mod wire;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use cm_db::Db;
use cm_net::{LinkState, Links};
use cm_placement::Redundancy;
use cm_runtime::{Backoff, Clock, Tasks, spawn_worker};
use cm_types::{PeerId, Sha256Digest};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) use admit::{Promise, condemn};
pub(crate) use layouts::Known;
pub use layouts::{LayoutChange, Member};
// What whoever changes the layout needs of placement.
pub use cm_placement::{Change as StorageChange, Domain, PeerState};

pub use elastic::ElasticPace;
pub(crate) use elastic::counts::{BucketId, Reads};
pub(crate) use fetch::Found;

use marks::Marks;

use crate::chunks::ChunkStore;
use crate::claims::Claims;
use crate::{ObjectError, Objects};

/// What a node offers to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// How many bytes of chunks it takes.
    pub capacity_bytes: u64,
    /// What it fails together with.
    pub domain: Domain,
}

/// How a node takes part in a storage network.
#[derive(Clone, Debug)]
pub struct Peering {
    /// Its id, by which the directory of the links names it.
    pub own: PeerId,
    /// How it reaches the others.
    pub links: Links,
    /// What it offers when it first takes part; a layout that names it already stays as it is. Without an offer it keeps no chunks, and
    /// reads and writes those of others.
    pub offer: Option<Offer>,
    /// Its pace.
    pub pace: Pace,
}

/// How fast and how often things are done. Every combination is legal.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// How long one peer may take to store or to send a part. 10 s unless told.
    pub part_timeout: Duration,
    /// How long those who are slow are waited for once enough parts of a chunk are durable; a tenth of it where they have been so just now.
    /// 1 s unless told.
    pub straggler_timeout: Duration,
    /// After what time without an answer another holder is asked besides. 300 ms unless told.
    pub hedge_after: Duration,
    /// How long a peer that does not answer is not asked unless there is nobody else. 5 s unless told.
    pub suspect_for: Duration,
    /// How long a peer may be away until what it has is made anew elsewhere. 10 minutes unless told.
    pub repair_delay: Duration,
    /// How often all chunks are looked at though nothing has changed. 6 hours unless told.
    pub survey_every: Duration,
    /// How long the survey belongs to who does it, unless it goes on. 1 minute unless told.
    pub survey_lease: Duration,
    /// How often a peer looks through all that it has. 1 hour unless told.
    pub tidy_every: Duration,
    /// How often it reads all of it and compares it with its digests. 7 days unless told.
    pub scrub_every: Duration,
    /// How often workers look whether there is something to do. 5 s unless told.
    pub look_every: Duration,
    /// How many bytes in a second the survey has moved at most. 64 MB unless told.
    pub repair_bytes_per_second: u64,
    /// How many bytes in a second a peer reads for a scrub. 32 MB unless told.
    pub scrub_bytes_per_second: u64,
    /// How copies follow the load, in buckets that want it.
    pub elastic: ElasticPace,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            part_timeout: Duration::from_secs(10),
            straggler_timeout: Duration::from_secs(1),
            hedge_after: Duration::from_millis(300),
            suspect_for: Duration::from_secs(5),
            repair_delay: Duration::from_secs(600),
            survey_every: Duration::from_secs(6 * 3600),
            survey_lease: Duration::from_secs(60),
            tidy_every: Duration::from_secs(3600),
            scrub_every: SCRUB_EVERY,
            look_every: Duration::from_secs(5),
            repair_bytes_per_second: 64_000_000,
            scrub_bytes_per_second: SCRUB_BYTES_PER_SECOND,
            elastic: ElasticPace::default(),
        }
    }
}

/// How many copies are kept where nothing else was said, if there are as many peers.
pub const REPLICAS_DEFAULT: usize = 3;
/// How often everything is read and compared with its digests.
pub(crate) const SCRUB_EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// How much of it in a second.
pub(crate) const SCRUB_BYTES_PER_SECOND: u64 = 32_000_000;
/// Exchanges about chunks that this node has with one peer at once; half of what the links allow.
const EXCHANGES_PER_PEER_MAX: usize = 64;
/// Chunks that readers found short and that wait to be noted; more are found again by the survey.
const SUSPECTED_MAX: usize = 4096;

/// This node as a peer.
pub(crate) struct Network {
    own: PeerId,
    links: Links,
    pace: Pace,
    db: Db,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    chunks: Arc<ChunkStore>,
    leases: Claims<Uuid>,
    known: RwLock<Arc<Known>>,
    /// Bytes that each peer is sending or being sent by this node now.
    flights: Mutex<HashMap<PeerId, u64>>,
    /// Exchanges that this node may have with each peer: others need the links, too.
    slots: Mutex<HashMap<PeerId, Arc<Semaphore>>>,
    /// Peers that did not answer in time, and count as down for a while.
    suspects: Marks,
    /// Peers that others had to stand in for, and who are waited for less.
    slow: Marks,
    /// Since when peers are down.
    down: Mutex<HashMap<PeerId, Instant>>,
    /// Chunks that a read found short.
    short: Mutex<HashSet<Sha256Digest>>,
    /// How often this node reads what.
    pub(crate) reads: Reads,
    /// Something is to be mended.
    mending: Notify,
    /// Something is to be deleted, or to be looked through.
    sweeping: Notify,
    usage: Usage,
    survey_progress: AtomicU64,
    /// How long a part that no row knows is kept.
    orphan_grace: Duration,
}

/// What this peer knows of what it has, besides how much that is.
#[derive(Debug, Default)]
struct Usage {
    damaged: AtomicU64,
    counted: AtomicBool,
    /// The epoch that everything was last looked through in and found at its place, plus one.
    tidy_in: AtomicU64,
}

impl Objects {
    /// Makes this node a peer of a storage network, once, before anything is read or written: answers the kinds `chunk.*` on the links, takes a place in the
    /// layout if it offers one and has none, and starts the workers.
    ///
    /// # Errors
    /// [`ObjectError::ConnectedAlready`]; those of the tables.
    pub async fn connect(&self, peering: Peering) -> Result<(), ObjectError> {
        let engine = &self.0;
        let Peering { own, links, offer, pace } = peering;
        let network = Arc::new(Network {
            own,
            links,
            pace,
            db: engine.db.clone(),
            clock: engine.clock.clone(),
            tasks: engine.tasks.clone(),
            chunks: engine.chunks.clone(),
            leases: engine.leases.clone(),
            known: RwLock::default(),
            flights: Mutex::default(),
            slots: Mutex::default(),
            suspects: Marks::default(),
            slow: Marks::default(),
            down: Mutex::default(),
            short: Mutex::default(),
            reads: Reads::default(),
            mending: Notify::new(),
            sweeping: Notify::new(),
            usage: Usage::default(),
            survey_progress: AtomicU64::default(),
            orphan_grace: engine.config.garbage_grace,
        });
        if let Some(offer) = offer {
            network.take_place(offer).await?;
        }
        network.learn().await?;
        serve::register(&network)?;
        engine.network.set(network.clone()).map_err(|_| ObjectError::ConnectedAlready)?;
        layouts::follow(&network);
        spawn_worker(&engine.tasks, sweep::Sweeper::new(network.clone()), Backoff::default());
        spawn_worker(&engine.tasks, scrub::Scrubber::new(network.clone()), Backoff::default());
        spawn_worker(&engine.tasks, elastic::Replicator::new(network.clone()), Backoff::default());
        spawn_worker(&engine.tasks, survey::Surveyor::new(network), Backoff::default());
        Ok(())
    }
}

impl Network {
    fn is_own(&self, peer: &PeerId) -> bool {
        *peer == self.own
    }

    /// Whether a peer may be expected to answer.
    pub(crate) fn is_up(&self, peer: &PeerId) -> bool {
        if self.is_own(peer) {
            return true;
        }
        let linked = self.links.status(peer).is_some_and(|status| status.state == LinkState::Up);
        if !linked {
            lock(&self.down).entry(peer.clone()).or_insert_with(Instant::now);
            return false;
        }
        lock(&self.down).remove(peer);
        !self.suspects.has(peer)
    }

    /// Whether a peer has been away for so long that what it has is made anew elsewhere.
    fn is_away(&self, peer: &PeerId) -> bool {
        if self.is_up(peer) {
            return false;
        }
        lock(&self.down).get(peer).is_some_and(|since| since.elapsed() >= self.pace.repair_delay)
    }

    fn suspect(&self, peer: &PeerId) {
        self.suspects.set(peer, self.pace.suspect_for);
    }

    /// Others had to stand in for these.
    fn were_slow<'a>(&self, peers: impl IntoIterator<Item = &'a PeerId>) {
        for peer in peers {
            self.slow.set(peer, self.pace.suspect_for);
        }
    }

    /// How long these are waited for when what there is would do: not again and again for whoever was slow a moment ago, as for each chunk of a
    /// large object.
    fn patience<'a>(&self, peers: impl IntoIterator<Item = &'a PeerId>) -> Duration {
        let all_slow = peers.into_iter().all(|peer| self.slow.has(peer));
        if all_slow { self.pace.straggler_timeout / 10 } else { self.pace.straggler_timeout }
    }

    /// The layouts as they were a moment ago.
    pub(crate) fn known(&self) -> Arc<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A chunk was found with parts missing: somebody will look at it.
    fn found_short(&self, digest: Sha256Digest) {
        let mut short = lock(&self.short);
        if short.len() < SUSPECTED_MAX && short.insert(digest) {
            self.mending.notify_one();
        }
    }

    /// Something was condemned.
    pub(crate) fn sweep_soon(&self) {
        self.sweeping.notify_one();
    }

    /// As a chunk is kept of which nothing else was said.
    pub(crate) fn redundancy(&self, kept: Option<keeping::Keeping>) -> Redundancy {
        kept.and_then(|kept| kept.redundancy().ok()).unwrap_or_else(|| self.known().default_redundancy())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests;
