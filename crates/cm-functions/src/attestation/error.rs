//! Why an answer to a challenge was refused.

use cm_attest::AttestError;
use cm_crypto::CryptoError;
use cm_kernel::KernelError;

/// Why an answer to a challenge was refused, or could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum AppraisalError {
    /// The kernel refused or failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// There is no such challenge, or not any more, or it is somebody else's.
    #[error("there is no such challenge; ask for one")]
    ChallengeUnknown,
    /// The challenge was answered before.
    #[error("the challenge was answered before; ask for another")]
    ChallengeUsed,
    /// The challenge has ended.
    #[error("the challenge has expired; ask for another")]
    ChallengeExpired,
    /// What should be a request for a certificate is none, or was not signed with its own key.
    #[error("the certificate request cannot be granted")]
    Request(#[source] CryptoError),
    /// The token was signed with a key that everybody has.
    #[error(
        "PSA tokens of the earlier Linux platform were signed with a key that is public, so that they prove \
         nothing and are never accepted; answer with evidence of the kind `insecure-software`, or of hardware"
    )]
    PublicKeyToken,
    /// The evidence is not authentic, or does not say what it should.
    #[error("the evidence is refused")]
    Evidence(#[from] AttestError),
    /// The certificate cannot be made.
    #[error("the certificate cannot be made")]
    Certificate(#[source] CryptoError),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Draining,
}

impl AppraisalError {
    /// A stable name of what stands against the answer; `None` if it was not judged.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            AppraisalError::ChallengeUnknown => Some("unknown-challenge"),
            AppraisalError::ChallengeUsed => Some("replayed-challenge"),
            AppraisalError::ChallengeExpired => Some("expired-challenge"),
            AppraisalError::Request(_) => Some("request"),
            AppraisalError::PublicKeyToken => Some("public-key-token"),
            AppraisalError::Evidence(error) => Some(error.code()),
            AppraisalError::Kernel(_) | AppraisalError::Certificate(_) | AppraisalError::Draining => None,
        }
    }
}
