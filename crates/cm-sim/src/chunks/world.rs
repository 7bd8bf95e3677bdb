//! Peers, a database, a network and time.

use std::collections::BTreeMap;
use std::time::Duration;

use cm_placement::{Change, Domain, Layout, Redundancy, is_promised};
use cm_quorum::Rng;
use cm_types::{PeerId, Sha256Digest};

use super::database::{Chunk, Database};
use super::maintenance::{Survey, Tidy};
use super::peer::Peer;
use super::writer::{Put, stored_as};
use super::{Options, Report, Violation};
use crate::{Network, Weather};

const PEERS: usize = 6;
/// Few, so that objects share them.
const CHUNKS: u64 = 5;
const OBJECTS: u64 = 6;
/// How often something is begun.
const TICK: Duration = Duration::from_millis(4);
/// After what time without an answer something else is tried.
const PATIENCE: Duration = Duration::from_millis(40);
/// How late a node sees the database at most, but behind a barrier.
const LATE_MAX: Duration = Duration::from_millis(60);
/// How long a peer takes at most from reading what is condemned to deleting it.
const DAWDLE_MAX: Duration = Duration::from_millis(400);
/// Events of a run are bounded.
const EVENTS_MAX: u64 = 400_000;

/// What peers tell each other.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Put {
        op: u64,
        chunk: Chunk,
        part: usize,
        round: u64,
    },
    Stored {
        op: u64,
        chunk: Chunk,
        part: usize,
        round: u64,
    },
    Hold {
        op: u64,
        chunk: Chunk,
        round: Option<u64>,
    },
    /// The round says which question this answers.
    Held {
        op: u64,
        chunk: Chunk,
        round: Option<u64>,
        parts: Vec<usize>,
    },
    Pull {
        op: u64,
        chunk: Chunk,
        part: usize,
        round: u64,
    },
    Pulled {
        op: u64,
        chunk: Chunk,
        done: bool,
    },
}

/// What happens at a time.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Something is begun, or a fault happens.
    Tick,
    /// A message arrives.
    Arrive { from: usize, message: Message },
    /// Whoever waits has waited long enough.
    Waited { op: u64 },
    /// A node sees this state of the database.
    See { version: usize },
    /// A peer deletes what it has read to be condemned.
    Delete { condemned: Vec<(Chunk, u64)> },
    /// A peer has parts that no row knows.
    CondemnUnknown { chunks: Vec<Chunk> },
}

/// Something that goes on over several messages.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Put(Put),
    Tidy(Tidy),
    Survey(Survey),
}

/// A run.
pub struct World {
    pub(super) options: Options,
    pub(super) rng: Rng,
    pub(super) report: Report,
    now: Duration,
    /// By time, in the order of being scheduled. To whom, in which of its lives.
    events: BTreeMap<(Duration, u64), (usize, u64, Event)>,
    scheduled: u64,
    network: Network,
    peers: Vec<Peer>,
    /// Every state of the database; the last is current.
    states: Vec<Database>,
    seen: Vec<usize>,
    ops: BTreeMap<u64, (usize, Op)>,
    ops_begun: u64,
    healed: bool,
}

impl World {
    /// A run that this seed decides.
    pub fn new(seed: u64, options: Options) -> Self {
        let id = |n: usize| -> PeerId { format!("p{n}").parse().expect("a letter and a digit are an id") };
        let domain = |n: usize| Domain::parse(format!("d{n}")).expect("short and printable");
        let add = |n: usize| Change::Add { peer: id(n), capacity_bytes: 1, domain: domain(n) };
        let layout = Layout::empty().change(&(0..PEERS).map(add).collect::<Vec<_>>());
        let layout = layout.expect("six different peers with capacity are a layout");
        let weather = Weather {
            lost_per_mille: 20,
            twice_per_mille: 20,
            delay_max: Duration::from_millis(5),
            late_per_mille: 30,
        };
        let mut network = Network::default();
        network.weather = weather;
        Self {
            options,
            rng: Rng::new(seed),
            report: Report::default(),
            now: Duration::ZERO,
            events: BTreeMap::new(),
            scheduled: 0,
            network,
            peers: vec![Peer::default(); PEERS],
            states: vec![Database::new(layout)],
            seen: vec![0; PEERS],
            ops: BTreeMap::new(),
            ops_begun: 0,
            healed: false,
        }
    }

