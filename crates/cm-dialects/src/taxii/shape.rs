//! Refusals in the words of the specification (section 3.6.1).

use axum::http::StatusCode;
use cm_http::{Asked, Failure, FailureClass, Rendered};
use serde_json::json;

use super::media::TAXII;

/// The detail by which a failure asks for a status that failures have no class for.
const STATUS: &str = "taxii-status";

/// How every refusal looks.
pub(crate) fn shape(failure: &Failure, asked: &Asked) -> Rendered {
    let asked_for = failure.details().get(STATUS).and_then(|status| u16::try_from(status.as_u64()?).ok());
    let status =
        asked_for.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(failure.class().status());
    let mut details = failure.details().clone();
    details.remove(STATUS);
    let details: serde_json::Map<String, serde_json::Value> = details
        .into_iter()
        .map(|(name, value)| {
            (name, value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string()).into())
        })
        .collect();
    let mut body = json!({
        "title": failure.message(), "error_code": failure.class().code(), "http_status": status.as_u16().to_string(),
    });
    if let Some(id) = &asked.id {
        body["error_id"] = id.as_str().into();
    }
    if !details.is_empty() {
        body["details"] = details.into();
    }
    Rendered { status, media_type: TAXII, body: body.to_string() }
}

/// 406.
pub(crate) fn not_acceptable() -> Failure {
    let message = format!("only `{TAXII}` is served; accept it, or `*/*`");
    Failure::new(FailureClass::Malformed, message).with_detail(STATUS, 406)
}

/// 400 about one parameter.
pub(crate) fn bad_parameter(name: &str, reason: impl Into<String>) -> Failure {
    Failure::new(FailureClass::Malformed, format!("the parameter `{name}` cannot be read"))
        .with_detail("parameter", name)
        .with_detail("reason", reason.into())
}
