//! Failures as the earlier service words them: problem details (RFC 9457).

use cm_http::{Asked, Failure, Rendered};
use cm_types::RequestId;
use serde_json::{Value, json};

/// `application/problem+json`; what a program compares is `code`, and `reason` where evidence was refused.
pub(super) fn problem(failure: &Failure, asked: &Asked) -> Rendered {
    let status = failure.class().status();
    let mut body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Failure"),
        "status": status.as_u16(),
        "detail": failure.message(),
        "code": failure.class().code(),
        "request_id": asked.id.as_ref().map(RequestId::as_str),
    });
    if let Value::Object(fields) = &mut body {
        fields.extend(failure.details().iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    Rendered { status, media_type: "application/problem+json", body: body.to_string() }
}
