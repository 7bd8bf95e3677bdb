//! Who an end of a link is.

use std::sync::Arc;
use std::time::Duration;

use cm_crypto::cert::{self, CertificateSpec, IssuedCertificate};
use cm_crypto::{CryptoError, Secret, digest};
use cm_types::{Sha256Digest, Timestamp};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::watch;

use crate::trust;

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

impl std::str::FromStr for PeerKey {
    type Err = <Sha256Digest as std::str::FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
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

    /// The identity in a text that [`Identity::generate`]'s outcome was written as: its certificate and its private key, both in
    /// PEM, in either order.
    ///
    /// # Errors
    /// [`CryptoError::Pem`] or [`CryptoError::Certificate`] if a part is missing or damaged; [`CryptoError::Key`] if the key is
    /// another certificate's.
    pub fn from_pem(text: &str) -> Result<Self, CryptoError> {
        let certificate_der = cert::pem_to_der(text)?;
        let private_key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes());
        let private_key = private_key.map_err(|_| CryptoError::Pem("PRIVATE KEY"))?;
        let private_key_der = Secret::new(private_key.secret_pkcs8_der().to_vec());
        let identity = Self::new(&IssuedCertificate { certificate_der, private_key_der })?;
        // Whoever sets a server up is told at once if the two do not belong together.
        let (_, nobody) = watch::channel(Arc::default());
        trust::called(&identity, nobody).map_err(|_| CryptoError::Key("link"))?;
        Ok(identity)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn issued() -> IssuedCertificate {
        Identity::generate(Timestamp::from_micros(1_800_000_000_000_000)).unwrap()
    }

    #[test]
    fn an_identity_comes_back_from_its_text() {
        let (one, other) = (issued(), issued());
        let text = format!("{}{}", one.certificate_pem(), one.private_key_pem().expose());
        let back = Identity::from_pem(&text).unwrap();
        assert_eq!(back.key(), Identity::new(&one).unwrap().key());
        assert_eq!(back.key().to_string().parse(), Ok(back.key()));
        let mixed = format!("{}{}", one.certificate_pem(), other.private_key_pem().expose());
        assert_eq!(Identity::from_pem(&mixed).unwrap_err(), CryptoError::Key("link"));
        assert!(Identity::from_pem(&one.certificate_pem()).is_err());
        assert!(Identity::from_pem(one.private_key_pem().expose()).is_err());
    }
}
