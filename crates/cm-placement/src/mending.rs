//! What one chunk lacks, and what of it is too much.

use std::collections::{BTreeMap, BTreeSet};

use cm_types::PeerId;

use crate::Redundancy;

/// Which parts of a chunk each peer has. Of copies the only number is 0.
pub type Held = BTreeMap<PeerId, BTreeSet<usize>>;

/// A part that a peer is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Which part; 0 of copies.
    pub part: usize,
    /// Who gets it.
    pub to: PeerId,
    /// Who has it as it is. Without anybody it is made anew from other shards.
    pub from: Vec<PeerId>,
}

/// What is to be done about a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mending {
    /// The parts that peers are to get; none if all is as it should be.
    pub pulls: Vec<Pull>,
    /// How many different parts (or copies) there are at all.
    pub surviving: usize,
    /// Whether enough is there to read the chunk.
    pub is_readable: bool,
}

/// Which number each of the wanted holders keeps, of those that it has.
fn claims<'a>(redundancy: Redundancy, wanted: &'a [PeerId], held: &Held) -> BTreeMap<usize, &'a PeerId> {
    let mut claims = BTreeMap::new();
    for peer in wanted {
        let parts = held.get(peer).into_iter().flatten();
        // Copies are alike: each of them is a number of its own here.
        if redundancy.shards().is_none() {
            if parts.clone().next().is_some() {
                claims.insert(claims.len(), peer);
            }
        } else if let Some(part) = parts.clone().find(|part| !claims.contains_key(*part)) {
            claims.insert(*part, peer);
        }
    }
    claims
}

/// What is to be done so that each of the wanted holders, the best first, has a part, all of them different. With fewer holders than
/// shards, some get more than one; with fewer than copies, there are fewer copies.
pub fn mend(redundancy: Redundancy, wanted: &[PeerId], held: &Held) -> Mending {
    let width = redundancy.width();
    let wanted = &wanted[..wanted.len().min(width)];
    if redundancy.shards().is_none() {
        let from: Vec<PeerId> =
            held.iter().filter(|(_, parts)| !parts.is_empty()).map(|(peer, _)| peer.clone()).collect();
        let lacking = wanted.iter().filter(|peer| !from.contains(peer));
        let pulls = match from.is_empty() {
            true => Vec::new(),
            false => lacking.map(|to| Pull { part: 0, to: to.clone(), from: from.clone() }).collect(),
        };
        return Mending { pulls, surviving: from.len(), is_readable: !from.is_empty() };
    }
    let numbers: BTreeSet<usize> = held.values().flatten().copied().filter(|part| *part < width).collect();
    let mut mending = Mending {
        pulls: Vec::new(),
        surviving: numbers.len(),
        is_readable: numbers.len() >= redundancy.needed(),
    };
    if !mending.is_readable || wanted.is_empty() {
        return mending;
    }
    let claimed = claims(redundancy, wanted, held);
    let having: BTreeSet<&PeerId> = claimed.values().copied().collect();
    let mut free: Vec<usize> = (0..width).filter(|part| !claimed.contains_key(part)).collect();
    // What lies elsewhere is moved; that is cheaper than making it anew.
    free.sort_by_key(|part| !numbers.contains(part));
    let mut lacking: Vec<&PeerId> = wanted.iter().filter(|peer| !having.contains(peer)).collect();
    let mut turn = wanted.iter().cycle();
    for part in free {
        let already = |peer: &PeerId| held.get(peer).is_some_and(|parts| parts.contains(&part));
        let to = match lacking.is_empty() {
            false => lacking.remove(0),
            // Fewer peers than shards: whoever has it anyway keeps it.
            true if wanted.iter().any(already) => continue,
            true => turn.next().expect("there is somebody, looked at above"),
        };
        let from = held.iter().filter(|(_, parts)| parts.contains(&part)).map(|(peer, _)| peer.clone());
        mending.pulls.push(Pull { part, to: to.clone(), from: from.collect() });
    }
    mending
}

