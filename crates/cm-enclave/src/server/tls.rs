//! Who may connect: TLS 1.3 with the instance's own key, and clients whose certificates are those of the
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

use cm_crypto::cert::CertificateSpec;
use cm_crypto::{CryptoError, cert};
use cm_types::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, ServerConfig,
    SignatureScheme,
};

/// Subject of the certificate. Clients compare the key with evidence, never this name.
const COMMON_NAME: &str = "CryptoMesh instance";

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The key or a certificate could not be made or read.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
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

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
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
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl InstanceKey {
    /// A new ECDSA P-256 key with a self-signed certificate that holds for so long.
    pub(crate) fn generate(now: SystemTime, valid_for: Duration) -> Result<Self, TlsError> {
        let spec = CertificateSpec::new(COMMON_NAME, now.into(), valid_for);
        let issued = cert::self_signed(&spec)?;
        let certificate = CertificateDer::from(issued.certificate_der);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.private_key_der.expose().as_slice()))
            .clone_key();
        Ok(Self { certificate, key })
    }

    /// The certificate in DER.
    pub(crate) fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The public key in DER: what evidence binds and clients pin.
    pub(crate) fn spki_der(&self) -> Result<Vec<u8>, CryptoError> {
        cert::spki_der(&self.certificate)
    }

    /// The configuration of the server: TLS 1.3 only, every connection a full handshake with a client
    /// certificate, so that no ticket outlives the certificate's validity.
    pub(crate) fn server_config(self, identities: Arc<Identities>) -> Result<ServerConfig, TlsError> {
        let provider = identities.provider.clone();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(identities)
            .with_single_cert(vec![self.certificate], self.key)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(config)
    }
}
