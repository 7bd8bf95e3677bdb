//! Deleting objects and versions.

use cm_db::WriteTx;
use cm_policy::{Basis, Delete, Grant, Permit};
use cm_types::{BucketName, ObjectKey, RequestId, Timestamp};
use uuid::Uuid;

use crate::access::was_judged;
use crate::objects::{Engine, bucket_row, check_conditions, info, require_object};
use crate::rows::{BucketRow, MarkerRow, ObjectRow, VersionRow};
use crate::tables::ObjectRows;
use crate::trail::{self, Origin};
use crate::versions::{Found, Name, VersionName, by_name, keep, newest, promote, take};
use crate::{Condition, DeleteObject, ObjectError, ObjectInfo, Objects};

/// What is to be deleted, and under which conditions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Removal<'a> {
    /// This version, for good; without one, what the name shows.
    pub version: Option<VersionName>,
    /// How it must be. Where there is nothing to be deleted, none of them counts.
    pub conditions: &'a [Condition],
    /// Its size, in bytes.
    pub if_size: Option<u64>,
    /// When it was made, to the second.
    pub if_created_at: Option<Timestamp>,
    /// Leave to delete what is locked for governance: that of giving the permissions of the object.
    pub bypass: Option<&'a Permit<Grant>>,
}

/// What a deletion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The version that went, or the mark that was made.
    pub version: Option<VersionName>,
    /// Whether that is a mark of deletion.
    pub is_marker: bool,
    /// The object that is shown no more, or has gone.
    pub object: Option<ObjectInfo>,
}

/// A removal in the hands of the transaction.
struct Task {
    name: Name,
    version: Option<VersionName>,
    conditions: Vec<Condition>,
    if_size: Option<u64>,
    if_created_at: Option<Timestamp>,
    bypass: bool,
    must_exist: bool,
    basis: Option<Basis>,
    origin: Origin,
}

impl Objects {
    /// Removes an object and answers with what it was. Its chunks go when nobody reads them any more. Where
    /// versions are kept, it stays as one of them, and a mark says that it was deleted.
    ///
    /// The deletion happens even if the future is dropped after its first poll.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`], [`ObjectError::PreconditionFailed`], [`ObjectError::NotPermitted`].
    pub async fn delete(
        &self,
        permit: &Permit<Delete>,
        bucket: &BucketName,
        key: &ObjectKey,
        deletion: DeleteObject,
    ) -> Result<ObjectInfo, ObjectError> {
        self.delete_if(permit, bucket, key, deletion, Vec::new()).await
    }

    /// As [`Objects::delete`], under further conditions: each must hold in the transaction that removes
    /// the object, as well as that of the [`DeleteObject`].
    ///
    /// # Errors
    /// Those of [`Objects::delete`].
    pub async fn delete_if(
        &self,
        permit: &Permit<Delete>,
        bucket: &BucketName,
        key: &ObjectKey,
        deletion: DeleteObject,
        mut conditions: Vec<Condition>,
    ) -> Result<ObjectInfo, ObjectError> {
        let DeleteObject { if_match, request } = deletion;
        conditions.extend(if_match.map(Condition::one_of));
        let removal = Removal { conditions: &conditions, ..Removal::default() };
        let removed = self.remove_as(permit, bucket, key, removal, request, true).await?;
        removed.object.ok_or_else(|| ObjectError::not_found(bucket, key))
    }

    /// Deletes an object, or a version for good. What is not there has been deleted too; where versions are kept, even that
    /// leaves a mark.
    ///
    /// The deletion happens even if the future is dropped after its first poll.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::PreconditionFailed`], [`ObjectError::Locked`],
    /// [`ObjectError::NotPermitted`]; [`ObjectError::Busy`] if something else came in its place since it was permitted.
    pub async fn remove(
        &self,
        permit: &Permit<Delete>,
        bucket: &BucketName,
        key: &ObjectKey,
        removal: Removal<'_>,
        request: Option<RequestId>,
    ) -> Result<Removed, ObjectError> {
        self.remove_as(permit, bucket, key, removal, request, false).await
    }

    async fn remove_as(
        &self,
        permit: &Permit<Delete>,
        bucket: &BucketName,
        key: &ObjectKey,
        removal: Removal<'_>,
        request: Option<RequestId>,
        must_exist: bool,
    ) -> Result<Removed, ObjectError> {
        require_object(permit, bucket, key)?;
        if let Some(bypass) = removal.bypass {
            require_object(bypass, bucket, key)?;
        }
        let tenant = permit.tenant().clone();
        let task = Task {
            name: (tenant.clone(), bucket.clone(), key.clone()),
            version: removal.version,
            conditions: removal.conditions.to_vec(),
            if_size: removal.if_size,
            if_created_at: removal.if_created_at,
            bypass: removal.bypass.is_some(),
            must_exist,
            basis: permit.basis().cloned(),
            origin: Origin { tenant, actor: permit.principal().cloned(), request },
        };
        let engine = self.0.clone();
        self.0.write(move |tx| engine.carry_out(tx, task)).await
    }
}

