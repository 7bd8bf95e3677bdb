//! Objects from forms of the web (`POST` of `multipart/form-data` to a bucket), which browsers send for somebody who signed a
//! policy of what may be sent.
//!
//! Fields before the file are held in memory, a bounded number of them; the file is streamed into the object, under the
//! permits of whoever signed, or of everybody if nobody did. The signature covers the policy, and the policy every field. It
//! may be of version 2 here: HMAC-SHA-1 over the same bytes is as hard to forge, and most libraries still make such forms.

mod fields;
mod policy;
mod said;

use std::io;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use cm_crypto::mac::{hmac_sha1, hmac_sha256};
use cm_crypto::secret::constant_time_eq;
use cm_http::body::form::piecewise;
use cm_kernel::policy::sharing::Circumstances;
use cm_kernel::{Actor, Kernel, OpContext};
use futures::{Stream, StreamExt, stream};
use http_body_util::StreamBody;
use multer::{Field, Multipart};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::dto::{ChecksumType, ETag, PutObjectInput, PutObjectOutput, ServerSideEncryption, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

pub use self::fields::Fields;
pub use self::policy::{Policy, PolicyError};
use self::said::said_input;
use crate::caller::Caller;
use crate::content::invalid;
use crate::host::Place;
use crate::operations::{Store, header_tags};
use crate::tolerance::AsSaid;
use crate::{circumstances, content, dates, failure};

/// All fields before the file, in bytes.
const FIELDS_BYTES_MAX: usize = 64 * 1024;
/// All that may arrive before the file is seen: fields, what stands between them, and the file's first piece.
const HEAD_BYTES_MAX: usize = 2 << 20;
/// Most fields before the file.
const FIELDS_MAX: usize = 200;
const FILE: &str = "file";

/// Whether the request is a form for a bucket.
pub(crate) fn is_form(request: &Request) -> bool {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    request.method() == Method::POST
        && media_type
            .is_some_and(|text| text.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"))
        && request.uri().query().is_none()
        && bucket_of(request.uri().path()).is_some()
}

fn bucket_of(path: &str) -> Option<String> {
    let name = path.strip_prefix('/')?.trim_end_matches('/');
    let is_bucket = !name.is_empty() && !name.contains('/');
    is_bucket.then(|| percent_decode_str(name).decode_utf8_lossy().into_owned())
}

/// Says of a request that it came as a form, whose file need not say how long it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromForm;

/// A form that arrived.
pub(crate) struct Form<'a> {
    pub(crate) store: &'a Store,
    pub(crate) kernel: &'a Kernel,
    pub(crate) op: OpContext,
    pub(crate) circumstances: Circumstances,
    /// Whether signatures are looked at.
    pub(crate) is_open: bool,
}

/// What becomes of the form when the object is there.
struct Success {
    redirect: Option<String>,
    status: StatusCode,
}

impl Form<'_> {
    /// Stores the file of the form. The second part of the answer is the key that it named, if it named one.
    pub(crate) async fn take(
        self,
        parts: &Parts,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> (Response, Option<String>) {
        let request = self.op.request.to_string();
        let mut named = None;
        let outcome = self.store_file(parts, body, &mut named).await;
        let answer = outcome.unwrap_or_else(|error| failure::answer(&error, parts.uri.path(), &request));
        (answer, named)
    }

    async fn store_file(
        mut self,
        parts: &Parts,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        named: &mut Option<String>,
    ) -> S3Result<Response> {
        let bucket = bucket_of(parts.uri.path()).ok_or_else(|| S3Error::new(S3ErrorCode::NoSuchBucket))?;
        let media_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let boundary = media_type.and_then(|text| multer::parse_boundary(text).ok());
        let boundary = boundary.ok_or_else(|| malformed("the form has no boundary"))?;
        let (body, limit) = piecewise(body, HEAD_BYTES_MAX);
        let mut multipart = Multipart::new(body, boundary);
        let (mut fields, file) = read_fields(&mut multipart).await?;
        limit.lift();
        fields.insert("bucket", bucket.clone());
        *named = access_key(&fields).map(str::to_owned);
        let file_name = file.file_name().unwrap_or_default().to_owned();
        let key = fields.get("key").ok_or_else(|| argument("the form has no field `key`"))?;
        // Some clients send the whole path of the file at their end.
        let file_name = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
        let key = key.replace("${filename}", file_name);
        fields.insert("key", key.clone());
        if let Some(name) = fields.untaken() {
            let message = format!("forms cannot say `{name}`; tags are said by the field `tagging`");
            return Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message));
        }
        let policy = fields.get("policy").map(|text| Policy::parse(text));
        let signed = self.signed(&fields, policy.is_some()).await?;
        self.kernel.admit(self.op.asked.address, &self.op.actor).map_err(crate::failure::kernel)?;
        let length = match policy.transpose().map_err(|error| refused(&error))? {
            Some(policy) => {
                policy.check(&fields, self.kernel.now()).map_err(|error| refused(&error))?;
                policy.length()
            }
            None => (0, u64::MAX),
        };
        let headers = fields.headers().ok_or_else(|| argument("a field cannot be a header"))?;
        circumstances::headers(&headers, &mut self.circumstances);
        circumstances::creates_object(&mut self.circumstances);
        let input = said_input(&fields)?;
        let caller = Caller::known(self.op, signed, self.circumstances);
        let tags = header_tags(input.tagging.as_deref())?;
        let caller = caller.with_tags(tags.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let success = Success::of(&fields);
        let body = StreamBody::new(bounded(file, length).map(|piece| piece.map(http_body::Frame::data)));
        let input = PutObjectInput {
            bucket: bucket.clone(),
            key: key.clone(),
            body: Some(StreamingBlob::from(content::body(body))),
            ..input
        };
        let mut extensions = Extensions::new();
        extensions.insert(FromForm);
        let expires = fields.get("expires").filter(|text| !dates::is_plain(text)).cloned();
        extensions.insert(AsSaid { expires, response_expires: None });
        let request = S3Request {
            input,
            method: Method::PUT,
            uri: parts.uri.clone(),
            headers,
            extensions,
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        };
        let written = self.store.write_form(caller, request).await?;
        let place = parts.extensions.get::<Place>().cloned().unwrap_or_default();
        Ok(success.answer(&place, &bucket, &key, &written))
    }

    /// Who signed the form; its actor is in the operation's context from then on.
    async fn signed(
        &mut self,
        fields: &Fields,
        has_policy: bool,
    ) -> S3Result<Option<s3s::auth::Credentials>> {
        if self.is_open {
            return Ok(None);
        }
        let is_signed = ["signature", "x-amz-signature"].into_iter().any(|name| fields.get(name).is_some());
        match (has_policy, is_signed || access_key(fields).is_some()) {
            (false, false) => return Ok(None),
            (false, true) => return Err(argument("a form that is signed has a policy")),
            (true, _) => {}
        }
        let key =
            access_key(fields).ok_or_else(|| argument("the form does not say who signed it"))?.to_owned();
        let secret = self.kernel.s3_secret(&key).await.map_err(crate::caller::unknown_key)?;
        let secret = secret.expose().as_str();
        if !is_authentic(fields, secret)? {
            return Err(S3Error::with_message(
                S3ErrorCode::SignatureDoesNotMatch,
                "the form is signed otherwise",
            ));
        }
        let actor = self.kernel.authenticate_s3(&key, secret).await.map_err(crate::caller::unknown_key)?;
        self.op = self.op.clone().by(actor);
        debug_assert!(!matches!(self.op.actor, Actor::Anonymous));
        Ok(Some(s3s::auth::Credentials { access_key: key, secret_key: secret.into() }))
    }
}

