//! Permits for uses of buckets and objects.

use cm_kernel::Wanted;
use cm_kernel::catalog::Record;
use cm_kernel::objects::VersionName;
use cm_kernel::policy::sharing::Use;
use cm_kernel::policy::{ActionKind, Permit};
use cm_types::{BucketName, ObjectKey};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::Store;
use crate::caller::Caller;
use crate::failure;

/// Whose the bucket must be that a request is about.
const OWNER: &str = "s3:x-amz-expected-bucket-owner";
/// Whose the bucket must be that a copy is read from.
const SOURCE_OWNER: &str = "s3:x-amz-source-expected-bucket-owner";

impl Store {
    /// A bucket, and the permit to use it so.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`.
    pub(super) async fn bucket<A: ActionKind>(
        &self,
        caller: &Caller,
        used: Use,
        bucket: &BucketName,
    ) -> S3Result<(Record, Permit<A>)> {
        self.wanted(caller, OWNER, (bucket, None, None), used).await
    }

    /// The permit to use a bucket so.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`.
    pub(super) async fn permit_bucket<A: ActionKind>(
        &self,
        caller: &Caller,
        used: Use,
        bucket: &BucketName,
    ) -> S3Result<Permit<A>> {
        Ok(self.bucket(caller, used, bucket).await?.1)
    }

    /// The bucket of an object, which need not exist, and the permit to use the object, or one of its versions, so.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`.
    pub(super) async fn object<A: ActionKind>(
        &self,
        caller: &Caller,
        used: Use,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
    ) -> S3Result<(Record, Permit<A>)> {
        self.wanted(caller, OWNER, (bucket, Some(key), version), used).await
    }

    /// The permit to use an object, which need not exist, or one of its versions, so.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`.
    pub(super) async fn permit_object<A: ActionKind>(
        &self,
        caller: &Caller,
        used: Use,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
    ) -> S3Result<Permit<A>> {
        Ok(self.object(caller, used, bucket, key, version).await?.1)
    }

    /// The permit to read what is to be copied.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`.
    pub(super) async fn permit_source(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
    ) -> S3Result<Permit<cm_kernel::policy::Read>> {
        let place = (bucket, Some(key), version);
        Ok(self.wanted(caller, SOURCE_OWNER, place, Use::GetObject).await?.1)
    }

    async fn wanted<A: ActionKind>(
        &self,
        caller: &Caller,
        expected: &str,
        (bucket, key, version): (&BucketName, Option<&ObjectKey>, Option<VersionName>),
        used: Use,
    ) -> S3Result<(Record, Permit<A>)> {
        let used = if version.is_some() { used.of_version() } else { used };
        let wanted = Wanted { bucket, key, version, used, circumstances: caller.circumstances() };
        let (record, permit) =
            self.kernel.look_up_bucket::<A>(caller, wanted).await.map_err(failure::kernel)?;
        let owner = record.header.owner.as_str();
        let is_other =
            caller.circumstances().get(expected).is_some_and(|named| named.iter().any(|id| id != owner));
        match is_other {
            true => Err(S3Error::with_message(S3ErrorCode::AccessDenied, "the bucket is somebody else's")),
            false => Ok((record, permit)),
        }
    }
}
