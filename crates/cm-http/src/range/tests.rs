use proptest::prelude::*;

use super::*;

fn check(header: &str, size: u64, expected: Result<Option<(u64, u64)>, ()>) {
    let found = RangeRequest::parse(header).resolve(size);
    let found = found.map(|range| range.map(|range| (range.first(), range.last()))).map_err(|_| ());
    assert_eq!(found, expected, "{header} of {size}");
}

#[test]
fn single_ranges_as_in_the_examples_of_the_rfc() {
    check("bytes=0-499", 10_000, Ok(Some((0, 499))));
    check("bytes=500-999", 10_000, Ok(Some((500, 999))));
    check("bytes=-500", 10_000, Ok(Some((9500, 9999))));
    check("bytes=9500-", 10_000, Ok(Some((9500, 9999))));
    check("bytes=0-0", 10_000, Ok(Some((0, 0))));
    check("bytes=-1", 10_000, Ok(Some((9999, 9999))));
    check("BYTES=0-0", 1, Ok(Some((0, 0))));
    check("bytes= 0-1 ,", 10, Ok(Some((0, 1))));
}

#[test]
fn ends_are_clipped_and_oversized_suffixes_mean_everything() {
    check("bytes=5-500", 10, Ok(Some((5, 9))));
    check("bytes=-500", 10, Ok(Some((0, 9))));
    check("bytes=0-99999999999999999999999", 10, Ok(Some((0, 9))));
}

#[test]
fn what_lies_outside_cannot_be_satisfied() {
    check("bytes=10-", 10, Err(()));
    check("bytes=10-20", 10, Err(()));
    check("bytes=-0", 10, Err(()));
    check("bytes=0-", 0, Err(()));
    check("bytes=-1", 0, Err(()));
    check("bytes=99999999999999999999999-", 10, Err(()));
}

#[test]
fn what_is_not_understood_is_ignored() {
    for header in [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-4",
        "lines=1-2",
        "bytes=1-2,4-5",
        "bytes=+1-2",
        "bytes=1--2",
        "bytes=1-2-3",
    ] {
        check(header, 10, Ok(None));
    }
}

#[test]
fn a_stale_condition_asks_for_everything() {
    let etag = ETag::strong("v1").unwrap();
    let request = |condition: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=1-2"));
        if let Some(condition) = condition {
            headers.insert(header::IF_RANGE, HeaderValue::from_static(condition));
        }
        RangeRequest::from_headers(&headers, &etag)
    };
    let part = RangeRequest::From { first: 1, last: Some(2) };
    assert_eq!(request(None), part);
    assert_eq!(request(Some("\"v1\"")), part);
    assert_eq!(request(Some("\"v2\"")), RangeRequest::Whole);
    assert_eq!(request(Some("W/\"v1\"")), RangeRequest::Whole);
    assert_eq!(request(Some("Sat, 29 Oct 1994 19:43:31 GMT")), RangeRequest::Whole);
}

proptest! {
    #[test]
    fn a_resolved_range_lies_inside(header in "bytes=[0-9]{0,4}-[0-9]{0,4}", size in 0u64..10_000) {
        if let Ok(Some(range)) = RangeRequest::parse(&header).resolve(size) {
            prop_assert!(range.first() <= range.last());
            prop_assert!(range.last() < size);
            prop_assert_eq!(range.len(), range.last() - range.first() + 1);
        }
    }

    #[test]
    fn a_range_within_is_taken_exactly(first in 0u64..500, more in 0u64..500) {
        let range = RangeRequest::parse(&format!("bytes={first}-{}", first + more)).resolve(1000).unwrap();
        prop_assert_eq!(range, Some(ByteRange { first, last: first + more }));
    }

    #[test]
    fn foreign_text_never_panics(header in "\\PC*", size: u64) {
        let _ = RangeRequest::parse(&header).resolve(size);
    }
}
