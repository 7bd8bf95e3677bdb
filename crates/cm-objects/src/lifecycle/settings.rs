//! Keeping the rules, and knowing them without asking for them each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cm_policy::{Permit, Read, Update};
use cm_types::{BucketName, TenantId, Timestamp};

use super::{RULES_MAX, Rule, expiry};
use crate::objects::{Engine, bucket_row, require_bucket};
use crate::rows::LifecycleRow;
use crate::tables::Lifecycles;
use crate::trail::{self, Origin};
use crate::{ObjectError, ObjectInfo, Objects};

/// A day, as clients are told of it.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Buckets whose rules are remembered.
const REMEMBERED_MAX: usize = 4096;
/// How long rules are believed that another node may have changed, in microseconds.
const BELIEVED_MICROS: i64 = 10_000_000;

type Remembered = HashMap<(TenantId, BucketName), (Timestamp, Arc<Vec<Rule>>)>;

/// Rules of buckets as they were a moment ago; exact as far as this process changed them.
#[derive(Default)]
pub(crate) struct KnownRules(Mutex<Remembered>);

impl KnownRules {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: &(TenantId, BucketName), now: Timestamp) -> Option<Arc<Vec<Rule>>> {
        let known = self.lock();
        let (at, rules) = known.get(id)?;
        let age = now.as_micros().saturating_sub(at.as_micros());
        (0..BELIEVED_MICROS).contains(&age).then(|| rules.clone())
    }

    fn put(&self, id: (TenantId, BucketName), now: Timestamp, rules: Arc<Vec<Rule>>) {
        let mut known = self.lock();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(id, (now, rules));
    }

    pub(crate) fn forget(&self, id: &(TenantId, BucketName)) {
        self.lock().remove(id);
    }
}

impl Objects {
    /// The rules by which objects of a bucket end; `None` if it has none.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn lifecycle(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
    ) -> Result<Option<Vec<Rule>>, ObjectError> {
        require_bucket(permit, bucket)?;
        let id = (permit.tenant().clone(), bucket.clone());
        self.0
            .db
            .read(move |tx| {
                bucket_row(tx, &id.0, &id.1)?;
                Ok(tx.get::<Lifecycles>(&id)?.map(|row| row.rules))
            })
            .await
    }

    /// Replaces the rules of a bucket, or takes them away. They are followed by a worker, within hours.
    ///
    /// # Errors
    /// [`ObjectError::TooManyRules`], [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn set_lifecycle(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        rules: Option<Vec<Rule>>,
    ) -> Result<(), ObjectError> {
        require_bucket(permit, bucket)?;
        if rules.as_ref().is_some_and(|rules| rules.len() > RULES_MAX) {
            return Err(ObjectError::TooManyRules { max: RULES_MAX });
        }
        let origin =
            Origin { tenant: permit.tenant().clone(), actor: permit.principal().cloned(), request: None };
        let (engine, id) = (self.0.clone(), (origin.tenant.clone(), bucket.clone()));
        let changed = id.clone();
        self.0
            .write(move |tx| {
                bucket_row(tx, &id.0, &id.1)?;
                match rules {
                    Some(rules) => tx.put::<Lifecycles>(&id, &LifecycleRow { rules })?,
                    None => drop(tx.delete::<Lifecycles>(&id)?),
                }
                trail::record_bucket(&engine.events, tx, &origin, "bucket.lifecycle-set", &id.1)
            })
            .await?;
        self.0.rules.forget(&changed);
        Ok(())
    }

    /// When an object that is shown ends, and by which rule, in days of 24 hours however long those of the worker are: what clients are told is
    /// of the rule's days. Rules that another node set may be known ten seconds later.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn expiry(
        &self,
        tenant: &TenantId,
        info: &ObjectInfo,
    ) -> Result<Option<(Timestamp, String)>, ObjectError> {
        let rules = self.0.rules_of(tenant, &info.bucket).await?;
        Ok(expiry(&rules, info, DAY))
    }
}

impl Engine {
    async fn rules_of(&self, tenant: &TenantId, bucket: &BucketName) -> Result<Arc<Vec<Rule>>, ObjectError> {
        let id = (tenant.clone(), bucket.clone());
        let now = self.now();
        if let Some(known) = self.rules.get(&id, now) {
            return Ok(known);
        }
        let wanted = id.clone();
        let row = self.db.look_up(move |tx| Ok::<_, ObjectError>(tx.get::<Lifecycles>(&wanted)?)).await?;
        let rules = Arc::new(row.map(|row| row.rules).unwrap_or_default());
        self.rules.put(id, now, rules.clone());
        Ok(rules)
    }
}
