//! Nodes, links, and what goes over them, in virtual time.

mod attack;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use cm_intel::EventKey;
use cm_intel::gossip::{Gossip, Inventory, Moment, Packet, Step};
use cm_intel::ledger::link::{Deed, LinkLedger};
use cm_quorum::Rng;
use cm_types::{Sha256Digest, Timestamp};

pub use attack::Attack;
use attack::{SYBILS, VICTIMS_PERMILLE, is_censored};

/// How often each node is told the time.
const TICK: Duration = Duration::from_millis(200);
/// What an event takes on the wire, in bytes, and what a key does: for counting.
const EVENT_BYTES: u64 = 1100;
const KEY_BYTES: u64 = 32;
/// What stands before each packet: length, kind, TLS record.
const PACKET_BYTES: u64 = 27;
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
    /// What those do, besides passing no event on.
    pub attack: Attack,
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
            attack: Attack::Forge,
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
    /// How many of a thousand (node, event) pairs were reached of those that an attack is aimed at: nodes that are eclipsed, events that are censored.
    pub aimed_at_permille: u64,
    /// How many honest nodes there are to whom other honest ones do not listen any more, or whose links those cut; once for each who does so.
    pub honest_silenced: u64,
    /// Of the links of honest nodes to hostile ones, how many of a thousand are not listened to any more, or cut.
    pub hostile_silenced_permille: u64,
    /// How many of a thousand pairs were reached within each of [`STEPS`] delays: every one is a quarter longer than the one before, from 10 ms on.
    pub reached_within: Vec<u64>,
}

/// Delays at which [`Report::reached_within`] is told.
pub const STEPS: usize = 48;

