//! Signatures of version 2: HMAC-SHA1 over less of a request than version 4 covers.
//!
//! `aws s3 presign` and boto3 make them for addresses unless told otherwise. The adapter checks the signature; here is demanded what
//! it does not look at: that the moment of a request is near, that an address ends, and that nothing decides what is done which is not covered.
//! And the signature is compared here before, in a time that tells nothing of it, since the adapter stops at the first letter that differs.
//! The rules are those of Amazon's "Signing and authenticating REST requests".

use std::collections::BTreeSet;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use base64::Engine;
use cm_crypto::mac::hmac_sha1;
use cm_crypto::secret::constant_time_eq;
use cm_http::{Failure, FailureClass};
use cm_kernel::Kernel;
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

use crate::failure::CODE;
use crate::subresources;

/// What the adapter says of a signature that does not fit.
pub(crate) const MISMATCH: &str = "SignatureDoesNotMatch";
/// How far the moment of a request may be from now, either way.
const SKEW_MAX: Duration = Duration::minutes(15);
/// How long an address may be good for: a week, as one of version 4.
const EXPIRES_MAX: Duration = Duration::days(7);

/// The parameters that such a signature covers, in their order.
const COVERED: [&str; 35] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// The key of an `Authorization` of version 2, `AWS KEY:SIGNATURE`.
pub(crate) fn key(authorization: &str) -> Option<&str> {
    authorization.strip_prefix("AWS ")?.split_once(':').map(|(key, _)| key.trim())
}

/// Checks a request that is signed in its headers.
///
/// # Errors
/// 403 for a moment that is none or not near, and for what the signature does not cover.
pub(crate) fn examine_headers(headers: &HeaderMap, uri: &Uri, now: OffsetDateTime) -> Result<(), Failure> {
    require_covered(headers, uri)?;
    let moment = headers.get("x-amz-date").or_else(|| headers.get(header::DATE));
    let moment = moment.and_then(|value| value.to_str().ok()).and_then(parse);
    let moment = moment.filter(|moment| moment.unix_timestamp() >= 0).ok_or_else(|| {
        Failure::new(FailureClass::Forbidden, "the moment of the request is needed in `Date` or `x-amz-date`")
    })?;
    match (now - moment).abs() <= SKEW_MAX {
        true => Ok(()),
        false => Err(Failure::new(FailureClass::Forbidden, "the request was signed at another time")
            .with_detail(CODE, "RequestTimeTooSkewed")),
    }
}

/// Checks an address that is signed; `expires` is the value of its parameter. That it has not ended is the adapter's to check.
///
/// # Errors
/// 403 for one that is good for too long, and for what the signature does not cover.
pub(crate) fn examine_address(
    headers: &HeaderMap,
    uri: &Uri,
    expires: &str,
    now: OffsetDateTime,
) -> Result<(), Failure> {
    require_covered(headers, uri)?;
    let latest = (now + EXPIRES_MAX + SKEW_MAX).unix_timestamp();
    match expires.parse::<i64>().is_ok_and(|expires| expires <= latest) {
        true => Ok(()),
        false => Err(Failure::new(FailureClass::Forbidden, "a presigned URL may be good for a week at most")),
    }
}

/// Refuses a signature of version 2 that is not what the secret of its key makes. A key that does not exist is left to the adapter.
///
/// # Errors
/// 403.
pub(crate) async fn verify(kernel: &Kernel, parts: &Parts) -> Result<(), Failure> {
    let Some(shown) = Shown::of(parts) else { return Ok(()) };
    let Ok(secret) = kernel.s3_secret(&shown.key).await else { return Ok(()) };
    let expected = hmac_sha1(secret.expose().as_bytes(), string_to_sign(parts, &shown.moment).as_bytes());
    let expected = base64::engine::general_purpose::STANDARD.encode(expected);
    match constant_time_eq(expected.as_bytes(), shown.signature.as_bytes()) {
        true => Ok(()),
        false => Err(Failure::new(FailureClass::Forbidden, "the signature is not what the key makes")
            .with_detail(CODE, MISMATCH)),
    }
}

/// What a request shows of a signature of version 2.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    key: String,
    signature: String,
    /// What stands for the moment in what is signed: a date, or when an address ends.
    moment: String,
}