/// The fields before the file, and the file.
async fn read_fields(multipart: &mut Multipart<'static>) -> S3Result<(Fields, Field<'static>)> {
    let (mut fields, mut bytes) = (Fields::default(), 0);
    for _ in 0..FIELDS_MAX {
        let field = multipart.next_field().await.map_err(unreadable)?;
        let mut field = field.ok_or_else(|| argument("the form has no field `file`"))?;
        let name = field.name().unwrap_or_default().to_owned();
        if name.eq_ignore_ascii_case(FILE) {
            return Ok((fields, field));
        }
        let mut value = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(unreadable)? {
            bytes += piece.len();
            if bytes > FIELDS_BYTES_MAX {
                let code = S3ErrorCode::MaxPostPreDataLengthExceededError;
                return Err(S3Error::with_message(code, "the fields before the file are too long"));
            }
            value.extend_from_slice(&piece);
        }
        let value = String::from_utf8(value).map_err(|_| argument("a field is no UTF-8"))?;
        fields.insert(&name, value);
    }
    Err(malformed("the form has too many fields"))
}

fn access_key(fields: &Fields) -> Option<&str> {
    let scoped = fields.get("x-amz-credential").and_then(|scope| scope.split('/').next());
    scoped.or_else(|| fields.get("awsaccesskeyid").map(String::as_str))
}

