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

pub mod packet;
pub mod reconcile;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

pub use packet::Packet;
pub use reconcile::Inventory;

use crate::EventKey;

/// Peers in the mesh: wanted, and the bounds within which nothing is done.
pub const MESH: usize = 6;
const MESH_MIN: usize = 4;
const MESH_MAX: usize = 12;
/// Peers of the mesh that send without being asked.
pub const EAGER: usize = 3;
/// Peers outside of the mesh that are told of recent events at each heartbeat.
const LAZY: usize = 6;
/// How often the mesh is looked after.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long is waited for an event that was announced, before it is fetched.
const GRACE: Duration = Duration::from_millis(150);
/// How long a peer may take to send what it announced and was asked for.
const PROMISE: Duration = Duration::from_secs(5);
/// For how long a peer that was pruned is not grafted.
const BACKOFF: Duration = Duration::from_secs(60);
/// For how many heartbeats events are announced, and remembered whole.
const WINDOWS: usize = 5;
/// Events of those windows at most.
const CACHED_MAX: usize = 4096;
/// Keys in one packet, and keys that are being fetched, at most.
pub const KEYS_MAX: usize = 512;
const WANTED_MAX: usize = 4096;
/// Keys that a peer may decline at a time.
const DECLINED_MAX: usize = 1024;
/// How often inventories are compared, and how soon again when they differed.
const COMPARE_EVERY: Duration = Duration::from_secs(60);
const COMPARE_AGAIN: Duration = Duration::from_secs(2);
/// Events that one peer may ask for in a second, besides what the mesh sends.
const ASKED_PER_SECOND: u32 = 2048;
/// Events that this node asks one peer for in a second: the seconds of two nodes do not begin together.
const ASKING_PER_SECOND: usize = ASKED_PER_SECOND as usize / 2;
/// Keys of events that came and were not kept: so many in each of two generations, each for so long.
const UNKEPT_MAX: usize = 32_768;
const UNKEPT_FOR: Duration = Duration::from_secs(300);

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

/// What is known of a peer.
#[derive(Clone, Debug, Default)]
struct Peer {
    in_mesh: bool,
    /// It asked this node not to send unasked.
    chokes_us: bool,
    /// This node asked it not to.
    choked: bool,
    /// Until when it is not grafted.
    backoff: Option<Moment>,
    /// What it does not want.
    declined: BTreeSet<EventKey>,
    /// How often it was not the first, since the last look.
    late: u32,
    first: u32,
    /// What it asked for in this second.
    asked: u32,
    /// What it was asked for in this second.
    asking: usize,
    /// When it last sent an event, whichever.
    heard: Option<Moment>,
}

/// Keys of events that came, verified, and were not kept: nobody is asked for them again before long.
#[derive(Clone, Debug, Default)]
struct Unkept {
    new: HashSet<EventKey>,
    old: HashSet<EventKey>,
    turn_at: Moment,
}

impl Unkept {
    fn insert(&mut self, key: EventKey, now: Moment) {
        if self.new.len() >= UNKEPT_MAX {
            self.turn(now);
        }
        self.new.insert(key);
    }

    fn turn(&mut self, now: Moment) {
        self.old = std::mem::take(&mut self.new);
        self.turn_at = now + UNKEPT_FOR;
    }

    fn remove(&mut self, key: &EventKey) {
        self.new.remove(key);
        self.old.remove(key);
    }

    fn contains(&self, key: &EventKey) -> bool {
        self.new.contains(key) || self.old.contains(key)
    }
}

/// An event that was announced and has not come.
#[derive(Clone, Debug)]
struct Wanted<P> {
    /// Who announced it, first come first.
    sources: Vec<P>,
    /// When to fetch it, or to blame who was asked.
    at: Moment,
    /// Who was asked.
    asked: Option<P>,
}

