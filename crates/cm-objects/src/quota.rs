//! How much a bucket and a tenant may keep, and how much they do.
//!
//! What counts is what can be asked for: the bytes of every version that is shown or kept, and of the parts of uploads under way, whatever the
//! chunks share and however often they are copied. Objects are versions; marks of deletion are none. Counts change in the transaction that shows or
//! removes a version, and so do refusals: two writers never pass the limit together.
//!
//! The count of a bucket begins with the bucket; that of a tenant with its first quota, and so does that of buckets that are older than
//! counts. Until then nothing is counted for them. Every setting of a quota counts anew: a program that is older than counts and writes beside this one
//! changes none.

use std::fmt;

use cm_db::{KeyPrefix, ReadTx, Row, WriteTx};
use cm_events::{EventVerb, NewEvent, Outcome};
use cm_policy::{Permit, Read, Update};
use cm_types::{BucketName, RequestId, ResourceKind, ResourceRef, TenantId};
use serde::{Deserialize, Serialize};

use crate::encryption::stored_bytes;
use crate::objects::{Engine, require_bucket, require_bucket_exists};
use crate::rows::VersionRow;
use crate::tables::{Buckets, ObjectRows, Uploads, Versions, table};
use crate::{ObjectError, Objects};

/// Rows that are counted at a time.
const PAGE: usize = 1000;
/// Rows that are counted in one transaction, during which nothing else is written: objects, versions and uploads.
pub const COUNTED_MAX: usize = 2_000_000;
/// More than any object has, and far from the end of numbers.
const ENCRYPTED_MAX: u64 = 1 << 60;

table! {
    /// How much is in a bucket, and how much may be.
    BucketUsages, "object_bucket_usage", (TenantId, BucketName), UsageRow
}
table! {
    /// How much is in all buckets of a tenant, and how much may be; there since its first quota.
    TenantUsages, "object_tenant_usage", TenantId, UsageRow
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsageRow {
    pub(crate) bytes: u64,
    pub(crate) objects: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) objects_max: Option<u64>,
}

impl Row for UsageRow {}

/// How much may be kept; `None` is as much as there is room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all versions and parts.
    pub bytes_max: Option<u64>,
    /// Versions.
    pub objects_max: Option<u64>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all versions and parts.
    pub bytes: u64,
    /// Versions.
    pub objects: u64,
}

/// Whose quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaScope {
    /// A bucket's.
    Bucket(BucketName),
    /// A tenant's.
    Tenant(TenantId),
}

impl fmt::Display for QuotaScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(bucket) => write!(f, "bucket `{bucket}`"),
            Self::Tenant(tenant) => write!(f, "tenant `{tenant}`"),
        }
    }
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaUnit {
    /// Bytes.
    Bytes,
    /// Objects.
    Objects,
}

impl fmt::Display for QuotaUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Objects => "objects",
        })
    }
}

/// How many more bytes may come, and whose quota says so.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    scope: QuotaScope,
    max: u64,
}

impl Room {
    /// As much room for what is stored of encrypted bytes.
    pub(crate) fn for_stored(self) -> Self {
        Self { bytes: stored_bytes(self.bytes.min(ENCRYPTED_MAX)), ..self }
    }

    pub(crate) fn exceeded(&self) -> ObjectError {
        refusal(self.scope.clone(), QuotaUnit::Bytes, self.max)
    }
}

/// A refusal, which is counted.
fn refusal(scope: QuotaScope, unit: QuotaUnit, max: u64) -> ObjectError {
    metrics::counter!("cm_objects_quota_refusals_total").increment(1);
    ObjectError::QuotaExceeded { scope, unit, max }
}

impl UsageRow {
    fn split(self) -> (Quota, Usage) {
        let Self { bytes, objects, bytes_max, objects_max } = self;
        (Quota { bytes_max, objects_max }, Usage { bytes, objects })
    }

    fn with(self, quota: Quota) -> Self {
        Self { bytes_max: quota.bytes_max, objects_max: quota.objects_max, ..self }
    }

