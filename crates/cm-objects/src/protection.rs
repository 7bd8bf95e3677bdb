//! Locks: versions that nobody may delete before a moment, or as long as somebody holds them.

use cm_db::WriteTx;
use cm_policy::{Create, Grant, Permit, Read, Update};
use cm_types::{BucketName, ObjectKey, ResourceKind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::objects::{bucket_row, require_bucket, require_object};
use crate::rows::VersionRow;
use crate::tables::Buckets;
use crate::trail::{self, Origin};
use crate::versions::{Found, Name, VersionName, Versioning, by_name, look, store};
use crate::{ObjectError, ObjectInfo, Objects};

const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

/// How strict a retention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Whoever may give the bucket's permissions may end it.
    Governance,
    /// Nobody may end or shorten it.
    Compliance,
}

/// Until when a version stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// How strictly.
    pub mode: Mode,
    /// Until when.
    pub until: Timestamp,
}

/// What keeps a version from being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// Until when it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Whether somebody holds it, until they let go; `None` if nobody has ever said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legal_hold: Option<bool>,
}

impl Protection {
    /// Whether it says nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the version must stay.
    pub fn holds(&self, now: Timestamp, bypass: bool) -> bool {
        let retained = self.retention.is_some_and(|retention| {
            retention.until > now && !(bypass && retention.mode == Mode::Governance)
        });
        self.legal_hold == Some(true) || retained
    }
}

/// How long something lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Days of 24 hours.
    Days(u32),
    /// Years of 365 days.
    Years(u32),
}

impl Period {
    fn after(self, start: Timestamp) -> Timestamp {
        let days = match self {
            Self::Days(days) => i64::from(days),
            Self::Years(years) => i64::from(years) * 365,
        };
        Timestamp::from_micros(start.as_micros().saturating_add(days.saturating_mul(DAY_MICROS)))
    }
}

/// The retention of versions of which nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// How strict it is.
    pub mode: Mode,
    /// How long.
    pub period: Period,
}

/// That versions of a bucket can be locked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locking {
    /// How new versions are, unless their writer says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultRetention>,
}

impl Locking {
    /// What a new version is protected by.
    pub(crate) fn protect(locking: Option<Self>, said: Protection, now: Timestamp) -> Protection {
        let default = locking.and_then(|locking| locking.default);
        let default =
            default.map(|default| Retention { mode: default.mode, until: default.period.after(now) });
        Protection { retention: said.retention.or(default), ..said }
    }
}

/// What is to become of a version's protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectionChange {
    /// Another retention, or none.
    Retention(Option<Retention>),
    /// Whether it is held.
    LegalHold(bool),
}

