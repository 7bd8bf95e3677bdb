//! How refusals look: `{"detail": …}`, as the earlier services' framework did it.
//!
//! Clients make typed errors of `{"msg","code"}`, where the code is one of their own, and read everything else as text. What is wrong with a field
//! is a list, with status 422.

use axum::http::StatusCode;
use cm_http::{Asked, Failure, FailureClass, Rendered};
use serde_json::{Value, json};

/// The detail of a failure that says what the answer is.
const DETAIL: &str = "mictlanx";
/// The detail with its status.
const STATUS: &str = "mictlanx_status";

/// An answer of its own.
pub(super) fn worded(class: FailureClass, status: u16, message: impl Into<String>, detail: Value) -> Failure {
    Failure::new(class, message).with_detail(STATUS, status).with_detail(DETAIL, detail)
}

/// A message with a code that clients make a typed error of.
pub(super) fn typed(class: FailureClass, status: u16, code: u32, message: impl Into<String>) -> Failure {
    let message = message.into();
    let detail = json!({ "msg": message, "code": code });
    worded(class, status, message, detail)
}

/// A bare message.
pub(super) fn plain(class: FailureClass, status: u16, message: impl Into<String>) -> Failure {
    let message = message.into();
    let detail = json!(message);
    worded(class, status, message, detail)
}

/// 422 about a field of the body.
pub(super) fn invalid_field(field: &str, message: &str) -> Failure {
    let detail = json!([{ "type": "value_error", "loc": ["body", field], "msg": message }]);
    worded(FailureClass::Invalid, 422, format!("{field}: {message}"), detail)
}

/// What every face answers to a refusal.
pub(super) fn shape(failure: &Failure, _: &Asked) -> Rendered {
    let own = failure.details().get(STATUS).and_then(Value::as_u64).and_then(|status| {
        let status = StatusCode::from_u16(u16::try_from(status).ok()?).ok()?;
        Some((status, failure.details().get(DETAIL)?.clone()))
    });
    let (status, detail) = own.unwrap_or_else(|| usual(failure));
    Rendered::json(status, &json!({ "detail": detail }))
}

fn usual(failure: &Failure) -> (StatusCode, Value) {
    let class = failure.class();
    let undecodable = failure.details().get("reason").and_then(Value::as_str);
    if let (FailureClass::Invalid | FailureClass::Malformed, Some(reason)) = (class, undecodable) {
        let mut place = vec![json!("body")];
        let path = failure.details().get("path").and_then(Value::as_str).unwrap_or_default();
        place.extend(path.split('.').filter(|part| !part.is_empty()).map(Value::from));
        let detail = json!([{ "type": "value_error", "loc": place, "msg": reason }]);
        return (StatusCode::UNPROCESSABLE_ENTITY, detail);
    }
    let code = match class {
        FailureClass::Unauthenticated => 401,
        FailureClass::Forbidden => 403,
        FailureClass::NotFound => 404,
        FailureClass::Internal | FailureClass::TooMany => 500,
        FailureClass::StorageFull | FailureClass::QuotaExceeded => 502,
        FailureClass::Unavailable => 1000,
        FailureClass::RequestTimeout | FailureClass::DeadlineExceeded => 1004,
        FailureClass::UpstreamFailed => 1005,
        _ => 400,
    };
    (class.status(), json!({ "msg": failure.message(), "code": code }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(failure: Failure, status: u16, body: Value) {
        let rendered = shape(&failure, &Asked::default());
        let found: Value = serde_json::from_str(&rendered.body).unwrap();
        assert_eq!((rendered.status.as_u16(), found), (status, body));
    }

    #[test]
    fn refusals_are_what_clients_read() {
        check(
            Failure::unauthenticated("a bearer token is required"),
            401,
            json!({ "detail": { "msg": "a bearer token is required", "code": 401 } }),
        );
        check(
            typed(FailureClass::NotFound, 404, 666, "full"),
            404,
            json!({ "detail": { "msg": "full", "code": 666 } }),
        );
        check(plain(FailureClass::NotFound, 500, "404: x"), 500, json!({ "detail": "404: x" }));
        let field = json!({ "detail": [{ "type": "value_error", "loc": ["body", "size"], "msg": "no" }] });
        check(invalid_field("size", "no"), 422, field.clone());
        let decoded = Failure::new(FailureClass::Invalid, "wrong")
            .with_detail("reason", "no")
            .with_detail("path", "size");
        check(decoded, 422, field);
        for class in FailureClass::ALL {
            let rendered = shape(&Failure::new(class, "x"), &Asked::default());
            assert!(rendered.status.is_client_error() || rendered.status.is_server_error(), "{class:?}");
        }
    }
}
