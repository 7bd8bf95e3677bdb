//! Uploads in parts: begun, listed, aborted, forgotten. See [`parts`](crate::parts) and [`completion`](crate::completion) for
//! what happens in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use cm_db::{Direction, KeyPrefix, KeyRange, ReadTx, WriteTx};
use cm_policy::sharing::Acl;
use cm_policy::{List, Permit, Update};
use cm_types::{BucketName, ObjectKey, PageLimit, PrincipalId, TenantId, Timestamp};
use uuid::Uuid;

use crate::encryption::{ContentKey, EncryptedBy, NewEncryption, by_default};
use crate::object::check_description;
use crate::objects::{Engine, bucket_row, require_bucket, require_bucket_exists, require_object};
use crate::quota;
use crate::rows::UploadRow;
use crate::tables::{DoomedRow, EndedUploads, Parts, Uploads, VersionKey};
use crate::tags::{OBJECT_TAGS_MAX, Tags, check_tags};
use crate::{ObjectError, Objects, Protection, Usage};

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
    /// The media type, as for [`NewObject`](crate::NewObject).
    pub content_type: Option<String>,
    /// Free pairs, as for [`NewObject`](crate::NewObject).
    pub metadata: BTreeMap<String, String>,
    /// Further headers, as for [`NewObject`](crate::NewObject).
    pub headers: BTreeMap<String, String>,
    /// Its tags.
    pub tags: Tags,
    /// What keeps it from being deleted, as for [`NewObject`](crate::NewObject).
    pub protection: Protection,
    /// Whose it is going to be; `None` is whoever begins the upload.
    pub object_owner: Option<PrincipalId>,
    /// Its grants, as for [`NewObject`](crate::NewObject).
    pub acl: Option<Acl>,
    /// Whether it is to be encrypted, as for [`NewObject`](crate::NewObject).
    pub encryption: Option<NewEncryption>,
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
    /// Whose key the object is going to be encrypted with, if with any.
    pub encrypted_by: Option<EncryptedBy>,
}

impl UploadInfo {
    pub(crate) fn of(upload: UploadRef, row: UploadRow) -> Self {
        let UploadRow { owner, headers, created_at, encryption, .. } = row;
        let encrypted_by = encryption.map(|encryption| encryption.by);
        Self { upload, owner, headers, created_at, encrypted_by }
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
    /// When an upload that was begun then is taken back if nobody has completed it.
    pub fn upload_expires_at(&self, begun: Timestamp) -> Timestamp {
        begun.after(self.0.config.upload_lifetime)
    }

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
        check_tags(&new.tags, OBJECT_TAGS_MAX)?;
        let upload = UploadRef { bucket: bucket.clone(), key: key.clone(), id: Uuid::now_v7() };
        let tenant = permit.tenant().clone();
        let row = UploadRow {
            owner: permit.principal().cloned(),
            content_type: new.content_type,
            metadata: new.metadata,
            headers: new.headers,
            created_at: self.0.now(),
            tags: new.tags,
            protection: new.protection,
            object_owner: new.object_owner,
            acl: new.acl,
            encryption: None,
            bytes: 0,
        };
        let (engine, asked) = (self.0.clone(), new.encryption);
        self.0
            .write(move |tx| {
                let settings = bucket_row(tx, &tenant, &upload.bucket)?;
                if settings.locking.is_none() && !row.protection.is_none() {
                    return Err(ObjectError::NotLockable { bucket: upload.bucket });
                }
                let all = KeyPrefix::new().part(&tenant).part(&upload.bucket);
                if tx.prefix::<Uploads>(all, None, UPLOADS_MAX)?.len() == UPLOADS_MAX {
                    return Err(ObjectError::TooManyUploads { bucket: upload.bucket, max: UPLOADS_MAX });
                }
                let asked = match asked {
                    Some(asked) => Some(asked),
                    None => by_default(tx, &tenant, &upload.bucket)?,
                };
                let encryption = asked.map(|asked| ContentKey::new(&engine, &asked).for_upload(&engine));
                let row = UploadRow { encryption, ..row };
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
}

impl Engine {
    /// Takes an upload off the list of those under way, and lets the collector have its parts.
    pub(crate) fn end_upload(
        &self,
        tx: &mut WriteTx<'_>,
        key: &(TenantId, BucketName, ObjectKey, VersionKey),
    ) -> Result<(), ObjectError> {
        let bytes = tx.get::<Uploads>(key)?.map_or(0, |row| row.bytes);
        quota::credit(tx, &key.0, &key.1, Usage { bytes, objects: 0 })?;
        tx.delete::<Uploads>(key)?;
        tx.put::<EndedUploads>(&key.3, &DoomedRow { since: self.now(), begun: false })?;
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
