//! What one end demands of the other.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cm_types::Timestamp;
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WantsServerCert;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    ServerConfig, SignatureScheme,
};

/// Decides about the other end by the certificate that it shows.
pub trait Judge: fmt::Debug + Send + Sync + 'static {
    /// Whether the other end is who it must be. That it holds the key of `peer` is proved afterwards by the handshake's
    /// signature. No name is compared, and nothing has looked at dates or chains before.
    ///
    /// # Errors
    /// What the handshake fails with.
    fn judge(
        &self,
        peer: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error>;
}

/// The beginning of a client's configuration: TLS 1.3 to servers that the judge accepts.
pub fn client<J: Judge>(judge: Arc<J>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new(judge, &provider);
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
}

/// The beginning of a server's configuration: TLS 1.3 with clients that show a certificate, and that the judge accepts.
pub fn server<J: Judge>(judge: Arc<J>) -> ConfigBuilder<ServerConfig, WantsServerCert> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new(judge, &provider);
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .with_client_cert_verifier(Arc::new(verifier))
}

/// The moment of a handshake.
pub fn timestamp(now: UnixTime) -> Timestamp {
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs()))
}

/// TLS 1.2 was never offered.
const TLS12: PeerMisbehaved = PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme;

/// Either end's view of a [`Judge`].
#[derive(Debug)]
struct Verifier<J> {
    judge: Arc<J>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<J> Verifier<J> {
    fn new(judge: Arc<J>, provider: &CryptoProvider) -> Self {
        Self { judge, algorithms: provider.signature_verification_algorithms }
    }
}

/// What both of the library's traits ask alike: whether the other end holds the key of the certificate.
macro_rules! proofs {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(TLS12.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

impl<J: Judge> ServerCertVerifier for Verifier<J> {
    fn verify_server_cert(
        &self,
        peer: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge.judge(peer, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    proofs!();
}

impl<J: Judge> ClientCertVerifier for Verifier<J> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        peer: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge.judge(peer, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    proofs!();
}

#[cfg(test)]
mod tests;
