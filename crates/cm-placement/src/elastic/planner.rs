//! How many copies, and where.

use std::collections::BTreeMap;
use std::time::Duration;

use cm_types::{PeerId, Timestamp};

use crate::Domain;

/// How the planner behaves. Every combination is legal.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannerConfig {
    /// Most copies of an object, the placed ones included; placed copies are kept beyond it. 8 unless told.
    pub replicas_max: usize,
    /// How busy one object may keep one holder, as a share of its time, before it gets another. 0.15 unless told:
    /// peers have other things to do, and copies are cheaper than queues.
    pub utilisation: f64,
    /// How far the demand must fall below what the copies are for until one is dropped, as a share. 0.4 unless told.
    pub hysteresis: f64,
    /// How busy a peer may be before copies of what it serves relieve it. 0.6 unless told.
    pub relieve_above: f64,
    /// After a change an object gets no further copies for so long. 2 s unless told.
    pub grow_cooldown: Duration,
    /// After a change an object loses no copies for so long. 2 minutes unless told.
    pub shrink_cooldown: Duration,
    /// Most steps at once. 64 unless told.
    pub steps_max: usize,
}

impl Default for PlannerConfig {
    fn default() -> Self {
        Self {
            replicas_max: 8,
            utilisation: 0.15,
            hysteresis: 0.4,
            relieve_above: 0.6,
            grow_cooldown: Duration::from_secs(2),
            shrink_cooldown: Duration::from_secs(120),
            steps_max: 64,
        }
    }
}

/// What is known of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFacts {
    /// What it fails together with.
    pub domain: Domain,
    /// How many bytes it offers.
    pub capacity_bytes: u64,
    /// How many of them are free.
    pub free_bytes: u64,
    /// Whether it takes new bytes.
    pub accepts: bool,
}

impl PeerFacts {
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.accepts && self.free_bytes >= bytes
    }
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectFacts<K> {
    /// Which.
    pub id: K,
    /// How long it is.
    pub bytes: u64,
    /// How often it is read now ([`Heat`](super::Heat)).
    pub reads_per_second: f64,
    /// How long one read keeps its holder busy.
    pub service_time: Duration,
    /// The holders by its digest. They keep it whatever the load.
    pub placed: Vec<PeerId>,
    /// Who has a copy besides, or is being sent one.
    pub extra: Vec<PeerId>,
    /// Who is to have a copy by a policy of replication.
    pub demanded: Vec<PeerId>,
    /// When its extra copies last changed.
    pub changed_at: Option<Timestamp>,
    /// Most copies of it, the placed ones included, if other than [`PlannerConfig::replicas_max`].
    pub replicas_max: Option<usize>,
}

impl<K> ObjectFacts<K> {
    /// Everybody who has it.
    pub fn holders(&self) -> impl Iterator<Item = &PeerId> {
        self.placed.iter().chain(&self.extra)
    }

    pub(super) fn is_held_by(&self, peer: &PeerId) -> bool {
        self.holders().any(|holder| holder == peer)
    }

    /// How much of one peer's time all its reads take.
    fn demand(&self) -> f64 {
        self.reads_per_second.max(0.0) * self.service_time.as_secs_f64()
    }

    /// What is moved first: bytes read per second.
    fn weight(&self) -> f64 {
        self.bytes as f64 * self.reads_per_second
    }

