//! The parts of an upload: written like objects, visible to nobody until the upload is completed.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use cm_db::KeyPrefix;
use cm_policy::{Permit, Update};
use cm_types::{PageLimit, Sha256Digest, Timestamp};
use futures::{Stream, StreamExt};

use crate::encryption::{self, ContentKey, CustomerKey, EncryptedBy};
use crate::object::check_description;
use crate::objects::{bucket_row, require_object};
use crate::quota;
use crate::rows::PartRow;
use crate::tables::{Parts, Uploads, VersionKey};
use crate::upload::{Digests, insert_last_segment};
use crate::{LateHeaders, ObjectError, Objects, UploadInfo, UploadRef, Usage};

/// The highest number of a part, and so the most parts of an object: the limit of S3, which clients expect.
pub const PART_NUMBER_MAX: u16 = 10_000;

/// What is said about a part besides its bytes.
#[derive(Clone, Debug, Default)]
pub struct NewPart {
    /// The digest that the body must have.
    pub expected_sha256: Option<Sha256Digest>,
    /// The MD5 that the body must have.
    pub expected_md5: Option<[u8; 16]>,
    /// Checksums, by the names of their headers.
    pub headers: BTreeMap<String, String>,
    /// More of them.
    pub late_headers: LateHeaders,
    /// The key that the upload was begun with, if it was begun with one.
    pub key: Option<CustomerKey>,
}

/// A part that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// Its number, from 1 on.
    pub number: u16,
    /// Its length in bytes.
    pub size: u64,
    /// The digest of its bytes; of what is stored, if it is encrypted with a key of its writer.
    pub sha256: Sha256Digest,
    /// Its entity tag: the MD5 of its bytes.
    pub tag: String,
    /// Checksums, by the names of their headers.
    pub headers: BTreeMap<String, String>,
    /// When it was uploaded.
    pub created_at: Timestamp,
    /// Whose key it is encrypted with, if with any.
    pub encrypted_by: Option<EncryptedBy>,
}

impl PartInfo {
    fn of(number: u16, row: PartRow) -> Self {
        let PartRow { size, sha256, md5: tag, headers, created_at, encryption, .. } = row;
        let encrypted_by = encryption.map(|encryption| encryption.by());
        Self { number, size, sha256, tag, headers, created_at, encrypted_by }
    }
}

impl Objects {
    /// Uploads a part, or replaces it. It is durable when this returns.
    ///
    /// # Errors
    /// [`ObjectError::UploadNotFound`], [`ObjectError::PartNotFound`] for a number that no part can have,
    /// [`ObjectError::DigestMismatch`], [`ObjectError::Md5Mismatch`], [`ObjectError::TooLarge`],
    /// [`ObjectError::Body`], [`ObjectError::Busy`], [`ObjectError::NotPermitted`]; [`ObjectError::KeyRequired`] and
    /// [`ObjectError::WrongKey`] unless it comes with the key of the upload.
    pub async fn put_part(
        &self,
        permit: &Permit<Update>,
        upload: &UploadRef,
        number: u16,
        new: NewPart,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<PartInfo, ObjectError> {
        require_object(permit, &upload.bucket, &upload.key)?;
        check_description(None, &BTreeMap::new(), &new.headers)?;
        if !(1..=PART_NUMBER_MAX).contains(&number) {
            return Err(ObjectError::PartNotFound { number });
        }
        let place = self.0.puts.take(permit)?;
        let (tenant, early) = (permit.tenant().clone(), upload.clone());
        let (row, settings, room) = self
            .0
            .db
            .read(move |tx| {
                let row = early.find(tx, &tenant)?;
                let old = tx.get::<Parts>(&(VersionKey(early.id), number))?.map_or(0, |old| old.size);
                let room = quota::room(tx, &tenant, &early.bucket, 0, Usage { bytes: old, objects: 0 })?;
                Ok::<_, ObjectError>((row, bucket_row(tx, &tenant, &early.bucket)?, room))
            })
            .await?;
        row.check_key(&upload.bucket, &upload.key, new.key.as_ref())?;
        let content_key = ContentKey::of_upload(&self.0, &row)?;
        let digests = Digests {
            sha256: new.expected_sha256,
            md5: new.expected_md5,
            wants_md5: true,
            keeping: settings.keeping,
            packing: self.0.packing(settings.packing),
            room,
        };
        let body = body.map(|piece| piece.map_err(ObjectError::Body));
        let (version, described) =
            encryption::fill(self.0.clone(), place, content_key, digests, body).await?;
        let (tenant, upload) = (permit.tenant().clone(), upload.clone());
        version
            .commit(move |engine, tx, stored, digests| {
                let mut whole = upload.find(tx, &tenant)?;
                let stored = described(stored);
                insert_last_segment(tx, &stored, digests, engine.now())?;
                let key = (VersionKey(upload.id), number);
                if let Some(old) = tx.get::<Parts>(&key)? {
                    engine.doom(tx, old.version)?;
                    // Parts of an upload that is older than counts were not counted.
                    let bytes = old.size.min(whole.bytes);
                    quota::credit(tx, &tenant, &upload.bucket, Usage { bytes, objects: 0 })?;
                    whole.bytes -= bytes;
                }
                quota::charge(tx, &tenant, &upload.bucket, Usage { bytes: stored.size, objects: 0 })?;
                whole.bytes = whole.bytes.saturating_add(stored.size);
                tx.put::<Uploads>(&upload.row_key(&tenant), &whole)?;
                let mut headers = new.headers;
                headers.extend(new.late_headers.get().cloned().unwrap_or_default());
                let row = PartRow {
                    size: stored.size,
                    sha256: stored.sha256,
                    md5: stored.md5.expect("the MD5 of a part is always wanted"),
                    version: stored.version,
                    headers,
                    created_at: engine.now(),
                    encryption: stored.encryption,
                };
                tx.put::<Parts>(&key, &row)?;
                Ok(PartInfo::of(number, row))
            })
            .await
    }

    /// One page of the parts of an upload, by number, after a number; and whether there are more.
    ///
    /// # Errors
    /// [`ObjectError::UploadNotFound`], [`ObjectError::NotPermitted`].
    pub async fn list_parts(
        &self,
        permit: &Permit<Update>,
        upload: &UploadRef,
        after: u16,
        limit: PageLimit,
    ) -> Result<(UploadInfo, Vec<PartInfo>, bool), ObjectError> {
        require_object(permit, &upload.bucket, &upload.key)?;
        let (tenant, upload) = (permit.tenant().clone(), upload.clone());
        self.0
            .db
            .read(move |tx| {
                let row = upload.find(tx, &tenant)?;
                let id = VersionKey(upload.id);
                let all = KeyPrefix::new().part(&id);
                let mut rows = tx.prefix::<Parts>(all, Some(&(id, after)), limit.get() + 1)?;
                let more = rows.len() > limit.get();
                rows.truncate(limit.get());
                let parts = rows.into_iter().map(|((_, number), row)| PartInfo::of(number, row));
                Ok((UploadInfo::of(upload, row), parts.collect(), more))
            })
            .await
    }
}
