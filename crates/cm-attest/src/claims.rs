//! What evidence says.

use cm_types::{Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Nonce, ReportData};

/// Who vouches for the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// The node's software, nobody else. Worthless against whoever controls the node.
    InsecureSoftware,
    /// Amazon: an attestation document of the Nitro security module.
    AwsNitro,
    /// AMD: a report of the secure processor about a guest of SEV-SNP.
    AmdSevSnp,
    /// Intel: a quote about a trust domain.
    IntelTdx,
    /// Intel: a quote about an enclave.
    IntelSgx,
}

impl EvidenceKind {
    /// All kinds.
    pub const ALL: [EvidenceKind; 5] = [
        EvidenceKind::InsecureSoftware,
        EvidenceKind::AwsNitro,
        EvidenceKind::AmdSevSnp,
        EvidenceKind::IntelTdx,
        EvidenceKind::IntelSgx,
    ];

    /// The name that is shown wherever evidence is.
    pub fn as_str(self) -> &'static str {
        match self {
            EvidenceKind::InsecureSoftware => "insecure-software",
            EvidenceKind::AwsNitro => "aws-nitro",
            EvidenceKind::AmdSevSnp => "amd-sev-snp",
            EvidenceKind::IntelTdx => "intel-tdx",
            EvidenceKind::IntelSgx => "intel-sgx",
        }
    }
}

/// There is no kind of evidence of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no kind of evidence; there are `insecure-software`, `aws-nitro`, `amd-sev-snp`, `intel-tdx`, `intel-sgx`"
)]
pub struct UnknownKind(pub String);

impl std::str::FromStr for EvidenceKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = EvidenceKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

impl std::fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One means by which the instance is confined, and whether it took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsolationLayer {
    /// Its name, for example `seccomp`.
    pub name: String,
    /// Whether it took effect.
    pub active: bool,
    /// Why it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The claims of one piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who vouches.
    pub kind: EvidenceKind,
    /// SHA-256 of the executable that was actually started.
    pub measurement: Sha256Digest,
    /// Binds TLS key, policy and nonce; see [`ReportData`].
    pub report_data: ReportData,
    /// SHA-256 of the exact policy text that the instance was given.
    pub policy_hash: Sha256Digest,
    /// SHA-256 of the SubjectPublicKeyInfo of the instance's TLS key.
    pub tls_spki_sha256: Sha256Digest,
    /// The client's challenge.
    pub nonce: Nonce,
    /// How the instance is confined.
    pub isolation: Vec<IsolationLayer>,
    /// When the evidence was issued; kept in whole seconds.
    pub issued_at: Timestamp,
    /// The node that issued it, by its name. Informative: the signer's key is what counts.
    pub node: String,
}
