//! What the client demands of an instance before anything is sent to it.
//!
//! The evidence is judged **inside the TLS handshake**, against the very key that the peer proves to hold. TLS 1.3
//! sends the client's certificate only after that, so a peer that is not what was expected learns nothing, not even
//! who called.
//!
//! There are two judges. The evidence judge is the stronger one: what it believes was said for a nonce of the caller's own. The
//! certificate judge needs nothing but the text of a policy, and believes what its authority certified
//! when the instance was launched.

mod certified;
mod judged;

use cm_attest::{AcceptedMeasurements, AttestError, Claims, Evidence, Expectation, Nonce, SoftwareVerifier};
use cm_crypto::cert;
use cm_crypto::sign::VerifyingKey;
use cm_types::Sha256Digest;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::terms::BrokenTerm;

pub(crate) use certified::CertificateJudge;
pub use certified::Uncertified;
pub(crate) use judged::{Demand, Judged};

/// The executables that may run in an instance.
pub use cm_attest::AcceptedMeasurements as Measurements;

/// What the client believes, and how much it demands. There are no defaults: everything must be said.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Keys of nodes whose evidence is believed. They must have come over another way than the node's own word.
    pub node_keys: Vec<VerifyingKey>,
    /// The executables that may run.
    pub measurements: AcceptedMeasurements,
    /// Whether `insecure-software` evidence is enough.
    pub allow_insecure_software: bool,
    /// Names of isolation layers that must be active.
    pub require_isolation: Vec<String>,
}

/// Why an instance was not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// The policy text at hand is no policy.
    #[error("the policy is unreadable")]
    UnreadablePolicy(#[from] cm_instance::PolicyError),
    /// The policy says something else than what was agreed.
    #[error("the policy breaks what was agreed")]
    Terms(#[from] BrokenTerm),
    /// The evidence was not believed.
    #[error("evidence not believed")]
    Evidence(#[from] AttestError),
    /// The peer's certificate was not believed.
    #[error("certificate not believed")]
    Uncertified(#[from] Uncertified),
    /// The peer's certificate cannot be read.
    #[error("the instance's certificate is unreadable")]
    Certificate(#[source] cm_crypto::CryptoError),
    /// The policy names no address.
    #[error("the policy names no address to connect to")]
    NoAddress,
}

/// An instance whose evidence was believed, as of the handshake of one connection.
#[derive(Clone, Debug)]
pub struct VerifiedInstance {
    /// What the evidence says.
    pub claims: Claims,
}

/// Judges the peer of one connection by evidence.
#[derive(Debug)]
pub(crate) struct EvidenceJudge {
    pub(crate) trust: Trust,
    pub(crate) evidence: Evidence,
    pub(crate) nonce: Nonce,
    pub(crate) policy_hash: Sha256Digest,
}

impl Demand for EvidenceJudge {
    type Belief = VerifiedInstance;

    fn judge(
        &self,
        peer: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<VerifiedInstance, Distrust> {
        let tls_spki_der = cert::spki_der(peer.as_ref()).map_err(Distrust::Certificate)?;
        let expected = Expectation {
            nonce: self.nonce.clone(),
            policy_hash: self.policy_hash,
            tls_spki_der,
            measurements: self.trust.measurements.clone(),
            allow_insecure: self.trust.allow_insecure_software,
            require_isolation: self.trust.require_isolation.clone(),
        };
        let verifier = SoftwareVerifier::new(self.trust.node_keys.clone());
        let claims = verifier.verify(&self.evidence, &expected, cm_tls::timestamp(now))?;
        Ok(VerifiedInstance { claims })
    }
}
