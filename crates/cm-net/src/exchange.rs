//! Exchanges of pieces of bytes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cm_types::PeerId;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use crate::connection::Substream;
use crate::counters::Tally;
use crate::frame::{Frame, FrameError, PIECE_LEN_MAX};
use crate::{LinkError, Refusal};

/// Bodies up to this length travel in one frame of the multiplexer with what precedes them.
const JOINED_LEN_MAX: usize = 8 * 1024;

/// Either end of an exchange.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) peer: PeerId,
    pub(crate) stream: Substream,
    pub(crate) tally: Arc<Tally>,
    pub(crate) stalled_after: Duration,
    pub(crate) end_len_max: usize,
}

impl Wire {
    /// Header and body, flushed. Not cancel-safe.
    pub(crate) async fn write(&mut self, header: &[u8], body: &[u8]) -> io::Result<()> {
        if body.len() <= JOINED_LEN_MAX {
            self.stream.write_all(&[header, body].concat()).await?;
        } else {
            self.stream.write_all(header).await?;
            self.stream.write_all(body).await?;
        }
        self.stream.flush().await?;
        self.tally.bytes_sent.many(body.len());
        Ok(())
    }

    async fn write_frame(&mut self, frame: &Frame) -> io::Result<()> {
        let body = match frame {
            Frame::Piece(bytes) | Frame::End(bytes) => bytes.clone(),
            Frame::Refused(_) => Bytes::new(),
        };
        let stalled_after = self.stalled_after;
        let written = timeout(stalled_after, self.write(&frame.header(), &body)).await;
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    pub(crate) async fn read_frame(&mut self) -> Result<Frame, LinkError> {
        let (stalled_after, end_len_max) = (self.stalled_after, self.end_len_max);
        let peer = || self.peer.clone();
        let frame = match timeout(stalled_after, Frame::read(&mut self.stream, end_len_max)).await {
            Err(_) => return Err(LinkError::Timeout { peer: peer(), timeout: stalled_after }),
            Ok(Err(FrameError::Io(_))) => return Err(LinkError::Lost(peer())),
            Ok(Err(FrameError::Malformed | FrameError::TooLong { .. })) => {
                return Err(LinkError::Malformed(peer()));
            }
            Ok(Ok(frame)) => frame,
        };
        if let Frame::Piece(bytes) | Frame::End(bytes) = &frame {
            self.tally.bytes_received.many(bytes.len());
        }
        Ok(frame)
    }

    async fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_LEN_MAX));
            self.write_frame(&Frame::Piece(piece)).await?;
        }
        Ok(())
    }
}

/// An exchange that was opened here. Dropping it breaks it off, and the handler at the other end is dropped.
///
/// Both directions are independent and have credit of their own. Who sends without receiving while the peer does the same waits
/// until both have stalled; of long exchanges, one direction should be the long one.
#[derive(Debug)]
pub struct Outgoing {
    wire: Wire,
    until: Instant,
    timeout: Duration,
    answer: Option<Bytes>,
    /// One of the exchanges that this node may have with the peer.
    _slot: OwnedSemaphorePermit,
}

impl Outgoing {
    pub(crate) fn new(wire: Wire, until: Instant, timeout: Duration, slot: OwnedSemaphorePermit) -> Self {
        Self { wire, until, timeout, answer: None, _slot: slot }
    }

    /// Sends the head. If the peer refuses before it has read everything, the refusal is found when the answer is read.
    pub(crate) async fn begin(&mut self, head: &[u8], body: &[u8]) -> Result<(), LinkError> {
        match timeout_at(self.until, self.wire.write(head, body)).await {
            Err(_) => Err(self.expired()),
            Ok(_) => Ok(()),
        }
    }

    fn expired(&self) -> LinkError {
        LinkError::Timeout { peer: self.wire.peer.clone(), timeout: self.timeout }
    }

