//! The reference of loopback: our server loop with a handler that takes in all bytes, or streams as many as are asked for.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use cm_http::ServerLimits;
use cm_runtime::Tasks;
use futures::{StreamExt, stream};
use tokio::net::TcpListener;

use crate::client::{Credential, Server};
use cm_e2e::measure::Outcome;

/// The word that makes this executable such a server.
pub(crate) const PROCESS: &str = "bare-handler";
/// Bytes of an answer that are given to the server loop at a time: what the node gives it.
const PIECE_BYTES: usize = 256 << 10;

/// The whole life of a process that is such a server: `GET /BYTES` answers so many bytes, `PUT` takes in all. It says its
/// address and serves until its standard input ends.
pub(crate) fn process() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        let tasks = Tasks::new();
        let router = Router::new().route("/{bytes}", get(stream_out).put(take_in));
        let ended = tasks.spawn_blocking("standard-input", || std::io::stdin().lines().count());
        tokio::select! {
            () = cm_http::serve(listener, router, ServerLimits::default(), &tasks) => {}
            _ = ended => {}
        }
        Ok(())
    })
}

async fn stream_out(Path(bytes): Path<usize>) -> impl IntoResponse {
    let piece = Bytes::from(vec![b' '; PIECE_BYTES.min(bytes)]);
    let pieces = (0..bytes)
        .step_by(PIECE_BYTES)
        .map(move |from| Ok::<_, std::convert::Infallible>(piece.slice(..PIECE_BYTES.min(bytes - from))));
    ([(header::CONTENT_LENGTH, bytes.to_string())], Body::from_stream(stream::iter(pieces)))
}

async fn take_in(body: Body) -> StatusCode {
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        if piece.is_err() {
            return StatusCode::BAD_REQUEST;
        }
    }
    StatusCode::OK
}

/// Such a server as a process of its own, ended when dropped.
pub(crate) struct Bare {
    process: Child,
    /// Whom to ask.
    pub(crate) server: Server,
}

impl Bare {
    /// Starts it.
    pub(crate) fn start() -> Outcome<Bare> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg(PROCESS).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("standard output is piped")?).read_line(&mut line)?;
        let server =
            Server { address: line.trim().parse()?, pid: process.id(), credential: Credential::None };
        Ok(Bare { process, server })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