impl Shown {
    fn of(parts: &Parts) -> Option<Self> {
        let parameter = |wanted: &str| subresources::parameter(&parts.uri, wanted);
        if let Some(key) = parameter("AWSAccessKeyId") {
            let (signature, moment) = (parameter("Signature")?, parameter("Expires")?);
            return Some(Self { key, signature, moment });
        }
        let text = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (key, signature) = (key(text)?, text.split_once(':')?.1);
        let moment = match parts.headers.contains_key("x-amz-date") {
            true => String::new(),
            false => alone(&parts.headers, "date"),
        };
        Some(Self { key: key.to_owned(), signature: signature.to_owned(), moment })
    }
}

/// What is signed. The address is that of a path, with a slash behind a bucket alone.
fn string_to_sign(parts: &Parts, moment: &str) -> String {
    let headers = &parts.headers;
    let mut lines = vec![
        parts.method.as_str().to_owned(),
        alone(headers, "content-md5"),
        alone(headers, "content-type"),
        moment.to_owned(),
    ];
    let own: BTreeSet<&str> =
        headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("x-amz-")).collect();
    for name in own {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::trim);
        lines.push(format!("{name}:{}", values.collect::<Vec<_>>().join(",")));
    }
    let covered = COVERED.iter().filter_map(|name| {
        let value = subresources::parameter(&parts.uri, name)?;
        Some(if value.is_empty() { (*name).to_owned() } else { format!("{name}={value}") })
    });
    let covered = covered.collect::<Vec<_>>().join("&");
    let path = parts.uri.path();
    lines.push(if covered.is_empty() { path.to_owned() } else { format!("{path}?{covered}") });
    lines.join("\n")
}

/// The value of a header that is there once.
fn alone(headers: &HeaderMap, name: &str) -> String {
    let mut values = headers.get_all(name).iter();
    let value = values.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    if values.next().is_some() { String::new() } else { value.to_owned() }
}

/// The address as the signature covers it: libraries sign that of a bucket with a slash behind it, whether they send one or not. `None` if it
/// is so already.
pub(crate) fn with_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if path.len() < 2 || path[1..].contains('/') {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{path}/{query}").parse().ok()
}

/// Refuses parameters that decide what is done and are not covered, or that are there twice: the signature is over none of them then.
fn require_covered(headers: &HeaderMap, uri: &Uri) -> Result<(), Failure> {
    let mut seen = Vec::new();
    for name in subresources::names(uri) {
        let is_deciding = subresources::decides(&name);
        if (is_deciding && !COVERED.contains(&name.as_str())) || seen.contains(&name) {
            let message = format!("a signature of version 2 does not cover `?{name}`; sign with version 4");
            return Err(Failure::new(FailureClass::Forbidden, message));
        }
        if is_deciding || name.starts_with("response-") {
            seen.push(name);
        }
    }
    let framed = headers.get("x-amz-content-sha256").map(HeaderValue::as_bytes).unwrap_or_default();
    match framed.starts_with(b"STREAMING-") {
        true => Err(Failure::new(FailureClass::Malformed, "chunks are signed with version 4")),
        false => Ok(()),
    }
}

