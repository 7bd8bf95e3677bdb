//! What the requests and refusals of OAuth look like (RFC 6749): forms, and `{"error", "error_description"}`.

use std::collections::HashMap;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cm_http::{Failure, FailureClass, Upload};
use cm_types::ResourceId;
use serde::Serialize;
use utoipa::ToSchema;

const FORM: &str = "application/x-www-form-urlencoded";

/// Whether a body says that it is a form.
pub(crate) fn is_form(body: &Upload) -> bool {
    body.content_type().is_some_and(|text| text.split(';').next().map(str::trim) == Some(FORM))
}

/// The fields of a form of at most so many bytes.
///
/// # Errors
/// 422 for a body of another kind, and for a field that is there twice (section 3.2).
pub(crate) async fn form_fields(body: Upload, max: usize) -> Result<HashMap<String, String>, Failure> {
    if !is_form(&body) {
        return Err(Failure::new(FailureClass::Invalid, format!("expected a form: {FORM}")));
    }
    let mut fields = HashMap::new();
    for (name, value) in form_urlencoded::parse(&body.read_to_end(max).await?) {
        if fields.contains_key(name.as_ref()) {
            return Err(Failure::new(FailureClass::Invalid, format!("`{name}` is there twice")));
        }
        fields.insert(name.into_owned(), value.into_owned());
    }
    Ok(fields)
}

/// Roles as a scope is written (section 3.3).
pub(crate) fn scope_of(roles: &[ResourceId]) -> String {
    roles.iter().map(ResourceId::as_str).collect::<Vec<_>>().join(" ")
}

/// Why a request about tokens was refused (section 5.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OAuthError {
    /// `invalid_request`, `invalid_scope`, `invalid_target` or `unsupported_grant_type`.
    pub error: String,
    /// The reason, for people.
    pub error_description: String,
}

/// A refusal as clients of OAuth expect it, where the request is to blame; what the node cannot do is told as everywhere.
#[derive(Debug)]
pub struct OAuthRefusal(Refusal);

#[derive(Debug)]
enum Refusal {
    Told(OAuthError),
    Failed(Failure),
}

impl OAuthRefusal {
    /// A grant that is not served here.
    pub(crate) fn unsupported_grant(description: impl Into<String>) -> Self {
        Self::told("unsupported_grant_type", description.into())
    }

    /// A request, or a token in it, that is wrong (RFC 8693, section 2.2.2).
    pub(crate) fn invalid_request(description: impl Into<String>) -> Self {
        Self::told("invalid_request", description.into())
    }

    /// What the token is asked for is not this node (RFC 8693, section 2.2.2).
    pub(crate) fn invalid_target(description: impl Into<String>) -> Self {
        Self::told("invalid_target", description.into())
    }

    /// More is asked for than is granted.
    pub(crate) fn invalid_scope(description: impl Into<String>) -> Self {
        Self::told("invalid_scope", description.into())
    }

    /// A refusal of the caller and not of the request, told as everywhere.
    pub(crate) fn of_caller(failure: Failure) -> Self {
        Self(Refusal::Failed(failure))
    }

    fn told(error: &str, error_description: String) -> Self {
        Self(Refusal::Told(OAuthError { error: error.to_owned(), error_description }))
    }
}

impl From<Failure> for OAuthRefusal {
    fn from(failure: Failure) -> Self {
        match failure.class() {
            FailureClass::Unauthenticated | FailureClass::Malformed | FailureClass::Invalid => {
                Self::invalid_request(failure.message())
            }
            _ => Self(Refusal::Failed(failure)),
        }
    }
}

impl IntoResponse for OAuthRefusal {
    fn into_response(self) -> Response {
        match self.0 {
            Refusal::Told(error) => (StatusCode::BAD_REQUEST, Json(error)).into_response(),
            Refusal::Failed(failure) => failure.into_response(),
        }
    }
}
