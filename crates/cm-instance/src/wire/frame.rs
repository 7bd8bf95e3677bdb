//! The frames, and reading them from a stream that arrives in pieces.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;

/// Longest message in a frame, in bytes. Longer payloads go in several `append_file` requests.
pub const FRAME_LEN_MAX: usize = 16 * 1024 * 1024;
/// Length of the number before each message, in bytes.
pub const HEADER_LEN: usize = 8;

/// What is wrong with a frame. The connection cannot be used after it.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The announced length is over the limit.
    #[error("a message of {found} bytes was announced, at most {max} are allowed")]
    TooLong {
        /// The announced length.
        found: u64,
        /// The limit.
        max: usize,
    },
    /// The bytes are no message, or not in the one order in which a long file is taken.
    #[error("the bytes are no message of the protocol")]
    Form,
    /// The message is no protobuf message of the expected type.
    #[error("the message cannot be decoded")]
    Message(#[from] prost::DecodeError),
}

/// Takes messages out of a stream of bytes that arrives in pieces of any size.
///
/// It holds at most one incomplete message, of at most the limit's length, besides what was pushed with it.
/// After an error it gives nothing more, because the place where the next frame begins is unknown.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    frame_len_max: usize,
    broken: bool,
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new(FRAME_LEN_MAX)
    }
}

impl FrameDecoder {
    /// A decoder that refuses messages longer than `frame_len_max` bytes.
    pub fn new(frame_len_max: usize) -> Self {
        Self { buffer: BytesMut::new(), frame_len_max, broken: false }
    }

    /// Adds bytes that have arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The buffer, to read from a socket into it without copying. Only appending makes sense.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole message, undecoded; `None` until more bytes arrive.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER_LEN>().filter(|_| !self.broken) else {
            return Ok(None);
        };
        let announced = u64::from_be_bytes(*header);
        let length = usize::try_from(announced).ok().filter(|&length| length <= self.frame_len_max);
        let Some(length) = length else {
            self.broken = true;
            self.buffer = BytesMut::new();
            return Err(FrameError::TooLong { found: announced, max: self.frame_len_max });
        };
        if self.buffer.len() < HEADER_LEN + length {
            let missing = HEADER_LEN + length - self.buffer.len();
            self.buffer.reserve(missing.min(RESERVE_MAX));
            return Ok(None);
        }
        self.buffer.advance(HEADER_LEN);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// The next whole message, decoded; `None` until more bytes arrive.
    pub fn next_message<M: Message + Default>(&mut self) -> Result<Option<M>, FrameError> {
        let Some(frame) = self.next_frame()? else { return Ok(None) };
        match M::decode(frame) {
            Ok(message) => Ok(Some(message)),
            Err(error) => {
                self.broken = true;
                Err(error.into())
            }
        }
    }

    /// Whether the stream may end here: no part of a message has arrived.
    pub fn is_at_boundary(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Most memory that an announcement alone makes the decoder reserve; more comes as bytes really arrive.
pub(super) const RESERVE_MAX: usize = 256 * 1024;

/// The frame of a message. Fails only if the message is longer than [`FRAME_LEN_MAX`].
pub fn encode_frame<M: Message>(message: &M) -> Result<Bytes, FrameError> {
    let mut frame = BytesMut::new();
    append_frame(message, &mut frame)?;
    Ok(frame.freeze())
}

/// Adds the frame of a message to a buffer, which can so be used again. Fails as [`encode_frame`] does, and then
/// adds nothing.
pub fn append_frame<M: Message>(message: &M, buffer: &mut BytesMut) -> Result<(), FrameError> {
    let length = message.encoded_len();
    if length > FRAME_LEN_MAX {
        return Err(FrameError::TooLong { found: length as u64, max: FRAME_LEN_MAX });
    }
    buffer.reserve(HEADER_LEN + length);
    buffer.put_u64(length as u64);
    message.encode(buffer).expect("a growable buffer has room for every message");
    Ok(())
}
