//! Copying what is here already. The bytes are read and verified; what is equal is kept once, so little is written.

use std::io;
use std::ops::Range as Bytes;

use cm_kernel::objects::{ByteRange, NewObject, NewPart, ObjectRead, Tagging};
use cm_kernel::policy::Update;
use futures::TryStreamExt;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::conditions::{Freshness, ReadConditions};
use super::reading::require_current;
use super::refusals::{refuse, refuse_for_new};
use super::uploads::upload_ref;
use super::writing::part_number;
use super::{Store, bucket_name, object_key};
use crate::caller::Caller;
use crate::content::invalid;
use crate::describe::{etag, said, time};
use crate::failure;

/// The largest object that is copied at once: the limit of S3.
const COPIED_BYTES_MAX: u64 = 5 << 30;

impl Store {
    pub(super) async fn copy(
        &self,
        caller: Caller,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let mut input = request.input;
        refuse_for_new!(input);
        refuse!(
            input; copy_source_sse_customer_algorithm, copy_source_sse_customer_key, expected_source_bucket_owner,
            tagging_directive
        );
        let (bucket, key) = (bucket_name(input.bucket.clone())?, object_key(input.key.clone())?);
        let permit =
            self.kernel.look_up_object::<Update>(&caller, &bucket, &key).await.map_err(failure::kernel)?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match.take(),
            if_none_match: input.copy_source_if_none_match.take(),
            if_modified_since: input.copy_source_if_modified_since.take(),
            if_unmodified_since: input.copy_source_if_unmodified_since.take(),
        };
        let source = self.source(&caller, &input.copy_source, &conditions, None).await?;
        let replaces =
            input.metadata_directive.as_ref().is_some_and(|directive| directive.as_str() == "REPLACE");
        if !replaces && (&source.info.bucket, &source.info.key) == (&bucket, &key) {
            return Err(invalid("an object is copied onto itself only with other metadata"));
        }
        let mut new = NewObject {
            content_type: source.info.content_type.clone(),
            metadata: source.info.metadata.clone(),
            headers: source.info.headers.clone(),
            tagging: Tagging::Md5,
            expected_sha256: Some(source.info.sha256),
            request: Some(caller.request.clone()),
            ..NewObject::default()
        };
        if replaces {
            new.content_type = input.content_type.take();
            new.metadata = input.metadata.take().unwrap_or_default().into_iter().collect();
            let checksums = new.headers.into_iter().filter(|(name, _)| name.starts_with("x-amz-checksum-"));
            new.headers = checksums.chain(said!(input)).collect();
        }
        let body = source.body.map_err(io::Error::other);
        let info = self.kernel.objects().put(&permit, &bucket, &key, new, body).await;
        let info = info.map_err(failure::object)?;
        let result = CopyObjectResult {
            e_tag: Some(etag(&info)),
            last_modified: Some(time(info.created_at)),
            ..CopyObjectResult::default()
        };
        let output = CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() };
        Ok(S3Response::new(output))
    }

    pub(super) async fn copy_part(
        &self,
        caller: Caller,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = request.input;
        refuse!(
            input; expected_bucket_owner, expected_source_bucket_owner, sse_customer_algorithm, sse_customer_key,
            copy_source_sse_customer_algorithm, copy_source_sse_customer_key
        );
        let upload = upload_ref(input.bucket, input.key, &input.upload_id)?;
        let number = part_number(input.part_number)?;
        let permit = self.permit_to_upload(&caller, &upload).await?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let range = input.copy_source_range.as_deref().map(inclusive).transpose()?;
        let source = self.source(&caller, &input.copy_source, &conditions, range).await?;
        let body = source.body.map_err(io::Error::other);
        let part = self.kernel.objects().put_part(&permit, &upload, number, NewPart::default(), body).await;
        let part = part.map_err(failure::object)?;
        let result = CopyPartResult {
            e_tag: Some(ETag::Strong(part.tag)),
            last_modified: Some(time(part.created_at)),
            ..CopyPartResult::default()
        };
        let output =
            UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() };
        Ok(S3Response::new(output))
    }

    async fn source(
        &self,
        caller: &Caller,
        source: &CopySource,
        conditions: &ReadConditions,
        range: Option<ByteRange>,
    ) -> S3Result<ObjectRead> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(invalid("a source is BUCKET/KEY here"));
        };
        require_current(version_id.as_deref())?;
        let (bucket, key) = (bucket_name(bucket.to_string())?, object_key(key.to_string())?);
        let permit = self.permit_to_read(caller, &bucket, &key).await?;
        let read = self.kernel.objects().get(&permit, &bucket, &key, range).await.map_err(failure::object)?;
        if conditions.check(&read.info)? == Freshness::NotModified {
            return Err(S3Error::with_message(S3ErrorCode::PreconditionFailed, "the source has not changed"));
        }
        let Bytes { start, end } = read.range;
        match end - start <= COPIED_BYTES_MAX {
            true => Ok(read),
            false => Err(invalid("copy objects of more than 5 GiB in parts")),
        }
    }
}

/// `bytes=FIRST-LAST`, the only form that a part's source may have.
fn inclusive(text: &str) -> S3Result<ByteRange> {
    let bounds = text.strip_prefix("bytes=").and_then(|bounds| bounds.split_once('-'));
    let bounds = bounds.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match bounds {
        Some((first, last)) if first <= last => Ok(ByteRange::Inclusive(first, last)),
        _ => Err(invalid("the range of a source is bytes=FIRST-LAST")),
    }
}
