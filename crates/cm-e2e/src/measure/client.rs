//! A client that costs little: requests are written as they are, and of an answer only what is needed is read.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Outcome, Run, Usage};

/// How long a run, or one answer, may take: far longer than any is meant to.
const DEADLINE: Duration = Duration::from_secs(300);
/// Bytes read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Whom to ask, as whom.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// The bearer token; empty for nobody.
    pub token: String,
}

/// A request, and the status that it has to get.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// The body, JSON.
    pub body: Option<String>,
    /// What it has to be answered with.
    pub status: u16,
    /// The bearer token; the server's, unless told.
    pub token: Option<String>,
}

impl Request {
    /// A reading request.
    pub fn get(path: impl Into<String>) -> Request {
        Request { method: "GET", path: path.into(), body: None, status: 200, token: None }
    }

    fn bytes(&self, token: &str) -> Vec<u8> {
        let Request { method, path, body, .. } = self;
        let token = self.token.as_deref().unwrap_or(token);
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        if !token.is_empty() {
            head.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        match body {
            Some(body) => {
                let len = body.len();
                format!("{head}content-type: application/json\r\ncontent-length: {len}\r\n\r\n{body}").into()
            }
            None => format!("{head}\r\n").into(),
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The headers, lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value =
            |line: &'_ str| line.split_once(':').filter(|(found, _)| *found == name).map(|(at, _)| at.len());
        self.head.lines().find_map(|line| value(line).map(|at| line[at + 1..].trim()))
    }
}

/// One connection that is kept.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Outcome<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// Sends a request and reads its answer: the lengths of head and body, which are in the buffer.
    async fn ask(&mut self, request: &[u8], status: u16) -> Outcome<(usize, usize)> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let mut expected = None;
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the connection was closed before the answer".into());
            }
            let (head, body) = match expected {
                Some(lengths) => lengths,
                None => match self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                    Some(at) => (at + 4, self.body_len(at + 4, status)?),
                    None => continue,
                },
            };
            if self.buffer.len() >= head + body {
                return Ok((head, body));
            }
            expected = Some((head, body));
        }
    }

    fn body_len(&self, head: usize, status: u16) -> Outcome<usize> {
        let text = std::str::from_utf8(&self.buffer[..head])?;
        if text.get(9..12) != Some(status.to_string().as_str()) {
            let rest = String::from_utf8_lossy(&self.buffer[head..]);
            return Err(format!("expected {status}, got {text}{rest}").into());
        }
        // It has no body, and says no length (RFC 9110, section 8.6).
        if status == 204 {
            return Ok(0);
        }
        for line in text.lines() {
            let name = "content-length:";
            if line.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
                return Ok(line[name.len()..].trim().parse()?);
            }
        }
        Err(format!("an answer without a length: {text}").into())
    }
}

/// Asks once.
///
/// # Errors
/// If the answer has another status than the request demands, or takes too long.
pub fn ask(server: &Server, request: &Request) -> Outcome<Answer> {
    block_on(async {
        let mut connection = Connection::open(server.address).await?;
        let (head, body) = connection.ask(&request.bytes(&server.token), request.status).await?;
        Ok(Answer {
            head: String::from_utf8(connection.buffer[..head].to_vec())?.to_lowercase(),
            body: connection.buffer[head..head + body].to_vec(),
        })
    })
}

/// Asks over so many connections at once, each kept, for some time; `request` makes the n-th request.
///
/// # Errors
/// If an answer has another status than its request demands, or takes too long.
pub fn ask_for(
    server: &Server,
    callers: usize,
    window: Duration,
    request: impl Fn(u64) -> Request,
) -> Outcome<Run> {
    block_on(async {
        let mut connections = Vec::with_capacity(callers);
        for _ in 0..callers {
            connections.push(Connection::open(server.address).await?);
        }
        let next = std::cell::Cell::new(0);
        let before = (Usage::of(std::process::id()), Usage::of(server.pid));
        let began = Instant::now();
        let callers = connections.into_iter().map(async |mut connection: Connection| {
            let mut waits = Vec::with_capacity(4096);
            while began.elapsed() < window {
                let request = request(next.replace(next.get() + 1));
                let bytes = request.bytes(&server.token);
                let asked = Instant::now();
                connection.ask(&bytes, request.status).await?;
                waits.push(asked.elapsed());
            }
            Outcome::Ok(waits)
        });
        let waits = futures::future::try_join_all(callers).await?.concat();
        let mut run = Run::of(waits, began.elapsed());
        (run.client, run.machine) = Usage::of(std::process::id()).since(before.0);
        (run.server, _) = Usage::of(server.pid).since(before.1);
        Ok(run)
    })
}

fn block_on<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(DEADLINE, work).await? })
}
