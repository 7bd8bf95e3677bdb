//! The operations, each in the file of its family.

mod access;
mod attributes;
mod buckets;
mod conditions;
mod copying;
mod encryption;
mod inside;
mod lifecycle;
mod listing;
pub(crate) mod locking;
mod part_sums;
mod permits;
mod policies;
mod reading;
mod refusals;
mod settings;
mod tagging;
mod uploads;
mod versions;
mod writing;

use async_trait::async_trait;
use cm_kernel::Kernel;
use cm_types::{BucketName, ObjectKey};
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

pub(crate) use self::attributes::with_bare_tag;
pub(crate) use self::encryption::AES256;
pub(crate) use self::tagging::header_tags;
pub(crate) use self::writing::{announced_sha256, md5};
use crate::caller::Caller;

/// What stands behind the adapter.
#[derive(Clone)]
pub(crate) struct Store {
    kernel: Kernel,
    versioned: inside::Versioned,
}

impl Store {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self { kernel, versioned: inside::Versioned::default() }
    }
}

impl Store {
    /// Writes an object that came in a form, and answers with its entity tag.
    pub(crate) async fn write_form(
        &self,
        caller: Caller,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<PutObjectOutput> {
        Ok(self.write(caller, request).await?.output)
    }
}

/// A name that no bucket can have names nothing.
fn bucket_name(text: String) -> S3Result<BucketName> {
    let missing = |_| S3Error::with_message(S3ErrorCode::NoSuchBucket, "the bucket does not exist");
    BucketName::parse(text).map_err(missing)
}

fn object_key(text: String) -> S3Result<ObjectKey> {
    let invalid = |error: cm_types::id::InvalidId| error.to_string();
    ObjectKey::parse(text)
        .map_err(|error| S3Error::with_message(S3ErrorCode::InvalidArgument, invalid(error)))
}

/// Each operation is a method of the same name that knows who asks; a refusal is given the request's name.
macro_rules! operations {
    ($($name:ident as $method:ident: $input:ident => $output:ident,)+) => {
        #[async_trait]
        impl S3 for Store {
            $(
                async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    let caller = Caller::of(&request.extensions)?;
                    let id = caller.request.to_string();
                    self.$method(caller, request).await.map_err(|mut error: S3Error| {
                        error.set_request_id(id);
                        error
                    })
                }
            )+
        }
    };
}

