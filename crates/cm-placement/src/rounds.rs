//! What keeps deletions from harming those who count on a chunk that is there already.
//!
//! Rounds are numbers that a database hands out, which all nodes share. To *condemn* chunks is to raise the round and note the digests with it, in the
//! transaction that finds that nothing names them. A peer keeps with each part the latest round in which it was promised to a writer. A
//! writer takes the current round before it stores or asks, and names it to peers. Then two rules are enough, whatever is late or
//! lost: a peer deletes only what was promised before the round of the condemnation ([`may_delete`]), and the transaction that counts
//! a chunk refuses it if it was condemned after the writer's round ([`is_overtaken`]). For whoever counts a chunk promised it in a round not before
//! its last condemnation, which no deletion touches; and a later condemnation finds it counted.

/// Whether a peer may delete a part that was last promised in this round, because its chunk was condemned in that one.
pub fn may_delete(promised: u64, condemned: u64) -> bool {
    promised < condemned
}

/// Whether a promise of this round does not hold any more. `condemned` is the last round in which the chunk was, if that is still known, and of
/// rounds before `floor` nothing is.
pub fn is_overtaken(promised: u64, condemned: Option<u64>, floor: u64) -> bool {
    promised < floor || condemned.is_some_and(|condemned| may_delete(promised, condemned))
}
