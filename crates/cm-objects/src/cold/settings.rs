//! After how many days without access the chunks of a bucket may go to the cold tier.

use cm_db::{Direction, KeyRange, ReadTx};
use cm_policy::{Permit, Read, Update};
use cm_types::{BucketName, RequestId, TenantId};

use crate::objects::{bucket_row, require_bucket};
use crate::tables::Buckets;
use crate::{ObjectError, Objects};

/// The most days that a bucket may say: a hundred years.
pub const COLD_DAYS_MAX: u32 = 36_500;
/// Buckets that are looked at in one transaction.
const BUCKETS_AT_ONCE: usize = 256;

impl Objects {
    /// After how many days without access the chunks of a bucket may go to the cold tier; `None` if they stay.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn cold_after(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
    ) -> Result<Option<u32>, ObjectError> {
        require_bucket(permit, bucket)?;
        let (tenant, bucket) = (permit.tenant().clone(), bucket.clone());
        self.0.db.read(move |tx| Ok(bucket_row(tx, &tenant, &bucket)?.cold_after_days)).await
    }

    /// Lets chunks of a bucket go to the cold tier after so many days without access, 0 to [`COLD_DAYS_MAX`], or no longer: those that are there
    /// then come back as they are read.
    ///
    /// # Errors
    /// [`ObjectError::NoColdTier`], [`ObjectError::ColdDays`], [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn set_cold_after(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        days: Option<u32>,
        request: Option<RequestId>,
    ) -> Result<(), ObjectError> {
        require_bucket(permit, bucket)?;
        if days.is_some() && self.0.cold.get().is_none() {
            return Err(ObjectError::NoColdTier);
        }
        if days.is_some_and(|days| days > COLD_DAYS_MAX) {
            return Err(ObjectError::ColdDays { max: COLD_DAYS_MAX });
        }
        let told = ("cold-after-days", days.into());
        self.set_in_bucket(permit, bucket, told, request, move |row| row.cold_after_days = days).await
    }
}

/// A bucket whose chunks may go to the cold tier, and after how many days.
pub(super) type ColdBucket = ((TenantId, BucketName), u32);

/// The buckets whose chunks may go to the cold tier.
pub(super) fn cold_buckets(tx: &ReadTx<'_>) -> Result<Vec<ColdBucket>, ObjectError> {
    let (mut found, mut range) = (Vec::new(), KeyRange::all());
    loop {
        let rows = tx.range::<Buckets>(range.clone(), Direction::Forward, BUCKETS_AT_ONCE)?;
        let Some((last, _)) = rows.last() else { return Ok(found) };
        range = range.after(last);
        found.extend(rows.into_iter().filter_map(|(bucket, row)| Some((bucket, row.cold_after_days?))));
    }
}