    /// Runs to the end.
    pub(super) fn run(mut self) -> Result<Report, Violation> {
        self.schedule(TICK, 0, Event::Tick);
        while self.now < self.options.duration {
            self.step()?;
        }
        self.heal();
        let until = self.now + Duration::from_secs(60);
        while !self.is_settled() {
            if self.now > until {
                return Err(self.violation(format!("not settled: {}", self.unsettled())));
            }
            self.step()?;
        }
        Ok(self.report)
    }

    fn step(&mut self) -> Result<(), Violation> {
        let Some(((at, _), (to, life, event))) = self.events.pop_first() else {
            return Err(self.violation("nothing happens any more".to_owned()));
        };
        self.now = at;
        self.report.events += 1;
        if self.report.events > EVENTS_MAX {
            return Err(self.violation(format!("too many events: {}", self.unsettled())));
        }
        let peer = &self.peers[to];
        if !matches!(event, Event::Tick) {
            if peer.is_down || peer.life != life {
                // States of the database are seen by whoever comes back, too.
                if !matches!(event, Event::See { .. } | Event::Arrive { .. }) || peer.is_down {
                    return Ok(());
                }
            }
            if peer.is_paused {
                let pause = self.rng.duration(Duration::from_millis(20), Duration::from_millis(200));
                self.schedule_in_life(pause, to, life, event);
                return Ok(());
            }
        }
        self.happen(to, event);
        self.check()
    }

    fn happen(&mut self, to: usize, event: Event) {
        match event {
            Event::Tick => {
                self.tick();
                self.schedule(TICK, 0, Event::Tick);
            }
            Event::Arrive { from, message } => self.arrive(from, to, message),
            Event::Waited { op } => {
                match self.op(op) {
                    Some((_, Op::Put(_))) => self.put_waited(op),
                    Some(_) => self.maintenance_waited(op),
                    None => return,
                }
                if let Some((at, _)) = self.ops.get(&op) {
                    let at = *at;
                    self.schedule(PATIENCE, at, Event::Waited { op });
                }
            }
            Event::See { version } => self.seen[to] = self.seen[to].max(version),
            Event::Delete { condemned } => {
                for (chunk, round) in condemned {
                    let (deleted, spared) = self.peers[to].delete(chunk, round);
                    self.report.deleted += deleted;
                    self.report.spared += spared;
                }
            }
            Event::CondemnUnknown { chunks } => {
                let condemned = self.transact(|db| db.condemn_unknown(&chunks));
                self.report.condemned += condemned;
            }
        }
    }

    fn arrive(&mut self, from: usize, to: usize, message: Message) {
        let (redundancy, forgetful) = (self.redundancy(), self.options.forgetful);
        match message {
            Message::Put { op, chunk, part, round } => {
                self.peers[to].keep(chunk, stored_as(redundancy, part), round);
                self.send(to, from, Message::Stored { op, chunk, part, round });
            }
            Message::Stored { op, chunk, part, round } => self.put_stored(op, from, chunk, part, round),
            Message::Hold { op, chunk, round } => {
                let parts = self.peers[to].hold(chunk, round, forgetful);
                self.send(to, from, Message::Held { op, chunk, round, parts });
            }
            Message::Held { op, chunk, round, parts } => match self.op(op) {
                Some((_, Op::Put(_))) => self.put_heard(op, from, chunk, round, parts),
                Some((_, Op::Tidy(_))) => self.tidy_heard(op, from, parts),
                Some((_, Op::Survey(_))) => self.survey_heard(op, from, chunk, parts),
                None => {}
            },
            Message::Pull { op, chunk, part, round } => {
                let done = self.peers[to].disk.contains_key(&(chunk, part)) || self.is_readable(chunk);
                if done {
                    self.peers[to].keep(chunk, part, round);
                }
                self.send(to, from, Message::Pulled { op, chunk, done });
            }
            Message::Pulled { op, chunk, done } => self.survey_pulled(op, chunk, done),
        }
    }

    /// Whether peers that answer have enough to read it.
    fn is_readable(&self, chunk: Chunk) -> bool {
        let up = self.peers.iter().filter(|peer| !peer.is_down && !peer.is_paused);
        let parts = up.flat_map(|peer| peer.disk.keys()).filter(|(of, _)| *of == chunk);
        let numbers: std::collections::BTreeSet<usize> = parts.map(|(_, part)| *part).collect();
        numbers.len() >= self.redundancy().needed()
    }

