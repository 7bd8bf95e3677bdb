//! The rows behind the objects, and the bookkeeping that must happen in one transaction.

use std::collections::BTreeMap;

use cm_db::{DbError, InvalidKey, Key, KeyPrefix, Row, Table, WriteTx};
use cm_types::{BucketName, ObjectKey, Sha256Digest, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::CHUNK_BYTES;
use crate::cold::tables::{ChunkUses, ColdMark, ColdObjects, ColdTiers, give_up};
use crate::inline::InlineBytes;
use crate::network::keeping::Keeping;
use crate::network::tables::{
    BucketElastics, Condemnations, Condemned, ExtraCopies, Layouts, Rounds, Short, Survey, Swept,
};
use crate::quota::{BucketUsages, TenantUsages};
use crate::rows::{
    BucketRow, FinishedPartRow, LifecycleRow, ObjectRow, OrderRow, PartRow, TagsRow, UploadRow, VersionRow,
};
use crate::settings::{BucketSettings, BucketSharings};

/// The tables of this crate, for the schema.
pub const TABLES: &[&str] = &[
    Buckets::NAME,
    ObjectRows::NAME,
    Manifests::NAME,
    Chunks::NAME,
    IdleChunks::NAME,
    Doomed::NAME,
    Uploads::NAME,
    Parts::NAME,
    EndedUploads::NAME,
    Versions::NAME,
    VersionIds::NAME,
    FinishedParts::NAME,
    Lifecycles::NAME,
    BucketTags::NAME,
    BucketSharings::NAME,
    BucketSettings::NAME,
    Layouts::NAME,
    Rounds::NAME,
    Condemned::NAME,
    Condemnations::NAME,
    Swept::NAME,
    Short::NAME,
    Survey::NAME,
    ExtraCopies::NAME,
    BucketElastics::NAME,
    BucketUsages::NAME,
    TenantUsages::NAME,
    ColdObjects::NAME,
    ChunkUses::NAME,
    ColdTiers::NAME,
    InlineBytes::NAME,
];

/// How much content one row of a manifest is about: 1 GiB, in 1024 chunks, or up to four times as many if it is cut by content; 64 KiB of
/// text or more. Little in unit tests, so that small objects have several segments.
pub(crate) const SEGMENT_BYTES: u64 = (if cfg!(test) { 3 } else { 1024 }) * CHUNK_BYTES as u64;

/// Parts of a version that one transaction forgets.
const PARTS_AT_ONCE: usize = 256;

/// A version as part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct VersionKey(pub(crate) Uuid);

impl Key for VersionKey {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }

    fn decode_from(input: &mut &[u8]) -> Result<Self, InvalidKey> {
        let (head, rest) = input.split_first_chunk::<16>().ok_or(InvalidKey::Short(input.len()))?;
        *input = rest;
        Ok(Self(Uuid::from_bytes(*head)))
    }
}

/// The place of a version among those of its object, the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Newest(pub(crate) u64);

impl Key for Newest {
    fn encode_to(&self, out: &mut Vec<u8>) {
        (!self.0).encode_to(out);
    }

    fn decode_from(input: &mut &[u8]) -> Result<Self, InvalidKey> {
        u64::decode_from(input).map(|inverse| Self(!inverse))
    }
}

