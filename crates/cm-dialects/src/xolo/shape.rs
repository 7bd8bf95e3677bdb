//! How refusals look: `{"detail": {"code", "message", "status_code", "metadata"}}`, and the message once more in a header,
//! where the first clients look for it.

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use cm_http::{Asked, Failure, FailureClass, Rendered};
use cm_kernel::KernelError;
use cm_kernel::identity::IdentityError;
use cm_kernel::policy::declared::DeclarationError;
use serde_json::{Map, Value, json};

/// The header in which the first clients look for what went wrong.
const ERROR_MESSAGE: &str = "error-message";
/// The detail with a code of the dialect's own.
const CODE: &str = "xolo_code";

/// A refusal with a code of the dialect's own.
pub(super) fn coded(class: FailureClass, code: &'static str, message: impl Into<String>) -> Failure {
    Failure::new(class, message).with_detail(CODE, code)
}

/// A field that is not what it should be.
pub(super) fn invalid(field: &str, message: impl std::fmt::Display) -> Failure {
    Failure::new(FailureClass::Invalid, format!("{field}: {message}")).with_detail("field", field)
}

/// 401. Nothing is said about why.
pub(super) fn unauthorized() -> Failure {
    Failure::unauthenticated("the credential is missing or not valid")
}

/// What the kernel refused.
pub(super) fn refused(error: KernelError) -> Failure {
    let exists = matches!(
        &error,
        KernelError::Identity(IdentityError::Exists | IdentityError::TenantExists)
            | KernelError::Declaration(DeclarationError::Exists { .. })
    );
    let failure = cm_door::refusal(error);
    if exists { failure.with_detail(CODE, "XOLO.ALREADY_EXISTS") } else { failure }
}

/// What the face answers to a refusal.
pub(super) fn shape(failure: &Failure, _: &Asked) -> Rendered {
    let class = failure.class();
    let status = class.status();
    let code = match class {
        FailureClass::Unauthenticated => "XOLO.UNAUTHORIZED",
        FailureClass::Forbidden => "XOLO.ACCESS_DENIED",
        FailureClass::NotFound => "XOLO.NOT_FOUND",
        FailureClass::Conflict | FailureClass::PreconditionFailed => "XOLO.CONFLICT",
        FailureClass::TooMany => "XOLO.TOO_MANY_REQUESTS",
        FailureClass::Internal => "XOLO.INTERNAL_ERROR",
        _ if status.is_server_error() => "XOLO.UNAVAILABLE",
        _ => "XOLO.VALIDATION_ERROR",
    };
    let own = failure.details().get(CODE).and_then(Value::as_str);
    let metadata: Map<String, Value> = failure
        .details()
        .iter()
        .filter(|(name, _)| *name != CODE)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let detail = json!({
        "code": own.unwrap_or(code),
        "message": failure.message(),
        "status_code": status.as_u16(),
        "metadata": metadata,
    });
    Rendered::json(status, &json!({ "detail": detail }))
}

/// Repeats what went wrong in a header, as far as one can hold it.
pub(super) async fn told(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(failure) = response.extensions().get::<Failure>() {
        let visible = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        let text: String = failure.message().chars().map(visible).take(512).collect();
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().insert(ERROR_MESSAGE, value);
        }
    }
    response
}
