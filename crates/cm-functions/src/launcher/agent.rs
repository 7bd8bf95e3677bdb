//! `cryptomesh instance-agent`: what stands beside an instance that runs in a container or a pod.
//!
//! The agent does for its node what a node does for a process of its own: it measures its executable, binds the instance's port,
//! starts `cryptomesh instance` with its two sockets, and is gone when the instance is. The launch message and everything
//! else comes from the node over one [link](super::link); the agent understands none of it and passes the bytes on. It takes exactly
//! one connection, that of the node whose certificate it was given, and ends the instance when that connection ends.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use cm_types::Sha256Digest;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncWriteExt as _, copy};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::link::{Acceptor, LinkError};
use super::process::spawn;
use super::{Ended, MeasuredExecutable, SHUTDOWN_TIMEOUT, process};

/// The command of the executable that becomes an agent.
pub const COMMAND: &str = "instance-agent";
/// From the agent's start until its node must have come.
const NODE_TIMEOUT: Duration = Duration::from_secs(300);
/// Connections that may be in their handshake at a time. Strangers can be among them.
const HANDSHAKES_MAX: usize = 64;
/// What is said by an exit code of an instance that was killed, as shells say it.
const EXIT_KILLED: u8 = 137;

/// What an agent is told.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Where the instance listens.
    pub listen: SocketAddr,
    /// Where the node comes to.
    pub control: SocketAddr,
    /// The directory of the link's credentials.
    pub credentials: PathBuf,
}

/// Why an agent could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A port is taken, or the instance could not be started.
    #[error("the instance cannot be started")]
    Start(#[source] io::Error),
    /// The credentials cannot be used.
    #[error("the credentials of the link cannot be used")]
    Credentials(#[source] LinkError),
    /// The node never came.
    #[error("the node did not come within {} seconds", NODE_TIMEOUT.as_secs())]
    NoNode,
    /// It was told to end before it began.
    #[error("told to end before the node came")]
    Stopped,
}

/// Serves one node with one instance. Blocks until the instance is gone, and returns its exit code.
///
/// The instance dies with the thread that calls this.
pub fn run(config: &AgentConfig) -> Result<u8, AgentError> {
    let acceptor = Acceptor::open(&config.credentials).map_err(AgentError::Credentials)?;
    let executable = MeasuredExecutable::of_this_process().map_err(AgentError::Start)?;
    let instance = TcpListener::bind(config.listen).map_err(AgentError::Start)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(AgentError::Start)?.block_on(async {
        let control = tokio::net::TcpListener::bind(config.control).await.map_err(AgentError::Start)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::Start)?;
        let link = tokio::select! {
            link = tokio::time::timeout(NODE_TIMEOUT, node(control, acceptor, executable.measurement())) => {
                link.map_err(|_| AgentError::NoNode)?
            }
            _ = terminate.recv() => return Err(AgentError::Stopped),
        };
        let (socket, child) = spawn(&executable, instance).map_err(AgentError::Start)?;
        socket.set_nonblocking(true).map_err(AgentError::Start)?;
        let socket = UnixStream::from_std(socket).map_err(AgentError::Start)?;
        let stop = async move {
            terminate.recv().await;
        };
        Ok(attend(link, socket, child, stop).await)
    })
}

/// Handshakes that are going on. Strangers are answered like the node until their handshake fails, which those who say nothing
/// put off: when there are too many, the oldest from where most of them come gives way. So whoever dawdles is in the way of
/// his like only, and the node, which comes once and does not dawdle, is always let in.
#[derive(Default)]
struct Handshakes(VecDeque<(IpAddr, CancellationToken)>);

impl Handshakes {
    /// Takes up one more. It is over when the token is cancelled, which whoever holds it does at its end.
    fn take_up(&mut self, peer: IpAddr) -> CancellationToken {
        self.0.retain(|(_, over)| !over.is_cancelled());
        if self.0.len() >= HANDSHAKES_MAX {
            self.drop_one();
        }
        let over = CancellationToken::new();
        self.0.push_back((source(peer), over.clone()));
        over
    }

    fn drop_one(&mut self) {
        let from = |source: IpAddr| self.0.iter().filter(|(other, _)| *other == source).count();
        let most = self.0.iter().map(|(source, _)| from(*source)).max();
        let oldest = self.0.iter().position(|(source, _)| Some(from(*source)) == most);
        if let Some((_, over)) = oldest.and_then(|at| self.0.remove(at)) {
            over.cancel();
        }
    }
}