/// Declares a table.
macro_rules! table {
    ($(#[doc = $doc:literal])+ $name:ident, $text:literal, $key:ty, $row:ty) => {
        $(#[doc = $doc])+
        pub(crate) struct $name;

        impl cm_db::Table for $name {
            const NAME: &'static str = $text;
            type Key = $key;
            type Row = $row;
        }
    };
}

pub(crate) use table;

table! {
    /// Buckets that take objects.
    Buckets, "object_buckets", (TenantId, BucketName), BucketRow
}
table! {
    /// The visible version of every object.
    ObjectRows, "objects", (TenantId, BucketName, ObjectKey), ObjectRow
}
table! {
    /// The digests of a version's chunks, in segments.
    Manifests, "object_manifests", (VersionKey, u64), SegmentRow
}
table! {
    /// How often a chunk is named by manifests.
    Chunks, "object_chunks", Sha256Digest, ChunkRow
}
table! {
    /// Chunks that no manifest names, by the moment since when.
    IdleChunks, "object_idle_chunks", (Timestamp, Sha256Digest), IdleRow
}
table! {
    /// Versions to be taken apart: replaced, deleted, or not finished yet.
    Doomed, "object_doomed", VersionKey, DoomedRow
}

table! {
    /// Uploads in parts that are under way.
    Uploads, "object_uploads", (TenantId, BucketName, ObjectKey, VersionKey), UploadRow
}
table! {
    /// The parts of an upload, by number. Each is a version of which no object knows.
    Parts, "object_upload_parts", (VersionKey, u16), PartRow
}
table! {
    /// Uploads that ended and whose parts are to be taken apart.
    EndedUploads, "object_ended_uploads", VersionKey, DoomedRow
}

table! {
    /// What an object has been besides what it is: earlier versions and marks of deletion, the newest first.
    Versions, "object_versions", (TenantId, BucketName, ObjectKey, Newest), VersionRow
}
table! {
    /// Where a version stands in `object_versions`, by its id; nil is the null version.
    VersionIds, "object_version_ids", (TenantId, BucketName, ObjectKey, VersionKey), OrderRow
}
table! {
    /// The parts that a version was completed of.
    FinishedParts, "object_finished_parts", (VersionKey, u16), FinishedPartRow
}
table! {
    /// The rules by which objects of a bucket end.
    Lifecycles, "object_lifecycles", (TenantId, BucketName), LifecycleRow
}
table! {
    /// The tags of a bucket.
    BucketTags, "object_bucket_tags", (TenantId, BucketName), TagsRow
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SegmentRow {
    pub(crate) digests: Vec<Sha256Digest>,
    /// How much content each has. None of them if all but the last of the content are full.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lens: Vec<u32>,
    /// How many bytes are stored of each that is compressed, 0 for others. None of them if none is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) packed: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChunkRow {
    pub(crate) references: u64,
    /// Set exactly when there are no references; then there is a row in `object_idle_chunks` too.
    pub(crate) idle_since: Option<Timestamp>,
    /// How it is kept in a storage network; `None` is as the network keeps whatever nothing else was said of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<Keeping>,
    /// Where it lies in the cold tier; it is nowhere else then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cold: Option<ColdMark>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct IdleRow {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DoomedRow {
    pub(crate) since: Timestamp,
    /// Whether segments were taken off already: nobody may add to it or show it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) begun: bool,
}

impl Row for SegmentRow {}
impl Row for ChunkRow {}
impl Row for IdleRow {}
impl Row for DoomedRow {}

fn occurrences(digests: &[Sha256Digest]) -> BTreeMap<Sha256Digest, u64> {
    let mut counts = BTreeMap::new();
    for digest in digests {
        *counts.entry(*digest).or_default() += 1;
    }
    counts
}

/// Adds a segment to a manifest and counts its chunks, which are durable where hot ones are.
pub(crate) fn insert_segment(
    tx: &mut WriteTx<'_>,
    version: Uuid,
    segment: u64,
    row: &SegmentRow,
    now: Timestamp,
) -> Result<(), DbError> {
    for (digest, count) in occurrences(&row.digests) {
        let none = ChunkRow { references: 0, idle_since: None, kept: None, cold: None };
        let old = tx.get::<Chunks>(&digest)?.unwrap_or(none);
        if let Some(since) = old.idle_since {
            tx.delete::<IdleChunks>(&(since, digest))?;
        }
        // Whoever counts it has just made it durable where hot chunks are.
        give_up(tx, &digest, &old, now)?;
        let references = old.references + count;
        tx.put::<Chunks>(&digest, &ChunkRow { references, idle_since: None, cold: None, ..old })?;
    }
    tx.insert::<Manifests>(&(VersionKey(version), segment), row)
}

/// Takes the first remaining segment off a doomed version, or the version off the list when none is left.
/// Whether there is more to do: not with a version that was spared since the caller saw it on the list.
pub(crate) fn dismantle(tx: &mut WriteTx<'_>, version: Uuid, now: Timestamp) -> Result<bool, DbError> {
    let version = VersionKey(version);
    let Some(doomed) = tx.get::<Doomed>(&version)? else { return Ok(false) };
    let first = tx.prefix::<Manifests>(KeyPrefix::new().part(&version), None, 1)?.pop();
    if !doomed.begun {
        tx.put::<Doomed>(&version, &DoomedRow { begun: true, ..doomed })?;
    }
    let Some((key, row)) = first else {
        let parts = tx.prefix::<FinishedParts>(KeyPrefix::new().part(&version), None, PARTS_AT_ONCE)?;
        for (key, _) in &parts {
            tx.delete::<FinishedParts>(key)?;
        }
        if parts.is_empty() {
            tx.delete::<InlineBytes>(&version)?;
            tx.delete::<Doomed>(&version)?;
        }
        return Ok(!parts.is_empty());
    };
    for (digest, count) in occurrences(&row.digests) {
        let Some(old) = tx.get::<Chunks>(&digest)? else { continue };
        let references = old.references.saturating_sub(count);
        if let Some(since) = old.idle_since {
            tx.delete::<IdleChunks>(&(since, digest))?;
        }
        let idle_since = (references == 0).then_some(now);
        if let Some(since) = idle_since {
            tx.put::<IdleChunks>(&(since, digest), &IdleRow {})?;
        }
        tx.put::<Chunks>(&digest, &ChunkRow { references, idle_since, ..old })?;
    }
    tx.delete::<Manifests>(&key)?;
    Ok(true)
}