    /// Sends bytes, cut into pieces as needed. Waits for the receiver's credit.
    ///
    /// # Errors
    /// When the deadline passes, the peer stalls, or has ended the exchange: then with its refusal, if it said one. Not cancel-safe.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), LinkError> {
        match timeout_at(self.until, self.wire.send(bytes)).await {
            Err(_) => Err(self.expired()),
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.why_ended().await),
        }
    }

    /// Says that nothing more comes. The answer can still take its time.
    ///
    /// # Errors
    /// As [`Outgoing::send`]. Not cancel-safe.
    pub async fn finish(&mut self) -> Result<(), LinkError> {
        match timeout_at(self.until, self.wire.write_frame(&Frame::End(Bytes::new()))).await {
            Err(_) => Err(self.expired()),
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.why_ended().await),
        }
    }

    /// Lets the peer say nothing until the deadline: it has to work before it answers. Whether it is still there, the link's probes tell.
    pub fn let_it_work(&mut self) {
        self.wire.stalled_after = self.timeout;
    }

    /// The next piece that the peer sends, or `None` once it has answered.
    ///
    /// # Errors
    /// When the peer refuses, stalls, or the exchange breaks off: what was received then is not everything. Not cancel-safe.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, LinkError> {
        if self.answer.is_some() {
            return Ok(None);
        }
        let frame = match timeout_at(self.until, self.wire.read_frame()).await {
            Err(_) => return Err(self.expired()),
            Ok(frame) => frame?,
        };
        match frame {
            Frame::Piece(bytes) => Ok(Some(bytes)),
            Frame::End(answer) => {
                self.wire.tally.answered.one();
                self.answer = Some(answer);
                Ok(None)
            }
            Frame::Refused(refusal) => Err(LinkError::Refused { peer: self.wire.peer.clone(), refusal }),
        }
    }

    /// The answer with which the peer ends the exchange. Pieces before it are passed over.
    ///
    /// # Errors
    /// As [`Outgoing::receive`]. Not cancel-safe.
    pub async fn answer(mut self) -> Result<Bytes, LinkError> {
        while self.receive().await?.is_some() {}
        self.answer.ok_or(LinkError::Lost(self.wire.peer))
    }

    /// What the peer said before it stopped listening.
    async fn why_ended(&mut self) -> LinkError {
        loop {
            match self.receive().await {
                Ok(Some(_)) => {}
                // An answer before everything was heard is none.
                Ok(None) => return LinkError::Lost(self.wire.peer.clone()),
                Err(error) => return error,
            }
        }
    }
}

/// An exchange that a peer opened, in the hands of the handler of its kind. Dropping it breaks it off.
#[derive(Debug)]
pub struct Incoming {
    wire: Wire,
    ended: bool,
}

impl Incoming {
    pub(crate) fn new(wire: Wire) -> Self {
        Self { wire, ended: false }
    }

    /// Who opened it.
    pub fn peer(&self) -> &PeerId {
        &self.wire.peer
    }

    /// The next piece, or `None` after the last. An error means that the peer broke off: what was received is not everything.
    ///
    /// # Errors
    /// When the peer stalls or is gone. Not cancel-safe.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, LinkError> {
        if self.ended {
            return Ok(None);
        }
        match self.wire.read_frame().await? {
            Frame::Piece(bytes) => Ok(Some(bytes)),
            Frame::End(_) => {
                self.ended = true;
                Ok(None)
            }
            Frame::Refused(_) => Err(LinkError::Malformed(self.wire.peer.clone())),
        }
    }

    /// Sends bytes, cut into pieces as needed. Waits for the receiver's credit.
    ///
    /// # Errors
    /// When the peer stalls or is gone. Not cancel-safe.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), LinkError> {
        self.wire.send(bytes).await.map_err(|_| LinkError::Lost(self.wire.peer.clone()))
    }

    /// Ends the exchange with an answer.
    ///
    /// # Errors
    /// When the answer is too long, or the peer is gone. Not cancel-safe.
    pub async fn answer(mut self, answer: Bytes) -> Result<(), LinkError> {
        if answer.len() > crate::frame::MESSAGE_LEN_MAX {
            return Err(LinkError::TooLong { len: answer.len(), max: crate::frame::MESSAGE_LEN_MAX });
        }
        self.end(Frame::End(answer)).await
    }

    /// Ends the exchange without an answer.
    ///
    /// # Errors
    /// When the peer is gone. Not cancel-safe.
    pub async fn refuse(mut self, refusal: Refusal) -> Result<(), LinkError> {
        self.wire.tally.refused.one();
        self.end(Frame::Refused(refusal)).await
    }

    async fn end(&mut self, frame: Frame) -> Result<(), LinkError> {
        self.wire.write_frame(&frame).await.map_err(|_| LinkError::Lost(self.wire.peer.clone()))
    }

    /// Returns when the peer has broken off, or sends what a request does not.
    pub(crate) async fn gone(&mut self) {
        use tokio::io::AsyncReadExt as _;
        let _ = self.wire.stream.read_u8().await;
    }

    pub(crate) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }
}
