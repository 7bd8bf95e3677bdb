//! Refusals of a node in open mode: it words them as the earlier implementation did, for that one's clients.

use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use crate::Refusal;

/// What the node said, if this is such an answer: `{"detail": …}` with a sentence, with a message and more about it, or with
/// a list of what is wrong with the fields of a body.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> Option<Refusal> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let (message, details) = match body.get("detail")? {
        Value::String(message) => (message.clone(), Value::Null),
        Value::Array(findings) => ("the body is invalid".to_owned(), fields(findings)),
        Value::Object(said) => described(said)?,
        _ => return None,
    };
    Some(Refusal {
        status: status.as_u16(),
        code: code(status).to_owned(),
        message,
        request_id: None,
        details,
    })
}

/// A message, and behind it either more of it or what programs may want to know, as JSON in a text.
fn described(said: &Map<String, Value>) -> Option<(String, Value)> {
    let message = said.get("message")?.as_str()?;
    let more = said.get("detail").and_then(Value::as_str).unwrap_or_default();
    Some(match serde_json::from_str(more) {
        Ok(details @ Value::Object(_)) => (message.to_owned(), details),
        _ if more.is_empty() => (message.to_owned(), Value::Null),
        _ => (format!("{message}: {more}"), Value::Null),
    })
}

/// `{"loc": ["body", "resources", "cpu"], "msg": "…"}` as the field `resources.cpu`.
fn fields(findings: &[Value]) -> Value {
    let field = |finding: &Value| {
        let steps = finding.get("loc").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut path = String::new();
        for step in steps.iter().skip_while(|step| *step == "body") {
            match step {
                Value::String(name) if path.is_empty() => path.push_str(name),
                Value::String(name) => path += &format!(".{name}"),
                step => path += &format!("[{step}]"),
            }
        }
        json!({ "path": path, "message": finding.get("msg").and_then(Value::as_str).unwrap_or_default() })
    };
    json!({ "fields": findings.iter().map(field).collect::<Vec<_>>() })
}

/// The name that the same refusal has in enforced mode.
fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "invalid",
        StatusCode::UNAUTHORIZED => "unauthenticated",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not-found",
        StatusCode::CONFLICT => "conflict",
        StatusCode::TOO_MANY_REQUESTS => "too-many",
        status if status.is_server_error() => "internal",
        StatusCode::PRECONDITION_FAILED => "precondition-failed",
        _ => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: Value, code: &str, shown: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let refusal = refusal(status, body.to_string().as_bytes()).unwrap();
        assert_eq!((refusal.status, refusal.code.as_str()), (status.as_u16(), code));
        assert_eq!(refusal.to_string(), shown);
    }

    #[test]
    fn every_shape_of_a_refusal_in_open_mode_is_read() {
        check(404, json!({ "detail": "Not Found" }), "not-found", "Not Found");
        check(
            404,
            json!({ "detail": { "message": "Resource 'r' not found", "code": 404, "detail": null } }),
            "not-found",
            "Resource 'r' not found",
        );
        check(
            400,
            json!({ "detail": { "message": "Bad request", "code": 400, "detail": "Field name: too long" } }),
            "invalid",
            "Bad request: Field name: too long",
        );
        check(
            409,
            json!({ "detail": { "message": "taken", "code": 409, "detail": "{\"reason\":\"by another\"}" } }),
            "conflict",
            "taken; by another",
        );
        let finding =
            json!({ "type": "value_error", "loc": ["body", "roles", 1, "id"], "msg": "no", "input": null });
        check(422, json!({ "detail": [finding] }), "invalid", "the body is invalid; roles[1].id: no");
    }

    #[test]
    fn other_answers_are_no_refusals() {
        for body in ["", "x", "{}", "{\"detail\":1}", "{\"detail\":{}}"] {
            assert!(refusal(StatusCode::NOT_FOUND, body.as_bytes()).is_none(), "{body}");
        }
    }
}
