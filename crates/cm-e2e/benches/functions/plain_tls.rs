//! The reference for provisioning: bytes over TLS 1.3 into another process, and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cm_crypto::cert::{CertificateAuthority, CertificateSpec};
use cm_types::Timestamp;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use cm_e2e::measure::Outcome;

/// The word that makes this executable the receiving end of one stream.
pub(crate) const RECEIVER: &str = "plain-tls-receiver";

const HOST: &str = "localhost";
const VALID_FOR: Duration = Duration::from_secs(3600);
/// Bytes written at once, as much as the client of an instance sends in one piece.
const PIECE_BYTES: usize = 512 * 1024;
/// Bytes read at once, and the size of the pieces in which they are kept.
const BUFFER_BYTES: usize = 64 * 1024;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// They are copied into memory.
    Stores = 1,
    /// They are read.
    Discards = 0,
}

/// One stream.
pub(crate) struct Sent {
    /// From the first byte to the receiver's answer.
    pub(crate) time: Duration,
    /// What was negotiated.
    pub(crate) suite: String,
}

/// The receiving end, as a process: says its port and certificate authority, takes one stream, answers, ends.
pub(crate) fn receive() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let now = Timestamp::from(SystemTime::now());
        let authority = CertificateAuthority::create("benchmark", now, VALID_FOR)?;
        let mut spec = CertificateSpec::new(HOST, now, VALID_FOR);
        spec.dns_names.push(HOST.to_owned());
        let issued = authority.issue(&spec)?;
        let key = PrivatePkcs8KeyDer::from(issued.private_key_der.expose().clone());
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![issued.certificate_der.into()], PrivateKeyDer::from(key))?;
        let listener = TcpListener::bind((HOST, 0)).await?;
        let mut out = std::io::stdout();
        let authority: String =
            authority.certificate_der().iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(out, "{} {authority}", listener.local_addr()?.port())?;
        out.flush()?;
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
        let stores = stream.read_u8().await? == Receiver::Stores as u8;
        let mut left = usize::try_from(stream.read_u64().await?)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut kept: Vec<Vec<u8>> = Vec::new();
        while left > 0 {
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                return Err("the stream ended early".into());
            }
            left -= read;
            if stores {
                kept.push(buffer[..read].to_vec());
            }
        }
        stream.write_u8(u8::from(stores)).await?;
        stream.shutdown().await?;
        Ok(())
    })
}

/// Sends bytes to a new receiver.
pub(crate) async fn send(content: &[u8], receiver: Receiver) -> Outcome<Sent> {
    let mut child = Command::new("/proc/self/exe")
        .arg(RECEIVER)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("standard output is piped")?).read_line(&mut line)?;
    let (port, authority) = line.trim().split_once(' ').ok_or("the receiver did not start")?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(bytes_of(authority)?))?;
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect((HOST, port.parse::<u16>()?)).await?;
    stream.set_nodelay(true)?;
    let mut stream =
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(HOST)?, stream).await?;
    stream.write_u8(receiver as u8).await?;
    stream.write_u64(content.len() as u64).await?;
    stream.flush().await?;
    let began = Instant::now();
    for piece in content.chunks(PIECE_BYTES) {
        stream.write_all(piece).await?;
    }
    stream.flush().await?;
    stream.read_u8().await?;
    let time = began.elapsed();
    let suite = stream.get_ref().1.negotiated_cipher_suite();
    let suite = suite.map_or_else(String::new, |suite| format!("{:?}", suite.suite()));
    child.wait()?;
    Ok(Sent { time, suite })
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn bytes_of(hexadecimal: &str) -> Outcome<Vec<u8>> {
    let digits = |at: usize| hexadecimal.get(at..at + 2).ok_or("half a byte");
    (0..hexadecimal.len()).step_by(2).map(|at| Ok(u8::from_str_radix(digits(at)?, 16)?)).collect()
}
