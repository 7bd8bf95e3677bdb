//! Who may connect: TLS with the instance's own key, and clients whose certificates are those of the
//! policy, byte for byte.
//!
//! Certificates of a policy are self-signed and often carry the same distinguished name, so chains mean
//! nothing here: the policy pins whole certificates. What remains to be checked is that a certificate holds
//! at this moment and that the client has its key, which the handshake's signature proves. A connection
//! therefore always has exactly one identity; a certificate that the policy does not know never gets past
//! the handshake.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cm_crypto::{CryptoError, cert};
use cm_instance::RefusalKind;
use cm_instance::policy::Ciphersuite;
use cm_types::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SignatureVerificationAlgorithm,
    SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, CipherSuite, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    ServerConfig, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
};

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The key or a certificate could not be made or read.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The certificate that came is for another key.
    #[error("the certificate is for another key than the instance's")]
    OtherKey,
    /// The library refused the configuration.
    #[error(transparent)]
    Rustls(#[from] Error),
}

/// Somebody whom the policy names.
#[derive(Debug)]
pub(crate) struct Pinned {
    /// The identity's number in the policy.
    pub(crate) id: u64,
    spki: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Pinned {
    /// Whether the certificate holds at the moment.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), CertificateError> {
        if now < self.not_before {
            Err(CertificateError::NotValidYet)
        } else if now > self.not_after {
            Err(CertificateError::Expired)
        } else {
            Ok(())
        }
    }
}

/// The identities of a policy by their certificates.
#[derive(Debug)]
pub(crate) struct Identities {
    by_certificate: HashMap<Vec<u8>, Arc<Pinned>>,
    provider: Arc<CryptoProvider>,
}

impl Identities {
    /// Reads the certificates, given in DER with the identities' numbers.
    pub(crate) fn pin(
        certificates: impl IntoIterator<Item = (u64, Vec<u8>)>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, CryptoError> {
        let mut by_certificate = HashMap::new();
        for (id, der) in certificates {
            let (not_before, not_after) = cert::validity(&der)?;
            let pinned = Pinned { id, spki: cert::spki_der(&der)?, not_before, not_after };
            by_certificate.insert(der, Arc::new(pinned));
        }
        Ok(Self { by_certificate, provider })
    }

    /// Whose certificate this is.
    pub(crate) fn find(&self, certificate: &CertificateDer<'_>) -> Option<&Arc<Pinned>> {
        self.by_certificate.get(certificate.as_ref())
    }

    /// The numbers of the identities, in no order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        self.by_certificate.values().map(|pinned| pinned.id)
    }

    fn known(&self, certificate: &CertificateDer<'_>) -> Result<&Arc<Pinned>, Error> {
        self.find(certificate).ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }
}

impl ClientCertVerifier for Identities {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        self.known(certificate)?.check(now.into())?;
        Ok(ClientCertVerified::assertion())
    }

    /// As in TLS 1.3 by the key alone: the library's own function reads the certificate, of which it knows no version 1.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let bad = |_| Error::InvalidCertificate(CertificateError::BadSignature);
        let spki = SubjectPublicKeyInfoDer::from(self.known(certificate)?.spki.as_slice());
        let key = webpki::RawPublicKeyEntity::try_from(&spki).map_err(bad)?;
        let known = self.provider.signature_verification_algorithms.mapping;
        let scheme = known.iter().find(|(scheme, _)| *scheme == signature.scheme);
        let (_, algorithms) = scheme.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // Several algorithms belong to one scheme, one of which is for this key.
        let verified = |algorithm: &&'static dyn SignatureVerificationAlgorithm| {
            key.verify_signature(*algorithm, message, signature.signature()).is_ok()
        };
        if algorithms.iter().any(verified) {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::BadSignature))
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(self.known(certificate)?.spki.as_slice());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The instance's key pair, made inside and never leaving it.
pub(crate) struct InstanceKey {
    spki_der: Vec<u8>,
    key: PrivateKeyDer<'static>,
}

/// The configurations of the two ways in.
#[derive(Clone)]
pub(crate) struct Doors {
    /// For TLS on the connection itself.
    pub(crate) direct: Arc<ServerConfig>,
    /// For TLS in posted bodies.
    pub(crate) posted: Arc<ServerConfig>,
}

impl InstanceKey {
    /// A new ECDSA P-256 key.
    pub(crate) fn generate() -> Result<Self, TlsError> {
        let made = cert::generate_key()?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.private_key_der.expose().as_slice()));
        Ok(Self { spki_der: made.spki_der, key: key.clone_key() })
    }

    /// The public key in DER: what is certified, what evidence binds and clients pin.
    pub(crate) fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// What the doors need. The first certificate of the chain must be for this key.
    ///
    /// Every connection is a full handshake with a client certificate, so that no ticket outlives the certificate's
    /// validity. TLS is 1.3, with one exception, which takes two signs of the first era together: the client posts
    /// its records, as only that era's do, and the policy names that era's cipher suite. Such clients have no TLS but 1.2
    /// with this suite, and get no other; one that has 1.3 gets 1.3.
    pub(crate) fn doors(
        self,
        chain: Vec<CertificateDer<'static>>,
        identities: &Arc<Identities>,
        ciphersuite: Ciphersuite,
    ) -> Result<Doors, TlsError> {
        let leaf = chain.first().ok_or(TlsError::OtherKey)?;
        if cert::spki_der(leaf)? != self.spki_der {
            return Err(TlsError::OtherKey);
        }
        let provider = identities.provider.clone();
        let direct = Arc::new(self.config(provider.clone(), &[&TLS13], &chain, identities)?);
        let posted = match ciphersuite {
            Ciphersuite::EcdheEcdsaChacha20Poly1305 => {
                Arc::new(self.config(with_earlier_suite(&provider), &[&TLS13, &TLS12], &chain, identities)?)
            }
            Ciphersuite::Chacha20Poly1305 | Ciphersuite::Aes256Gcm | Ciphersuite::Aes128Gcm => direct.clone(),
        };
        Ok(Doors { direct, posted })
    }

    fn config(
        &self,
        provider: Arc<CryptoProvider>,
        versions: &[&'static SupportedProtocolVersion],
        chain: &[CertificateDer<'static>],
        identities: &Arc<Identities>,
    ) -> Result<ServerConfig, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(identities.clone())
            .with_single_cert(chain.to_vec(), self.key.clone_key())?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(config)
    }
}

/// The suites of TLS 1.3, and of TLS 1.2 the one that the first policies name.
fn with_earlier_suite(provider: &CryptoProvider) -> Arc<CryptoProvider> {
    let permitted = |suite: &SupportedCipherSuite| {
        suite.tls13().is_some() || suite.suite() == CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    };
    let cipher_suites = provider.cipher_suites.iter().copied().filter(permitted).collect();
    Arc::new(CryptoProvider { cipher_suites, ..provider.clone() })
}

/// What a failed handshake was, for whoever watches over the instance.
pub(crate) fn kind_of(error: &Error) -> RefusalKind {
    match error {
        Error::NoCertificatesPresented => RefusalKind::NoCertificate,
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => RefusalKind::UnknownCertificate,
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::NotValidYet) => {
            RefusalKind::CertificateNotValid
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => RefusalKind::StolenCertificate,
        _ => RefusalKind::Handshake,
    }
}
