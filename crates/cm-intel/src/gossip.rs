//! How events spread between peers of version 2: a state machine, which is told what came and what time it is, and says what to send.
//! It touches neither sockets nor clocks, and runs as it is in simulations.
//!
//! After gossipsub 1.1 (Vyzovitis and others, 2020) each node keeps a **mesh** of some [`MESH`] peers. Unlike there, not every peer of the mesh
//! sends events unasked: a node lets [`EAGER`] of them do so and chokes the others (as in the episub proposal, after Plumtree: Leitão
//! and others, 2007), who then only announce. So an event comes some three times at most instead of six, and what an eager peer
//! withholds is fetched from one that announced it. Peers outside of the mesh hear of recent events by heartbeats.
//! What was missed altogether, by latecomers and after partitions, is found by comparing inventories ([`reconcile`]).
//!
//! An event counts as known, is announced and is declined (`IDONTWANT`) only once it was **verified**: otherwise a forgery in the name
//! of an event that is to come could keep the real one away.
//!
//! Reading order: [`packet`], [`reconcile`], [`Gossip`].

mod dice;
mod fetching;
mod mesh;
pub mod packet;
mod peer;
pub mod reconcile;
mod unkept;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

pub use packet::Packet;
pub use reconcile::Inventory;

use self::dice::Dice;
use self::fetching::{GRACE, Wanted};
use self::mesh::BACKOFF;
use self::peer::Peer;
use self::unkept::Unkept;
use crate::EventKey;

/// Peers in the mesh that are wanted.
pub const MESH: usize = 6;
/// Beyond so many, some are pruned.
const MESH_MAX: usize = 12;
/// Peers of the mesh that send without being asked.
pub const EAGER: usize = 3;
/// How often the mesh is looked after.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Events of the last heartbeats that are remembered whole at most.
const CACHED_MAX: usize = 4096;
/// Keys in one packet at most.
pub const KEYS_MAX: usize = 512;
/// Keys that a peer may decline at a time.
const DECLINED_MAX: usize = 1024;
/// How often inventories are compared, and how soon again when they differed.
const COMPARE_EVERY: Duration = Duration::from_secs(60);
const COMPARE_AGAIN: Duration = Duration::from_secs(2);

/// A moment, as time that passed since some beginning.
pub type Moment = Duration;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<P, M> {
    /// Send a packet.
    Send(P, Packet<M>),
    /// Look at an event that a peer sent; then call [`Gossip::accepted`] if it is valid and new, [`Gossip::duplicate`] if known,
    /// [`Gossip::settled`] if it is valid and not kept, whatever the reason.
    Examine(P, M),
    /// A peer asked for events that are not at hand: send it those that are kept.
    Fetch(P, Vec<EventKey>),
    /// A peer broke a rule.
    Blame(P),
}

/// The state of one node. `P` names peers, `M` is an event on its way.
#[derive(Clone, Debug)]
pub struct Gossip<P, M> {
    peers: BTreeMap<P, Peer>,
    inventory: Inventory,
    /// Events of the last heartbeats, whole, oldest window first.
    cache: HashMap<EventKey, M>,
    windows: VecDeque<Vec<EventKey>>,
    wanted: HashMap<EventKey, Wanted<P>>,
    unkept: Unkept,
    dice: Dice,
    beat_at: Moment,
    compare_at: Moment,
    swap_at: Moment,
}

impl<P: Copy + Ord + Debug, M: Clone> Gossip<P, M> {
    /// A node without peers, with what it keeps. The seed chooses among peers.
    pub fn new(inventory: Inventory, seed: u64, now: Moment) -> Self {
        Self {
            peers: BTreeMap::new(),
            inventory,
            cache: HashMap::new(),
            windows: VecDeque::from([Vec::new()]),
            wanted: HashMap::new(),
            unkept: Unkept::new(now),
            dice: Dice(seed),
            beat_at: now,
            compare_at: now + COMPARE_AGAIN,
            swap_at: now + COMPARE_EVERY,
        }
    }

    /// Whether an event is known.
    pub fn knows(&self, key: &EventKey) -> bool {
        self.inventory.contains(key)
    }

    /// How many events are known.
    pub fn known(&self) -> usize {
        self.inventory.len()
    }

    /// The peers of the mesh.
    pub fn mesh(&self) -> impl Iterator<Item = P> {
        self.peers.iter().filter(|(_, peer)| peer.in_mesh).map(|(name, _)| *name)
    }

    /// A link to a peer is there. Whoever comes late learns at once what it missed.
    pub fn connected(&mut self, peer: P, now: Moment) -> Vec<Step<P, M>> {
        self.peers.entry(peer).or_default();
        let mut steps = Vec::new();
        if self.mesh().count() < MESH {
            self.graft(peer, &mut steps);
        }
        self.compare_at = self.compare_at.min(now + COMPARE_AGAIN);
        steps
    }

    /// A link is gone.
    pub fn disconnected(&mut self, peer: &P) {
        self.peers.remove(peer);
        for wanted in self.wanted.values_mut() {
            wanted.sources.retain(|source| source != peer);
            if wanted.asked.as_ref() == Some(peer) {
                wanted.asked = None;
                wanted.at = Moment::ZERO;
            }
        }
    }

