//! Who an end of a link is.

use std::sync::Arc;
use std::time::Duration;

use cm_crypto::cert::{self, CertificateSpec, IssuedCertificate};
use cm_crypto::{CryptoError, digest};
use cm_types::{Sha256Digest, Timestamp};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A peer's public key, by which alone it is known: the SHA-256 of the SubjectPublicKeyInfo in DER. Its text form is that
/// of the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub Sha256Digest);

impl PeerKey {
    /// The key of a certificate in DER.
    ///
    /// # Errors
    /// [`CryptoError::Certificate`] if it is none.
    pub fn of_certificate(der: &[u8]) -> Result<Self, CryptoError> {
        Ok(Self(digest::sha256(&cert::spki_der(der)?)))
    }
}

impl std::fmt::Display for PeerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A node's own key for links, with the certificate that shows it.
#[derive(Clone)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    private_key: Arc<PrivateKeyDer<'static>>,
    key: PeerKey,
}

impl Identity {
    /// Makes a new key with a certificate for it. The dates are for other tools: links do not look at them.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn generate(now: Timestamp) -> Result<IssuedCertificate, CryptoError> {
        const VALID_FOR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        cert::self_signed(&CertificateSpec::new("CryptoMesh peer", now, VALID_FOR))
    }

    /// The identity of this certificate and its key.
    ///
    /// # Errors
    /// [`CryptoError::Certificate`] if the certificate is none.
    pub fn new(issued: &IssuedCertificate) -> Result<Self, CryptoError> {
        let key = PeerKey::of_certificate(&issued.certificate_der)?;
        let private_key = PrivatePkcs8KeyDer::from(issued.private_key_der.expose().as_slice());
        Ok(Self {
            certificate: CertificateDer::from(issued.certificate_der.clone()),
            private_key: Arc::new(PrivateKeyDer::from(private_key).clone_key()),
            key,
        })
    }

    /// What others know this node by.
    pub fn key(&self) -> PeerKey {
        self.key
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        self.private_key.clone_key()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("key", &self.key).finish_non_exhaustive()
    }
}
