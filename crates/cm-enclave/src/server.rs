//! The instance's door: TLS connections of the policy's identities, one request after the other on each.
//!
//! The loop runs on one thread and computes nothing long: programs run on threads of their own
//! ([`runs`]), so that reading, cancelling and asking for the state stay possible while one runs. Every
//! wait has a limit: the handshake, the next request, a frame's bytes, the writing of an answer.
//!
//! Places are taken by whoever has proved who it is, and each identity has its share of them, so that no
//! identity keeps the others out. Strangers share places of their own, for handshakes, where the oldest gives
//! way to the newest: whoever means it is through long before, and whoever dawdles keeps nobody waiting.
//!
//! There are two ways in, told apart by the first byte: TLS on the connection ([`tls`]), and for clients of the first era TLS
//! in the bodies of posts ([`posted`], [`sessions`]). Behind both stands the same [`exchange`] of requests and answers.

mod exchange;
mod host;
mod posted;
mod refusals;
mod requests;
mod runs;
mod sessions;
mod tls;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cm_instance::RefusalKind;
use cm_instance::wire::{FrameError, RequestDecoder};
use cm_runtime::Tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use exchange::{Exchange, Progress, TRANSFER_TIMEOUT};
pub(crate) use host::{FileError, Host, Part, Staged};
pub(crate) use refusals::{Refusals, Tell};
pub(crate) use requests::Service;
pub(crate) use runs::{Observe, RUNNING_MAX, Runs};
use sessions::Sessions;
use tls::Pinned;
pub(crate) use tls::{Doors, Identities, InstanceKey, TlsError};

/// From the connection to the end of its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// From one answer to the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Room for the first bytes of a message.
const READ_LEN: usize = 64 * 1024;
/// For a connection to give its last answer when the instance ends.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);
/// Handshakes at a time.
pub(crate) const HANDSHAKES_MAX: usize = 64;
/// Between two looks for sessions that nobody will use any more.
const SESSIONS_CHECK: Duration = Duration::from_secs(10);
/// After an accept failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What every connection shares.
pub(crate) struct Server {
    doors: Doors,
    identities: Arc<Identities>,
    service: Arc<Service>,
    refusals: Arc<Refusals>,
    /// The share of each identity.
    places: HashMap<u64, Arc<Semaphore>>,
    /// What clients of the first era have open.
    sessions: Sessions,
    /// Longest file, in bytes.
    file_bytes_max: u64,
}

/// What an instance allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    /// Connections at a time. The identities share them equally; each has at least one.
    pub(crate) connections: usize,
    /// Longest file, in bytes.
    pub(crate) file_bytes: u64,
}

impl Server {
    /// Joins the parts.
    pub(crate) fn new(
        doors: Doors,
        identities: Arc<Identities>,
        service: Arc<Service>,
        refusals: Arc<Refusals>,
        allowed: Allowed,
    ) -> Self {
        let share = (allowed.connections / identities.ids().count().max(1)).max(1);
        let places = identities.ids().map(|id| (id, Arc::new(Semaphore::new(share)))).collect();
        let file_bytes_max = allowed.file_bytes;
        Self { doors, identities, service, refusals, places, sessions: Sessions::new(share), file_bytes_max }
    }

