//! What others may ask of a node's part.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use cm_quorum::{Change, ChangeRefused, Fate, MemberId, Status};
use tokio::sync::{Semaphore, oneshot, watch};

use super::config::{QuorumConfig, QuorumSender};
use super::driver::Event;
use crate::{DbError, StorageClass, StorageError};

/// Callers who wait for barriers at once; beyond that, they wait to wait.
const BARRIERS_MAX: usize = 4096;
/// How long closing waits for the threads.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Why nodes did not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// No leader gave this node its turn.
    #[error(
        "no leader answered in time; fewer than half of the voting nodes may be reachable, or this node is no member (yet)"
    )]
    NoTurn,
    /// Another node's batch came first.
    #[error("another node was faster; try again")]
    Overtaken,
    /// Nothing was heard of the batch in time.
    #[error("no answer came in time")]
    NoAnswer,
}

impl QuorumError {
    pub(super) fn into_storage(self) -> StorageError {
        let class = match self {
            QuorumError::Overtaken => StorageClass::Busy,
            QuorumError::NoTurn | QuorumError::NoAnswer => StorageClass::Unreachable,
        };
        StorageError { class, source: Arc::new(self) }
    }
}

/// Why a change of membership did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeFailed {
    /// It was not begun.
    #[error("the members were not changed")]
    Refused(#[source] ChangeRefused),
    /// It was begun, and nobody knows whether it came about.
    #[error(
        "the change of members was begun, but not confirmed in time; look at the members before trying again"
    )]
    Unconfirmed,
    /// The database is closed.
    #[error("the database is closed")]
    Closed,
}

#[derive(Debug)]
pub(super) struct Shared {
    failed: Mutex<Option<DbError>>,
    barriers: Semaphore,
}

impl Default for Shared {
    fn default() -> Self {
        Self { failed: Mutex::new(None), barriers: Semaphore::new(BARRIERS_MAX) }
    }
}

impl Shared {
    /// Keeps the first reason, from which the others follow.
    pub(super) fn fail(&self, error: DbError) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub(super) fn reason(&self) -> Option<DbError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A node's part in a replicated database. Clones are the same part.
#[derive(Clone, Debug)]
pub struct Quorum {
    sender: QuorumSender,
    status: watch::Receiver<Status>,
    shared: Arc<Shared>,
    pub(super) id: MemberId,
    pub(super) turn_wait: Duration,
    pub(super) open_wait: Duration,
    pub(super) commit_wait: Duration,
}

impl Quorum {
    pub(super) fn new(
        sender: QuorumSender,
        status: watch::Receiver<Status>,
        shared: Arc<Shared>,
        config: &QuorumConfig,
    ) -> Self {
        let QuorumConfig { id, turn_wait, open_wait, commit_wait, .. } = *config;
        Self { sender, status, shared, id, turn_wait, open_wait, commit_wait }
    }

    /// Who this node is.
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// How it was a moment ago, and whenever that changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Ends this node's part: whoever waits for anything is told that there is no more of it. For a node that has not opened its database
    /// yet and is not to; afterwards it is [`crate::Db::close`] that ends it.
    pub fn close(&self) {
        let (told, _) = mpsc::channel();
        self.tell(Event::Stop(told));
    }

    /// Changes the members, if this node leads; answers once a majority knows.
    ///
    /// Cancellation: the change may come about all the same.
    pub async fn change(&self, change: Change) -> Result<(), ChangeFailed> {
        let (answer, answered) = oneshot::channel();
        self.tell(Event::Change(change, answer));
        match tokio::time::timeout(self.commit_wait, answered).await {
            Ok(Ok(Ok(Fate::Committed))) => Ok(()),
            // Another leader's entries came in its place.
            Ok(Ok(Ok(Fate::Overwritten))) => Err(ChangeFailed::Refused(ChangeRefused::NotLeader)),
            Ok(Ok(Ok(Fate::Open | Fate::Forgotten))) | Err(_) => Err(ChangeFailed::Unconfirmed),
            Ok(Ok(Err(refused))) => Err(ChangeFailed::Refused(refused)),
            Ok(Err(_)) => Err(ChangeFailed::Closed),
        }
    }

    /// Answers once this node has everything that was answered anywhere before the call.
    pub(crate) async fn barrier(&self) -> Result<(), DbError> {
        let no_turn = || DbError::Storage(QuorumError::NoTurn.into_storage());
        let wait = async {
            let _place = self.shared.barriers.acquire().await.map_err(|_| DbError::Closed)?;
            let (reached, wait) = oneshot::channel();
            self.tell(Event::Barrier(reached));
            wait.await.map_err(|_| self.ended())
        };
        tokio::time::timeout(self.turn_wait, wait).await.map_err(|_| no_turn())?
    }

    pub(super) fn tell(&self, event: Event) {
        self.sender.tell(event);
    }

    /// Why nothing is answered any more.
    pub(super) fn ended(&self) -> DbError {
        self.shared.reason().unwrap_or(DbError::Closed)
    }

    /// Hands over, and waits until both files are closed.
    pub(super) fn stop(&self) {
        let (told, wait) = mpsc::channel();
        self.tell(Event::Stop(told));
        if let Err(mpsc::RecvTimeoutError::Timeout) = wait.recv_timeout(STOP_MAX) {
            tracing::warn!("database still busy at closing");
        }
    }
}