    fn add(&mut self, added: Usage, scope: impl Fn() -> QuotaScope) -> Result<(), ObjectError> {
        self.bytes = self.bytes.saturating_add(added.bytes);
        self.objects = self.objects.saturating_add(added.objects);
        let exceeded = |unit, max| Err(refusal(scope(), unit, max));
        if let Some(max) = self.bytes_max.filter(|max| added.bytes > 0 && self.bytes > *max) {
            return exceeded(QuotaUnit::Bytes, max);
        }
        match self.objects_max.filter(|max| added.objects > 0 && self.objects > *max) {
            Some(max) => exceeded(QuotaUnit::Objects, max),
            None => Ok(()),
        }
    }

    fn subtract(&mut self, removed: Usage) {
        self.bytes = self.bytes.saturating_sub(removed.bytes);
        self.objects = self.objects.saturating_sub(removed.objects);
    }
}

/// Counts what comes to a bucket.
///
/// # Errors
/// [`ObjectError::QuotaExceeded`].
pub(crate) fn charge(
    tx: &mut WriteTx<'_>,
    tenant: &TenantId,
    bucket: &BucketName,
    added: Usage,
) -> Result<(), ObjectError> {
    let key = (tenant.clone(), bucket.clone());
    if let Some(mut row) = tx.get::<BucketUsages>(&key)? {
        row.add(added, || QuotaScope::Bucket(bucket.clone()))?;
        tx.put::<BucketUsages>(&key, &row)?;
    }
    if let Some(mut row) = tx.get::<TenantUsages>(tenant)? {
        row.add(added, || QuotaScope::Tenant(tenant.clone()))?;
        tx.put::<TenantUsages>(tenant, &row)?;
    }
    Ok(())
}

/// Counts what goes from a bucket.
pub(crate) fn credit(
    tx: &mut WriteTx<'_>,
    tenant: &TenantId,
    bucket: &BucketName,
    removed: Usage,
) -> Result<(), ObjectError> {
    let key = (tenant.clone(), bucket.clone());
    if let Some(mut row) = tx.get::<BucketUsages>(&key)? {
        row.subtract(removed);
        tx.put::<BucketUsages>(&key, &row)?;
    }
    if let Some(mut row) = tx.get::<TenantUsages>(tenant)? {
        row.subtract(removed);
        tx.put::<TenantUsages>(tenant, &row)?;
    }
    Ok(())
}

/// How many bytes may come to a bucket now, if a quota says so, with so many objects and for what goes. A long body that cannot be shown is
/// refused as soon as it is longer.
///
/// # Errors
/// [`ObjectError::QuotaExceeded`] if the objects are too many, whatever their bytes.
pub(crate) fn room(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    bucket: &BucketName,
    objects: u64,
    goes: Usage,
) -> Result<Option<Room>, ObjectError> {
    let of_bucket = tx.get::<BucketUsages>(&(tenant.clone(), bucket.clone()))?;
    let of_tenant = tx.get::<TenantUsages>(tenant)?;
    let both =
        [(of_bucket, QuotaScope::Bucket(bucket.clone())), (of_tenant, QuotaScope::Tenant(tenant.clone()))];
    let mut least: Option<Room> = None;
    for (row, scope) in both {
        let Some(row) = row else { continue };
        let then = row.objects.saturating_sub(goes.objects).saturating_add(objects);
        if let Some(max) = row.objects_max.filter(|max| objects > 0 && then > *max) {
            return Err(refusal(scope, QuotaUnit::Objects, max));
        }
        let Some(max) = row.bytes_max else { continue };
        let bytes = max.saturating_add(goes.bytes).saturating_sub(row.bytes);
        if least.as_ref().is_none_or(|least| bytes < least.bytes) {
            least = Some(Room { bytes, scope, max });
        }
    }
    Ok(least)
}

/// Begins to count what a new bucket has.
pub(crate) fn begin(tx: &mut WriteTx<'_>, tenant: &TenantId, bucket: &BucketName) -> Result<(), ObjectError> {
    Ok(tx.put::<BucketUsages>(&(tenant.clone(), bucket.clone()), &UsageRow::default())?)
}

/// Forgets a bucket that goes and is empty.
pub(crate) fn end(tx: &mut WriteTx<'_>, tenant: &TenantId, bucket: &BucketName) -> Result<(), ObjectError> {
    tx.delete::<BucketUsages>(&(tenant.clone(), bucket.clone()))?;
    Ok(())
}

