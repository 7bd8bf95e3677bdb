//! What is looked at before the adapter sees a request.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use cm_http::local::require_local;
use cm_http::{Failure, FailureClass};
use time::format_description::well_known::Rfc2822;
use time::{OffsetDateTime, UtcOffset};

use crate::failure::CODE;
use crate::forms;
use crate::framing::{Mode, Trailers};
use crate::subresources::{self, decode, parameter};
use crate::version_two;

/// How long a presigned URL may be good for, in seconds: a week, as with S3.
const PRESIGNED_SECONDS_MAX: u64 = 7 * 24 * 3600;
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const SECURITY_TOKEN: &str = "x-amz-security-token";
/// How requests are signed.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What S3 calls it when a presigned URL says something wrong of its signature.
const QUERY_PARAMETERS: &str = "AuthorizationQueryParametersError";
const AMZ_DATE: &str = "x-amz-date";
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
/// What presigned URLs carry.
const PRESIGNED: [&str; 10] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "Signature",
    "Expires",
];

/// How a body is framed, and what is to become of it.
#[derive(Clone, Debug)]
pub enum Framed {
    /// Not at all.
    Plain,
    /// In chunks.
    Chunks(Mode, Trailers),
}

/// Refuses what must not reach the adapter on a node that demands credentials: signatures that leave out what
/// they should cover, forms that are for no bucket, since the adapter would hold them in memory before it knows who sent them, and
/// operations that it would take for others.
///
/// # Errors
/// 400, 403 and 501.
pub fn examine(mut request: Request) -> Result<(Request, Framed), Failure> {
    refuse_untaken(&request)?;
    // A page that asks whether it may send a request shows the signature of that one, and asks for nothing.
    if request.method() == Method::OPTIONS {
        return Ok((request, Framed::Plain));
    }
    let uri = request.uri();
    let is_second = ["Signature", "AWSAccessKeyId"].iter().any(|name| parameter(uri, name).is_some());
    let in_query = parameter(uri, "X-Amz-Signature").is_some();
    let authorization = request.headers().get(header::AUTHORIZATION);
    if [is_second, in_query, authorization.is_some()].into_iter().filter(|is_signed| *is_signed).count() > 1 {
        return Err(invalid("a request is signed once, in its query or its headers")
            .with_detail(CODE, "InvalidArgument"));
    }
    if is_second || in_query || authorization.is_some() {
        refuse_token(&request)?;
    }
    let signed = match authorization {
        _ if is_second => {
            let expires = parameter(uri, "Expires").unwrap_or_default();
            let now = OffsetDateTime::now_utc();
            version_two::examine_address(request.headers(), uri, &expires, now)?;
            return Ok((as_signed(request), Framed::Plain));
        }
        Some(value) if value.to_str().is_ok_and(|text| version_two::key(text).is_some()) => {
            version_two::examine_headers(request.headers(), uri, OffsetDateTime::now_utc())?;
            return Ok((as_signed(request), Framed::Plain));
        }
        None if in_query => Some(presigned(uri)?),
        Some(value) => Some(signed_headers(value)?),
        None => None,
    };
    if let Some(signed) = signed {
        require_signed(request.headers(), &signed, in_query)?;
        if !in_query {
            take_date(request.headers_mut(), &signed);
            require_moment(request.headers())?;
        }
    }
    let framed = match content_sha256(request.headers()) {
        Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER") => Framed::Chunks(Mode::Cut, Trailers::default()),
        Some(text) if text.starts_with("STREAMING-") => Framed::Chunks(Mode::Keep, Trailers::default()),
        _ => Framed::Plain,
    };
    Ok((request, framed))
}

