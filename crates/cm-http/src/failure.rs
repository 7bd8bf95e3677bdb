//! Why a request was not answered as asked: the one type that becomes an error answer.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

/// What went wrong, as far as a client can act on it.
///
/// The only place where status codes and error codes are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// Bytes that are not what they claim to be: no JSON, no number, no UTF-8.
    Malformed,
    /// No credential, or one that is not valid.
    Unauthenticated,
    /// A known caller that may not do this.
    Forbidden,
    /// Nothing here that the caller may know of.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The client took longer to send its request than it may.
    RequestTimeout,
    /// The state of the resource does not permit this.
    Conflict,
    /// `If-Match` or `If-None-Match` does not hold.
    PreconditionFailed,
    /// More bytes than the limit.
    TooLarge,
    /// A body in a format that is not understood here.
    UnsupportedMediaType,
    /// No byte of the representation lies in the requested range.
    RangeNotSatisfiable,
    /// Well-formed, but some field is wrong.
    Invalid,
    /// More often than the limit; try again after a while.
    TooMany,
    /// Our mistake or our disk's. Nothing is said about the cause.
    Internal,
    /// Not ready, or shutting down; try again.
    Unavailable,
    /// The work did not finish before the request's deadline. It may have had its effect.
    DeadlineExceeded,
    /// No room for what was sent.
    StorageFull,
    /// A quota does not allow so much.
    QuotaExceeded,
    /// Another service, which the request was passed on to, failed.
    UpstreamFailed,
}

impl FailureClass {
    /// All classes.
    pub const ALL: [FailureClass; 19] = [
        FailureClass::Malformed,
        FailureClass::Unauthenticated,
        FailureClass::Forbidden,
        FailureClass::NotFound,
        FailureClass::MethodNotAllowed,
        FailureClass::RequestTimeout,
        FailureClass::Conflict,
        FailureClass::PreconditionFailed,
        FailureClass::TooLarge,
        FailureClass::UnsupportedMediaType,
        FailureClass::RangeNotSatisfiable,
        FailureClass::Invalid,
        FailureClass::TooMany,
        FailureClass::Internal,
        FailureClass::Unavailable,
        FailureClass::DeadlineExceeded,
        FailureClass::StorageFull,
        FailureClass::QuotaExceeded,
        FailureClass::UpstreamFailed,
    ];

    fn status_and_code(self) -> (StatusCode, &'static str) {
        match self {
            FailureClass::Malformed => (StatusCode::BAD_REQUEST, "malformed"),
            FailureClass::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            FailureClass::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            FailureClass::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            FailureClass::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
            FailureClass::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "request-timeout"),
            FailureClass::Conflict => (StatusCode::CONFLICT, "conflict"),
            FailureClass::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "precondition-failed"),
            FailureClass::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            FailureClass::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type")
            }
            FailureClass::RangeNotSatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable"),
            FailureClass::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            FailureClass::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too-many"),
            FailureClass::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            FailureClass::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            FailureClass::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "deadline-exceeded"),
            FailureClass::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "storage-full"),
            // As where the disk is full: the client cannot tell the difference, and need not.
            FailureClass::QuotaExceeded => (StatusCode::INSUFFICIENT_STORAGE, "quota-exceeded"),
            // Not 502: the node is well, and whoever watches it by its 5xx must not be woken.
            FailureClass::UpstreamFailed => (StatusCode::FAILED_DEPENDENCY, "upstream-failed"),
        }
    }

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        self.status_and_code().0
    }

    /// The stable name that programs compare, `not-found`.
    pub fn code(self) -> &'static str {
        self.status_and_code().1
    }
}

/// One failed request: what the client is told, and apart from it what the log is told.
///
/// As a response it carries its status and headers only; [`frame`](fn@crate::frame) renders the body, for
/// only there is the request's id known. See [`crate::shape`].
#[derive(Clone, Debug)]
pub struct Failure(Box<Parts>);

/// Boxed, so that results that carry a failure stay small on the way that succeeds.
#[derive(Clone, Debug)]
struct Parts {
    class: FailureClass,
    message: String,
    details: Map<String, Value>,
    headers: HeaderMap,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure with a message for the client: lower case, no full stop, no secrets.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            class,
            message: message.into(),
            details: Map::new(),
            headers: HeaderMap::new(),
            cause: None,
        }))
    }

    /// 404 that says no more than that.
    pub fn not_found() -> Self {
        Self::new(FailureClass::NotFound, "not found")
    }

    /// 401 with the challenge that RFC 9110, section 11.6.1 demands.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Unauthenticated, message)
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 500. The cause goes to the log; the client learns only the request's id.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(FailureClass::Internal, "internal error").with_cause(cause)
    }

    /// Adds a fact for programs.
    #[must_use]
    pub fn with_detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.details.insert(name.to_owned(), value.into());
        self
    }

    /// Adds facts for programs.
    #[must_use]
    pub fn with_details(mut self, details: Map<String, Value>) -> Self {
        self.0.details.extend(details);
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Says when to try again; rounded up to whole seconds, at least one.
    #[must_use]
    pub fn with_retry_after(self, after: Duration) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Keeps what caused it for the log.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(Arc::from(cause.into()));
        self
    }

    /// The class.
    pub fn class(&self) -> FailureClass {
        self.0.class
    }

    /// What the client is told.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Facts for programs.
    pub fn details(&self) -> &Map<String, Value> {
        &self.0.details
    }

    /// The chain of causes on one line, for the log.
    pub(crate) fn cause_chain(&self) -> Option<String> {
        let mut next: Option<&dyn Error> = Some(self.0.cause.as_deref()?);
        let mut chain = Vec::new();
        while let Some(error) = next {
            chain.push(error.to_string());
            next = error.source();
        }
        Some(chain.join(": "))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.0.class.status().into_response();
        response.headers_mut().extend(self.0.headers.clone());
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_own_code_and_an_error_status() {
        let mut codes = std::collections::BTreeSet::new();
        for class in FailureClass::ALL {
            assert!(codes.insert(class.code()), "{class:?} shares its code");
            assert!(class.status().as_u16() >= 400, "{class:?}");
        }
    }

    #[test]
    fn a_wait_is_never_rounded_down_to_nothing() {
        for (wait, expected) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")] {
            let failure = Failure::new(FailureClass::TooMany, "slow down")
                .with_retry_after(Duration::from_millis(wait));
            assert_eq!(failure.into_response().headers()[header::RETRY_AFTER], expected);
        }
    }

    #[test]
    fn the_cause_is_for_the_log_only() {
        let failure = Failure::internal(std::io::Error::other("disk on fire"));
        assert_eq!(failure.message(), "internal error");
        assert_eq!(failure.cause_chain().as_deref(), Some("disk on fire"));
    }
}
