//! Bytes: of objects, of parts of them, and of balls.

use std::io;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use cm_door::{object_refusal, refusal};
use cm_http::etag::Freshness;
use cm_http::range::unsatisfiable;
use cm_http::{ETag, Failure, FailureClass, Preconditions, RangeRequest};
use cm_kernel::OpContext;
use cm_kernel::objects::{ByteRange, ObjectInfo, ObjectRead};
use cm_kernel::policy::{Permit, Read};
use cm_types::{BucketName, ObjectKey};
use futures::{StreamExt, TryStreamExt, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::MictlanX;
use super::cache::OBJECT_BYTES_MAX;
use super::metadata::{Metadata, OCTET_STREAM, absent, digest_term};
use super::shape::typed;
use super::writing::{is_set, place};

/// What `attr-char` of RFC 8187 leaves as it is, beside letters and digits.
const FILENAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How an answer with bytes is to be described.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Presentation {
    #[serde(default)]
    content_type: String,
    #[serde(default)]
    filename: String,
    #[serde(default)]
    attachment: String,
}

impl Presentation {
    fn is_attachment(&self) -> bool {
        matches!(self.attachment.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on" | "t" | "y")
    }

    fn headers(&self, metadata: &Metadata) -> HeaderMap {
        let asked = Some(self.content_type.as_str()).filter(|text| !text.is_empty());
        let media_type = asked.unwrap_or(&metadata.content_type);
        let media_type = HeaderValue::from_str(media_type).unwrap_or(HeaderValue::from_static(OCTET_STREAM));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, media_type);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if self.is_attachment() {
            let given = Some(self.filename.clone()).filter(|name| !name.is_empty());
            let tagged =
                || ["fullname", "filename"].into_iter().find_map(|tag| metadata.tags.get(tag).cloned());
            let name = given.or_else(tagged);
            let name = name.unwrap_or_else(|| format!("{}_{}", metadata.bucket_id, metadata.key));
            headers.insert(header::CONTENT_DISPOSITION, attachment(&name));
        }
        headers
    }
}

/// The name as it is where it can stand so, and otherwise as RFC 6266 demands.
fn attachment(name: &str) -> HeaderValue {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$&+-.^_`|~".contains(c);
    let text = match !name.is_empty() && name.chars().all(is_token) {
        true => format!("attachment; filename={name}"),
        false => {
            let plain = |c: char| if c == ' ' || is_token(c) || "()[]{}@,;=".contains(c) { c } else { '_' };
            let fallback: String = name.chars().map(plain).take(200).collect();
            let encoded = utf8_percent_encode(name, FILENAME);
            format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{encoded}")
        }
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Which part of so many bytes the headers ask for; `None` for all of it.
fn part(headers: &HeaderMap, etag: &ETag) -> Option<ByteRange> {
    match RangeRequest::from_headers(headers, etag) {
        RangeRequest::Whole => None,
        RangeRequest::From { first, last: None } => Some(ByteRange::From(first)),
        RangeRequest::From { first, last: Some(last) } => Some(ByteRange::Inclusive(first, last)),
        RangeRequest::Suffix { len } => Some(ByteRange::Suffix(len)),
    }
}

fn etag_of(text: String) -> ETag {
    let visible = |c: char| if c.is_ascii_graphic() && c != '"' { c } else { '_' };
    let text: String = text.chars().map(visible).collect();
    ETag::strong(text).expect("visible ASCII without quotation marks makes a tag")
}

impl MictlanX {
    /// What is said of an object.
    pub(super) async fn metadata(
        &self,
        op: &OpContext,
        bucket_id: &str,
        key: &str,
    ) -> Result<Option<(ObjectInfo, Metadata, Permit<Read>)>, Failure> {
        let Some((bucket, key)) = place(bucket_id, key) else { return Ok(None) };
        let permit = match self.kernel().look_up_object::<Read>(op, &bucket, &key).await {
            Ok(permit) => permit,
            Err(error) if error.class() == cm_kernel::ErrorClass::NotFound => return Ok(None),
            Err(error) => return Err(refusal(error)),
        };
        let info = match self.kernel().objects().head(&permit, &bucket, &key).await {
            Ok(info) => info,
            Err(error) => match object_refusal(error) {
                failure if failure.class() == FailureClass::NotFound => return Ok(None),
                failure => return Err(failure),
            },
        };
        let text = self.kernel().object_description(&permit, (&bucket, &key), info.sha256).await;
        let metadata = Metadata::of(bucket_id, &info, text.map_err(refusal)?.as_deref());
        Ok(Some((info, metadata, permit)))
    }

    /// Refuses a peer that holds nothing.
    pub(super) fn demand_peer(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let Some(peer) = headers.get("peer-id").and_then(|value| value.to_str().ok()) else { return Ok(()) };
        match peer.is_empty() || self.peer_ids().iter().any(|known| known == peer) {
            true => Ok(()),
            false => Err(typed(FailureClass::NotFound, 404, 404, format!("Peer({peer}) is not available"))),
        }
    }

    /// The bytes of an object.
    pub(super) async fn data(
        &self,
        op: &OpContext,
        (bucket_id, key): (&str, &str),
        headers: &HeaderMap,
        presentation: &Presentation,
        may_cache: bool,
    ) -> Result<Response, Failure> {
        self.demand_peer(headers)?;
        let found = self.metadata(op, bucket_id, key).await?;
        let (info, metadata, permit) = found.ok_or_else(|| absent(bucket_id, key))?;
        self.answer(info, &metadata, &permit, headers, presentation, may_cache).await
    }

    /// The bytes that have this digest.
    pub(super) async fn data_by_digest(
        &self,
        op: &OpContext,
        digest: cm_types::Sha256Digest,
        headers: &HeaderMap,
        presentation: &Presentation,
    ) -> Result<Response, Failure> {
        let found = self.kernel().find_objects(op, &digest_term(digest)).await.map_err(refusal)?;
        let Some((info, text, permit)) = found.into_iter().next() else {
            return Err(typed(FailureClass::NotFound, 404, 404, format!("no object with SHA-256 {digest}")));
        };
        let metadata = Metadata::of(info.bucket.as_str(), &info, Some(&text));
        self.answer(info, &metadata, &permit, headers, presentation, false).await
    }

    /// An answer with the bytes of this object.
    pub(super) async fn answer(
        &self,
        info: ObjectInfo,
        metadata: &Metadata,
        permit: &Permit<Read>,
        headers: &HeaderMap,
        presentation: &Presentation,
        may_cache: bool,
    ) -> Result<Response, Failure> {
        let etag = etag_of(info.etag());
        if Preconditions::from_headers(headers)?.check_read(&etag)? == Freshness::NotModified {
            return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag.header())]).into_response());
        }
        let described = presentation.headers(metadata);
        let wanted = part(headers, &etag);
        let is_small = may_cache && wanted.is_none() && info.size <= OBJECT_BYTES_MAX;
        if is_small && !is_set(headers, "force-get") {
            let bytes = self.cached(&info, &metadata.bucket_id, permit).await?;
            let size = bytes.len() as u64;
            return Ok(with_body(described, &etag, None, size, Body::from(bytes)));
        }
        let (read, range) = self.open(&info, permit, wanted).await?;
        // Another version may have come meanwhile; what was said of this one need not be true of it.
        if read.info.sha256 != info.sha256 {
            let message = "the object was replaced while it was opened; try again";
            return Err(typed(FailureClass::Unavailable, 503, 503, message));
        }
        let length = read.range.end - read.range.start;
        let range = range.map(|_| (read.range.clone(), read.info.size));
        Ok(with_body(described, &etag, range, length, Body::from_stream(read.body)))
    }

    async fn open(
        &self,
        info: &ObjectInfo,
        permit: &Permit<Read>,
        wanted: Option<ByteRange>,
    ) -> Result<(ObjectRead, Option<ByteRange>), Failure> {
        let objects = self.kernel().objects();
        let read = objects.get(permit, &info.bucket, &info.key, wanted).await.map_err(object_refusal)?;
        Ok((read, wanted))
    }

    /// The bytes of a small object, from memory if they are there.
    async fn cached(
        &self,
        info: &ObjectInfo,
        bucket_id: &str,
        permit: &Permit<Read>,
    ) -> Result<Bytes, Failure> {
        let place = (permit.tenant().clone(), info.bucket.clone(), info.key.clone());
        if let Some(bytes) = self.0.cache.get(&place, info.version) {
            return Ok(bytes);
        }
        let (mut read, _) = self.open(info, permit, None).await?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = read.body.next().await {
            bytes.extend_from_slice(&piece.map_err(object_refusal)?);
            if bytes.len() as u64 > OBJECT_BYTES_MAX {
                break;
            }
        }
        if read.info.sha256 != info.sha256 {
            let message = "the object was replaced while it was read; try again";
            return Err(typed(FailureClass::Unavailable, 503, 503, message));
        }
        let bytes = bytes.freeze();
        self.0.cache.keep(place, read.info.version, bucket_id, bytes.clone());
        Ok(bytes)
    }

    /// The bytes of a ball's pieces, one behind the other. Each piece is opened when it is its turn.
    pub(super) async fn merged(
        &self,
        op: &OpContext,
        (bucket_id, ball): (&str, &str),
        headers: &HeaderMap,
        presentation: &Presentation,
    ) -> Result<Response, Failure> {
        let pieces = self.whole(op, bucket_id, ball).await?;
        let size: u64 = pieces.iter().map(|(info, _)| info.size).sum();
        let Some((_, first)) = pieces.first() else { return Err(absent(bucket_id, ball)) };
        let mut described = presentation.headers(&Metadata { key: ball.to_owned(), ..first.clone() });
        if let Some(checksum) = first.tags.get("full_checksum")
            && let Ok(value) = HeaderValue::from_str(checksum)
        {
            described.insert("x-content-sha256", value);
        }
        let sums: Vec<String> = pieces.iter().map(|(info, _)| info.sha256.to_string()).collect();
        let etag = etag_of(cm_crypto::digest::sha256(sums.join(",").as_bytes()).to_string());
        if Preconditions::from_headers(headers)?.check_read(&etag)? == Freshness::NotModified {
            return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag.header())]).into_response());
        }
        let wanted = part(headers, &etag);
        let range = match wanted {
            Some(range) => range.resolve(size).map_err(|_| unsatisfiable(size))?,
            None => 0..size,
        };
        let jobs = parts(
            pieces.into_iter().map(|(info, _)| ((info.bucket, info.key, info.version), info.size)),
            &range,
        );
        let (mictlanx, op) = (self.clone(), op.clone());
        let body = stream::iter(jobs).then(move |job| {
            let (mictlanx, op) = (mictlanx.clone(), op.clone());
            async move { mictlanx.piece(&op, job).await }
        });
        let length = range.end - range.start;
        let range = wanted.map(|_| (range, size));
        Ok(with_body(described, &etag, range, length, Body::from_stream(body.try_flatten())))
    }

    async fn piece(
        &self,
        op: &OpContext,
        ((bucket, key, version), range): Job,
    ) -> io::Result<impl futures::Stream<Item = io::Result<Bytes>> + use<>> {
        let permit =
            self.kernel().look_up_object::<Read>(op, &bucket, &key).await.map_err(io::Error::other)?;
        let read =
            self.kernel().objects().get(&permit, &bucket, &key, range).await.map_err(io::Error::other)?;
        match read.info.version == version {
            true => Ok(read.body.map_err(io::Error::other)),
            false => Err(io::Error::other("a piece was replaced while the ball was read")),
        }
    }
}

/// A piece that is to be read, and which part of it; all of it without a range.
type Job = ((BucketName, ObjectKey, uuid::Uuid), Option<ByteRange>);

/// Which parts of which pieces make up a range of all of them.
fn parts<T>(
    pieces: impl Iterator<Item = (T, u64)>,
    range: &std::ops::Range<u64>,
) -> Vec<(T, Option<ByteRange>)> {
    let mut start = 0;
    let mut parts = Vec::new();
    for (piece, size) in pieces {
        let end = start + size;
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            let is_all = from == start && to == end;
            let part = (!is_all).then(|| ByteRange::Inclusive(from - start, to - start - 1));
            parts.push((piece, part));
        }
        start = end;
    }
    parts
}

fn with_body(
    mut headers: HeaderMap,
    etag: &ETag,
    range: Option<(std::ops::Range<u64>, u64)>,
    length: u64,
    body: Body,
) -> Response {
    let mut answer = Response::new(body);
    headers.insert(header::ETAG, etag.header());
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some((range, size)) = range {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let part = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
        let part = HeaderValue::try_from(part).expect("digits and punctuation make a header value");
        headers.insert(header::CONTENT_RANGE, part);
    }
    *answer.headers_mut() = headers;
    answer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_files_are_written_so_that_they_end_where_they_end() {
        for (name, expected) in [
            ("report.pdf", "attachment; filename=report.pdf"),
            ("a b\".txt", "attachment; filename=\"a b_.txt\"; filename*=UTF-8''a%20b%22.txt"),
            ("ä\r\nx", "attachment; filename=\"___x\"; filename*=UTF-8''%C3%A4%0D%0Ax"),
        ] {
            assert_eq!(attachment(name).to_str().unwrap(), expected);
        }
    }

    proptest! {
        /// The parts are those that a slice of all bytes would be.
        #[test]
        fn parts_of_pieces_make_up_the_range(sizes in prop::collection::vec(0u64..20, 0..8), a in 0u64..100, b in 0u64..100) {
            let size: u64 = sizes.iter().sum();
            let range = a.min(b).min(size)..a.max(b).min(size);
            let pieces = sizes.iter().copied().enumerate();
            let all: Vec<(usize, u64)> =
                pieces.clone().flat_map(|(number, size)| (0..size).map(move |at| (number, at))).collect();
            let mut read = Vec::new();
            for (number, part) in parts(pieces, &range) {
                let part = part.map_or(0..sizes[number], |part| part.resolve(sizes[number]).unwrap());
                read.extend(part.map(|at| (number, at)));
            }
            prop_assert_eq!(&read[..], &all[range.start as usize..range.end as usize]);
        }
    }
}
