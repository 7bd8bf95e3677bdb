//! Judging evidence.

use std::time::Duration;

use cm_crypto::sign::VerifyingKey;
use cm_crypto::{CryptoError, digest, jws};
use cm_types::{Sha256Digest, Timestamp};

use crate::evidence::decode_claims;
use crate::{AttestError, Claims, Evidence, EvidenceKind, IsolationLayer, Nonce, ReportData};

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

/// Judges one family of evidence. Every kind of trusted hardware brings its own.
pub trait Verifier {
    /// The claims, if the evidence is genuine, fresh and fulfils the expectation at the moment `now`; the
    /// first reason against it otherwise.
    fn verify(
        &self,
        evidence: &Evidence,
        expected: &Expectation,
        now: Timestamp,
    ) -> Result<Claims, AttestError>;
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
}

impl Verifier for SoftwareVerifier {
    fn verify(
        &self,
        evidence: &Evidence,
        expected: &Expectation,
        now: Timestamp,
    ) -> Result<Claims, AttestError> {
        let (body, _signer) = jws::verify(evidence.as_str(), jws::TokenType::EAT, &self.trusted).map_err(
            |error| match error {
                CryptoError::UntrustedSigner => AttestError::UntrustedSigner,
                CryptoError::Signature => AttestError::Forged,
                _ => AttestError::Malformed,
            },
        )?;
        let claims = decode_claims(&body)?;
        match claims.kind {
            EvidenceKind::InsecureSoftware if !expected.allow_insecure => {
                return Err(AttestError::InsecureRefused);
            }
            EvidenceKind::InsecureSoftware => {}
        }
        check_time(claims.issued_at, now)?;
        check_binding(&claims, expected)?;
        if !expected.measurements.accepts(&claims.measurement) {
            return Err(AttestError::Measurement { found: claims.measurement });
        }
        for layer in &expected.require_isolation {
            check_isolation(&claims.isolation, layer)?;
        }
        Ok(claims)
    }
}

fn check_time(issued_at: Timestamp, now: Timestamp) -> Result<(), AttestError> {
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

/// Each part is compared on its own, for the sake of the message, and all together once more as the digest
/// that hardware would have signed.
fn check_binding(claims: &Claims, expected: &Expectation) -> Result<(), AttestError> {
    if claims.nonce != expected.nonce {
        return Err(AttestError::Nonce);
    }
    if claims.policy_hash != expected.policy_hash {
        return Err(AttestError::Policy { expected: expected.policy_hash, found: claims.policy_hash });
    }
    if claims.tls_spki_sha256 != digest::sha256(&expected.tls_spki_der) {
        return Err(AttestError::TlsKey);
    }
    let bound = ReportData::bind(&expected.tls_spki_der, &expected.policy_hash, &expected.nonce);
    if claims.report_data != bound {
        return Err(AttestError::ReportData);
    }
    Ok(())
}

/// A layer counts when it is listed, and active wherever it is listed.
fn check_isolation(layers: &[IsolationLayer], wanted: &str) -> Result<(), AttestError> {
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
