//! The engines' refusals as answers: which class of failure each becomes, and what the client is told.
//!
//! An engine's error says in its `Display` what a client may know, except where the class is internal: then the
//! text goes to the log and the client is given the request's id only. What the kernel refuses is told as by every
//! face.

use cm_functions::{FunctionError, LaunchError};
use cm_http::{Failure, FailureClass};
use cm_kernel::objects::ObjectError;
use serde_json::Value;

pub(crate) use cm_door::{PLACE_RETRY_AFTER, object_refusal, refusal};

/// What the functions refused, as an answer.
pub(crate) fn function_refusal(error: FunctionError) -> Failure {
    let failure = |class, error: &FunctionError| {
        Failure::new(class, error.to_string()).with_detail("reasons", reasons(error))
    };
    match error {
        FunctionError::Kernel(error) => refusal(error),
        // What the digest contradicts is the policy that the function was registered with.
        FunctionError::Objects(ObjectError::DigestMismatch { .. })
        | FunctionError::MissingFile(_)
        | FunctionError::NotRunning(_) => failure(FailureClass::Conflict, &error),
        FunctionError::Objects(error) => object_refusal(error),
        FunctionError::Policy(_) | FunctionError::Path(_) | FunctionError::NotConfidential => {
            failure(FailureClass::Invalid, &error)
        }
        FunctionError::UnknownFile(_) => failure(FailureClass::NotFound, &error),
        FunctionError::Launch(LaunchError::TooMany(_) | LaunchError::NoPort) => {
            failure(FailureClass::TooMany, &error).with_retry_after(PLACE_RETRY_AFTER)
        }
        FunctionError::Launch(LaunchError::Refused(_)) => failure(FailureClass::Unavailable, &error),
        FunctionError::Draining | FunctionError::Launch(LaunchError::Timeout) => {
            Failure::new(FailureClass::Unavailable, "try again later").with_cause(error)
        }
        FunctionError::Launch(_) | FunctionError::Setup(_) | FunctionError::NodeCertificate(_) => {
            Failure::internal(error)
        }
    }
}

/// What lies beneath an error, outermost first.
fn reasons(error: &FunctionError) -> Value {
    let mut reasons = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(reason) = next {
        reasons.push(reason.to_string());
        next = reason.source();
    }
    reasons.into()
}
