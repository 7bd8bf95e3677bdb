//! `cryptomesh serve-endpoint`: the server of one deployed endpoint, started by a node's process launcher.
//!
//! It inherits three sockets: the control socket as standard input, the listener for requests as standard output and that
//! for listeners to events as standard error. What it shows is what its node tells it ([`shown`]); it runs neither images
//! nor functions. It ends when it is told to, having finished what was open, and when its node is gone.

mod shown;

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use cm_endpoints::control::{Channel, FromServer, ToServer};
use cm_http::{RequestLimits, ServerLimits};
use cm_runtime::{Drained, Tasks};
use rustix::net::Shutdown;
use rustix::process::{Signal, set_parent_process_death_signal};

use shown::Shown;

/// The process was not started by a node.
const EXIT_NO_NODE: u8 = 64;
/// Something failed later.
const EXIT_FAILED: u8 = 65;
/// How long the first message may take to arrive.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections to each of the two ports.
const CONNECTIONS_MAX: usize = 256;
/// How long open requests may go on when the node is gone.
const NODE_GONE_DRAIN: Duration = Duration::from_secs(1);
/// Of the time that the node gives; it kills at the end of it.
const DRAIN_SHARE: f64 = 0.9;

/// Serves until told to end.
pub(crate) fn main() -> ExitCode {
    // Whatever the node itself was started with is nothing to an endpoint.
    if let Err(error) = cm_enclave::close_inherited() {
        eprintln!("error: inherited descriptors cannot be closed: {error}");
        return ExitCode::from(EXIT_FAILED);
    }
    match inherited() {
        Ok(sockets) => match serve(sockets) {
            Ok(Drained::All) => ExitCode::SUCCESS,
            // Standard error is a listener: the node has heard of it if it could.
            Ok(Drained::Abandoned { .. }) | Err(_) => ExitCode::from(EXIT_FAILED),
        },
        Err(error) => {
            eprintln!("error: `serve-endpoint` is started by a node, with its sockets: {error}");
            ExitCode::from(EXIT_NO_NODE)
        }
    }
}

/// What the launcher handed over.
struct Sockets {
    control: UnixStream,
    req_res: TcpListener,
    pubsub: TcpListener,
}

fn inherited() -> io::Result<Sockets> {
    let sockets = Sockets {
        control: io::stdin().as_fd().try_clone_to_owned()?.into(),
        req_res: io::stdout().as_fd().try_clone_to_owned()?.into(),
        pubsub: io::stderr().as_fd().try_clone_to_owned()?.into(),
    };
    // Anything but sockets has no address.
    sockets.control.local_addr()?;
    sockets.req_res.local_addr()?;
    sockets.pubsub.local_addr()?;
    Ok(sockets)
}

fn serve(sockets: Sockets) -> anyhow::Result<Drained> {
    // A node that is gone already has closed its end of the control socket.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(sockets))
}

async fn run(sockets: Sockets) -> anyhow::Result<Drained> {
    let Sockets { control, req_res, pubsub } = sockets;
    let mut channel = Channel::new(control)?;
    let start = tokio::time::timeout(START_TIMEOUT, channel.receive::<ToServer>()).await;
    let Some(ToServer::Start { endpoint_id, name, moment }) = start?? else {
        anyhow::bail!("the node said nothing to begin with");
    };
    let tasks = Tasks::new();
    let shown = Shown::new(endpoint_id, name, moment, tasks.token());
    let listeners = [(req_res, shown.request_routes()), (pubsub, shown.event_routes())];
    let begun = listeners.into_iter().map(|(listener, routes)| listen(&tasks, listener, routes));
    let listening = match begun.collect::<io::Result<Vec<_>>>() {
        Ok(listening) => listening,
        Err(error) => {
            channel.send(&FromServer::Failed { reason: error.to_string() }).await?;
            return Err(error.into());
        }
    };
    channel.send(&FromServer::Ready).await?;
    let within = told(&mut channel, &shown).await;
    tasks.token().cancel();
    for listener in listening {
        // Each is open once more, as standard output or error: closing ours would let connections go on arriving.
        let _ = rustix::net::shutdown(&listener, Shutdown::Both);
    }
    Ok(tasks.drain(within.mul_f64(DRAIN_SHARE)).await)
}

/// Begins to serve; the listener once more, to end it by.
fn listen(tasks: &Tasks, listener: TcpListener, routes: Router) -> io::Result<TcpListener> {
    let again = listener.try_clone()?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = cm_http::frame(routes, RequestLimits::default(), cm_http::shape, tasks);
    // How long draining takes is for the node to say.
    let limits =
        ServerLimits { connections_max: CONNECTIONS_MAX, drain: Duration::MAX, ..ServerLimits::default() };
    let serving = tasks.clone();
    tasks.spawn("listener", async move { cm_http::serve(listener, router, limits, &serving).await });
    Ok(again)
}

/// Shows what the node tells until it wants the end; how long that may take.
async fn told(channel: &mut Channel, shown: &Shown) -> Duration {
    loop {
        match channel.receive::<ToServer>().await {
            Ok(Some(ToServer::Tell { news })) => shown.take(news),
            Ok(Some(ToServer::Drain { within_ms })) => return Duration::from_millis(within_ms),
            Ok(Some(ToServer::Start { .. })) => {}
            Ok(None) | Err(_) => return NODE_GONE_DRAIN,
        }
    }
}
