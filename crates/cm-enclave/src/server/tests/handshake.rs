//! Who gets past the handshake.

use cm_instance::policy::Ciphersuite;
use cm_instance::wire::{RequestPolicyHash, Status};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::UnixTime;
use rustls::{DigitallySignedStruct, SignatureScheme};

use super::*;

/// A client that believes every server: what is tried here is the server.
#[derive(Debug)]
pub(super) struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn policy_hash() -> RequestBody {
    RequestBody::RequestPolicyHash(RequestPolicyHash {})
}

/// Whether somebody gets an answer from a server whose policy names `known`.
async fn answered(known: &Identity, caller: Option<&Identity>) -> bool {
    let policy = policy(&[(known, &[("output", READ)])]);
    let door = Door::open(policy, Fake::ending(Outcome::Completed), 4);
    let answer = async { door.connect(caller).await?.ask(policy_hash()).await };
    let answer = answer.await;
    assert!(answer.as_ref().is_ok_and(|answer| answer.status() == Status::Success) || answer.is_err());
    answer.is_ok()
}

#[tokio::test]
async fn the_holder_of_a_pinned_certificate_is_let_in_whatever_kind_its_key_is() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_RSA_SHA256] {
        let known = Identity::made(algorithm, (2020, 2200));
        assert!(answered(&known, Some(&known)).await, "{algorithm:?}");
    }
    let known = Identity::of_version_1();
    assert!(answered(&known, Some(&known)).await, "version 1");
    // Services take the line ends out of certificates, which changes nothing about who is meant.
    let flat = Identity { pem: known.pem.lines().collect(), ..Identity::of_version_1() };
    assert!(answered(&flat, Some(&known)).await, "without line ends");
}

#[tokio::test]
async fn the_certificate_leads_to_its_authority_and_says_what_the_instance_is() {
    let known = Identity::new();
    let policy = policy(&[(&known, &[("output", READ)])]);
    let policy_hash = policy.to_text().hash();
    let door = Door::open(policy, Fake::ending(Outcome::Completed), 4);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(door.authority.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![known.certificate.clone()], known.key.clone_key())
        .unwrap();
    let stream = TcpStream::connect(door.address).await.unwrap();
    let name = ServerName::try_from(cm_instance::certificate::DNS_NAME).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let presented = stream.get_ref().1.peer_certificates().unwrap().to_vec();
    assert_eq!(presented, std::slice::from_ref(&door.certificate));
    let expected = InstanceClaims { measurement: Sha256Digest::from_bytes([1; 32]), policy_hash };
    assert_eq!(InstanceClaims::read(&presented[0]), Ok(expected));
    let mut client = Client { stream, decoder: FrameDecoder::default() };
    let answer = client.ask(self::policy_hash()).await.unwrap();
    assert_eq!(answer.policy_hash.unwrap().data, policy_hash.to_string());
}

#[test]
fn a_certificate_for_another_key_opens_no_door() {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let identities = Arc::new(Identities::pin([], provider).unwrap());
    let other = Identity::new().certificate;
    for chain in [vec![], vec![other]] {
        let key = InstanceKey::generate().unwrap();
        let refused = key.doors(chain, &identities, Ciphersuite::Chacha20Poly1305);
        assert!(matches!(refused, Err(TlsError::OtherKey)));
    }
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let known = Identity::new();
    assert!(!answered(&known, None).await, "no certificate");
    assert!(!answered(&known, Some(&Identity::new())).await, "an unknown certificate of the same name");
    // The right certificate with another key: the certificate is public, its key is not.
    let thief = Identity { certificate: known.certificate.clone(), ..Identity::new() };
    let policy = policy(&[(&known, &[("output", READ)])]);
    let door = Door::open(policy, Fake::ending(Outcome::Completed), 4);
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous))
            .with_client_cert_resolver(Arc::new(Mismatched(thief)));
    let stream = TcpStream::connect(door.address).await.unwrap();
    let name = ServerName::try_from("instance").unwrap();
    let stolen = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let answer = match stolen {
        Ok(stream) => Client { stream, decoder: FrameDecoder::default() }.ask(policy_hash()).await,
        Err(error) => Err(error),
    };
    assert!(answer.is_err(), "a certificate was believed without its key");
}

/// Presents a certificate and signs with a key that is not its own.
#[derive(Debug)]
struct Mismatched(Identity);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl rustls::client::ResolvesClientCert for Mismatched {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&self.0.key).ok()?;
        Some(Arc::new(rustls::sign::CertifiedKey::new(vec![self.0.certificate.clone()], key)))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_pinned_certificate_counts_only_while_it_is_valid() {
    let expired = Identity::made(&rcgen::PKCS_ED25519, (2000, 2001));
    assert!(!answered(&expired, Some(&expired)).await, "an expired certificate was accepted");
    let early = Identity::made(&rcgen::PKCS_ED25519, (2190, 2200));
    assert!(!answered(&early, Some(&early)).await, "a certificate was accepted before its time");
}

#[tokio::test]
async fn older_tls_is_refused() {
    let known = Identity::new();
    let policy = policy(&[(&known, &[("output", READ)])]);
    let door = Door::open(policy, Fake::ending(Outcome::Completed), 4);
    assert!(door.connect_with(Some(&known), &rustls::version::TLS12).await.is_err());
    assert!(door.connect_with(Some(&known), &rustls::version::TLS13).await.is_ok());
}
