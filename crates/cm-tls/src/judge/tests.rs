use cm_crypto::cert::{self, IssuedCertificate};
use rustls::CertificateError;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::Pinned;

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn identity(from: Timestamp) -> IssuedCertificate {
    cert::generate_identity("somebody", from, HOUR).unwrap()
}

fn pinned(identity: &IssuedCertificate) -> Arc<Pinned> {
    Arc::new(Pinned::new(identity.certificate_der.clone()).unwrap())
}

fn chain(identity: &IssuedCertificate) -> Vec<CertificateDer<'static>> {
    vec![identity.certificate_der.clone().into()]
}

fn key(identity: &IssuedCertificate) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.private_key_der.expose().as_slice())).clone_key()
}

/// How a handshake ended, for the client and for the server.
async fn meet(client: ClientConfig, server: ServerConfig) -> (Result<(), Error>, Result<(), Error>) {
    let (near, far) = tokio::io::duplex(1 << 14);
    let name = ServerName::try_from("nobody.invalid").unwrap();
    let (connected, accepted) = tokio::join!(
        TlsConnector::from(Arc::new(client)).connect(name, near),
        TlsAcceptor::from(Arc::new(server)).accept(far)
    );
    let told = |error: std::io::Error| error.downcast::<Error>().unwrap();
    (connected.map(drop).map_err(told), accepted.map(drop).map_err(told))
}

/// What a client says of a server with `identity`, whose clients may be anything.
async fn called(expected: Arc<impl Judge>, identity: &IssuedCertificate) -> Result<(), Error> {
    let (caller, own) = (self::identity(now()), identity);
    let client = client(expected).with_client_auth_cert(chain(&caller), key(&caller)).unwrap();
    let server = server(pinned(&caller)).with_single_cert(chain(own), key(own)).unwrap();
    meet(client, server).await.0
}

/// What a server says of a client with `identity`.
async fn answered(expected: Arc<impl Judge>, identity: &IssuedCertificate) -> Result<(), Error> {
    let own = self::identity(now());
    let client = client(pinned(&own)).with_client_auth_cert(chain(identity), key(identity)).unwrap();
    let server = server(expected).with_single_cert(chain(&own), key(&own)).unwrap();
    meet(client, server).await.1
}

#[tokio::test]
async fn either_end_takes_only_the_pinned_certificate_while_it_holds() {
    let (known, stranger) = (identity(now()), identity(now()));
    let before = identity(Timestamp::from(SystemTime::now() - HOUR * 2));
    let later = identity(now().after(HOUR));
    for (expected, shown, outcome) in [
        (&known, &known, Ok(())),
        (&known, &stranger, Err(CertificateError::UnknownIssuer.into())),
        (&before, &before, Err(CertificateError::Expired.into())),
        (&later, &later, Err(CertificateError::NotValidYet.into())),
    ] {
        assert_eq!(called(pinned(expected), shown).await, outcome);
        assert_eq!(answered(pinned(expected), shown).await, outcome);
    }
}

/// Certificates are public: whoever shows one must hold its key.
#[tokio::test]
async fn a_copied_certificate_is_worth_nothing() {
    let (known, thief) = (identity(now()), identity(now()));
    let resolver = |certificate: &IssuedCertificate, holder: &IssuedCertificate| {
        let key = aws_lc_rs::sign::any_supported_type(&key(holder)).unwrap();
        Arc::new(rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(
            chain(certificate),
            key,
        )))
    };
    let bad = Err(CertificateError::BadSignature.into());
    let own = identity(now());

    let caller = client(pinned(&own)).with_client_cert_resolver(resolver(&known, &thief));
    let called = server(pinned(&known)).with_single_cert(chain(&own), key(&own)).unwrap();
    assert_eq!(meet(caller, called).await.1, bad);

    let caller = client(pinned(&known)).with_client_auth_cert(chain(&own), key(&own)).unwrap();
    let called = server(pinned(&own)).with_cert_resolver(resolver(&known, &thief));
    assert_eq!(meet(caller, called).await.0, bad);
}

#[tokio::test]
async fn a_server_that_is_not_believed_never_sees_the_client() {
    let (own, caller, stranger) = (identity(now()), identity(now()), identity(now()));
    let client = client(pinned(&stranger)).with_client_auth_cert(chain(&caller), key(&caller)).unwrap();
    let server = server(pinned(&caller)).with_single_cert(chain(&own), key(&own)).unwrap();
    let (refused, told) = meet(client, server).await;
    assert_eq!(refused, Err(CertificateError::UnknownIssuer.into()));
    assert!(matches!(told, Err(Error::AlertReceived(_))), "the server got past its own part: {told:?}");
}
