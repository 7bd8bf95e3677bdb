//! How the content of a bucket's new objects becomes chunks: where it is cut, and whether chunks are compressed.
//!
//! **Cut by content** ([`Cutting::Content`], FastCDC: Xia and others, USENIX ATC 2016) the borders of chunks depend on the bytes around them:
//! versions of a file in which something was inserted or removed share all chunks but those that it touches. At the borders of
//! a segment of the manifest content is cut in any case, so that a reader finds the segment of any byte without reading others.
//!
//! **Compressed** ([`Compression::Zstd`]) a chunk is stored under the digest of its compressed bytes. All that moves, repairs and
//! verifies chunks sees nothing else; only manifests know what comes out of them. A chunk that would shrink by less than an eighth is
//! stored as it is.
//!
//! Content that is encrypted is neither: its frames fill chunks exactly, and its length would tell of what is in it.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use cm_policy::{Permit, Read, Update};
use cm_types::{BucketName, RequestId, Sha256Digest};
use fastcdc::v2020::FastCDC;
use serde::{Deserialize, Serialize};

use crate::objects::{Engine, bucket_row, require_bucket};
use crate::tables::{SEGMENT_BYTES, SegmentRow};
use crate::{CHUNK_BYTES, Flaw, ObjectError, Objects};

/// The shortest chunk that is cut by content, unless what follows it is cut in any case.
const CUT_MIN: usize = CHUNK_BYTES / 4;
/// How long they are on average, about.
const CUT_AVERAGE: usize = CHUNK_BYTES / 2;
/// Of zstd: its own default, which is quick and good.
const LEVEL: i32 = 3;

/// How the content of a bucket's new objects becomes chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    /// Where it is cut.
    #[serde(default)]
    pub cutting: Cutting,
    /// What becomes of a chunk.
    #[serde(default)]
    pub compression: Compression,
}

/// Where content is cut into chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cutting {
    /// Every MiB.
    #[default]
    Fixed,
    /// Where the bytes say so, after 256 KiB to 1 MiB.
    Content,
}

/// Whether chunks are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// They are not.
    #[default]
    None,
    /// By Zstandard (RFC 8878).
    Zstd,
}

impl Packing {
    /// How much of the content that comes next becomes the next chunk; `filled` is how much of the segment has come before. Takes about a
    /// millisecond where it is cut by content. Content is not empty.
    pub(crate) fn next_len(self, content: &[u8], filled: u64) -> usize {
        let left = usize::try_from(SEGMENT_BYTES - filled).unwrap_or(usize::MAX);
        let content = &content[..content.len().min(left).min(CHUNK_BYTES)];
        match self.cutting {
            Cutting::Fixed => content.len(),
            Cutting::Content => FastCDC::new(content, CUT_MIN, CUT_AVERAGE, CHUNK_BYTES)
                .next()
                .map_or(content.len(), |chunk| chunk.length),
        }
    }
}

impl Compression {
    /// What is stored of a chunk, and what a manifest says of it.
    pub(crate) fn pack(self, chunk: Bytes) -> (Bytes, Shape) {
        let len = length(&chunk);
        let packed = match self {
            Self::None => None,
            // What cannot be compressed is stored as it is, for whatever reason.
            Self::Zstd => zstd::bulk::compress(&chunk, LEVEL).ok(),
        };
        match packed.filter(|packed| packed.len() <= chunk.len() / 8 * 7) {
            Some(packed) => {
                let packed = Bytes::from(packed);
                let shape = Shape { len, stored: Some(length(&packed)) };
                (packed, shape)
            }
            None => (chunk, Shape { len, stored: None }),
        }
    }
}

fn length(chunk: &[u8]) -> u32 {
    u32::try_from(chunk.len()).expect("a chunk has at most a MiB")
}

/// The content of a chunk that was compressed, of this length.
///
/// # Errors
/// [`Flaw::Packed`]: the manifest is wrong, since the bytes are those that were stored.
pub(crate) fn unpack(stored: &[u8], len: usize) -> Result<Bytes, Flaw> {
    // No more than a chunk may be, whatever the manifest says.
    let content = zstd::bulk::decompress(stored, len.min(CHUNK_BYTES)).map_err(|_| Flaw::Packed)?;
    match content.len() == len {
        true => Ok(content.into()),
        false => Err(Flaw::Packed),
    }
}

/// What a manifest says of a chunk besides its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How much content it has.
    pub(crate) len: u32,
    /// How many bytes are stored of it if it is compressed.
    pub(crate) stored: Option<u32>,
}

/// A chunk at its place in a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) digest: Sha256Digest,
    /// Where it begins.
    pub(crate) start: u64,
    /// How much content it has.
    pub(crate) len: usize,
    /// How many bytes are stored of it if it is compressed.
    pub(crate) packed: Option<usize>,
}

impl Placed {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    /// How many bytes are stored of it.
    pub(crate) fn stored(&self) -> usize {
        self.packed.unwrap_or(self.len)
    }
}

impl SegmentRow {
    pub(crate) fn new(digests: Vec<Sha256Digest>, shapes: &[Shape]) -> Self {
        let full = shapes.split_last().is_none_or(|(_, first)| first.iter().all(Shape::is_full));
        let plain = shapes.iter().all(|shape| shape.stored.is_none());
        let lens = if full { Vec::new() } else { shapes.iter().map(|shape| shape.len).collect() };
        let stored = |shape: &Shape| shape.stored.unwrap_or_default();
        let packed = if plain { Vec::new() } else { shapes.iter().map(stored).collect() };
        Self { digests, lens, packed }
    }

    /// The chunks, where the segment of this number is one of a content of this size.
    pub(crate) fn placed(&self, segment: u64, size: u64) -> Vec<Placed> {
        let mut start = segment.saturating_mul(SEGMENT_BYTES);
        let chunk = |(at, digest): (usize, &Sha256Digest)| {
            let left = size.saturating_sub(start);
            let len = self.lens.get(at).map_or(CHUNK_BYTES, |len| *len as usize);
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(len);
            let packed = self.packed.get(at).map(|len| *len as usize).filter(|len| *len > 0);
            let placed = Placed { digest: *digest, start, len, packed };
            start = placed.end();
            placed
        };
        self.digests.iter().enumerate().map(chunk).collect()
    }
}

impl Shape {
    fn is_full(&self) -> bool {
        self.len as usize == CHUNK_BYTES
    }
}

impl Engine {
    /// How content becomes chunks that is to become them so: not before all programs that may work with the data read such manifests.
    pub(crate) fn packing(&self, wanted: Option<Packing>) -> Packing {
        match self.oldest.load(Ordering::Relaxed) >= self.config.packing_from {
            true => wanted.unwrap_or_default(),
            false => Packing::default(),
        }
    }
}

impl Objects {
    /// How the content of a bucket's new objects becomes chunks.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn packing(&self, permit: &Permit<Read>, bucket: &BucketName) -> Result<Packing, ObjectError> {
        require_bucket(permit, bucket)?;
        let (tenant, bucket) = (permit.tenant().clone(), bucket.clone());
        self.0.db.read(move |tx| Ok(bucket_row(tx, &tenant, &bucket)?.packing.unwrap_or_default())).await
    }

    /// Says how content becomes chunks that is written from now on. What is there stays as it is.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn set_packing(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        packing: Packing,
        request: Option<RequestId>,
    ) -> Result<(), ObjectError> {
        let packing = Some(packing).filter(|packing| *packing != Packing::default());
        let told = ("packing", serde_json::json!(packing));
        self.set_in_bucket(permit, bucket, told, request, move |row| row.packing = packing).await
    }
}
