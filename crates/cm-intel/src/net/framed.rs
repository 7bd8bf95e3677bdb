//! What both versions have in common: frames, greetings now and then, and patience that ends.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use crate::gossip::packet::NoPacket;
use crate::link::Outgoing;
use crate::wire::frame::{self, HEAD_LEN};
use crate::wire::message::NoMessage;

/// How often a greeting is sent.
const HELLO_EVERY: Duration = Duration::from_secs(30);
/// After so long without a word, which is four greetings, a link is given up.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// How long the rest of a frame may take once its first byte is there.
const FRAME_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a peer may take nothing of what is sent to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Messages written in one go.
const WRITTEN_AT_ONCE: usize = 64;
/// No more is added to what is written in one go once it is so long, in bytes: all of it must pass within [`WRITE_TIMEOUT`].
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// A frame's memory grows with what comes, not with what was announced.
const READ_AT_ONCE: usize = 64 * 1024;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the peer closed the connection")]
    Closed,
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    TooLong(#[from] frame::TooLong),
    #[error(transparent)]
    NoMessage(#[from] NoMessage),
    #[error(transparent)]
    NoPacket(#[from] NoPacket),
    #[error("the peer said nothing for {} seconds", SILENCE_MAX.as_secs())]
    Silent,
    #[error("a frame took longer than {} seconds", FRAME_TIMEOUT.as_secs())]
    Slow,
    #[error("the peer took nothing for {} seconds", WRITE_TIMEOUT.as_secs())]
    Stalled,
    #[error("the link was cut by this node")]
    Cut,
}

/// Reads one frame's body.
pub(crate) async fn read_frame(
    reader: &mut (impl AsyncRead + Unpin),
    body: &mut BytesMut,
) -> Result<(), Ended> {
    let mut head = [0; HEAD_LEN];
    let first = timeout(SILENCE_MAX, reader.read(&mut head[..1])).await.map_err(|_| Ended::Silent)??;
    if first == 0 {
        return Err(Ended::Closed);
    }
    let rest = async {
        reader.read_exact(&mut head[1..]).await?;
        let len = frame::body_len(head)?;
        body.clear();
        while body.len() < len {
            let part = (len - body.len()).min(READ_AT_ONCE);
            body.reserve(part);
            let mut limited = (&mut *reader).take(part as u64);
            if limited.read_buf(body).await? == 0 {
                return Err(Ended::Closed);
            }
        }
        Ok(())
    };
    timeout(FRAME_TIMEOUT, rest).await.map_err(|_| Ended::Slow)?
}

/// Writes what waits for a peer, and greets it now and then.
pub(crate) async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: Outgoing,
    greeting: impl Fn() -> Bytes,
) -> Ended {
    let mut greet_at = Instant::now();
    loop {
        let next = tokio::select! {
            () = tokio::time::sleep_until(greet_at) => {
                greet_at = Instant::now() + HELLO_EVERY;
                Some(greeting())
            }
            next = outgoing.next() => next,
        };
        let Some(first) = next else { return Ended::Closed };
        let mut batch = BytesMut::from(first.as_ref());
        for _ in 1..WRITTEN_AT_ONCE {
            if batch.len() >= BATCH_BYTES_MAX {
                break;
            }
            let Some(more) = outgoing.ready() else { break };
            batch.extend_from_slice(&more);
        }
        let writing = async {
            writer.write_all(&batch).await?;
            writer.flush().await
        };
        match timeout(WRITE_TIMEOUT, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return Ended::Stalled,
        }
    }
}
