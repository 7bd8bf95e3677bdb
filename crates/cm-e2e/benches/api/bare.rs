//! The reference of a server that does nothing: our server loop with a handler that only answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::any;
use cm_http::ServerLimits;
use cm_runtime::Tasks;
use tokio::net::TcpListener;

use cm_e2e::measure::Outcome;

/// The word that makes this executable such a server.
pub(crate) const PROCESS: &str = "bare-handler";

/// The whole life of a process that is such a server: `/BYTES` answers so many bytes. It says its address and serves
/// until its standard input ends.
pub(crate) fn process() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        let tasks = Tasks::new();
        let router = Router::new().route("/{bytes}", any(answer));
        let ended = tasks.spawn_blocking("standard-input", || std::io::stdin().lines().count());
        tokio::select! {
            () = cm_http::serve(listener, router, ServerLimits::default(), &tasks) => {}
            _ = ended => {}
        }
        Ok(())
    })
}

async fn answer(Path(bytes): Path<usize>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], vec![b' '; bytes])
}

/// Such a server as a process of its own, ended when dropped.
pub(crate) struct Bare {
    process: Child,
    address: SocketAddr,
}

impl Bare {
    /// Starts it.
    pub(crate) fn start() -> Outcome<Bare> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg(PROCESS).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("standard output is piped")?).read_line(&mut line)?;
        Ok(Bare { address: line.trim().parse()?, process })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
