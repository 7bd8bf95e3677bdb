//! Landlock: no file, no new connection, no signal or abstract socket across the wall.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};

/// Why the layer does not stand.
#[derive(Debug, thiserror::Error)]
pub(super) enum LandlockError {
    /// The kernel was built or booted without it.
    #[error("the kernel does not enforce landlock")]
    NotEnforced,
    /// The kernel refused.
    #[error(transparent)]
    Ruleset(#[from] RulesetError),
}

/// Handles every right that the kernel knows and grants none.
pub(super) fn deny_all() -> Result<(), LandlockError> {
    let abi = ABI::V6;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .restrict_self()?;
    match status.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err(LandlockError::NotEnforced),
    }
}
