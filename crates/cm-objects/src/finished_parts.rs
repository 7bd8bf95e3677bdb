//! The parts that an object was completed of: where each lies in it.

use std::collections::BTreeMap;
use std::ops::Range;

use cm_db::{KeyPrefix, ReadTx};
use cm_policy::{Permit, Read};
use cm_types::{BucketName, ObjectKey, PageLimit};

use crate::access::look_judged;
use crate::objects::{info, require_object};
use crate::rows::ObjectRow;
use crate::tables::{FinishedParts, VersionKey};
use crate::versions::VersionName;
use crate::{ObjectError, ObjectInfo, Objects};

/// A part of an object that was uploaded in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedPart {
    /// Its number.
    pub number: u16,
    /// Its length in bytes.
    pub size: u64,
    /// Checksums, by the names of their headers.
    pub headers: BTreeMap<String, String>,
}

/// What a part of a version consists of. An object that was written at once is its own first part.
pub(crate) fn bytes_of(tx: &ReadTx<'_>, row: &ObjectRow, number: u16) -> Result<Range<u64>, ObjectError> {
    if row.parts == 0 && number == 1 {
        return Ok(0..row.size);
    }
    let part = tx.get::<FinishedParts>(&(VersionKey(row.version), number))?;
    let part = part.ok_or(ObjectError::PartNotFound { number })?;
    Ok(part.offset..part.offset + part.size)
}

impl Objects {
    /// One page of the parts that an object was completed of, by number, after a number; and whether there are more. Empty
    /// if it was written at once.
    ///
    /// # Errors
    /// Those of [`Objects::head_version`].
    pub async fn finished_parts(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
        after: u16,
        limit: PageLimit,
    ) -> Result<(ObjectInfo, Vec<FinishedPart>, bool), ObjectError> {
        require_object(permit, bucket, key)?;
        let (name, basis) = ((permit.tenant().clone(), bucket.clone(), key.clone()), permit.basis().cloned());
        self.0
            .db
            .read(move |tx| {
                let row = look_judged(tx, &name, version, basis.as_ref())?;
                let id = VersionKey(row.version);
                let all = KeyPrefix::new().part(&id);
                let mut parts = match row.parts {
                    0 => Vec::new(),
                    _ => tx.prefix::<FinishedParts>(all, Some(&(id, after)), limit.get() + 1)?,
                };
                let more = parts.len() > limit.get();
                parts.truncate(limit.get());
                let parts = parts.into_iter().map(|((_, number), part)| FinishedPart {
                    number,
                    size: part.size,
                    headers: part.headers,
                });
                Ok((info(name.1, name.2, row), parts.collect(), more))
            })
            .await
    }
}
