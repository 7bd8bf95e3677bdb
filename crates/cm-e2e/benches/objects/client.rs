//! A client that costs little: one thread and one connection for each caller, nothing of an answer kept but what is asked for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::content::Content;
use crate::signature::Key;
use cm_e2e::measure::Outcome;

/// How long one read or write may take: far longer than any is meant to.
const DEADLINE: Duration = Duration::from_secs(300);
/// Bytes read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// The digest of nothing, which requests without a body are signed with.
const DIGEST_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// How a caller shows who it is.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// Not at all.
    None,
    /// By a bearer token.
    Bearer(String),
    /// By a signature.
    Signed(Key),
}

/// Whom to ask, as whom.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its process.
    pub(crate) pid: u32,
    /// As whom.
    pub(crate) credential: Credential,
}

impl Server {
    /// The head of a request that is sent now.
    pub(crate) fn head(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: Option<Content>,
    ) -> Outcome<String> {
        let host = self.address.to_string();
        let credential = match &self.credential {
            Credential::None => String::new(),
            Credential::Bearer(token) => format!("authorization: Bearer {token}\r\n"),
            Credential::Signed(key) => {
                let digest = match body {
                    Some(content) => content.digest()?.to_string(),
                    None => DIGEST_OF_NOTHING.to_owned(),
                };
                key.headers(method, &host, path, query, &digest)
            }
        };
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let length = match body {
            Some(content) => {
                format!("content-type: application/octet-stream\r\ncontent-length: {}\r\n", content.size)
            }
            None if method == "PUT" => "content-length: 0\r\n".to_owned(),
            None => String::new(),
        };
        Ok(format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{credential}{length}\r\n"))
    }
}

/// One connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens one.
    pub(crate) fn open(address: SocketAddr) -> Outcome<Connection> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Connection { stream, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Sends a request and passes the body of its answer, which has to be a success, to `take`: how long that body was.
    pub(crate) fn ask(
        &mut self,
        head: &str,
        body: Option<Content>,
        mut take: impl FnMut(&[u8]),
    ) -> Outcome<usize> {
        // A small request is one packet, as every client sends it.
        let mut first = head.as_bytes().to_vec();
        match body {
            Some(content) => {
                content.pieces(|piece| {
                    if first.is_empty() {
                        return Ok(self.stream.write_all(piece)?);
                    }
                    first.extend_from_slice(piece);
                    self.stream.write_all(&std::mem::take(&mut first))?;
                    Ok(())
                })?;
            }
            None => self.stream.write_all(&first)?,
        }
        self.answer(&mut take).map(|(_, length)| length)
    }

    /// Sends a request without a body, passes the body of its answer to `take`, and gives the answer's head.
    pub(crate) fn ask_with_head(&mut self, head: &str, mut take: impl FnMut(&[u8])) -> Outcome<String> {
        self.stream.write_all(head.as_bytes())?;
        self.answer(&mut take).map(|(head, _)| head)
    }

    /// Reads what there is into the buffer. What arrives is acknowledged at once: a server that writes an answer's head and body apart, and leaves
    /// Nagle's algorithm on as Garage does, would otherwise wait 40 ms for the acknowledgement (RFC 9293, section 3.8.6.3), and only that were
    /// measured. The kernel forgets the wish after a while.
    fn receive(&mut self, at: usize) -> std::io::Result<usize> {
        socket2::SockRef::from(&self.stream).set_tcp_quickack(true)?;
        self.stream.read(&mut self.buffer[at..])
    }

    /// The head of the answer as it is, and how long its body was.
    fn answer(&mut self, take: &mut impl FnMut(&[u8])) -> Outcome<(String, usize)> {
        let mut filled = 0;
        let end = loop {
            let read = self.receive(filled)?;
            if read == 0 {
                return Err("the connection was closed before the answer".into());
            }
            filled += read;
            if let Some(at) = self.buffer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let original = std::str::from_utf8(&self.buffer[..end])?.to_owned();
        let head = original.to_ascii_lowercase();
        let header = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let is_success = head.get(9..10) == Some("2");
        let length = match header("content-length") {
            Some(length) => Some(length.parse::<usize>()?),
            None if header("transfer-encoding").is_some() => None,
            None => Some(0),
        };
        let mut body = filled - end;
        let mut said = if is_success { Vec::new() } else { self.buffer[end..filled].to_vec() };
        let mut tail = self.buffer[end..filled].iter().rev().take(5).rev().copied().collect::<Vec<u8>>();
        take(&self.buffer[end..filled]);
        // Chunked answers are small ones; what ends them is all that has to be known.
        while length.map_or(!tail.ends_with(b"0\r\n\r\n"), |length| body < length) {
            let read = self.receive(0)?;
            if read == 0 {
                return Err(format!("the connection was closed within an answer: {head}").into());
            }
            body += read;
            take(&self.buffer[..read]);
            if length.is_none() {
                tail.extend_from_slice(&self.buffer[..read]);
                tail.drain(..tail.len().saturating_sub(5));
            }
            if !is_success {
                said.extend_from_slice(&self.buffer[..read]);
            }
        }
        match is_success {
            true => Ok((original, body)),
            false => Err(format!("refused: {head}{}", String::from_utf8_lossy(&said)).into()),
        }
    }
}

/// Asks once and gives the whole answer.
pub(crate) fn ask(server: &Server, method: &str, path: &str, query: &str) -> Outcome<String> {
    let head = server.head(method, path, query, None)?;
    let mut answer = Vec::new();
    Connection::open(server.address)?.ask(&head, None, |bytes| answer.extend_from_slice(bytes))?;
    Ok(String::from_utf8(answer)?)
}
