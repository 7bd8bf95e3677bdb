use axum::http::HeaderValue;
use futures::executor::block_on;

use super::*;

/// How a body ends that was announced so: `None` if it is what it should be, or the code and the status of its refusal.
fn check(headers: &[(&'static str, &str)], trailers: &[(&'static str, &str)], expected: Option<(&str, u16)>) {
    let map = |pairs: &[(&'static str, &str)]| -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    };
    let behind = Trailers::default();
    behind.0.set(map(trailers)).unwrap();
    let ended = Announced::of(&map(headers), Some(7), (None, Some(behind))).and_then(|announced| {
        let body = stream::iter([Ok(Bytes::from_static(b"content"))]);
        let pieces: Vec<_> = block_on(checked(body, announced, async { Ok(()) }).collect());
        pieces.into_iter().try_for_each(|piece| piece.map(drop).map_err(|error| own(error.into())))
    });
    let found = ended.err().map(|error| {
        let status = error.status_code().map_or(500, |status| status.as_u16());
        (error.code().as_str().to_owned(), status)
    });
    let found = found.as_ref().map(|(code, status)| (code.as_str(), *status));
    assert_eq!(found, expected, "{headers:?} {trailers:?}");
}

#[test]
fn trailers_that_are_announced_must_come() {
    let announced = [("x-amz-trailer", "x-amz-checksum-crc32")];
    let sum = Algorithm::Crc32.sum(b"content");
    let other = Algorithm::Crc32c.sum(b"content");
    check(&announced, &[("x-amz-checksum-crc32", &sum)], None);
    check(&announced, &[], Some(("MalformedTrailerError", 400)));
    check(&announced, &[("x-amz-checksum-crc32c", &other)], Some(("MalformedTrailerError", 400)));
    check(&announced, &[("x-amz-checksum-crc32", &other)], Some(("BadDigest", 400)));
}

#[test]
fn bodies_that_break_are_the_fault_of_clients() {
    let check = |text: &str, expected: (&str, u16)| {
        let error = own(io::Error::other(text.to_owned()).into());
        let status = error.status_code().map_or(500, |status| status.as_u16());
        assert_eq!((error.code().as_str(), status), expected);
    };
    check("Sha256Mismatch", ("XAmzContentSHA256Mismatch", 400));
    check("AwsChunkedStreamError: SignatureMismatch", ("SignatureDoesNotMatch", 403));
    check("timed out", ("RequestTimeout", 400));
    check("connection reset", ("IncompleteBody", 400));
}

#[test]
fn what_is_no_checksum_is_not_compared() {
    let sum = Algorithm::Sha256.sum(b"content");
    check(&[("x-amz-checksum-sha256", &sum)], &[], None);
    check(&[("x-amz-checksum-sha256", &Algorithm::Sha256.sum(b"other"))], &[], Some(("BadDigest", 400)));
    for algorithm in Algorithm::ALL {
        for bad in ["bad", "", "AAAA", "not base 64", &format!("{sum}AAAA")] {
            check(&[(algorithm.header(), bad)], &[], Some(("InvalidRequest", 400)));
        }
        assert!(algorithm.is_sum(&algorithm.sum(b"content")), "{algorithm:?}");
    }
    let announced = [("x-amz-trailer", "x-amz-checksum-sha256")];
    check(&announced, &[("x-amz-checksum-sha256", "bad")], Some(("InvalidRequest", 400)));
}

#[test]
fn sums_that_nobody_would_compare_are_refused() {
    let crc32 = Algorithm::Crc32.sum(b"content");
    check(&[("x-amz-checksum-foo", "AAAAAA==")], &[], Some(("InvalidRequest", 400)));
    for name in ["x-amz-checksum-md5", "x-amz-checksum-sha512", "x-amz-checksum-xxhash128"] {
        check(&[(name, "AAAAAA==")], &[], Some(("NotImplemented", 501)));
    }
    for name in NO_SUMS {
        check(&[(name, "CRC32")], &[], None);
    }
    check(&[("x-amz-trailer", "x-amz-checksum-foo")], &[], Some(("InvalidRequest", 400)));
    let sdk = |name: &'static str| ("x-amz-sdk-checksum-algorithm", name);
    check(&[sdk("SHA1")], &[], None);
    check(&[sdk("crc32"), ("x-amz-checksum-crc32", &crc32)], &[], None);
    check(&[sdk("SHA1"), ("x-amz-checksum-crc32", &crc32)], &[], Some(("InvalidRequest", 400)));
    let trailer = ("x-amz-trailer", "x-amz-checksum-crc32");
    check(&[sdk("CRC32"), trailer], &[("x-amz-checksum-crc32", &crc32)], None);
    check(&[sdk("CRC32C"), trailer], &[("x-amz-checksum-crc32", &crc32)], Some(("InvalidRequest", 400)));
}
