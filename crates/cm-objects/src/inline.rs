//! Small versions, whose bytes are a row instead of chunks: one commit makes them durable together with their name, one
//! transaction finds both, and nothing else is asked of the disk. Wherever the tables are, and as safe as they are, there are these bytes.
//!
//! Such a version has no manifest and its bytes are shared with no other. What is written as a row or as a chunk is decided by
//! [`Config::inline_bytes_max`](crate::Config::inline_bytes_max) when it is written; both are read whatever it says now. No row is written
//! before every program that may work with the data reads them ([`Config::inline_from`](crate::Config::inline_from)).

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use cm_crypto::digest::sha256;
use cm_db::{DbError, ReadTx, Row};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::objects::Engine;
use crate::tables::{VersionKey, table};
use crate::{Flaw, ObjectError, ObjectInfo};

/// The most that may be written as a row, in bytes. What is shorter is hashed where it is, without another thread.
pub const INLINE_BYTES_CEILING: usize = 16 << 10;

table! {
    /// What is stored of versions that have no chunks.
    InlineBytes, "object_inline", VersionKey, InlineRow
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InlineRow {
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub(crate) bytes: Bytes,
}

impl Row for InlineRow {}

fn as_text<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    BASE64_STANDARD.decode(text.as_bytes()).map(Bytes::from).map_err(D::Error::custom)
}

/// What is stored of the version, unverified, if it has no chunks.
pub(crate) fn look(tx: &ReadTx<'_>, info: &ObjectInfo) -> Result<Option<Bytes>, DbError> {
    let (length, _) = info.stored();
    if !(1..=INLINE_BYTES_CEILING as u64).contains(&length) {
        return Ok(None);
    }
    Ok(tx.get::<InlineBytes>(&VersionKey(info.version))?.map(|row| row.bytes))
}

/// Compares what is stored with what was written.
///
/// # Errors
/// [`Flaw::Truncated`], [`Flaw::Altered`].
pub(crate) fn verify(info: &ObjectInfo, bytes: &Bytes) -> Result<(), Flaw> {
    let (expected, digest) = info.stored();
    if (bytes.len() as u64) < expected {
        return Err(Flaw::Truncated { expected, found: bytes.len() as u64 });
    }
    match sha256(bytes) {
        found if found == digest => Ok(()),
        found => Err(Flaw::Altered { found }),
    }
}

impl Engine {
    /// The most that is written as a row, in bytes.
    pub(crate) fn inline_bytes_max(&self) -> usize {
        match self.oldest.load(Ordering::Relaxed) >= self.config.inline_from {
            true => self.config.inline_bytes_max.min(INLINE_BYTES_CEILING),
            false => 0,
        }
    }

    /// As [`look`], in a transaction of its own.
    pub(crate) async fn inline_bytes(&self, info: &ObjectInfo) -> Result<Option<Bytes>, ObjectError> {
        let info = info.clone();
        self.db.look_up(move |tx| Ok(look(tx, &info)?)).await
    }
}
