//! What a node and the server of an endpoint say to each other: one JSON document per line, over a socket that the
//! server inherits.
//!
//! The node begins with [`ToServer::Start`], the server answers [`FromServer::Ready`] once it listens, and from then on
//! only the node speaks. A server that finds the socket closed has lost its node, and ends.

use std::io;

use cm_types::ResourceId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::{Moment, News};

/// Longest line, in bytes: room for the statuses of a thousand functions.
pub const LINE_LEN_MAX: usize = 1 << 20;

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum ToServer {
    /// Begin, as this endpoint.
    Start {
        /// The endpoint.
        endpoint_id: ResourceId,
        /// What people call it.
        name: String,
        /// Its state.
        moment: Moment,
    },
    /// Show this from now on.
    Tell {
        /// What is new.
        news: News,
    },
    /// Take nothing new, finish what is open, and end.
    Drain {
        /// Within so many milliseconds.
        within_ms: u64,
    },
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum FromServer {
    /// It listens on both ports.
    Ready,
    /// It cannot begin.
    Failed {
        /// Why not.
        reason: String,
    },
}

/// Why the two do not understand each other.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket failed.
    #[error("the control socket failed")]
    Socket(#[from] io::Error),
    /// A line is longer than [`LINE_LEN_MAX`].
    #[error("a control message is longer than {LINE_LEN_MAX} bytes")]
    TooLong,
    /// A line is no message.
    #[error("a control message cannot be understood")]
    Nonsense(#[from] serde_json::Error),
}

/// One end of the socket.
#[derive(Debug)]
pub struct Channel {
    socket: UnixStream,
    lines: Lines,
}

impl Channel {
    /// An end of a connected socket.
    pub fn new(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixStream::from_std(socket)?, lines: Lines::default() })
    }

    /// Sends a message. Not cancel-safe: the other end could be left with half of one.
    pub async fn send(&mut self, message: &impl Serialize) -> Result<(), ControlError> {
        Ok(self.socket.write_all(&line(message)?).await?)
    }

    /// The next message; `None` when the other end is closed. Cancel-safe: what has arrived is kept.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ControlError> {
        loop {
            if let Some(line) = self.lines.take()? {
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            match self.socket.read_buf(&mut self.lines.arrived).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                // A process that was killed may reset the connection instead of closing it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn line(message: &impl Serialize) -> Result<Vec<u8>, ControlError> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    if line.len() > LINE_LEN_MAX { Err(ControlError::TooLong) } else { Ok(line) }
}

/// What has arrived, cut into lines.
#[derive(Debug, Default)]
struct Lines {
    arrived: Vec<u8>,
}

impl Lines {
    fn take(&mut self) -> Result<Option<Vec<u8>>, ControlError> {
        let end = self.arrived.iter().position(|byte| *byte == b'\n');
        if end.unwrap_or(self.arrived.len()) >= LINE_LEN_MAX {
            return Err(ControlError::TooLong);
        }
        let Some(end) = end else { return Ok(None) };
        let rest = self.arrived.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.arrived, rest);
        line.pop();
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use cm_types::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::FunctionStatus;

    fn id() -> impl Strategy<Value = ResourceId> {
        "[a-z0-9][a-z0-9-]{0,20}".prop_map(|text| ResourceId::parse(text).unwrap())
    }

    fn moment() -> impl Strategy<Value = Moment> {
        (".{0,20}", any::<u32>(), proptest::option::of(".{0,40}")).prop_map(|(state, micros, reason)| {
            Moment { state, since: Timestamp::from_micros(i64::from(micros)), reason }
        })
    }

    fn message() -> impl Strategy<Value = ToServer> {
        let functions = proptest::collection::vec(
            (id(), ".{0,10}").prop_map(|(function_id, deployment_status)| FunctionStatus {
                function_id,
                deployment_status,
            }),
            0..5,
        );
        prop_oneof![
            (id(), ".{0,20}", moment()).prop_map(|(endpoint_id, name, moment)| ToServer::Start {
                endpoint_id,
                name,
                moment
            }),
            moment().prop_map(|moment| ToServer::Tell { news: News::State(moment) }),
            functions.prop_map(|functions| ToServer::Tell { news: News::Functions { functions } }),
            any::<u64>().prop_map(|within_ms| ToServer::Drain { within_ms }),
        ]
    }

    proptest! {
        #[test]
        fn messages_arrive_as_sent_however_they_are_cut(
            messages in proptest::collection::vec(message(), 0..6),
            piece_len in 1..50usize,
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|message| line(message).unwrap()).collect();
            let (mut lines, mut arrived) = (Lines::default(), Vec::new());
            for piece in bytes.chunks(piece_len) {
                lines.arrived.extend_from_slice(piece);
                while let Some(line) = lines.take().unwrap() {
                    arrived.push(serde_json::from_slice::<ToServer>(&line).unwrap());
                }
            }
            prop_assert_eq!(arrived, messages);
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut lines = Lines { arrived: vec![b'x'; LINE_LEN_MAX - 1] };
        assert!(lines.take().unwrap().is_none());
        lines.arrived.push(b'x');
        assert!(matches!(lines.take(), Err(ControlError::TooLong)));
    }
}
