//! What a request says about itself, under the names that conditions of bucket policies use.

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use cm_kernel::OpContext;
use cm_kernel::objects::EncryptedBy;
use cm_kernel::policy::sharing::Circumstances;
use cm_types::Timestamp;
use percent_encoding::percent_decode_str;

use crate::operations::AES256;
use crate::subresources;

/// Says whether a write makes an object, as the parts of one do not.
const CREATES: &str = "s3:ObjectCreationOperation";
/// What a write demands of what it replaces, and the condition keys that tell it.
const DEMANDS: [(&str, &str); 2] = [("if-match", "s3:if-match"), ("if-none-match", "s3:if-none-match")];

/// Parameters of the address that have condition keys of the same name.
const PARAMETERS: [&str; 3] = ["prefix", "delimiter", "max-keys"];

/// What is known of a request before it is decoded.
pub(crate) fn of(parts: &Parts, peer: Option<IpAddr>, now: Timestamp) -> Circumstances {
    let mut all = Circumstances::new();
    if let Some(peer) = peer {
        all.add("aws:SourceIp", peer.to_canonical().to_string());
    }
    // Connections to this listener are in the clear.
    all.add("aws:SecureTransport", "false");
    all.add_time(now);
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    for (header, key) in [("user-agent", "aws:UserAgent"), ("referer", "aws:Referer")] {
        if let Some(value) = text(header) {
            all.add(key, value);
        }
    }
    headers(&parts.headers, &mut all);
    if !parts.method.is_safe() {
        for (header, key) in DEMANDS {
            if let Some(value) = text(header) {
                all.add(key, value);
            }
        }
    }
    if let Some(creates) = object_is_created(&parts.method, &parts.uri) {
        all.add(CREATES, creates.to_string());
    }
    let query = parts.uri.query().unwrap_or_default();
    let mut signed_in_query = false;
    // Queries are decoded as the adapter decodes them, `+` as a space: a condition speaks of what is then listed.
    for (name, value) in form(query) {
        if PARAMETERS.contains(&name.as_str()) {
            all.add(&format!("s3:{name}"), value);
        } else if name == "versionId" {
            all.add("s3:VersionId", value);
        } else if name == "X-Amz-Signature" {
            signed_in_query = true;
        }
    }
    if signed_in_query || parts.headers.contains_key("authorization") {
        all.add("s3:signatureversion", "AWS4-HMAC-SHA256");
        all.add("s3:authType", if signed_in_query { "REST-QUERY-STRING" } else { "REST-HEADER" });
    }
    all
}

/// What is known once it is clear who asks.
pub(crate) fn add_caller(op: &OpContext, all: &mut Circumstances) {
    let tenant = op.tenant();
    all.add_caller(op.principal().map(|principal| (principal, &tenant)));
}

/// Headers of S3, by their own names, and the tags that one of them holds. Keys of customers are nobody's business.
pub(crate) fn headers(headers: &HeaderMap, all: &mut Circumstances) {
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        let name = name.as_str();
        if name == "x-amz-copy-source" {
            let path = value.split_once('?').map_or(value, |(path, _)| path);
            all.add("s3:x-amz-copy-source", decoded(path).trim_start_matches('/'));
        } else if name.starts_with("x-amz-") && !name.ends_with("-customer-key") {
            all.add(&format!("s3:{name}"), value);
        }
        if name == "x-amz-tagging" {
            for (name, value) in form(value) {
                tag(&name, &value, all);
            }
        } else if let Some(rest) = name.strip_prefix("x-amz-object-lock-") {
            all.add(&format!("s3:object-lock-{rest}"), value);
        }
    }
}

/// Whether a write of objects makes one at once; `None` for what writes no object.
fn object_is_created(method: &Method, uri: &Uri) -> Option<bool> {
    let has = |wanted: &str| subresources::names(uri).any(|name| name == wanted);
    match subresources::body(method, uri) {
        subresources::Body::Content => Some(!has("uploadId")),
        subresources::Body::Completion => Some(true),
        _ => (*method == Method::POST && has("uploads")).then_some(false),
    }
}

/// Says of a form that it makes an object.
pub(crate) fn creates_object(all: &mut Circumstances) {
    all.add(CREATES, "true");
}