fn as_signed(mut request: Request) -> Request {
    if let Some(uri) = version_two::with_slash(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

/// Takes a signature off, and the framing that may belong to it: on a node in open mode nobody looks at them.
///
/// # Errors
/// 403 for what does not come from this machine; 400 and 501 as [`examine`].
pub fn strip(mut request: Request) -> Result<(Request, Framed), Failure> {
    require_local(&request)?;
    refuse_untaken(&request)?;
    request.headers_mut().remove(header::AUTHORIZATION);
    if let Some(uri) = without_signature(request.uri()) {
        *request.uri_mut() = uri;
    }
    if !is_framed(request.headers()) {
        return Ok((request, Framed::Plain));
    }
    let headers = request.headers_mut();
    headers.remove(CONTENT_SHA256);
    headers.remove(header::CONTENT_LENGTH);
    if let Some(length) = headers.get(DECODED_LENGTH).cloned() {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    let trailers = Trailers::default();
    request.extensions_mut().insert(trailers.clone());
    Ok((request, Framed::Chunks(Mode::Remove, trailers)))
}

fn refuse_untaken(request: &Request) -> Result<(), Failure> {
    if request.version() == Version::HTTP_11 && !request.headers().contains_key(header::HOST) {
        return Err(invalid("a request of HTTP/1.1 says its host"));
    }
    require_encoded(request.uri().path())?;
    subresources::refuse_unserved(request)?;
    // The adapter would write an empty object.
    if request.headers().get("x-amz-copy-source").is_some_and(HeaderValue::is_empty) {
        return Err(invalid("`x-amz-copy-source` names an object").with_detail(CODE, "InvalidArgument"));
    }
    if request.headers().get(CONTENT_SHA256).is_some_and(|value| !is_content_sha256(value)) {
        let message = "`x-amz-content-sha256` is neither a SHA-256 nor one of the words that stand for none";
        return Err(invalid(message).with_detail(CODE, "InvalidArgument"));
    }
    // The adapter takes an empty digest for none.
    if request.headers().get("content-md5").is_some_and(|digest| digest.as_bytes().trim_ascii().is_empty()) {
        return Err(invalid("`Content-MD5` is no MD5").with_detail(CODE, "InvalidDigest"));
    }
    let media_type =
        request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_form = media_type.to_ascii_lowercase().trim_ascii_start().starts_with(b"multipart/");
    match request.method() == Method::POST && is_form && !forms::is_form(request) {
        true => {
            Err(Failure::new(FailureClass::UnsupportedMediaType, "forms are sent to the address of a bucket")
                .with_detail(CODE, "NotImplemented"))
        }
        false => Ok(()),
    }
}

fn is_content_sha256(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let is_digest = text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_digest || text == "UNSIGNED-PAYLOAD" || text.starts_with("STREAMING-")
}

fn content_sha256(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_SHA256)?.to_str().ok()
}

/// Whether a body comes in chunks, with signatures or trailers.
pub(crate) fn is_framed(headers: &HeaderMap) -> bool {
    content_sha256(headers).is_some_and(|text| text.starts_with("STREAMING-"))
}

/// The headers that a signature in `Authorization` covers.
fn signed_headers(value: &HeaderValue) -> Result<Vec<String>, Failure> {
    let text = value.to_str().map_err(|_| invalid("`Authorization` is unreadable"))?;
    if text.trim().is_empty() {
        return Err(Failure::new(FailureClass::Forbidden, "a signature is required"));
    }
    let fields = text
        .strip_prefix(ALGORITHM)
        .ok_or_else(|| invalid("`Authorization` is unreadable").with_detail(CODE, "InvalidArgument"))?;
    let field = |name: &str| fields.split(',').find_map(|field| field.trim().strip_prefix(name));
    require_scope(field("Credential=").unwrap_or_default(), "AuthorizationHeaderMalformed")?;
    let signed = field("SignedHeaders=").ok_or_else(|| {
        invalid("`Authorization` lacks `SignedHeaders`").with_detail(CODE, "AuthorizationHeaderMalformed")
    })?;
    Ok(signed.split(';').map(str::to_owned).collect())
}

/// The headers that a presigned URL covers.
fn presigned(uri: &Uri) -> Result<Vec<String>, Failure> {
    let decoded = |name| parameter(uri, name).unwrap_or_default();
    if decoded("X-Amz-Algorithm") != ALGORITHM {
        let message = "a presigned URL says `X-Amz-Algorithm=AWS4-HMAC-SHA256`";
        return Err(invalid(message).with_detail(CODE, QUERY_PARAMETERS));
    }
    require_scope(&decoded("X-Amz-Credential"), QUERY_PARAMETERS)?;
    let is_said = |name| !decoded(name).is_empty();
    if !is_basic(&decoded("X-Amz-Date")) || !is_said("X-Amz-Expires") || !is_said("X-Amz-SignedHeaders") {
        let message = "a presigned URL says `X-Amz-Date`, `X-Amz-Expires` and `X-Amz-SignedHeaders`";
        return Err(invalid(message).with_detail(CODE, QUERY_PARAMETERS));
    }
    let is_short =
        decoded("X-Amz-Expires").parse().is_ok_and(|seconds: u64| seconds <= PRESIGNED_SECONDS_MAX);
    if !is_short {
        return Err(Failure::new(FailureClass::Forbidden, "a presigned URL may be good for a week at most"));
    }
    Ok(decoded("X-Amz-SignedHeaders").split(';').map(str::to_owned).collect())
}

/// A signature is of the moment that `x-amz-date` says, or else `Date`, which the adapter does not know of. Only one that is signed counts; the
/// signature does not cover the header that is added, and need not: it covers the moment itself.
fn take_date(headers: &mut HeaderMap, signed: &[String]) {
    if headers.contains_key(AMZ_DATE) || !signed.iter().any(|name| name.eq_ignore_ascii_case("date")) {
        return;
    }
    let text = headers.get(header::DATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let moment = match is_basic(text) {
        true => Some(text.to_owned()),
        // Clients of HTTP write `GMT`; some that sign write a number, as in mail.
        false => OffsetDateTime::parse(text, &Rfc2822).ok().map(|at| {
            let at = at.to_offset(UtcOffset::UTC);
            let (date, time) = (at.date(), at.time());
            format!(
                "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
                date.year(),
                u8::from(date.month()),
                date.day(),
                time.hour(),
                time.minute(),
                time.second()
            )
        }),
    };
    if let Some(value) = moment.and_then(|moment| HeaderValue::try_from(moment).ok()) {
        headers.insert(AMZ_DATE, value);
    }
}

/// Refuses a signature of no moment.
fn require_moment(headers: &HeaderMap) -> Result<(), Failure> {
    let text = headers.get(AMZ_DATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match is_basic(text) {
        true => Ok(()),
        false => Err(Failure::new(
            FailureClass::Forbidden,
            "the moment of the request is needed in `x-amz-date`, or in a `Date` that is signed",
        )),
    }
}

/// Whether a text is a moment as signatures of version 4 write it, in form.
fn is_basic(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = text.strip_suffix('Z').and_then(|text| text.split_once('T'));
    parts.is_some_and(|(day, time)| day.len() == 8 && time.len() == 6 && digits(day) && digits(time))
}

/// A key's scope is `KEY/DATE/REGION/s3/aws4_request`.
fn require_scope(credential: &str, code: &'static str) -> Result<(), Failure> {
    match credential.ends_with("/s3/aws4_request") {
        true => Ok(()),
        false => Err(invalid("the signature is not for S3").with_detail(CODE, code)),
    }
}

/// Keys are for long here: a token belongs to one that is not.
fn refuse_token(request: &Request) -> Result<(), Failure> {
    let in_header = request.headers().get(SECURITY_TOKEN).is_some_and(|token| !token.is_empty());
    let in_query = parameter(request.uri(), "X-Amz-Security-Token").is_some_and(|token| !token.is_empty());
    match in_header || in_query {
        true => Err(invalid("keys have no tokens here").with_detail(CODE, "InvalidToken")),
        false => Ok(()),
    }
}

/// Refuses what no address can be: a `%` that no two digits follow. The adapter would take it for a letter.
fn require_encoded(path: &str) -> Result<(), Failure> {
    let is_escape =
        |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit());
    match path.split('%').skip(1).all(is_escape) {
        true => Ok(()),
        false => Err(invalid("two digits follow a `%` in an address").with_detail(CODE, "InvalidURI")),
    }
}

/// A header that changes what a request means must be signed, or whoever carries the request could add it. A presigned
/// URL cannot cover the body, hence not its digest.
fn require_signed(headers: &HeaderMap, signed: &[String], in_query: bool) -> Result<(), Failure> {
    let covers = |name: &str| signed.iter().any(|covered| covered.eq_ignore_ascii_case(name));
    let demanded = |name: &str| name.starts_with("x-amz-") && !(in_query && name == CONTENT_SHA256);
    let uncovered = headers.keys().map(|name| name.as_str()).find(|name| demanded(name) && !covers(name));
    let missing = if covers("host") { uncovered } else { Some("host") };
    match missing {
        None => Ok(()),
        Some(name) => {
            Err(Failure::new(FailureClass::Forbidden, format!("the header `{name}` is not signed")))
        }
    }
}

/// The address without what presigned URLs carry; `None` if it carries nothing of it.
pub(crate) fn without_signature(uri: &Uri) -> Option<Uri> {
    let query = uri.query()?;
    let is_ours = |pair: &&str| {
        let name = decode(pair.split('=').next().unwrap_or_default());
        !PRESIGNED.iter().any(|known| known.eq_ignore_ascii_case(&name))
    };
    let kept: Vec<&str> = query.split('&').filter(is_ours).collect();
    let kept = kept.join("&");
    if kept.len() == query.len() {
        return None;
    }
    let path = if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{kept}", uri.path()) };
    path.parse().ok()
}

fn invalid(message: &'static str) -> Failure {
    Failure::new(FailureClass::Malformed, message)
}

#[cfg(test)]
mod tests;
