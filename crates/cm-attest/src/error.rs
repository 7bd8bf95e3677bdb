//! Why evidence was not believed.

use cm_types::Sha256Digest;

/// Why evidence was not believed. Each of them means: do not send anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestError {
    /// The text is no evidence token, or its claims are not those of the known profile.
    #[error("the evidence is malformed")]
    Malformed,
    /// The signer is not among the keys that the client trusts, or the token is of another type.
    #[error("the evidence was not signed by a trusted node key")]
    UntrustedSigner,
    /// The signature does not hold over the token.
    #[error("the evidence was altered after it was signed")]
    Forged,
    /// The node vouches for itself, and the client did not say that this is enough.
    #[error("the evidence is of kind `insecure-software`, which must be allowed explicitly")]
    InsecureRefused,
    /// The evidence is older than the verifier accepts.
    #[error("the evidence is {age_secs} seconds old, more than the {max_secs} allowed")]
    Stale {
        /// Its age in seconds.
        age_secs: u64,
        /// The oldest that is accepted, in seconds.
        max_secs: u64,
    },
    /// The evidence claims to be issued later than now, by more than clocks differ.
    #[error("the evidence is dated {ahead_secs} seconds into the future")]
    FromTheFuture {
        /// How far ahead, in seconds.
        ahead_secs: u64,
    },
    /// The evidence answers another challenge: a replay, or somebody else's.
    #[error("the evidence answers another nonce")]
    Nonce,
    /// The instance is bound by another policy than the client read.
    #[error("the instance runs under policy {found}, not {expected}")]
    Policy {
        /// The hash of the policy text that the client holds.
        expected: Sha256Digest,
        /// The hash that the evidence names.
        found: Sha256Digest,
    },
    /// The instance holds another TLS key than the peer showed or the client was told.
    #[error("the evidence is about another TLS key")]
    TlsKey,
    /// The executable is none that the client accepts.
    #[error("the measured executable {found} is not accepted")]
    Measurement {
        /// What was measured.
        found: Sha256Digest,
    },
    /// A layer of isolation that the client demands is not active.
    #[error("the isolation layer `{layer}` is not active{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Isolation {
        /// The layer's name.
        layer: String,
        /// Why it is not, if the node said so.
        reason: Option<String>,
    },
    /// The report data does not bind the claims that stand beside it.
    #[error("the report data does not bind the TLS key, policy and nonce of the evidence")]
    ReportData,
}
