//! The accept loop: a bounded number of connections, each of which must say something, keep reading, and
//! end when the process does.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use cm_runtime::{CancellationToken, Tasks};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::linger::{Lingering, Unread};
use crate::stall::StallGuard;

/// Wait after a failed accept. The usual cause is an exhausted table of file descriptors, which another
/// attempt at once would only burn time on.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Requests that one HTTP/2 connection may have open.
const HTTP2_STREAMS_MAX: u32 = 128;
/// How often an idle HTTP/2 connection is asked whether it lives, and how long the answer may take.
const HTTP2_KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Headers of one request, in bytes. Credentials and cursors fit many times.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// What the connections of one listener may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections open at once; more wait in the operating system's queue.
    pub connections_max: usize,
    /// From the opening of a connection, or the end of an answer, to the last header of the next request.
    pub header_read: Duration,
    /// The longest time during which a client may take nothing of an answer.
    pub write_stall: Duration,
    /// How long open requests may go on once shutdown has begun.
    pub drain: Duration,
}

impl Default for ServerLimits {
    /// 1024 connections (file descriptors default to 1024 and more are cheap to configure), 30 s for headers
    /// (hyper's own default), 30 s without progress, 8 s to drain (less than the 10 s which the process has).
    fn default() -> Self {
        Self {
            connections_max: 1024,
            header_read: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            drain: Duration::from_secs(8),
        }
    }
}

/// Who asks; in the extensions of each request. Whoever is at the other end of the connection, unless
/// [`Proxies`](crate::Proxies) say that it asks for somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves HTTP/1.1 and HTTP/2 (prior knowledge) in the clear until `tasks` begins to shut down, then lets
/// open requests finish for at most [`ServerLimits::drain`] and closes what is left.
///
/// Returns when the last connection is closed. A failed accept is logged and tried again; nothing else can
/// fail. Dropping the future stops accepting; connections already open are tasks of `tasks` and go on.
pub async fn serve(listener: TcpListener, router: Router, limits: ServerLimits, tasks: &Tasks) {
    let open = Arc::new(Semaphore::new(limits.connections_max));
    let draining = tasks.token();
    let force = CancellationToken::new();
    let accept = async {
        loop {
            let permit = Arc::clone(&open).acquire_owned().await.expect("the semaphore is never closed");
            let (stream, peer) = accept(&listener).await;
            let connection = Connection {
                router: router.clone(),
                limits,
                peer: Peer(peer),
                draining: draining.clone(),
                force: force.clone(),
            };
            tasks.spawn("http-connection", async move {
                connection.serve(stream).await;
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = draining.cancelled() => {}
        never = accept => never,
    }
    drop(listener);

    let every_permit = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    let closed = open.acquire_many(every_permit);
    if tokio::time::timeout(limits.drain, closed).await.is_err() {
        tracing::warn!("connections still open at the end of draining are closed");
        force.cancel();
        // Every connection observes the token without waiting for its peer, so this ends.
        let _closed = open.acquire_many(every_permit).await;
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// All that one connection needs.
struct Connection {
    router: Router,
    limits: ServerLimits,
    peer: Peer,
    draining: CancellationToken,
    force: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        // Answers are written whole; waiting for more to send would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, peer = %self.peer.0, "connection lost at once");
            return;
        }
        let has_spoken = Arc::new(AtomicBool::new(false));
        let unread = Unread::default();
        let guarded = StallGuard::new(stream, self.limits.write_stall);
        let io = TokioIo::new(Lingering::new(guarded, unread.clone()));
        let server = self.server();
        // What becomes of a connection that is handed over, as a WebSocket is, is for whoever takes it to bound.
        let connection = server.serve_connection_with_upgrades(io, {
            let (router, peer, has_spoken) = (self.router.clone(), self.peer, Arc::clone(&has_spoken));
            service_fn(move |mut request: Request<Incoming>| {
                has_spoken.store(true, Ordering::Relaxed);
                request.extensions_mut().insert(peer);
                answer(router.clone(), request.map(|body| unread.watch(body)))
            })
        });
        tokio::pin!(connection);
        // Detecting the protocol's version waits for the first bytes, which hyper's own timeout for headers
        // does not cover.
        let first_request = tokio::time::sleep(self.limits.header_read);
        tokio::pin!(first_request);
        let (mut is_draining, mut may_be_silent) = (false, true);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error, peer = %self.peer.0, "connection ended early");
                    }
                    return;
                }
                () = self.draining.cancelled(), if !is_draining => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.force.cancelled() => return,
                () = first_request.as_mut(), if may_be_silent => {
                    if !has_spoken.load(Ordering::Relaxed) {
                        tracing::debug!(peer = %self.peer.0, "connection closed, no request arrived");
                        return;
                    }
                    may_be_silent = false;
                }
            }
        }
    }

    fn server(&self) -> auto::Builder<TokioExecutor> {
        let mut server = auto::Builder::new(TokioExecutor::new());
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_read)
            .max_buf_size(HEADER_BYTES_MAX)
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .max_header_list_size(HEADER_BYTES_MAX as u32)
            .keep_alive_interval(HTTP2_KEEP_ALIVE)
            .keep_alive_timeout(HTTP2_KEEP_ALIVE);
        server
    }
}

async fn answer(router: Router, request: Request<Body>) -> Result<axum::response::Response, Infallible> {
    router.oneshot(request).await
}

#[cfg(test)]
mod tests;
