//! The kernel's refusals as answers: which class of failure each becomes, and what the client is told. How a failure is
//! worded and which status it becomes is said by the [`Shape`](cm_http::Shape) of each face.
//!
//! An engine's error says in its `Display` what a client may know, except where the class is internal: then the
//! text goes to the log and the client is given the request's id only.

use std::io;
use std::time::Duration;

use axum::http::{HeaderValue, header};
use cm_endpoints::EndpointError;
use cm_http::range::unsatisfiable;
use cm_http::{Failure, FailureClass};
use cm_kernel::catalog::{CatalogError, Fault};
use cm_kernel::error::why_unavailable;
use cm_kernel::events::EventError;
use cm_kernel::identity::{IdentityError, InvalidInput};
use cm_kernel::objects::ObjectError;
use cm_kernel::{ErrorClass, KernelError};
use serde_json::{Value, json};

/// When to ask again after a moment in which something cannot be reached: about as long as another node takes to lead.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(2);
/// When to try again for a place: runs last seconds.
pub const PLACE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// What the kernel refused, as an answer.
pub fn refusal(error: KernelError) -> Failure {
    match &error {
        KernelError::Objects(ObjectError::RangeNotSatisfiable { size }) => return unsatisfiable(*size),
        KernelError::Objects(ObjectError::Body(reason)) => {
            if let Some(failure) = body_failure(reason) {
                return failure;
            }
        }
        KernelError::Objects(ObjectError::QuotaExceeded { .. }) => {
            return Failure::new(FailureClass::QuotaExceeded, error.to_string());
        }
        // What is the matter is no secret, and that nothing is lost is worth knowing.
        KernelError::Objects(
            ObjectError::ColdUnavailable { .. }
            | ObjectError::NotEnoughPeers { is_full: false, .. }
            | ObjectError::Unreachable { .. },
        ) => {
            let failure = Failure::new(FailureClass::Unavailable, error.to_string());
            return failure.with_retry_after(UNAVAILABLE_RETRY_AFTER).with_cause(error);
        }
        KernelError::Objects(ObjectError::Damaged(_)) => {
            let message = "what is stored of the object is damaged; an administrator's `cryptomesh object verify` tells what is";
            return Failure::new(FailureClass::Internal, message).with_cause(error);
        }
        KernelError::Identity(IdentityError::SecondFactorRequired) => {
            let message = "the password is right; a code of the second factor is needed besides";
            return Failure::unauthenticated(message).with_detail("second_factor", "required");
        }
        KernelError::Identity(IdentityError::OldPasswordRequired) => {
            return Failure::new(FailureClass::Forbidden, error.to_string())
                .with_detail("old_password", "required");
        }
        _ if is_full(&error) => {
            return Failure::new(FailureClass::StorageFull, "no space left on the node").with_cause(error);
        }
        _ => {}
    }
    let details = details(&error);
    let mut failure = of_class(error.class(), error);
    for (name, value) in details {
        failure = failure.with_detail(name, value);
    }
    failure
}

/// What the endpoints refused, as an answer.
pub fn endpoint_refusal(error: EndpointError) -> Failure {
    match error {
        EndpointError::Kernel(error) => refusal(error),
        EndpointError::NoPorts => {
            Failure::new(FailureClass::TooMany, error.to_string()).with_retry_after(PLACE_RETRY_AFTER)
        }
        EndpointError::Elsewhere { .. } => Failure::new(FailureClass::Conflict, error.to_string()),
        EndpointError::Draining => {
            Failure::new(FailureClass::Unavailable, "try again later").with_cause(error)
        }
        EndpointError::Ports(_) => Failure::internal(error),
    }
}

