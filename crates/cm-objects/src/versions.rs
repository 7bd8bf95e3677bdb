//! Versions of objects: whether a bucket keeps them, and what they are called.
//!
//! What a name shows is one row, as in a bucket without versions. Whatever else the name has been stands in a table of its
//! own, the newest first: earlier objects, and the marks of its deletions. Hence reading, writing and listing
//! objects cost the same with versions and without.

use std::fmt;

use cm_db::{ReadTx, WriteTx};
use cm_policy::{Permit, Read, Update};
use cm_types::{BucketName, ObjectKey, PrincipalId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::objects::{Engine, bucket_row, info, require_bucket};
use crate::quota;
use crate::rows::{BucketRow, Lineage, MarkerRow, ObjectRow, OrderRow, VersionRow};
use crate::tables::{Buckets, Newest, ObjectRows, VersionIds, VersionKey, Versions};
use crate::trail::{self, Origin};
use crate::{ObjectError, ObjectInfo, Objects, Usage};

/// What happens to an object that is replaced or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Versioning {
    /// It stays, as an earlier version.
    Enabled,
    /// What was kept stays, and new objects have no version of their own: they replace the null version.
    Suspended,
}

/// What a version is called within its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionName {
    /// The one that was written while its bucket kept no versions. There is one at most.
    Null,
    /// One of those that were kept.
    Own(Uuid),
}

impl VersionName {
    /// Reads what [`fmt::Display`] writes. `None` if no version can be called so.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "null" => Some(Self::Null),
            text => Uuid::try_parse(text).ok().filter(|id| !id.is_nil()).map(Self::Own),
        }
    }

    pub(crate) fn row_key(self) -> VersionKey {
        match self {
            Self::Null => VersionKey(Uuid::nil()),
            Self::Own(id) => VersionKey(id),
        }
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Own(id) => id.fmt(f),
        }
    }
}

/// The mark that a deletion leaves where versions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerInfo {
    /// The name that was deleted.
    pub key: ObjectKey,
    /// What the mark is called: it is a version too.
    pub version: VersionName,
    /// Who deleted it.
    pub writer: Option<PrincipalId>,
    /// When.
    pub created_at: Timestamp,
}

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// An object.
    Object(Box<ObjectInfo>),
    /// Its absence.
    Marker(MarkerInfo),
}

impl Version {
    /// The name that it is a version of.
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Object(info) => &info.key,
            Self::Marker(info) => &info.key,
        }
    }

    /// What it is called.
    pub fn name(&self) -> VersionName {
        match self {
            Self::Object(info) => info.version_name(),
            Self::Marker(info) => info.version,
        }
    }

    /// When it came to be.
    pub fn created_at(&self) -> Timestamp {
        match self {
            Self::Object(info) => info.created_at,
            Self::Marker(info) => info.created_at,
        }
    }

    pub(crate) fn of(bucket: BucketName, key: ObjectKey, row: VersionRow) -> Self {
        match row {
            VersionRow::Object(row) => Self::Object(Box::new(info(bucket, key, *row))),
            VersionRow::Marker(MarkerRow { version, lineage, created_at, writer }) => {
                Self::Marker(MarkerInfo { key, version: lineage.name(version), writer, created_at })
            }
        }
    }
}

impl Objects {
    /// Whether a bucket keeps versions; `None` if nobody has ever asked for it.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn versioning(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
    ) -> Result<Option<Versioning>, ObjectError> {
        require_bucket(permit, bucket)?;
        let (tenant, bucket) = (permit.tenant().clone(), bucket.clone());
        self.0.db.read(move |tx| Ok(bucket_row(tx, &tenant, &bucket)?.versioning)).await
    }

    /// Makes a bucket keep versions, or no more of them. There is no way back to a bucket that never kept any.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`]; [`ObjectError::LockingNeedsVersions`] for a bucket whose objects can be locked;
    /// [`ObjectError::NotPermitted`].
    pub async fn set_versioning(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        versioning: Versioning,
    ) -> Result<(), ObjectError> {
        self.change_bucket(permit, bucket, "bucket.versioning-set", move |bucket, row| {
            if row.locking.is_some() && versioning != Versioning::Enabled {
                return Err(ObjectError::LockingNeedsVersions { bucket: bucket.clone() });
            }
            row.versioning = Some(versioning);
            Ok(())
        })
        .await
    }

    /// Changes what is kept about a bucket, and says so.
    pub(crate) async fn change_bucket(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        verb: &'static str,
        change: impl FnOnce(&BucketName, &mut BucketRow) -> Result<(), ObjectError> + Send + 'static,
    ) -> Result<(), ObjectError> {
        require_bucket(permit, bucket)?;
        let origin =
            Origin { tenant: permit.tenant().clone(), actor: permit.principal().cloned(), request: None };
        let (engine, bucket) = (self.0.clone(), bucket.clone());
        self.0
            .write(move |tx| {
                let mut row = bucket_row(tx, &origin.tenant, &bucket)?;
                change(&bucket, &mut row)?;
                tx.put::<Buckets>(&(origin.tenant.clone(), bucket.clone()), &row)?;
                trail::record_bucket(&engine.events, tx, &origin, verb, &bucket)
            })
            .await
    }
}

