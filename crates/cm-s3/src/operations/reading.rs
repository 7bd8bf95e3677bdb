//! Reading objects.

use axum::http::{HeaderName, HeaderValue, header};
use cm_kernel::objects::{ByteRange, ObjectError, ObjectInfo, Piece, Reading, VersionName};
use cm_kernel::policy::sharing::Use;
use cm_kernel::policy::{List, Permit, Read};
use cm_types::{BucketName, PageLimit};
use futures::TryStreamExt;
use http_body_util::StreamBody;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::conditions::{Freshness, ReadConditions, is_range_of};
use super::encryption::{check_key, customer_key, encrypted, encrypted_by, refuse_encryption};
use super::writing::new_part_number;
use super::{Store, bucket_name, object_key};
use crate::caller::Caller;
use crate::content::{Algorithm, CHECKSUM_TYPE, FULL_OBJECT, invalid};
use crate::describe::{described, etag, http_date, odd_expires, time};
use crate::tolerance::AsSaid;
use crate::{content, describe, failure};

/// How many tags an object has.
const TAG_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// Refuses a request that says how its answer is to be described, and is not signed.
macro_rules! require_signer {
    ($caller:expr, $input:expr, $as_said:expr) => {{
        let says_how = $input.response_cache_control.is_some()
            || $input.response_content_disposition.is_some()
            || $input.response_content_encoding.is_some()
            || $input.response_content_language.is_some()
            || $input.response_content_type.is_some()
            || $input.response_expires.is_some()
            || $as_said.response_expires.is_some();
        if says_how && $caller.principal().is_none() {
            return Err(invalid("only whoever signs says how an answer is to be described"));
        }
    }};
}

impl Store {
    pub(super) async fn read(
        &self,
        caller: Caller,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let (input, as_said) = (request.input, AsSaid::of(&request.extensions));
        require_signer!(caller, input, as_said);
        let says_expires = input.response_expires.is_some();
        refuse_encryption(&request.headers)?;
        let customer = customer_key(&request.headers)?;
        let version = version_name(input.version_id.as_deref())?;
        let (bucket, key) = (bucket_name(input.bucket)?, object_key(input.key)?);
        let permit = self.permit_object::<Read>(&caller, Use::GetObject, &bucket, &key, version).await?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let objects = self.kernel.objects();
        let mut piece = match (input.range, input.part_number) {
            (Some(_), Some(_)) => return Err(invalid("ask for a range or for a part")),
            (Some(range), None) => Some(Piece::Range(engine_range(range))),
            (None, Some(number)) => Some(Piece::Part(new_part_number(number)?)),
            (None, None) => None,
        };
        let open = |piece| {
            let reading = Reading { version, piece, key: customer.clone() };
            objects.get_opened(&permit, &bucket, &key, reading)
        };
        let mut opened = open(piece).await;
        if let Some(Piece::Range(_)) = piece
            && request.headers.contains_key(header::IF_RANGE)
        {
            let found = match &opened {
                Ok(read) => Some(read.info.clone()),
                Err(ObjectError::RangeNotSatisfiable { .. }) => {
                    objects.head_version(&permit, &bucket, &key, version).await.ok()
                }
                Err(_) => None,
            };
            // What the range was to complete is something else by now: all of it is sent.
            if found.is_some_and(|info| !is_range_of(&request.headers, &info)) {
                piece = None;
                opened = open(None).await;
            }
        }
        let mut read = match opened {
            // Conditions are judged before the range is.
            Err(error @ ObjectError::RangeNotSatisfiable { .. }) => {
                let found = objects.head_version(&permit, &bucket, &key, version).await;
                let mut info = found.map_err(failure::object)?;
                self.name_version(&caller, &mut info).await;
                return match conditions.check(&info)? {
                    Freshness::NotModified => Err(not_modified(&info)),
                    Freshness::Send => Err(failure::object(error)),
                };
            }
            Ok(read) => read,
            Err(error) => return Err(self.told(&caller, &bucket, error).await),
        };
        self.name_version(&caller, &mut read.info).await;
        if conditions.check(&read.info)? == Freshness::NotModified {
            return Err(not_modified(&read.info));
        }
        let (range, size) = (read.range.clone(), read.info.size);
        if let Some(Piece::Part(number)) = piece
            && input.checksum_mode.is_some()
        {
            self.sum_of_part(&permit, &mut read.info, version, number).await?;
        }
        let is_whole = range == (0..size) || is_sum_of_part(&read.info, piece);
        let with_checksum = input.checksum_mode.is_some() && is_whole;
        let mut output = GetObjectOutput::default();
        described!(output, &read.info, with_checksum);
        encrypted!(output, encrypted_by(&read.info), &request.headers);
        output.content_length = Some((range.end - range.start) as i64);
        if piece.is_some() && !range.is_empty() {
            output.content_range = Some(content_range(&range, size));
        }
        if let Some(Piece::Part(_)) = piece {
            output.parts_count = Some(i32::from(read.info.parts)).filter(|count| *count > 0);
        }
        output.expiration = self.expiration_of(&permit, &read.info, version).await?;
        output.tag_count = i32::try_from(read.info.tags.len()).ok().filter(|count| *count > 0);
        let frames = read.body.map_ok(http_body::Frame::data).inspect_err(|error| {
            // The client sees no more than a connection that breaks.
            tracing::error!(error = error as &dyn std::error::Error, "object cannot be read to its end");
        });
        output.body = Some(StreamingBlob::from(content::body(StreamBody::new(frames))));
        let asked = as_said.response_expires.as_deref().map(HeaderValue::from_str);
        let asked = asked.transpose().map_err(|_| invalid("`response-expires` cannot be a header"))?;
        let kept = odd_expires(&read.info).filter(|_| !says_expires);
        let mut answer = S3Response::new(output);
        if let Some(expires) = asked.or(kept) {
            answer.headers.insert(header::EXPIRES, expires);
        }
        Ok(answer)
    }

