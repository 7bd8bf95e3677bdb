//! Nodes, links, and what goes over them, in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use cm_intel::EventKey;
use cm_intel::gossip::{Gossip, Inventory, Moment, Packet, Step};
use cm_quorum::Rng;
use cm_types::Sha256Digest;

/// How often each node is told the time.
const TICK: Duration = Duration::from_millis(200);
/// What an event takes on the wire, in bytes, and what a key does: for counting.
const EVENT_BYTES: u64 = 1100;
const KEY_BYTES: u64 = 32;
/// What stands before each packet: length, kind, TLS record.
const PACKET_BYTES: u64 = 27;
/// After how long a blamed peer is forgiven, and how many deeds put it below zero.
const BLAMED_MAX: u32 = 3;

/// What to simulate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many nodes.
    pub nodes: usize,
    /// How many links each node makes; it has about twice as many.
    pub links: usize,
    /// How many events are published, one after the other.
    pub events: u32,
    /// The time between two of them.
    pub every: Duration,
    /// How many of a hundred nodes are hostile.
    pub hostile_percent: u64,
    /// How many of a hundred nodes leave for a while.
    pub churn_percent: u64,
    /// Whether the network is parted in two for the middle third of the events.
    pub parted: bool,
    /// What decides everything.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nodes: 1000,
            links: 6,
            events: 60,
            every: Duration::from_millis(500),
            hostile_percent: 0,
            churn_percent: 0,
            parted: false,
            seed: 1,
        }
    }
}

/// What came of it. Only honest nodes that are there at the end count.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How many of a thousand (node, event) pairs were reached.
    pub reached_permille: u64,
    /// From publishing to arrival: half of all, 99 of a hundred, the last.
    pub delay_p50: Duration,
    /// See [`Report::delay_p50`].
    pub delay_p99: Duration,
    /// See [`Report::delay_p50`].
    pub delay_max: Duration,
    /// Copies of an event that a node got besides the first, in the second half of the run.
    pub duplicates: f64,
    /// Bytes that a node received for each event.
    pub bytes_per_event: f64,
    /// Forgeries that a node had to look at, on average.
    pub forgeries: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Happening {
    Packet(usize, usize, Packet<u32>),
    Tick(usize),
    Publish(u32),
    Leave(usize),
    Return(usize),
    Part,
    Heal,
}

struct World {
    rng: Rng,
    nodes: Vec<Gossip<usize, u32>>,
    hostile: Vec<bool>,
    there: Vec<bool>,
    links: BTreeSet<(usize, usize)>,
    delays: BTreeMap<(usize, usize), Duration>,
    parted: bool,
    queue: BinaryHeap<Reverse<(Moment, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    next: u64,
    now: Moment,
    published: Vec<Moment>,
    arrivals: Vec<BTreeMap<u32, Moment>>,
    blamed: BTreeMap<(usize, usize), u32>,
    received: u64,
    duplicates: u64,
    bytes: u64,
    forgeries: u64,
}

/// Events after which duplicates count: meshes are choosing their eager peers before.
const WARM_UP: usize = 30;
/// Events with numbers from here on are forged.
const FORGED: u32 = 1 << 31;

fn key(number: u32) -> EventKey {
    // Spread over the whole range, as digests are.
    let mut mixed = u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 32];
    for part in bytes.chunks_mut(8) {
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        part.copy_from_slice(&mixed.to_be_bytes());
    }
    EventKey(Sha256Digest::from_bytes(bytes))
}

/// Simulates a network.
pub fn run(settings: &Settings) -> Report {
    let mut world = World::new(settings);
    world.schedule_all(settings);
    let last = settings.every * settings.events + Duration::from_secs(20);
    let end = last
        + if settings.parted || settings.churn_percent > 0 {
            Duration::from_secs(200)
        } else {
            Duration::ZERO
        };
    while let Some(Reverse((at, number))) = world.queue.pop() {
        if at > end {
            break;
        }
        world.now = at;
        if let Some(happening) = world.happenings.remove(&number) {
            world.happen(happening);
        }
    }
    world.report(settings)
}