    fn rests(&self, now: Timestamp, cooldown: Duration) -> bool {
        self.changed_at.is_some_and(|changed_at| now.since(changed_at) < cooldown)
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<K> {
    /// Send a copy.
    Copy {
        /// Of what.
        object: K,
        /// The holder that sends it.
        from: PeerId,
        /// Who gets it.
        to: PeerId,
        /// How much is sent.
        bytes: u64,
    },
    /// Drop a copy that is not placed there.
    Drop {
        /// Of what.
        object: K,
        /// Who drops it.
        peer: PeerId,
    },
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<K> {
    /// In this order.
    pub steps: Vec<Step<K>>,
    /// How many bytes they send.
    pub bytes: u64,
}

/// Plans copies from rates.
///
/// An object should have `⌈rate · service time / utilisation⌉` copies, within its placed ones and [`PlannerConfig::replicas_max`].
/// It gets more when it has fewer; it loses some when it has more than it would need if the rate were higher by
/// the hysteresis. A peer that is busier than [`PlannerConfig::relieve_above`] in sum is relieved of the objects that it serves most by
/// copies of them on peers that are less busy, and nothing is dropped that would bring a peer there unless there are more copies than may be. The most bytes
/// read per second come first, until the bytes that may be sent are used up.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    config: PlannerConfig,
}

impl Planner {
    /// A planner that behaves so.
    pub fn new(config: PlannerConfig) -> Self {
        Self { config }
    }

    /// How many copies an object should have that has `have` of them, `placed` of them by its digest, when its reads take `demand`
    /// of one peer's time.
    pub fn target(&self, demand: f64, placed: usize, have: usize) -> usize {
        self.target_within(demand, placed, have, self.config.replicas_max)
    }

    fn target_of<K>(&self, object: &ObjectFacts<K>, have: usize) -> usize {
        let max = object.replicas_max.unwrap_or(self.config.replicas_max);
        self.target_within(object.demand(), object.placed.len(), have, max)
    }

    fn target_within(&self, demand: f64, placed: usize, have: usize, replicas_max: usize) -> usize {
        let (min, max) = (placed, replicas_max.max(placed));
        let copies = |utilisation: f64| {
            // Saturates: what is no number counts as none.
            let wanted = (demand / utilisation.max(f64::MIN_POSITIVE)).ceil() as usize;
            wanted.clamp(min, max)
        };
        let at_least = copies(self.config.utilisation);
        let at_most = copies(self.config.utilisation * (1.0 - self.config.hysteresis.clamp(0.0, 0.99)));
        if have < at_least { at_least } else { have.min(at_most).max(min) }
    }

    /// What to do now with so many bytes. The first copy may be larger than that, since nothing large would ever be copied otherwise: who
    /// asks gives that much less afterwards.
    pub fn plan<K: Ord + Clone>(
        &self,
        now: Timestamp,
        objects: &[ObjectFacts<K>],
        peers: &BTreeMap<PeerId, PeerFacts>,
        budget_bytes: u64,
    ) -> Plan<K> {
        let mut draft = Draft::new(&self.config, now, objects, peers, budget_bytes);
        let mut hottest: Vec<usize> = (0..objects.len()).collect();
        hottest.sort_by(|a, b| {
            let (a, b) = (&objects[*a], &objects[*b]);
            b.weight().total_cmp(&a.weight()).then_with(|| a.id.cmp(&b.id))
        });
        for &at in &hottest {
            draft.obey(at);
        }
        for &at in &hottest {
            let object = &objects[at];
            if object.rests(now, self.config.grow_cooldown) {
                continue;
            }
            let have = draft.holders[at].len();
            let target = self.target_of(object, have);
            for _ in have..target {
                if !draft.grow(at, f64::INFINITY) {
                    break;
                }
            }
        }
        draft.relieve(&hottest);
        for &at in hottest.iter().rev() {
            draft.shrink(at, self);
        }
        Plan { steps: draft.steps, bytes: draft.bytes }
    }
}

/// A plan in the making: the state after its steps.
struct Draft<'a, K> {
    config: &'a PlannerConfig,
    now: Timestamp,
    objects: &'a [ObjectFacts<K>],
    peers: &'a BTreeMap<PeerId, PeerFacts>,
    /// Of each object.
    holders: Vec<Vec<PeerId>>,
    /// How much of each peer's time is taken, if reads are divided equally.
    loads: BTreeMap<&'a PeerId, f64>,
    free_bytes: BTreeMap<&'a PeerId, u64>,
    budget_bytes: u64,
    bytes: u64,
    steps: Vec<Step<K>>,
}

impl<'a, K: Ord + Clone> Draft<'a, K> {
    fn new(
        config: &'a PlannerConfig,
        now: Timestamp,
        objects: &'a [ObjectFacts<K>],
        peers: &'a BTreeMap<PeerId, PeerFacts>,
        budget_bytes: u64,
    ) -> Self {
        let mut loads: BTreeMap<_, _> = peers.keys().map(|peer| (peer, 0.0)).collect();
        let holders: Vec<Vec<PeerId>> =
            objects.iter().map(|object| object.holders().cloned().collect()).collect();
        for (object, holders) in objects.iter().zip(&holders) {
            for holder in holders {
                if let Some(load) = loads.get_mut(holder) {
                    *load += object.demand() / holders.len() as f64;
                }
            }
        }
        let free_bytes = peers.iter().map(|(peer, facts)| (peer, facts.free_bytes)).collect();
        Self {
            config,
            now,
            objects,
            peers,
            holders,
            loads,
            free_bytes,
            budget_bytes,
            bytes: 0,
            steps: Vec::new(),
        }
    }

    fn load(&self, peer: &PeerId) -> f64 {
        self.loads.get(peer).copied().unwrap_or(0.0)
    }

    /// Whether so many bytes may still be sent.
    fn affords(&self, bytes: u64) -> bool {
        self.steps.len() < self.config.steps_max
            && (self.bytes.saturating_add(bytes) <= self.budget_bytes
                || (self.bytes == 0 && self.budget_bytes > 0))
    }

    /// Divides the object's demand among other holders.
    fn hold(&mut self, at: usize, holders: Vec<PeerId>) {
        let demand = self.objects[at].demand();
        let old = std::mem::replace(&mut self.holders[at], holders);
        for (list, sign) in [(&old, -1.0), (&self.holders[at], 1.0)] {
            for holder in list {
                if let Some(load) = self.loads.get_mut(holder) {
                    *load += sign * demand / list.len() as f64;
                }
            }
        }
    }