    pub(super) async fn describe(
        &self,
        caller: Caller,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        refuse_encryption(&request.headers)?;
        let (input, as_said) = (request.input, AsSaid::of(&request.extensions));
        require_signer!(caller, input, as_said);
        let version = version_name(input.version_id.as_deref())?;
        let (bucket, key) = (bucket_name(input.bucket)?, object_key(input.key)?);
        let permit = self.permit_object::<Read>(&caller, Use::GetObject, &bucket, &key, version).await?;
        let objects = self.kernel.objects();
        let found = match input.part_number {
            None => objects.head_version(&permit, &bucket, &key, version).await.map(|info| (info, None)),
            Some(number) => {
                let number = new_part_number(number)?;
                let found = objects.head_part(&permit, &bucket, &key, version, number).await;
                found.map(|(info, range)| (info, Some((number, range))))
            }
        };
        let (mut info, part) = match found {
            Ok(found) => found,
            Err(error) => return Err(self.told(&caller, &bucket, error).await),
        };
        self.name_version(&caller, &mut info).await;
        check_key(objects, &info, &request.headers)?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        if conditions.check(&info)? == Freshness::NotModified {
            return Err(not_modified(&info));
        }
        if let Some((number, _)) = &part
            && input.checksum_mode.is_some()
        {
            self.sum_of_part(&permit, &mut info, version, *number).await?;
        }
        let mut output = HeadObjectOutput::default();
        described!(output, &info, input.checksum_mode.is_some());
        encrypted!(output, encrypted_by(&info), &request.headers);
        output.content_length = Some(info.size as i64);
        output.expiration = self.expiration_of(&permit, &info, version).await?;
        let range = match (part, input.range) {
            (Some((_, part)), _) => {
                output.parts_count = Some(i32::from(info.parts)).filter(|count| *count > 0);
                Some(part)
            }
            (None, Some(range)) => Some(engine_range(range).resolve(info.size).map_err(failure::object)?),
            (None, None) => None,
        };
        if let Some(range) = range.filter(|range| !range.is_empty()) {
            output.content_length = Some((range.end - range.start) as i64);
            output.content_range = Some(content_range(&range, info.size));
        }
        let said = [
            (&mut output.cache_control, input.response_cache_control),
            (&mut output.content_disposition, input.response_content_disposition),
            (&mut output.content_encoding, input.response_content_encoding),
            (&mut output.content_language, input.response_content_language),
            (&mut output.content_type, input.response_content_type),
        ];
        for (header, said) in said {
            if said.is_some() {
                *header = said;
            }
        }
        let says_expires = input.response_expires.is_some();
        if says_expires {
            output.expires = input.response_expires;
        }
        let asked = as_said.response_expires.as_deref().map(HeaderValue::from_str);
        let asked = asked.transpose().map_err(|_| invalid("`response-expires` cannot be a header"))?;
        let mut answer = S3Response::new(output);
        if !info.tags.is_empty() {
            // The adapter sends this of reads only.
            answer.headers.insert(TAG_COUNT, info.tags.len().into());
        }
        if let Some(expires) = asked.or(odd_expires(&info).filter(|_| !says_expires)) {
            answer.headers.insert(header::EXPIRES, expires);
        }
        Ok(answer)
    }
}

