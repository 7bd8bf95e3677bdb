//! Asking a peer, be it this node itself.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use cm_net::{Kind, LinkError};
use cm_types::PeerId;
use futures::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::wire::{
    DROP, DropHead, GET, GetAnswer, GetHead, HAVE, HEAT, HaveAnswer, HaveHead, HaveItem, HeatAnswer,
    ITEMS_MAX, LEASED, LeasedAnswer, LeasedHead, PULL, PUT, PullHead, PutAnswer, PutHead, READINGS,
    ReadingsAnswer, ReadingsHead, STATISTICS, StatisticsAnswer, believed, join, split,
};
use super::{EXCHANGES_PER_PEER_MAX, Network, lock};
use crate::chunks::Part;

/// Why a peer could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The link failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What it answered is no answer.
    #[error("peer {0} answered with something else")]
    Answer(PeerId),
}

/// What other nodes said that they use.
pub(crate) struct Leased {
    pub(crate) versions: HashSet<Uuid>,
    /// Whether everybody answered.
    pub(crate) is_complete: bool,
}

pub(super) fn slots() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(EXCHANGES_PER_PEER_MAX))
}

/// Counts bytes under way with a peer for as long as it lives.
pub(crate) struct Flight<'a> {
    network: &'a Network,
    peer: PeerId,
    bytes: u64,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut flights = lock(&self.network.flights);
        if let Some(under_way) = flights.get_mut(&self.peer) {
            *under_way = under_way.saturating_sub(self.bytes);
        }
    }
}

/// How many chunks a peer reads for one question, so that it answers in time.
const READ_AT_ONCE_MAX: usize = 16;

