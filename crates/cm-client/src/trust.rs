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

use std::sync::{Arc, Mutex, PoisonError};

use cm_attest::{AcceptedMeasurements, AttestError, Claims, Evidence, Expectation, Nonce, SoftwareVerifier};
use cm_crypto::cert;
use cm_crypto::sign::VerifyingKey;
use cm_types::{Sha256Digest, Timestamp};
use rustls::DigitallySignedStruct;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::terms::BrokenTerm;

pub(crate) use certified::CertificateJudge;
pub use certified::Uncertified;

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

/// Judges the peer of one connection.
#[derive(Debug)]
pub(crate) struct EvidenceJudge {
    pub(crate) trust: Trust,
    pub(crate) evidence: Evidence,
    pub(crate) nonce: Nonce,
    pub(crate) policy_hash: Sha256Digest,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    /// The handshake can only say yes or no; this says why.
    pub(crate) verdict: Arc<Mutex<Option<Result<VerifiedInstance, Distrust>>>>,
}

impl EvidenceJudge {
    fn judge(&self, peer: &CertificateDer<'_>, now: UnixTime) -> Result<VerifiedInstance, Distrust> {
        let tls_spki_der = cert::spki_der(peer.as_ref()).map_err(Distrust::Certificate)?;
        let expected = Expectation {
            nonce: self.nonce.clone(),
            policy_hash: self.policy_hash,
            tls_spki_der,
            measurements: self.trust.measurements.clone(),
            allow_insecure: self.trust.allow_insecure_software,
            require_isolation: self.trust.require_isolation.clone(),
        };
        let now = Timestamp::from_micros(
            i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_mul(1_000_000),
        );
        let claims =
            SoftwareVerifier::new(self.trust.node_keys.clone()).verify(&self.evidence, &expected, now)?;
        Ok(VerifiedInstance { claims })
    }
}

impl ServerCertVerifier for EvidenceJudge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self.judge(end_entity, now);
        let believed = judged.is_ok();
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(judged);
        if believed {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken with instances".into()))
    }

    /// That the peer holds the key that the evidence is about is proved here, by the provider.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
