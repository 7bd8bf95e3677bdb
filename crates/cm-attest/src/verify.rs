//! Judging evidence.

use std::collections::BTreeMap;
use std::time::Duration;

use cm_crypto::jws;
use cm_crypto::sign::VerifyingKey;
use cm_types::{Sha256Digest, Timestamp};

use crate::demands::judge_claims;
use crate::evidence::decode_claims;
use crate::{
    AttestError, Bound, Claims, Demands, Evidence, EvidenceKind, IsolationLayer, Nonce, Statement, Tcb,
};

/// The oldest evidence that is believed. The nonce already proves freshness; this bounds what a client that
/// reuses nonces, or takes long to act, can be fooled with.
pub const AGE_MAX: Duration = Duration::from_secs(5 * 60);
/// How far the clocks of node and client may differ.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// The executables that a client accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptedMeasurements {
    /// Whatever runs. Only for a client that was told so explicitly.
    Any,
    /// One of these; none, if the list is empty.
    OneOf(Vec<Sha256Digest>),
}

impl AcceptedMeasurements {
    fn accepts(&self, found: &Sha256Digest) -> bool {
        match self {
            AcceptedMeasurements::Any => true,
            AcceptedMeasurements::OneOf(accepted) => accepted.contains(found),
        }
    }
}

/// What a client demands of evidence. There are no defaults: everything must be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The challenge that the client drew for this request.
    pub nonce: Nonce,
    /// SHA-256 of the policy text that the client holds and has read.
    pub policy_hash: Sha256Digest,
    /// SubjectPublicKeyInfo of the TLS key that the client will demand of its peer.
    pub tls_spki_der: Vec<u8>,
    /// The executables that may run.
    pub measurements: AcceptedMeasurements,
    /// Whether [`EvidenceKind::InsecureSoftware`] is enough.
    pub allow_insecure: bool,
    /// Names of isolation layers that must be active.
    pub require_isolation: Vec<String>,
}

/// Evidence as it was presented, and what its maker says about the platform. The latter is signed by the maker too: it
/// may come from anybody.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The evidence.
    pub evidence: &'a [u8],
    /// For SEV-SNP the VCEK's certificate, in DER or PEM; for TDX and SGX the collateral, as JSON.
    pub endorsements: Option<&'a [u8]>,
}

impl<'a> From<&'a [u8]> for Presented<'a> {
    fn from(evidence: &'a [u8]) -> Self {
        Self { evidence, endorsements: None }
    }
}

/// Judges one family of evidence. Every kind of trusted hardware brings its own.
pub trait Verifier {
    /// Whose evidence it judges.
    fn kind(&self) -> EvidenceKind;

    /// What the evidence says, if its maker signed it, and its certificates hold at the moment `now`. Nothing of it is
    /// compared with anybody's expectations.
    fn authenticate(&self, presented: &Presented<'_>, now: Timestamp) -> Result<Statement, AttestError>;

    /// What the evidence says, if it is authentic and says what is demanded; the first reason against it otherwise.
    fn appraise(
        &self,
        presented: &Presented<'_>,
        demands: &Demands,
        now: Timestamp,
    ) -> Result<Statement, AttestError> {
        let statement = self.authenticate(presented, now)?;
        demands.judge(&statement)?;
        Ok(statement)
    }
}

/// Judges what nodes sign with their own keys.
#[derive(Clone, Debug)]
pub struct SoftwareVerifier {
    trusted: Vec<VerifyingKey>,
}

impl SoftwareVerifier {
    /// Believes these node keys, which the client got over a channel that it trusts.
    pub fn new(trusted: Vec<VerifyingKey>) -> Self {
        Self { trusted }
    }

    /// The claims, if the evidence is genuine, fresh and fulfils the expectation at the moment `now`; the first reason
    /// against it otherwise.
    pub fn verify(
        &self,
        evidence: &Evidence,
        expected: &Expectation,
        now: Timestamp,
    ) -> Result<Claims, AttestError> {
        let claims = self.claims(evidence.as_str())?;
        if !expected.allow_insecure {
            return Err(AttestError::InsecureRefused);
        }
        check_time(claims.issued_at, now)?;
        judge_claims(&claims, &expected.tls_spki_der, Some(&expected.policy_hash), &expected.nonce)?;
        if !expected.measurements.accepts(&claims.measurement) {
            return Err(AttestError::Measurement { found: claims.measurement });
        }
        for layer in &expected.require_isolation {
            check_isolation(&claims.isolation, layer)?;
        }
        Ok(claims)
    }

    /// What a trusted node signed, however old.
    fn claims(&self, evidence: &str) -> Result<Claims, AttestError> {
        let (body, _signer) =
            jws::verify(evidence, jws::TokenType::EAT, &self.trusted).map_err(AttestError::from_jws)?;
        decode_claims(&body)
    }
}

impl Verifier for SoftwareVerifier {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::InsecureSoftware
    }

    fn authenticate(&self, presented: &Presented<'_>, now: Timestamp) -> Result<Statement, AttestError> {
        let text = std::str::from_utf8(presented.evidence).map_err(|_| AttestError::Malformed)?;
        let claims = self.claims(text.trim_ascii())?;
        check_time(claims.issued_at, now)?;
        Ok(Statement {
            kind: claims.kind,
            measurement: claims.measurement.into(),
            registers: BTreeMap::new(),
            bound: Bound {
                report_data: Some(claims.report_data.digest().as_bytes().to_vec()),
                nonce: Some(claims.nonce.as_bytes().to_vec()),
                public_key: None,
            },
            debug: false,
            tcb: Tcb::Unrated,
            issued_at: Some(claims.issued_at),
            claims: Some(claims),
        })
    }
}

/// Whether something was signed a moment ago.
pub(crate) fn check_time(issued_at: Timestamp, now: Timestamp) -> Result<(), AttestError> {
    let ahead = issued_at.since(now);
    if ahead > CLOCK_SKEW_MAX {
        return Err(AttestError::FromTheFuture { ahead_secs: ahead.as_secs() });
    }
    let age = now.since(issued_at);
    if age > AGE_MAX {
        return Err(AttestError::Stale { age_secs: age.as_secs(), max_secs: AGE_MAX.as_secs() });
    }
    Ok(())
}

/// A layer counts when it is listed, and active wherever it is listed.
pub(crate) fn check_isolation(layers: &[IsolationLayer], wanted: &str) -> Result<(), AttestError> {
    let mut entries = layers.iter().filter(|layer| layer.name == wanted).peekable();
    let listed = entries.peek().is_some();
    match entries.find(|layer| !layer.active) {
        Some(inactive) => {
            Err(AttestError::Isolation { layer: wanted.to_owned(), reason: inactive.reason.clone() })
        }
        None if !listed => Err(AttestError::Isolation { layer: wanted.to_owned(), reason: None }),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
