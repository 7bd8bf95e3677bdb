//! The instance's door: TLS connections of the policy's identities, one request after the other on each.
//!
//! The loop runs on one thread and computes nothing long: programs run on threads of their own
//! ([`runs`]), so that reading, cancelling and asking for the state stay possible while one runs. Every
//! wait has a limit: the handshake, the next request, a frame's bytes, the writing of an answer.
//!
//! Places are taken by whoever has proved who it is, and each identity has its share of them, so that no
//! identity keeps the others out. Strangers share places of their own, for handshakes, where the oldest gives
//! way to the newest: whoever means it is through long before, and whoever dawdles keeps nobody waiting.

mod host;
mod requests;
mod runs;
mod tls;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cm_instance::wire::FrameDecoder;
use cm_runtime::Tasks;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub(crate) use host::{FileError, Host, Part};
pub(crate) use requests::Service;
pub(crate) use runs::{Observe, RUNNING_MAX, Runs};
pub(crate) use tls::{Identities, InstanceKey, TlsError};

/// From the connection to the end of its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// From one answer to the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// From the first byte of a frame to its last, and for the writing of an answer.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(60);
/// Room for the first bytes of a frame.
const READ_LEN: usize = 64 * 1024;
/// The longest frame whose memory a connection keeps for the next one.
const KEPT_LEN_MAX: usize = 1024 * 1024;
/// For a connection to give its last answer when the instance ends.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);
/// Handshakes at a time.
pub(crate) const HANDSHAKES_MAX: usize = 64;
/// After an accept failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every connection shares.
pub(crate) struct Server {
    tls: TlsAcceptor,
    identities: Arc<Identities>,
    service: Arc<Service>,
    /// The share of each identity.
    places: HashMap<u64, Arc<Semaphore>>,
}

impl Server {
    /// Joins the parts. The identities share `connections_max` connections equally; each has at least one.
    pub(crate) fn new(
        tls: TlsAcceptor,
        identities: Arc<Identities>,
        service: Arc<Service>,
        connections_max: usize,
    ) -> Self {
        let share = (connections_max / identities.ids().count().max(1)).max(1);
        let places = identities.ids().map(|id| (id, Arc::new(Semaphore::new(share)))).collect();
        Self { tls, identities, service, places }
    }

    /// Accepts until the tasks are told to stop. Cancel-safe: connections live on in their tasks.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, tasks: &Tasks) {
        let stop = tasks.token();
        // Each is cancelled by its connection when it is over, or from here when it has to give way.
        let mut handshakes: VecDeque<CancellationToken> = VecDeque::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
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
                    _ = server.converse(stream, handshake, &stop) => {}
                }
            });
        }
    }

    /// One connection from handshake to end.
    async fn converse(
        &self,
        stream: TcpStream,
        handshake: CancellationToken,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let over = handshake.clone().drop_guard();
        stream.set_nodelay(true)?;
        let mut stream = tokio::select! {
            () = handshake.cancelled() => return Err(io::ErrorKind::TimedOut.into()),
            stream = timeout(HANDSHAKE_TIMEOUT, self.tls.accept(stream)) => stream??,
        };
        drop(over);
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let identity = certificate.and_then(|certificate| self.identities.find(certificate)).cloned();
        let Some(identity) = identity else {
            return Err(io::ErrorKind::PermissionDenied.into());
        };
        let place = self.places.get(&identity.id).map(|share| share.clone().try_acquire_owned());
        let Some(Ok(_place)) = place else {
            return timeout(TRANSFER_TIMEOUT, stream.shutdown()).await?;
        };
        let mut decoder = FrameDecoder::default();
        loop {
            let frame = tokio::select! {
                () = stop.cancelled() => break,
                frame = next_frame(&mut stream, &mut decoder) => frame?,
            };
            let Some(frame) = frame else { break };
            if identity.check(std::time::SystemTime::now().into()).is_err() {
                break;
            }
            let answer = self.service.answer(identity.id, frame).await;
            timeout(TRANSFER_TIMEOUT, stream.write_all(&answer)).await??;
            timeout(TRANSFER_TIMEOUT, stream.flush()).await??;
        }
        timeout(TRANSFER_TIMEOUT, stream.shutdown()).await?
    }
}

/// The next frame's payload; `None` if the client left between two frames.
///
/// The decoder keeps its buffer from frame to frame: to give memory back and take it anew for every piece of a
/// large file costs more than to decrypt it. Memory is taken as bytes arrive, not as they are announced, and what a
/// longer frame took is given back.
async fn next_frame(
    stream: &mut (impl AsyncRead + Unpin),
    decoder: &mut FrameDecoder,
) -> io::Result<Option<Bytes>> {
    decoder.buffer_mut().reserve(READ_LEN);
    if decoder.is_at_boundary() && timeout(IDLE_TIMEOUT, stream.read_buf(decoder.buffer_mut())).await?? == 0 {
        return Ok(None);
    }
    let rest = async {
        loop {
            if let Some(frame) = decoder.next_frame().map_err(|_| io::ErrorKind::InvalidData)? {
                return Ok(frame);
            }
            if stream.read_buf(decoder.buffer_mut()).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
    };
    let frame = timeout(TRANSFER_TIMEOUT, rest).await??;
    if frame.len() > KEPT_LEN_MAX {
        let buffer = decoder.buffer_mut();
        *buffer = BytesMut::from(&buffer[..]);
    }
    Ok(Some(frame))
}

#[cfg(test)]
pub(crate) mod tests;