    fn copy_to(&mut self, at: usize, to: &'a PeerId) -> bool {
        let object = &self.objects[at];
        if !self.affords(object.bytes) {
            return false;
        }
        // Only who has it now can send it.
        let Some(from) = object.holders().min_by(|a, b| self.load(a).total_cmp(&self.load(b))) else {
            return false;
        };
        self.steps.push(Step::Copy {
            object: object.id.clone(),
            from: from.clone(),
            to: to.clone(),
            bytes: object.bytes,
        });
        self.bytes += object.bytes;
        if let Some(free) = self.free_bytes.get_mut(to) {
            *free -= object.bytes;
        }
        let mut holders = self.holders[at].clone();
        holders.push(to.clone());
        self.hold(at, holders);
        true
    }

    fn takes(&self, at: usize, peer: &PeerId, facts: &PeerFacts) -> bool {
        facts.accepts
            && self.free_bytes.get(peer).is_some_and(|free| *free >= self.objects[at].bytes)
            && !self.holders[at].contains(peer)
    }

    /// The copies that policies demand.
    fn obey(&mut self, at: usize) {
        for peer in &self.objects[at].demanded {
            if let Some((peer, facts)) = self.peers.get_key_value(peer)
                && self.takes(at, peer, facts)
            {
                self.copy_to(at, peer);
            }
        }
    }

    /// One more copy, where the load is below the limit: in a domain without one if there is any, then where there is
    /// least to do.
    fn grow(&mut self, at: usize, load_below: f64) -> bool {
        let held: Vec<&Domain> = self.holders[at]
            .iter()
            .filter_map(|holder| self.peers.get(holder))
            .map(|facts| &facts.domain)
            .collect();
        let share = self.objects[at].demand() / (self.holders[at].len() + 1) as f64;
        let peers = self
            .peers
            .iter()
            .filter(|(peer, facts)| self.takes(at, peer, facts) && self.load(peer) + share < load_below);
        let best = peers.min_by(|(a, a_facts), (b, b_facts)| {
            let known = |facts: &PeerFacts| held.contains(&&facts.domain);
            let spread = known(a_facts).cmp(&known(b_facts));
            spread.then_with(|| self.load(a).total_cmp(&self.load(b))).then_with(|| a.cmp(b))
        });
        best.map(|(peer, _)| peer).is_some_and(|peer| self.copy_to(at, peer))
    }

    /// Relieves those who have too much to do in sum.
    fn relieve(&mut self, hottest: &[usize]) {
        let limit = self.config.relieve_above;
        let mut busy: Vec<_> = self.peers.keys().filter(|peer| self.load(peer) > limit).collect();
        busy.sort_by(|a, b| self.load(b).total_cmp(&self.load(a)).then_with(|| a.cmp(b)));
        for peer in busy {
            let mut served: Vec<usize> =
                hottest.iter().copied().filter(|&at| self.holders[at].contains(peer)).collect();
            let share = |at: usize| self.objects[at].demand() / self.holders[at].len() as f64;
            served.sort_by(|a, b| share(*b).total_cmp(&share(*a)));
            for at in served {
                let object = &self.objects[at];
                let full = self.holders[at].len() >= object.replicas_max.unwrap_or(self.config.replicas_max);
                if full || object.demand() <= 0.0 || object.rests(self.now, self.config.grow_cooldown) {
                    continue;
                }
                if self.load(peer) <= limit {
                    break;
                }
                self.grow(at, limit);
            }
        }
    }

    /// Drops what is not needed any more, from who has most to do.
    fn shrink(&mut self, at: usize, planner: &Planner) {
        let object = &self.objects[at];
        if object.extra.is_empty() || object.rests(self.now, self.config.shrink_cooldown) {
            return;
        }
        loop {
            let have = self.holders[at].len();
            let grew = have > object.placed.len() + object.extra.len();
            if grew || planner.target_of(object, have) >= have {
                return;
            }
            let extra = object
                .extra
                .iter()
                .filter(|peer| self.holders[at].contains(peer) && !object.demanded.contains(peer));
            let busiest = extra.max_by(|a, b| self.load(a).total_cmp(&self.load(b)).then_with(|| b.cmp(a)));
            let Some(peer) = busiest.cloned() else { return };
            let rest: Vec<_> = self.holders[at].iter().filter(|holder| **holder != peer).cloned().collect();
            let more = object.demand() / rest.len().max(1) as f64 - object.demand() / have as f64;
            let would_be_busy = |holder: &PeerId| self.load(holder) + more > self.config.relieve_above;
            // There may not be so many, whatever the load.
            let too_many = have > object.replicas_max.unwrap_or(self.config.replicas_max);
            if rest.is_empty()
                || self.steps.len() >= self.config.steps_max
                || (!too_many && object.demand() > 0.0 && rest.iter().any(would_be_busy))
            {
                return;
            }
            self.steps.push(Step::Drop { object: object.id.clone(), peer });
            self.hold(at, rest);
        }
    }
}

#[cfg(test)]
mod tests;