impl Objects {
    /// Whether versions of a bucket can be locked, and how they are by default.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn locking(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
    ) -> Result<Option<Locking>, ObjectError> {
        require_bucket(permit, bucket)?;
        let (tenant, bucket) = (permit.tenant().clone(), bucket.clone());
        self.0.db.read(move |tx| Ok(bucket_row(tx, &tenant, &bucket)?.locking)).await
    }

    /// Lets versions of a bucket be locked, for ever, and says how they are by default.
    ///
    /// # Errors
    /// [`ObjectError::LockingNeedsVersions`] unless the bucket keeps versions, or `with_versions` makes it keep them;
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn set_locking(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        locking: Locking,
        with_versions: bool,
    ) -> Result<(), ObjectError> {
        self.change_bucket(permit, bucket, "bucket.locking-set", move |bucket, row| {
            if with_versions {
                row.versioning = Some(Versioning::Enabled);
            }
            if row.versioning != Some(Versioning::Enabled) {
                return Err(ObjectError::LockingNeedsVersions { bucket: bucket.clone() });
            }
            row.locking = Some(locking);
            Ok(())
        })
        .await
    }

    /// Lets versions of a bucket be locked that is being created, in the transaction that creates it.
    ///
    /// # Errors
    /// [`ObjectError::NotPermitted`], [`ObjectError::BucketNotFound`].
    pub fn set_first_locking(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Create>,
        bucket: &BucketName,
    ) -> Result<(), ObjectError> {
        let tenant = permit.tenant();
        if !permit.covers_collection(tenant, ResourceKind::Bucket) {
            require_bucket(permit, bucket)?;
        }
        let mut row = bucket_row(tx, tenant, bucket)?;
        row.versioning = Some(Versioning::Enabled);
        row.locking = Some(Locking::default());
        tx.put::<Buckets>(&(tenant.clone(), bucket.clone()), &row)?;
        let origin = Origin { tenant: tenant.clone(), actor: permit.principal().cloned(), request: None };
        trail::record_bucket(&self.0.events, tx, &origin, "bucket.locking-set", bucket)
    }

    /// A version of a bucket whose versions can be locked.
    ///
    /// # Errors
    /// [`ObjectError::NotLockable`], and those of [`Objects::head_version`].
    pub async fn protected(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
    ) -> Result<ObjectInfo, ObjectError> {
        require_object(permit, bucket, key)?;
        let name = (permit.tenant().clone(), bucket.clone(), key.clone());
        self.0
            .db
            .read(move |tx| {
                let row = look_lockable(tx, &name, version)?;
                Ok(crate::objects::info(name.1, name.2, row))
            })
            .await
    }

    /// Changes what keeps a version from being deleted. A retention that has not passed may be prolonged; only `bypass`,
    /// leave to give the object's permissions, ends, shortens or changes one for governance.
    ///
    /// # Errors
    /// [`ObjectError::NotLockable`], [`ObjectError::Locked`], and those of [`Objects::head_version`].
    pub async fn protect(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
        change: ProtectionChange,
        bypass: Option<&Permit<Grant>>,
    ) -> Result<(), ObjectError> {
        require_object(permit, bucket, key)?;
        if let Some(bypass) = bypass {
            require_object(bypass, bucket, key)?;
        }
        let bypass = bypass.is_some();
        let origin =
            Origin { tenant: permit.tenant().clone(), actor: permit.principal().cloned(), request: None };
        let name = (origin.tenant.clone(), bucket.clone(), key.clone());
        let engine = self.0.clone();
        self.0
            .write(move |tx| {
                let row = look_lockable(tx, &name, version)?;
                let version = row.name();
                if let ProtectionChange::Retention(new) = change
                    && !may_change(row.protection.retention, new, engine.now(), bypass)
                {
                    let (_, bucket, key) = name;
                    return Err(ObjectError::Locked { bucket, key, version });
                }
                let verb = match change {
                    ProtectionChange::Retention(_) => "object.retention-set",
                    ProtectionChange::LegalHold(true) => "object.held",
                    ProtectionChange::LegalHold(false) => "object.released",
                };
                let changed = |row: &mut crate::rows::ObjectRow| match change {
                    ProtectionChange::Retention(retention) => row.protection.retention = retention,
                    ProtectionChange::LegalHold(held) => row.protection.legal_hold = Some(held),
                };
                change_version(tx, &name, version, changed)?;
                trail::record(&engine.events, tx, &origin, verb, (&name.1, &name.2), &row)
            })
            .await
    }
}

fn look_lockable(
    tx: &cm_db::ReadTx<'_>,
    name: &Name,
    version: Option<VersionName>,
) -> Result<crate::rows::ObjectRow, ObjectError> {
    if bucket_row(tx, &name.0, &name.1)?.locking.is_none() {
        return Err(ObjectError::NotLockable { bucket: name.1.clone() });
    }
    look(tx, name, version)
}

/// Changes the row of a version that is an object, wherever it stands.
pub(crate) fn change_version(
    tx: &mut cm_db::WriteTx<'_>,
    name: &Name,
    version: VersionName,
    change: impl FnOnce(&mut crate::rows::ObjectRow),
) -> Result<(), ObjectError> {
    match by_name(tx, name, version)? {
        Some(Found::Current(mut row)) => {
            change(&mut row);
            store(tx, name, Found::Current(row))
        }
        Some(Found::Among(order, VersionRow::Object(mut row))) => {
            change(&mut row);
            store(tx, name, Found::Among(order, VersionRow::Object(row)))
        }
        _ => {
            let (_, bucket, key) = name.clone();
            Err(ObjectError::VersionNotFound { bucket, key, version })
        }
    }
}

fn may_change(old: Option<Retention>, new: Option<Retention>, now: Timestamp, bypass: bool) -> bool {
    let Some(old) = old.filter(|old| old.until > now) else { return true };
    let prolongs = new.is_some_and(|new| new.mode == old.mode && new.until >= old.until);
    prolongs || (old.mode == Mode::Governance && bypass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retentions_are_prolonged_by_anybody_and_shortened_by_few() {
        let at = |hours: i64| Timestamp::from_micros(hours * 3_600_000_000);
        let retention = |mode, hours| Some(Retention { mode, until: at(hours) });
        let check = |old, new, bypass, expected| {
            assert_eq!(may_change(old, new, at(10), bypass), expected, "{old:?} {new:?} {bypass}");
        };
        use Mode::{Compliance, Governance};
        check(None, retention(Compliance, 20), false, true);
        check(retention(Compliance, 9), None, false, true);
        check(retention(Compliance, 20), retention(Compliance, 21), false, true);
        check(retention(Compliance, 20), retention(Compliance, 19), true, false);
        check(retention(Compliance, 20), retention(Governance, 21), true, false);
        check(retention(Governance, 20), retention(Governance, 19), false, false);
        check(retention(Governance, 20), retention(Governance, 19), true, true);
        check(retention(Governance, 20), retention(Compliance, 21), false, false);
        check(retention(Governance, 20), None, true, true);
    }
}
