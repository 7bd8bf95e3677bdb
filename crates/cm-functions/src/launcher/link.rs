//! The connection between a node and the agent beside a remote instance.
//!
//! TLS 1.3, and nothing that depends on names or authorities: for every instance the node makes two key pairs that exist
//! for this one link, hands one of them to the agent over the platform's own way (a Secret, an upload into a container that has
//! not started), and each end takes exactly the other's certificate, byte for byte. Behind the handshake the agent says what it
//! measured of the executable that it will start; then the bytes of the instance's own protocol go through unchanged.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cm_crypto::cert::{self, IssuedCertificate};
use cm_crypto::{CryptoError, Secret};
use cm_instance::control::{self, ControlError, HEADER_LEN};
use cm_tls::Pinned;
use cm_types::{Sha256Digest, Timestamp};
use rustls::Error;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// The agent's certificate, within the directory of its credentials.
pub(super) const AGENT_CERTIFICATE: &str = "agent.crt";
/// The agent's private key, likewise.
pub(super) const AGENT_KEY: &str = "agent.key";
/// The node's certificate, likewise.
pub(super) const NODE_CERTIFICATE: &str = "node.crt";
/// Longest greeting, in bytes.
const HELLO_LEN_MAX: usize = 4096;
/// For a handshake and the greeting.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that vanished without a word is noticed after about half a minute.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_COUNT: u32 = 3;
/// The name that the node asks for; certificates are compared whole, so it says nothing.
const SERVER_NAME: &str = "agent.cryptomesh.invalid";

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The connection could not be made, or broke.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The credentials cannot be used.
    #[error("the credentials cannot be used")]
    Credentials(#[from] CryptoError),
    /// TLS cannot be set up with the credentials.
    #[error("TLS cannot be set up")]
    Tls(#[from] Error),
    /// The greeting is none.
    #[error("the agent's greeting cannot be understood")]
    Hello(#[from] ControlError),
    /// The other end did not answer in time.
    #[error("the other end did not answer in time")]
    Timeout,
    /// The agent would run another program than the policy names.
    #[error(
        "the image holds an executable with the measurement {found}, and policies name {expected}; use an image of this node's release"
    )]
    Measurement {
        /// What policies name.
        expected: Sha256Digest,
        /// What the agent measured.
        found: Sha256Digest,
    },
}

/// What the agent says first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello {
    /// SHA-256 of the executable that the instance will be.
    measurement: Sha256Digest,
}

/// The credentials of one link.
pub(super) struct Credentials {
    node: IssuedCertificate,
    agent: IssuedCertificate,
}

impl Credentials {
    /// New key pairs for a link that lasts no longer than this.
    pub(super) fn generate(now: Timestamp, valid_for: Duration) -> Result<Self, CryptoError> {
        Ok(Self {
            node: cert::generate_identity("CryptoMesh node", now, valid_for)?,
            agent: cert::generate_identity("CryptoMesh instance agent", now, valid_for)?,
        })
    }

    /// The files that the agent reads, by name.
    pub(super) fn agent_files(&self) -> [(&'static str, Secret<String>); 3] {
        [
            (AGENT_CERTIFICATE, Secret::new(self.agent.certificate_pem())),
            (AGENT_KEY, self.agent.private_key_pem()),
            (NODE_CERTIFICATE, Secret::new(self.node.certificate_pem())),
        ]
    }

    /// The node's end.
    pub(super) fn connector(&self) -> Result<Connector, LinkError> {
        let pinned = Pinned::new(self.agent.certificate_der.clone())?;
        let key = private_key(&self.node.private_key_der);
        let chain = vec![CertificateDer::from(self.node.certificate_der.clone())];
        let config = cm_tls::client(Arc::new(pinned)).with_client_auth_cert(chain, key)?;
        Ok(Connector(TlsConnector::from(Arc::new(config))))
    }
}

/// The node's end of a link that is to be made.
pub(super) struct Connector(TlsConnector);

impl Connector {
    /// Greets the agent at the other end of a connection. It must run the measured executable.
    pub(super) async fn greet(
        &self,
        stream: TcpStream,
        expected: Sha256Digest,
    ) -> Result<client::TlsStream<TcpStream>, LinkError> {
        let greeting = async {
            keep_alive(&stream)?;
            let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
            let mut stream = self.0.connect(name, stream).await?;
            let Hello { measurement: found } = hello(&mut stream).await?;
            if found == expected { Ok(stream) } else { Err(LinkError::Measurement { expected, found }) }
        };
        tokio::time::timeout(HANDSHAKE_TIMEOUT, greeting).await.map_err(|_| LinkError::Timeout)?
    }
}

/// The agent's end.
pub(super) struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// Reads the credentials from their directory. Blocks for the reading of three small files.
    pub(super) fn open(dir: &Path) -> Result<Self, LinkError> {
        let read = |name: &str| std::fs::read_to_string(dir.join(name));
        let key = Secret::new(read(AGENT_KEY)?);
        let key = PrivatePkcs8KeyDer::from_pem_slice(key.expose().as_bytes())
            .map_err(|_| CryptoError::Pem("PRIVATE KEY"))?;
        let chain = vec![CertificateDer::from(cert::pem_to_der(&read(AGENT_CERTIFICATE)?)?)];
        let pinned = Pinned::new(cert::pem_to_der(&read(NODE_CERTIFICATE)?)?)?;
        let mut config =
            cm_tls::server(Arc::new(pinned)).with_single_cert(chain, PrivateKeyDer::from(key))?;
        config.send_tls13_tickets = 0;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Takes a connection if it is the node's, and says what was measured.
    pub(super) async fn welcome(
        &self,
        stream: TcpStream,
        measurement: Sha256Digest,
    ) -> Result<server::TlsStream<TcpStream>, LinkError> {
        let welcome = async {
            keep_alive(&stream)?;
            let mut stream = self.0.accept(stream).await?;
            stream.write_all(&control::encode(&Hello { measurement })?).await?;
            stream.flush().await?;
            Ok(stream)
        };
        tokio::time::timeout(HANDSHAKE_TIMEOUT, welcome).await.map_err(|_| LinkError::Timeout)?
    }
}

async fn hello(stream: &mut (impl AsyncRead + Unpin)) -> Result<Hello, LinkError> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).await?;
    let mut text = vec![0; control::announced(header, HELLO_LEN_MAX)?];
    stream.read_exact(&mut text).await?;
    Ok(control::decode(&text)?)
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    Ok(sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?)
}

fn private_key(der: &Secret<Vec<u8>>) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der.expose().as_slice())).clone_key()
}

#[cfg(test)]
mod tests;