/// How an object is going to be encrypted, where the request itself does not say it: an upload in parts is told once, when it begins.
pub(crate) fn encrypted_by(by: Option<EncryptedBy>, all: &mut Circumstances) {
    let key = match by {
        Some(EncryptedBy::Node) => "s3:x-amz-server-side-encryption",
        Some(EncryptedBy::Customer) => "s3:x-amz-server-side-encryption-customer-algorithm",
        None => return,
    };
    if all.get(key).is_none() {
        all.add(key, AES256);
    }
}

/// A tag that a request would give an object.
pub(crate) fn tag(name: &str, value: &str, all: &mut Circumstances) {
    all.add(&format!("s3:RequestObjectTag/{name}"), value);
    all.add("s3:RequestObjectTagKeys", name);
}

fn form(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let decoded = |text: &str| decoded(&text.replace('+', " "));
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;

    use super::*;

    #[test]
    fn requests_speak_of_themselves() {
        let request = Request::builder()
            .uri("/b?list-type=2&prefix=a%2Fb+c&max-keys=5&X-Amz-Signature=0")
            .header("x-amz-acl", "public-read")
            .header("x-amz-tagging", "security=public&two=a+b")
            .header("x-amz-copy-source", "/src/public%2Ffoo?versionId=1")
            .header("referer", "http://example.org/page")
            .body(Body::empty())
            .unwrap();
        let (parts, _) = request.into_parts();
        let all = of(&parts, Some("::ffff:10.0.0.1".parse().unwrap()), Timestamp::from_micros(5_000_000));
        let check = |key: &str, expected: Option<&str>| {
            let found = all.get(key).map(|values| values.join("|"));
            assert_eq!(found.as_deref(), expected, "{key}");
        };
        check("aws:SourceIp", Some("10.0.0.1"));
        check("s3:prefix", Some("a/b c"));
        check("s3:max-keys", Some("5"));
        check("s3:delimiter", None);
        check("s3:x-amz-acl", Some("public-read"));
        check("s3:x-amz-copy-source", Some("src/public/foo"));
        check("s3:RequestObjectTag/security", Some("public"));
        check("s3:RequestObjectTag/two", Some("a b"));
        check("s3:RequestObjectTagKeys", Some("security|two"));
        check("aws:Referer", Some("http://example.org/page"));
        check("s3:authType", Some("REST-QUERY-STRING"));
        check("aws:EpochTime", Some("5"));
        check("s3:ObjectCreationOperation", None);
    }

    #[test]
    fn writes_say_what_they_demand_and_make() {
        let check = |method: &str, uri: &str, expected: [Option<&str>; 2]| {
            let request = Request::builder().method(method).uri(uri).header("if-none-match", "*");
            let (parts, _) = request.body(Body::empty()).unwrap().into_parts();
            let all = of(&parts, None, Timestamp::from_micros(0));
            let keys = ["s3:if-none-match", "s3:ObjectCreationOperation"];
            let found = keys.map(|key| all.get(key).map(|values| values.join("|")));
            assert_eq!(found.each_ref().map(Option::as_deref), expected, "{method} {uri}");
            assert!(all.get("s3:if-match").is_none());
        };
        check("GET", "/b/k", [None, None]);
        check("PUT", "/b/k?x-id=PutObject", [Some("*"), Some("true")]);
        check("PUT", "/b/k?partNumber=1&uploadId=u", [Some("*"), Some("false")]);
        check("POST", "/b/k?uploadId=u", [Some("*"), Some("true")]);
        check("POST", "/b/k?uploads", [Some("*"), Some("false")]);
        check("PUT", "/b/k?tagging", [Some("*"), None]);
        check("DELETE", "/b/k", [Some("*"), None]);
    }

    #[test]
    fn what_a_request_says_of_encryption_is_not_said_twice() {
        let mut all = Circumstances::new();
        encrypted_by(None, &mut all);
        assert_eq!(all, Circumstances::new());
        for _ in 0..2 {
            encrypted_by(Some(EncryptedBy::Node), &mut all);
        }
        assert_eq!(all.get("s3:x-amz-server-side-encryption").map(<[String]>::len), Some(1));
    }
}
