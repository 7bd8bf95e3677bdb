//! The operations, each in the file of its family.

mod buckets;
mod conditions;
mod copying;
mod listing;
mod reading;
mod refusals;
mod uploads;
mod writing;

use async_trait::async_trait;
use cm_kernel::Kernel;
use cm_types::{BucketName, ObjectKey};
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::caller::Caller;

/// What stands behind the adapter.
#[derive(Clone)]
pub(crate) struct Store {
    kernel: Kernel,
}

impl Store {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self { kernel }
    }
}

/// A name that no bucket can have names nothing.
fn bucket_name(text: String) -> S3Result<BucketName> {
    BucketName::parse(text).map_err(|_| S3Error::new(S3ErrorCode::NoSuchBucket))
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
}
