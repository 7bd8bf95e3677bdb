//! What somebody wants authentic evidence to say. One judge for all kinds.

use cm_crypto::digest;
use cm_types::Sha256Digest;

use crate::verify::check_isolation;
use crate::{AttestError, Claims, EvidenceKind, Measurement, Nonce, ReportData, Statement, Tcb, TcbPolicy};

/// Bytes of report data in SEV-SNP, TDX and SGX.
pub const REPORT_DATA_LEN: usize = 64;

/// The programs that are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Whatever runs. Only for somebody who was told so explicitly, or who compares the measurement later.
    Any,
    /// One of these; none, if the list is empty.
    OneOf(Vec<Measurement>),
}

impl Accepted {
    /// Whether a program is among them.
    pub fn accepts(&self, found: &Measurement) -> bool {
        match self {
            Accepted::Any => true,
            Accepted::OneOf(accepted) => accepted.contains(found),
        }
    }
}

/// What evidence must have been made about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportBinding {
    /// An instance of ours, with this key, under this policy, for this challenge.
    Instance {
        /// SubjectPublicKeyInfo of the key with which it serves TLS.
        tls_spki_der: Vec<u8>,
        /// SHA-256 of its policy's text.
        policy_hash: Sha256Digest,
        /// The challenge.
        nonce: Nonce,
    },
    /// A certificate request and a challenge, as the earlier services bind them: SHA-256 of the request where an
    /// instance may put bytes of its own, the challenge in its own place or, where there is none, behind the digest.
    Request {
        /// SHA-256 of the whole request.
        csr_sha256: Sha256Digest,
        /// SubjectPublicKeyInfo of the key that the request is about.
        spki_der: Vec<u8>,
        /// The challenge.
        nonce: Nonce,
    },
    /// Exactly these bytes. `None` asks for nothing. Report data of 64 bytes is compared as a whole; fewer expected bytes
    /// are followed by zeros.
    Exact {
        /// What the report data must be.
        report_data: Option<Vec<u8>>,
        /// What the nonce must be; a format without a place for one never has it.
        nonce: Option<Vec<u8>>,
        /// What the public key must be; a format without a place for one never has it.
        public_key: Option<Vec<u8>>,
    },
}

impl ReportBinding {
    /// Asks for nothing: for looking at evidence, never for trusting it.
    pub fn nothing() -> Self {
        ReportBinding::Exact { report_data: None, nonce: None, public_key: None }
    }
}

/// What somebody wants evidence to say. There are no defaults: everything must be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demands {
    /// What it must have been made about.
    pub binding: ReportBinding,
    /// The programs that may run.
    pub measurements: Accepted,
    /// Whether [`EvidenceKind::InsecureSoftware`] is enough.
    pub allow_insecure: bool,
    /// How old the platform may be.
    pub tcb: TcbPolicy,
    /// Names of isolation layers that must be active. Only a node speaks of them: hardware isolates by itself.
    pub require_isolation: Vec<String>,
}

impl Demands {
    /// The first demand that the statement does not fulfil.
    pub fn judge(&self, statement: &Statement) -> Result<(), AttestError> {
        if statement.kind == EvidenceKind::InsecureSoftware && !self.allow_insecure {
            return Err(AttestError::InsecureRefused);
        }
        if statement.debug {
            return Err(AttestError::Debug);
        }
        self.judge_binding(statement)?;
        if !self.measurements.accepts(&statement.measurement) {
            return Err(AttestError::Program { found: statement.measurement.clone() });
        }
        self.judge_tcb(&statement.tcb)?;
        if let Some(claims) = &statement.claims {
            for layer in &self.require_isolation {
                check_isolation(&claims.isolation, layer)?;
            }
        }
        Ok(())
    }

    fn judge_binding(&self, statement: &Statement) -> Result<(), AttestError> {
        let bound = &statement.bound;
        match &self.binding {
            ReportBinding::Exact { report_data, nonce, public_key } => {
                demand(nonce, &bound.nonce, AttestError::Nonce)?;
                demand(public_key, &bound.public_key, AttestError::TlsKey)?;
                match report_data {
                    Some(expected) => judge_report_data(statement, expected),
                    None => Ok(()),
                }
            }
            ReportBinding::Instance { tls_spki_der, policy_hash, nonce } => {
                if let Some(claims) = &statement.claims {
                    return judge_claims(claims, tls_spki_der, Some(policy_hash), nonce);
                }
                if bound.nonce.as_ref().is_some_and(|found| found != nonce.as_bytes()) {
                    return Err(AttestError::Nonce);
                }
                let expected = ReportData::bind(tls_spki_der, policy_hash, nonce);
                judge_report_data(statement, expected.digest().as_bytes())
            }
            ReportBinding::Request { csr_sha256, spki_der, nonce } => {
                if let Some(claims) = &statement.claims {
                    return judge_claims(claims, spki_der, None, nonce);
                }
                match (statement.kind, &bound.nonce) {
                    (EvidenceKind::AwsNitro, Some(found)) if found == nonce.as_bytes() => {
                        judge_report_data(statement, csr_sha256.as_bytes())
                    }
                    (EvidenceKind::AwsNitro, _) => Err(AttestError::Nonce),
                    (_, _) => {
                        judge_report_data(statement, &[csr_sha256.as_bytes(), nonce.as_bytes()].concat())
                    }
                }
            }
        }
    }

    fn judge_tcb(&self, found: &Tcb) -> Result<(), AttestError> {
        let good = match found {
            Tcb::Unrated => true,
            Tcb::Versions(versions) => versions.reaches(&self.tcb.snp_least),
            Tcb::Rated { status, .. } => self.tcb.statuses.contains(status),
        };
        if good { Ok(()) } else { Err(AttestError::Tcb { found: found.to_string() }) }
    }
}

fn demand(
    expected: &Option<Vec<u8>>,
    found: &Option<Vec<u8>>,
    error: AttestError,
) -> Result<(), AttestError> {
    if expected.is_none() || expected == found { Ok(()) } else { Err(error) }
}

/// Fewer expected bytes than found ones must be followed by zeros and nothing else.
fn judge_report_data(statement: &Statement, expected: &[u8]) -> Result<(), AttestError> {
    let found = statement.bound.report_data.as_deref().ok_or(AttestError::ReportData)?;
    let rest = found.strip_prefix(expected).ok_or(AttestError::ReportData)?;
    let padded = found.len() == REPORT_DATA_LEN && rest.iter().all(|byte| *byte == 0);
    if rest.is_empty() || padded { Ok(()) } else { Err(AttestError::ReportData) }
}

/// Each part is compared on its own, for the sake of the message, and all together once more as the digest that
/// hardware would have signed.
pub(crate) fn judge_claims(
    claims: &Claims,
    tls_spki_der: &[u8],
    policy_hash: Option<&Sha256Digest>,
    nonce: &Nonce,
) -> Result<(), AttestError> {
    if claims.nonce != *nonce {
        return Err(AttestError::Nonce);
    }
    let expected = policy_hash.unwrap_or(&claims.policy_hash);
    if claims.policy_hash != *expected {
        return Err(AttestError::Policy { expected: *expected, found: claims.policy_hash });
    }
    if claims.tls_spki_sha256 != digest::sha256(tls_spki_der) {
        return Err(AttestError::TlsKey);
    }
    if claims.report_data != ReportData::bind(tls_spki_der, expected, nonce) {
        return Err(AttestError::ReportData);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
