//! What can go wrong with functions and their instances.

use cm_instance::{InvalidPath, PolicyError};
use cm_kernel::KernelError;
use cm_kernel::objects::ObjectError;
use cm_types::ResourceId;

use crate::launcher::LaunchError;

/// Why a function or an instance could not be dealt with.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    /// The kernel refused or failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A program's or data file's bytes could not be stored or read.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// A policy is not well-formed, or the two do not fit together.
    #[error("the policy cannot be used")]
    Policy(#[from] PolicyError),
    /// A file name leads nowhere.
    #[error("the file name cannot be used")]
    Path(#[from] InvalidPath),
    /// The function is not confidential: it has no program policy.
    #[error("the function has no program policy")]
    NotConfidential,
    /// The program policy names no such file.
    #[error("the function's policy names no file `{0}`")]
    UnknownFile(String),
    /// A file has not been uploaded, and no identity of the policy could provide it.
    #[error("`{0}` has not been uploaded, and nobody may write it")]
    MissingFile(String),
    /// The instance did not come to run.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The instance exists but does not run.
    #[error("instance `{0}` does not run")]
    NotRunning(ResourceId),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Draining,
    /// The module cache or the node's own executable cannot be used.
    #[error("the instances' executable or cache cannot be set up")]
    Setup(#[source] std::io::Error),
    /// The node's certificate cannot stand in a policy.
    #[error("the node's certificate cannot be used")]
    NodeCertificate(#[source] cm_crypto::CryptoError),
}
