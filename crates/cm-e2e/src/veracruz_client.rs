//! The instance protocol as the earlier clients speak it, written from its description alone: eight bytes of length, then one
//! message of protobuf, over TLS 1.3 with a client certificate.
//!
//! It believes whatever certificate it is shown and keeps it for the test to judge: what certificates prove is shown by tests
//! of their own.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::witness::Witness;

/// How long one exchange may take: programs may have to be compiled by an unoptimised build.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest answer, in bytes.
const ANSWER_LEN_MAX: u64 = 1 << 30;

/// A connection to an instance.
#[derive(Debug)]
pub struct VeracruzClient {
    stream: TlsStream<TcpStream>,
    chain: Vec<Vec<u8>>,
}

/// What an instance answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// 1 is success, 7 an invalid request.
    pub status: u64,
    /// The bytes that were asked for, or the exit code of a program, little-endian.
    pub result: Option<Vec<u8>>,
    /// The policy's hash, in hexadecimal.
    pub policy_hash: Option<String>,
}

impl Answer {
    /// Whether it was done.
    pub fn succeeded(&self) -> bool {
        self.status == 1
    }
}

impl VeracruzClient {
    /// Connects to where a full policy says that its instance listens.
    ///
    /// # Errors
    /// Whatever stands against it, in words.
    pub async fn connect(policy: &str, certificate_pem: &str, key_pem: &str) -> Result<Self, String> {
        let policy: Value = serde_json::from_str(policy).map_err(said)?;
        let address = policy["veracruz_server_url"].as_str().ok_or("the policy has no address")?.to_owned();
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(said)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(said)?;
        let witness = Witness::staying();
        let config =
            cm_tls::client(witness.clone()).with_client_auth_cert(vec![certificate], key).map_err(said)?;
        let name = ServerName::try_from("instance").map_err(said)?;
        let connecting = async {
            let socket = TcpStream::connect(address).await.map_err(said)?;
            TlsConnector::from(Arc::new(config)).connect(name, socket).await.map_err(said)
        };
        let stream = tokio::time::timeout(PATIENCE, connecting).await.map_err(said)??;
        Ok(Self { stream, chain: witness.shown() })
    }

    /// The certificates that the instance showed, in DER, its own first.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Writes a file. A refused certificate shows here, at the latest.
    ///
    /// # Errors
    /// The connection's.
    pub async fn write(&mut self, file: &str, data: &[u8]) -> Result<Answer, String> {
        self.exchange(2, &[field(1, file.as_bytes()), field(2, data)].concat()).await
    }

    /// Runs a program.
    ///
    /// # Errors
    /// The connection's.
    pub async fn compute(&mut self, program: &str) -> Result<Answer, String> {
        self.exchange(5, &field(1, program.as_bytes())).await
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The connection's.
    pub async fn read(&mut self, file: &str) -> Result<Answer, String> {
        self.exchange(11, &field(1, file.as_bytes())).await
    }

    /// Asks for the policy's hash.
    ///
    /// # Errors
    /// The connection's.
    pub async fn policy_hash(&mut self) -> Result<Answer, String> {
        self.exchange(10, &[]).await
    }

    /// Shuts the instance down.
    ///
    /// # Errors
    /// The connection's.
    pub async fn shut_down(&mut self) -> Result<Answer, String> {
        self.exchange(8, &[]).await
    }

    async fn exchange(&mut self, request: u64, body: &[u8]) -> Result<Answer, String> {
        let message = field(request, body);
        let mut framed = (message.len() as u64).to_be_bytes().to_vec();
        framed.extend_from_slice(&message);
        let exchanging = async {
            self.stream.write_all(&framed).await.map_err(said)?;
            self.stream.flush().await.map_err(said)?;
            let length = self.stream.read_u64().await.map_err(said)?;
            if length > ANSWER_LEN_MAX {
                return Err(format!("an answer of {length} bytes"));
            }
            let mut answer = vec![0; usize::try_from(length).map_err(said)?];
            self.stream.read_exact(&mut answer).await.map_err(said)?;
            decode(&answer)
        };
        tokio::time::timeout(PATIENCE, exchanging).await.map_err(said)?
    }
}

pub(crate) fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of bytes.
pub(crate) fn field(number: u64, content: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or("an answer that breaks off")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number without end".to_owned())
}

/// A field: its number, and its value, which is a number or bytes.
type Field<'a> = (u64, u64, &'a [u8]);

/// The fields of a message.
fn fields(mut bytes: &[u8]) -> Result<Vec<Field<'_>>, String> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = take_varint(&mut bytes)?;
        let value = take_varint(&mut bytes)?;
        let content: &[u8] = match tag & 7 {
            0 => &[],
            2 => {
                let length = usize::try_from(value).map_err(said)?;
                let content = bytes.get(..length).ok_or("an answer that breaks off")?;
                bytes = &bytes[length..];
                content
            }
            other => return Err(format!("a field of type {other}")),
        };
        fields.push((tag >> 3, value, content));
    }
    Ok(fields)
}

pub(crate) fn decode(message: &[u8]) -> Result<Answer, String> {
    let mut answer = Answer::default();
    for (number, value, content) in fields(message)? {
        let inner = || Ok::<_, String>(fields(content)?.into_iter().find(|(number, ..)| *number == 1));
        match number {
            1 => answer.status = value,
            4 => answer.result = Some(inner()?.map(|(_, _, data)| data.to_vec()).unwrap_or_default()),
            11 => {
                let hash = inner()?.map(|(_, _, data)| String::from_utf8_lossy(data).into_owned());
                answer.policy_hash = hash;
            }
            _ => {}
        }
    }
    Ok(answer)
}
