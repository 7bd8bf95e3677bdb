//! Joins the engine and its file system to the server.

use std::sync::Arc;

use cm_instance::control::Launch;
use cm_instance::{FullPolicy, GuestPath};
use cm_types::Sha256Digest;

use super::control::{Artefact, ControlFailure, ProgramBytes};
use crate::server::Host;

/// Runs whose memory the limits leave room for.
pub(super) const RUNS_MAX: u64 = 4;

/// Why what the launcher sent cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The bytes are not those that the policy names.
    #[error("{path} has the hash {found}, the policy demands {expected}")]
    Hash { path: GuestPath, expected: Sha256Digest, found: Sha256Digest },
    /// The policy knows no such file, so nobody could say what it should contain.
    #[error("{0} has no hash in the policy")]
    Unknown(GuestPath),
    /// The launcher could not be told.
    #[error(transparent)]
    Control(#[from] ControlFailure),
}

pub(super) fn load(
    policy: &FullPolicy,
    launch: &Launch,
    programs: Vec<ProgramBytes>,
    data_files: Vec<Vec<u8>>,
    keep: impl FnMut(&Artefact) -> Result<(), ControlFailure>,
) -> Result<Arc<dyn Host>, LoadError> {
    let _ = (policy, launch, programs, data_files, keep);
    unimplemented!()
}
