//! Turns a [`Failure`] into the body that clients read, and logs it once.

use axum::Json;
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cm_types::RequestId;
use serde_json::json;

use crate::failure::{Failure, FailureClass};

/// Writes the body of a failed answer, for only here the request's id is at hand.
pub(crate) async fn render(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let is_head = request.method() == Method::HEAD;
    let mut response = next.run(request).await;
    let Some(failure) = response.extensions_mut().remove::<Failure>() else {
        return response;
    };
    log(&failure);
    if is_head {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    let (json_parts, body) = Json(json!({
        "error": {
            "code": failure.class().code(),
            "message": failure.message(),
            "request_id": id.as_ref().map(RequestId::as_str),
            "details": failure.details(),
        }
    }))
    .into_response()
    .into_parts();
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
        _ => tracing::debug!(code, cause, "request refused: {failure}"),
    }
}
