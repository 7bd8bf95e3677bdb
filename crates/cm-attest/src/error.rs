//! Why evidence was not believed.

use cm_types::Sha256Digest;

use crate::{EvidenceKind, Measurement};

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
    /// The report data does not bind what it should: it was made for another key, policy, request or challenge.
    #[error("the report data does not bind the expected key, policy and nonce")]
    ReportData,
    /// The evidence is of another kind than the verifier judges.
    #[error("the evidence is no {0} evidence")]
    Kind(EvidenceKind),
    /// The certificates do not lead from the signer to the pinned root at this time.
    #[error("the signer's certificates do not lead to the pinned root: {reason}")]
    Chain {
        /// What is wrong with them.
        reason: String,
    },
    /// The maker's own words about the platform are missing: a VCEK certificate, or collateral.
    #[error("{0} evidence can only be judged with its maker's endorsements; give them along")]
    NoEndorsements(EvidenceKind),
    /// A quote does not stand up against its maker's collateral.
    #[error("the quote is not authentic under this collateral: {reason}")]
    Quote {
        /// What is wrong with it.
        reason: String,
    },
    /// The instance was started so that it can be looked into.
    #[error("the evidence is about an instance in debug mode, whose secrets whoever runs it can read")]
    Debug,
    /// The program is none that is accepted.
    #[error("the measured program {found} is not accepted")]
    Program {
        /// What was measured.
        found: Measurement,
    },
    /// The platform is older, or worse kept, than is accepted.
    #[error("the platform is not kept as demanded: {found}")]
    Tcb {
        /// How it is kept.
        found: String,
    },
}

impl AttestError {
    /// A stable name, for logs and programs.
    pub fn code(&self) -> &'static str {
        match self {
            AttestError::Malformed => "malformed",
            AttestError::UntrustedSigner => "untrusted-signer",
            AttestError::Forged => "forged",
            AttestError::InsecureRefused => "insecure-software",
            AttestError::Stale { .. } => "stale",
            AttestError::FromTheFuture { .. } => "from-the-future",
            AttestError::Nonce => "other-nonce",
            AttestError::Policy { .. } => "other-policy",
            AttestError::TlsKey => "other-key",
            AttestError::Measurement { .. } | AttestError::Program { .. } => "other-measurement",
            AttestError::Isolation { .. } => "isolation",
            AttestError::ReportData => "other-report-data",
            AttestError::Kind(_) => "other-kind",
            AttestError::Chain { .. } => "certificates",
            AttestError::NoEndorsements(_) => "no-endorsements",
            AttestError::Quote { .. } => "collateral",
            AttestError::Debug => "debug",
            AttestError::Tcb { .. } => "old-platform",
        }
    }

    /// What is wrong with a signed token.
    pub(crate) fn from_jws(error: cm_crypto::CryptoError) -> Self {
        match error {
            cm_crypto::CryptoError::UntrustedSigner => AttestError::UntrustedSigner,
            cm_crypto::CryptoError::Signature => AttestError::Forged,
            _ => AttestError::Malformed,
        }
    }
}
