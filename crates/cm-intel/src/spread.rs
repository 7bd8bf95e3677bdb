//! The task that runs [`Gossip`] over links of version 2.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cm_db::Db;
use cm_runtime::Tasks;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::gossip::packet::Carried;
use crate::gossip::reconcile::INVENTORY_MAX;
use crate::gossip::{Gossip, Inventory, Packet, Step};
use crate::ledger::link::Deed;
use crate::link::{Link, one};
use crate::links::Links;
use crate::store::accept::Rules;
use crate::store::read;
use crate::wire::frame;
use crate::{EventKey, IntelError, Stored};

/// What waits to be dealt with. Packets wait for room; events that are accepted do not, and are found by comparing inventories if there
/// is none.
const WAITING_MAX: usize = 8192;
/// How often time is told.
const TICK: Duration = Duration::from_millis(50);
/// Events that are read in one go for somebody who asked for them.
const READ_AT_ONCE: usize = 64;

enum Input {
    Joined(Arc<Link>),
    Left(u64),
    Packet(u64, Packet<Carried>),
    Accepted { key: EventKey, seq: u64, carried: Carried, from: Option<u64> },
    Duplicate(u64),
    Settled(EventKey),
    Forgotten(Vec<EventKey>),
}

/// A handle of the task. Clones share it.
#[derive(Clone)]
pub(crate) struct Spread(mpsc::Sender<Input>);

/// A link that takes part for as long as this is there.
pub(crate) struct Joined {
    number: u64,
    spread: Spread,
    tasks: Tasks,
}

impl Drop for Joined {
    fn drop(&mut self) {
        let (inputs, number) = (self.spread.0.clone(), self.number);
        if inputs.try_send(Input::Left(number)).is_err() {
            // There is no room at the moment: it is told as soon as there is.
            self.tasks.spawn("intel-link-left", async move {
                // Without a receiver there is nobody to be told.
                let _ = inputs.send(Input::Left(number)).await;
            });
        }
    }
}

/// A packet in its frame.
pub(crate) fn framed(packet: &Packet<Carried>) -> Bytes {
    frame::frame(&packet.encode()).map_or_else(|_| Bytes::new(), Bytes::from)
}

impl Spread {
    /// Starts the task with what is kept.
    pub(crate) async fn start(
        db: Db,
        rules: watch::Receiver<Rules>,
        links: Arc<Links>,
        tasks: &Tasks,
    ) -> Result<Self, IntelError> {
        let (terms, now) = (rules.borrow().terms.clone(), links.now());
        let known = db.read(move |tx| read::keys(tx, &terms, now, INVENTORY_MAX)).await?;
        let seed = u64::from_be_bytes(cm_crypto::secret::random_bytes());
        let inventory = Inventory::of(known.iter().map(|(key, _)| *key));
        let (sender, inputs) = mpsc::channel(WAITING_MAX);
        let task = Task {
            gossip: Gossip::new(inventory, seed, Duration::ZERO),
            numbers: known.into_iter().collect(),
            members: HashMap::new(),
            begun: Instant::now(),
            inputs: sender.downgrade(),
            db,
            rules,
            links,
            tasks: tasks.clone(),
        };
        let token = tasks.token();
        tasks.spawn("intel-gossip", async move {
            token.run_until_cancelled(task.run(inputs)).await;
        });
        Ok(Self(sender))
    }

    /// Lets a link take part.
    pub(crate) async fn join(&self, link: Arc<Link>, tasks: &Tasks) -> Joined {
        let number = link.number;
        // Without a receiver the node is ending.
        let _ = self.0.send(Input::Joined(link)).await;
        Joined { number, spread: self.clone(), tasks: tasks.clone() }
    }

    /// Deals with a packet of a link. Waits for room.
    pub(crate) async fn packet(&self, from: u64, packet: Packet<Carried>) {
        // Without a receiver the node is ending.
        let _ = self.0.send(Input::Packet(from, packet)).await;
    }

    /// A link brought what is known.
    pub(crate) fn duplicate(&self, from: u64) {
        // It only guides the choice of peers.
        let _ = self.0.try_send(Input::Duplicate(from));
    }

    /// An event was verified and is not passed on. Does not wait: whoever was asked for it is not blamed in any case.
    pub(crate) fn settled(&self, key: EventKey) {
        // Without room it is asked for once more.
        let _ = self.0.try_send(Input::Settled(key));
    }

    /// Events are not kept any more. Does not wait.
    pub(crate) fn forgotten(&self, keys: Vec<EventKey>) {
        if self.0.try_send(Input::Forgotten(keys)).is_err() {
            metrics::counter!("cryptomesh_intel_gossip_dropped_total").increment(1);
        }
    }

    /// Passes an event on that was accepted. Does not wait.
    pub(crate) fn accepted(&self, stored: &Stored, from: Option<u64>) {
        let key = EventKey::of(&stored.event.id, &stored.key);
        let carried = Carried { tlp: stored.tlp, payload: stored.event.payload().into() };
        if self.0.try_send(Input::Accepted { key, seq: stored.seq, carried, from }).is_err() {
            metrics::counter!("cryptomesh_intel_gossip_dropped_total").increment(1);
        }
    }
}

/// A link that takes part, and how many events it had brought when that was last looked at.
struct Member {
    link: Arc<Link>,
    brought: u64,
}

