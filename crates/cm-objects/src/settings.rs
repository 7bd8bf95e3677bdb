//! What the owner of a bucket says about it: how it is shared, and settings that the engine only keeps.
//!
//! How a bucket and its objects are shared is stored here, beside them, and judged in [`cm_policy::sharing`]. Every change is
//! one transaction with its event.

use cm_db::{DbError, KeyPrefix, ReadTx, Row, Table, WriteTx};
use cm_events::{EventVerb, NewEvent, Outcome};
use cm_policy::sharing::BucketSharing;
use cm_policy::{Grant, Permit, Read, Update};
use cm_types::{BucketName, RequestId, ResourceKind, ResourceRef, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::network::tables::BucketElastics;
use crate::objects::{bucket_row, require_bucket, require_bucket_exists};
use crate::rows::BucketRow;
use crate::tables::Buckets;
use crate::{ObjectError, Objects};

/// Longest setting, in bytes.
pub const SETTING_BYTES_MAX: usize = 64 * 1024;
/// No bucket has more settings than there are names of settings.
const SETTINGS_MAX: usize = 16;

/// How buckets are shared.
pub(crate) struct BucketSharings;

impl Table for BucketSharings {
    const NAME: &'static str = "object_bucket_sharing";
    type Key = (TenantId, BucketName);
    type Row = SharingRow;
}

/// Settings that the engine only keeps, by their names.
pub(crate) struct BucketSettings;

impl Table for BucketSettings {
    const NAME: &'static str = "object_bucket_settings";
    type Key = (TenantId, BucketName, String);
    type Row = SettingRow;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SharingRow {
    pub(crate) sharing: BucketSharing,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SettingRow {
    pub(crate) value: String,
}

impl Row for SharingRow {}
impl Row for SettingRow {}

/// A setting that the engine only keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Which pages of the web may use the bucket.
    Cors,
    /// How new objects are encrypted.
    Encryption,
    /// Where its maker wanted it to be; told, and without effect.
    Location,
}

impl Setting {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cors => "cors",
            Self::Encryption => "encryption",
            Self::Location => "location",
        }
    }
}

/// Who changed what, for the event.
pub(crate) struct Change<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) bucket: &'a BucketName,
    pub(crate) actor: Option<cm_types::PrincipalId>,
    pub(crate) request: Option<RequestId>,
}

impl Objects {
    /// How a bucket is shared; `None` where nothing was ever said.
    ///
    /// # Errors
    /// Those of the database.
    pub fn sharing(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        bucket: &BucketName,
    ) -> Result<Option<BucketSharing>, DbError> {
        Ok(tx.get::<BucketSharings>(&(tenant.clone(), bucket.clone()))?.map(|row| row.sharing))
    }

    /// Says how a new bucket is shared, within the transaction that creates it.
    ///
    /// # Errors
    /// Those of the database.
    pub fn set_first_sharing(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<cm_policy::Create>,
        bucket: &BucketName,
        sharing: BucketSharing,
    ) -> Result<(), ObjectError> {
        let tenant = permit.tenant();
        if !permit.covers_collection(tenant, ResourceKind::Bucket) {
            require_bucket(permit, bucket)?;
        }
        Ok(tx.insert::<BucketSharings>(&(tenant.clone(), bucket.clone()), &SharingRow { sharing })?)
    }

    /// Says where the maker of a new bucket wants it to be, within the transaction that creates it.
    ///
    /// # Errors
    /// Those of the database.
    pub fn set_first_location(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<cm_policy::Create>,
        bucket: &BucketName,
        location: String,
    ) -> Result<(), ObjectError> {
        let tenant = permit.tenant();
        if !permit.covers_collection(tenant, ResourceKind::Bucket) {
            require_bucket(permit, bucket)?;
        }
        if location.len() > SETTING_BYTES_MAX {
            return Err(ObjectError::TooLarge { max: SETTING_BYTES_MAX as u64 });
        }
        let key = (tenant.clone(), bucket.clone(), Setting::Location.name().to_owned());
        Ok(tx.insert::<BucketSettings>(&key, &SettingRow { value: location })?)
    }