    fn tick(&mut self) {
        let at = self.rng.below(PEERS as u64) as usize;
        if self.peers[at].is_down || self.peers[at].is_paused {
            if self.rng.per_mille(60) {
                (self.peers[at].is_down, self.peers[at].is_paused) = (false, false);
            }
            return;
        }
        let choice = self.rng.below(100);
        match choice {
            0..30 if !self.healed => {
                let (name, count) = (self.rng.below(OBJECTS) as u8, 1 + self.rng.below(3));
                let mut chunks: Vec<Chunk> = (0..count).map(|_| self.rng.below(CHUNKS) as Chunk).collect();
                chunks.sort_unstable();
                chunks.dedup();
                self.begin_put(at, name, chunks);
            }
            30..50 if !self.healed => {
                let name = self.rng.below(OBJECTS) as u8;
                self.transact(|db| db.delete(name));
            }
            50..60 => {
                let condemned = self.transact(Database::collect);
                self.report.condemned += condemned;
            }
            60..72 => self.sweep(at),
            72..90 => self.tidy(at),
            90..94 => {
                // One at a time, mostly.
                let under_way = self.ops.values().any(|(_, op)| matches!(op, Op::Survey(_)));
                if !under_way || self.rng.per_mille(100) {
                    self.survey(at);
                }
            }
            94..100 if !self.healed => self.fault(at),
            _ => {}
        }
    }

    fn fault(&mut self, at: usize) {
        let away = self.peers.iter().filter(|peer| peer.is_down || peer.is_paused).count();
        match self.rng.below(6) {
            0 if away < 2 => {
                self.report.crashes += 1;
                self.peers[at].is_down = true;
                self.peers[at].life += 1;
                self.ops.retain(|_, (of, _)| *of != at);
            }
            1 if away < 2 => self.peers[at].is_paused = true,
            2 => {
                let other = self.rng.below(PEERS as u64);
                self.network.cut(at as u64, other);
            }
            3 => self.network.heal(),
            4 | 5 => {
                let peer = self.id(at);
                let change =
                    if self.rng.per_mille(300) { Change::Drain(peer) } else { Change::Activate(peer) };
                let active = self.database().history.current().peers();
                let active = active.filter(|(_, peer)| peer.state == cm_placement::PeerState::Active).count();
                if active > 4 || matches!(change, Change::Activate(_)) {
                    let changed = self.transact(|db| db.change(change));
                    self.report.epochs += u64::from(changed);
                }
            }
            _ => {}
        }
    }

    fn heal(&mut self) {
        self.healed = true;
        self.network = Network::default();
        for peer in &mut self.peers {
            (peer.is_down, peer.is_paused) = (false, false);
        }
    }

    /// Every chunk that is counted must be promised by parts that no condemnation so far lets anybody delete.
    fn check(&self) -> Result<(), Violation> {
        let db = self.database();
        for (chunk, _) in db.references.iter().filter(|(_, count)| **count > 0) {
            let condemned = db.condemned.get(chunk).copied().unwrap_or(0);
            let held = (0..PEERS).map(|n| {
                let safe = self.peers[n].disk.range((*chunk, 0)..=(*chunk, usize::MAX));
                let safe = safe.filter(|(_, round)| !cm_placement::may_delete(**round, condemned));
                (self.id(n), safe.map(|((_, part), _)| *part).collect())
            });
            if !is_promised(self.redundancy(), &held.collect()) {
                return Err(
                    self.violation(format!("chunk {chunk} is counted and not safe: {}", self.unsettled()))
                );
            }
        }
        Ok(())
    }

    /// Whether every chunk is whole where it should be and nothing else is left.
    fn is_settled(&self) -> bool {
        let db = self.database();
        let counted = db.references.values().filter(|count| **count > 0).count();
        let parts: usize = self.peers.iter().map(|peer| peer.disk.len()).sum();
        let at_home = db.references.keys().all(|chunk| {
            let wanted = self.wanted_now(*chunk);
            wanted.iter().all(|n| self.peers[*n].disk.keys().any(|(of, _)| of == chunk))
        });
        self.ops.is_empty()
            && db.history.unsettled().is_empty()
            && db.references.len() == counted
            && at_home
            && parts == counted * self.parts_each()
    }

    fn parts_each(&self) -> usize {
        let active = self.database().history.current().holders(&digest(0), usize::MAX).len();
        let width = self.redundancy().width();
        if self.options.coded { width } else { width.min(active) }
    }

    fn unsettled(&self) -> String {
        let db = self.database();
        let disks: Vec<_> = self.peers.iter().map(|peer| &peer.disk).collect();
        let epochs = db.history.unsettled().len();
        format!(
            "round {}, {epochs} epochs, references {:?}, condemned {:?}, disks {disks:?}, {} under way",
            db.round,
            db.references,
            db.condemned,
            self.ops.len()
        )
    }