/// Whether what peers have is enough to acknowledge a write of the chunk: it survives the loss of as many of them as
/// [`Redundancy::promise`] says. With very many holders the answer may be no though it does.
pub fn is_promised(redundancy: Redundancy, held: &Held) -> bool {
    let losses = redundancy.promise();
    if redundancy.shards().is_none() {
        let copies = held.values().filter(|parts| !parts.is_empty());
        return redundancy.survives(copies.map(|_| 1), losses);
    }
    // Each shard counted for one of its holders only: quick, and enough unless peers have several in common.
    let mut numbers = BTreeSet::new();
    let once = |parts: &BTreeSet<usize>| parts.iter().filter(|part| numbers.insert(**part)).count();
    let counts: Vec<usize> = held.values().map(once).collect();
    let all: Vec<&BTreeSet<usize>> = held.values().filter(|parts| !parts.is_empty()).collect();
    redundancy.survives(counts, losses)
        || (all.len() <= HOLDERS_TRIED_MAX
            && losses <= LOSSES_TRIED_MAX
            && survives_any(&all, losses, 0, &mut Vec::new(), redundancy.needed()))
}

/// Every choice of so many of so many holders is looked at, 560 at most.
const HOLDERS_TRIED_MAX: usize = 16;
const LOSSES_TRIED_MAX: usize = 3;

fn survives_any(
    all: &[&BTreeSet<usize>],
    losses: usize,
    from: usize,
    lost: &mut Vec<usize>,
    needed: usize,
) -> bool {
    if lost.len() == losses.min(all.len()) {
        let left = all.iter().enumerate().filter(|(n, _)| !lost.contains(n));
        return left.flat_map(|(_, parts)| parts.iter()).collect::<BTreeSet<_>>().len() >= needed;
    }
    (from..all.len()).all(|n| {
        lost.push(n);
        let survives = survives_any(all, losses, n + 1, lost, needed);
        lost.pop();
        survives
    })
}

