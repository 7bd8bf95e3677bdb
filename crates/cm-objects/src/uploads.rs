//! Uploads in parts: begun, listed, completed, aborted. What happens to the parts is in [`parts`](crate::parts).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cm_crypto::digest::Md5;
use cm_db::{Direction, KeyPrefix, KeyRange, ReadTx, WriteTx};
use cm_policy::{List, Permit, Update};
use cm_types::{BucketName, ObjectKey, PageLimit, PrincipalId, RequestId, TenantId, Timestamp};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::object::check_description;
use crate::objects::{Engine, require_bucket, require_bucket_exists, require_object};
use crate::parts::PART_NUMBER_MAX;
use crate::put::{Digests, Target, Upload};
use crate::read::verified;
use crate::tables::{Doomed, DoomedRow, EndedUploads, PartRow, Parts, UploadRow, Uploads, VersionKey};
use crate::trail::Origin;
use crate::{Condition, LateHeaders, NewObject, ObjectError, ObjectInfo, Objects, Tagging};

/// Most uploads in parts that a bucket may have under way.
const UPLOADS_MAX: usize = if cfg!(test) { 3 } else { 1000 };
/// Rows that one step of the collector works on.
const BATCH: usize = 256;

/// Names an upload in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRef {
    /// Where the object is going to be.
    pub bucket: BucketName,
    /// Its name.
    pub key: ObjectKey,
    /// The upload; several may be under way for one name.
    pub id: Uuid,
}

impl UploadRef {
    pub(crate) fn row_key(&self, tenant: &TenantId) -> (TenantId, BucketName, ObjectKey, VersionKey) {
        (tenant.clone(), self.bucket.clone(), self.key.clone(), VersionKey(self.id))
    }

    /// The upload as it is in the transaction.
    pub(crate) fn find(&self, tx: &ReadTx<'_>, tenant: &TenantId) -> Result<UploadRow, ObjectError> {
        tx.get::<Uploads>(&self.row_key(tenant))?.ok_or_else(|| ObjectError::UploadNotFound {
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            upload: self.id,
        })
    }
}

/// What is said about an object that is going to be uploaded in parts.
#[derive(Clone, Debug, Default)]
pub struct NewUpload {
    /// The media type, as for [`NewObject`].
    pub content_type: Option<String>,
    /// Free pairs, as for [`NewObject`].
    pub metadata: BTreeMap<String, String>,
    /// Further headers, as for [`NewObject`].
    pub headers: BTreeMap<String, String>,
}

/// An upload that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// Which one.
    pub upload: UploadRef,
    /// Who began it.
    pub owner: Option<PrincipalId>,
    /// The headers that the object is going to have.
    pub headers: BTreeMap<String, String>,
    /// When it was begun.
    pub created_at: Timestamp,
}

impl UploadInfo {
    pub(crate) fn of(upload: UploadRef, row: UploadRow) -> Self {
        let UploadRow { owner, headers, created_at, .. } = row;
        Self { upload, owner, headers, created_at }
    }
}

/// One page of the uploads that are under way in a bucket, by key, then by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadPage {
    /// The uploads.
    pub items: Vec<UploadInfo>,
    /// Whether there are more.
    pub more: bool,
}

