//! What goes wrong.

use std::time::Duration;

use cm_quorum::{Change, MemberId, Rng};

use crate::Weather;

/// One fault.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Crash { node: usize, back_after: Duration },
    Pause { node: usize, time: Duration },
    Part { cut: Vec<(u64, u64)>, heal_after: Duration },
    Weather(Weather),
    Clock { node: usize, drift: i64 },
    SlowDisk { node: usize, flush_max: Duration, copy_max: Duration },
    HandOver,
    Change(Change),
}

impl Fault {
    pub(super) fn choose(rng: &mut Rng, nodes: usize) -> Fault {
        let node = rng.below(nodes as u64) as usize;
        let ms = Duration::from_millis;
        match rng.below(100) {
            0..25 => Fault::Crash { node, back_after: rng.duration(ms(50), ms(4000)) },
            25..45 => {
                Fault::Part { cut: parts(rng, nodes as u64), heal_after: rng.duration(ms(300), ms(4000)) }
            }
            45..58 => Fault::Pause { node, time: rng.duration(ms(100), ms(3000)) },
            58..72 => Fault::Weather(weather(rng)),
            72..78 => Fault::Clock { node, drift: rng.below(400) as i64 - 200 },
            78..84 => Fault::SlowDisk {
                node,
                flush_max: rng.duration(ms(1), ms(800)),
                copy_max: rng.duration(ms(1), ms(5000)),
            },
            84..90 => Fault::HandOver,
            _ => Fault::Change(change(rng, nodes as u64)),
        }
    }
}

/// Some on one side, the others on the other; sometimes only one way.
fn parts(rng: &mut Rng, nodes: u64) -> Vec<(u64, u64)> {
    let side = rng.number();
    let (one_way, is_left) = (rng.per_mille(300), |node: u64| side >> node & 1 == 1);
    let mut cut = Vec::new();
    for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))) {
        if is_left(from) && !is_left(to) || !one_way && !is_left(from) && is_left(to) {
            cut.push((from, to));
        }
    }
    cut
}

fn weather(rng: &mut Rng) -> Weather {
    if rng.per_mille(350) {
        return Weather::default();
    }
    Weather {
        lost_per_mille: rng.below(300),
        twice_per_mille: rng.below(200),
        late_per_mille: rng.below(100),
        delay_max: rng.duration(Duration::from_millis(1), Duration::from_millis(60)),
    }
}

fn change(rng: &mut Rng, nodes: u64) -> Change {
    // Now and then somebody who never was, such as one whose disk is lost.
    let never = rng.per_mille(80);
    let id = MemberId(if never { nodes + rng.below(2) } else { rng.below(nodes) });
    match rng.below(5) {
        0 => Change::Remove { id },
        1 | 2 => Change::Promote { id },
        _ => Change::Add { id, contact: format!("node {id}") },
    }
}