/// Counts what is in a bucket, unless that is more rows than are left to be counted; those that were looked at are none any more.
fn count(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    bucket: &BucketName,
    left: &mut usize,
) -> Result<Option<Usage>, ObjectError> {
    let mut looked_at = |rows: usize| {
        let enough = rows <= *left;
        *left = left.saturating_sub(rows);
        enough
    };
    let all = KeyPrefix::new().part(tenant).part(bucket);
    let mut row = Usage::default();
    let mut after = None;
    loop {
        let page = tx.prefix::<ObjectRows>(&all, after.as_ref(), PAGE)?;
        if !looked_at(page.len()) {
            return Ok(None);
        }
        row.objects += page.len() as u64;
        row.bytes += page.iter().map(|(_, object)| object.size).sum::<u64>();
        let Some((last, _)) = page.into_iter().last() else { break };
        after = Some(last);
    }
    let mut after = None;
    loop {
        let page = tx.prefix::<Versions>(&all, after.as_ref(), PAGE)?;
        if !looked_at(page.len()) {
            return Ok(None);
        }
        for (_, version) in &page {
            if let VersionRow::Object(object) = version {
                row.objects += 1;
                row.bytes += object.size;
            }
        }
        let Some((last, _)) = page.into_iter().last() else { break };
        after = Some(last);
    }
    let mut after = None;
    loop {
        let page = tx.prefix::<Uploads>(&all, after.as_ref(), PAGE)?;
        if !looked_at(page.len()) {
            return Ok(None);
        }
        row.bytes += page.iter().map(|(_, upload)| upload.bytes).sum::<u64>();
        let Some((last, _)) = page.into_iter().last() else { break };
        after = Some(last);
    }
    Ok(Some(row))
}

/// The count of a bucket, made anew; as it was if there is more than is left to be counted.
pub(crate) fn counted(
    tx: &mut WriteTx<'_>,
    tenant: &TenantId,
    bucket: &BucketName,
    left: &mut usize,
) -> Result<UsageRow, ObjectError> {
    let key = (tenant.clone(), bucket.clone());
    let old = tx.get::<BucketUsages>(&key)?;
    let row = match count(tx, tenant, bucket, left)? {
        Some(Usage { bytes, objects }) => UsageRow { bytes, objects, ..old.unwrap_or_default() },
        None => {
            old.ok_or_else(|| ObjectError::TooMuchToCount { bucket: bucket.clone(), max: COUNTED_MAX })?
        }
    };
    tx.put::<BucketUsages>(&key, &row)?;
    Ok(row)
}

