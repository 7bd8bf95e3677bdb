//! The peers to whom events are sent: whom to graft, whom to prune, whom to let send unasked.

use std::fmt::Debug;
use std::time::Duration;

use super::peer::Peer;
use super::{COMPARE_EVERY, DECLINED_MAX, EAGER, Gossip, KEYS_MAX, MESH, MESH_MAX, Moment, Packet, Step};
use crate::EventKey;

/// Below so many peers of the mesh, others are grafted.
const MESH_MIN: usize = 4;
/// Peers outside of the mesh that are told of recent events at each heartbeat.
const LAZY: usize = 6;
/// For how long a peer that was pruned is not grafted.
pub(super) const BACKOFF: Duration = Duration::from_secs(60);
/// For how many heartbeats events are announced, and remembered whole.
const WINDOWS: usize = 5;

impl<P: Copy + Ord + Debug, M: Clone> Gossip<P, M> {
    pub(super) fn graft(&mut self, peer: P, steps: &mut Vec<Step<P, M>>) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.in_mesh = true;
            state.choked = false;
            steps.push(Step::Send(peer, Packet::Graft));
        }
    }

    pub(super) fn grafted(&mut self, from: P, now: Moment) -> Vec<Step<P, M>> {
        let full = self.mesh().count() >= MESH_MAX;
        let Some(peer) = self.peers.get_mut(&from) else { return Vec::new() };
        let early = peer.backoff.is_some_and(|until| now < until);
        if peer.in_mesh {
            peer.chokes_us = false;
            return Vec::new();
        }
        if full || early {
            let seconds = u32::try_from(BACKOFF.as_secs()).unwrap_or(u32::MAX);
            peer.backoff = Some(now + BACKOFF);
            let mut steps = vec![Step::Send(from, Packet::Prune { seconds })];
            steps.extend(early.then_some(Step::Blame(from)));
            return steps;
        }
        peer.in_mesh = true;
        (peer.chokes_us, peer.choked) = (false, false);
        Vec::new()
    }

    pub(super) fn heartbeat(
        &mut self,
        now: Moment,
        standing: &impl Fn(&P) -> f64,
        steps: &mut Vec<Step<P, M>>,
    ) {
        let seconds = u32::try_from(BACKOFF.as_secs()).unwrap_or(u32::MAX);
        for (name, peer) in &mut self.peers {
            (peer.asked, peer.asking) = (0, 0);
            if peer.in_mesh && standing(name) < 0.0 {
                peer.in_mesh = false;
                peer.backoff = Some(now + BACKOFF);
                steps.push(Step::Send(*name, Packet::Prune { seconds }));
            }
        }
        let mesh: Vec<P> = self.mesh().collect();
        if mesh.len() < MESH_MIN {
            let may = |(name, peer): (&P, &Peer)| {
                let rested = peer.backoff.is_none_or(|until| now >= until);
                (!peer.in_mesh && rested && standing(name) >= 0.0).then_some(*name)
            };
            let candidates: Vec<P> = self.peers.iter().filter_map(may).collect();
            for peer in self.dice.some(candidates, MESH - mesh.len()) {
                self.graft(peer, steps);
            }
        } else if mesh.len() > MESH_MAX {
            for name in self.dice.some(mesh.clone(), mesh.len() - MESH) {
                if let Some(peer) = self.peers.get_mut(&name) {
                    peer.in_mesh = false;
                    peer.backoff = Some(now + BACKOFF);
                    steps.push(Step::Send(name, Packet::Prune { seconds }));
                }
            }
        }
        self.choose_eager(now, steps);
        self.announce(steps);
    }

    /// Lets some of the mesh send unasked, those that are first most often, and chokes the others.
    pub(super) fn choose_eager(&mut self, now: Moment, steps: &mut Vec<Step<P, M>>) {
        let mesh: Vec<P> = self.mesh().collect();
        let eager: Vec<P> = mesh.iter().filter(|name| !self.peers[name].choked).copied().collect();
        let swap = now >= self.swap_at;
        if swap {
            self.swap_at = now + COMPARE_EVERY;
        }
        if eager.len() > EAGER {
            let worst = eager.iter().max_by_key(|name| {
                let peer = &self.peers[name];
                (peer.late.saturating_sub(peer.first.saturating_mul(2)), **name)
            });
            // One at a time, and only those that were of no use: in a quiet network there is nothing to save.
            if let Some(name) = worst.filter(|name| self.peers[name].late > 0).copied() {
                self.set_choked(name, true, steps);
            }
        } else if eager.len() < EAGER || swap {
            let choked: Vec<P> = mesh.into_iter().filter(|name| self.peers[name].choked).collect();
            let count = EAGER.saturating_sub(eager.len()).max(usize::from(swap));
            for name in self.dice.some(choked, count) {
                self.set_choked(name, false, steps);
            }
        }
        for peer in self.peers.values_mut() {
            (peer.late, peer.first) = (peer.late / 2, peer.first / 2);
        }
    }

    pub(super) fn set_choked(&mut self, name: P, choked: bool, steps: &mut Vec<Step<P, M>>) {
        if let Some(peer) = self.peers.get_mut(&name) {
            peer.choked = choked;
            steps.push(Step::Send(name, if choked { Packet::Choke } else { Packet::Unchoke }));
        }
    }

    /// Tells some peers outside of the mesh of recent events, and lets the oldest window go.
    pub(super) fn announce(&mut self, steps: &mut Vec<Step<P, M>>) {
        let mut recent: Vec<EventKey> = self.windows.iter().flatten().copied().collect();
        if !recent.is_empty() {
            recent = self.dice.some(recent, KEYS_MAX);
            let others = self.peers.iter().filter(|(_, peer)| !peer.in_mesh).map(|(name, _)| *name).collect();
            for peer in self.dice.some(others, LAZY) {
                steps.push(Step::Send(peer, Packet::IHave(recent.clone())));
            }
        }
        self.windows.push_back(Vec::new());
        if self.windows.len() > WINDOWS {
            for key in self.windows.pop_front().unwrap_or_default() {
                self.cache.remove(&key);
            }
            for peer in self.peers.values_mut().filter(|peer| peer.declined.len() > DECLINED_MAX / 2) {
                peer.declined.clear();
            }
        }
    }
}
