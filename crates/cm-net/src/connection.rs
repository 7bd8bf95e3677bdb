//! One connection with many exchanges on it.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::io::BufWriter;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsStream;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
use yamux::{ConnectionError, Mode};

use crate::Config;

/// Frames of the multiplexer have 12 bytes in front; they and what follows share a TLS record.
const WRITE_BUFFER_LEN: usize = 64 * 1024;
/// What the multiplexer grants each stream at first.
const CREDIT: usize = yamux::DEFAULT_CREDIT as usize;
/// Streams beyond those that are answered and refused in good order; who opens more loses the connection.
const STREAMS_SPARE: usize = 16;
/// For the good-bye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The bytes of one exchange.
pub(crate) type Substream = Compat<yamux::Stream>;

/// A connection after its handshake.
pub(crate) struct Connection {
    inner: yamux::Connection<Compat<BufWriter<TlsStream<TcpStream>>>>,
    asked: mpsc::Receiver<oneshot::Sender<yamux::Stream>>,
}

/// Opens exchanges on a connection that somebody drives. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Opener(mpsc::Sender<oneshot::Sender<yamux::Stream>>);

impl Opener {
    /// A new exchange; `None` if the connection is gone. Cancel-safe.
    pub(crate) async fn open(&self) -> Option<Substream> {
        let (answer, opened) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        opened.await.ok().map(|stream| stream.compat())
    }
}

impl Connection {
    pub(crate) fn new(stream: TlsStream<TcpStream>, mode: Mode, config: &Config) -> (Self, Opener) {
        let streams_max = config.exchanges_per_peer_max.clamp(1, 512) * 2 + STREAMS_SPARE;
        let mut limits = yamux::Config::default();
        limits.set_max_num_streams(streams_max);
        limits.set_max_connection_receive_window(Some(streams_max * CREDIT));
        let stream = BufWriter::with_capacity(WRITE_BUFFER_LEN, stream).compat();
        let (sender, asked) = mpsc::channel(1);
        (Self { inner: yamux::Connection::new(stream, limits, mode), asked }, Opener(sender))
    }

    /// Moves the bytes of all exchanges until the connection ends, and hands over those that the other end opens.
    pub(crate) async fn drive(&mut self, mut accept: impl FnMut(Substream)) -> Result<(), ConnectionError> {
        let mut waiting: Option<oneshot::Sender<yamux::Stream>> = None;
        poll_fn(|cx| {
            loop {
                if waiting.as_ref().is_none_or(oneshot::Sender::is_closed) {
                    waiting = match self.asked.poll_recv(cx) {
                        Poll::Ready(asker) => asker,
                        Poll::Pending => None,
                    };
                }
                if waiting.is_some() {
                    match self.inner.poll_new_outbound(cx) {
                        Poll::Ready(Ok(stream)) => {
                            // Who does not wait any more drops the stream, which resets it.
                            if let Some(waiting) = waiting.take() {
                                let _ = waiting.send(stream);
                            }
                            continue;
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => {}
                    }
                }
                match self.inner.poll_next_inbound(cx) {
                    Poll::Ready(Some(Ok(stream))) => accept(stream.compat()),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Says good-bye; whoever is in the middle of an exchange learns that it broke off.
    pub(crate) async fn close(mut self) {
        let closing = poll_fn(|cx| self.inner.poll_close(cx));
        // The connection is gone afterwards, whether the other end has heard it or not.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }
}
