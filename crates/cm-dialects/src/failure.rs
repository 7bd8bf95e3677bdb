//! The engines' refusals as failures. How a failure is worded and which status it becomes is said by the
//! [`Shape`](cm_http::Shape) of each dialect.

use std::io;

use cm_functions::{FunctionError, LaunchError};
use cm_http::{Failure, FailureClass};
use cm_kernel::objects::ObjectError;
use cm_kernel::{ErrorClass, KernelError};

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
        FunctionError::Policy(_)
        | FunctionError::Name(_)
        | FunctionError::Path(_)
        | FunctionError::NotConfidential => failure(FailureClass::Invalid),
        FunctionError::UnknownFile(_) | FunctionError::NotRunning(_) => failure(FailureClass::NotFound),
        FunctionError::MissingFile(_) => failure(FailureClass::Conflict),
        FunctionError::Launch(LaunchError::TooMany(_) | LaunchError::NoPort) => {
            Failure::new(FailureClass::StorageFull, "no internal resources available!").with_cause(error)
        }
        FunctionError::Draining => {
            Failure::new(FailureClass::Unavailable, "try again later").with_cause(error)
        }
        _ => Failure::internal(error),
    }
}

/// A message with what caused it, for clients: policies say in their source which field is wrong.
fn chain(error: &FunctionError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
