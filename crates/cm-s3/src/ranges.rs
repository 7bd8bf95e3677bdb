//! Ranges that are none. S3 passes over a `Range` that it does not understand, or that asks for several ranges, and sends the whole object
//! (RFC 9110, section 14.2, allows a server to ignore it). The adapter refuses them. The header may be signed, so that it cannot simply be
//! taken off before: the adapter checks the signature, gives the request to a route, and the route to an adapter behind it, without the
//! header and without what was signed.

use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, Method, Uri, header};
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::caller::Door;
use crate::gate::without_signature;

/// Whether the request says a range that S3 would not look at.
pub(crate) fn is_passed_over(method: &Method, headers: &HeaderMap) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let range = headers.get(header::RANGE).filter(|_| reads);
    range.is_some_and(|range| !range.to_str().is_ok_and(is_understood))
}

/// `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT`.
fn is_understood(range: &str) -> bool {
    let number = |text: &str| -> Option<u64> {
        let is_plain = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        // So many digits that they are no number are a large number.
        is_plain.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|bounds| bounds.split_once('-')) else {
        return false;
    };
    match (first, last) {
        ("", count) => number(count).is_some(),
        (first, "") => number(first).is_some(),
        (first, last) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
    }
}

/// The route for requests with such a range.
pub(crate) struct PassedOver {
    door: Door,
    behind: S3Service,
}

impl PassedOver {
    pub(crate) fn new(door: Door, behind: S3Service) -> Self {
        Self { door, behind }
    }
}

#[async_trait::async_trait]
impl S3Route for PassedOver {
    fn is_match(&self, method: &Method, _: &Uri, headers: &HeaderMap, _: &mut Extensions) -> bool {
        is_passed_over(method, headers)
    }

    /// As in front of the operations: whoever did not sign may do what owners let everybody do, and each operation asks.
    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        let signer = request.credentials.clone();
        self.door.admit(signer, &mut request.extensions).await
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let mut whole = Request::new(request.input);
        *whole.method_mut() = request.method;
        *whole.uri_mut() = without_signature(&request.uri).unwrap_or(request.uri);
        *whole.headers_mut() = request.headers;
        *whole.extensions_mut() = request.extensions;
        whole.headers_mut().remove(header::RANGE);
        whole.headers_mut().remove(header::AUTHORIZATION);
        let failed = |error| S3Error::with_message(S3ErrorCode::InternalError, format!("{error:?}"));
        let (parts, body) = self.behind.call(whole).await.map_err(failed)?.into_parts();
        let mut answer = S3Response::new(body);
        answer.status = Some(parts.status);
        answer.headers = parts.headers;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_understood() {
        let check = |range: &str, expected: bool| assert_eq!(is_understood(range), expected, "{range}");
        for good in ["bytes=0-0", "bytes=4-", "bytes=-7", "bytes=0-99999999999999999999999"] {
            check(good, true);
        }
        for bad in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-3",
            "bytes=0-1,4-5",
            "lines=1-2",
            "bytes=+1-2",
        ] {
            check(bad, false);
        }
    }

    #[test]
    fn only_reads_have_ranges() {
        let mut headers = HeaderMap::new();
        assert!(!is_passed_over(&Method::GET, &headers));
        headers.insert(header::RANGE, "bytes=x".parse().unwrap());
        assert!(is_passed_over(&Method::GET, &headers) && is_passed_over(&Method::HEAD, &headers));
        assert!(!is_passed_over(&Method::PUT, &headers));
    }
}