impl Objects {
    /// Begins an upload in parts. Nothing is visible until it is completed.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::TooManyUploads`], [`ObjectError::DescriptionTooLong`],
    /// [`ObjectError::NotPermitted`].
    pub async fn begin_upload(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        key: &ObjectKey,
        new: NewUpload,
    ) -> Result<UploadInfo, ObjectError> {
        require_object(permit, bucket, key)?;
        check_description(new.content_type.as_deref(), &new.metadata, &new.headers)?;
        let upload = UploadRef { bucket: bucket.clone(), key: key.clone(), id: Uuid::now_v7() };
        let tenant = permit.tenant().clone();
        let row = UploadRow {
            owner: permit.principal().cloned(),
            content_type: new.content_type,
            metadata: new.metadata,
            headers: new.headers,
            created_at: self.0.now(),
        };
        self.0
            .write(move |tx| {
                require_bucket_exists(tx, &tenant, &upload.bucket)?;
                let all = KeyPrefix::new().part(&tenant).part(&upload.bucket);
                if tx.prefix::<Uploads>(all, None, UPLOADS_MAX)?.len() == UPLOADS_MAX {
                    return Err(ObjectError::TooManyUploads { bucket: upload.bucket, max: UPLOADS_MAX });
                }
                tx.insert::<Uploads>(&upload.row_key(&tenant), &row)?;
                Ok(UploadInfo::of(upload, row))
            })
            .await
    }

    /// One page of the uploads that are under way in a bucket: those of keys that begin with `prefix` and, with
    /// `after`, those that follow an upload, or all uploads of a key.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn list_uploads(
        &self,
        permit: &Permit<List>,
        bucket: &BucketName,
        prefix: String,
        after: Option<(String, Option<Uuid>)>,
        limit: PageLimit,
    ) -> Result<UploadPage, ObjectError> {
        require_bucket(permit, bucket)?;
        let (tenant, bucket) = (permit.tenant().clone(), bucket.clone());
        self.0
            .db
            .read(move |tx| {
                require_bucket_exists(tx, &tenant, &bucket)?;
                let mut range = KeyRange::prefix(KeyPrefix::new().part(&tenant).part(&bucket).text(&prefix));
                if let Some((key, id)) = after {
                    let id = id.unwrap_or(Uuid::max());
                    range = range.after(&(tenant, bucket.clone(), key, VersionKey(id)));
                }
                let mut rows = tx.range::<Uploads>(range, Direction::Forward, limit.get() + 1)?;
                let more = rows.len() > limit.get();
                rows.truncate(limit.get());
                let items = rows.into_iter().map(|((_, bucket, key, VersionKey(id)), row)| {
                    UploadInfo::of(UploadRef { bucket, key, id }, row)
                });
                Ok(UploadPage { items: items.collect(), more })
            })
            .await
    }

    /// Ends an upload without an object. Its parts are taken back.
    ///
    /// # Errors
    /// [`ObjectError::UploadNotFound`], [`ObjectError::NotPermitted`].
    pub async fn abort_upload(&self, permit: &Permit<Update>, upload: &UploadRef) -> Result<(), ObjectError> {
        require_object(permit, &upload.bucket, &upload.key)?;
        let (engine, tenant, upload) = (self.0.clone(), permit.tenant().clone(), upload.clone());
        self.0
            .write(move |tx| {
                upload.find(tx, &tenant)?;
                engine.end_upload(tx, &upload.row_key(&tenant))
            })
            .await
    }

    /// Makes an object of parts, given by their numbers and entity tags, in the order of their numbers. Its own tag is
    /// the MD5 of the parts' MD5s, a hyphen and how many there are, as clients of S3 expect.
    ///
    /// Every part is read and verified, so that this takes as long as reading the object does. Dropping the future
    /// abandons it, and the upload goes on.
    ///
    /// # Errors
    /// [`ObjectError::UploadNotFound`], [`ObjectError::PartNotFound`], [`ObjectError::PartOrder`],
    /// [`ObjectError::PartTooSmall`]; [`ObjectError::Damaged`]; those of [`Objects::put_if`].
    pub async fn complete_upload(
        &self,
        permit: &Permit<Update>,
        upload: &UploadRef,
        parts: Vec<(u16, String)>,
        conditions: Vec<Condition>,
        late_headers: LateHeaders,
        request: Option<RequestId>,
    ) -> Result<ObjectInfo, ObjectError> {
        require_object(permit, &upload.bucket, &upload.key)?;
        let place = self.0.puts.clone().try_acquire_owned().map_err(|_| ObjectError::Busy)?;
        let origin = Origin { tenant: permit.tenant().clone(), actor: permit.principal().cloned(), request };
        let target = Target { origin, bucket: upload.bucket.clone(), key: upload.key.clone(), conditions };
        let (tenant, wanted) = (permit.tenant().clone(), upload.clone());
        let (early, min) = (target.clone(), self.0.config.part_bytes_min);
        let (row, parts) = self
            .0
            .db
            .read(move |tx| {
                let row = wanted.find(tx, &tenant)?;
                early.check(tx)?;
                Ok::<_, ObjectError>((row, chosen(tx, &wanted, &parts, min)?))
            })
            .await?;
        let new = NewObject {
            content_type: row.content_type,
            metadata: row.metadata,
            headers: row.headers,
            late_headers,
            tagging: Tagging::Given(tag_of(&parts)),
            ..NewObject::default()
        };
        let body = contents(self.0.clone(), permit.tenant().clone(), upload.clone(), parts);
        let version = Upload::new(self.0.clone(), place, Digests::default()).fill(body).await?;
        let ended = upload.clone();
        version
            .commit(move |engine, tx, stored, digests| {
                let tenant = target.origin.tenant.clone();
                ended.find(tx, &tenant)?;
                engine.end_upload(tx, &ended.row_key(&tenant))?;
                target.show(engine, tx, new, stored, digests)
            })
            .await
    }
}

