//! Turns a [`Failure`] into the body that clients read, and logs it once.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cm_types::RequestId;
use serde_json::{Value, json};

use crate::failure::{Failure, FailureClass};

/// How a failure looks to clients: the status of the answer and its JSON body.
pub type Shape = fn(&Failure, Option<&RequestId>) -> (StatusCode, Value);

/// The shape of every failure, unless a face speaks another system's language:
/// `{"error":{"code":"not-found","message":"…","request_id":"…","details":{…}}}`.
pub fn shape(failure: &Failure, request: Option<&RequestId>) -> (StatusCode, Value) {
    let body = json!({
        "error": {
            "code": failure.class().code(),
            "message": failure.message(),
            "request_id": request.map(RequestId::as_str),
            "details": failure.details(),
        }
    });
    (failure.class().status(), body)
}

/// Writes the body of a failed answer, for only here the request's id is at hand.
pub(crate) async fn render(State(shape): State<Shape>, request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let is_head = request.method() == Method::HEAD;
    let mut response = next.run(request).await;
    let Some(failure) = response.extensions_mut().remove::<Failure>() else {
        return response;
    };
    log(&failure);
    let (status, body) = shape(&failure, id.as_ref());
    *response.status_mut() = status;
    if is_head {
        // The headers of the answer to GET, as far as they are known.
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        return response;
    }
    let (mut parts, _) = response.into_parts();
    let (json_parts, body) = Json(body).into_response().into_parts();
    // A length that was computed for the empty body would truncate this one.
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    parts.headers.extend(json_parts.headers);
    Response::from_parts(parts, body)
}

fn log(failure: &Failure) {
    let code = failure.class().code();
    let cause = failure.cause_chain();
    match failure.class() {
        FailureClass::Internal | FailureClass::StorageFull => {
            tracing::error!(code, cause, "request failed: {failure}");
        }
        FailureClass::UpstreamFailed => tracing::warn!(code, cause, "request failed: {failure}"),
        _ => tracing::debug!(code, cause, "request refused: {failure}"),
    }
}
