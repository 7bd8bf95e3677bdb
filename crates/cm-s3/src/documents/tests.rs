use axum::extract::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::executor::block_on;

use super::*;
use crate::content::Algorithm;

const BODY: &[u8] = b"<Delete/>";

/// What is wrong with a body that was announced so: `None` if it is what it should be, or the code and status of its refusal.
fn check(method: &str, uri: &str, headers: &[(&str, &str)], expected: Option<(&str, u16)>) {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let document = Document::of(&parts).unwrap();
    let wrong = document.wrong();
    let body = stream::iter([Ok(Bytes::from_static(&BODY[..4])), Ok(Bytes::from_static(&BODY[4..]))]);
    let pieces: Vec<io::Result<Bytes>> = block_on(document.checked(body).collect());
    let arrived: io::Result<Vec<Bytes>> = pieces.into_iter().collect();
    assert_eq!(arrived.ok().map(|pieces| pieces.concat()), expected.is_none().then(|| BODY.to_vec()));
    let found = wrong.get().map(|error| (error.code().as_str(), error.status_code().unwrap().as_u16()));
    assert_eq!(found, expected, "{method} {uri} {headers:?}");
}

#[test]
fn documents_are_what_was_announced_of_them() {
    let md5 = |bytes: &[u8]| {
        let mut digest = Md5::new();
        digest.update(bytes);
        STANDARD.encode(digest.finish())
    };
    let (right, other) = (md5(BODY), md5(b"other"));
    let sum = Algorithm::Crc32.sum(BODY);
    let sha256 = cm_crypto::digest::sha256(BODY).to_string();
    for (method, uri) in [
        ("POST", "/b?delete"),
        ("PUT", "/b?tagging"),
        ("PUT", "/b/k?tagging"),
        ("PUT", "/b"),
        ("PUT", "/b/k?acl="),
    ] {
        let check = |headers: &[(&str, &str)], expected| check(method, uri, headers, expected);
        check(&[], None);
        check(
            &[("content-md5", &right), ("x-amz-checksum-crc32", &sum), ("x-amz-content-sha256", &sha256)],
            None,
        );
        check(&[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], None);
        check(&[("content-md5", &other)], Some(("BadDigest", 400)));
        check(&[("content-md5", "garbage")], Some(("InvalidDigest", 400)));
        check(&[("content-md5", "AAAA")], Some(("InvalidDigest", 400)));
        check(&[("x-amz-checksum-crc32", "AAAAAA==")], Some(("BadDigest", 400)));
        check(&[("x-amz-checksum-crc32", "bad")], Some(("InvalidRequest", 400)));
        check(&[("x-amz-content-sha256", &"0".repeat(64))], Some(("XAmzContentSHA256Mismatch", 400)));
    }
    // There, the checksum is that of the object.
    check("POST", "/b/k?uploadId=x", &[("x-amz-checksum-crc32", "AAAAAA=="), ("content-md5", &right)], None);
    check("POST", "/b/k?uploadId=x", &[("content-md5", &other)], Some(("BadDigest", 400)));
}

/// The adapter takes as many bytes as were announced, and does not ask for the end.
#[test]
fn the_last_bytes_come_once_all_are_compared() {
    let request =
        Request::builder().method("PUT").uri("/b?tagging").header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==");
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let body = stream::iter([Ok(Bytes::from_static(&BODY[..4])), Ok(Bytes::from_static(&BODY[4..]))]);
    let mut checked = Document::of(&parts).unwrap().checked(body);
    assert_eq!(block_on(checked.next()).unwrap().unwrap(), &BODY[..4]);
    assert!(block_on(checked.next()).unwrap().is_err());
}

#[test]
fn a_document_may_be_empty() {
    let check = |name: &str, value: &str, expected: Option<&str>| {
        let request = Request::builder().method("PUT").uri("/b").header(name, value);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let document = Document::of(&parts).unwrap().empty();
        let found = document.map(|document| {
            let wrong = document.wrong();
            assert!(wrong.get().is_none(), "the adapter has to know first who sent it");
            let _ended: Vec<_> = block_on(document.checked(stream::empty()).collect());
            wrong.get().unwrap().code().as_str().to_owned()
        });
        assert_eq!(found.as_deref(), expected, "{name} {value}");
    };
    check("x-amz-content-sha256", &cm_crypto::digest::sha256(b"").to_string(), None);
    check("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==", None);
    check("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", Some("BadDigest"));
    check("content-md5", "AAAA", Some("InvalidDigest"));
    check("x-amz-checksum-crc32", "AAAAAA==", None);
    check("x-amz-checksum-crc32", "AAAAAQ==", Some("BadDigest"));
}

#[test]
fn objects_and_forms_are_no_documents() {
    for (method, uri) in [
        ("PUT", "/b/k"),
        ("PUT", "/b/k?partNumber=1&uploadId=x"),
        ("PUT", "/b/k?versionId=null"),
        ("POST", "/b"),
        ("POST", "/b/k?uploads"),
        ("GET", "/b?tagging"),
        ("DELETE", "/b?tagging"),
    ] {
        let (parts, ()) = Request::builder().method(method).uri(uri).body(()).unwrap().into_parts();
        assert!(Document::of(&parts).is_none(), "{method} {uri}");
    }
}

#[test]
fn letters_that_xml_has_no_place_for_are_refused() {
    for (uri, body, expected) in [
        ("/b?tagging", "<a>\t\r\n</a>", None),
        ("/b?tagging", "<a>\u{1}</a>", Some("MalformedXML")),
        ("/b/k?uploadId=u", "<a>\u{FFFE}</a>", Some("MalformedXML")),
        // Whether a policy is JSON is judged where policies are.
        ("/b?policy", "{\u{1}}", None),
    ] {
        let method = if uri.contains("uploadId") { "POST" } else { "PUT" };
        let (parts, ()) = Request::builder().method(method).uri(uri).body(()).unwrap().into_parts();
        let document = Document::of(&parts).unwrap();
        let wrong = document.wrong();
        let pieces = body.bytes().map(|byte| Ok(Bytes::copy_from_slice(&[byte])));
        let _: Vec<_> = block_on(document.checked(stream::iter(pieces.collect::<Vec<_>>())).collect());
        assert_eq!(wrong.get().map(|error| error.code().as_str()), expected, "{body:?}");
    }
}