/// What counts as one place from which connections come: an address, or a network of the newer kind, of which anybody has a
/// whole one.
fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// Waits for the node among whoever connects. The listener is closed once it has come.
async fn node(
    control: tokio::net::TcpListener,
    acceptor: Acceptor,
    measurement: Sha256Digest,
) -> TlsStream<TcpStream> {
    let acceptor = Arc::new(acceptor);
    let mut going_on = Handshakes::default();
    let mut handshakes = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(welcomed) = handshakes.next(), if !handshakes.is_empty() => {
                if let Some(Ok(link)) = welcomed {
                    return link;
                }
            }
            accepted = control.accept() => {
                // An accept that fails concerns that connection, or passes.
                if let Ok((stream, peer)) = accepted {
                    let (acceptor, over) = (acceptor.clone(), going_on.take_up(peer.ip()));
                    handshakes.push(async move {
                        let _over = over.clone().drop_guard();
                        over.run_until_cancelled(acceptor.welcome(stream, measurement)).await
                    });
                }
            }
        }
    }
}

/// Passes bytes on until one end is closed, and sees the instance out.
async fn attend(
    link: TlsStream<TcpStream>,
    socket: UnixStream,
    mut child: Child,
    stop: impl Future<Output = ()>,
) -> u8 {
    let (mut from_node, mut to_node) = tokio::io::split(link);
    let (mut from_instance, mut to_instance) = socket.into_split();
    let inwards = async {
        let passed = copy(&mut from_node, &mut to_instance).await;
        // The node is gone, or has hung up: the instance sees its launcher gone, and ends.
        drop(to_instance.shutdown().await);
        passed.map(drop)
    };
    let outwards = async {
        let passed = copy(&mut from_instance, &mut to_node).await;
        drop(to_node.shutdown().await);
        passed.map(drop)
    };
    tokio::pin!(inwards, outwards, stop);
    tokio::select! {
        // What the instance says last is passed on before anything else is looked at.
        biased;
        _ = &mut outwards => {}
        _ = &mut inwards => {
            drop(tokio::time::timeout(SHUTDOWN_TIMEOUT, &mut outwards).await);
        }
        () = &mut stop => {}
    }
    let status = match tokio::time::timeout(SHUTDOWN_TIMEOUT, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            // Already gone is as good.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    exit_code(status.as_ref().ok())
}

fn exit_code(status: Option<&ExitStatus>) -> u8 {
    match status.map(process::ended) {
        Some(Ended::Exited(code)) => u8::try_from(code).unwrap_or(u8::MAX),
        _ => EXIT_KILLED,
    }
}

#[cfg(test)]
mod tests {
    use cm_types::Timestamp;
    use tokio::net::TcpSocket;

    use super::*;
    use crate::launcher::link::Credentials;

    async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    #[tokio::test]
    async fn strangers_who_say_nothing_do_not_keep_the_node_out() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from(std::time::SystemTime::now());
        let credentials = Credentials::generate(now, Duration::from_secs(60)).unwrap();
        for (name, text) in credentials.agent_files() {
            std::fs::write(dir.path().join(name), text.expose()).unwrap();
        }
        let acceptor = Acceptor::open(dir.path()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let measurement = cm_crypto::digest::sha256(b"measured");
        let coming = async {
            let mut strangers = Vec::new();
            for _ in 0..2 * HANDSHAKES_MAX {
                strangers.push(connect([127, 0, 0, 1], address).await);
            }
            // The node's connection waits among those of strangers that came before and after it.
            let link = connect([127, 0, 0, 2], address).await;
            for _ in 0..2 * HANDSHAKES_MAX {
                strangers.push(connect([127, 0, 0, 1], address).await);
            }
            let greeted = credentials.connector().unwrap().greet(link, measurement).await;
            drop(strangers);
            greeted
        };
        let meeting = async { tokio::join!(node(listener, acceptor, measurement), coming) };
        // A stranger is only sent away after longer than this.
        let (_, greeted) =
            tokio::time::timeout(Duration::from_secs(8), meeting).await.expect("the node waits");
        assert!(greeted.is_ok(), "{:?}", greeted.err());
    }

    #[test]
    fn the_oldest_from_where_most_come_gives_way() {
        let mut handshakes = Handshakes::default();
        let node = handshakes.take_up([10, 0, 0, 1].into());
        let strangers: Vec<_> =
            (0..HANDSHAKES_MAX).map(|_| handshakes.take_up([10, 0, 0, 2].into())).collect();
        assert!(strangers[0].is_cancelled() && !strangers[1].is_cancelled() && !node.is_cancelled());
        // Networks of the newer kind count as one.
        for at in 0..2 * HANDSHAKES_MAX as u16 {
            handshakes.take_up(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, at).into());
        }
        assert!(!node.is_cancelled());
        assert_eq!(handshakes.0.len(), HANDSHAKES_MAX);
    }
}
