//! The name of each request, taken from the client where it gave a usable one.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use cm_types::RequestId;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Puts a [`RequestId`] into the request's extensions and into the answer's `x-request-id`.
///
/// An id from outside is kept if it has the shape of one: it may be the trace of a caller's own request.
/// Its characters are harmless in logs.
pub(crate) async fn assign(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(HEADER).and_then(|value| value.to_str().ok());
    let id = given.and_then(|text| RequestId::parse(text).ok()).unwrap_or_else(RequestId::random);
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    let value = HeaderValue::from_str(id.as_str()).expect("ids are visible ASCII");
    response.headers_mut().insert(HEADER, value);
    response
}
