//! Writing an object.

use std::io;

use bytes::Bytes;
use cm_db::WriteTx;
use cm_policy::Permit;
use cm_types::{BucketName, ObjectKey, Sha256Digest};
use futures::{Stream, StreamExt};
use uuid::Uuid;

use crate::encryption::{self, ContentKey};
use crate::objects::{Engine, bucket_row, check_conditions, info, require_object};
use crate::protection::Locking;
use crate::quota;
use crate::rows::{BucketRow, FinishedPartRow, ObjectRow};
use crate::tables::{FinishedParts, ObjectRows, VersionKey};
use crate::trail::{self, Origin};
use crate::upload::{Digests, Stored, insert_last_segment};
use crate::versions::{self, Succession};
use crate::{Condition, NewObject, ObjectError, ObjectInfo, Objects, PutAction, Tagging, Usage};

impl Objects {
    /// Writes an object: all of it becomes visible at once, when it is durable, or nothing does. What
    /// it replaces stays visible until then.
    ///
    /// A permit to create refuses to replace; one to update does both. The digest and the preconditions
    /// are checked in the transaction that makes the object visible, the preconditions before the first byte
    /// is taken too. At most 6 MiB are held at a time, and in a storage network up to three chunks with their shards besides.
    ///
    /// Dropping the future abandons the put, unless the whole body has arrived: then it may finish. The
    /// chunks of a put that comes to nothing are handed to the collector.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::AlreadyExists`], [`ObjectError::PreconditionFailed`],
    /// [`ObjectError::DigestMismatch`], [`ObjectError::TooLarge`], [`ObjectError::QuotaExceeded`], [`ObjectError::Body`],
    /// [`ObjectError::Busy`], [`ObjectError::NotPermitted`], [`ObjectError::DescriptionTooLong`], and those
    /// of the storage.
    pub async fn put<A: PutAction>(
        &self,
        permit: &Permit<A>,
        bucket: &BucketName,
        key: &ObjectKey,
        new: NewObject,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<ObjectInfo, ObjectError> {
        self.put_if(permit, bucket, key, new, Vec::new(), body).await
    }

    /// As [`Objects::put`], under further conditions: each must hold, as well as those of the [`NewObject`],
    /// both before the first byte is taken and in the transaction that makes the object visible.
    ///
    /// # Errors
    /// Those of [`Objects::put`].
    pub async fn put_if<A: PutAction>(
        &self,
        permit: &Permit<A>,
        bucket: &BucketName,
        key: &ObjectKey,
        new: NewObject,
        mut conditions: Vec<Condition>,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<ObjectInfo, ObjectError> {
        require_object(permit, bucket, key)?;
        new.check()?;
        conditions.extend(new.if_match.clone().map(Condition::one_of));
        conditions.extend((new.if_none_match || !A::MAY_REPLACE).then_some(Condition::Absent));
        let place = self.0.puts.take(permit)?;
        let target = Target {
            origin: Origin {
                tenant: permit.tenant().clone(),
                actor: permit.principal().cloned(),
                request: new.request.clone(),
            },
            bucket: bucket.clone(),
            key: key.clone(),
            conditions,
            upload: None,
        };
        let early = target.clone();
        let (by_default, keeping, packing, room) = self
            .0
            .db
            .look_up(move |tx| {
                let (settings, old) = early.check(tx)?;
                let (tenant, bucket) = (&early.origin.tenant, &early.bucket);
                let by_default = encryption::by_default(tx, tenant, bucket)?;
                let name = (tenant.clone(), bucket.clone(), early.key.clone());
                let goes = versions::gives_way(tx, &name, &settings, old.as_ref())?;
                Ok::<_, ObjectError>((
                    by_default,
                    settings.keeping,
                    settings.packing,
                    quota::room(tx, tenant, bucket, 1, goes)?,
                ))
            })
            .await?;
        let digests = Digests {
            sha256: new.expected_sha256,
            md5: new.expected_md5,
            wants_md5: new.tagging == Tagging::Md5,
            keeping,
            packing: self.0.packing(packing),
            room,
        };
        let asked = new.encryption.clone().or(by_default);
        let content_key = asked.map(|asked| ContentKey::new(&self.0, &asked));
        let body = body.map(|piece| piece.map_err(ObjectError::Body));
        let (upload, described) = encryption::fill(self.0.clone(), place, content_key, digests, body).await?;
        upload
            .commit(move |engine, tx, stored, digests| {
                target.show(engine, tx, new, Vec::new(), described(stored), digests)
            })
            .await
    }
}

/// Where the object goes, and under which conditions.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) origin: Origin,
    pub(crate) bucket: BucketName,
    pub(crate) key: ObjectKey,
    pub(crate) conditions: Vec<Condition>,
    /// The upload that it is completed of.
    pub(crate) upload: Option<Uuid>,
}

impl Target {
    /// How the bucket is, and the object that would be replaced.
    pub(crate) fn check(
        &self,
        tx: &cm_db::ReadTx<'_>,
    ) -> Result<(BucketRow, Option<ObjectRow>), ObjectError> {
        let settings = bucket_row(tx, &self.origin.tenant, &self.bucket)?;
        let id = (self.origin.tenant.clone(), self.bucket.clone(), self.key.clone());
        let old = tx.get::<ObjectRows>(&id)?;
        check_conditions(&self.bucket, &self.key, &self.conditions, old.as_ref())?;
        Ok((settings, old))
    }
}

impl Target {
    /// Makes a version visible under the name, completed of these parts if there are any.
    pub(crate) fn show(
        self,
        engine: &Engine,
        tx: &mut WriteTx<'_>,
        new: NewObject,
        parts: Vec<(u16, FinishedPartRow)>,
        stored: Stored,
        digests: Vec<Sha256Digest>,
    ) -> Result<ObjectInfo, ObjectError> {
        let (settings, old) = self.check(tx)?;
        if settings.locking.is_none() && !new.protection.is_none() {
            return Err(ObjectError::NotLockable { bucket: self.bucket });
        }
        insert_last_segment(tx, &stored, digests, engine.now())?;
        let verb = if old.is_some() { "object.replaced" } else { "object.created" };
        let Target { origin, bucket, key, upload, .. } = self;
        let name = (origin.tenant.clone(), bucket, key);
        let Succession { lineage, order } = engine.succeed(tx, &name, &settings, old)?;
        // After what goes for it.
        quota::charge(tx, &name.0, &name.1, Usage { bytes: stored.size, objects: 1 })?;
        let mut headers = new.headers;
        headers.extend(new.late_headers.get().cloned().unwrap_or_default());
        let row = ObjectRow {
            size: stored.size,
            sha256: stored.sha256,
            version: stored.version,
            content_type: new.content_type,
            metadata: new.metadata,
            headers,
            tag: match new.tagging {
                Tagging::Sha256 => None,
                Tagging::Md5 => stored.md5,
                Tagging::Given(tag) => Some(tag),
            },
            created_at: engine.now(),
            lineage,
            order,
            tags: new.tags,
            protection: Locking::protect(settings.locking, new.protection, engine.now()),
            parts: u16::try_from(parts.len()).unwrap_or(u16::MAX),
            writer: new.owner.or_else(|| origin.actor.clone()),
            acl: new.acl,
            encryption: stored.encryption,
            upload,
        };
        for (number, part) in parts {
            tx.put::<FinishedParts>(&(VersionKey(stored.version), number), &part)?;
        }
        tx.put::<ObjectRows>(&name, &row)?;
        let (_, bucket, key) = name;
        trail::record(&engine.events, tx, &origin, verb, (&bucket, &key), &row)?;
        Ok(info(bucket, key, row))
    }
}