impl Store {
    /// When a version that is read ends; nothing is said of one that its name does not show any more.
    async fn expiration_of(
        &self,
        permit: &Permit<Read>,
        info: &ObjectInfo,
        version: Option<VersionName>,
    ) -> S3Result<Option<String>> {
        let expiration = self.expiration(permit.tenant(), info).await?;
        if version.is_none() || expiration.is_none() {
            return Ok(expiration);
        }
        let shown = self.kernel.objects().head_version(permit, &info.bucket, &info.key, None).await;
        let is_shown = |shown: ObjectInfo| (shown.created_at, shown.etag()) == (info.created_at, info.etag());
        Ok(expiration.filter(|_| shown.is_ok_and(is_shown)))
    }

    /// Puts the checksums of a part in place of those of the whole, where these are made of the sums of its parts: nobody could compare
    /// a part with them.
    async fn sum_of_part(
        &self,
        permit: &Permit<Read>,
        info: &mut ObjectInfo,
        version: Option<VersionName>,
        number: u16,
    ) -> S3Result<()> {
        if info.headers.get(CHECKSUM_TYPE).is_none_or(|kind| kind == FULL_OBJECT) {
            return Ok(());
        }
        let (after, limit) = (number.saturating_sub(1), PageLimit::clamped(1));
        let found =
            self.kernel.objects().finished_parts(permit, &info.bucket, &info.key, version, after, limit);
        let (_, parts, _) = found.await.map_err(failure::object)?;
        let part = parts.into_iter().find(|part| part.number == number);
        for algorithm in Algorithm::ALL {
            let sum = part.as_ref().and_then(|part| part.headers.get(algorithm.header()).cloned());
            match sum.filter(|_| info.headers.contains_key(algorithm.header())) {
                Some(sum) => info.headers.insert(algorithm.header().to_owned(), sum),
                None => info.headers.remove(algorithm.header()),
            };
        }
        Ok(())
    }

    /// What is answered about an object that could not be read: that there is none is told to those who may list the bucket.
    pub(super) async fn told(&self, caller: &Caller, bucket: &BucketName, error: ObjectError) -> S3Error {
        if !matches!(error, ObjectError::NotFound { .. }) {
            return failure::object(error);
        }
        match self.permit_bucket::<List>(caller, Use::ListBucket, bucket).await {
            Ok(_) => failure::object(error),
            Err(refused)
                if matches!(refused.code(), S3ErrorCode::AccessDenied | S3ErrorCode::NoSuchBucket) =>
            {
                let message = "there may be no such object, or none for you";
                S3Error::with_message(S3ErrorCode::AccessDenied, message)
            }
            Err(failed) => failed,
        }
    }
}

/// A version by what a request calls it.
pub(super) fn version_name(version: Option<&str>) -> S3Result<Option<VersionName>> {
    let parse = |text: &str| {
        VersionName::parse(text)
            .ok_or_else(|| S3Error::with_message(S3ErrorCode::InvalidArgument, "no version can be called so"))
    };
    version.map(parse).transpose()
}

fn content_range(range: &std::ops::Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

/// Whether the checksums of an object are those of the part that is asked for.
fn is_sum_of_part(info: &ObjectInfo, piece: Option<Piece>) -> bool {
    matches!(piece, Some(Piece::Part(_)))
        && info.headers.get(CHECKSUM_TYPE).is_some_and(|kind| kind != FULL_OBJECT)
}

/// What is said of an object that the client has (RFC 9110, section 15.4.5): an error, because the adapter gives only those a status of
/// their own.
fn not_modified(info: &ObjectInfo) -> S3Error {
    let text = |text: Option<String>| text.and_then(|text| HeaderValue::try_from(text).ok());
    let said = [
        (header::ETAG, etag(info).to_http_header().ok()),
        (header::LAST_MODIFIED, text(http_date(&time(info.created_at)))),
        (VERSION_ID, text(info.shown_version.map(|name| name.to_string()))),
        (header::CACHE_CONTROL, text(describe::header(info, describe::CACHE_CONTROL))),
        (header::EXPIRES, text(describe::header(info, describe::EXPIRES))),
    ];
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    error.set_headers(said.into_iter().filter_map(|(name, value)| Some((name, value?))).collect());
    error
}

pub(super) fn engine_range(range: Range) -> ByteRange {
    match range {
        Range::Int { first, last: None } => ByteRange::From(first),
        Range::Int { first, last: Some(last) } => ByteRange::Inclusive(first, last),
        Range::Suffix { length } => ByteRange::Suffix(length),
    }
}
