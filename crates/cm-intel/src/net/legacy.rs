//! Links of version 1: frames in the clear, both ways on one connection.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::framed::{Ended, read_frame, write};
use crate::Tlp;
use crate::ledger::link::Deed;
use crate::link::{Outgoing, one};
use crate::links::Entered;
use crate::pipeline::Pipeline;
use crate::wire::message::{self, Hello, Message};

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
    let greeting = || Bytes::from(message::hello(&hello, pipeline.links().now()));
    tokio::select! {
        () = cut.cancelled() => Ended::Cut,
        ended = read(reader, &entered, &pipeline) => ended,
        ended = write(writer, outgoing, greeting) => ended,
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
        one(&link.tally.frames);
        match Message::parse(&body) {
            Ok(Message::Event(payload)) => {
                pipeline.take(link, payload, Tlp::Clear).await;
            }
            Ok(Message::Hello(_) | Message::Unknown) => {}
            Err(no_message) => {
                one(&link.tally.invalid);
                link.record(Deed::Malformed, pipeline.links().now());
                return no_message.into();
            }
        }
    }
}
