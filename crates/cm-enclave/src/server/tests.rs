//! The door, tried from outside: real sockets, real TLS, and a host that holds plain bytes.

mod connections;
mod handshake;
mod posted;
mod refusals;

use std::collections::BTreeMap;
use std::time::SystemTime;

use cm_crypto::cert::CertificateAuthority;
use cm_instance::control::FromInstance;
use cm_instance::policy::{Certificate, FileRight};
use cm_instance::wire::{FrameDecoder, Request, RequestBody, Response, encode_frame};
use cm_instance::{
    ExecutionReport, FileName, FullPolicy, GuestPath, Infrastructure, InstanceClaims, Outcome, ProgramPolicy,
    Refused, Rights, UserPolicy, merge,
};
use cm_types::{Sha256Digest, Timestamp};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::{Value, json};
use std::sync::Mutex;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

pub(crate) const READ: u32 = 8198;
pub(crate) const WRITE: u32 = 533_572;
/// The longest file that a door here takes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The bytes whose hash the test policies demand of the program.
pub(crate) const PROGRAM: &[u8] = b"the program";

pub(crate) fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

type Execute = dyn Fn(&Fake, &GuestPath, Duration, &CancellationToken) -> ExecutionReport + Send + Sync;

type Files = Arc<Mutex<BTreeMap<GuestPath, Vec<u8>>>>;

/// Files as plain bytes, and a function in the place of programs.
pub(crate) struct Fake {
    pub(crate) files: Files,
    execute: Box<Execute>,
}

impl Fake {
    pub(crate) fn new(
        execute: impl Fn(&Fake, &GuestPath, Duration, &CancellationToken) -> ExecutionReport
        + Send
        + Sync
        + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { files: Arc::default(), execute: Box::new(execute) })
    }

    /// Every run ends like this at once.
    pub(crate) fn ending(outcome: Outcome) -> Arc<Self> {
        Self::new(move |_, _, _, _| ExecutionReport::before_start(outcome.clone()))
    }

    /// Every run tells that it began and lasts until it is cancelled.
    pub(crate) fn endless() -> (Arc<Self>, std::sync::mpsc::Receiver<GuestPath>) {
        let (begun, begins) = std::sync::mpsc::channel();
        let fake = Self::new(move |_, program, _, cancel| {
            begun.send(program.clone()).unwrap();
            futures::executor::block_on(cancel.cancelled());
            ExecutionReport::before_start(Outcome::Cancelled)
        });
        (fake, begins)
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        self.files.lock().unwrap().insert(path(name), bytes.to_vec());
    }

    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.files.lock().unwrap().get(&path(name)).cloned()
    }
}

impl Host for Fake {
    fn file_len(&self, path: &GuestPath) -> Option<u64> {
        self.files.lock().unwrap().get(path).map(|bytes| bytes.len() as u64)
    }

    fn read(&self, path: &GuestPath, offset: u64, len: usize) -> Result<Part, FileError> {
        let files = self.files.lock().unwrap();
        let bytes = files.get(path).ok_or(FileError::NotFound)?;
        let rest = bytes.get(offset as usize..).unwrap_or(&[]);
        let bytes_read = rest[..rest.len().min(len)].to_vec();
        Ok(Part { bytes: bytes_read.into(), file_len: bytes.len() as u64 })
    }

    fn write(&self, path: &GuestPath, bytes: &[u8], append: bool) -> Result<(), FileError> {
        let mut files = self.files.lock().unwrap();
        let file = files.entry(path.clone()).or_default();
        if !append {
            file.clear();
        }
        file.extend_from_slice(bytes);
        Ok(())
    }

    fn stage(&self, length: u64) -> Result<Box<dyn Staged>, FileError> {
        if length > FILE_BYTES_MAX {
            return Err(FileError::Full);
        }
        Ok(Box::new(Beside { files: self.files.clone(), bytes: Vec::new() }))
    }

    fn list(&self) -> Vec<(GuestPath, u64)> {
        let files = self.files.lock().unwrap();
        files.iter().map(|(path, bytes)| (path.clone(), bytes.len() as u64)).collect()
    }

    fn exists(&self, path: &GuestPath) -> bool {
        self.file_len(path).is_some()
    }

    fn execute(
        &self,
        path: &GuestPath,
        arguments: &[String],
        time_max: Duration,
        cancel: &CancellationToken,
    ) -> ExecutionReport {
        if !arguments.is_empty() {
            self.put("arguments", arguments.join(" ").as_bytes());
        }
        (self.execute)(self, path, time_max, cancel)
    }
}