impl World {
    fn new(settings: &Settings) -> Self {
        let mut rng = Rng::new(settings.seed);
        let count = settings.nodes;
        let nodes = (0..count)
            .map(|at| Gossip::new(Inventory::default(), settings.seed ^ (at as u64) << 20, Moment::ZERO));
        let nodes = nodes.collect();
        let mut links = BTreeSet::new();
        let mut delays = BTreeMap::new();
        for at in 0..count {
            // One to the next, so that the network is one; the others anywhere.
            let anywhere = (1..settings.links).map(|_| rng.below(count as u64) as usize);
            let others: Vec<usize> = [(at + 1) % count].into_iter().chain(anywhere).collect();
            for other in others.into_iter().filter(|other| *other != at) {
                let delay = rng.duration(Duration::from_millis(5), Duration::from_millis(100));
                for pair in [(at, other), (other, at)] {
                    links.insert(pair);
                    delays.insert(pair, delay);
                }
            }
        }
        let hostile = (0..count).map(|_| rng.per_mille(settings.hostile_percent * 10)).collect();
        Self {
            rng,
            nodes,
            hostile,
            there: vec![true; count],
            links,
            delays,
            parted: false,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            next: 0,
            now: Moment::ZERO,
            published: Vec::new(),
            arrivals: vec![BTreeMap::new(); count],
            blamed: BTreeMap::new(),
            received: 0,
            duplicates: 0,
            bytes: 0,
            forgeries: 0,
        }
    }

    fn schedule(&mut self, at: Moment, happening: Happening) {
        self.queue.push(Reverse((at, self.next)));
        self.happenings.insert(self.next, happening);
        self.next += 1;
    }

    fn schedule_all(&mut self, settings: &Settings) {
        for (a, b) in self.links.clone() {
            let steps = self.nodes[a].connected(b, Moment::ZERO);
            self.act(a, steps);
        }
        for at in 0..self.nodes.len() {
            let first = self.rng.duration(Duration::ZERO, TICK);
            self.schedule(first, Happening::Tick(at));
        }
        let begin = Duration::from_secs(5);
        let during = settings.every * settings.events;
        for number in 0..settings.events {
            self.schedule(begin + settings.every * number, Happening::Publish(number));
        }
        if settings.parted {
            self.schedule(begin + during / 3, Happening::Part);
            self.schedule(begin + during * 2 / 3, Happening::Heal);
        }
        for at in 0..self.nodes.len() {
            if self.rng.per_mille(settings.churn_percent * 10) {
                let leaves = self.rng.duration(begin, begin + during / 2);
                let returns = leaves + self.rng.duration(Duration::from_secs(1), during / 2);
                self.schedule(leaves, Happening::Leave(at));
                self.schedule(returns, Happening::Return(at));
            }
        }
    }