/// A date of mail and of HTTP, which write the zone differently.
fn parse(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text.trim(), &Rfc2822).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Wed, 07 Jul 2026 21:53:04 GMT";

    fn now() -> OffsetDateTime {
        parse(NOW).unwrap()
    }

    /// The examples of Amazon's description.
    #[test]
    fn known_answers() {
        const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let check = |method: &str, uri: &str, headers: &[(&str, &str)], expected: &str| {
            let mut request = axum::http::Request::builder().method(method).uri(uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let moment = Shown::of(&parts).unwrap().moment;
            let signed = hmac_sha1(SECRET, string_to_sign(&parts, &moment).as_bytes());
            let signed = base64::engine::general_purpose::STANDARD.encode(signed);
            assert_eq!(signed, expected, "{method} {uri}: {:?}", string_to_sign(&parts, &moment));
        };
        let proof = ("authorization", "AWS AKIAIOSFODNN7EXAMPLE:x");
        check(
            "GET",
            "/awsexamplebucket1/photos/puppy.jpg",
            &[proof, ("date", "Tue, 27 Mar 2007 19:36:42 +0000")],
            "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=",
        );
        check(
            "PUT",
            "/awsexamplebucket1/photos/puppy.jpg",
            &[
                proof,
                ("content-type", "image/jpeg"),
                ("content-length", "94328"),
                ("date", "Tue, 27 Mar 2007 21:15:45 +0000"),
            ],
            "iqRzw+ileNPu1fhspnRs8nOjjIA=",
        );
        check(
            "GET",
            "/awsexamplebucket1/?prefix=photos&max-keys=50&marker=puppy",
            &[proof, ("date", "Tue, 27 Mar 2007 19:42:41 +0000")],
            "m0WP8eCtspQl5Ahe6L1SozdX9YA=",
        );
        check(
            "GET",
            "/awsexamplebucket1/?acl",
            &[proof, ("date", "Tue, 27 Mar 2007 19:44:46 +0000")],
            "82ZHiFIjc+WbcwFKGUVEQspPn+0=",
        );
    }

    fn code(refused: &Failure) -> Option<&str> {
        refused.details().get(CODE).and_then(|code| code.as_str())
    }

    #[test]
    fn the_moment_of_a_request_is_near() {
        let check = |name: &'static str, date: &str, expected: Result<(), Option<&str>>| {
            let mut headers = HeaderMap::new();
            headers.insert(name, date.parse().unwrap());
            let found = examine_headers(&headers, &"/b/k".parse().unwrap(), now());
            let found = found.as_ref().map_err(|refused| code(refused));
            assert_eq!(found, expected.as_ref().map_err(|code| *code), "{name} {date}");
        };
        let skewed = || Err(Some("RequestTimeTooSkewed"));
        for name in ["date", "x-amz-date"] {
            check(name, NOW, Ok(()));
            // The day of the week is nobody's business.
            check(name, "Tue, 07 Jul 2026 22:07:04 GMT", Ok(()));
            check(name, "Tue, 07 Jul 2026 23:53:04 +0200", Ok(()));
            check(name, "Tue, 07 Jul 2026 22:09:04 GMT", skewed());
            check(name, "Tue, 07 Jul 2010 21:53:04 GMT", skewed());
            check(name, "Tue, 07 Jul 9999 21:53:04 GMT", skewed());
            for none in ["Tue, 07 Jul 1950 21:53:04 GMT", "Bad Date", ""] {
                check(name, none, Err(None));
            }
        }
        let nothing = examine_headers(&HeaderMap::new(), &"/b/k".parse().unwrap(), now());
        assert_eq!(code(&nothing.unwrap_err()), None);
    }

    #[test]
    fn addresses_of_buckets_end_in_a_slash() {
        for (uri, expected) in [
            ("/b", Some("/b/")),
            ("/b?acl&prefix=a", Some("/b/?acl&prefix=a")),
            ("/b/", None),
            ("/b/k", None),
            ("/", None),
            ("/?a=b", None),
        ] {
            let found = with_slash(&uri.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn an_address_ends() {
        let check = |seconds: i64, expected: bool| {
            let expires = (now().unix_timestamp() + seconds).to_string();
            let found = examine_address(&HeaderMap::new(), &"/b/k".parse().unwrap(), &expires, now());
            assert_eq!(found.is_ok(), expected, "{seconds}");
        };
        check(3600, true);
        check(7 * 24 * 3600, true);
        check(8 * 24 * 3600, false);
        let endless = examine_address(&HeaderMap::new(), &"/b/k".parse().unwrap(), "never", now());
        assert!(endless.is_err());
    }

    #[test]
    fn nothing_decides_that_is_not_covered() {
        let check = |query: &str, expected: bool| {
            let uri: Uri = format!("/b/k?{query}").parse().unwrap();
            let expires = now().unix_timestamp().to_string();
            let found = examine_address(&HeaderMap::new(), &uri, &expires, now());
            assert_eq!(found.is_ok(), expected, "{query}");
        };
        check("AWSAccessKeyId=a&Signature=b&Expires=1", true);
        check("acl&versionId=1&response-content-type=a", true);
        check("prefix=a&list-type=2", true);
        for uncovered in ["retention", "legal-hold", "publicAccessBlock", "encryption", "attributes"] {
            check(uncovered, false);
            check(&format!("%{:02x}{}", uncovered.as_bytes()[0], &uncovered[1..]), false);
        }
        check("versionId=1&versionId=2", false);
        check("versionId=1&version%49d=2", false);
        check("response-expires=1&response-expires=2", false);
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER".parse().unwrap());
        let expires = now().unix_timestamp().to_string();
        assert!(examine_address(&headers, &"/b/k".parse().unwrap(), &expires, now()).is_err());
    }
}