/// Bytes that are no file yet.
struct Beside {
    files: Files,
    bytes: Vec<u8>,
}

impl Staged for Beside {
    fn push(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(self: Box<Self>, path: &GuestPath, append: bool) -> Result<(), FileError> {
        let mut files = self.files.lock().unwrap();
        let file = files.entry(path.clone()).or_default();
        if !append {
            file.clear();
        }
        file.extend_from_slice(&self.bytes);
        Ok(())
    }
}

/// A certificate of the kind that policies name, with its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pub(crate) pem: String,
}

impl Identity {
    /// One that holds from one year to another, with a key of an algorithm.
    fn made(algorithm: &'static rcgen::SignatureAlgorithm, years: (i32, i32)) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }

    /// One of version 1 with an RSA key, as `openssl x509 -req -signkey` makes it.
    fn of_version_1() -> Self {
        let pem = include_str!("tests/fixtures/v1.crt").to_owned();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tests/fixtures/v1.key")).unwrap();
        Self { certificate: CertificateDer::from_pem_slice(pem.as_bytes()).unwrap(), key, pem }
    }

    pub(crate) fn new() -> Self {
        Self::made(&rcgen::PKCS_ED25519, (2020, 2200))
    }
}

/// A full policy of one program, `program.wasm`, that reads `input-0` and writes `output`, and of these
/// identities with their rights.
pub(crate) fn policy(identities: &[(&Identity, &[(&str, u32)])]) -> FullPolicy {
    policy_of(PROGRAM, identities)
}

/// The same with other bytes as its program.
pub(crate) fn policy_of(program: &[u8], identities: &[(&Identity, &[(&str, u32)])]) -> FullPolicy {
    let unentitled: Vec<Value> = identities
        .iter()
        .map(|(identity, _)| json!({ "certificate": identity.pem, "file_rights": [] }))
        .collect();
    let program = json!({
        "function": "f", "execution_strategy": "Interpretation",
        "programs": [{
            "id": 0, "pi_hash": cm_crypto::digest::sha256(program), "program_file_name": "program.wasm",
            "file_rights": [
                { "file_name": "input-0", "rights": READ }, { "file_name": "output", "rights": WRITE },
            ] }],
    });
    let user = json!({ "function": "f", "instanceid": "i", "identities": unentitled });
    let now = Timestamp::from(SystemTime::now());
    let infrastructure = Infrastructure {
        server_url: "127.0.0.1:1".into(),
        measurement: Sha256Digest::from_bytes([1; 32]),
        node_certificate: Certificate::parse(Identity::new().pem).unwrap(),
        attestation_url: "127.0.0.1:2".into(),
        expiry: now.after(Duration::from_secs(3600)),
        enable_clock: false,
        max_memory_mib: 64,
    };
    let program = ProgramPolicy::parse(program.to_string().as_bytes()).unwrap();
    let user = UserPolicy::parse(user.to_string().as_bytes()).unwrap();
    let mut policy = merge(&program, &user, &infrastructure).unwrap();
    // Given afterwards, so that tests may name files that the function does not have.
    for (entry, (_, rights)) in policy.identities.iter_mut().zip(identities) {
        let right = |&(name, rights): &(&str, u32)| FileRight {
            file_name: FileName::parse(name).unwrap(),
            rights: Rights::from_bits(rights.into()).unwrap(),
        };
        entry.file_rights = rights.iter().map(right).collect();
    }
    policy.validate().unwrap();
    policy
}

/// Refusals as they are told.
#[derive(Default)]
pub(crate) struct Hearing {
    told: Mutex<Vec<Refused>>,
    more: Notify,
}

pub(crate) type Heard = Arc<Hearing>;

/// Something to tell refusals to.
pub(crate) fn listening() -> (Arc<Refusals>, Heard) {
    let heard = Heard::default();
    let refusals = Refusals::new({
        let heard = heard.clone();
        Box::new(move |message| {
            let FromInstance::Refused(refused) = message else { return };
            heard.told.lock().unwrap().push(refused);
            heard.more.notify_one();
        })
    });
    (Arc::new(refusals), heard)
}

/// What the service answers to, over a fake host.
pub(crate) fn service(policy: FullPolicy, host: Arc<Fake>) -> (Arc<Service>, CancellationToken) {
    service_telling(policy, host, listening().0)
}

/// The same, with somebody who is told of refusals.
pub(crate) fn service_telling(
    policy: FullPolicy,
    host: Arc<Fake>,
    refusals: Arc<Refusals>,
) -> (Arc<Service>, CancellationToken) {
    let stop = CancellationToken::new();
    let runs = Runs::new(host.clone(), Arc::new(|_| {}), stop.clone());
    let hash = policy.to_text().hash();
    let time_max = Duration::from_secs(3600);
    let service = Service::new(host, runs, refusals, policy, hash, time_max, stop.clone());
    (Arc::new(service), stop)
}

/// How a client that believes every server connects.
fn client_config(
    identity: Option<&Identity>,
    version: &'static rustls::SupportedProtocolVersion,
) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(handshake::Credulous));
    match identity {
        Some(identity) => {
            // Not by the usual way, which knows no certificate of version 1.
            let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&identity.key).unwrap();
            let certified = rustls::sign::CertifiedKey::new(vec![identity.certificate.clone()], key);
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
        }
        None => builder.with_no_client_auth(),
    }
}

