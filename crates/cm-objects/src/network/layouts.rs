//! Who takes part, as the database says.

use std::sync::Arc;
use std::time::Duration;

use cm_db::{Db, Direction, KeyRange, ReadTx, WriteTx};
use cm_placement::{
    Change, EPOCHS_MAX, Epoch, History, HistoryError, Layout, LayoutError, PeerState, Redundancy,
};
use cm_types::{PeerId, Sha256Digest, Timestamp};

use super::tables::{LayoutRow, Layouts, Rounds, RoundsRow};
use super::{Network, Offer, REPLICAS_DEFAULT};
use crate::{ObjectError, Objects};

/// How often a busy database is asked for a new layout.
const LEARN_EVERY: Duration = Duration::from_millis(200);

/// The layouts and rounds as they were when the database was last asked.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    history: History,
    pub(super) rounds: RoundsRow,
}

impl Default for Known {
    fn default() -> Self {
        Self { history: History::settled(Layout::empty()), rounds: RoundsRow::default() }
    }
}

/// A peer of the layout, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub peer: PeerId,
    /// How many bytes it offers.
    pub capacity_bytes: u64,
    /// What it fails together with.
    pub domain: String,
    /// What it is good for.
    pub state: PeerState,
    /// Whether data still moves out of it.
    pub moving: bool,
}

/// Why the layout cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutChange {
    /// The change makes no sense.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// It has to wait.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl Known {
    pub(crate) fn current(&self) -> &Layout {
        self.history.current()
    }

    /// Whether the current layout, or one out of which data moves, names the peer.
    pub(crate) fn takes_part(&self, peer: &PeerId) -> bool {
        self.history.unsettled().iter().chain([self.current()]).any(|layout| layout.peer(peer).is_some())
    }

    fn may_leave(&self, peer: &PeerId) -> bool {
        match self.current().peer(peer).map(|peer| peer.state) {
            Some(PeerState::Gone) => true,
            Some(PeerState::Draining) => !self.history.moving_out_of().any(|moving| moving == peer),
            Some(PeerState::Active) => false,
            None => !self.takes_part(peer),
        }
    }

    /// Three copies, or as many as there are peers to keep one each.
    pub(crate) fn default_redundancy(&self) -> Redundancy {
        let active = self.current().peers().filter(|(_, peer)| peer.state == PeerState::Active).count();
        Redundancy::replicas(active.clamp(1, REPLICAS_DEFAULT)).expect("one to three copies are a redundancy")
    }

    /// The active peers in the order of a digest.
    pub(crate) fn order(&self, digest: &Sha256Digest) -> Vec<PeerId> {
        self.current().holders(digest, usize::MAX).into_iter().cloned().collect()
    }

    /// Everybody who may have something of a chunk, the likeliest first.
    pub(crate) fn readers(&self, digest: &Sha256Digest, width: usize) -> Vec<PeerId> {
        let mut readers: Vec<PeerId> = self.history.readers(digest, width).into_iter().cloned().collect();
        let rest = self.current().peers().filter(|(_, peer)| peer.state.serves()).map(|(id, _)| id);
        let order = self.order(digest);
        for peer in order.iter().chain(rest) {
            if !readers.contains(peer) {
                readers.push(peer.clone());
            }
        }
        readers
    }
}

/// What the database says now.
pub(crate) fn read_known(tx: &ReadTx<'_>) -> Result<Known, ObjectError> {
    let rounds = tx.get::<Rounds>(&())?.unwrap_or_default();
    let rows = tx.range::<Layouts>(KeyRange::all(), Direction::Forward, EPOCHS_MAX + 1)?;
    let layouts: Result<Vec<_>, LayoutError> =
        rows.into_iter().map(|(epoch, row)| row.layout(Epoch(epoch))).collect();
    let layouts = layouts.map_err(|error| ObjectError::Layout(error.into()))?;
    let history = match layouts.is_empty() {
        true => History::settled(Layout::empty()),
        false => History::restore(layouts).map_err(|error| ObjectError::Layout(error.into()))?,
    };
    Ok(Known { history, rounds })
}

fn write_history(
    tx: &mut WriteTx<'_>,
    before: &Known,
    history: &History,
    now: Timestamp,
) -> Result<(), ObjectError> {
    let kept: Vec<Epoch> = history.unsettled().iter().chain([history.current()]).map(Layout::epoch).collect();
    for layout in before.history.unsettled().iter().chain([before.current()]) {
        if !kept.contains(&layout.epoch()) {
            tx.delete::<Layouts>(&layout.epoch().0)?;
        }
    }
    let current = history.current();
    if current.epoch() != before.current().epoch() {
        tx.put::<Layouts>(&current.epoch().0, &LayoutRow::of(current, now))?;
    }
    let oldest = kept.first().map_or(current.epoch(), |epoch| *epoch);
    let rounds = RoundsRow { epoch: current.epoch().0, oldest: oldest.0, ..before.rounds };
    tx.put::<Rounds>(&(), &rounds)?;
    Ok(())
}