/// The delay of a step.
pub fn step_delay(step: usize) -> Duration {
    Duration::from_secs_f64(0.01 * 1.25f64.powi(i32::try_from(step).unwrap_or(i32::MAX)))
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
    attack: Attack,
    hostile: Vec<bool>,
    /// Whom an attack on single nodes is aimed at.
    victims: Vec<bool>,
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
    /// What a node holds of another one.
    ledgers: BTreeMap<(usize, usize), LinkLedger>,
    cut: BTreeSet<(usize, usize)>,
    begun_with: usize,
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
        let hostile: Vec<bool> = (0..count).map(|_| rng.per_mille(settings.hostile_percent * 10)).collect();
        let eclipse = settings.attack == Attack::Eclipse;
        let victims: Vec<bool> =
            hostile.iter().map(|hostile| eclipse && !hostile && rng.per_mille(VICTIMS_PERMILLE)).collect();
        let chosen: Vec<usize> = (0..count).filter(|at| victims[*at]).collect();
        let mut links = BTreeSet::new();
        let mut delays = BTreeMap::new();
        for at in 0..count {
            let anywhere = |rng: &mut Rng, links: usize| -> Vec<usize> {
                (0..links).map(|_| rng.below(count as u64) as usize).collect()
            };
            let mut others = match settings.attack {
                // As many nodes as addresses: each is in many places.
                Attack::Sybil if hostile[at] => anywhere(&mut rng, settings.links * SYBILS),
                // All that hostile nodes have is turned on few others, who have hardly anybody else.
                Attack::Eclipse if hostile[at] && !chosen.is_empty() => {
                    (0..settings.links).map(|_| chosen[rng.below(chosen.len() as u64) as usize]).collect()
                }
                Attack::Eclipse if victims[at] => anywhere(&mut rng, 1),
                _ => anywhere(&mut rng, settings.links - 1),
            };
            // One to the next, so that the network is one.
            others.push((at + 1) % count);
            for other in others.into_iter().filter(|other| *other != at) {
                let delay = rng.duration(Duration::from_millis(5), Duration::from_millis(100));
                for pair in [(at, other), (other, at)] {
                    links.insert(pair);
                    delays.insert(pair, delay);
                }
            }
        }
        let begun_with = links.iter().filter(|(a, b)| hostile[*a] != hostile[*b]).count();
        Self {
            rng,
            nodes,
            attack: settings.attack,
            hostile,
            victims,
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
            ledgers: BTreeMap::new(),
            cut: BTreeSet::new(),
            begun_with,
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
        let parted = self.parted && (a < half) != (b < half);
        self.there[a] && self.there[b] && !parted && !self.cut.contains(&(a.min(b), a.max(b)))
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
                    let (ledgers, now) = (&self.ledgers, self.clock());
                    let standing =
                        |peer: &usize| ledgers.get(&(at, *peer)).map_or(0.0, |ledger| ledger.score(now));
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
                // Hostile nodes keep to the mesh and let no event through; censors those that they do not like.
                Step::Send(_, Packet::Event(number)) if self.withholds(at, number) => {}
                Step::Send(to, packet) => self.send(at, to, packet),
                Step::Examine(from, number) => self.examine(at, from, number),
                Step::Fetch(to, keys) => {
                    let kept: Vec<u32> = self.arrivals[at].keys().copied().collect();
                    for number in kept.into_iter().filter(|number| keys.contains(&key(*number))) {
                        if !self.withholds(at, number) {
                            self.send(at, to, Packet::Event(number));
                        }
                    }
                }
                Step::Blame(peer) => self.record(at, peer, Deed::Misbehaved),
            }
        }
    }

    fn clock(&self) -> Timestamp {
        Timestamp::from_micros(0).after(self.now)
    }

    /// Writes down a deed, and cuts the link if the product would.
    fn record(&mut self, at: usize, peer: usize, deed: Deed) {
        let now = self.clock();
        let ledger = self.ledgers.entry((at, peer)).or_default();
        ledger.record(deed, now);
        if ledger.cut(now) && self.cut.insert((at.min(peer), at.max(peer))) {
            self.nodes[at].disconnected(&peer);
            self.nodes[peer].disconnected(&at);
        }
    }

    fn examine(&mut self, at: usize, from: usize, number: u32) {
        let now = self.clock();
        if self.ledgers.get(&(at, from)).is_some_and(|ledger| ledger.ignored(now).is_some()) {
            return;
        }
        if number >= FORGED {
            self.forgeries += u64::from(!self.hostile[at]);
            self.record(at, from, Deed::Invalid);
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
            self.record(at, from, Deed::Delivered);
            let steps = self.nodes[at].accepted(key(number), number, Some(from));
            self.act(at, steps);
        }
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
        let aimed_at = |at: usize, number: u32| match settings.attack {
            Attack::Eclipse => self.victims[at],
            Attack::Censor => is_censored(number),
            _ => false,
        };
        let (mut aimed, mut hit) = (0, 0);
        for at in &honest {
            for number in (0..settings.events).filter(|number| aimed_at(*at, *number)) {
                aimed += 1;
                hit += u64::from(self.arrivals[*at].contains_key(&number));
            }
        }
        let within = |step: usize| delays.partition_point(|delay| *delay <= step_delay(step)) as u64;
        let now = self.clock();
        let silenced = |hostile: bool| {
            let by_honest = self.ledgers.iter().filter(|((at, peer), ledger)| {
                let is_one =
                    ledger.ignored(now).is_some() || self.cut.contains(&(*at.min(peer), *at.max(peer)));
                !self.hostile[*at] && self.hostile[*peer] == hostile && is_one
            });
            by_honest.count()
        };
        let first = self.received.saturating_sub(self.duplicates).max(1);
        Report {
            reached_permille: (delays.len() * 1000 / pairs) as u64,
            delay_p50: delay(500),
            delay_p99: delay(990),
            delay_max: delays.last().copied().unwrap_or_default(),
            duplicates: self.duplicates as f64 / first as f64,
            bytes_per_event: self.bytes as f64 / (self.nodes.len() as f64 * f64::from(settings.events)),
            forgeries: self.forgeries as f64 / honest.len().max(1) as f64,
            aimed_at_permille: u64::checked_div(hit * 1000, aimed).unwrap_or(1000),
            honest_silenced: silenced(false) as u64,
            // Links were counted from both ends, and these are one end's.
            hostile_silenced_permille: (silenced(true) * 2000 / self.begun_with.max(1)) as u64,
            reached_within: (0..STEPS).map(|step| within(step) * 1000 / pairs as u64).collect(),
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
