//! The name of each request, taken from the client where it gave a usable one.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use cm_types::RequestId;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The name that the client gave the request, or else a new one.
///
/// An id from outside is kept if it has the shape of one: it may be the trace of a caller's own request.
/// Its characters are harmless in logs.
pub(crate) fn of(headers: &HeaderMap) -> RequestId {
    let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
    given.and_then(|text| RequestId::parse(text).ok()).unwrap_or_else(RequestId::random)
}

/// Says in the answer which request it belongs to.
pub(crate) fn name(response: &mut Response, id: &RequestId) {
    let value = HeaderValue::from_str(id.as_str()).expect("ids are visible ASCII");
    response.headers_mut().insert(HEADER, value);
}
