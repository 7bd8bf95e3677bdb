//! What is known of the cold tier, in the database that all nodes share.

use cm_db::{DbError, Direction, KeyRange, ReadTx, Row, WriteTx};
use cm_types::{Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::WAITING_COUNTED_MAX;
use crate::ObjectError;
use crate::tables::{ChunkRow, table};

table! {
    /// Names in the cold service that no chunk has: those being written, and those to be deleted.
    ColdObjects, "object_cold_objects", String, ColdObjectRow
}
table! {
    /// When chunks were last read whose buckets have a cold tier.
    ChunkUses, "object_chunk_uses", Sha256Digest, UseRow
}
table! {
    /// How much lies in the cold service; one row.
    ColdTiers, "object_cold_tier", (), ColdState
}

/// Where a chunk lies that is nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ColdMark {
    /// Its name in the service.
    pub(crate) name: String,
    /// How long it is.
    pub(crate) len: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ColdObjectRow {
    pub(crate) digest: Sha256Digest,
    pub(crate) since: Timestamp,
    /// Whether it is being deleted: no chunk may get this name any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) doomed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UseRow {
    pub(crate) at: Timestamp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ColdState {
    pub(crate) chunks: u64,
    pub(crate) bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) looked_at: Option<Timestamp>,
}

impl Row for ColdObjectRow {}
impl Row for UseRow {}
impl Row for ColdState {}

/// Counts a chunk that lies in the service from now on.
pub(super) fn count(tx: &mut WriteTx<'_>, mark: &ColdMark) -> Result<(), DbError> {
    let state = tx.get::<ColdTiers>(&())?.unwrap_or_default();
    let (chunks, bytes) = (state.chunks + 1, state.bytes + u64::from(mark.len));
    tx.put::<ColdTiers>(&(), &ColdState { chunks, bytes, ..state })
}

/// Gives up the name of a chunk whose row goes, or that lies elsewhere from now on.
pub(crate) fn give_up(
    tx: &mut WriteTx<'_>,
    digest: &Sha256Digest,
    row: &ChunkRow,
    since: Timestamp,
) -> Result<(), DbError> {
    let Some(mark) = &row.cold else { return Ok(()) };
    tx.put::<ColdObjects>(&mark.name, &ColdObjectRow { digest: *digest, since, doomed: false })?;
    let state = tx.get::<ColdTiers>(&())?.unwrap_or_default();
    let (chunks, bytes) = (state.chunks.saturating_sub(1), state.bytes.saturating_sub(mark.len.into()));
    tx.put::<ColdTiers>(&(), &ColdState { chunks, bytes, ..state })
}

/// Forgets a chunk whose row goes.
pub(crate) fn forget(
    tx: &mut WriteTx<'_>,
    digest: &Sha256Digest,
    row: &ChunkRow,
    since: Timestamp,
) -> Result<(), DbError> {
    tx.delete::<ChunkUses>(digest)?;
    give_up(tx, digest, row, since)
}

pub(super) fn waiting(tx: &ReadTx<'_>) -> Result<u64, ObjectError> {
    Ok(tx.range::<ColdObjects>(KeyRange::all(), Direction::Forward, WAITING_COUNTED_MAX)?.len() as u64)
}
