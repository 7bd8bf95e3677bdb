//! The client of the first era, written from its description alone: TLS 1.2 with one cipher suite, its records posted one by one
//! over HTTP, and messages of protobuf without anything before them.
//!
//! As that client did, it believes whom the policy's authority certified, insists on the name that every instance had, and
//! compares the measurement in the certificate with the policy.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, ClientConnection, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Answer;
use crate::veracruz_client::{decode, field, said};

/// How long one exchange may take: programs may have to be compiled by an unoptimised build.
const PATIENCE: Duration = Duration::from_secs(120);
/// The one name of all instances.
const NAME: &str = "ComputeEnclave.dev";
/// The extension with the measurement: its object identifier in DER.
const MEASUREMENT: [u8; 5] = [0x06, 0x03, 0x55, 0x1e, 0x01];
/// Most bytes of records in one post.
const POST_LEN_MAX: usize = 1 << 20;

/// A session with an instance.
pub struct PostingClient {
    address: String,
    policy: Value,
    tls: ClientConnection,
    session: u32,
}

impl PostingClient {
    /// A session that is not begun yet, with the instance of a full policy.
    ///
    /// # Errors
    /// Whatever stands against it, in words.
    pub fn new(policy: &str, certificate_pem: &str, key_pem: &str) -> Result<Self, String> {
        let policy: Value = serde_json::from_str(policy).map_err(said)?;
        let address = policy["veracruz_server_url"].as_str().ok_or("the policy has no address")?.to_owned();
        let authority = policy["proxy_service_cert"].as_str().ok_or("the policy has no authority")?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).map_err(said)?).map_err(said)?;
        let mut provider = aws_lc_rs::default_provider();
        let suite = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
        provider.cipher_suites.retain(|found| found.suite() == suite);
        let provider: Arc<CryptoProvider> = provider.into();
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(said)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(said)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .map_err(said)?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .map_err(said)?;
        let name = ServerName::try_from(NAME).map_err(said)?;
        let mut tls = ClientConnection::new(Arc::new(config), name).map_err(said)?;
        tls.set_buffer_limit(None);
        Ok(Self { address, policy, tls, session: 0 })
    }

    /// What that client did before anything else: compares the policy's hash and the measurement.
    ///
    /// # Errors
    /// If one of them is another, and the connection's.
    pub async fn check(&mut self, policy_hash: &str) -> Result<(), String> {
        let answer = self.ask(10, &[]).await?;
        if answer.policy_hash.as_deref() != Some(policy_hash) {
            return Err(format!("another policy: {answer:?}"));
        }
        let certificate =
            self.tls.peer_certificates().and_then(|chain| chain.first()).ok_or("no certificate")?;
        let der = certificate.as_ref();
        let at = der.windows(MEASUREMENT.len()).position(|bytes| bytes == MEASUREMENT);
        // Behind the identifier stands an OCTET STRING of 32 bytes; an extension that is not critical says nothing else.
        let value = at.and_then(|at| der.get(at + MEASUREMENT.len()..)).and_then(|rest| rest.get(..34));
        let Some([0x04, 32, measurement @ ..]) = value else { return Err("no measurement".to_owned()) };
        let named = ["runtime_manager_hash_nitro", "runtime_manager_hash_sgx", "runtime_manager_hash_tz"];
        let measurement: String = measurement.iter().map(|byte| format!("{byte:02x}")).collect();
        if named.iter().any(|name| self.policy[name] == measurement.as_str()) {
            Ok(())
        } else {
            Err(format!("another measurement: {measurement}"))
        }
    }

    /// Writes a file.
    ///
    /// # Errors
    /// The connection's.
    pub async fn write(&mut self, file: &str, data: &[u8]) -> Result<Answer, String> {
        self.ask(2, &[field(1, file.as_bytes()), field(2, data)].concat()).await
    }

    /// Asks for the result of a program, which runs if it has to.
    ///
    /// # Errors
    /// The connection's.
    pub async fn results(&mut self, program: &str) -> Result<Answer, String> {
        self.ask(5, &field(1, program.as_bytes())).await
    }

    /// Shuts the instance down.
    ///
    /// # Errors
    /// The connection's.
    pub async fn shut_down(&mut self) -> Result<Answer, String> {
        self.ask(8, &[]).await
    }

    async fn ask(&mut self, request: u64, body: &[u8]) -> Result<Answer, String> {
        self.tls.writer().write_all(&field(request, body)).map_err(said)?;
        loop {
            let mut records = Vec::new();
            while self.tls.wants_write() && records.len() < POST_LEN_MAX {
                self.tls.write_tls(&mut records).map_err(said)?;
            }
            if records.is_empty() {
                return Err("nothing more to say, and no answer".to_owned());
            }
            let body = format!("{} {}", self.session, STANDARD.encode(&records));
            let answer = self.post(&body).await?;
            let mut items = answer.split_whitespace();
            if let Some(session) = items.next() {
                self.session = session.parse().map_err(said)?;
            }
            let mut plain = Vec::new();
            for item in items {
                let record = STANDARD.decode(item).map_err(said)?;
                // One call for each item: that client lost whatever a call left over.
                if self.tls.read_tls(&mut record.as_slice()).map_err(said)? < record.len() {
                    return Err("an item of more than one record".to_owned());
                }
                self.tls.process_new_packets().map_err(said)?;
                // What has not arrived yet is no error.
                let _ = self.tls.reader().read_to_end(&mut plain);
            }
            if !plain.is_empty() {
                return decode(&plain);
            }
        }
    }

    /// One post on a connection of its own.
    async fn post(&self, body: &str) -> Result<String, String> {
        let posting = async {
            let mut stream = TcpStream::connect(&self.address).await.map_err(said)?;
            let length = body.len();
            let head = format!(
                "POST /runtime_manager HTTP/1.1\r\naccept: */*\r\nhost: {}\r\ncontent-length: {length}\r\n\r\n",
                self.address
            );
            stream.write_all(head.as_bytes()).await.map_err(said)?;
            stream.write_all(body.as_bytes()).await.map_err(said)?;
            let mut answer = Vec::new();
            loop {
                let text = std::str::from_utf8(&answer).map_err(said)?;
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                    let length: usize = length.ok_or("an answer without a length")?.parse().map_err(said)?;
                    if !head.starts_with("HTTP/1.1 200 ") {
                        return Err(text.to_owned());
                    }
                    if body.len() >= length {
                        return Ok(body.to_owned());
                    }
                }
                if stream.read_buf(&mut answer).await.map_err(said)? == 0 {
                    return Err("an answer that breaks off".to_owned());
                }
            }
        };
        tokio::time::timeout(PATIENCE, posting).await.map_err(said)?
    }
}