/// Whether a peer may drop a part: every wanted holder has what it should have without it. `None` is a part of another form than the chunk is
/// kept in now. Peers that see the same come to different answers about the same part, so that both may drop what they may.
pub fn is_surplus(
    redundancy: Redundancy,
    wanted: &[PeerId],
    held: &Held,
    peer: &PeerId,
    part: Option<usize>,
) -> bool {
    let width = redundancy.width();
    let wanted = &wanted[..wanted.len().min(width)];
    let mut keepers = claims(redundancy, wanted, held);
    if keepers.len() < width.min(wanted.len()) || wanted.is_empty() {
        return false;
    }
    if redundancy.shards().is_none() {
        return part.is_none() || !wanted.contains(peer);
    }
    // With fewer peers than shards some keep a second one.
    for holder in wanted {
        for part in held.get(holder).into_iter().flatten().filter(|part| **part < width) {
            keepers.entry(*part).or_insert(holder);
        }
    }
    keepers.len() == width && part.and_then(|part| keepers.get(&part)) != Some(&peer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: usize) -> PeerId {
        format!("p{n}").parse().unwrap()
    }

    fn held(parts: &[(usize, &[usize])]) -> Held {
        parts.iter().map(|(peer, parts)| (id(*peer), parts.iter().copied().collect())).collect()
    }

    #[test]
    fn copies_are_made_where_they_lack_and_dropped_where_nobody_wants_them() {
        let three = Redundancy::replicas(3).unwrap();
        let wanted = [id(0), id(1), id(2)];
        let now = held(&[(0, &[0]), (4, &[0])]);
        let mending = mend(three, &wanted, &now);
        assert_eq!(mending.pulls.iter().map(|pull| pull.to.clone()).collect::<Vec<_>>(), [id(1), id(2)]);
        assert!(!is_surplus(three, &wanted, &now, &id(4), Some(0)), "not before the others have it");
        let then = held(&[(0, &[0]), (1, &[0]), (2, &[0]), (4, &[0])]);
        assert_eq!(mend(three, &wanted, &then).pulls, []);
        assert!(is_surplus(three, &wanted, &then, &id(4), Some(0)));
        assert!(!is_surplus(three, &wanted, &then, &id(1), Some(0)));
        assert!(is_surplus(three, &wanted, &then, &id(1), None), "a shard of what is kept in copies now");
        assert!(!mend(three, &wanted, &Held::new()).is_readable);
    }

    #[test]
    fn a_promise_looks_at_every_loss() {
        let coded = Redundancy::erasure(3, 2).unwrap();
        assert!(is_promised(coded, &held(&[(0, &[0]), (1, &[1]), (2, &[2]), (3, &[3])])));
        assert!(
            !is_promised(coded, &held(&[(0, &[0, 1]), (1, &[2]), (2, &[3])])),
            "without p0 there are two"
        );
        assert!(is_promised(coded, &held(&[(0, &[0, 1]), (1, &[2, 3]), (2, &[4])])));
        assert!(!is_promised(coded, &held(&[(0, &[0]), (1, &[0]), (2, &[1]), (3, &[2])])));
        assert!(is_promised(coded, &held(&[(0, &[1, 3, 4]), (1, &[1, 4]), (2, &[0, 2, 4]), (5, &[3])])));
        assert!(!is_promised(coded, &Held::new()));
        let three = Redundancy::replicas(3).unwrap();
        assert!(is_promised(three, &held(&[(0, &[0]), (4, &[0])])));
        assert!(!is_promised(three, &held(&[(0, &[0]), (4, &[])])));
    }

    #[test]
    fn shards_are_moved_or_made_anew() {
        let coded = Redundancy::erasure(2, 1).unwrap();
        let wanted = [id(0), id(1), id(2)];
        let mending = mend(coded, &wanted, &held(&[(0, &[0]), (9, &[2])]));
        assert_eq!(mending.pulls[0], Pull { part: 2, to: id(1), from: vec![id(9)] });
        assert_eq!(mending.pulls[1], Pull { part: 1, to: id(2), from: vec![] });
        assert!(!mend(coded, &wanted, &held(&[(0, &[0])])).is_readable);
    }

    proptest! {
        #[test]
        fn mending_makes_whole_and_dropping_what_is_surplus_keeps_it_so(
            coded: bool,
            at_once: bool,
            parts in prop::collection::btree_map(0_usize..7, prop::collection::btree_set(0_usize..5, 1..4), 1..7),
            peers in 3_usize..7,
        ) {
            let redundancy = if coded { Redundancy::erasure(3, 2) } else { Redundancy::replicas(3) }.unwrap();
            let copy = BTreeSet::from([0]);
            let mut held: Held =
                parts.into_iter().map(|(n, parts)| (id(n), if coded { parts } else { copy.clone() })).collect();
            let wanted: Vec<_> = (0..peers.min(redundancy.width())).map(id).collect();
            let mending = mend(redundancy, &wanted, &held);
            prop_assume!(mending.is_readable);
            for pull in mending.pulls {
                held.entry(pull.to).or_default().insert(pull.part);
            }
            prop_assert_eq!(mend(redundancy, &wanted, &held).pulls, [], "once is enough: {:?}", &held);
            // Everybody drops what is too much, all of them at once, or one after the other, each seeing what the others have left.
            let before = held.clone();
            let all: Vec<_> = held.iter().flat_map(|(peer, parts)| parts.iter().map(|part| (peer.clone(), *part))).collect();
            for (peer, part) in all {
                let seen = if at_once { &before } else { &held };
                if is_surplus(redundancy, &wanted, seen, &peer, Some(part)) {
                    held.get_mut(&peer).unwrap().remove(&part);
                }
            }
            let after = mend(redundancy, &wanted, &held);
            prop_assert!(after.is_readable && after.pulls.is_empty(), "{held:?}");
            let left: usize = held.values().map(BTreeSet::len).sum();
            let expected = if coded { redundancy.width() } else { wanted.len() };
            prop_assert_eq!(left, expected, "{:?}", &held);
        }
    }
}