impl Objects {
    /// How much a bucket may keep, and how much it does; `None` for one that is older than counts and never had a quota.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn bucket_quota(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
    ) -> Result<(Quota, Option<Usage>), ObjectError> {
        require_bucket(permit, bucket)?;
        let key = (permit.tenant().clone(), bucket.clone());
        self.0
            .db
            .read(move |tx| {
                require_bucket_exists(tx, &key.0, &key.1)?;
                let row = tx.get::<BucketUsages>(&key)?.map(UsageRow::split);
                Ok(row.map_or((Quota::default(), None), |(quota, usage)| (quota, Some(usage))))
            })
            .await
    }

    /// How much a tenant may keep, and how much it does; `None` while it never had a quota.
    ///
    /// This concerns the node and not a tenant: the caller decides who may ask for it.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn tenant_quota(&self, tenant: &TenantId) -> Result<(Quota, Option<Usage>), ObjectError> {
        let tenant = tenant.clone();
        self.0
            .db
            .read(move |tx| {
                let row = tx.get::<TenantUsages>(&tenant)?.map(UsageRow::split);
                Ok(row.map_or((Quota::default(), None), |(quota, usage)| (quota, Some(usage))))
            })
            .await
    }

    /// Says how much a bucket may keep, and answers with how much it does. What is there stays though it is more; then nothing is added until enough has gone. What the
    /// bucket has is counted anew, limits or not, which takes a few seconds for each million of objects, during which nothing else is written. Of more rows than
    /// [`COUNTED_MAX`] the count stays as it was.
    ///
    /// The permit is one to change the tenant: a quota binds whoever may change the bucket.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`]; [`ObjectError::TooMuchToCount`] for a bucket that is older than counts.
    pub async fn set_bucket_quota(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        quota: Quota,
        request: Option<RequestId>,
    ) -> Result<Usage, ObjectError> {
        let tenant = permit.tenant().clone();
        self.require_tenant(permit)?;
        let (engine, permit, bucket) = (self.0.clone(), permit.clone(), bucket.clone());
        self.0
            .write(move |tx| {
                require_bucket_exists(tx, &tenant, &bucket)?;
                let mut left = COUNTED_MAX;
                let row = counted(tx, &tenant, &bucket, &mut left)?.with(quota);
                tx.put::<BucketUsages>(&(tenant.clone(), bucket.clone()), &row)?;
                let resource = ResourceRef::new(ResourceKind::Bucket, bucket.as_str());
                engine.record_quota(tx, &permit, tenant, resource, quota, request)?;
                Ok(row.split().1)
            })
            .await
    }

    /// Says how much a tenant may keep in all its buckets, as [`Objects::set_bucket_quota`] does of one.
    ///
    /// The permit is one to change tenants; whether it is good for this one the caller decides.
    ///
    /// # Errors
    /// [`ObjectError::NotPermitted`]; [`ObjectError::TooMuchToCount`] for buckets that are older than counts; those of the tables.
    pub async fn set_tenant_quota(
        &self,
        permit: &Permit<Update>,
        tenant: &TenantId,
        quota: Quota,
        request: Option<RequestId>,
    ) -> Result<Usage, ObjectError> {
        self.require_tenant(permit)?;
        let (engine, permit, tenant) = (self.0.clone(), permit.clone(), tenant.clone());
        self.0
            .write(move |tx| {
                let row = sum(tx, &tenant)?.with(quota);
                tx.put::<TenantUsages>(&tenant, &row)?;
                let resource = ResourceRef::new(ResourceKind::Tenant, tenant.as_str());
                let of = permit.tenant().clone();
                engine.record_quota(tx, &permit, of, resource, quota, request)?;
                Ok(row.split().1)
            })
            .await
    }

    /// Forgets a tenant that goes, in the caller's transaction.
    ///
    /// # Errors
    /// Those of the tables.
    pub fn forget_tenant(&self, tx: &mut WriteTx<'_>, tenant: &TenantId) -> Result<(), ObjectError> {
        tx.delete::<TenantUsages>(tenant)?;
        Ok(())
    }

    fn require_tenant(&self, permit: &Permit<Update>) -> Result<(), ObjectError> {
        match permit.covers_collection(permit.tenant(), ResourceKind::Tenant) {
            true => Ok(()),
            false => Err(ObjectError::NotPermitted { wanted: ResourceRef::new(ResourceKind::Tenant, "*") }),
        }
    }
}

/// What all buckets of a tenant have, as far as that can be counted anew.
fn sum(tx: &mut WriteTx<'_>, tenant: &TenantId) -> Result<UsageRow, ObjectError> {
    let (mut sum, mut left) = (UsageRow::default(), COUNTED_MAX);
    let mut after = None;
    loop {
        let page = tx.prefix::<Buckets>(KeyPrefix::new().part(tenant), after.as_ref(), PAGE)?;
        for ((_, bucket), _) in &page {
            let row = counted(tx, tenant, bucket, &mut left)?;
            sum.bytes = sum.bytes.saturating_add(row.bytes);
            sum.objects = sum.objects.saturating_add(row.objects);
        }
        let Some((last, _)) = page.into_iter().last() else { return Ok(sum) };
        after = Some(last);
    }
}

impl Engine {
    fn record_quota(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Update>,
        tenant: TenantId,
        resource: ResourceRef,
        quota: Quota,
        request: Option<RequestId>,
    ) -> Result<(), ObjectError> {
        let mut facts = serde_json::Map::new();
        facts.insert("bytes_max".to_owned(), quota.bytes_max.into());
        facts.insert("objects_max".to_owned(), quota.objects_max.into());
        let event = NewEvent {
            tenant,
            actor: permit.principal().cloned(),
            verb: EventVerb::fixed("quota.set"),
            resource: Some(resource),
            request,
            outcome: Outcome::Allowed,
            facts,
        };
        self.events.append(tx, event)?;
        Ok(())
    }
}