impl Member {
    /// Whether it brought an event since the last look, or one that waits to be looked at keeps it from being read.
    fn is_heard(&mut self) -> bool {
        let brought = self.link.tally.received.load(Ordering::Relaxed);
        let before = std::mem::replace(&mut self.brought, brought);
        brought != before || self.link.credit.available_permits() == 0
    }
}

struct Task {
    gossip: Gossip<u64, Carried>,
    /// Under which numbers the known events are kept.
    numbers: HashMap<EventKey, u64>,
    members: HashMap<u64, Member>,
    begun: Instant,
    inputs: mpsc::WeakSender<Input>,
    db: Db,
    rules: watch::Receiver<Rules>,
    links: Arc<Links>,
    tasks: Tasks,
}

impl Task {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let steps = tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.deal(input),
                    None => return,
                },
                _ = ticks.tick() => {
                    let (passed, now) = (self.begun.elapsed(), self.links.now());
                    for (number, member) in &mut self.members {
                        if member.is_heard() {
                            self.gossip.heard(number, passed);
                        }
                    }
                    let members = &self.members;
                    let standing = |number: &u64| members.get(number).map_or(0.0, |member| member.link.score(now));
                    self.gossip.tick(passed, standing)
                }
            };
            for step in steps {
                self.act(step);
            }
        }
    }

    fn deal(&mut self, input: Input) -> Vec<Step<u64, Carried>> {
        let now = self.begun.elapsed();
        match input {
            Input::Joined(link) => {
                let number = link.number;
                self.members.insert(number, Member { link, brought: 0 });
                self.gossip.connected(number, now)
            }
            Input::Left(number) => {
                self.members.remove(&number);
                self.gossip.disconnected(&number);
                Vec::new()
            }
            Input::Packet(from, packet) => self.gossip.received(from, packet, now),
            Input::Accepted { key, seq, carried, from } => {
                if self.numbers.len() >= 2 * INVENTORY_MAX {
                    let gossip = &self.gossip;
                    self.numbers.retain(|key, _| gossip.knows(key));
                }
                self.numbers.insert(key, seq);
                self.gossip.accepted(key, carried, from.filter(|from| self.members.contains_key(from)))
            }
            Input::Duplicate(from) => {
                self.gossip.duplicate(from);
                Vec::new()
            }
            Input::Settled(key) => {
                self.gossip.settled(key, now);
                Vec::new()
            }
            Input::Forgotten(keys) => {
                for key in &keys {
                    self.gossip.forgotten(key, now);
                    self.numbers.remove(key);
                }
                Vec::new()
            }
        }
    }

    fn act(&mut self, step: Step<u64, Carried>) {
        match step {
            Step::Send(to, packet) => {
                let Some(Member { link, .. }) = self.members.get(&to) else { return };
                let is_event = matches!(packet, Packet::Event(_));
                let queued = link.send(framed(&packet));
                if is_event {
                    one(if queued { &link.tally.sent } else { &link.tally.dropped });
                }
            }
            // Events are looked at where they are read.
            Step::Examine(..) => {}
            Step::Fetch(to, keys) => {
                let Some(link) = self.members.get(&to).map(|member| member.link.clone()) else { return };
                let kept: Vec<(EventKey, u64)> =
                    keys.iter().filter_map(|key| Some((*key, *self.numbers.get(key)?))).collect();
                let (db, rules, now) = (self.db.clone(), self.rules.borrow().clone(), self.links.now());
                let token = self.tasks.token();
                let inputs = self.inputs.clone();
                self.tasks.spawn("intel-fetch", async move {
                    let sending = async {
                        let withdrawn = send_kept(db, rules, now, link, kept).await;
                        if let (false, Some(inputs)) = (withdrawn.is_empty(), inputs.upgrade()) {
                            // Without a receiver the node is ending.
                            let _ = inputs.send(Input::Forgotten(withdrawn)).await;
                        }
                    };
                    token.run_until_cancelled(sending).await;
                });
            }
            Step::Blame(peer) => {
                if let Some(Member { link, .. }) = self.members.get(&peer) {
                    link.record(Deed::Misbehaved, self.links.now());
                }
            }
        }
    }
}

/// Reads events that somebody asked for, and sends them. Those that are not to be shared any more, which are announced no longer.
async fn send_kept(
    db: Db,
    rules: Rules,
    now: cm_types::Timestamp,
    link: Arc<Link>,
    kept: Vec<(EventKey, u64)>,
) -> Vec<EventKey> {
    let mut withdrawn = Vec::new();
    for some in kept.chunks(READ_AT_ONCE) {
        let (numbers, terms): (Vec<u64>, _) =
            (some.iter().map(|(_, seq)| *seq).collect(), rules.terms.clone());
        let read = db.read(move |tx| {
            let found = numbers.iter().map(|seq| read::event(tx, &terms, now, *seq));
            found.collect::<Result<Vec<_>, cm_db::DbError>>()
        });
        let found = match read.await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "events for a peer not read");
                break;
            }
        };
        for ((key, _), stored) in some.iter().zip(found) {
            let Some(stored) = stored.filter(read::shareable) else {
                withdrawn.push(*key);
                continue;
            };
            let carried = Carried { tlp: stored.tlp, payload: stored.event.payload().into() };
            let queued = link.send(framed(&Packet::Event(carried)));
            one(if queued { &link.tally.sent } else { &link.tally.dropped });
        }
    }
    withdrawn
}
