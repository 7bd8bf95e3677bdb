//! The end of an upload: its parts become one object.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cm_crypto::digest::Md5;
use cm_db::ReadTx;
use cm_policy::{Permit, Update};
use cm_types::{RequestId, Sha256Digest, TenantId};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::encryption::{self, ContentKey};
use crate::objects::{Engine, info, require_object};
use crate::parts::PART_NUMBER_MAX;
use crate::put::Target;
use crate::read::{Source, content};
use crate::rows::{FinishedPartRow, PartRow};
use crate::tables::{Doomed, ObjectRows, Parts, VersionKey};
use crate::trail::Origin;
use crate::upload::Digests;
use crate::{
    Condition, LateHeaders, NewObject, ObjectError, ObjectInfo, Objects, Protection, Tagging, UploadRef,
};

/// The bytes of an object on the way to where they are kept.
pub type Contents = BoxStream<'static, io::Result<Bytes>>;

/// What is to become of an upload.
#[derive(Clone, Debug, Default)]
pub struct Completion {
    /// The parts by their numbers and entity tags, in the order of their numbers.
    pub parts: Vec<(u16, String)>,
    /// How an object of that name must be for it to happen.
    pub conditions: Vec<Condition>,
    /// The digest that the whole must have.
    pub expected_sha256: Option<Sha256Digest>,
    /// Further headers, known once all parts were read.
    pub late_headers: LateHeaders,
    /// The request, for the event.
    pub request: Option<RequestId>,
}

impl Objects {
    /// Makes an object of parts. Its own tag is the MD5 of the parts' MD5s, a hyphen and how many there are, as clients of S3 expect.
    ///
    /// The contents pass `through` the caller's hands, which may look at them and end them with an error. Every part is read and verified, so that this takes as long as reading the object does. Dropping the future
    /// abandons it, and the upload goes on. What was completed already is answered as it was, so that a client which missed the answer may
    /// ask again; see [`Objects::completed`].
    ///
    /// # Errors
    /// [`ObjectError::UploadNotFound`], [`ObjectError::PartNotFound`], [`ObjectError::PartOrder`],
    /// [`ObjectError::PartTooSmall`]; [`ObjectError::DigestMismatch`]; [`ObjectError::Damaged`]; those of [`Objects::put_if`].
    pub async fn complete_upload(
        &self,
        permit: &Permit<Update>,
        upload: &UploadRef,
        completion: Completion,
        through: impl FnOnce(Contents) -> Contents + Send,
    ) -> Result<ObjectInfo, ObjectError> {
        let (parts, expected) = (completion.parts.clone(), completion.expected_sha256);
        match self.complete_once(permit, upload, completion, through).await {
            // The parts go once the upload has ended, perhaps while they are read here.
            Err(gone @ (ObjectError::UploadNotFound { .. } | ObjectError::PartNotFound { .. })) => {
                let before = self.completed(permit, upload, &parts).await?;
                before.filter(|info| expected.is_none_or(|digest| digest == info.sha256)).ok_or(gone)
            }
            done => done,
        }
    }

    /// The object that the upload has become of these parts, as long as its name shows no other version.
    ///
    /// # Errors
    /// [`ObjectError::NotPermitted`].
    pub async fn completed(
        &self,
        permit: &Permit<Update>,
        upload: &UploadRef,
        parts: &[(u16, String)],
    ) -> Result<Option<ObjectInfo>, ObjectError> {
        require_object(permit, &upload.bucket, &upload.key)?;
        let UploadRef { bucket, key, id } = upload.clone();
        let name = (permit.tenant().clone(), bucket.clone(), key.clone());
        let row = self.0.db.read(move |tx| Ok::<_, ObjectError>(tx.get::<ObjectRows>(&name)?)).await?;
        let tag = tag_of(parts.iter().map(|(_, tag)| tag.as_str()));
        let row = row.filter(|row| row.upload == Some(id) && row.tag.as_ref() == Some(&tag));
        Ok(row.map(|row| info(bucket, key, row)))
    }

