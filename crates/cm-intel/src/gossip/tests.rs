use std::collections::BTreeSet;

use cm_crypto::digest;

use super::fetching::WANTED_MAX;
use super::unkept::UNKEPT_MAX;
use super::*;

fn key(number: u32) -> EventKey {
    EventKey(digest::sha256(&number.to_be_bytes()))
}

/// A network in which every packet takes a millisecond, and an event is its number.
struct World {
    nodes: Vec<Gossip<usize, u32>>,
    links: BTreeSet<(usize, usize)>,
    under_way: Vec<(usize, usize, Packet<u32>)>,
    now: Moment,
    received: usize,
    duplicates: usize,
    blamed: usize,
}

impl World {
    fn new(count: usize, links: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let node = |at: usize| Gossip::new(Inventory::default(), at as u64, Moment::ZERO);
        let nodes = (0..count).map(node).collect();
        let links = links.into_iter().flat_map(|(a, b)| [(a, b), (b, a)]).collect();
        let mut world = Self {
            nodes,
            links,
            under_way: Vec::new(),
            now: Moment::ZERO,
            received: 0,
            duplicates: 0,
            blamed: 0,
        };
        for (a, b) in world.links.clone() {
            let steps = world.nodes[a].connected(b, Moment::ZERO);
            world.act(a, steps);
        }
        world
    }

    fn act(&mut self, at: usize, steps: Vec<Step<usize, u32>>) {
        for step in steps {
            match step {
                Step::Send(to, packet) => self.under_way.push((at, to, packet)),
                Step::Examine(from, number) => {
                    self.received += 1;
                    if self.nodes[at].knows(&key(number)) {
                        self.duplicates += 1;
                        self.nodes[at].duplicate(from);
                    } else {
                        let steps = self.nodes[at].accepted(key(number), number, Some(from));
                        self.act(at, steps);
                    }
                }
                Step::Fetch(to, keys) => {
                    // What is kept, is kept under its number here.
                    for number in (0..5000).filter(|number| keys.contains(&key(*number))) {
                        self.under_way.push((at, to, Packet::Event(number)));
                    }
                }
                Step::Blame(_) => self.blamed += 1,
            }
        }
    }

    fn publish(&mut self, at: usize, number: u32) {
        let steps = self.nodes[at].accepted(key(number), number, None);
        self.act(at, steps);
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now += Duration::from_millis(1);
            for (from, to, packet) in std::mem::take(&mut self.under_way) {
                if self.links.contains(&(from, to)) {
                    let steps = self.nodes[to].received(from, packet, self.now);
                    self.act(to, steps);
                }
            }
            if self.now.as_millis().is_multiple_of(100) {
                for at in 0..self.nodes.len() {
                    let steps = self.nodes[at].tick(self.now, |_| 0.0);
                    self.act(at, steps);
                }
            }
        }
    }

    fn everybody_knows(&self, number: u32) -> bool {
        self.nodes.iter().all(|node| node.knows(&key(number)))
    }
}

fn ring_with_chords(count: usize) -> Vec<(usize, usize)> {
    let chord = |at: usize| [1, 7, 13, 29, 41, 53].map(|step| (at, (at + step) % count));
    (0..count).flat_map(chord).collect()
}

#[test]
fn every_event_reaches_everybody_with_few_duplicates() {
    let mut world = World::new(100, ring_with_chords(100));
    for number in 0..200 {
        world.publish(number as usize % 100, number);
        world.run(Duration::from_millis(100));
    }
    let warm = (world.received, world.duplicates);
    for number in 200..400 {
        world.publish(number as usize % 100, number);
        world.run(Duration::from_millis(100));
    }
    world.run(Duration::from_secs(3));
    assert!((0..400).all(|number| world.everybody_knows(number)));
    let (received, duplicates) = (world.received - warm.0, world.duplicates - warm.1);
    let each = duplicates as f64 / (received - duplicates) as f64;
    assert!(each <= 2.0, "{each:.2} duplicates for each event");
    assert_eq!(world.blamed, 0);
    assert!(world.nodes.iter().all(|node| node.mesh().count() <= MESH_MAX));
}

#[test]
fn a_latecomer_and_a_healed_partition_learn_what_they_missed() {
    let mut world = World::new(20, ring_with_chords(20).into_iter().filter(|(a, b)| a != b));
    let all = world.links.clone();
    world.links.retain(|(a, b)| (*a < 10) == (*b < 10));
    for (a, b) in all.difference(&world.links.clone()) {
        world.nodes[*a].disconnected(b);
    }
    for number in 0..600 {
        world.publish(if number % 2 == 0 { 3 } else { 17 }, number);
        world.run(Duration::from_millis(20));
    }
    world.run(Duration::from_secs(10));
    assert!(!world.everybody_knows(0) && !world.everybody_knows(1));
    let healed: Vec<(usize, usize)> = all.difference(&world.links).copied().collect();
    world.links = all;
    for (a, b) in healed {
        let steps = world.nodes[a].connected(b, world.now);
        world.act(a, steps);
    }
    world.run(Duration::from_secs(90));
    assert!((0..600).all(|number| world.everybody_knows(number)));
}