    /// An event was verified and is new: it is known from now on, and passed on. `from` brought it; `None` if it is this node's own.
    pub fn accepted(&mut self, key: EventKey, message: M, from: Option<P>) -> Vec<Step<P, M>> {
        if !self.inventory.insert(key) {
            return Vec::new();
        }
        self.wanted.remove(&key);
        self.unkept.remove(&key);
        if let Some(peer) = from.and_then(|from| self.peers.get_mut(&from)) {
            peer.first += 1;
        }
        if self.cache.len() < CACHED_MAX {
            self.cache.insert(key, message.clone());
            if let Some(window) = self.windows.back_mut() {
                window.push(key);
            }
        }
        let mut steps = Vec::new();
        let others = self.peers.iter_mut().filter(|(name, peer)| peer.in_mesh && Some(**name) != from);
        for (name, peer) in others {
            if peer.declined.remove(&key) {
                continue;
            }
            if peer.chokes_us {
                steps.push(Step::Send(*name, Packet::IHave(vec![key])));
            } else {
                steps.push(Step::Send(*name, Packet::Event(message.clone())));
            }
            // From those that send unasked it may be under way.
            if !peer.choked {
                steps.push(Step::Send(*name, Packet::IDontWant(vec![key])));
            }
        }
        steps
    }

    /// An event that was known came once more.
    pub fn duplicate(&mut self, from: P) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.late += 1;
        }
    }

    /// An event was verified, and is not passed on: its reporter is not listened to or says too much, or it is kept for this node alone.
    /// Nobody is to blame, and nobody is asked for it again for a while.
    pub fn settled(&mut self, key: EventKey, now: Moment) {
        self.wanted.remove(&key);
        if !self.inventory.contains(&key) {
            self.unkept.insert(key, now);
        }
    }

    /// An event is not kept any more. Others may have it still; it is not fetched from them at once.
    pub fn forgotten(&mut self, key: &EventKey, now: Moment) {
        self.inventory.remove(key);
        self.unkept.insert(*key, now);
    }

    /// A peer sent an event, whatever becomes of it: it does send what it is asked for.
    pub fn heard(&mut self, from: &P, now: Moment) {
        if let Some(peer) = self.peers.get_mut(from) {
            peer.heard = Some(now);
        }
    }

    /// A packet came.
    pub fn received(&mut self, from: P, packet: Packet<M>, now: Moment) -> Vec<Step<P, M>> {
        let Some(peer) = self.peers.get_mut(&from) else { return Vec::new() };
        match packet {
            Packet::Event(message) => {
                peer.heard = Some(now);
                vec![Step::Examine(from, message)]
            }
            Packet::IHave(keys) => {
                self.announced(from, &keys, now);
                Vec::new()
            }
            Packet::IWant(keys) => self.asked(from, keys),
            Packet::IDontWant(keys) => {
                let room = DECLINED_MAX.saturating_sub(peer.declined.len());
                peer.declined.extend(keys.into_iter().take(room));
                Vec::new()
            }
            Packet::Graft => self.grafted(from, now),
            Packet::Prune { seconds } => {
                peer.in_mesh = false;
                peer.backoff = Some(now + Duration::from_secs(u64::from(seconds)).min(BACKOFF * 10));
                Vec::new()
            }
            Packet::Choke => {
                peer.chokes_us = true;
                Vec::new()
            }
            Packet::Unchoke => {
                peer.chokes_us = false;
                Vec::new()
            }
            Packet::Compare(ranges) => {
                let mut answer = self.inventory.compare(&ranges);
                answer.lacking.retain(|key| !self.unkept.contains(key));
                if !answer.lacking.is_empty() {
                    // Nobody else is likely to have them sooner.
                    self.announced(from, &answer.lacking, now.saturating_sub(GRACE));
                    self.compare_at = self.compare_at.min(now + COMPARE_AGAIN);
                }
                let mut steps = Vec::new();
                for keys in answer.offered.chunks(KEYS_MAX) {
                    steps.push(Step::Send(from, Packet::IHave(keys.to_vec())));
                }
                if !answer.ranges.is_empty() {
                    steps.push(Step::Send(from, Packet::Compare(answer.ranges)));
                }
                steps
            }
            Packet::Alive => Vec::new(),
        }
    }

    /// Time passed; call it some times a second. `standing` is what is held of a peer: whoever is below zero is not in the mesh.
    pub fn tick(&mut self, now: Moment, standing: impl Fn(&P) -> f64) -> Vec<Step<P, M>> {
        let mut steps = Vec::new();
        if now >= self.unkept.turn_at {
            self.unkept.turn(now);
        }
        self.fetch(now, &mut steps);
        if now >= self.beat_at {
            self.beat_at = now + HEARTBEAT;
            self.heartbeat(now, &standing, &mut steps);
        }
        if now >= self.compare_at {
            self.compare_at = now + COMPARE_EVERY;
            let good: Vec<P> = self.peers.keys().filter(|peer| standing(peer) >= 0.0).copied().collect();
            for peer in self.dice.some(good, 1) {
                steps.push(Step::Send(peer, Packet::Compare(vec![self.inventory.whole()])));
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests;
