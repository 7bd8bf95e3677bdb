//! Refusals as the earlier implementation worded them, for its clients: what a node in open mode answers.
//!
//! `{"detail": …}` always; inside it a message with its code, a list of what is wrong with the fields of a body, or a
//! plain sentence about a limit.

use axum::http::StatusCode;
use cm_http::{Asked, Failure, FailureClass, Rendered};
use serde_json::{Value, json};

/// The shape of every refusal of a node in open mode.
pub(crate) fn shape(failure: &Failure, asked: &Asked) -> Rendered {
    // Manifests are no request of an earlier client, and whoever sends one asks which declaration it was.
    if failure.details().contains_key("index") {
        return cm_http::shape(failure, asked);
    }
    let (status, body) = worded(failure);
    Rendered::json(status, &body)
}

fn worded(failure: &Failure) -> (StatusCode, Value) {
    let status = failure.class().status();
    match failure.class() {
        FailureClass::NotFound => (status, not_found(failure)),
        FailureClass::MethodNotAllowed => (status, json!({ "detail": "Method Not Allowed" })),
        FailureClass::Malformed | FailureClass::Invalid => invalid(failure),
        FailureClass::Conflict if is_taken_policy(failure) => {
            let id = resource_id(failure).unwrap_or_default();
            let message = format!("Validation error: Security policy '{id}' already exists");
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            (status, message_body(status, &message, Value::Null))
        }
        _ => (status, message_body(status, failure.message(), facts(failure))),
    }
}

fn not_found(failure: &Failure) -> Value {
    match resource_id(failure) {
        Some(id) => message_body(StatusCode::NOT_FOUND, &format!("Resource '{id}' not found"), Value::Null),
        None => json!({ "detail": "Not Found" }),
    }
}

/// What is wrong with a body: 400 with a sentence about a limit, else 422 with a list.
fn invalid(failure: &Failure) -> (StatusCode, Value) {
    let details = failure.details();
    let fields = details.get("fields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |field: &Value, name: &str| field.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    if let Some(limit) = fields.iter().find(|field| field.get("limit") == Some(&Value::Bool(true))) {
        let status = StatusCode::BAD_REQUEST;
        return (status, beyond_limit(status, &text(limit, "path"), &text(limit, "message")));
    }
    let mut errors: Vec<Value> =
        fields.iter().map(|field| field_error(&text(field, "path"), &text(field, "message"))).collect();
    if errors.is_empty() {
        let reason = details.get("reason").and_then(Value::as_str).unwrap_or(failure.message());
        let path = ["path", "parameter"].iter().find_map(|name| details.get(*name)?.as_str());
        errors.push(field_error(path.unwrap_or(""), reason));
    }
    (StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": errors }))
}

fn beyond_limit(status: StatusCode, path: &str, message: &str) -> Value {
    match path {
        "resources.cpu" => json!({ "detail": format!("CPU {}", message.trim_end_matches(" cores")) }),
        "resources.ram" => json!({ "detail": format!("RAM {message}") }),
        _ => message_body(status, "Bad request", Value::from(format!("Field {path}: {message}"))),
    }
}

/// One entry of the list, located as a path through the body.
fn field_error(path: &str, message: &str) -> Value {
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let mut place = vec![Value::from("body")];
    let steps = path.split(['.', '[', ']']).filter(|step| !step.is_empty());
    place.extend(steps.map(|step| step.parse::<u64>().map_or_else(|_| Value::from(step), Value::from)));
    place.extend(missing.map(Value::from));
    let (kind, message) = match missing {
        Some(_) => ("missing", "Field required"),
        None => ("value_error", message),
    };
    json!({ "type": kind, "loc": place, "msg": message, "input": Value::Null })
}

fn message_body(status: StatusCode, message: &str, detail: Value) -> Value {
    json!({ "detail": { "message": message, "code": status.as_u16(), "detail": detail } })
}

/// What programs may want to know besides the message, as text.
fn facts(failure: &Failure) -> Value {
    if failure.details().is_empty() {
        return Value::Null;
    }
    Value::from(Value::Object(failure.details().clone()).to_string())
}

fn resource_id(failure: &Failure) -> Option<&str> {
    let resource = failure.details().get("resource")?.as_str()?;
    resource.split_once('/').map(|(_, id)| id)
}

fn is_taken_policy(failure: &Failure) -> bool {
    let resource = failure.details().get("resource").and_then(Value::as_str);
    resource.is_some_and(|resource| resource.starts_with("security-policy/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(failure: Failure, status: u16, body: Value) {
        let found = shape(&failure, &Asked::default());
        let rendered: Value = serde_json::from_str(&found.body).unwrap();
        assert_eq!((found.status.as_u16(), rendered), (status, body));
    }

    fn with_field(path: &str, message: &str, limit: bool) -> Failure {
        let field = json!({ "path": path, "message": message, "limit": limit });
        Failure::new(FailureClass::Invalid, "invalid").with_detail("fields", vec![field])
    }

    #[test]
    fn refusals_are_worded_as_clients_know_them() {
        let missing = Failure::new(FailureClass::NotFound, "`role/r1` does not exist");
        check(
            missing.with_detail("resource", "role/r1"),
            404,
            json!({ "detail": { "message": "Resource 'r1' not found", "code": 404, "detail": null } }),
        );
        check(Failure::not_found(), 404, json!({ "detail": "Not Found" }));
        check(
            with_field("resources.cpu", "must be between 1 and 4 cores", true),
            400,
            json!({ "detail": "CPU must be between 1 and 4" }),
        );
        check(
            with_field("name", "is longer than 32 characters", true),
            400,
            json!({ "detail": { "message": "Bad request", "code": 400, "detail": "Field name: is longer than 32 characters" } }),
        );
        let taken =
            Failure::new(FailureClass::Conflict, "taken").with_detail("resource", "security-policy/sp1");
        let message = "Validation error: Security policy 'sp1' already exists";
        check(taken, 422, json!({ "detail": { "message": message, "code": 422, "detail": null } }));
    }

    #[test]
    fn wrong_fields_are_listed_with_their_place() {
        check(
            with_field("permissions[2]", "no text", false),
            422,
            json!({ "detail": [{ "type": "value_error", "loc": ["body", "permissions", 2], "msg": "no text", "input": null }] }),
        );
        let missing = Failure::new(FailureClass::Invalid, "the body has the wrong shape");
        check(
            missing.with_detail("path", ".").with_detail("reason", "missing field `image`"),
            422,
            json!({ "detail": [{ "type": "missing", "loc": ["body", "image"], "msg": "Field required", "input": null }] }),
        );
    }
}
