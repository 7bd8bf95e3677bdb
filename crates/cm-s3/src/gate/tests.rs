//! What is let through, and what is not.

use axum::body::Body;

use super::*;

const SCOPE: &str = "CMS30123456789ABCDEF/20260101/us-east-1/s3/aws4_request";

fn request(uri: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = Request::builder().uri(uri).header("host", "127.0.0.1:9000");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

fn check(uri: &str, headers: &[(&str, &str)], expected: bool) {
    let found = examine(request(uri, headers));
    assert_eq!(found.is_ok(), expected, "{uri} {headers:?}: {:?}", found.err());
}

#[test]
fn what_is_signed_too_little_is_refused() {
    let signed = |scope: &str, names: &str| {
        format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature=00")
    };
    let of = |names: &str| signed(SCOPE, &format!("{names};x-amz-date"));
    let moment = ("x-amz-date", "20260101T020304Z");
    check("/b/k", &[], true);
    check("/b/k", &[("authorization", &of("host")), moment], true);
    check("/b/k", &[("authorization", &of("host"))], false);
    check("/b/k", &[("authorization", &of("host")), ("x-amz-date", "yesterday")], false);
    check("/b/k", &[("authorization", &signed(SCOPE, "host")), moment], false);
    check("/b/k", &[("authorization", &signed(SCOPE, "x-amz-date")), moment], false);
    let source = ("x-amz-copy-source", "b/other");
    check("/b/k", &[("authorization", &of("host;x-amz-copy-source")), source, moment], true);
    check("/b/k", &[("authorization", &of("host")), source, moment], false);
    let sts = SCOPE.replace("/s3/", "/sts/");
    check("/b/k", &[("authorization", &signed(&sts, "host;x-amz-date")), moment], false);
    check("/b/k", &[("authorization", "AWS key:signature")], false);
    check("/b/k?AWSAccessKeyId=a&Signature=b&Expires=1", &[], true);
    check("/b/k?AWSAccessKeyId=a&Signature=b&Expires=1&retention", &[], false);
    check("/b/k?AWSAccessKeyId=a&Signature=b&Expires=9999999999", &[], false);
    check("/b/k?AWSAccessKeyId=a&Signature=b&Expires=1&X-Amz-Signature=c", &[], false);
    check("/b/k?AWSAccessKeyId=a&Signature=b&Expires=1", &[("authorization", &of("host"))], false);
}

#[test]
fn presigned_urls_are_short_and_cover_what_they_must() {
    let of = |seconds: &str, names: &str| {
        let scope = SCOPE.replace('/', "%2F");
        format!(
            "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date=20260101T020304Z&X-Amz-Expires={seconds}\
             &X-Amz-SignedHeaders={names}&X-Amz-Signature=0"
        )
    };
    check(&of("3600", "host"), &[], true);
    check(&of("3600", "host"), &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], true);
    check(&of("3600", "host"), &[("x-amz-acl", "public-read")], false);
    check(&of("3600", "host%3Bx-amz-acl"), &[("x-amz-acl", "public-read")], true);
    check(&of("604801", "host"), &[], false);
    for missing in ["X-Amz-Date=20260101T020304Z", "X-Amz-Expires=3600", "X-Amz-SignedHeaders=host"] {
        check(&of("3600", "host").replace(missing, ""), &[], false);
    }
    check(&of("3600", "host"), &[("authorization", "AWS4-HMAC-SHA256 x")], false);
}

/// Otherwise whoever holds a presigned URL could encode a letter of it, and add headers that nobody signed.
#[test]
fn encoded_names_are_no_way_around() {
    let encoded = |uri: &str| uri.replace("X-Amz-", "X%2DAmz%2D");
    let presigned = |seconds: &str| {
        let scope = SCOPE.replace('/', "%2F");
        encoded(&format!(
            "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date=20260101T020304Z&X-Amz-Expires={seconds}\
             &X-Amz-SignedHeaders=host&X-Amz-Signature=0"
        ))
    };
    check(&presigned("3600"), &[], true);
    check(&presigned("3600"), &[("x-amz-copy-source", "b/other")], false);
    check(&presigned("604801"), &[], false);
    check("/b/k?AWSAccessKeyI%64=a&Si%67nature=b&Expires=1", &[], true);
    check("/b/k?AWSAccessKeyI%64=a&Si%67nature=b&Expires=9999999999", &[], false);
    let (stripped, _) = strip(request("/b/k?X%2DAmz-Signature=0&prefix=a", &[])).unwrap();
    assert_eq!(stripped.uri(), "/b/k?prefix=a");
}