operations! {
    list_buckets as buckets: ListBucketsInput => ListBucketsOutput,
    create_bucket as make_bucket: CreateBucketInput => CreateBucketOutput,
    head_bucket as describe_bucket: HeadBucketInput => HeadBucketOutput,
    delete_bucket as remove_bucket: DeleteBucketInput => DeleteBucketOutput,
    get_bucket_location as bucket_location: GetBucketLocationInput => GetBucketLocationOutput,
    get_bucket_versioning as bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput,
    put_bucket_versioning as set_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput,
    list_object_versions as list_versions: ListObjectVersionsInput => ListObjectVersionsOutput,
    get_object_tagging as object_tags: GetObjectTaggingInput => GetObjectTaggingOutput,
    put_object_tagging as set_object_tags: PutObjectTaggingInput => PutObjectTaggingOutput,
    delete_object_tagging as remove_object_tags: DeleteObjectTaggingInput => DeleteObjectTaggingOutput,
    get_bucket_tagging as bucket_tags: GetBucketTaggingInput => GetBucketTaggingOutput,
    put_bucket_tagging as set_bucket_tags: PutBucketTaggingInput => PutBucketTaggingOutput,
    delete_bucket_tagging as remove_bucket_tags: DeleteBucketTaggingInput => DeleteBucketTaggingOutput,
    get_object_lock_configuration as lock_configuration:
        GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput,
    put_object_lock_configuration as set_lock_configuration:
        PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput,
    get_object_retention as retention: GetObjectRetentionInput => GetObjectRetentionOutput,
    put_object_retention as set_retention: PutObjectRetentionInput => PutObjectRetentionOutput,
    get_object_legal_hold as legal_hold: GetObjectLegalHoldInput => GetObjectLegalHoldOutput,
    put_object_legal_hold as set_legal_hold: PutObjectLegalHoldInput => PutObjectLegalHoldOutput,
    get_bucket_lifecycle_configuration as lifecycle:
        GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput,
    put_bucket_lifecycle_configuration as set_lifecycle:
        PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput,
    delete_bucket_lifecycle as remove_lifecycle: DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput,
    get_object_attributes as attributes: GetObjectAttributesInput => GetObjectAttributesOutput,
    get_object as read: GetObjectInput => GetObjectOutput,
    head_object as describe: HeadObjectInput => HeadObjectOutput,
    put_object as write: PutObjectInput => PutObjectOutput,
    delete_object as remove: DeleteObjectInput => DeleteObjectOutput,
    delete_objects as remove_several: DeleteObjectsInput => DeleteObjectsOutput,
    copy_object as copy: CopyObjectInput => CopyObjectOutput,
    list_objects as list: ListObjectsInput => ListObjectsOutput,
    list_objects_v2 as list_v2: ListObjectsV2Input => ListObjectsV2Output,
    create_multipart_upload as begin: CreateMultipartUploadInput => CreateMultipartUploadOutput,
    upload_part as write_part: UploadPartInput => UploadPartOutput,
    upload_part_copy as copy_part: UploadPartCopyInput => UploadPartCopyOutput,
    complete_multipart_upload as complete: CompleteMultipartUploadInput => CompleteMultipartUploadOutput,
    abort_multipart_upload as abort: AbortMultipartUploadInput => AbortMultipartUploadOutput,
    list_parts as parts: ListPartsInput => ListPartsOutput,
    list_multipart_uploads as uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput,
    get_bucket_acl as bucket_acl: GetBucketAclInput => GetBucketAclOutput,
    put_bucket_acl as set_bucket_acl: PutBucketAclInput => PutBucketAclOutput,
    get_object_acl as object_acl: GetObjectAclInput => GetObjectAclOutput,
    put_object_acl as set_object_acl: PutObjectAclInput => PutObjectAclOutput,
    get_bucket_policy as policy: GetBucketPolicyInput => GetBucketPolicyOutput,
    put_bucket_policy as set_policy: PutBucketPolicyInput => PutBucketPolicyOutput,
    delete_bucket_policy as remove_policy: DeleteBucketPolicyInput => DeleteBucketPolicyOutput,
    get_bucket_policy_status as policy_status: GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput,
    get_public_access_block as public_access: GetPublicAccessBlockInput => GetPublicAccessBlockOutput,
    put_public_access_block as set_public_access: PutPublicAccessBlockInput => PutPublicAccessBlockOutput,
    delete_public_access_block as remove_public_access: DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput,
    get_bucket_ownership_controls as ownership: GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput,
    put_bucket_ownership_controls as set_ownership: PutBucketOwnershipControlsInput => PutBucketOwnershipControlsOutput,
    delete_bucket_ownership_controls as remove_ownership:
        DeleteBucketOwnershipControlsInput => DeleteBucketOwnershipControlsOutput,
    get_bucket_cors as cors: GetBucketCorsInput => GetBucketCorsOutput,
    put_bucket_cors as set_cors: PutBucketCorsInput => PutBucketCorsOutput,
    delete_bucket_cors as remove_cors: DeleteBucketCorsInput => DeleteBucketCorsOutput,
    get_bucket_encryption as encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput,
    put_bucket_encryption as set_encryption: PutBucketEncryptionInput => PutBucketEncryptionOutput,
    delete_bucket_encryption as remove_encryption: DeleteBucketEncryptionInput => DeleteBucketEncryptionOutput,
    get_bucket_request_payment as request_payment: GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput,
    put_bucket_request_payment as set_request_payment: PutBucketRequestPaymentInput => PutBucketRequestPaymentOutput,
    get_bucket_accelerate_configuration as acceleration:
        GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput,
    get_bucket_logging as logging: GetBucketLoggingInput => GetBucketLoggingOutput,
    put_bucket_logging as set_logging: PutBucketLoggingInput => PutBucketLoggingOutput,
    get_bucket_notification_configuration as notifications:
        GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput,
    put_bucket_notification_configuration as set_notifications:
        PutBucketNotificationConfigurationInput => PutBucketNotificationConfigurationOutput,
    get_bucket_website as website: GetBucketWebsiteInput => GetBucketWebsiteOutput,
    get_bucket_replication as replication: GetBucketReplicationInput => GetBucketReplicationOutput,
}
