//! A connection that is closed only when the client has had time to notice.
//!
//! A request may be refused before its body has arrived. To close a connection on which bytes arrive that nobody reads makes the
//! operating system reset it, and then a client that sends its whole body before it reads finds a broken pipe in place of
//! the answer. So what is left of such a body is read and thrown away, for a while.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long what is left of a body is read after the answer.
const LINGER_TIME: Duration = Duration::from_secs(5);
/// How much of it, in bytes. Clients with longer ones mostly wait for leave to send, or listen while they do.
const LINGER_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 16 << 10;

/// Whether the body of the last request on a connection is not yet read to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// The body of a request, watched until its end.
    pub(crate) fn watch(&self, body: Incoming) -> Body {
        let is_over = body.is_end_stream();
        self.0.store(!is_over, Ordering::Relaxed);
        if is_over { Body::new(body) } else { Body::new(Watched { body, unread: self.clone() }) }
    }
}

struct Watched {
    body: Incoming,
    unread: Unread,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if frame.is_none() || this.body.is_end_stream() {
            this.unread.0.store(false, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Reads on after its shutdown, if a body is left unread.
pub(crate) struct Lingering<T> {
    inner: T,
    unread: Unread,
    /// Until when, and how many bytes more, once the answer is out.
    left: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<T> Lingering<T> {
    pub(crate) fn new(inner: T, unread: Unread) -> Self {
        Self { inner, unread, left: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        if !this.unread.0.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let begin = || (Box::pin(tokio::time::sleep(LINGER_TIME)), LINGER_BYTES_MAX);
        let (until, left) = this.left.get_or_insert_with(begin);
        let mut thrown_away = [0; READ_BYTES];
        while *left > 0 && until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut thrown_away);
            // An error is the client's end, too.
            let read = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buf));
            match buf.filled().len() {
                arrived @ 1.. if read.is_ok() => *left = left.saturating_sub(arrived),
                _ => break,
            }
        }
        this.unread.0.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}