    async fn complete_once(
        &self,
        permit: &Permit<Update>,
        upload: &UploadRef,
        completion: Completion,
        through: impl FnOnce(Contents) -> Contents + Send,
    ) -> Result<ObjectInfo, ObjectError> {
        let Completion { parts, conditions, expected_sha256, late_headers, request } = completion;
        require_object(permit, &upload.bucket, &upload.key)?;
        let place = self.0.puts.take(permit)?;
        let origin = Origin { tenant: permit.tenant().clone(), actor: permit.principal().cloned(), request };
        let UploadRef { bucket, key, id } = upload.clone();
        let target = Target { origin, bucket, key, conditions, upload: Some(id) };
        let (tenant, wanted) = (permit.tenant().clone(), upload.clone());
        let (early, min) = (target.clone(), self.0.config.part_bytes_min);
        let (row, parts, settings) = self
            .0
            .db
            .read(move |tx| {
                let row = wanted.find(tx, &tenant)?;
                let (settings, _) = early.check(tx)?;
                Ok::<_, ObjectError>((row, chosen(tx, &wanted, &parts, min)?, settings))
            })
            .await?;
        let content_key = ContentKey::of_upload(&self.0, &row)?;
        let new = NewObject {
            content_type: row.content_type,
            metadata: row.metadata,
            headers: row.headers,
            late_headers,
            tagging: Tagging::Given(tag_of(parts.iter().map(|(_, part)| part.md5.as_str()))),
            tags: row.tags,
            protection: row.protection,
            owner: row.object_owner.or(row.owner),
            acl: row.acl,
            ..NewObject::default()
        };
        let finished = finished(&parts);
        let read =
            contents(self.0.clone(), permit.tenant().clone(), upload.clone(), content_key.clone(), parts);
        let body = through(read.map_err(io::Error::other).boxed()).map_err(unwrapped);
        let digests = Digests {
            sha256: expected_sha256,
            keeping: settings.keeping,
            packing: self.0.packing(settings.packing),
            ..Digests::default()
        };
        let (version, described) =
            encryption::fill(self.0.clone(), place, content_key, digests, body).await?;
        let ended = upload.clone();
        version
            .commit(move |engine, tx, stored, digests| {
                let tenant = target.origin.tenant.clone();
                ended.find(tx, &tenant)?;
                engine.end_upload(tx, &ended.row_key(&tenant))?;
                target.show(engine, tx, new, finished, described(stored), digests)
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

/// Where each part lies in the whole.
fn finished(parts: &[(u16, PartRow)]) -> Vec<(u16, FinishedPartRow)> {
    let mut offset = 0;
    let lie = parts.iter().map(|(number, part)| {
        let row = FinishedPartRow { offset, size: part.size, headers: part.headers.clone() };
        offset += part.size;
        (*number, row)
    });
    lie.collect()
}

/// The tag of a whole, by the tags of its parts.
fn tag_of<'a>(parts: impl ExactSizeIterator<Item = &'a str>) -> String {
    let (mut all, count) = (Md5::new(), parts.len());
    for md5 in parts {
        let nibbles = md5.bytes().map(|digit| (digit as char).to_digit(16).unwrap_or_default() as u8);
        let nibbles: Vec<u8> = nibbles.collect();
        let bytes: Vec<u8> =
            nibbles.chunks(2).map(|pair| pair.iter().fold(0, |all, half| all << 4 | half)).collect();
        all.update(&bytes);
    }
    let digest: String = all.finish().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digest}-{count}")
}

/// The bytes of the parts, one after the other, each held only while it is read.
fn contents(
    engine: Arc<Engine>,
    tenant: TenantId,
    upload: UploadRef,
    content_key: Option<ContentKey>,
    parts: Vec<(u16, PartRow)>,
) -> impl Stream<Item = Result<Bytes, ObjectError>> + Send + 'static {
    stream::iter(parts)
        .map(Ok::<_, ObjectError>)
        .and_then(move |(number, part)| {
            let (engine, tenant, upload) = (engine.clone(), tenant.clone(), upload.clone());
            let content_key = content_key.clone();
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
                    shown_version: None,
                    content_type: None,
                    metadata: BTreeMap::new(),
                    headers: BTreeMap::new(),
                    own_tag: None,
                    tags: BTreeMap::new(),
                    protection: Protection::default(),
                    parts: 0,
                    writer: None,
                    created_at: part.created_at,
                    encryption: part.encryption,
                };
                let (inline, whole) = (engine.inline_bytes(&info).await?, 0..info.size);
                let chunks = content(engine, Source { tenant, info, inline }, content_key.as_ref(), whole);
                Ok(chunks.map(move |chunk| {
                    let _held = &lease;
                    chunk?.map_err(ObjectError::Damaged)
                }))
            }
        })
        .try_flatten()
}

/// An error of this engine is itself again after it has passed through the caller's hands.
fn unwrapped(error: io::Error) -> ObjectError {
    match error.downcast::<ObjectError>() {
        Ok(own) => own,
        Err(error) => ObjectError::Body(error),
    }
}
