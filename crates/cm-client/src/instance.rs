//! A connection to a confidential instance: TLS 1.3 that ends inside it, opened only to an instance that is what
//! the caller expects.

mod work;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cm_attest::{Claims, Evidence, Nonce};
use cm_instance::wire::{
    Data, Execute, FrameDecoder, FrameError, ReadFile, Request, RequestBody, RequestShutdown, Response,
    Status, append_frame,
};
use cm_instance::{ExecutionReport, PolicyText};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use work::Work;

use crate::trust::{Demand, Distrust, EvidenceJudge, Judged};
use crate::{Api, ClientError, Progress, Terms, Trust, VerifiedInstance};

/// How long to wait for the connection, and again for the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for an answer to anything but an execution.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How much longer than its deadline an execution may take to be reported.
const EXECUTE_GRACE: Duration = Duration::from_secs(30);
/// Bytes of file content in one request: large enough that framing costs nothing, small enough to overlap
/// sending, checking and storing.
const PIECE_BYTES: usize = 512 * 1024;
/// Requests that are sent before the answer to the first is awaited.
const PIPELINE_MAX: usize = 8;
/// Length of the challenge in bytes.
const NONCE_BYTES: usize = 32;

/// A certificate and its key, by which a policy knows the caller.
pub struct ClientIdentity {
    pub(crate) certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// What can go wrong on a connection to an instance.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// No connection, or it broke, or time ran out.
    #[error("connection")]
    Io(#[from] std::io::Error),
    /// The instance closed the connection during the handshake, as it does to certificates that its policy does
    /// not hold.
    #[error("the instance does not accept this certificate")]
    CertificateRefused(#[source] std::io::Error),
    /// The certificate or its key cannot be used.
    #[error("certificate or key")]
    Identity(#[from] rustls::Error),
    /// The certificate or its key cannot be read.
    #[error("certificate or key is unreadable")]
    UnreadableIdentity,
    /// The answer is no answer.
    #[error("protocol")]
    Frame(#[from] FrameError),
    /// The answer lacks what it should hold.
    #[error("the answer lacks {0}")]
    Incomplete(&'static str),
    /// The instance refused: the caller has not the right, or the request makes no sense.
    #[error("{message}")]
    Refused {
        /// The instance's status.
        status: Status,
        /// The instance's words.
        message: String,
    },
}

impl InstanceError {
    /// The exit code of a command that failed this way; see [`ClientError::exit_code`].
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            InstanceError::Io(_) => 6,
            InstanceError::CertificateRefused(_) | InstanceError::Refused { .. } => 3,
            InstanceError::Identity(_) | InstanceError::UnreadableIdentity => 2,
            InstanceError::Frame(_) | InstanceError::Incomplete(_) => 1,
        }
    }
}

impl ClientIdentity {
    /// Reads a certificate and its key from PEM.
    ///
    /// # Errors
    /// [`ClientError::OtherKey`] if the key is another certificate's, [`ClientError::Instance`] if either is unreadable.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<ClientIdentity, ClientError> {
        let unreadable = || ClientError::Instance {
            address: "none yet".to_owned(),
            source: InstanceError::UnreadableIdentity,
        };
        let certificate =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|_| unreadable())?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| unreadable())?;
        let identity = ClientIdentity { certificate, key };
        if identity.is_of_two() { Err(ClientError::OtherKey) } else { Ok(identity) }
    }

    /// Whether certificate and key are known not to belong together. What cannot be compared here, the instance judges.
    fn is_of_two(&self) -> bool {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let Ok(key) = provider.key_provider.load_private_key(self.key.clone_key()) else { return false };
        let certified = cm_crypto::cert::spki_der(&self.certificate);
        matches!((key.public_key(), certified), (Some(own), Ok(certified)) if own.as_ref() != certified)
    }
}

/// An open connection to an instance whose evidence was verified.
pub struct InstanceConnection {
    channel: InstanceChannel,
    verified: VerifiedInstance,
}

impl std::ops::Deref for InstanceConnection {
    type Target = InstanceChannel;

    fn deref(&self) -> &InstanceChannel {
        &self.channel
    }
}

impl std::ops::DerefMut for InstanceConnection {
    fn deref_mut(&mut self) -> &mut InstanceChannel {
        &mut self.channel
    }
}

/// What can be done with an instance, once it is believed.
pub struct InstanceChannel {
    stream: TlsStream<TcpStream>,
    decoder: FrameDecoder,
    /// The frame that is being sent. One buffer for all of them: large ones that are given back and taken anew
    /// cost more than encrypting them.
    frame: BytesMut,
    address: String,
}

impl Api {
    /// Verifies an instance and connects to it.
    ///
    /// In this order, and giving up at the first thing that is wrong: the policy text keeps the terms; the node
    /// issues evidence for a fresh nonce; the peer's TLS key, the text's hash and the nonce are those of the evidence,
    /// and the evidence is believed. The last happens within the handshake, before the certificate is shown.
    pub async fn open_instance(
        &self,
        id: &str,
        policy: &str,
        terms: &Terms,
        trust: &Trust,
        identity: &ClientIdentity,
    ) -> Result<InstanceConnection, ClientError> {
        let text = PolicyText::new(policy);
        let parsed = text.parse().map_err(Distrust::from)?;
        terms.check(&parsed).map_err(Distrust::from)?;
        self.open_text(id, &text, trust, identity).await
    }