impl Task {
    fn check(&self, row: &ObjectRow) -> Result<(), ObjectError> {
        let (_, bucket, key) = &self.name;
        if !was_judged(self.basis.as_ref(), row) {
            return Err(ObjectError::Busy);
        }
        check_conditions(bucket, key, &self.conditions, Some(row))?;
        let second = |at: Timestamp| at.as_micros().div_euclid(1_000_000);
        let is_other = self.if_size.is_some_and(|size| size != row.size)
            || self.if_created_at.is_some_and(|at| second(at) != second(row.created_at));
        match is_other {
            true => Err(ObjectError::PreconditionFailed {
                bucket: bucket.clone(),
                key: key.clone(),
                expected: Condition::Present,
                found: Some(row.etag()),
            }),
            false => Ok(()),
        }
    }
}

impl Engine {
    fn carry_out(&self, tx: &mut WriteTx<'_>, task: Task) -> Result<Removed, ObjectError> {
        let (tenant, bucket, key) = task.name.clone();
        if let Some(version) = task.version {
            let found = by_name(tx, &task.name, version)?;
            if let Some(Found::Current(row)) = &found {
                task.check(row)?;
            }
            if let Some(Found::Among(_, VersionRow::Object(row))) = &found {
                task.check(row)?;
            }
            let Some(found) = found else {
                // What went is what was never there, as long as the bucket is.
                bucket_row(tx, &tenant, &bucket)?;
                return Ok(Removed { version: Some(version), ..Removed::default() });
            };
            return self.remove_version(tx, &task.name, found, task.bypass, &task.origin);
        }
        let found = tx.get::<ObjectRows>(&task.name)?;
        if task.must_exist {
            check_conditions(&bucket, &key, &task.conditions, found.as_ref())?;
            if found.is_none() {
                return Err(ObjectError::not_found(&bucket, &key));
            }
        }
        if let Some(row) = &found {
            task.check(row)?;
        }
        let settings = bucket_row(tx, &tenant, &bucket)?;
        self.hide(tx, &task.name, &settings, found, &task.origin)
    }

    /// Deletes what a name shows: for good, or with a mark where the bucket keeps versions.
    pub(crate) fn hide(
        &self,
        tx: &mut WriteTx<'_>,
        name: &Name,
        settings: &BucketRow,
        found: Option<ObjectRow>,
        origin: &Origin,
    ) -> Result<Removed, ObjectError> {
        let (_, bucket, key) = name;
        if settings.versioning.is_none() {
            let Some(row) = found else { return Ok(Removed::default()) };
            self.retire(tx, name, &row, false)?;
            tx.delete::<ObjectRows>(name)?;
            trail::record(&self.events, tx, origin, "object.deleted", (bucket, key), &row)?;
            let object = Some(info(bucket.clone(), key.clone(), row));
            return Ok(Removed { object, ..Removed::default() });
        }
        let object = found.clone().map(|row| info(bucket.clone(), key.clone(), row));
        let successor = self.succeed(tx, name, settings, found.clone())?;
        tx.delete::<ObjectRows>(name)?;
        let marker = MarkerRow {
            version: Uuid::new_v4(),
            lineage: successor.lineage,
            created_at: self.now(),
            writer: origin.actor.clone(),
        };
        let version = marker.lineage.name(marker.version);
        keep(tx, name, successor.order, &VersionRow::Marker(marker))?;
        match &found {
            Some(row) => trail::record(&self.events, tx, origin, "object.deleted", (bucket, key), row)?,
            None => trail::record_marker(&self.events, tx, origin, "object.deleted", (bucket, key), version)?,
        }
        Ok(Removed { version: Some(version), is_marker: true, object })
    }

    /// Removes a version for good. If its name showed it, or its absence, the name shows what was there before.
    pub(crate) fn remove_version(
        &self,
        tx: &mut WriteTx<'_>,
        name: &Name,
        found: Found,
        bypass: bool,
        origin: &Origin,
    ) -> Result<Removed, ObjectError> {
        const VERB: &str = "object.version-deleted";
        let (_, bucket, key) = name;
        match found {
            Found::Current(row) => {
                self.retire(tx, name, &row, bypass)?;
                tx.delete::<ObjectRows>(name)?;
                promote(tx, name)?;
                trail::record(&self.events, tx, origin, VERB, (bucket, key), &row)?;
                let version = Some(row.name());
                let object = Some(info(bucket.clone(), key.clone(), *row));
                Ok(Removed { version, is_marker: false, object })
            }
            Found::Among(order, VersionRow::Object(row)) => {
                self.retire(tx, name, &row, bypass)?;
                take(tx, name, order, row.name())?;
                trail::record(&self.events, tx, origin, VERB, (bucket, key), &row)?;
                let version = Some(row.name());
                let object = Some(info(bucket.clone(), key.clone(), *row));
                Ok(Removed { version, is_marker: false, object })
            }
            Found::Among(order, marker @ VersionRow::Marker(_)) => {
                let was_newest = newest(tx, name)?.is_some_and(|(newest, _)| newest == order);
                take(tx, name, order, marker.name())?;
                if was_newest && tx.get::<ObjectRows>(name)?.is_none() {
                    promote(tx, name)?;
                }
                trail::record_marker(&self.events, tx, origin, VERB, (bucket, key), marker.name())?;
                Ok(Removed { version: Some(marker.name()), is_marker: true, object: None })
            }
        }
    }
}
