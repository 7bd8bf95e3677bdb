//! Peers, objects, and what happens to them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use cm_placement::elastic::{
    Heat, Hits, MeanTemperature, ObjectFacts, PeerFacts, Planner, PlannerConfig, Step, least_connections,
    two_choices,
};
use cm_placement::{Change, Domain, Layout};
use cm_quorum::Rng;
use cm_types::{PeerId, Sha256Digest, Timestamp};

use super::peer::{Job, Peer};
use super::report::{Outcome, Tape};
use super::trace::{Read, Trace, reads, uniform};

/// What stays the same between strategies.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// How many peers there are.
    pub peers: usize,
    /// How many objects.
    pub objects: usize,
    /// Sizes of objects lie between these, in bytes; their logarithms are uniform.
    pub bytes: (u64, u64),
    /// How fast a peer reads or writes, in bytes per second.
    pub bytes_per_sec: f64,
    /// What each read costs besides.
    pub overhead: Duration,
    /// How many copies are placed by digest.
    pub placed: usize,
    /// How much a peer can hold, in proportion to its share of what is placed.
    pub room: f64,
    /// Most copies of an object.
    pub replicas_max: usize,
    /// Through how many routers reads come. Each knows only of its own what is under way.
    pub routers: usize,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            peers: 10,
            objects: 2000,
            bytes: (256 << 10, 4 << 20),
            bytes_per_sec: 100e6,
            overhead: Duration::from_millis(1),
            placed: 1,
            room: 3.0,
            replicas_max: 8,
            routers: 4,
        }
    }
}

/// How copies follow the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Not at all.
    Fixed,
    /// As in the earlier system: every 10 s one copy of what is warmer than the mean, reads from who served the object least.
    MeanTemperature,
    /// The same copies, reads by two choices: what the choice alone is worth.
    MeanTemperatureTwoChoices,
    /// By rates, every second, with at most 32 MB/s of copies; reads by two choices.
    Elastic,
}

impl Strategy {
    /// All of them, in the order of tables.
    pub const ALL: [Strategy; 4] =
        [Strategy::Fixed, Strategy::MeanTemperature, Strategy::MeanTemperatureTwoChoices, Strategy::Elastic];

    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Fixed => "none",
            Strategy::MeanTemperature => "mean temperature",
            Strategy::MeanTemperatureTwoChoices => "mean temperature, two choices",
            Strategy::Elastic => "elastic",
        }
    }

    fn tick(self) -> Option<Duration> {
        match self {
            Strategy::Fixed => None,
            Strategy::MeanTemperature | Strategy::MeanTemperatureTwoChoices => Some(Duration::from_secs(10)),
            Strategy::Elastic => Some(ELASTIC_TICK),
        }
    }
}

const ELASTIC_TICK: Duration = Duration::from_secs(1);
/// What may be copied at each tick.
const ELASTIC_BUDGET: u64 = 32_000_000;
/// Reads wait behind one piece of a copy at most.
const PIECE_BYTES: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The first job of a peer is done.
    Done(usize),
    Tick,
}

struct Object {
    bytes: u64,
    busy_micros: u64,
    /// Where it can be read.
    holders: Vec<PeerId>,
    placed: usize,
    /// Where it is being copied to.
    coming: Vec<PeerId>,
    heat: Heat,
    changed_at: Option<Timestamp>,
}

struct Transfer {
    object: usize,
    from: usize,
    to: usize,
    left_bytes: u64,
}

/// One run.
pub struct World {
    setting: Setting,
    strategy: Strategy,
    rng: Rng,
    now_micros: u64,
    ids: Vec<PeerId>,
    numbers: BTreeMap<PeerId, usize>,
    peers: Vec<Peer>,
    objects: Vec<Object>,
    reads: std::vec::IntoIter<Read>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    /// Orders events of the same moment.
    count: u64,
    transfers: Vec<Transfer>,
    hits: Hits<usize>,
    /// What each router has under way at each peer.
    in_flight: Vec<Vec<u64>>,
    debt_bytes: u64,
    planner: Planner,
    tape: Tape,
    secs: f64,
}