#[test]
fn what_an_eager_peer_withholds_is_fetched_from_another() {
    // 0 is in everybody's mesh, takes everything and passes nothing on.
    let mut world = World::new(12, (0..12).flat_map(|a| (0..a).map(move |b| (a, b))));
    for number in 0..100 {
        world.publish(1 + number as usize % 11, number);
        for _ in 0..50 {
            world.under_way.retain(|(from, _, packet)| *from != 0 || !matches!(packet, Packet::Event(_)));
            world.run(Duration::from_millis(1));
        }
    }
    world.run(Duration::from_secs(8));
    assert!((0..100).all(|number| world.everybody_knows(number)));
}

#[test]
fn promises_that_are_not_kept_are_held_against_who_made_them() {
    let mut node: Gossip<u8, u32> = Gossip::new(Inventory::default(), 1, Moment::ZERO);
    node.connected(1, Moment::ZERO);
    let steps = node.received(1, Packet::IHave((0..10).map(key).collect()), Moment::ZERO);
    assert!(steps.is_empty(), "it may be under way");
    let steps = node.tick(Duration::from_secs(1), |_| 0.0);
    assert!(steps.iter().any(|step| matches!(step, Step::Send(1, Packet::IWant(keys)) if keys.len() == 10)));
    let steps = node.tick(Duration::from_secs(10), |_| 0.0);
    assert_eq!(steps.iter().filter(|step| **step == Step::Blame(1)).count(), 1, "once for what it was asked");
}

#[test]
fn a_newcomer_that_keeps_half_of_what_it_is_sent_blames_nobody() {
    let (mut old, mut new) = (
        Gossip::<u8, u32>::new(Inventory::of((0..300).map(key)), 1, Moment::ZERO),
        Gossip::<u8, u32>::new(Inventory::default(), 2, Moment::ZERO),
    );
    let mut under_way = Vec::new();
    let tell = |to: u8, steps: Vec<Step<u8, u32>>, sent: &mut Vec<(u8, Packet<u32>)>| {
        for step in steps {
            match step {
                Step::Send(_, packet) => sent.push((to, packet)),
                Step::Fetch(_, keys) => sent
                    .extend((0..300).filter(|at| keys.contains(&key(*at))).map(|at| (to, Packet::Event(at)))),
                Step::Examine(..) => {}
                Step::Blame(_) => panic!("node {to} has somebody blamed"),
            }
        }
    };
    tell(1, old.connected(1, Moment::ZERO), &mut under_way);
    tell(0, new.connected(0, Moment::ZERO), &mut under_way);
    let (mut came, mut now) = (0, Moment::ZERO);
    while now < Duration::from_secs(200) {
        now += Duration::from_millis(50);
        for (to, packet) in std::mem::take(&mut under_way) {
            if to == 0 {
                tell(1, old.received(1, packet, now), &mut under_way);
                continue;
            }
            if let Packet::Event(number) = packet {
                came += 1;
                new.heard(&0, now);
                // The rate of a newcomer.
                if number % 2 == 0 {
                    new.accepted(key(number), number, Some(0));
                } else {
                    new.settled(key(number), now);
                }
                continue;
            }
            tell(0, new.received(0, packet, now), &mut under_way);
        }
        tell(1, old.tick(now, |_| 0.0), &mut under_way);
        tell(0, new.tick(now, |_| 0.0), &mut under_way);
    }
    assert_eq!((came, new.known()), (300, 150), "what is not kept is not fetched over and over");
    new.settled(key(1000), now);
    (0..100_000).for_each(|number| new.settled(key(2000 + number), now));
    assert!(new.unkept.len() <= 2 * UNKEPT_MAX);
    assert!(!new.unkept.contains(&key(1000)));
}

#[test]
fn whoever_asks_too_much_or_grafts_too_soon_is_blamed() {
    let mut node: Gossip<u8, u32> = Gossip::new(Inventory::of((0..600).map(key)), 1, Moment::ZERO);
    node.connected(1, Moment::ZERO);
    let keys: Vec<EventKey> = (0..KEYS_MAX as u32).map(key).collect();
    let answers: Vec<_> =
        (0..6).flat_map(|_| node.received(1, Packet::IWant(keys.clone()), Moment::ZERO)).collect();
    assert_eq!(answers.iter().filter(|step| matches!(step, Step::Fetch(..))).count(), 4);
    assert_eq!(answers.iter().filter(|step| **step == Step::Blame(1)).count(), 2);
    let steps = node.tick(HEARTBEAT, |_| -1.0);
    assert!(steps.iter().any(|step| matches!(step, Step::Send(1, Packet::Prune { .. }))));
    assert!(node.received(1, Packet::Graft, HEARTBEAT).contains(&Step::Blame(1)));
    assert_eq!(node.mesh().count(), 0);
}

#[test]
fn memory_is_bounded_whatever_is_announced_and_declined() {
    let mut node: Gossip<u8, u32> = Gossip::new(Inventory::default(), 1, Moment::ZERO);
    node.connected(1, Moment::ZERO);
    for batch in 0..100u32 {
        let keys: Vec<EventKey> = (0..500).map(|at| key(batch * 1000 + at)).collect();
        node.received(1, Packet::IHave(keys.clone()), Moment::ZERO);
        node.received(1, Packet::IDontWant(keys), Moment::ZERO);
    }
    assert!(node.wanted.len() <= WANTED_MAX);
    assert!(node.peers[&1].declined.len() <= DECLINED_MAX);
    (0..10_000).for_each(|number| drop(node.accepted(key(1 << 30 | number), number, None)));
    assert!(node.cache.len() <= CACHED_MAX);
}
