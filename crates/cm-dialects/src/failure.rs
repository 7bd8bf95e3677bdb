//! The engines' refusals as failures. How a failure is worded and which status it becomes is said by the
//! [`Shape`](cm_http::Shape) of each dialect.

use std::io;
use std::time::Duration;

use cm_functions::{FunctionError, LaunchError};
use cm_http::{Failure, FailureClass};
use cm_kernel::objects::ObjectError;
use cm_kernel::{ErrorClass, KernelError};

/// When to try again for a place: runs last seconds.
const PLACE_RETRY_AFTER: Duration = Duration::from_secs(5);
/// The detail of a failure that says that there is no room for another instance.
const FULL: &str = "full";

/// Whether there is no room for another instance.
pub fn is_full(failure: &Failure) -> bool {
    failure.details().contains_key(FULL)
}

/// What the kernel refused.
pub fn refusal(error: KernelError) -> Failure {
    if let KernelError::Objects(ObjectError::Body(reason)) = &error
        && let Some(failure) = body_failure(reason)
    {
        return failure;
    }
    if let KernelError::Objects(reason) = &error
        && reason.is_full()
    {
        return Failure::new(FailureClass::StorageFull, "no space left on the node").with_cause(error);
    }
    of_class(error.class(), error)
}

/// What ended a body before its time, where that is for us to say: the client's pace, a limit, or a credential.
fn body_failure(reason: &io::Error) -> Option<Failure> {
    if reason.kind() == io::ErrorKind::TimedOut {
        return Some(Failure::new(FailureClass::RequestTimeout, "the body did not arrive in time"));
    }
    reason.get_ref()?.downcast_ref::<Failure>().cloned()
}

/// A failure of the class that an engine gave its error.
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
            Failure::new(FailureClass::Unavailable, "try again later").with_cause(error)
        }
        ErrorClass::Internal => Failure::internal(error),
    }
}

/// What the functions refused.
pub fn function_refusal(error: FunctionError) -> Failure {
    let failure = |class| Failure::new(class, chain(&error));
    match error {
        FunctionError::Kernel(error) => refusal(error),
        FunctionError::Objects(error) => refusal(error.into()),
        FunctionError::Policy(_) | FunctionError::Path(_) | FunctionError::NotConfidential => {
            failure(FailureClass::Invalid)
        }
        FunctionError::UnknownFile(_) | FunctionError::NotRunning(_) => failure(FailureClass::NotFound),
        FunctionError::MissingFile(_) => failure(FailureClass::Conflict),
        FunctionError::Launch(LaunchError::TooMany(_) | LaunchError::NoPort) => {
            let failure = Failure::new(FailureClass::TooMany, "no internal resources available!");
            failure.with_detail(FULL, true).with_retry_after(PLACE_RETRY_AFTER).with_cause(error)
        }
        FunctionError::Draining => {
            Failure::new(FailureClass::Unavailable, "try again later").with_cause(error)
        }
        _ => Failure::internal(error),
    }
}

/// A message with what caused it, for clients: policies say in their source which field is wrong.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
