//! What authentic evidence says, in one shape for all kinds.

use std::collections::BTreeMap;

use cm_types::Timestamp;

use crate::{Claims, EvidenceKind, Measurement, SnpTcb, TcbStatus};

/// What authentic evidence says. That it is authentic means that its maker signed it; whether it says what somebody
/// wants to hear is judged by [`Demands`](crate::Demands).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Who vouches.
    pub kind: EvidenceKind,
    /// What was loaded.
    pub measurement: Measurement,
    /// Everything else that was measured, by the makers' names (`pcr8`, `mrsigner`, `rtmr0`), in hexadecimal digits.
    pub registers: BTreeMap<String, String>,
    /// What the instance had signed along.
    pub bound: Bound,
    /// Whether the instance can be looked into by whoever runs it.
    pub debug: bool,
    /// How well the platform is kept.
    pub tcb: Tcb,
    /// When it was signed, where the format says so.
    pub issued_at: Option<Timestamp>,
    /// What a node says beyond that about an instance of its own. Only in `insecure-software`.
    pub claims: Option<Claims>,
}

/// The bytes that the instance chose and that the signature covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// 64 bytes of SEV-SNP, TDX and SGX; the user data of Nitro, which may be absent; the digest of software evidence.
    pub report_data: Option<Vec<u8>>,
    /// The challenge, where the format has a place of its own for it.
    pub nonce: Option<Vec<u8>>,
    /// The instance's public key, where the format has a place of its own for it.
    pub public_key: Option<Vec<u8>>,
}

/// How well the platform is kept, in its maker's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tcb {
    /// The format says nothing about it: AWS keeps its platform itself, and a node's software is nobody's platform.
    Unrated,
    /// AMD: the versions of the parts.
    Versions(SnpTcb),
    /// Intel: what its collateral says about the versions, and the advisories that apply.
    Rated {
        /// The status.
        status: TcbStatus,
        /// Advisories, for example `INTEL-SA-00615`.
        advisories: Vec<String>,
    },
}

impl std::fmt::Display for Tcb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Tcb::Unrated => f.write_str("unrated"),
            Tcb::Versions(versions) => versions.fmt(f),
            Tcb::Rated { status, advisories } if advisories.is_empty() => status.fmt(f),
            Tcb::Rated { status, advisories } => write!(f, "{status} ({})", advisories.join(", ")),
        }
    }
}
