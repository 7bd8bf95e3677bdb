//! What is said about an object: headers of S3 to what the engine keeps, and back.

use std::collections::BTreeMap;

use axum::http::HeaderValue;
use cm_kernel::objects::{ObjectInfo, VersionName};
use s3s::dto::{ChecksumAlgorithm, ETag, Timestamp, TimestampFormat};

use crate::content::Algorithm;
use crate::dates;
use crate::tolerance::AsSaid;

pub(crate) const CACHE_CONTROL: &str = "cache-control";
pub(crate) const CONTENT_DISPOSITION: &str = "content-disposition";
pub(crate) const CONTENT_ENCODING: &str = "content-encoding";
pub(crate) const CONTENT_LANGUAGE: &str = "content-language";
pub(crate) const EXPIRES: &str = "expires";
/// The framing of a body, which is not an encoding of the object.
const FRAMING: &str = "aws-chunked";
/// The media type of an object of which no other is known.
pub(crate) const MEDIA_TYPE: &str = "binary/octet-stream";

/// Headers that were said, under the names that they are kept by.
pub(crate) fn headers<const N: usize>(
    said: [(&str, Option<String>); N],
    expires: Option<Timestamp>,
    as_said: AsSaid,
) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (name, value) in said {
        let value = value.map(|value| match name {
            CONTENT_ENCODING => without_framing(&value),
            _ => value,
        });
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            kept.insert(name.to_owned(), value);
        }
    }
    if let Some(text) = expires.and_then(|expires| http_date(&expires)).or(as_said.expires) {
        kept.insert(EXPIRES.to_owned(), text);
    }
    kept
}

fn without_framing(value: &str) -> String {
    let kept: Vec<&str> = value.split(',').map(str::trim).filter(|name| *name != FRAMING).collect();
    kept.join(", ")
}

pub(crate) fn http_date(time: &Timestamp) -> Option<String> {
    let mut text = Vec::new();
    time.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// A header of an object.
pub(crate) fn header(info: &ObjectInfo, name: &str) -> Option<String> {
    info.headers.get(name).cloned()
}

/// When an object's content is stale, as its writer said.
pub(crate) fn expires(info: &ObjectInfo) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::HttpDate, info.headers.get(EXPIRES)?).ok()
}

/// The same, where that is no date: the adapter has dates only.
pub(crate) fn odd_expires(info: &ObjectInfo) -> Option<HeaderValue> {
    let text = info.headers.get(EXPIRES).filter(|text| !dates::is_plain(text))?;
    HeaderValue::from_str(text).ok()
}

/// The entity tag.
pub(crate) fn etag(info: &ObjectInfo) -> ETag {
    ETag::Strong(info.etag())
}

/// By which algorithms an object is summed up; `None` if by none.
pub(crate) fn summed_by(info: &ObjectInfo) -> Option<Vec<ChecksumAlgorithm>> {
    let known = Algorithm::ALL.into_iter().filter(|algorithm| info.headers.contains_key(algorithm.header()));
    let names: Vec<ChecksumAlgorithm> = known.map(|algorithm| algorithm.name().into()).collect();
    Some(names).filter(|names| !names.is_empty())
}

/// The version that was made, where versions are kept. What replaced the null version is not named, as with S3.
pub(crate) fn new_version(info: &ObjectInfo) -> Option<String> {
    info.shown_version.filter(|name| *name != VersionName::Null).map(|name| name.to_string())
}

/// A moment, in the precision of S3.
pub(crate) fn time(at: cm_types::Timestamp) -> Timestamp {
    let nanos = i128::from(at.as_micros()) * 1000;
    time::OffsetDateTime::from_unix_timestamp_nanos(nanos).map(Timestamp::from).unwrap_or_default()
}

/// A moment of S3, as the engine has it.
pub(crate) fn moment(at: &Timestamp) -> cm_types::Timestamp {
    let nanos = time::OffsetDateTime::from(at.clone()).unix_timestamp_nanos();
    cm_types::Timestamp::from_micros(i64::try_from(nanos / 1000).unwrap_or(i64::MAX))
}

/// Fills in the fields that say what an object is; they are named alike wherever one is described.
macro_rules! described {
    ($output:expr, $info:expr, $with_checksum:expr) => {{
        let (output, info) = (&mut $output, $info);
        output.accept_ranges = Some("bytes".to_owned());
        output.cache_control = $crate::describe::header(info, $crate::describe::CACHE_CONTROL);
        output.content_disposition = $crate::describe::header(info, $crate::describe::CONTENT_DISPOSITION);
        output.content_encoding = $crate::describe::header(info, $crate::describe::CONTENT_ENCODING);
        output.content_language = $crate::describe::header(info, $crate::describe::CONTENT_LANGUAGE);
        output.content_type =
            Some(info.content_type.clone().unwrap_or_else(|| $crate::describe::MEDIA_TYPE.to_owned()));
        output.e_tag = Some($crate::describe::etag(info));
        output.expires = $crate::describe::expires(info);
        output.last_modified = Some($crate::describe::time(info.created_at));
        output.metadata = Some(info.metadata.clone().into_iter().collect());
        output.version_id = info.shown_version.map(|name| name.to_string());
        if let Some(retention) = info.protection.retention {
            output.object_lock_mode =
                Some($crate::operations::locking::mode_text(retention.mode).to_owned().into());
            output.object_lock_retain_until_date = Some($crate::describe::time(retention.until));
        }
        output.object_lock_legal_hold_status = info
            .protection
            .legal_hold
            .map(|held| $crate::operations::locking::hold_text(held).to_owned().into());
        if $with_checksum {
            $crate::describe::summed!(output, &info.headers);
            output.checksum_type =
                info.headers.get($crate::content::CHECKSUM_TYPE).map(|text| text.clone().into());
        }
    }};
}

/// Fills in the checksums.
macro_rules! summed {
    ($output:expr, $headers:expr) => {{
        let (output, headers) = (&mut *$output, $headers);
        let sum = |algorithm: $crate::content::Algorithm| headers.get(algorithm.header()).cloned();
        output.checksum_crc32 = sum($crate::content::Algorithm::Crc32);
        output.checksum_crc32c = sum($crate::content::Algorithm::Crc32c);
        output.checksum_crc64nvme = sum($crate::content::Algorithm::Crc64Nvme);
        output.checksum_sha1 = sum($crate::content::Algorithm::Sha1);
        output.checksum_sha256 = sum($crate::content::Algorithm::Sha256);
    }};
}

/// What a request says of an object that is to be.
macro_rules! said {
    ($input:expr, $extensions:expr) => {
        $crate::describe::headers(
            [
                ($crate::describe::CACHE_CONTROL, $input.cache_control.take()),
                ($crate::describe::CONTENT_DISPOSITION, $input.content_disposition.take()),
                ($crate::describe::CONTENT_ENCODING, $input.content_encoding.take()),
                ($crate::describe::CONTENT_LANGUAGE, $input.content_language.take()),
            ],
            $input.expires.take(),
            $crate::tolerance::AsSaid::of($extensions),
        )
    };
}

pub(crate) use {described, said, summed};