    fn is_open(&self, a: usize, b: usize) -> bool {
        let half = self.nodes.len() / 2;
        self.there[a] && self.there[b] && !(self.parted && (a < half) != (b < half))
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Packet(from, to, packet) => {
                if self.is_open(from, to) {
                    self.bytes += size(&packet);
                    let steps = self.nodes[to].received(from, packet, self.now);
                    self.act(to, steps);
                }
            }
            Happening::Tick(at) => {
                if self.there[at] {
                    let blamed = &self.blamed;
                    let standing = |peer: &usize| {
                        if blamed.get(&(at, *peer)).is_some_and(|deeds| *deeds >= BLAMED_MAX) {
                            -1.0
                        } else {
                            0.0
                        }
                    };
                    let steps = self.nodes[at].tick(self.now, standing);
                    self.act(at, steps);
                    if self.hostile[at] {
                        self.harm(at);
                    }
                }
                self.schedule(self.now + TICK, Happening::Tick(at));
            }
            Happening::Publish(number) => {
                self.published.push(self.now);
                let mut at = self.rng.below(self.nodes.len() as u64) as usize;
                while self.hostile[at] || !self.there[at] {
                    at = (at + 1) % self.nodes.len();
                }
                self.arrivals[at].insert(number, self.now);
                let steps = self.nodes[at].accepted(key(number), number, None);
                self.act(at, steps);
            }
            Happening::Leave(at) => {
                self.there[at] = false;
                self.part_from(|a, b| a == at || b == at);
            }
            Happening::Return(at) => {
                self.there[at] = true;
                self.join(|a, b| a == at || b == at);
            }
            Happening::Part => {
                self.parted = true;
                let half = self.nodes.len() / 2;
                self.part_from(|a, b| (a < half) != (b < half));
            }
            Happening::Heal => {
                self.parted = false;
                let half = self.nodes.len() / 2;
                self.join(|a, b| (a < half) != (b < half));
            }
        }
    }

    fn part_from(&mut self, concerned: impl Fn(usize, usize) -> bool) {
        for (a, b) in self.links.iter().filter(|(a, b)| concerned(*a, *b)) {
            self.nodes[*a].disconnected(b);
        }
    }

    fn join(&mut self, concerned: impl Fn(usize, usize) -> bool) {
        let pairs: Vec<(usize, usize)> =
            self.links.iter().copied().filter(|(a, b)| concerned(*a, *b)).collect();
        for (a, b) in pairs {
            if self.is_open(a, b) {
                let steps = self.nodes[a].connected(b, self.now);
                self.act(a, steps);
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, packet: Packet<u32>) {
        let delay = self.delays.get(&(from, to)).copied().unwrap_or(TICK);
        self.schedule(self.now + delay, Happening::Packet(from, to, packet));
    }

    fn act(&mut self, at: usize, steps: Vec<Step<usize, u32>>) {
        for step in steps {
            match step {
                // Hostile nodes keep to the mesh and let no event through.
                Step::Send(_, Packet::Event(_)) if self.hostile[at] => {}
                Step::Send(to, packet) => self.send(at, to, packet),
                Step::Examine(from, number) => self.examine(at, from, number),
                Step::Fetch(to, keys) => {
                    if !self.hostile[at] {
                        let kept: Vec<u32> = self.arrivals[at].keys().copied().collect();
                        for number in kept.into_iter().filter(|number| keys.contains(&key(*number))) {
                            self.send(at, to, Packet::Event(number));
                        }
                    }
                }
                Step::Blame(peer) => *self.blamed.entry((at, peer)).or_default() += 1,
            }
        }
    }

    fn examine(&mut self, at: usize, from: usize, number: u32) {
        if number >= FORGED {
            self.forgeries += 1;
            *self.blamed.entry((at, from)).or_default() += 1;
            return;
        }
        // Meshes are choosing their eager peers at first.
        let counts = !self.hostile[at] && self.published.len() > WARM_UP;
        self.received += u64::from(counts);
        if self.nodes[at].knows(&key(number)) {
            self.duplicates += u64::from(counts);
            self.nodes[at].duplicate(from);
        } else {
            self.arrivals[at].insert(number, self.now);
            let steps = self.nodes[at].accepted(key(number), number, Some(from));
            self.act(at, steps);
        }
    }

    /// Sends a forgery to some neighbour who still listens, and announces what is not there.
    fn harm(&mut self, at: usize) {
        let listens = |to: &usize| self.blamed.get(&(*to, at)).is_none_or(|deeds| *deeds < BLAMED_MAX);
        let others = self.links.range((at, 0)..(at + 1, 0)).map(|(_, to)| *to);
        let others: Vec<usize> = others.filter(listens).collect();
        if others.is_empty() {
            return;
        }
        let to = others[self.rng.below(others.len() as u64) as usize];
        let forged = FORGED | (self.rng.below(1 << 30) as u32);
        self.send(at, to, Packet::Event(forged));
        self.send(at, to, Packet::IHave(vec![key(forged)]));
    }

    fn report(&self, settings: &Settings) -> Report {
        let honest: Vec<usize> =
            (0..self.nodes.len()).filter(|at| !self.hostile[*at] && self.there[*at]).collect();
        let mut delays = Vec::new();
        for at in &honest {
            for (number, arrival) in &self.arrivals[*at] {
                delays.push(arrival.saturating_sub(self.published[*number as usize]));
            }
        }
        delays.sort_unstable();
        let at = |permille: usize| {
            delays.get((delays.len() * permille / 1000).min(delays.len().saturating_sub(1)))
        };
        let delay = |permille| at(permille).copied().unwrap_or_default();
        let pairs = (honest.len() * settings.events as usize).max(1);
        let first = self.received.saturating_sub(self.duplicates).max(1);
        Report {
            reached_permille: (delays.len() * 1000 / pairs) as u64,
            delay_p50: delay(500),
            delay_p99: delay(990),
            delay_max: delays.last().copied().unwrap_or_default(),
            duplicates: self.duplicates as f64 / first as f64,
            bytes_per_event: self.bytes as f64 / (self.nodes.len() as f64 * f64::from(settings.events)),
            forgeries: self.forgeries as f64 / honest.len().max(1) as f64,
        }
    }
}

fn size(packet: &Packet<u32>) -> u64 {
    PACKET_BYTES
        + match packet {
            Packet::Event(_) => EVENT_BYTES,
            Packet::IHave(keys) | Packet::IWant(keys) | Packet::IDontWant(keys) => {
                KEY_BYTES * keys.len() as u64
            }
            Packet::Compare(ranges) => {
                let of = |range: &cm_intel::gossip::reconcile::RangeSummary| match &range.content {
                    cm_intel::gossip::reconcile::Content::Fingerprint(_) => 98,
                    cm_intel::gossip::reconcile::Content::Keys(keys) => 68 + KEY_BYTES * keys.len() as u64,
                };
                ranges.iter().map(of).sum()
            }
            Packet::Graft | Packet::Prune { .. } | Packet::Choke | Packet::Unchoke | Packet::Alive => 4,
        }
}