/// A server on a port of this machine.
struct Door {
    address: std::net::SocketAddr,
    tasks: Tasks,
    server: Arc<Server>,
    heard: Heard,
    /// The certificate that it presents, and that of its authority.
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
}

impl Door {
    fn open(policy: FullPolicy, host: Arc<Fake>, connections_max: usize) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pinned = policy.identities.iter().map(|known| (known.id, known.certificate.der().to_vec()));
        let identities = Arc::new(Identities::pin(pinned, provider).unwrap());
        let key = InstanceKey::generate().unwrap();
        let now = Timestamp::from(SystemTime::now());
        let until = now.after(Duration::from_secs(3600));
        let authority = CertificateAuthority::create("CA", now, Duration::from_secs(7200)).unwrap();
        let measurement = Sha256Digest::from_bytes([1; 32]);
        let claims = InstanceClaims { measurement, policy_hash: policy.to_text().hash() };
        let certificate = claims.certify(&authority, key.spki_der(), now, until).unwrap();
        let certificate = CertificateDer::from(certificate);
        let doors = key.doors(vec![certificate.clone()], &identities, policy.ciphersuite).unwrap();
        let (refusals, heard) = listening();
        let service = service_telling(policy, host, refusals.clone()).0;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let tasks = Tasks::new();
        let allowed = Allowed { connections: connections_max, file_bytes: FILE_BYTES_MAX };
        let server = Arc::new(Server::new(doors, identities, service, refusals, allowed));
        let accepting = tasks.clone();
        let serving = server.clone();
        tasks.spawn("accept", async move { serving.accept(listener, &accepting).await });
        let authority = CertificateDer::from(authority.certificate_der().to_vec());
        Self { address, tasks, server, heard, certificate, authority }
    }

    /// Waits until a refusal of this kind was told, and returns it.
    async fn refused(&self, kind: RefusalKind) -> Refused {
        let told = async {
            loop {
                let told =
                    self.heard.told.lock().unwrap().iter().find(|refused| refused.kind == kind).cloned();
                match told {
                    Some(refused) => return refused,
                    None => self.heard.more.notified().await,
                }
            }
        };
        let told = timeout(2 * TRANSFER_TIMEOUT, told).await;
        told.unwrap_or_else(|_| panic!("{kind:?} was not told, only {:?}", self.heard.told.lock().unwrap()))
    }

    async fn connect(&self, identity: Option<&Identity>) -> io::Result<Client> {
        self.connect_with(identity, &rustls::version::TLS13).await
    }

    async fn connect_with(
        &self,
        identity: Option<&Identity>,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> io::Result<Client> {
        let config = client_config(identity, version);
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("instance").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Client { stream, decoder: FrameDecoder::default() })
    }
}

/// A connection that has said its side of the handshake. Whether it was believed shows at the first answer.
struct Client {
    stream: TlsStream<TcpStream>,
    decoder: FrameDecoder,
}

impl Client {
    async fn send(&mut self, body: RequestBody) -> io::Result<()> {
        let frame = encode_frame(&Request::from(body)).unwrap();
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    async fn receive(&mut self) -> io::Result<Response> {
        loop {
            if let Some(response) = self.decoder.next_message().unwrap() {
                return Ok(response);
            }
            if self.stream.read_buf(self.decoder.buffer_mut()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn ask(&mut self, body: RequestBody) -> io::Result<Response> {
        self.send(body).await?;
        self.receive().await
    }
}