impl Network {
    pub(crate) fn flight(&self, peer: &PeerId, bytes: usize) -> Flight<'_> {
        let bytes = bytes as u64;
        *lock(&self.flights).entry(peer.clone()).or_default() += bytes;
        Flight { network: self, peer: peer.clone(), bytes }
    }

    pub(crate) fn under_way(&self, peer: &PeerId) -> u64 {
        lock(&self.flights).get(peer).copied().unwrap_or_default()
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        peer: &PeerId,
        kind: Kind,
        head: &impl Serialize,
        bytes: &[&[u8]],
    ) -> Result<(A, Bytes), CallError> {
        let message = join(head, bytes);
        let answer = match self.is_own(peer) {
            // The same code as for others, without the wire.
            true => match self.serve(kind, message).await {
                Ok(answer) => answer,
                Err(refusal) => return Err(LinkError::Refused { peer: peer.clone(), refusal }.into()),
            },
            false => {
                let slots = lock(&self.slots).entry(peer.clone()).or_insert_with(slots).clone();
                let slot = tokio::time::timeout(self.pace.part_timeout, slots.acquire_owned()).await;
                let _slot = slot.ok().and_then(Result::ok).ok_or_else(|| LinkError::Crowded(peer.clone()))?;
                let asked = self.links.request(peer, kind, message, self.pace.part_timeout).await;
                if let Err(LinkError::Timeout { .. } | LinkError::Lost(_)) = &asked {
                    self.suspect(peer);
                }
                asked?
            }
        };
        split(answer).ok_or_else(|| CallError::Answer(peer.clone()))
    }

    pub(crate) async fn ask_put(
        &self,
        peer: &PeerId,
        head: PutHead,
        bytes: Bytes,
    ) -> Result<PutAnswer, CallError> {
        let _flight = self.flight(peer, bytes.len());
        if self.is_own(peer) {
            let refused = |refusal| LinkError::Refused { peer: peer.clone(), refusal };
            return Ok(self.serve_put(head, bytes).await.map_err(refused)?);
        }
        Ok(self.ask(peer, PUT, &head, &[&bytes]).await?.0)
    }

    /// Which of the parts the peer has, with their bytes, which the caller verifies.
    pub(crate) async fn ask_get(
        &self,
        peer: &PeerId,
        head: &GetHead,
    ) -> Result<Vec<(Part, Bytes)>, CallError> {
        let (answer, mut bytes): (GetAnswer, Bytes) = self.ask(peer, GET, head, &[]).await?;
        let mut parts = Vec::new();
        for (part, len) in answer.parts {
            let len = len as usize;
            if len > bytes.len() || !head.parts.contains(&part) {
                return Err(CallError::Answer(peer.clone()));
            }
            parts.push((part, bytes.split_to(len)));
        }
        Ok(parts)
    }

    /// Which parts of each the peer has. Any number of items.
    pub(crate) async fn ask_have(
        &self,
        peer: &PeerId,
        items: Vec<HaveItem>,
    ) -> Result<Vec<Vec<Part>>, CallError> {
        self.ask_have_in(peer, items, None, false).await
    }

    /// As [`Network::ask_have`]; with an epoch the peer refuses unless it goes by that layout, and what is relied on it reads first.
    pub(crate) async fn ask_have_in(
        &self,
        peer: &PeerId,
        mut items: Vec<HaveItem>,
        epoch: Option<u64>,
        is_relied_on: bool,
    ) -> Result<Vec<Vec<Part>>, CallError> {
        let most = if is_relied_on { READ_AT_ONCE_MAX } else { ITEMS_MAX };
        let mut parts = Vec::with_capacity(items.len());
        while !items.is_empty() {
            let rest = items.split_off(HaveItem::page(&items).min(most).min(items.len()));
            let (head, count) = (HaveHead { items, epoch, is_relied_on }, parts.len());
            let answer: HaveAnswer = self.ask(peer, HAVE, &head, &[]).await?.0;
            if answer.parts.len() != head.items.len() {
                return Err(CallError::Answer(peer.clone()));
            }
            parts.extend(answer.parts);
            debug_assert!(parts.len() > count);
            items = rest;
        }
        Ok(parts)
    }

    /// Has the peer get a part from others. Whether it has it then.
    pub(crate) async fn ask_pull(&self, peer: &PeerId, head: &PullHead) -> Result<bool, CallError> {
        Ok(self.ask::<bool>(peer, PULL, head, &[]).await?.0)
    }

    pub(crate) async fn ask_leased(
        &self,
        peer: &PeerId,
        head: &LeasedHead,
    ) -> Result<LeasedAnswer, CallError> {
        Ok(self.ask(peer, LEASED, head, &[]).await?.0)
    }

    /// Which of the versions other nodes read or write.
    pub(crate) async fn leased_elsewhere(&self, versions: Vec<Uuid>) -> Leased {
        let mut leased = Leased { versions: HashSet::new(), is_complete: true };
        let peers: Vec<PeerId> = self.links.peers().into_iter().map(|(peer, _)| peer).collect();
        let gone = self.known();
        let answers = join_all(peers.iter().map(|peer| {
            let head = LeasedHead { versions: versions.clone() };
            async move { (peer, self.ask_leased(peer, &head).await) }
        }));
        for (peer, answer) in answers.await {
            match answer {
                Ok(answer) => leased.versions.extend(answer.leased),
                // Who is lost for good reads nothing.
                Err(_) if gone.current().peer(peer).is_some_and(|peer| !peer.state.serves()) => {}
                Err(_) => leased.is_complete = false,
            }
        }
        leased
    }

    pub(crate) async fn ask_heat(&self, peer: &PeerId) -> Result<HeatAnswer, CallError> {
        Ok(self.ask::<HeatAnswer>(peer, HEAT, &(), &[]).await?.0.believed())
    }

    /// How often each object was opened there, and how often per second now.
    pub(crate) async fn ask_readings(
        &self,
        peer: &PeerId,
        head: &ReadingsHead,
    ) -> Result<Vec<(u64, f64)>, CallError> {
        let answer: ReadingsAnswer = self.ask(peer, READINGS, head, &[]).await?.0;
        match answer.counts.len() == head.keys.len() {
            true => {
                let counts = answer.counts.into_iter();
                Ok(counts.map(|(opened, per_second)| (opened, believed(per_second))).collect())
            }
            false => Err(CallError::Answer(peer.clone())),
        }
    }

    /// Has the peer delete what belongs elsewhere of these, at most [`ITEMS_MAX`](super::wire::ITEMS_MAX).
    pub(crate) async fn ask_drop(&self, peer: &PeerId, head: &DropHead) -> Result<(), CallError> {
        self.ask::<()>(peer, DROP, head, &[]).await?;
        Ok(())
    }

    pub(crate) async fn ask_statistics(&self, peer: &PeerId) -> Result<StatisticsAnswer, CallError> {
        Ok(self.ask(peer, STATISTICS, &(), &[]).await?.0)
    }
}