    /// The same for an instance whose policy is accepted as it stands: the caller knows its text, or judges it itself.
    pub async fn open_text(
        &self,
        id: &str,
        text: &PolicyText,
        trust: &Trust,
        identity: &ClientIdentity,
    ) -> Result<InstanceConnection, ClientError> {
        let parsed = text.parse().map_err(Distrust::from)?;
        let address = parsed.veracruz_server_url.clone();
        let nonce = Nonce::from_bytes(cm_crypto::secret::random_bytes::<NONCE_BYTES>())
            .expect("the length is within the bounds of a nonce");
        let evidence = Evidence::from_text(self.instance_evidence(id, nonce.as_bytes()).await?);
        let demand = EvidenceJudge { trust: trust.clone(), evidence, nonce, policy_hash: text.hash() };
        let (channel, verified) = InstanceChannel::open(None, &address, text, demand, identity).await?;
        Ok(InstanceConnection { channel, verified })
    }
}

fn tls_config<D: Demand>(
    judged: &Arc<Judged<D>>,
    identity: &ClientIdentity,
) -> Result<rustls::ClientConfig, rustls::Error> {
    let config = cm_tls::client(judged.clone());
    // Not by the library's usual way, which refuses certificates of version 1. Whether certificate and key belong
    // together was judged when they were read.
    let key = config.crypto_provider().key_provider.load_private_key(identity.key.clone_key())?;
    let certified = CertifiedKey::new(vec![identity.certificate.clone()], key);
    let mut config = config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

async fn connect(address: &str) -> std::io::Result<TcpStream> {
    tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await.map_err(timed_out)?
}

async fn shake_hands(tcp: TcpStream, config: rustls::ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    tcp.set_nodelay(true)?;
    // No name is checked: the evidence is about the key, and says more than a name could.
    let name = ServerName::try_from("instance").expect("the constant is a valid name");
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    tokio::time::timeout(CONNECT_TIMEOUT, handshake).await.map_err(timed_out)?
}

fn timed_out(_: tokio::time::error::Elapsed) -> std::io::Error {
    std::io::ErrorKind::TimedOut.into()
}

impl InstanceConnection {
    /// What the evidence said.
    pub fn claims(&self) -> &Claims {
        &self.verified.claims
    }
}

impl InstanceChannel {
    /// A channel to the instance of a policy, over `tcp` or a new connection, if it fulfils the demand; and what is known of it
    /// then.
    pub(crate) async fn open<D: Demand>(
        tcp: Option<TcpStream>,
        address: &str,
        policy: &PolicyText,
        demand: D,
        identity: &ClientIdentity,
    ) -> Result<(Self, D::Belief), ClientError> {
        let failed = |source| ClientError::Instance { address: address.to_owned(), source };
        let judged = Arc::new(Judged::new(demand));
        let config = tls_config(&judged, identity).map_err(|error| failed(error.into()))?;
        let connected = async {
            let tcp = match tcp {
                Some(tcp) => tcp,
                None => connect(address).await?,
            };
            shake_hands(tcp, config).await
        };
        let connected = connected.await;
        let belief = match judged.verdict() {
            Some(verdict) => verdict?,
            None => {
                let error =
                    connected.err().unwrap_or_else(|| std::io::Error::other("no handshake took place"));
                return Err(failed(InstanceError::Io(error)));
            }
        };
        let stream = connected.map_err(|error| failed(InstanceError::Io(error)))?;
        let (decoder, frame, address) = (FrameDecoder::default(), BytesMut::new(), address.to_owned());
        let mut channel = Self { stream, decoder, frame, address };
        channel.prove_accepted(policy).await?;
        Ok((channel, belief))
    }

    /// In TLS 1.3 the client's side of the handshake ends before the server has judged the client's certificate.
    /// One exchange shows that it was accepted, and that the instance itself names the same policy.
    async fn prove_accepted(&mut self, policy: &PolicyText) -> Result<(), ClientError> {
        let body = RequestBody::RequestPolicyHash(cm_instance::wire::RequestPolicyHash {});
        let answer = match self.ask(body, ANSWER_TIMEOUT).await {
            Err(ClientError::Instance { address, source: InstanceError::Io(error) }) => {
                let source = InstanceError::CertificateRefused(error);
                return Err(ClientError::Instance { address, source });
            }
            answer => answer?,
        };
        let hash =
            answer.policy_hash.ok_or_else(|| self.failed(InstanceError::Incomplete("the policy hash")))?;
        if hash.data == policy.hash().to_string() {
            Ok(())
        } else {
            Err(self.failed(InstanceError::Incomplete("the policy hash that its evidence names")))
        }
    }

    fn failed(&self, source: InstanceError) -> ClientError {
        ClientError::Instance { address: self.address.clone(), source }
    }

    async fn send(&mut self, body: RequestBody) -> Result<(), InstanceError> {
        self.frame.clear();
        append_frame(&Request::from(body), &mut self.frame)?;
        self.stream.write_all(&self.frame).await?;
        Ok(())
    }

    async fn receive(&mut self, timeout: Duration) -> Result<Response, InstanceError> {
        let answer = async {
            self.stream.flush().await?;
            loop {
                if let Some(response) = self.decoder.next_message::<Response>()? {
                    return Ok::<Response, InstanceError>(response);
                }
                if self.stream.read_buf(self.decoder.buffer_mut()).await? == 0 {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                }
            }
        };
        let response = match tokio::time::timeout(timeout, answer).await {
            Ok(response) => response?,
            Err(_) => return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        };
        match response.status() {
            // The report says why a run failed; everything else that is no success is a refusal.
            Status::Success => Ok(response),
            _ if response.report.is_some() => Ok(response),
            status => {
                let message = response.error.map(|error| error.data).unwrap_or_default();
                let message =
                    if message.is_empty() { format!("refused with status {status:?}") } else { message };
                Err(InstanceError::Refused { status, message })
            }
        }
    }

    async fn ask(&mut self, body: RequestBody, timeout: Duration) -> Result<Response, ClientError> {
        let sent = self.send(body).await;
        let answer = match sent {
            Ok(()) => self.receive(timeout).await,
            Err(error) => Err(error),
        };
        answer.map_err(|source| self.failed(source))
    }

    /// Replaces the content of a file.
    pub async fn write_file(&mut self, name: &str, content: &[u8]) -> Result<(), ClientError> {
        self.write_stream(name, content, None).await
    }

    /// Replaces the content of a file by what `source` yields, in pieces, several of which are under way at a time.
    pub async fn write_stream(
        &mut self,
        name: &str,
        mut source: impl AsyncRead + Unpin,
        progress: Option<Progress>,
    ) -> Result<(), ClientError> {
        let (mut sent, mut unanswered, mut first) = (0u64, 0, true);
        let mut buffer = BytesMut::new();
        loop {
            let piece =
                read_piece(&mut source, &mut buffer).await.map_err(|error| self.failed(error.into()))?;
            if piece.is_empty() && !first {
                break;
            }
            sent += piece.len() as u64;
            let data = Data { file_name: name.to_owned(), data: piece };
            let body = if first { RequestBody::WriteFile(data) } else { RequestBody::AppendFile(data) };
            self.send(body).await.map_err(|source| self.failed(source))?;
            (first, unanswered) = (false, unanswered + 1);
            if unanswered == PIPELINE_MAX {
                self.receive(ANSWER_TIMEOUT).await.map_err(|source| self.failed(source))?;
                unanswered -= 1;
            }
            if let Some(progress) = &progress {
                progress(sent);
            }
        }
        for _ in 0..unanswered {
            self.receive(ANSWER_TIMEOUT).await.map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// The content of a file, fetched in pieces.
    pub async fn read_file(&mut self, name: &str) -> Result<Vec<u8>, ClientError> {
        let mut content = Vec::new();
        loop {
            let read = ReadFile {
                file_name: name.to_owned(),
                offset: content.len() as u64,
                length: PIECE_BYTES as u64,
            };
            let answer = self.ask(RequestBody::ReadFile(read), ANSWER_TIMEOUT).await?;
            let whole = answer.file_len.unwrap_or_default();
            let piece = answer.result.map(|result| result.data).unwrap_or_default();
            content.extend_from_slice(&piece);
            if content.len() as u64 >= whole {
                return Ok(content);
            }
            if piece.is_empty() {
                return Err(self.failed(InstanceError::Incomplete("the rest of the file")));
            }
        }
    }

    /// Runs a program and waits until it ends. How it ended is in the report; an error means that it is unknown.
    pub async fn execute(
        &mut self,
        program: &str,
        deadline: Duration,
    ) -> Result<ExecutionReport, ClientError> {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let body = RequestBody::Execute(Execute {
            file_name: program.to_owned(),
            deadline_ms,
            ..Execute::default()
        });
        let answer = self.ask(body, deadline + EXECUTE_GRACE).await?;
        let report = answer.report.ok_or_else(|| self.failed(InstanceError::Incomplete("the report")))?;
        report.unpack().map_err(|_| self.failed(InstanceError::Incomplete("a readable report")))
    }

    /// Asks the instance to end.
    pub async fn shut_down(&mut self) -> Result<(), ClientError> {
        self.ask(RequestBody::RequestShutdown(RequestShutdown {}), ANSWER_TIMEOUT).await.map(drop)
    }
}

/// Fills a piece as far as the source goes. The buffer's memory serves again once the piece before is gone.
async fn read_piece(source: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> std::io::Result<Bytes> {
    buffer.reserve(PIECE_BYTES);
    while buffer.len() < PIECE_BYTES {
        let room = PIECE_BYTES - buffer.len();
        if source.take(room as u64).read_buf(buffer).await? == 0 {
            break;
        }
    }
    Ok(buffer.split().freeze())
}