impl World {
    /// A run that the seed determines: the same objects and reads for every strategy.
    pub fn new(setting: Setting, trace: &Trace, strategy: Strategy, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let ids: Vec<PeerId> = (0..setting.peers)
            .map(|n| format!("peer-{n}").parse().expect("the name of a peer is one"))
            .collect();
        let layout = layout(&ids);
        let mut busy_secs = Vec::new();
        let mut objects = Vec::new();
        for _ in 0..setting.objects {
            let (least, most) = (setting.bytes.0 as f64, setting.bytes.1 as f64);
            let bytes = (least * (most / least).powf(uniform(&mut rng))) as u64;
            let busy = setting.overhead.as_secs_f64() + bytes as f64 / setting.bytes_per_sec;
            let words: Vec<u8> = (0..4).flat_map(|_| rng.number().to_le_bytes()).collect();
            let digest = Sha256Digest::from_bytes(words.try_into().expect("four words are 32 bytes"));
            let holders = layout.holders(&digest, setting.placed).into_iter().cloned().collect();
            busy_secs.push(busy);
            objects.push(Object {
                bytes,
                busy_micros: (busy * 1e6) as u64,
                holders,
                placed: setting.placed,
                coming: Vec::new(),
                heat: Heat::default(),
                changed_at: None,
            });
        }
        let reads = reads(trace, &busy_secs, setting.peers, &mut rng);
        let numbers: BTreeMap<_, _> = ids.iter().cloned().zip(0..).collect();
        let mut peers: Vec<Peer> = (0..setting.peers).map(|_| Peer::default()).collect();
        for object in &objects {
            for holder in &object.holders {
                peers[numbers[holder]].used_bytes += object.bytes;
            }
        }
        let planner_config = PlannerConfig { replicas_max: setting.replicas_max, ..PlannerConfig::default() };
        let mut world = Self {
            in_flight: vec![vec![0; setting.peers]; setting.routers],
            planner: Planner::new(planner_config),
            tape: Tape::new(reads.len()),
            reads: reads.into_iter(),
            secs: trace.secs,
            setting,
            strategy,
            rng,
            now_micros: 0,
            ids,
            numbers,
            peers,
            objects,
            events: BinaryHeap::new(),
            count: 0,
            transfers: Vec::new(),
            hits: Hits::new(),
            debt_bytes: 0,
        };
        if let Some(tick) = strategy.tick() {
            world.schedule(micros(tick), Event::Tick);
        }
        world
    }

    /// Runs until every read is answered.
    pub fn run(mut self) -> Outcome {
        let mut next = self.reads.next();
        loop {
            let event_at = self.events.peek().map(|Reverse((at, ..))| *at);
            match (next, event_at) {
                (Some(read), event_at) if event_at.is_none_or(|at| read.at_micros <= at) => {
                    self.now_micros = read.at_micros;
                    self.read(read);
                    next = self.reads.next();
                }
                (_, Some(_)) => self.step(next.is_some()),
                (_, None) => break,
            }
        }
        let busiest = self.peers.iter().map(|peer| peer.busy_micros).max().unwrap_or(0);
        self.tape.finish(self.strategy, busiest as f64 / 1e6 / self.secs)
    }

    fn step(&mut self, more: bool) {
        let Some(Reverse((at, _, event))) = self.events.pop() else { return };
        self.now_micros = at;
        match event {
            Event::Done(peer) => self.done(peer),
            Event::Tick => {
                self.tick();
                // After the last read nothing is planned any more, so that the run ends.
                if let Some(tick) = self.strategy.tick().filter(|_| more) {
                    self.schedule(at + micros(tick), Event::Tick);
                }
            }
        }
    }