/// A small generator for choices among peers (SplitMix64). Nothing is protected by it; it makes runs repeatable.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// So many of them, any.
    fn some<T: Copy>(&mut self, mut of: Vec<T>, count: usize) -> Vec<T> {
        for at in 0..count.min(of.len()) {
            let left = (of.len() - at) as u64;
            of.swap(at, at + usize::try_from(self.roll() % left).unwrap_or(0));
        }
        of.truncate(count);
        of
    }
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
            unkept: Unkept { turn_at: now + UNKEPT_FOR, ..Unkept::default() },
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

    fn graft(&mut self, peer: P, steps: &mut Vec<Step<P, M>>) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.in_mesh = true;
            state.choked = false;
            steps.push(Step::Send(peer, Packet::Graft));
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

    /// A peer says what it has.
    fn announced(&mut self, from: P, keys: &[EventKey], now: Moment) {
        for key in keys.iter().take(KEYS_MAX) {
            if self.inventory.contains(key) || self.unkept.contains(key) {
                continue;
            }
            if let Some(wanted) = self.wanted.get_mut(key) {
                if wanted.sources.len() < MESH_MAX && !wanted.sources.contains(&from) {
                    wanted.sources.push(from);
                }
            } else if self.wanted.len() < WANTED_MAX {
                self.wanted.insert(*key, Wanted { sources: vec![from], at: now + GRACE, asked: None });
            }
        }
    }

    /// A peer asks for events.
    fn asked(&mut self, from: P, keys: Vec<EventKey>) -> Vec<Step<P, M>> {
        let Some(peer) = self.peers.get_mut(&from) else { return Vec::new() };
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        peer.asked = peer.asked.saturating_add(count);
        if peer.asked > ASKED_PER_SECOND {
            return vec![Step::Blame(from)];
        }
        let (mut steps, mut elsewhere) = (Vec::new(), Vec::new());
        for key in keys {
            match self.cache.get(&key) {
                Some(message) => steps.push(Step::Send(from, Packet::Event(message.clone()))),
                None if self.inventory.contains(&key) => elsewhere.push(key),
                None => {}
            }
        }
        if !elsewhere.is_empty() {
            steps.push(Step::Fetch(from, elsewhere));
        }
        steps
    }

    fn grafted(&mut self, from: P, now: Moment) -> Vec<Step<P, M>> {
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

    /// Asks for what was announced and did not come. Whoever was asked and sent nothing at all since is to blame, once for what it was
    /// asked at a time: single events may be gone since they were announced, or too many for its queue, or be dealt with slowly here.
    fn fetch(&mut self, now: Moment, steps: &mut Vec<Step<P, M>>) {
        let mut asking: BTreeMap<P, Vec<EventKey>> = BTreeMap::new();
        let (mut given_up, mut broken) = (Vec::new(), BTreeSet::new());
        for (key, wanted) in self.wanted.iter_mut().filter(|(_, wanted)| wanted.at <= now) {
            if let Some(asked) = wanted.asked.take() {
                let since = wanted.at.saturating_sub(PROMISE);
                let silent = |peer: &Peer| peer.heard.is_none_or(|heard| heard < since);
                if self.peers.get(&asked).is_some_and(silent) && broken.insert((asked, since)) {
                    steps.push(Step::Blame(asked));
                }
            }
            if wanted.sources.is_empty() {
                given_up.push(*key);
                continue;
            }
            let source = wanted.sources.remove(0);
            let keys = asking.entry(source).or_default();
            let Some(peer) = self.peers.get_mut(&source) else { continue };
            if keys.len() < KEYS_MAX && peer.asking < ASKING_PER_SECOND {
                peer.asking += 1;
                keys.push(*key);
                wanted.asked = Some(source);
                wanted.at = now + PROMISE;
            } else {
                wanted.sources.push(source);
            }
        }
        for key in given_up {
            self.wanted.remove(&key);
        }
        asking.retain(|_, keys| !keys.is_empty());
        steps.extend(asking.into_iter().map(|(peer, mut keys)| {
            keys.sort_unstable();
            Step::Send(peer, Packet::IWant(keys))
        }));
    }

    fn heartbeat(&mut self, now: Moment, standing: &impl Fn(&P) -> f64, steps: &mut Vec<Step<P, M>>) {
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
    fn choose_eager(&mut self, now: Moment, steps: &mut Vec<Step<P, M>>) {
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

    fn set_choked(&mut self, name: P, choked: bool, steps: &mut Vec<Step<P, M>>) {
        if let Some(peer) = self.peers.get_mut(&name) {
            peer.choked = choked;
            steps.push(Step::Send(name, if choked { Packet::Choke } else { Packet::Unchoke }));
        }
    }

    /// Tells some peers outside of the mesh of recent events, and lets the oldest window go.
    fn announce(&mut self, steps: &mut Vec<Step<P, M>>) {
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

#[cfg(test)]
mod tests;