/// An object's name, as tables have it.
pub(crate) type Name = (TenantId, BucketName, ObjectKey);

fn place(name: &Name, order: u64) -> (TenantId, BucketName, ObjectKey, Newest) {
    (name.0.clone(), name.1.clone(), name.2.clone(), Newest(order))
}

fn by_id(name: &Name, version: VersionName) -> (TenantId, BucketName, ObjectKey, VersionKey) {
    (name.0.clone(), name.1.clone(), name.2.clone(), version.row_key())
}

/// The newest of what a name is not, or no longer.
pub(crate) fn newest(tx: &ReadTx<'_>, name: &Name) -> Result<Option<(u64, VersionRow)>, ObjectError> {
    let all = cm_db::KeyPrefix::new().part(&name.0).part(&name.1).part(&name.2);
    let first = tx.prefix::<Versions>(all, None, 1)?.pop();
    Ok(first.map(|((_, _, _, Newest(order)), row)| (order, row)))
}

/// Where a version was found.
pub(crate) enum Found {
    /// It is what the name shows.
    Current(Box<ObjectRow>),
    /// It stands among the others, under this order.
    Among(u64, VersionRow),
}

/// A version by what it is called.
pub(crate) fn by_name(
    tx: &ReadTx<'_>,
    name: &Name,
    wanted: VersionName,
) -> Result<Option<Found>, ObjectError> {
    if let Some(row) = tx.get::<ObjectRows>(name)?.filter(|row| row.name() == wanted) {
        return Ok(Some(Found::Current(Box::new(row))));
    }
    let Some(OrderRow { order }) = tx.get::<VersionIds>(&by_id(name, wanted))? else { return Ok(None) };
    Ok(tx.get::<Versions>(&place(name, order))?.map(|row| Found::Among(order, row)))
}

/// The object that is meant: what the name shows, or the version that is asked for.
pub(crate) fn look(
    tx: &ReadTx<'_>,
    name: &Name,
    wanted: Option<VersionName>,
) -> Result<ObjectRow, ObjectError> {
    let (bucket, key) = (name.1.clone(), name.2.clone());
    let Some(version) = wanted else {
        if let Some(row) = tx.get::<ObjectRows>(name)? {
            return Ok(row);
        }
        let marker = newest(tx, name)?.map(|(_, row)| row.name());
        return Err(ObjectError::NotFound { bucket, key, marker });
    };
    match by_name(tx, name, version)? {
        Some(Found::Current(row)) => Ok(*row),
        Some(Found::Among(_, VersionRow::Object(row))) => Ok(*row),
        Some(Found::Among(_, VersionRow::Marker(row))) => {
            Err(ObjectError::IsMarker { bucket, key, version, created_at: row.created_at })
        }
        None => Err(ObjectError::VersionNotFound { bucket, key, version }),
    }
}

/// Puts a row back that was changed.
pub(crate) fn store(tx: &mut WriteTx<'_>, name: &Name, found: Found) -> Result<(), ObjectError> {
    match found {
        Found::Current(row) => tx.put::<ObjectRows>(name, &row)?,
        Found::Among(order, row) => tx.put::<Versions>(&place(name, order), &row)?,
    }
    Ok(())
}

/// Puts a version among those that its name does not show.
pub(crate) fn keep(
    tx: &mut WriteTx<'_>,
    name: &Name,
    order: u64,
    row: &VersionRow,
) -> Result<(), ObjectError> {
    tx.insert::<Versions>(&place(name, order), row)?;
    tx.put::<VersionIds>(&by_id(name, row.name()), &OrderRow { order })?;
    Ok(())
}