    fn schedule(&mut self, at_micros: u64, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at_micros, self.count, event)));
    }

    fn push(&mut self, peer: usize, job: Job, micros: u64) {
        if let Some(micros) = self.peers[peer].push(job, micros) {
            self.schedule(self.now_micros + micros, Event::Done(peer));
        }
    }

    fn read(&mut self, read: Read) {
        let now = self.timestamp();
        let (router, random) = (self.rng.below(self.setting.routers as u64) as usize, self.rng.number());
        let object = &mut self.objects[read.object];
        object.heat.record(now);
        let holders = &object.holders;
        let chosen = match self.strategy {
            Strategy::MeanTemperature => least_connections(holders, |peer| {
                self.hits.get(peer).and_then(|row| row.get(&read.object)).copied().unwrap_or(0)
            }),
            Strategy::Fixed | Strategy::MeanTemperatureTwoChoices | Strategy::Elastic => {
                two_choices(holders, random, |peer| self.in_flight[router][self.numbers[peer]])
            }
        };
        let chosen = chosen.expect("every object has a holder").clone();
        let (peer, bytes, micros) = (self.numbers[&chosen], object.bytes, object.busy_micros);
        *self.hits.entry(chosen).or_default().entry(read.object).or_default() += 1;
        self.in_flight[router][peer] += bytes;
        let job = Job::Read { object: read.object, arrived_micros: read.at_micros, router };
        self.push(peer, job, micros);
    }

    fn done(&mut self, peer: usize) {
        let (job, next) = self.peers[peer].pop();
        if let Some(micros) = next {
            self.schedule(self.now_micros + micros, Event::Done(peer));
        }
        match job {
            Some(Job::Read { object, arrived_micros, router }) => {
                self.in_flight[router][peer] -= self.objects[object].bytes;
                self.tape.read(arrived_micros, self.now_micros - arrived_micros);
            }
            Some(Job::Send { transfer }) => {
                let to = self.transfers[transfer].to;
                let micros = self.piece_micros(transfer);
                self.push(to, Job::Receive { transfer }, micros);
            }
            Some(Job::Receive { transfer }) => self.received(transfer),
            None => {}
        }
    }

    fn piece_micros(&self, transfer: usize) -> u64 {
        let piece = self.transfers[transfer].left_bytes.min(PIECE_BYTES);
        (piece as f64 / self.setting.bytes_per_sec * 1e6) as u64
    }

    fn received(&mut self, number: usize) {
        let transfer = &mut self.transfers[number];
        let piece = transfer.left_bytes.min(PIECE_BYTES);
        transfer.left_bytes -= piece;
        self.tape.bytes_moved += piece;
        let (left, from, to, object) = (transfer.left_bytes, transfer.from, transfer.to, transfer.object);
        if left > 0 {
            let micros = self.piece_micros(number);
            self.push(from, Job::Send { transfer: number }, micros);
            return;
        }
        self.tape.copies += 1;
        let id = &self.ids[to];
        self.objects[object].coming.retain(|peer| peer != id);
        self.objects[object].holders.push(id.clone());
        self.peers[from].outbox.pop_front();
        self.send_next(from);
    }

    fn send_next(&mut self, from: usize) {
        if let Some(&transfer) = self.peers[from].outbox.front() {
            let micros = self.piece_micros(transfer);
            self.push(from, Job::Send { transfer }, micros);
        }
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_micros(i64::try_from(self.now_micros).unwrap_or(i64::MAX))
    }

    fn tick(&mut self) {
        let (now, objects, peers) = (self.timestamp(), self.object_facts(), self.peer_facts());
        let steps = match self.strategy {
            Strategy::Fixed => Vec::new(),
            Strategy::MeanTemperature | Strategy::MeanTemperatureTwoChoices => {
                let strategy = MeanTemperature { replicas_max: self.setting.replicas_max };
                let step = strategy.plan(&self.hits, &objects, &peers);
                if let Some(Step::Copy { object, to, .. }) = &step {
                    MeanTemperature::balance(&mut self.hits, &objects[*object], to);
                }
                step.into_iter().collect()
            }
            Strategy::Elastic => {
                let budget = ELASTIC_BUDGET.saturating_sub(self.debt_bytes);
                let plan = self.planner.plan(now, &objects, &peers, budget);
                self.debt_bytes = (self.debt_bytes + plan.bytes).saturating_sub(ELASTIC_BUDGET);
                plan.steps
            }
        };
        for step in steps {
            self.carry_out(step, now);
        }
        let extra = self.objects.iter().map(|object| {
            object.bytes * (object.holders.len() + object.coming.len()).saturating_sub(object.placed) as u64
        });
        self.tape.extra(extra.sum());
    }

    fn carry_out(&mut self, step: Step<usize>, now: Timestamp) {
        match step {
            Step::Copy { object, from, to, bytes } => {
                let (from, to) = (self.numbers[&from], self.numbers[&to]);
                self.objects[object].coming.push(self.ids[to].clone());
                self.objects[object].changed_at = Some(now);
                self.peers[to].used_bytes += bytes;
                self.transfers.push(Transfer { object, from, to, left_bytes: bytes });
                self.peers[from].outbox.push_back(self.transfers.len() - 1);
                if self.peers[from].outbox.len() == 1 {
                    self.send_next(from);
                }
            }
            Step::Drop { object, peer } => {
                let number = self.numbers[&peer];
                let object = &mut self.objects[object];
                object.changed_at = Some(now);
                // A copy on its way arrives, and may be dropped at the next occasion.
                if let Some(at) = object.holders.iter().position(|holder| *holder == peer) {
                    object.holders.remove(at);
                    self.peers[number].used_bytes -= object.bytes;
                    self.tape.drops += 1;
                }
            }
        }
    }

    fn object_facts(&self) -> Vec<ObjectFacts<usize>> {
        let now = self.timestamp();
        let facts = self.objects.iter().enumerate().map(|(id, object)| {
            let (placed, extra) = object.holders.split_at(object.placed);
            ObjectFacts {
                id,
                bytes: object.bytes,
                reads_per_second: object.heat.per_second(now),
                service_time: Duration::from_micros(object.busy_micros),
                placed: placed.to_vec(),
                extra: extra.iter().chain(&object.coming).cloned().collect(),
                demanded: Vec::new(),
                changed_at: object.changed_at,
                replicas_max: None,
            }
        });
        facts.collect()
    }

    fn peer_facts(&self) -> BTreeMap<PeerId, PeerFacts> {
        let all: u64 = self.objects.iter().map(|object| object.bytes * object.placed as u64).sum();
        let capacity_bytes = (all as f64 / self.setting.peers as f64 * self.setting.room) as u64;
        let facts = |peer: &Peer, id: &PeerId| PeerFacts {
            domain: domain(id),
            capacity_bytes,
            free_bytes: capacity_bytes.saturating_sub(peer.used_bytes),
            accepts: true,
        };
        self.peers.iter().zip(&self.ids).map(|(peer, id)| (id.clone(), facts(peer, id))).collect()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Every peer fails on its own.
fn domain(id: &PeerId) -> Domain {
    Domain::parse(id.as_str()).expect("the names of peers are short")
}

fn layout(ids: &[PeerId]) -> Layout {
    let add = |id: &PeerId| Change::Add { peer: id.clone(), capacity_bytes: 1 << 40, domain: domain(id) };
    let changes: Vec<_> = ids.iter().map(add).collect();
    Layout::empty().change(&changes).expect("new peers with capacity can be added")
}