    fn violation(&self, what: String) -> Violation {
        Violation { at: self.now, what }
    }

    // What the parts of a run need of it.

    pub(super) fn redundancy(&self) -> Redundancy {
        let redundancy = if self.options.coded { Redundancy::erasure(3, 2) } else { Redundancy::replicas(3) };
        redundancy.expect("both are redundancies")
    }

    pub(super) fn peers(&self) -> usize {
        PEERS
    }

    pub(super) fn peer(&self, n: usize) -> &Peer {
        &self.peers[n]
    }

    pub(super) fn peer_mut(&mut self, n: usize) -> &mut Peer {
        &mut self.peers[n]
    }

    pub(super) fn id(&self, n: usize) -> PeerId {
        format!("p{n}").parse().expect("a letter and a digit are an id")
    }

    pub(super) fn number(&self, id: &PeerId) -> usize {
        id.as_str()[1..].parse().expect("ids are made of numbers here")
    }

    pub(super) fn database(&self) -> &Database {
        self.states.last().expect("there is always a state")
    }

    /// The database as this node sees it.
    pub(super) fn seen(&self, at: usize) -> &Database {
        &self.states[self.seen[at]]
    }

    /// The node sees the newest state.
    pub(super) fn catch_up(&mut self, at: usize) {
        self.seen[at] = self.states.len() - 1;
    }

    /// A transaction, which others see later.
    pub(super) fn transact<T>(&mut self, work: impl FnOnce(&mut Database) -> T) -> T {
        let mut next = self.database().clone();
        let done = work(&mut next);
        self.states.push(next);
        let version = self.states.len() - 1;
        for at in 0..PEERS {
            let delay = self.rng.duration(Duration::from_micros(100), LATE_MAX);
            self.schedule(delay, at, Event::See { version });
        }
        done
    }

    /// The active peers in the order of a chunk, as a node sees them.
    pub(super) fn order(&self, at: usize, chunk: Chunk) -> Vec<usize> {
        let holders = self.seen(at).history.current().holders(&digest(chunk), usize::MAX);
        holders.into_iter().map(|id| self.number(id)).collect()
    }

    pub(super) fn wanted(&self, at: usize, chunk: Chunk) -> Vec<usize> {
        self.order(at, chunk).into_iter().take(self.redundancy().width()).collect()
    }

    fn wanted_now(&self, chunk: Chunk) -> Vec<usize> {
        let holders = self.database().history.current().holders(&digest(chunk), self.redundancy().width());
        holders.into_iter().map(|id| self.number(id)).collect()
    }

    /// Whether a node takes a peer for up; it is mistaken now and then.
    pub(super) fn seems_up(&mut self, at: usize, peer: usize) -> bool {
        let is_up = !self.peers[peer].is_down && !self.peers[peer].is_paused;
        at == peer || is_up != self.rng.per_mille(50)
    }

    pub(super) fn send(&mut self, from: usize, to: usize, message: Message) {
        let fates = match from == to {
            true => vec![Duration::from_micros(50)],
            false => self.network.fates(&mut self.rng, from as u64, to as u64),
        };
        for delay in fates {
            self.schedule(delay, to, Event::Arrive { from, message: message.clone() });
        }
    }

    /// Something that a peer does after dawdling.
    pub(super) fn later(&mut self, at: usize, event: Event) {
        let delay = self.rng.duration(Duration::from_micros(100), DAWDLE_MAX);
        self.schedule(delay, at, event);
    }

    fn schedule(&mut self, delay: Duration, to: usize, event: Event) {
        self.schedule_in_life(delay, to, self.peers[to].life, event);
    }

    fn schedule_in_life(&mut self, delay: Duration, to: usize, life: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now + delay, self.scheduled), (to, life, event));
    }

    pub(super) fn begin(&mut self, at: usize, op: Op) -> u64 {
        self.ops_begun += 1;
        let number = self.ops_begun;
        self.ops.insert(number, (at, op));
        self.schedule(PATIENCE, at, Event::Waited { op: number });
        number
    }

    pub(super) fn op(&mut self, op: u64) -> Option<&mut (usize, Op)> {
        self.ops.get_mut(&op)
    }

    pub(super) fn resume(&mut self, number: u64, at: usize, op: Op) {
        self.ops.insert(number, (at, op));
    }

    pub(super) fn end(&mut self, op: u64) {
        self.ops.remove(&op);
    }
}

fn digest(chunk: Chunk) -> Sha256Digest {
    Sha256Digest::from_bytes([chunk.wrapping_mul(37).wrapping_add(1); 32])
}
