use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn id(number: usize) -> PeerId {
    format!("p{number}").parse().unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000)
}

fn peers(count: usize, free_bytes: u64) -> BTreeMap<PeerId, PeerFacts> {
    let facts = |n: usize| PeerFacts {
        domain: Domain::parse(format!("d{}", n % 3)).unwrap(),
        capacity_bytes: 1 << 30,
        free_bytes,
        accepts: true,
    };
    (0..count).map(|n| (id(n), facts(n))).collect()
}

/// An object whose reads take `demand` of one peer's time.
fn object(number: u32, bytes: u64, demand: f64, placed: &[usize], extra: &[usize]) -> ObjectFacts<u32> {
    ObjectFacts {
        id: number,
        bytes,
        reads_per_second: demand * 100.0,
        service_time: Duration::from_millis(10),
        placed: placed.iter().map(|n| id(*n)).collect(),
        extra: extra.iter().map(|n| id(*n)).collect(),
        demanded: vec![],
        changed_at: None,
        replicas_max: None,
    }
}

fn config() -> PlannerConfig {
    PlannerConfig { utilisation: 0.3, relieve_above: 0.7, ..PlannerConfig::default() }
}

fn plan(objects: &[ObjectFacts<u32>], count: usize, budget: u64) -> Plan<u32> {
    Planner::new(config()).plan(now(), objects, &peers(count, 1 << 20), budget)
}

fn copies(plan: &Plan<u32>) -> Vec<(u32, PeerId)> {
    let copied = plan.steps.iter().filter_map(|step| match step {
        Step::Copy { object, to, .. } => Some((*object, to.clone())),
        Step::Drop { .. } => None,
    });
    copied.collect()
}

#[test]
fn targets_follow_demand_with_hysteresis() {
    let planner = Planner::new(config());
    assert_eq!(planner.target(0.0, 1, 1), 1);
    assert_eq!(planner.target(0.31, 1, 1), 2);
    assert_eq!(planner.target(100.0, 1, 1), 8);
    assert_eq!(planner.target(0.95, 1, 6), 6, "six would be needed at 1.66 times the rate");
    assert_eq!(planner.target(0.85, 1, 6), 5, "not any more");
    assert_eq!(planner.target(0.0, 3, 8), 3, "never below what is placed");
    assert_eq!(planner.target(0.0, 12, 12), 12, "not even beyond the maximum");
    assert_eq!(planner.target(f64::NAN, 2, 2), 2);
    assert_eq!(planner.target(f64::INFINITY, 2, 2), 8);
}

#[test]
fn the_hottest_bytes_come_first_and_the_budget_ends_it() {
    let objects =
        [object(1, 100, 0.5, &[0], &[]), object(2, 1000, 0.5, &[1], &[]), object(3, 500, 0.5, &[2], &[])];
    assert_eq!(
        copies(&plan(&objects, 6, 1500)).iter().map(|(object, _)| *object).collect::<Vec<_>>(),
        [2, 3]
    );
    let small = plan(&objects, 6, 10);
    assert_eq!((small.steps.len(), small.bytes), (1, 1000), "the first may be too large");
    assert!(plan(&objects, 6, 0).steps.is_empty());
}

#[test]
fn new_copies_go_to_other_domains_and_then_to_who_has_least_to_do() {
    // Peers 0, 3 are in one domain, 1, 4 in another, 2, 5 in the third; 1 has something to do already.
    let objects = [object(1, 10, 0.85, &[0], &[]), object(2, 10, 0.2, &[1], &[])];
    let found = copies(&plan(&objects, 6, 1000));
    assert_eq!(found, [(1, id(2)), (1, id(4))]);
}

#[test]
fn a_peer_busy_with_many_things_is_relieved() {
    let objects: Vec<_> = (0..10).map(|n| object(n, 10, 0.1, &[0], &[])).collect();
    let found = plan(&objects, 3, 1000);
    let load = 1.0 - copies(&found).len() as f64 * 0.05;
    assert!(load <= 0.7, "{found:?}");
    assert!(copies(&found).iter().all(|(_, to)| *to != id(0)));
}

#[test]
fn cooled_objects_lose_their_copies_after_a_while() {
    let mut cold = object(1, 10, 0.0, &[0], &[1, 2]);
    let found = plan(std::slice::from_ref(&cold), 3, 0);
    assert_eq!(found.steps.len(), 2);
    assert!(found.steps.iter().all(|step| matches!(step, Step::Drop { peer, .. } if *peer != id(0))));
    cold.changed_at = Some(now());
    assert!(plan(std::slice::from_ref(&cold), 3, 0).steps.is_empty());
    cold.changed_at = None;
    cold.demanded = vec![id(1)];
    assert_eq!(plan(&[cold], 3, 0).steps, [Step::Drop { object: 1, peer: id(2) }]);
}

