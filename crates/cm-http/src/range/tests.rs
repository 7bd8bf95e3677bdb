use proptest::prelude::*;

use super::*;

fn check(header: &str, expected: RangeRequest) {
    assert_eq!(RangeRequest::parse(header), expected, "{header}");
}

fn from(first: u64, last: Option<u64>) -> RangeRequest {
    RangeRequest::From { first, last }
}

#[test]
fn single_ranges_as_in_the_examples_of_the_rfc() {
    check("bytes=0-499", from(0, Some(499)));
    check("bytes=500-999", from(500, Some(999)));
    check("bytes=-500", RangeRequest::Suffix { len: 500 });
    check("bytes=9500-", from(9500, None));
    check("bytes=0-0", from(0, Some(0)));
    check("BYTES=0-0", from(0, Some(0)));
    check("bytes= 0-1 ,", from(0, Some(1)));
    check("bytes=-0", RangeRequest::Suffix { len: 0 });
    check("bytes=0-99999999999999999999999", from(0, Some(u64::MAX)));
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
        check(header, RangeRequest::Whole);
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
    fn a_range_is_taken_exactly(first: u64, more in 0u64..500) {
        let last = first.saturating_add(more);
        prop_assert_eq!(RangeRequest::parse(&format!("bytes={first}-{last}")), from(first, Some(last)));
    }

    #[test]
    fn foreign_text_never_panics(header in "\\PC*") {
        let _ = RangeRequest::parse(&header);
    }
}