    /// Accepts until the tasks are told to stop. Cancel-safe: connections live on in their tasks.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, tasks: &Tasks) {
        let stop = tasks.token();
        // Each is cancelled by its connection when it is over, or from here when it has to give way.
        let mut handshakes: VecDeque<CancellationToken> = VecDeque::new();
        let mut check = tokio::time::interval(SESSIONS_CHECK);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                _ = check.tick() => {
                    self.sessions.forget_stale(Instant::now());
                    self.service.forget_old(Instant::now());
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            handshakes.retain(|handshake| !handshake.is_cancelled());
            if handshakes.len() >= HANDSHAKES_MAX
                && let Some(oldest) = handshakes.pop_front()
            {
                oldest.cancel();
            }
            let handshake = CancellationToken::new();
            handshakes.push_back(handshake.clone());
            let server = self.clone();
            let stop = stop.clone();
            tasks.spawn("connection", async move {
                let too_late = async {
                    stop.cancelled().await;
                    tokio::time::sleep(CLOSING_TIMEOUT).await;
                };
                tokio::select! {
                    () = too_late => {}
                    // A broken or refused connection concerns its client alone, who sees it end.
                    _ = server.converse(stream, peer.ip(), handshake, &stop) => {}
                }
            });
        }
    }

    /// One connection from its first byte to its end.
    async fn converse(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        handshake: CancellationToken,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let over = handshake.clone().drop_guard();
        stream.set_nodelay(true)?;
        let mut first = [0];
        let first_byte = async {
            match timeout(HANDSHAKE_TIMEOUT, stream.peek(&mut first)).await? {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                other => other,
            }
        };
        let arrived = tokio::select! {
            () = handshake.cancelled() => Err(io::ErrorKind::TimedOut.into()),
            arrived = first_byte => arrived,
        };
        if let Err(error) = arrived {
            if error.kind() == io::ErrorKind::TimedOut {
                self.refusals.stranger(RefusalKind::TooSlow, peer);
            }
            return Err(error);
        }
        match first[0] {
            TLS_HANDSHAKE => {
                let stream = self.shake_hands(stream, peer, &handshake).await?;
                drop(over);
                self.talk(stream, stop).await
            }
            letter if letter.is_ascii_uppercase() => self.serve_posts(stream, peer, &handshake, stop).await,
            _ => {
                self.refusals.stranger(RefusalKind::Handshake, peer);
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        handshake: &CancellationToken,
    ) -> io::Result<TlsStream<TcpStream>> {
        let accepting = TlsAcceptor::from(self.doors.direct.clone()).accept(stream);
        let accepted = tokio::select! {
            () = handshake.cancelled() => Err(io::ErrorKind::TimedOut.into()),
            accepted = timeout(HANDSHAKE_TIMEOUT, accepting) => {
                accepted.map_err(io::Error::from).and_then(|accepted| accepted)
            }
        };
        accepted.inspect_err(|error| {
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match tls {
                Some(tls) => self.refusals.stranger(tls::kind_of(tls), peer),
                None if error.kind() == io::ErrorKind::TimedOut => {
                    self.refusals.stranger(RefusalKind::TooSlow, peer);
                }
                // Whoever went away again was not refused.
                None => {}
            }
        })
    }

    /// Requests and answers after the handshake.
    async fn talk(&self, mut stream: TlsStream<TcpStream>, stop: &CancellationToken) -> io::Result<()> {
        let identity = self.identity_of(stream.get_ref().1).ok_or(io::ErrorKind::PermissionDenied)?;
        let place = self.places.get(&identity.id).map(|share| share.clone().try_acquire_owned());
        let Some(Ok(_place)) = place else {
            self.refusals.identity(RefusalKind::TooManyConnections, identity.id, None);
            return timeout(TRANSFER_TIMEOUT, stream.shutdown()).await?;
        };
        let mut exchange = Exchange::new(RequestDecoder::framed(self.file_bytes_max));
        let mut progress = Progress::begin();
        while identity.check(std::time::SystemTime::now().into()).is_ok() {
            let answer = exchange.answer(&self.service, identity.id).await;
            if let Some(answer) = answer.map_err(|error| self.broken(&identity, &error))? {
                timeout(TRANSFER_TIMEOUT, stream.write_all(&answer)).await??;
                timeout(TRANSFER_TIMEOUT, stream.flush()).await??;
                progress = Progress::begin();
                continue;
            }
            let between = exchange.is_at_boundary();
            let patience = if between { IDLE_TIMEOUT } else { progress.left() };
            exchange.buffer_mut().reserve(READ_LEN);
            let read = tokio::select! {
                () = stop.cancelled() => break,
                read = timeout(patience, stream.read_buf(exchange.buffer_mut())) => read,
            };
            match read {
                Ok(Ok(0)) if between => break,
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Ok(_)) if between => progress = Progress::begin(),
                Ok(Ok(arrived)) => progress.add(arrived),
                Ok(Err(error)) => return Err(error),
                Err(elapsed) => {
                    if !between {
                        self.refusals.identity(RefusalKind::TooSlow, identity.id, None);
                    }
                    return Err(elapsed.into());
                }
            }
        }
        timeout(TRANSFER_TIMEOUT, stream.shutdown()).await?
    }

    /// Who is at the other end of a connection whose handshake is over.
    fn identity_of(&self, tls: &rustls::ServerConnection) -> Option<Arc<Pinned>> {
        let certificate = tls.peer_certificates().and_then(|chain| chain.first())?;
        self.identities.find(certificate).cloned()
    }

    /// What a client sent that cannot be understood is told, and ends its connection.
    fn broken(&self, identity: &Pinned, error: &FrameError) -> io::Error {
        let kind = match error {
            FrameError::TooLong { .. } => RefusalKind::OversizeMessage,
            FrameError::Form | FrameError::Message(_) => RefusalKind::MalformedMessage,
        };
        self.refusals.identity(kind, identity.id, None);
        io::ErrorKind::InvalidData.into()
    }
}

#[cfg(test)]
pub(crate) mod tests;
