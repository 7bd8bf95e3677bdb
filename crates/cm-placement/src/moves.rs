//! What has to move when the layout changes.

use std::collections::BTreeSet;

use cm_types::{PeerId, Sha256Digest};

use crate::{Layout, Redundancy};

/// A part of a chunk that a peer of the new layout does not have yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which chunk.
    pub digest: Sha256Digest,
    /// Who is to hold the part.
    pub to: PeerId,
    /// Who held it and does not have to any more, once the new holder has it. `None` if there are more holders than before.
    pub leaves: Option<PeerId>,
    /// Where the part comes from.
    pub source: Source,
}

/// Where the part that moves comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From this peer, as it is.
    Copy(PeerId),
    /// A shard whose holder is gone, made anew from the shards of these.
    Rebuild(Vec<PeerId>),
    /// From nobody: too few of the old holders are left.
    Lost,
}

/// The moves that lead from the holders in one epoch to those in the next, for one chunk; none if they are the same.
///
/// Who stays keeps the part that it has, so that a shard never changes its number where it lies: each newcomer takes the
/// part of one that leaves. Shards therefore carry their number with them, and readers ask the holders which they have.
pub fn moves(from: &Layout, to: &Layout, redundancy: Redundancy, digest: &Sha256Digest) -> Vec<Move> {
    let old = from.holders(digest, redundancy.width());
    let new = to.holders(digest, redundancy.width());
    let old_set: BTreeSet<_> = old.iter().copied().collect();
    let new_set: BTreeSet<_> = new.iter().copied().collect();
    // Whom the new layout does not know any more was removed: nothing can be expected of it.
    let serving: Vec<_> = old.iter().copied().filter(|peer| to.serves(peer)).collect();
    let mut leavers = old.iter().copied().filter(|peer| !new_set.contains(peer));
    let joiners = new.iter().copied().filter(|peer| !old_set.contains(peer));
    joiners
        .map(|joiner| {
            let leaver = leavers.next();
            let source = source(leaver.filter(|leaver| to.serves(leaver)), &serving, redundancy);
            Move { digest: *digest, to: joiner.clone(), leaves: leaver.cloned(), source }
        })
        .collect()
}

fn source(leaver: Option<&PeerId>, serving: &[&PeerId], redundancy: Redundancy) -> Source {
    if let Some(leaver) = leaver {
        return Source::Copy(leaver.clone());
    }
    match (redundancy.shards(), serving) {
        (None, [first, ..]) => Source::Copy((*first).clone()),
        (Some((data, _)), serving) if serving.len() >= data => {
            Source::Rebuild(serving.iter().take(data).map(|peer| (*peer).clone()).collect())
        }
        _ => Source::Lost,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Change, Domain};

    fn id(number: usize) -> PeerId {
        format!("peer-{number}").parse().unwrap()
    }

    fn layout(count: usize) -> Layout {
        let domain = |number: usize| Domain::parse(format!("d{}", number % 4)).unwrap();
        let add = |number| Change::Add { peer: id(number), capacity_bytes: 1 << 30, domain: domain(number) };
        Layout::empty().change(&(0..count).map(add).collect::<Vec<_>>()).unwrap()
    }

    fn redundancy() -> impl Strategy<Value = Redundancy> {
        prop_oneof![
            (1_usize..5).prop_map(|n| Redundancy::replicas(n).unwrap()),
            (1_usize..5, 1_usize..4).prop_map(|(k, m)| Redundancy::erasure(k, m).unwrap()),
        ]
    }

    fn change(number: usize, kind: usize) -> Change {
        match kind {
            0 => Change::Drain(id(number)),
            1 => Change::DeclareGone(id(number)),
            2 => Change::Resize { peer: id(number), capacity_bytes: 5 << 30 },
            _ => Change::Add {
                peer: id(number + 100),
                capacity_bytes: 1 << 30,
                domain: Domain::parse("new").unwrap(),
            },
        }
    }

    #[test]
    fn a_drained_peer_hands_over_and_a_lost_one_is_made_up_for() {
        let before = layout(6);
        let digest = Sha256Digest::from_bytes([7; 32]);
        let coded = Redundancy::erasure(3, 2).unwrap();
        let leaver = before.holders(&digest, 5)[1].clone();
        let drained = before.change(&[Change::Drain(leaver.clone())]).unwrap();
        let found = moves(&before, &drained, coded, &digest);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (&found[0].source, &found[0].leaves),
            (&Source::Copy(leaver.clone()), &Some(leaver.clone()))
        );
        let gone = before.change(&[Change::DeclareGone(leaver.clone())]).unwrap();
        let found = moves(&before, &gone, coded, &digest);
        assert!(matches!(&found[..], [Move { source: Source::Rebuild(peers), .. }]
            if peers.len() == 3 && !peers.contains(&leaver)));
        let all: Vec<_> = before.peers().map(|(id, _)| Change::DeclareGone(id.clone())).collect();
        let add = change(1, 3);
        let empty = before.change(&[all, vec![add]].concat()).unwrap();
        assert!(moves(&before, &empty, coded, &digest).iter().all(|one| one.source == Source::Lost));
    }

    proptest! {
        #[test]
        fn after_the_moves_everything_is_where_it_belongs(
            count in 1_usize..10,
            redundancy in redundancy(),
            changes in prop::collection::vec((0_usize..10, 0_usize..4), 1..4),
            bytes: [u8; 32],
        ) {
            let before = layout(count);
            let mut after = before.clone();
            for (number, kind) in changes {
                if let Ok(next) = after.change(&[change(number, kind)]) {
                    after = next;
                }
            }
            let digest = Sha256Digest::from_bytes(bytes);
            let mut held: BTreeSet<_> = before.holders(&digest, redundancy.width()).into_iter().cloned().collect();
            let stayed: BTreeSet<_> = held.clone();
            for one in moves(&before, &after, redundancy, &digest) {
                prop_assert!(!stayed.contains(&one.to), "who has a part keeps it");
                if let Source::Copy(from) = &one.source {
                    prop_assert!(stayed.contains(from) && after.serves(from));
                }
                if let Some(leaver) = &one.leaves {
                    prop_assert!(held.remove(leaver));
                }
                prop_assert!(held.insert(one.to));
            }
            let wanted: BTreeSet<_> = after.holders(&digest, redundancy.width()).into_iter().cloned().collect();
            prop_assert!(wanted.is_subset(&held));
            prop_assert!(wanted.len() < redundancy.width() || wanted == held);
        }
    }
}