    /// Changes what the row of a bucket says, and leaves the event of the setting with its new value.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub(crate) async fn set_in_bucket(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        (setting, value): (&'static str, Value),
        request: Option<RequestId>,
        change: impl FnOnce(&mut BucketRow) + Send + 'static,
    ) -> Result<(), ObjectError> {
        require_bucket(permit, bucket)?;
        let (engine, permit, bucket) = (self.0.clone(), permit.clone(), bucket.clone());
        self.0
            .write(move |tx| {
                let tenant = permit.tenant();
                let mut row = bucket_row(tx, tenant, &bucket)?;
                change(&mut row);
                tx.put::<Buckets>(&(tenant.clone(), bucket.clone()), &row)?;
                let mut facts = Map::new();
                facts.insert("setting".to_owned(), setting.into());
                facts.insert("value".to_owned(), value);
                let by = Change { tenant, bucket: &bucket, actor: permit.principal().cloned(), request };
                record(&engine.events, tx, "bucket.set", by, facts)
            })
            .await
    }

    /// Changes how a bucket is shared, and answers with the outcome. What `change` refuses is not changed.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`]; within, what `change` refused with.
    pub async fn share<E: Send + 'static>(
        &self,
        permit: &Permit<Grant>,
        bucket: &BucketName,
        request: Option<RequestId>,
        change: impl FnOnce(&mut BucketSharing) -> Result<(), E> + Send + 'static,
    ) -> Result<Result<BucketSharing, E>, ObjectError> {
        require_bucket(permit, bucket)?;
        let (engine, permit, bucket) = (self.0.clone(), permit.clone(), bucket.clone());
        self.0
            .write(move |tx| {
                let tenant = permit.tenant();
                require_bucket_exists(tx, tenant, &bucket)?;
                let key = (tenant.clone(), bucket.clone());
                let before = tx.get::<BucketSharings>(&key)?.map(|row| row.sharing).unwrap_or_default();
                let mut sharing = before.clone();
                if let Err(refusal) = change(&mut sharing) {
                    return Ok(Err(refusal));
                }
                tx.put::<BucketSharings>(&key, &SharingRow { sharing: sharing.clone() })?;
                let mut facts = Map::new();
                facts.insert("changed".to_owned(), changed(&before, &sharing));
                facts.insert("public".to_owned(), sharing.is_public().into());
                let by = Change { tenant, bucket: &bucket, actor: permit.principal().cloned(), request };
                record(&engine.events, tx, "bucket.shared", by, facts)?;
                Ok(Ok(sharing))
            })
            .await
    }

    /// A setting.
    ///
    /// # Errors
    /// [`ObjectError::NotPermitted`].
    pub async fn setting(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
        setting: Setting,
    ) -> Result<Option<String>, ObjectError> {
        require_bucket(permit, bucket)?;
        self.setting_of(permit.tenant(), bucket, setting).await
    }

    /// A setting that decides how requests are served, whoever sends them: to be applied, not to be told.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn setting_of(
        &self,
        tenant: &TenantId,
        bucket: &BucketName,
        setting: Setting,
    ) -> Result<Option<String>, ObjectError> {
        let key = (tenant.clone(), bucket.clone(), setting.name().to_owned());
        self.0.db.read(move |tx| Ok(tx.get::<BucketSettings>(&key)?.map(|row| row.value))).await
    }

    /// Changes a setting; `None` removes it.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`], [`ObjectError::TooLarge`].
    pub async fn set_setting(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        setting: Setting,
        value: Option<String>,
        request: Option<RequestId>,
    ) -> Result<(), ObjectError> {
        require_bucket(permit, bucket)?;
        if value.as_ref().is_some_and(|value| value.len() > SETTING_BYTES_MAX) {
            return Err(ObjectError::TooLarge { max: SETTING_BYTES_MAX as u64 });
        }
        let (engine, permit, bucket) = (self.0.clone(), permit.clone(), bucket.clone());
        self.0
            .write(move |tx| {
                let tenant = permit.tenant();
                require_bucket_exists(tx, tenant, &bucket)?;
                let key = (tenant.clone(), bucket.clone(), setting.name().to_owned());
                match value {
                    Some(value) => tx.put::<BucketSettings>(&key, &SettingRow { value })?,
                    None => {
                        tx.delete::<BucketSettings>(&key)?;
                    }
                }
                let mut facts = Map::new();
                facts.insert("setting".to_owned(), setting.name().into());
                let by = Change { tenant, bucket: &bucket, actor: permit.principal().cloned(), request };
                record(&engine.events, tx, "bucket.set", by, facts)
            })
            .await
    }

    /// Forgets what was said about a bucket that goes.
    pub(crate) fn forget_settings(
        &self,
        tx: &mut WriteTx<'_>,
        tenant: &TenantId,
        bucket: &BucketName,
    ) -> Result<(), ObjectError> {
        tx.delete::<BucketSharings>(&(tenant.clone(), bucket.clone()))?;
        tx.delete::<BucketElastics>(&(tenant.clone(), bucket.clone()))?;
        let all = KeyPrefix::new().part(tenant).part(bucket);
        for (key, _) in tx.prefix::<BucketSettings>(all, None, SETTINGS_MAX)? {
            tx.delete::<BucketSettings>(&key)?;
        }
        Ok(())
    }
}

/// The fields that are other than before, by name.
fn changed(before: &BucketSharing, after: &BucketSharing) -> Value {
    let fields = [
        ("acl", before.acl != after.acl),
        ("policy", before.policy != after.policy),
        ("public-access-block", before.block != after.block),
        ("ownership", before.ownership != after.ownership),
    ];
    fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| Value::from(name)).collect()
}

pub(crate) fn record(
    events: &cm_events::EventLog,
    tx: &mut WriteTx<'_>,
    verb: &'static str,
    by: Change<'_>,
    facts: Map<String, Value>,
) -> Result<(), ObjectError> {
    events.append(
        tx,
        NewEvent {
            tenant: by.tenant.clone(),
            actor: by.actor,
            verb: EventVerb::fixed(verb),
            resource: Some(ResourceRef::new(ResourceKind::Bucket, by.bucket.as_str())),
            request: by.request,
            outcome: Outcome::Allowed,
            facts,
        },
    )?;
    Ok(())
}