/// The code of a refusal.
fn refusal(uri: &str, headers: &[(&str, &str)]) -> Option<String> {
    let refused = examine(request(uri, headers)).err()?;
    Some(refused.details().get(CODE).and_then(|code| code.as_str()).unwrap_or_default().to_owned())
}

#[test]
fn refusals_are_called_as_with_s3() {
    let check = |uri: &str, headers: &[(&str, &str)], expected: &str| {
        assert_eq!(refusal(uri, headers).as_deref(), Some(expected), "{uri} {headers:?}");
    };
    let proof = |scope: &str, names: &str| {
        format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature=00")
    };
    let presigned = |algorithm: &str, scope: &str, more: &str| {
        format!(
            "/b/k?X-Amz-Algorithm={algorithm}&X-Amz-Credential={scope}&X-Amz-Date=20260101T020304Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=0{more}"
        )
    };
    let of_ec2 = SCOPE.replace("/s3/", "/ec2/");
    check("/b/k", &[("authorization", &proof(&of_ec2, "host"))], "AuthorizationHeaderMalformed");
    check(&presigned(ALGORITHM, &of_ec2, ""), &[], QUERY_PARAMETERS);
    check(&presigned("FOO", SCOPE, ""), &[], QUERY_PARAMETERS);
    check(&presigned(ALGORITHM, SCOPE, "&X-Amz-Security-Token=a"), &[], "InvalidToken");
    let token = ("x-amz-security-token", "a");
    check("/b/k", &[("authorization", &proof(SCOPE, "host;x-amz-security-token")), token], "InvalidToken");
    let both = proof(SCOPE, "host");
    check(&presigned(ALGORITHM, SCOPE, ""), &[("authorization", &both)], "InvalidArgument");
    for path in ["/b/a%ZZ", "/b/a%", "/b/%4"] {
        check(path, &[], "InvalidURI");
    }
    check("/b/k", &[("x-amz-copy-source", "")], "InvalidArgument");
    let hostless = Request::builder().uri("/b/k").body(Body::empty()).unwrap();
    assert!(examine(hostless).is_err());
}

#[test]
fn digests_of_contents_are_digests() {
    for (value, expected) in [
        ("UNSIGNED-PAYLOAD", true),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", true),
        (&"0".repeat(64), true),
        (&"aF".repeat(32), true),
        ("zz", false),
        ("", false),
        (&"0".repeat(63), false),
        (&"z".repeat(64), false),
    ] {
        let refused = examine(request("/b/k", &[(CONTENT_SHA256, value)])).err();
        let code = refused.map(|failure| failure.details()[CODE].as_str().map(str::to_owned));
        assert_eq!(code, (!expected).then(|| Some("InvalidArgument".to_owned())), "{value}");
    }
}

#[test]
fn a_signed_date_is_the_moment_of_a_signature() {
    let check = |signed: &str, date: &str, expected: Option<&str>| {
        let proof = format!("AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders={signed}, Signature=00");
        let headers = [("authorization", proof.as_str()), ("date", date)];
        let examined = examine(request("/b/k", &headers)).ok();
        let found = examined.map(|(request, _)| request.headers()[AMZ_DATE].to_str().unwrap().to_owned());
        assert_eq!(found.as_deref(), expected, "{signed} {date}");
    };
    check("date;host", "Thu, 01 Jan 2026 02:03:04 GMT", Some("20260101T020304Z"));
    check("date;host", "Thu, 01 Jan 2026 02:03:04 -0000", Some("20260101T020304Z"));
    check("date;host", "Thu, 01 Jan 2026 02:03:04 +0200", Some("20260101T000304Z"));
    check("date;host", "20260101T020304Z", Some("20260101T020304Z"));
    check("host", "Thu, 01 Jan 2026 02:03:04 GMT", None);
    check("date;host", "yesterday", None);
}

#[test]
fn in_open_mode_nothing_is_left_of_a_signature() {
    let uri = "/b/k?list-type=2&X-Amz-Signature=0&X-Amz-Date=1&prefix=a%20b";
    let headers = [
        ("authorization", "AWS whatever"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("x-amz-decoded-content-length", "5"),
        ("content-length", "500"),
    ];
    let (stripped, framed) = strip(request(uri, &headers)).unwrap();
    assert_eq!(stripped.uri(), "/b/k?list-type=2&prefix=a%20b");
    assert!(!stripped.headers().contains_key("authorization"));
    assert_eq!(stripped.headers()["content-length"], "5");
    assert!(matches!(framed, Framed::Chunks(Mode::Remove, _)));
    let foreign = Request::builder().uri("/").header("host", "evil.example").body(Body::empty()).unwrap();
    assert!(strip(foreign).is_err());
}