/// The parts that the object is to be made of, if they can be.
fn chosen(
    tx: &ReadTx<'_>,
    upload: &UploadRef,
    wanted: &[(u16, String)],
    min: u64,
) -> Result<Vec<(u16, PartRow)>, ObjectError> {
    if !wanted.is_sorted_by(|(before, _), (number, _)| before < number) {
        return Err(ObjectError::PartOrder);
    }
    let mut parts = Vec::with_capacity(wanted.len().min(usize::from(PART_NUMBER_MAX)));
    for (at, (number, tag)) in wanted.iter().enumerate() {
        let found = tx.get::<Parts>(&(VersionKey(upload.id), *number))?.filter(|part| part.md5 == *tag);
        let part = found.ok_or(ObjectError::PartNotFound { number: *number })?;
        if part.size < min && at + 1 < wanted.len() {
            return Err(ObjectError::PartTooSmall { number: *number, size: part.size, min });
        }
        parts.push((*number, part));
    }
    if parts.is_empty() { Err(ObjectError::PartNotFound { number: 1 }) } else { Ok(parts) }
}

fn tag_of(parts: &[(u16, PartRow)]) -> String {
    let mut all = Md5::new();
    for (_, part) in parts {
        let nibbles = part.md5.bytes().map(|digit| (digit as char).to_digit(16).unwrap_or_default() as u8);
        let nibbles: Vec<u8> = nibbles.collect();
        let bytes: Vec<u8> =
            nibbles.chunks(2).map(|pair| pair.iter().fold(0, |all, half| all << 4 | half)).collect();
        all.update(&bytes);
    }
    let digest: String = all.finish().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digest}-{}", parts.len())
}

/// The bytes of the parts, one after the other, each held only while it is read.
fn contents(
    engine: Arc<Engine>,
    tenant: TenantId,
    upload: UploadRef,
    parts: Vec<(u16, PartRow)>,
) -> impl Stream<Item = Result<Bytes, ObjectError>> + Send {
    stream::iter(parts)
        .map(Ok::<_, ObjectError>)
        .and_then(move |(number, part)| {
            let (engine, tenant, upload) = (engine.clone(), tenant.clone(), upload.clone());
            async move {
                let lease =
                    engine.leases.try_share(part.version).ok_or(ObjectError::PartNotFound { number })?;
                // Whatever is not doomed now cannot be taken apart while it is leased.
                let version = part.version;
                let doomed =
                    engine.db.read(move |tx| Ok::<_, ObjectError>(tx.get::<Doomed>(&VersionKey(version))?));
                if doomed.await?.is_some() {
                    return Err(ObjectError::PartNotFound { number });
                }
                let UploadRef { bucket, key, .. } = upload;
                let info = ObjectInfo {
                    bucket,
                    key,
                    size: part.size,
                    sha256: part.sha256,
                    version: part.version,
                    content_type: None,
                    metadata: BTreeMap::new(),
                    headers: BTreeMap::new(),
                    own_tag: None,
                    created_at: part.created_at,
                };
                let chunks = verified(engine, tenant, &info, 0..info.size);
                Ok(chunks.map(move |chunk| {
                    let _held = &lease;
                    chunk?.map_err(ObjectError::Damaged)
                }))
            }
        })
        .try_flatten()
}