/// Whether the policy was signed with this secret.
fn is_authentic(fields: &Fields, secret: &str) -> S3Result<bool> {
    use base64::Engine as _;
    let policy = fields.get("policy").map(String::as_bytes).unwrap_or_default();
    if let Some(signature) = fields.get("x-amz-signature") {
        let algorithm = fields.get("x-amz-algorithm").map(String::as_str);
        let scope = fields.get("x-amz-credential").map(String::as_str).unwrap_or_default();
        let date = fields.get("x-amz-date").map(String::as_str).unwrap_or_default();
        let scope: Vec<&str> = scope.split('/').collect();
        let [_, day, region, "s3", "aws4_request"] = scope[..] else {
            return Err(argument("`x-amz-credential` is KEY/DATE/REGION/s3/aws4_request"));
        };
        if algorithm != Some("AWS4-HMAC-SHA256") || !date.starts_with(day) || day.len() != 8 {
            return Err(argument("forms are signed with AWS4-HMAC-SHA256, on the day of their scope"));
        }
        let mut key = hmac_sha256(format!("AWS4{secret}").as_bytes(), day.as_bytes());
        for part in [region, "s3", "aws4_request"] {
            key = hmac_sha256(&key, part.as_bytes());
        }
        let expected: String = hmac_sha256(&key, policy).iter().map(|byte| format!("{byte:02x}")).collect();
        return Ok(constant_time_eq(expected.as_bytes(), signature.as_bytes()));
    }
    let signature = fields.get("signature").ok_or_else(|| argument("the form is not signed"))?;
    let expected = base64::engine::general_purpose::STANDARD.encode(hmac_sha1(secret.as_bytes(), policy));
    Ok(constant_time_eq(expected.as_bytes(), signature.as_bytes()))
}