/// Takes a version from among those that its name does not show.
pub(crate) fn take(
    tx: &mut WriteTx<'_>,
    name: &Name,
    order: u64,
    version: VersionName,
) -> Result<(), ObjectError> {
    tx.delete::<Versions>(&place(name, order))?;
    tx.delete::<VersionIds>(&by_id(name, version))?;
    Ok(())
}

/// Shows the newest version, if that is an object, under a name that shows none.
pub(crate) fn promote(tx: &mut WriteTx<'_>, name: &Name) -> Result<(), ObjectError> {
    if let Some((order, VersionRow::Object(row))) = newest(tx, name)? {
        take(tx, name, order, row.name())?;
        tx.put::<ObjectRows>(name, &row)?;
    }
    Ok(())
}

/// What a new version is to be, after what there was has made way for it.
pub(crate) struct Succession {
    pub(crate) lineage: Lineage,
    pub(crate) order: u64,
}

/// What [`Engine::succeed`] gives up for a new version, as long as it is not locked.
pub(crate) fn gives_way(
    tx: &ReadTx<'_>,
    name: &Name,
    bucket: &BucketRow,
    old: Option<&ObjectRow>,
) -> Result<Usage, ObjectError> {
    let usage = |row: &ObjectRow| Usage { bytes: row.size, objects: 1 };
    Ok(match bucket.versioning {
        None => old.map(usage).unwrap_or_default(),
        Some(Versioning::Enabled) => Usage::default(),
        Some(Versioning::Suspended) => match by_name(tx, name, VersionName::Null)? {
            Some(Found::Current(row)) => usage(&row),
            Some(Found::Among(_, VersionRow::Object(row))) => usage(&row),
            Some(Found::Among(_, VersionRow::Marker(_))) | None => Usage::default(),
        },
    })
}

impl Engine {
    /// Makes way for a new version: what the name shows is kept, or goes, as the bucket wants it. The row under the name
    /// itself is left to the caller.
    pub(crate) fn succeed(
        &self,
        tx: &mut WriteTx<'_>,
        name: &Name,
        bucket: &BucketRow,
        old: Option<ObjectRow>,
    ) -> Result<Succession, ObjectError> {
        let lineage = match bucket.versioning {
            None => {
                if let Some(old) = &old {
                    self.retire(tx, name, old, false)?;
                }
                return Ok(Succession { lineage: Lineage::Unversioned, order: 0 });
            }
            Some(Versioning::Enabled) => Lineage::Own,
            Some(Versioning::Suspended) => Lineage::Null,
        };
        let last = match &old {
            Some(old) => old.order,
            None => newest(tx, name)?.map_or(0, |(order, _)| order),
        };
        let now = u64::try_from(self.now().as_micros()).unwrap_or_default();
        let order = now.max(last.saturating_add(1));
        match (lineage, old) {
            (Lineage::Null, Some(old)) if old.name() == VersionName::Null => {
                self.retire(tx, name, &old, false)?
            }
            (_, old) => {
                if lineage == Lineage::Null {
                    self.displace_null(tx, name)?;
                }
                if let Some(old) = old {
                    keep(tx, name, old.order, &VersionRow::Object(Box::new(old)))?;
                }
            }
        }
        Ok(Succession { lineage, order })
    }

    /// A null version that is not shown gives way to a new one.
    fn displace_null(&self, tx: &mut WriteTx<'_>, name: &Name) -> Result<(), ObjectError> {
        let Some(Found::Among(order, row)) = by_name(tx, name, VersionName::Null)? else { return Ok(()) };
        if let VersionRow::Object(row) = &row {
            self.retire(tx, name, row, false)?;
        }
        take(tx, name, order, VersionName::Null)
    }

    /// Gives the bytes of a version up, unless it is locked. Its row is left to the caller.
    pub(crate) fn retire(
        &self,
        tx: &mut WriteTx<'_>,
        name: &Name,
        row: &ObjectRow,
        bypass: bool,
    ) -> Result<(), ObjectError> {
        if row.protection.holds(self.now(), bypass) {
            let (_, bucket, key) = name.clone();
            return Err(ObjectError::Locked { bucket, key, version: row.name() });
        }
        quota::credit(tx, &name.0, &name.1, Usage { bytes: row.size, objects: 1 })?;
        self.doom(tx, row.version)
    }
}
