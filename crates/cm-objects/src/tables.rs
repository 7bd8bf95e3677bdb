//! The rows behind the objects, and the bookkeeping that must happen in one transaction.

use std::collections::BTreeMap;

use cm_db::{DbError, InvalidKey, Key, KeyPrefix, Row, Table, WriteTx};
use cm_types::{BucketName, ObjectKey, PrincipalId, Sha256Digest, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
];

/// How many digests one row of a manifest holds: 64 KiB of text, and 1 GiB of an object. Few in unit tests,
/// so that small objects have several segments.
pub(crate) const SEGMENT_CHUNKS: usize = if cfg!(test) { 3 } else { 1024 };

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

macro_rules! table {
    ($(#[doc = $doc:literal])+ $name:ident, $text:literal, $key:ty, $row:ty) => {
        $(#[doc = $doc])+
        pub(crate) struct $name;

        impl Table for $name {
            const NAME: &'static str = $text;
            type Key = $key;
            type Row = $row;
        }
    };
}

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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BucketRow {
    pub(crate) created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ObjectRow {
    pub(crate) size: u64,
    pub(crate) sha256: Sha256Digest,
    pub(crate) version: Uuid,
    pub(crate) content_type: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    /// The entity tag, where it is another than the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    pub(crate) created_at: Timestamp,
}

impl ObjectRow {
    pub(crate) fn etag(&self) -> String {
        self.tag.clone().unwrap_or_else(|| self.sha256.to_string())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct UploadRow {
    pub(crate) owner: Option<PrincipalId>,
    pub(crate) content_type: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartRow {
    pub(crate) size: u64,
    pub(crate) sha256: Sha256Digest,
    pub(crate) md5: String,
    pub(crate) version: Uuid,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SegmentRow {
    pub(crate) digests: Vec<Sha256Digest>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChunkRow {
    pub(crate) references: u64,
    /// Set exactly when there are no references; then there is a row in `object_idle_chunks` too.
    pub(crate) idle_since: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct IdleRow {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DoomedRow {
    pub(crate) since: Timestamp,
}

impl Row for BucketRow {}
impl Row for ObjectRow {}
impl Row for SegmentRow {}
impl Row for ChunkRow {}
impl Row for IdleRow {}
impl Row for DoomedRow {}
impl Row for UploadRow {}
impl Row for PartRow {}

fn occurrences(digests: &[Sha256Digest]) -> BTreeMap<Sha256Digest, u64> {
    let mut counts = BTreeMap::new();
    for digest in digests {
        *counts.entry(*digest).or_default() += 1;
    }
    counts
}

/// Adds a segment to a manifest and counts its chunks.
pub(crate) fn insert_segment(
    tx: &mut WriteTx<'_>,
    version: Uuid,
    segment: u64,
    digests: Vec<Sha256Digest>,
) -> Result<(), DbError> {
    for (digest, count) in occurrences(&digests) {
        let old = tx.get::<Chunks>(&digest)?.unwrap_or(ChunkRow { references: 0, idle_since: None });
        if let Some(since) = old.idle_since {
            tx.delete::<IdleChunks>(&(since, digest))?;
        }
        tx.put::<Chunks>(&digest, &ChunkRow { references: old.references + count, idle_since: None })?;
    }
    tx.insert::<Manifests>(&(VersionKey(version), segment), &SegmentRow { digests })
}

/// Takes the first remaining segment off a doomed version, or the version off the list when none is left.
/// Whether there is more to do.
pub(crate) fn dismantle(tx: &mut WriteTx<'_>, version: Uuid, now: Timestamp) -> Result<bool, DbError> {
    let version = VersionKey(version);
    let first = tx.prefix::<Manifests>(KeyPrefix::new().part(&version), None, 1)?.pop();
    let Some((key, row)) = first else {
        tx.delete::<Doomed>(&version)?;
        return Ok(false);
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
        tx.put::<Chunks>(&digest, &ChunkRow { references, idle_since })?;
    }
    tx.delete::<Manifests>(&key)?;
    Ok(true)
}