impl Engine {
    /// Takes an upload off the list of those under way, and lets the collector have its parts.
    pub(crate) fn end_upload(
        &self,
        tx: &mut WriteTx<'_>,
        key: &(TenantId, BucketName, ObjectKey, VersionKey),
    ) -> Result<(), ObjectError> {
        tx.delete::<Uploads>(key)?;
        tx.put::<EndedUploads>(&key.3, &DoomedRow { since: self.now() })?;
        let garbage = self.garbage.clone();
        tx.on_commit(Box::new(move || garbage.notify_one()));
        Ok(())
    }

    /// Ends all uploads of a bucket that goes. There are no more than a transaction can take.
    pub(crate) fn end_uploads_of(
        &self,
        tx: &mut WriteTx<'_>,
        tenant: &TenantId,
        bucket: &BucketName,
    ) -> Result<(), ObjectError> {
        let all = KeyPrefix::new().part(tenant).part(bucket);
        for (key, _) in tx.prefix::<Uploads>(all, None, UPLOADS_MAX)? {
            self.end_upload(tx, &key)?;
        }
        Ok(())
    }

    /// Ends uploads that were left alone for too long.
    pub(crate) async fn end_old_uploads(self: &Arc<Self>) -> Result<(), ObjectError> {
        let lifetime_micros = i64::try_from(self.config.upload_lifetime.as_micros()).unwrap_or(i64::MAX);
        let oldest = self.now().as_micros().saturating_sub(lifetime_micros);
        let mut range = KeyRange::all();
        while !self.stopping() {
            let page = range.clone();
            let uploads = self
                .db
                .read(move |tx| Ok::<_, ObjectError>(tx.range::<Uploads>(page, Direction::Forward, BATCH)?))
                .await?;
            let Some((last, _)) = uploads.last() else { break };
            range = range.after(last);
            let old: Vec<_> = uploads
                .into_iter()
                .filter(|(_, row)| row.created_at.as_micros() < oldest)
                .map(|(key, _)| key)
                .collect();
            if !old.is_empty() {
                let engine = self.clone();
                self.write(move |tx| old.iter().try_for_each(|key| engine.end_upload(tx, key))).await?;
            }
        }
        Ok(())
    }

    /// Dooms the parts of uploads that ended.
    pub(crate) async fn doom_ended_parts(self: &Arc<Self>) -> Result<(), ObjectError> {
        while !self.stopping() {
            let engine = self.clone();
            let more = self.write(move |tx| {
                let Some((upload, _)) =
                    tx.range::<EndedUploads>(KeyRange::all(), Direction::Forward, 1)?.pop()
                else {
                    return Ok(false);
                };
                let parts = tx.prefix::<Parts>(KeyPrefix::new().part(&upload), None, BATCH)?;
                if parts.is_empty() {
                    tx.delete::<EndedUploads>(&upload)?;
                }
                for (key, part) in parts {
                    engine.doom(tx, part.version)?;
                    tx.delete::<Parts>(&key)?;
                }
                Ok(true)
            });
            if !more.await? {
                break;
            }
        }
        Ok(())
    }
}
