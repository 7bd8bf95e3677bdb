//! The functions' refusals as failures. How a failure is worded and which status it becomes is said by the
//! [`Shape`](cm_http::Shape) of each dialect.

use cm_door::PLACE_RETRY_AFTER;
pub use cm_door::refusal;
use cm_functions::{FunctionError, LaunchError};
use cm_http::{Failure, FailureClass};

/// The detail of a failure that says that there is no room for another instance.
const FULL: &str = "full";

/// Whether there is no room for another instance.
pub fn is_full(failure: &Failure) -> bool {
    failure.details().contains_key(FULL)
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
