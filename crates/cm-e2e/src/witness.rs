//! What an instance shows of itself, for a test to judge.

use std::sync::{Arc, Mutex, PoisonError};

use cm_tls::Judge;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Keeps the certificates that it is shown, in DER, the peer's own first. It believes whatever it is shown, or hangs up.
#[derive(Debug)]
pub(crate) struct Witness {
    stays: bool,
    shown: Mutex<Vec<Vec<u8>>>,
}

impl Witness {
    /// One that stays in the connection.
    pub(crate) fn staying() -> Arc<Self> {
        Arc::new(Self { stays: true, shown: Mutex::default() })
    }

    /// What it was shown.
    pub(crate) fn shown(&self) -> Vec<Vec<u8>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Judge for Witness {
    fn judge(
        &self,
        peer: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<(), rustls::Error> {
        let chain = std::iter::once(peer).chain(intermediates).map(|certificate| certificate.to_vec());
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = chain.collect();
        if self.stays { Ok(()) } else { Err(rustls::Error::General("seen".to_owned())) }
    }
}

/// The certificates that the server at an address shows, in DER, its own first. The connection ends within the handshake: the
/// server learns nothing of the caller.
///
/// # Errors
/// Whatever stands against it, in words.
pub async fn certificates_at(address: &str) -> Result<Vec<Vec<u8>>, String> {
    let witness = Arc::new(Witness { stays: false, shown: Mutex::default() });
    let config = cm_tls::client(witness.clone()).with_no_client_auth();
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let name = ServerName::try_from("instance.invalid").map_err(|error| error.to_string())?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    match (connected, witness.shown()) {
        (Ok(_), _) => Err("it did not hang up".to_owned()),
        (Err(error), shown) if shown.is_empty() => Err(error.to_string()),
        (Err(_), shown) => Ok(shown),
    }
}
