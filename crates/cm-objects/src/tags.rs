//! Tags: pairs by which people sort objects and buckets. Unlike metadata they change while the object stays.

use std::collections::BTreeMap;

use cm_policy::{Permit, Read, Update};
use cm_types::{BucketName, ObjectKey, RequestId};

use crate::access::look_judged;
use crate::objects::{bucket_row, require_bucket, require_object};
use crate::protection::change_version;
use crate::rows::TagsRow;
use crate::tables::BucketTags;
use crate::trail::{self, Origin};
use crate::versions::VersionName;
use crate::{ObjectError, ObjectInfo, Objects};

/// Pairs of names and values.
pub type Tags = BTreeMap<String, String>;

/// Most tags of an object: the limit of S3, which clients expect.
pub const OBJECT_TAGS_MAX: usize = 10;
/// Most tags of a bucket.
pub const BUCKET_TAGS_MAX: usize = 50;
/// Most characters of a tag's name.
const NAME_CHARS_MAX: usize = 128;
/// Most characters of a tag's value.
const VALUE_CHARS_MAX: usize = 256;

/// Whether these can be tags.
pub(crate) fn check_tags(tags: &Tags, max: usize) -> Result<(), ObjectError> {
    if tags.len() > max {
        return Err(ObjectError::TooManyTags { max });
    }
    let fits = |text: &str, max: usize| text.chars().count() <= max && !text.chars().any(char::is_control);
    let wrong = tags.iter().find(|(name, value)| {
        name.is_empty() || !fits(name, NAME_CHARS_MAX) || !fits(value, VALUE_CHARS_MAX)
    });
    match wrong {
        None => Ok(()),
        Some((name, _)) => Err(ObjectError::InvalidTag { name: name.clone() }),
    }
}

impl Objects {
    /// Replaces the tags of an object, or of one of its versions. The version is otherwise as it was.
    ///
    /// # Errors
    /// [`ObjectError::TooManyTags`], [`ObjectError::InvalidTag`], and those of [`Objects::head_version`].
    pub async fn set_tags(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
        tags: Tags,
        request: Option<RequestId>,
    ) -> Result<ObjectInfo, ObjectError> {
        require_object(permit, bucket, key)?;
        check_tags(&tags, OBJECT_TAGS_MAX)?;
        let origin = Origin { tenant: permit.tenant().clone(), actor: permit.principal().cloned(), request };
        let name = (origin.tenant.clone(), bucket.clone(), key.clone());
        let (engine, basis) = (self.0.clone(), permit.basis().cloned());
        self.0
            .write(move |tx| {
                let mut row = look_judged(tx, &name, version, basis.as_ref())?;
                row.tags = tags.clone();
                change_version(tx, &name, row.name(), |row| row.tags = tags)?;
                trail::record(&engine.events, tx, &origin, "object.tagged", (&name.1, &name.2), &row)?;
                Ok(crate::objects::info(name.1, name.2, row))
            })
            .await
    }

    /// The tags of a bucket; `None` if it has never had any.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn bucket_tags(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
    ) -> Result<Option<Tags>, ObjectError> {
        require_bucket(permit, bucket)?;
        let (tenant, bucket) = (permit.tenant().clone(), bucket.clone());
        self.0
            .db
            .read(move |tx| {
                bucket_row(tx, &tenant, &bucket)?;
                Ok(tx.get::<BucketTags>(&(tenant, bucket))?.map(|row| row.tags))
            })
            .await
    }

    /// Replaces the tags of a bucket, or takes them off.
    ///
    /// # Errors
    /// [`ObjectError::TooManyTags`], [`ObjectError::InvalidTag`], [`ObjectError::BucketNotFound`],
    /// [`ObjectError::NotPermitted`].
    pub async fn set_bucket_tags(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        tags: Option<Tags>,
    ) -> Result<(), ObjectError> {
        require_bucket(permit, bucket)?;
        if let Some(tags) = &tags {
            check_tags(tags, BUCKET_TAGS_MAX)?;
        }
        let origin =
            Origin { tenant: permit.tenant().clone(), actor: permit.principal().cloned(), request: None };
        let (engine, id) = (self.0.clone(), (origin.tenant.clone(), bucket.clone()));
        self.0
            .write(move |tx| {
                bucket_row(tx, &id.0, &id.1)?;
                match tags {
                    Some(tags) => tx.put::<BucketTags>(&id, &TagsRow { tags })?,
                    None => drop(tx.delete::<BucketTags>(&id)?),
                }
                trail::record_bucket(&engine.events, tx, &origin, "bucket.tagged", &id.1)
            })
            .await
    }
}
