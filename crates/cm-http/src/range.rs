//! Which bytes of a representation a client wants: the `Range` header of RFC 9110, section 14.
//!
//! One range is served as 206. Several ranges at once are answered with the whole representation, which
//! section 14.2 permits; so is a header that does not follow the grammar, which it demands.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::etag::ETag;
use crate::failure::{Failure, FailureClass};

/// What a request's headers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeRequest {
    /// All of it: no range, one that is not understood, or a stale `If-Range`.
    Whole,
    /// From an offset to the end, or to another offset, which belongs to the range.
    From {
        /// The first byte wanted.
        first: u64,
        /// The last byte wanted, if it was given.
        last: Option<u64>,
    },
    /// The last so many bytes.
    Suffix {
        /// How many.
        len: u64,
    },
}

impl RangeRequest {
    /// Reads `Range` and, against the representation's strong tag, `If-Range`.
    pub fn from_headers(headers: &HeaderMap, etag: &ETag) -> Self {
        if let Some(condition) = headers.get(header::IF_RANGE) {
            // A date can never be a strong validator here, for tags are all that is ever sent.
            if condition.as_bytes() != etag.to_string().as_bytes() {
                return RangeRequest::Whole;
            }
        }
        let mut values = headers.get_all(header::RANGE).iter();
        match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
            (Some(value), None) => Self::parse(value),
            _ => RangeRequest::Whole,
        }
    }

    /// Reads the value of a `Range` header.
    pub fn parse(value: &str) -> Self {
        Self::parse_single(value).unwrap_or(RangeRequest::Whole)
    }

    fn parse_single(value: &str) -> Option<Self> {
        let (unit, set) = value.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        // The list grammar of section 5.6.1 permits empty elements, and white space around each.
        let mut elements = set.split(',').map(|element| element.trim_matches([' ', '\t']));
        let element = elements.find(|element| !element.is_empty())?;
        if elements.any(|element| !element.is_empty()) {
            return None;
        }
        let (first, last) = element.split_once('-')?;
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => Some(RangeRequest::Suffix { len: position(last)? }),
            (false, true) => Some(RangeRequest::From { first: position(first)?, last: None }),
            (false, false) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(RangeRequest::From { first, last: Some(last) })
            }
        }
    }
}

/// 416 about a representation of `size` bytes, with the `Content-Range: bytes */size` that section 15.5.17 wants.
pub fn unsatisfiable(size: u64) -> Failure {
    let whole =
        HeaderValue::try_from(format!("bytes */{size}")).expect("digits and punctuation make a header value");
    Failure::new(FailureClass::RangeNotSatisfiable, "no byte lies in the requested range")
        .with_header(header::CONTENT_RANGE, whole)
        .with_detail("size", size)
}

/// A byte position: digits only. One too large to count lies behind every end.
fn position(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