/// The file, if it is as long as it must be.
fn bounded(
    file: Field<'static>,
    (min, max): (u64, u64),
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(Some((file, 0u64)), move |state| async move {
        let (mut file, mut length) = state?;
        let ends = |error: S3Error| Some((Err(io::Error::other(error)), None));
        match file.chunk().await {
            Ok(Some(piece)) => {
                length += piece.len() as u64;
                match length > max {
                    true => ends(S3Error::with_message(
                        S3ErrorCode::EntityTooLarge,
                        "the file is longer than its policy allows",
                    )),
                    false => Some((Ok(piece), Some((file, length)))),
                }
            }
            Ok(None) if length < min => ends(S3Error::with_message(
                S3ErrorCode::EntityTooSmall,
                "the file is shorter than its policy demands",
            )),
            Ok(None) => None,
            Err(multer::Error::StreamReadFailed(source)) => ends(content::own(source)),
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    })
}

impl Success {
    fn of(fields: &Fields) -> Self {
        let redirect = fields.get("success_action_redirect").or_else(|| fields.get("redirect"));
        let is_address = |text: &&String| text.starts_with("http://") || text.starts_with("https://");
        let status = match fields.get("success_action_status").map(String::as_str) {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            _ => StatusCode::NO_CONTENT,
        };
        Self { redirect: redirect.filter(is_address).cloned(), status }
    }

    fn answer(self, place: &Place, bucket: &str, key: &str, written: &PutObjectOutput) -> Response {
        let mut answer = Response::new(Body::empty());
        let stored = place.address(bucket, key);
        let tag = format!("\"{}\"", written.e_tag.as_ref().map(ETag::value).unwrap_or_default());
        if let Some(address) = self.redirect {
            let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
            let separator = if address.contains('?') { '&' } else { '?' };
            let location = format!(
                "{address}{separator}bucket={}&key={}&etag={}",
                encode(bucket),
                encode(key),
                encode(&tag)
            );
            if let Ok(location) = HeaderValue::from_str(&location) {
                *answer.status_mut() = StatusCode::SEE_OTHER;
                answer.headers_mut().insert(header::LOCATION, location);
            }
        } else {
            *answer.status_mut() = self.status;
            if let Ok(location) = HeaderValue::from_str(&stored) {
                answer.headers_mut().insert(header::LOCATION, location);
            }
        }
        if answer.status() == StatusCode::CREATED {
            let text = failure::escaped;
            *answer.body_mut() = Body::from(format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location><Bucket>{}</Bucket>\
                 <Key>{}</Key><ETag>{}</ETag></PostResponse>",
                text(&stored),
                text(bucket),
                text(key),
                text(&tag)
            ));
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        let said = [
            ("etag", Some(tag.as_str())),
            ("x-amz-version-id", written.version_id.as_deref()),
            ("x-amz-expiration", written.expiration.as_deref()),
            (
                "x-amz-server-side-encryption",
                written.server_side_encryption.as_ref().map(ServerSideEncryption::as_str),
            ),
            ("x-amz-server-side-encryption-customer-algorithm", written.sse_customer_algorithm.as_deref()),
            ("x-amz-server-side-encryption-customer-key-md5", written.sse_customer_key_md5.as_deref()),
            ("x-amz-checksum-crc32", written.checksum_crc32.as_deref()),
            ("x-amz-checksum-crc32c", written.checksum_crc32c.as_deref()),
            ("x-amz-checksum-crc64nvme", written.checksum_crc64nvme.as_deref()),
            ("x-amz-checksum-sha1", written.checksum_sha1.as_deref()),
            ("x-amz-checksum-sha256", written.checksum_sha256.as_deref()),
            ("x-amz-checksum-type", written.checksum_type.as_ref().map(ChecksumType::as_str)),
        ];
        for (name, text) in said {
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }
}

/// What needs no encoding in the query of an address.
const UNRESERVED: &percent_encoding::AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn refused(error: &PolicyError) -> S3Error {
    let code = match error {
        PolicyError::Invalid(_) => S3ErrorCode::InvalidPolicyDocument,
        PolicyError::Expired | PolicyError::Unmet(_) => S3ErrorCode::AccessDenied,
    };
    S3Error::with_message(code, error.to_string())
}

fn argument(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message)
}

/// Why a form is not read on: it is none, or it came too slowly.
fn unreadable(error: multer::Error) -> S3Error {
    if let multer::Error::StreamReadFailed(source) = error {
        let broken = content::own(source);
        if *broken.code() == S3ErrorCode::RequestTimeout {
            return broken;
        }
    }
    malformed("the form is not readable")
}

fn malformed(message: &'static str) -> S3Error {
    let mut error = invalid(message);
    error.set_code(S3ErrorCode::MalformedPOSTRequest);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.insert(name, (*value).to_owned());
        }
        fields
    }

    /// Whatever else a form says: its policy speaks of it.
    #[test]
    fn signatures_cover_the_policy() {
        let second = fields(&[("policy", "abc"), ("signature", "lQ8d5VK6aDL60KXPqQ0/kHqbDpo=")]);
        assert!(!is_authentic(&second, "secret").unwrap());
        use base64::Engine as _;
        let made = base64::engine::general_purpose::STANDARD.encode(hmac_sha1(b"secret", b"abc"));
        let second = fields(&[("policy", "abc"), ("signature", &made)]);
        assert!(is_authentic(&second, "secret").unwrap());
        assert!(!is_authentic(&second, "other").unwrap());
        let scope = "KEY/20300101/us-east-1/s3/aws4_request";
        let fourth = |signature: &str, date: &str| {
            fields(&[
                ("policy", "abc"),
                ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
                ("x-amz-credential", scope),
                ("x-amz-date", date),
                ("x-amz-signature", signature),
            ])
        };
        let mut key = hmac_sha256(b"AWS4secret", b"20300101");
        for part in ["us-east-1", "s3", "aws4_request"] {
            key = hmac_sha256(&key, part.as_bytes());
        }
        let made: String = hmac_sha256(&key, b"abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(is_authentic(&fourth(&made, "20300101T000000Z"), "secret").unwrap());
        assert!(!is_authentic(&fourth(&made, "20300101T000000Z"), "other").unwrap());
        assert!(!is_authentic(&fourth("00", "20300101T000000Z"), "secret").unwrap());
        assert!(is_authentic(&fourth(&made, "20300102T000000Z"), "secret").is_err());
        assert!(is_authentic(&fields(&[("policy", "abc")]), "secret").is_err());
    }

    #[test]
    fn answers_are_as_the_form_wants_them() {
        let answer = |pairs: &[(&str, &str)]| {
            let written = PutObjectOutput {
                e_tag: Some(ETag::Strong("00".to_owned())),
                version_id: Some("7".to_owned()),
                ..PutObjectOutput::default()
            };
            Success::of(&fields(pairs)).answer(&Place::default(), "b", "a/b c", &written)
        };
        assert_eq!(answer(&[]).status(), StatusCode::NO_CONTENT);
        assert_eq!(answer(&[]).headers()["etag"], "\"00\"");
        assert_eq!(answer(&[]).headers()["x-amz-version-id"], "7");
        assert_eq!(answer(&[]).headers()[header::LOCATION], "http:///b/a/b%20c");
        assert_eq!(answer(&[("success_action_status", "201")]).status(), StatusCode::CREATED);
        assert_eq!(answer(&[("success_action_status", "404")]).status(), StatusCode::NO_CONTENT);
        let redirected = answer(&[("success_action_redirect", "http://h/p")]);
        assert_eq!(redirected.status(), StatusCode::SEE_OTHER);
        assert_eq!(redirected.headers()[header::LOCATION], "http://h/p?bucket=b&key=a%2Fb%20c&etag=%2200%22");
        assert_eq!(answer(&[("redirect", "javascript:alert(1)")]).status(), StatusCode::NO_CONTENT);
    }

    #[test]
    fn forms_that_stop_are_told_so() {
        let code = |error| unreadable(error).code().as_str().to_owned();
        let stopped: io::Error = io::ErrorKind::TimedOut.into();
        assert_eq!(code(multer::Error::StreamReadFailed(stopped.into())), "RequestTimeout");
        let other: io::Error = io::ErrorKind::ConnectionReset.into();
        assert_eq!(code(multer::Error::StreamReadFailed(other.into())), "MalformedPOSTRequest");
        assert_eq!(code(multer::Error::IncompleteHeaders), "MalformedPOSTRequest");
    }

    /// Whoever sends a form without end, or without a file, is cut off.
    #[tokio::test]
    async fn what_stands_before_a_file_is_bounded() {
        let endless = |piece: &'static [u8]| stream::repeat_with(move || Ok(Bytes::from_static(piece)));
        let read = |body: futures::stream::BoxStream<'static, io::Result<Bytes>>| async move {
            let mut multipart = Multipart::new(piecewise(body, HEAD_BYTES_MAX).0, "b");
            read_fields(&mut multipart).await.err().map(|error| error.code().as_str().to_owned())
        };
        let begin = |text: &'static str| stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
        let head = begin("--b\r\nx: ").chain(endless(&[b'a'; 4096])).boxed();
        assert_eq!(read(head).await.as_deref(), Some("MalformedPOSTRequest"));
        let field = "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n";
        let value = begin(field).chain(endless(&[b'a'; 4096])).boxed();
        assert_eq!(read(value).await.as_deref(), Some("MaxPostPreDataLengthExceededError"));
        let whole =
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n--b--\r\n";
        assert_eq!(read(begin(whole).boxed()).await, None);
    }
}
