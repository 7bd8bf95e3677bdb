//! A peer: a disk that keeps parts, and what the peer says about them.

use std::collections::BTreeMap;

use cm_placement::may_delete;

use super::database::Chunk;

/// One peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// The round of each part.
    pub(super) disk: BTreeMap<(Chunk, usize), u64>,
    pub(super) is_down: bool,
    /// Whether it stands still: what it was about to do it does later.
    pub(super) is_paused: bool,
    /// Rises with every crash: what was begun before does not go on.
    pub(super) life: u64,
}

impl Peer {
    /// Makes a part durable, promised in this round.
    pub(super) fn keep(&mut self, chunk: Chunk, part: usize, round: u64) {
        let kept = self.disk.entry((chunk, part)).or_insert(round);
        *kept = round.max(*kept);
    }

    /// Which parts it has, promised in this round from now on.
    pub(super) fn hold(&mut self, chunk: Chunk, round: Option<u64>, forgetful: bool) -> Vec<usize> {
        let mut parts = Vec::new();
        for ((_, part), kept) in self.disk.range_mut((chunk, 0)..=(chunk, usize::MAX)) {
            if let Some(round) = round.filter(|_| !forgetful) {
                *kept = round.max(*kept);
            }
            parts.push(*part);
        }
        parts
    }

    /// Deletes what was not promised since. How many parts, and how many were spared.
    pub(super) fn delete(&mut self, chunk: Chunk, condemned: u64) -> (u64, u64) {
        let before = self.parts(chunk);
        self.disk.retain(|(of, _), round| *of != chunk || !may_delete(*round, condemned));
        let after = self.parts(chunk);
        (before - after, after)
    }

    fn parts(&self, chunk: Chunk) -> u64 {
        self.disk.range((chunk, 0)..=(chunk, usize::MAX)).count() as u64
    }
}