/// What the challenge says where a bearer token was shown that is worth nothing (RFC 6750, section 3.1).
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static(r#"Bearer error="invalid_token""#);

/// As [`refusal`], of somebody's bearer token.
pub(crate) fn refused_bearer(error: KernelError) -> Failure {
    let failure = refusal(error);
    match failure.class() {
        FailureClass::Unauthenticated => failure.with_header(header::WWW_AUTHENTICATE, INVALID_TOKEN),
        _ => failure,
    }
}

/// Whether space ran out, wherever it was needed. The object store knows how its own error says so, and the database
/// is one and the same.
fn is_full(error: &KernelError) -> bool {
    match error {
        KernelError::Objects(error) => error.is_full(),
        KernelError::Db(error)
        | KernelError::Events(EventError::Db(error))
        | KernelError::Catalog(CatalogError::Db(error) | CatalogError::Events(EventError::Db(error)))
        | KernelError::Identity(IdentityError::Db(error) | IdentityError::Events(EventError::Db(error))) => {
            ObjectError::Db(error.clone()).is_full()
        }
        _ => false,
    }
}

/// What ended a body before its time, where that is for us to say: the client's pace, or its credential.
fn body_failure(reason: &io::Error) -> Option<Failure> {
    if reason.kind() == io::ErrorKind::TimedOut {
        return Some(Failure::new(FailureClass::RequestTimeout, "the body did not arrive in time"));
    }
    reason.get_ref()?.downcast_ref::<Failure>().cloned()
}

/// What the object store refused, as an answer.
pub fn object_refusal(error: ObjectError) -> Failure {
    refusal(error.into())
}

/// An answer of the class that an engine gave its error.
pub fn of_class(class: ErrorClass, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    let failure = |class| Failure::new(class, error.to_string());
    match class {
        ErrorClass::Unauthenticated => Failure::unauthenticated("the credential is not valid"),
        ErrorClass::Forbidden => failure(FailureClass::Forbidden),
        ErrorClass::NotFound => failure(FailureClass::NotFound),
        ErrorClass::Conflict => failure(FailureClass::Conflict),
        ErrorClass::Stale => failure(FailureClass::PreconditionFailed),
        ErrorClass::Invalid => failure(FailureClass::Invalid),
        ErrorClass::TooLarge => failure(FailureClass::TooLarge),
        ErrorClass::Range => failure(FailureClass::RangeNotSatisfiable),
        ErrorClass::TooMany { retry_after } => failure(FailureClass::TooMany).with_retry_after(retry_after),
        ErrorClass::Unavailable => {
            let failure = Failure::new(FailureClass::Unavailable, why_unavailable(&error));
            failure.with_retry_after(UNAVAILABLE_RETRY_AFTER).with_cause(error)
        }
        ErrorClass::Internal => Failure::internal(error),
    }
}

/// Facts for programs. Nothing here is said that the message does not say.
fn details(error: &KernelError) -> Vec<(&'static str, Value)> {
    match error {
        KernelError::Forbidden(explanation) => vec![
            ("kind", explanation.kind.as_str().into()),
            ("action", explanation.action.as_str().into()),
            ("reasons", explanation.reasons.iter().map(|reason| reason.code()).collect()),
        ],
        KernelError::NotFound(resource) => vec![("resource", resource.to_string().into())],
        KernelError::GivesMoreThanHeld { role, permission } => {
            vec![("role", role.clone().into()), ("permission", permission.clone().into())]
        }
        KernelError::NoSuchRole(role) => vec![("role", role.clone().into())],
        KernelError::Identity(IdentityError::Stale { expected, found }) => {
            vec![("expected", expected.0.into()), ("found", found.0.into())]
        }
        // A name that is taken is no rule of form, and answered as others that are.
        KernelError::Identity(IdentityError::Invalid(problem)) if *problem != InvalidInput::ReservedId => {
            // As entries of the catalogue say it.
            let (path, text) = (problem.field(), problem.to_string());
            let message = text.strip_prefix(&format!("{path}: ")).unwrap_or(&text);
            vec![("fields", json!([{ "path": path, "message": message, "limit": false }]))]
        }
        KernelError::Catalog(error) => catalog_details(error),
        _ => Vec::new(),
    }
}

fn catalog_details(error: &CatalogError) -> Vec<(&'static str, Value)> {
    match error {
        CatalogError::NotFound(resource) | CatalogError::Exists(resource) => {
            vec![("resource", resource.to_string().into())]
        }
        CatalogError::Invalid(errors) => {
            // Records travel flat: what is a spec's field here is a field of the record there.
            let path = |path: &str| path.strip_prefix("spec.").unwrap_or(path).to_owned();
            let fields = errors.iter().map(|error| {
                let limit = error.fault == Fault::Limit;
                json!({ "path": path(&error.path), "message": error.message, "limit": limit })
            });
            vec![("fields", fields.collect())]
        }
        CatalogError::Stale { expected, found } => {
            vec![("expected", expected.0.into()), ("found", found.0.into())]
        }
        CatalogError::DanglingReference { field, to } => {
            vec![("path", field.clone().into()), ("resource", to.to_string().into())]
        }
        CatalogError::StillReferenced { by } => vec![("by", by.iter().map(ToString::to_string).collect())],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_slow_body_are_told_from_other_failures() {
        let storage =
            |kind: io::ErrorKind| ObjectError::Storage { path: "chunks".into(), source: kind.into() };
        for (error, class) in [
            (storage(io::ErrorKind::StorageFull), FailureClass::StorageFull),
            (storage(io::ErrorKind::QuotaExceeded), FailureClass::StorageFull),
            (storage(io::ErrorKind::PermissionDenied), FailureClass::Internal),
            (ObjectError::Body(io::ErrorKind::TimedOut.into()), FailureClass::RequestTimeout),
            (ObjectError::Body(io::ErrorKind::UnexpectedEof.into()), FailureClass::Invalid),
            (ObjectError::Body(io::Error::other(Failure::not_found())), FailureClass::NotFound),
        ] {
            let what = format!("{error:?}");
            assert_eq!(object_refusal(error).class(), class, "{what}");
        }
    }
}
