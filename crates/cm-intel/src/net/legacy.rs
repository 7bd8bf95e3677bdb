//! Links of version 1: frames in the clear, both ways on one connection.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use crate::Tlp;
use crate::ledger::link::Deed;
use crate::link::{Outgoing, one};
use crate::links::Entered;
use crate::pipeline::Pipeline;
use crate::wire::frame::{self, HEAD_LEN};
use crate::wire::message::{self, Hello, Message, NoMessage};

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
    #[error("the peer said nothing for {} seconds", SILENCE_MAX.as_secs())]
    Silent,
    #[error("a frame took longer than {} seconds", FRAME_TIMEOUT.as_secs())]
    Slow,
    #[error("the peer took nothing for {} seconds", WRITE_TIMEOUT.as_secs())]
    Stalled,
    #[error("cut")]
    Cut,
}

/// Runs a link until it ends.
pub(crate) async fn run<S>(
    stream: S,
    entered: Entered,
    outgoing: Outgoing,
    pipeline: Pipeline,
    hello: Hello,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (reader, writer) = tokio::io::split(stream);
    let cut = entered.link.cut.clone();
    tokio::select! {
        () = cut.cancelled() => Ended::Cut,
        ended = read(reader, &entered, &pipeline) => ended,
        ended = write(writer, outgoing, &pipeline, &hello) => ended,
    }
}

async fn read(mut reader: impl AsyncRead + Unpin, entered: &Entered, pipeline: &Pipeline) -> Ended {
    let link = &entered.link;
    let mut body = BytesMut::new();
    loop {
        if let Err(ended) = read_frame(&mut reader, &mut body).await {
            if matches!(ended, Ended::TooLong(_)) {
                link.record(Deed::Malformed, pipeline.links().now());
            }
            return ended;
        }
        match Message::parse(&body) {
            Ok(Message::Event(payload)) => pipeline.take(link, payload, Tlp::Clear).await,
            Ok(Message::Hello(_) | Message::Unknown) => {}
            Err(no_message) => {
                one(&link.tally.invalid);
                link.record(Deed::Malformed, pipeline.links().now());
                return no_message.into();
            }
        }
    }
}

/// Reads one frame's body.
async fn read_frame(reader: &mut (impl AsyncRead + Unpin), body: &mut BytesMut) -> Result<(), Ended> {
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

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: Outgoing,
    pipeline: &Pipeline,
    hello: &Hello,
) -> Ended {
    let mut greet_at = Instant::now();
    loop {
        let next = tokio::select! {
            () = tokio::time::sleep_until(greet_at) => {
                greet_at = Instant::now() + HELLO_EVERY;
                Some(Bytes::from(message::hello(hello, pipeline.links().now())))
            }
            next = outgoing.next() => next,
        };
        let Some(first) = next else { return Ended::Closed };
        let mut batch = BytesMut::from(first.as_ref());
        for _ in 1..WRITTEN_AT_ONCE {
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