/// Changes the layout in a transaction. The new epoch.
pub(crate) fn change_layout(
    tx: &mut WriteTx<'_>,
    changes: &[Change],
    now: Timestamp,
) -> Result<Epoch, ObjectError> {
    let before = read_known(tx)?;
    let mut history = before.history.clone();
    let next = history.current().change(changes).map_err(|error| ObjectError::Layout(error.into()))?;
    let epoch = next.epoch();
    if history.current().peers().len() == 0 {
        // Nobody had anything before the first.
        history = History::settled(next);
    } else {
        history.advance(next).map_err(|error| ObjectError::Layout(error.into()))?;
    }
    write_history(tx, &before, &history, now)?;
    Ok(epoch)
}

/// Everything is where this epoch wants it.
pub(super) fn settle(tx: &mut WriteTx<'_>, epoch: Epoch, now: Timestamp) -> Result<(), ObjectError> {
    let before = read_known(tx)?;
    let mut history = before.history.clone();
    history.settle(epoch);
    write_history(tx, &before, &history, now)
}

/// Learns of new layouts until shutdown.
pub(super) fn follow(network: &Arc<Network>) {
    let following = network.clone();
    let token = network.tasks.token();
    let mut changes = network.db.changes();
    network.tasks.spawn("storage-layout", async move {
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            if let Err(error) = following.learn().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "layout could not be read");
            }
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(LEARN_EVERY) => {}
            }
        }
    });
}

impl Network {
    /// Reads the layouts and rounds anew.
    pub(crate) async fn learn(&self) -> Result<Arc<Known>, ObjectError> {
        let rounds = self.db.look_up(|tx| Ok::<_, ObjectError>(tx.get::<Rounds>(&())?)).await?;
        let old = self.known();
        if rounds.unwrap_or_default() == old.rounds {
            return Ok(old);
        }
        let known = Arc::new(self.db.read(read_known).await?);
        let mut now = self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Whoever read later knows more.
        if known.rounds.epoch >= now.rounds.epoch && known.rounds.round >= now.rounds.round {
            if known.rounds.epoch != now.rounds.epoch {
                tracing::info!(epoch = known.rounds.epoch, "storage layout");
                self.mending.notify_one();
                self.sweeping.notify_one();
            }
            *now = known.clone();
        }
        if known.rounds.round != old.rounds.round {
            self.sweeping.notify_one();
        }
        Ok(known)
    }

    /// Joins the layout unless it names this node.
    pub(super) async fn take_place(&self, offer: Offer) -> Result<(), ObjectError> {
        let (own, now) = (self.own.clone(), self.clock.now().into());
        let named = move |tx: &ReadTx<'_>, own: &PeerId| {
            Ok::<_, ObjectError>(read_known(tx)?.current().peer(own).is_some())
        };
        let known = own.clone();
        if self.db.read(move |tx| named(tx, &known)).await? {
            return Ok(());
        }
        let joined = self.db.write(move |tx| {
            if read_known(tx)?.current().peer(&own).is_some() {
                return Ok(None);
            }
            let Offer { capacity_bytes, domain } = offer;
            change_layout(tx, &[Change::Add { peer: own, capacity_bytes, domain }], now).map(Some)
        });
        if let Some(epoch) = joined.await? {
            tracing::info!(peer = %self.own, %epoch, "joined the storage layout");
        }
        Ok(())
    }
}

impl Objects {
    /// Changes who takes part in the storage network, in the caller's transaction, and answers with the new epoch. Data moves afterwards, while
    /// everything goes on.
    ///
    /// This concerns the node and not a tenant: the caller decides who may do it, and records it.
    ///
    /// # Errors
    /// [`ObjectError::Layout`].
    pub fn change_layout(&self, tx: &mut WriteTx<'_>, changes: &[Change]) -> Result<Epoch, ObjectError> {
        change_layout(tx, changes, self.0.now())
    }

    /// Whether a peer may leave for good: nothing that only it has is left on it. It takes no part, has been drained, or was declared gone.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn may_leave(&self, peer: &PeerId) -> Result<bool, ObjectError> {
        Ok(self.0.db.read(read_known).await?.may_leave(peer))
    }

    /// Takes a peer that leaves for good out of the layout, in the caller's transaction.
    ///
    /// # Errors
    /// [`ObjectError::Layout`] if it may not leave yet.
    pub fn forget_peer(&self, tx: &mut WriteTx<'_>, peer: &PeerId) -> Result<(), ObjectError> {
        match read_known(tx)?.current().peer(peer).is_some() {
            true => change_layout(tx, &[Change::Remove(peer.clone())], self.0.now()).map(drop),
            false => Ok(()),
        }
    }

    /// The epoch and the members of the current layout; none where there is no storage network.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn layout(&self) -> Result<(Epoch, Vec<Member>), ObjectError> {
        layout(&self.0.db).await
    }
}

async fn layout(db: &Db) -> Result<(Epoch, Vec<Member>), ObjectError> {
    let known = db.read(read_known).await?;
    let moving: Vec<&PeerId> = known.history.moving_out_of().collect();
    let member = |(id, peer): (&PeerId, &cm_placement::Peer)| Member {
        peer: id.clone(),
        capacity_bytes: peer.capacity_bytes,
        domain: peer.domain.as_str().to_owned(),
        state: peer.state,
        moving: moving.contains(&id),
    };
    Ok((known.current().epoch(), known.current().peers().map(member).collect()))
}
