//! Reading objects.

use axum::http::header;
use cm_kernel::objects::{ByteRange, ObjectError, ObjectInfo};
use cm_kernel::policy::{Permit, Read};
use cm_types::{BucketName, ObjectKey};
use futures::TryStreamExt;
use http_body_util::StreamBody;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::conditions::{Freshness, ReadConditions};
use super::refusals::refuse;
use super::{Store, bucket_name, object_key};
use crate::caller::Caller;
use crate::describe::{described, etag};
use crate::{content, failure};

impl Store {
    pub(super) async fn read(
        &self,
        caller: Caller,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        refuse!(input; part_number, expected_bucket_owner, sse_customer_algorithm, sse_customer_key);
        require_current(input.version_id.as_deref())?;
        let (bucket, key) = (bucket_name(input.bucket)?, object_key(input.key)?);
        let permit = self.permit_to_read(&caller, &bucket, &key).await?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let objects = self.kernel.objects();
        let read = match objects.get(&permit, &bucket, &key, input.range.map(engine_range)).await {
            // Conditions are judged before the range is.
            Err(error @ ObjectError::RangeNotSatisfiable { .. }) => {
                let info = objects.head(&permit, &bucket, &key).await.map_err(failure::object)?;
                return match conditions.check(&info)? {
                    Freshness::NotModified => Err(not_modified(&info)),
                    Freshness::Send => Err(failure::object(error)),
                };
            }
            read => read.map_err(failure::object)?,
        };
        if conditions.check(&read.info)? == Freshness::NotModified {
            return Err(not_modified(&read.info));
        }
        let (range, size) = (read.range.clone(), read.info.size);
        let with_checksum = input.checksum_mode.is_some() && range == (0..size);
        let mut output = GetObjectOutput::default();
        described!(output, &read.info, with_checksum);
        output.content_length = Some((range.end - range.start) as i64);
        if input.range.is_some() {
            let last = range.end.saturating_sub(1);
            output.content_range = Some(format!("bytes {}-{last}/{size}", range.start));
        }
        let frames = read.body.map_ok(http_body::Frame::data).inspect_err(|error| {
            // The client sees no more than a connection that breaks.
            tracing::error!(error = error as &dyn std::error::Error, "object cannot be read to its end");
        });
        output.body = Some(StreamingBlob::from(content::body(StreamBody::new(frames))));
        Ok(S3Response::new(output))
    }

    pub(super) async fn describe(
        &self,
        caller: Caller,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        refuse!(input; part_number, expected_bucket_owner, sse_customer_algorithm, sse_customer_key);
        require_current(input.version_id.as_deref())?;
        let (bucket, key) = (bucket_name(input.bucket)?, object_key(input.key)?);
        let permit = self.permit_to_read(&caller, &bucket, &key).await?;
        let info = self.kernel.objects().head(&permit, &bucket, &key).await.map_err(failure::object)?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        if conditions.check(&info)? == Freshness::NotModified {
            return Err(not_modified(&info));
        }
        let mut output = HeadObjectOutput::default();
        described!(output, &info, input.checksum_mode.is_some());
        output.content_length = Some(info.size as i64);
        Ok(S3Response::new(output))
    }

    pub(super) async fn permit_to_read(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> S3Result<Permit<Read>> {
        self.kernel.look_up_object::<Read>(caller, bucket, key).await.map_err(failure::kernel)
    }
}

/// There are no versions: `null` names the only one, as on a bucket of S3 without versions.
pub(super) fn require_current(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(S3Error::with_message(S3ErrorCode::NoSuchVersion, "objects have no versions here")),
    }
}

/// An error, because the adapter gives only those a status of their own.
fn not_modified(info: &ObjectInfo) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let tag = etag(info).to_http_header().ok();
    error.set_headers(tag.map(|tag| (header::ETAG, tag)).into_iter().collect());
    error
}

pub(super) fn engine_range(range: Range) -> ByteRange {
    match range {
        Range::Int { first, last: None } => ByteRange::From(first),
        Range::Int { first, last: Some(last) } => ByteRange::Inclusive(first, last),
        Range::Suffix { length } => ByteRange::Suffix(length),
    }
}
