//! Turns a [`Failure`] into the body that clients read, and logs it once.

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use cm_types::RequestId;
use serde_json::{Value, json};

use crate::failure::{Failure, FailureClass};

/// How a failure looks to clients.
pub type Shape = fn(&Failure, &Asked) -> Rendered;

/// The request that failed, as far as an answer may name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its id.
    pub id: Option<RequestId>,
    /// Its method.
    pub method: Method,
    /// Its path as the client wrote it, without the query. It is the client's text: escape it.
    pub path: String,
}

/// The answer to a request that failed, apart from the headers of the [`Failure`] itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The status.
    pub status: StatusCode,
    /// What the body is.
    pub media_type: &'static str,
    /// The body. Requests for the head only get none.
    pub body: String,
}

impl Rendered {
    /// An answer in JSON.
    pub fn json(status: StatusCode, body: &Value) -> Self {
        Self { status, media_type: "application/json", body: body.to_string() }
    }
}

/// The shape of every failure, unless a face speaks another system's language:
/// `{"error":{"code":"not-found","message":"…","request_id":"…","details":{…}}}`.
pub fn shape(failure: &Failure, asked: &Asked) -> Rendered {
    let body = json!({
        "error": {
            "code": failure.class().code(),
            "message": failure.message(),
            "request_id": asked.id.as_ref().map(RequestId::as_str),
            "details": failure.details(),
        }
    });
    Rendered::json(failure.class().status(), &body)
}

/// Writes the body of a failed answer, for only here the request's id is at hand.
pub(crate) fn rendered(
    shape: Shape,
    id: &RequestId,
    method: Method,
    uri: &Uri,
    mut response: Response,
) -> Response {
    let Some(failure) = response.extensions_mut().remove::<Failure>() else {
        return response;
    };
    log(&failure);
    let asked = Asked { id: Some(id.clone()), method, path: uri.path().to_owned() };
    let rendered = shape(&failure, &asked);
    *response.status_mut() = rendered.status;
    // A length that was computed for the empty body would truncate this one.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(rendered.media_type));
    // To `HEAD`, the headers of the answer to `GET`, as far as they are known.
    *response.body_mut() =
        if asked.method == Method::HEAD { Body::empty() } else { Body::from(rendered.body) };
    response
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
