//! The transactions that count chunks and give them up, so that neither harms the other.

use std::collections::{HashMap, HashSet};

use cm_db::{ReadTx, WriteTx};
use cm_placement::{Redundancy, is_overtaken};
use cm_types::{Sha256Digest, Timestamp};

use super::keeping::Keeping;
use super::tables::{
    CondemnationRow, Condemnations, Condemned, CondemnedRow, ExtraCopies, Rounds, RoundsRow, Short, ShortRow,
};
use crate::ObjectError;
use crate::tables::{ChunkRow, Chunks};

/// What peers have promised about a chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Promise {
    /// As it is to be noted.
    pub(crate) kept: Option<Keeping>,
    /// How the chunk was kept when that was last looked up; `None` if nobody counted on it.
    pub(crate) seen: Option<Option<Keeping>>,
    /// What that means now.
    pub(crate) redundancy: Redundancy,
    /// From before any part of it was stored, or promised anew.
    pub(crate) round: u64,
    /// The layout by which it was placed.
    pub(crate) epoch: u64,
    /// Whether parts are missing, or lie elsewhere than they should.
    pub(crate) is_short: bool,
}

/// Promises by chunks.
pub(crate) type Promises = HashMap<Sha256Digest, Promise>;

/// How a chunk is kept that somebody counts on.
pub(super) fn counted(row: Option<&ChunkRow>) -> Option<Option<Keeping>> {
    row.filter(|row| row.references > 0).map(|row| row.kept)
}

/// The chunks whose promises do not hold any more.
pub(crate) fn overtaken(tx: &ReadTx<'_>, promises: &Promises) -> Result<Vec<Sha256Digest>, ObjectError> {
    if promises.is_empty() {
        return Ok(Vec::new());
    }
    let rounds = tx.get::<Rounds>(&())?.unwrap_or_default();
    let mut overtaken = Vec::new();
    for (digest, promise) in promises {
        let condemned = tx.get::<Condemned>(digest)?.map(|row| row.round);
        let now = counted(tx.get::<Chunks>(digest)?.as_ref());
        // Peers drop what is not in the form in which the chunk is kept by then.
        let is_changed = now.is_some() && now != promise.seen && now != Some(promise.kept);
        let is_late = promise.epoch < rounds.oldest;
        if is_overtaken(promise.round, condemned, rounds.floor) || is_late || is_changed {
            overtaken.push(*digest);
        }
    }
    Ok(overtaken)
}

/// Those of the chunks on which somebody counts already; to be asked before [`note`] and before they are counted once more.
pub(crate) fn counted_before(
    tx: &ReadTx<'_>,
    promises: &Promises,
) -> Result<HashSet<Sha256Digest>, ObjectError> {
    let mut before = HashSet::new();
    for digest in promises.keys() {
        before.extend(counted(tx.get::<Chunks>(digest)?.as_ref()).map(|_| *digest));
    }
    Ok(before)
}

/// Notes how chunks are kept that were just counted, and which of them lack something.
pub(crate) fn note(
    tx: &mut WriteTx<'_>,
    promises: &Promises,
    counted_before: &HashSet<Sha256Digest>,
    default: Redundancy,
    now: Timestamp,
) -> Result<(), ObjectError> {
    let epoch = tx.get::<Rounds>(&())?.unwrap_or_default().epoch;
    for (digest, promise) in promises {
        let Some(row) = tx.get::<Chunks>(digest)? else { continue };
        let others_count = counted_before.contains(digest);
        let of = |kept: Option<Keeping>| kept.and_then(|kept| kept.redundancy().ok()).unwrap_or(default);
        // Somebody else counts on it, too: it stays kept as well as it was.
        let better = promise.redundancy.tolerates() > of(row.kept).tolerates();
        if row.kept != promise.kept && (better || !others_count) {
            let kept = promise.kept;
            tx.put::<Chunks>(digest, &ChunkRow { kept, ..row })?;
        }
        // Whoever looks at everything in a later epoch may be past this chunk already.
        if promise.is_short || promise.epoch != epoch {
            tx.put::<Short>(digest, &ShortRow { since: now })?;
        }
    }
    Ok(())
}

/// Gives up chunks that have no row, or whose row the caller has just removed: peers delete them.
pub(crate) fn condemn(
    tx: &mut WriteTx<'_>,
    digests: &[Sha256Digest],
    now: Timestamp,
) -> Result<(), ObjectError> {
    if digests.is_empty() {
        return Ok(());
    }
    let rounds = tx.get::<Rounds>(&())?.unwrap_or_default();
    let round = rounds.round + 1;
    tx.put::<Rounds>(&(), &RoundsRow { round, ..rounds })?;
    for digest in digests {
        if let Some(earlier) = tx.get::<Condemned>(digest)? {
            tx.delete::<Condemnations>(&(earlier.round, *digest))?;
        }
        tx.put::<Condemned>(digest, &CondemnedRow { round })?;
        tx.put::<Condemnations>(&(round, *digest), &CondemnationRow { at: now })?;
        tx.delete::<Short>(digest)?;
        tx.delete::<ExtraCopies>(digest)?;
    }
    Ok(())
}