#[test]
fn beyond_the_maximum_copies_go_whatever_the_load() {
    // Each of four is busy for 0.6 of its time; three would be beyond what peers are relieved of.
    let mut hot = object(1, 100, 2.4, &[0], &[1, 2, 3]);
    hot.replicas_max = Some(4);
    assert!(plan(std::slice::from_ref(&hot), 4, 1000).steps.is_empty(), "as many as may be");
    hot.replicas_max = Some(2);
    let plan = plan(&[hot], 4, 1000);
    assert!(plan.steps.iter().all(|step| matches!(step, Step::Drop { .. })), "{plan:?}");
    assert_eq!(plan.steps.len(), 2);
}

#[test]
fn what_a_policy_demands_is_copied_whatever_the_rate() {
    let mut object = object(1, 10, 0.0, &[0], &[]);
    object.demanded = vec![id(0), id(2), id(9)];
    assert_eq!(copies(&plan(&[object], 3, 100)), [(1, id(2))]);
}

/// What is true after the steps.
fn apply(objects: &mut [ObjectFacts<u32>], plan: &Plan<u32>) {
    for step in &plan.steps {
        match step {
            Step::Copy { object, to, .. } => {
                let object = objects.iter_mut().find(|one| one.id == *object).unwrap();
                object.extra.push(to.clone());
            }
            Step::Drop { object, peer } => {
                let object = objects.iter_mut().find(|one| one.id == *object).unwrap();
                object.extra.retain(|holder| holder != peer);
            }
        }
    }
}

fn objects() -> impl Strategy<Value = Vec<ObjectFacts<u32>>> {
    let one = (1_u64..1000, 0.0_f64..3.0, prop::collection::btree_set(0_usize..8, 1..5), 1_usize..4);
    prop::collection::vec(one, 1..12).prop_map(|all| {
        let facts = all.into_iter().enumerate().map(|(number, (bytes, demand, holders, placed))| {
            let holders: Vec<_> = holders.into_iter().collect();
            let (placed, extra) = holders.split_at(placed.min(holders.len()));
            object(number as u32, bytes, demand, placed, extra)
        });
        facts.collect()
    })
}

proptest! {
    #[test]
    fn plans_are_possible(objects in objects(), budget in 0_u64..5000, free in 0_u64..2000) {
        let config = PlannerConfig { steps_max: 10, ..config() };
        let plan = Planner::new(config).plan(now(), &objects, &peers(8, free), budget);
        prop_assert!(plan.steps.len() <= 10);
        let largest = objects.iter().map(|object| object.bytes).max().unwrap();
        prop_assert!(plan.bytes <= budget.max(largest) && (budget > 0 || plan.bytes == 0));
        let mut sent: BTreeMap<&PeerId, u64> = BTreeMap::new();
        let mut touched = BTreeSet::new();
        for step in &plan.steps {
            match step {
                Step::Copy { object, from, to, bytes } => {
                    let object = &objects[*object as usize];
                    prop_assert!(object.is_held_by(from) && !object.is_held_by(to));
                    prop_assert!(touched.insert((object.id, to.clone())), "nobody gets it twice");
                    *sent.entry(to).or_default() += bytes;
                }
                Step::Drop { object, peer } => {
                    let object = &objects[*object as usize];
                    prop_assert!(object.extra.contains(peer), "only extra copies are dropped");
                    prop_assert!(touched.insert((object.id, peer.clone())));
                }
            }
        }
        prop_assert!(sent.values().all(|bytes| *bytes <= free));
    }

    #[test]
    fn plans_come_to_rest(mut objects in objects()) {
        // With the same rates, without cooldowns: no copy is made and dropped for ever.
        let config = PlannerConfig { steps_max: 1000, ..config() };
        let planner = Planner::new(config);
        for _ in 0..40 {
            let plan = planner.plan(now(), &objects, &peers(8, 1 << 30), u64::MAX);
            if plan.steps.is_empty() {
                return Ok(());
            }
            apply(&mut objects, &plan);
        }
        prop_assert!(false, "still moving after 40 plans");
    }

    #[test]
    fn all_that_is_read_gets_its_copies(objects in objects()) {
        let config = PlannerConfig { steps_max: 1000, ..config() };
        let planner = Planner::new(config);
        let mut after = objects.clone();
        apply(&mut after, &planner.plan(now(), &objects, &peers(8, 1 << 30), u64::MAX));
        for object in after {
            let wanted = ((object.demand() / 0.3).ceil() as usize).min(8);
            prop_assert!(object.holders().count() >= wanted, "{object:?} has fewer than {wanted}");
        }
    }
}
