//! The bytes of an exchange.
//!
//! Who opens it sends a head: form (1 byte: 1 a request, 2 a stream), length of the kind (1 byte), kind, deadline in
//! milliseconds (4 bytes), length of the body (4 bytes), body. After that both ends send frames: what it is (1 byte), length
//! (4 bytes), bytes. 0 is a piece, 1 the end with the answer, from 16 on why there is none. Numbers are big-endian.

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::Refusal;
use crate::kind::{KIND_LEN_MAX, is_name};

/// Longest piece of a stream, in bytes. Longer ones are cut when they are sent.
pub const PIECE_LEN_MAX: usize = 256 * 1024;
/// Longest message that can be announced, in bytes.
pub const MESSAGE_LEN_MAX: usize = 64 << 20;
/// What is set aside for a message before its bytes have come.
const RESERVED_MAX: usize = 64 * 1024;

const REQUEST: u8 = 1;
const STREAM: u8 = 2;
const PIECE: u8 = 0;
const END: u8 = 1;
const REFUSALS: [(u8, Refusal); 7] = [
    (16, Refusal::UnknownKind),
    (17, Refusal::TooLong),
    (18, Refusal::Busy),
    (19, Refusal::Expired),
    (20, Refusal::NotAllowed),
    (21, Refusal::Unavailable),
    (22, Refusal::Malformed),
];

/// Whether an exchange is a request or a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One message, one answer.
    Request,
    /// Pieces in both directions.
    Stream,
}

/// How an exchange begins. The body follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Request or stream.
    pub form: Form,
    /// The name of the kind.
    pub kind: String,
    /// How long the asker waits, in milliseconds.
    pub timeout_ms: u32,
    /// How long the body is, in bytes, at most [`MESSAGE_LEN_MAX`].
    pub body_len: usize,
}

/// A frame after the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A piece of a stream.
    Piece(Bytes),
    /// The end, with the answer.
    End(Bytes),
    /// There is no answer.
    Refused(Refusal),
}

/// Why bytes are no exchange.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// They ended or could not be read.
    #[error("the bytes ended")]
    Io(#[from] std::io::Error),
    /// They are of no known form.
    #[error("the bytes are no message")]
    Malformed,
    /// The announced length is above the limit.
    #[error("{len} bytes were announced, {max} are allowed")]
    TooLong {
        /// What was announced, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
}

impl Head {
    /// The bytes of the head, without the body.
    pub fn encode(&self) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(10 + self.kind.len());
        bytes.put_u8(match self.form {
            Form::Request => REQUEST,
            Form::Stream => STREAM,
        });
        bytes.put_u8(u8::try_from(self.kind.len()).expect("kinds are short"));
        bytes.put_slice(self.kind.as_bytes());
        bytes.put_u32(self.timeout_ms);
        bytes.put_u32(u32::try_from(self.body_len).expect("messages are below 64 MiB"));
        bytes
    }

    /// Reads a head.
    ///
    /// # Errors
    /// When the bytes end or are none. Not cancel-safe.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Self, FrameError> {
        let form = match from.read_u8().await? {
            REQUEST => Form::Request,
            STREAM => Form::Stream,
            _ => return Err(FrameError::Malformed),
        };
        let len = usize::from(from.read_u8().await?);
        let mut kind = [0; KIND_LEN_MAX];
        let kind = kind.get_mut(..len).ok_or(FrameError::Malformed)?;
        from.read_exact(kind).await?;
        if !is_name(kind) {
            return Err(FrameError::Malformed);
        }
        let kind = String::from_utf8(kind.to_vec()).map_err(|_| FrameError::Malformed)?;
        let timeout_ms = from.read_u32().await?;
        let body_len = length(from.read_u32().await?, MESSAGE_LEN_MAX)?;
        Ok(Self { form, kind, timeout_ms, body_len })
    }
}

impl Frame {
    /// What precedes the bytes of the frame.
    pub fn header(&self) -> [u8; 5] {
        let (tag, len) = match self {
            Frame::Piece(bytes) => (PIECE, bytes.len()),
            Frame::End(bytes) => (END, bytes.len()),
            Frame::Refused(refusal) => {
                let (tag, _) = REFUSALS.iter().find(|(_, one)| one == refusal).expect("all are listed");
                (*tag, 0)
            }
        };
        let len = u32::try_from(len).expect("messages are below 64 MiB").to_be_bytes();
        [tag, len[0], len[1], len[2], len[3]]
    }

    /// Reads a frame whose end is at most so many bytes long.
    ///
    /// # Errors
    /// When the bytes end, are none, or too many. Not cancel-safe.
    pub async fn read(from: &mut (impl AsyncRead + Unpin), end_len_max: usize) -> Result<Self, FrameError> {
        let tag = from.read_u8().await?;
        let announced = from.read_u32().await?;
        match tag {
            PIECE if announced == 0 => Err(FrameError::Malformed),
            PIECE => Ok(Frame::Piece(body(from, length(announced, PIECE_LEN_MAX)?).await?)),
            END => Ok(Frame::End(body(from, length(announced, end_len_max)?).await?)),
            tag => {
                let found = REFUSALS.iter().find(|(known, _)| *known == tag && announced == 0);
                found.map(|(_, refusal)| Frame::Refused(*refusal)).ok_or(FrameError::Malformed)
            }
        }
    }
}

fn length(announced: u32, max: usize) -> Result<usize, FrameError> {
    match usize::try_from(announced) {
        Ok(len) if len <= max => Ok(len),
        Ok(len) => Err(FrameError::TooLong { len, max }),
        Err(_) => Err(FrameError::TooLong { len: usize::MAX, max }),
    }
}

/// Reads so many bytes. What is announced costs no memory until it comes. Not cancel-safe.
pub(crate) async fn body(from: &mut (impl AsyncRead + Unpin), len: usize) -> Result<Bytes, FrameError> {
    let mut bytes = Vec::with_capacity(len.min(RESERVED_MAX));
    let read = from.take(len as u64).read_to_end(&mut bytes).await?;
    if read < len {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use proptest::prelude::*;

    use super::*;

    fn frame() -> impl Strategy<Value = Frame> {
        let bytes = |range| prop::collection::vec(any::<u8>(), range).prop_map(Bytes::from);
        prop_oneof![
            bytes(1..300).prop_map(Frame::Piece),
            bytes(0..300).prop_map(Frame::End),
            prop::sample::select(&REFUSALS[..]).prop_map(|(_, refusal)| Frame::Refused(refusal)),
        ]
    }

    fn encode(frame: &Frame) -> Vec<u8> {
        let mut bytes = frame.header().to_vec();
        if let Frame::Piece(body) | Frame::End(body) = frame {
            bytes.extend_from_slice(body);
        }
        bytes
    }

    proptest! {
        #[test]
        fn frames_read_back(frames in prop::collection::vec(frame(), 0..5)) {
            let bytes: Vec<u8> = frames.iter().flat_map(encode).collect();
            let mut from = &bytes[..];
            for frame in &frames {
                prop_assert_eq!(&block_on(Frame::read(&mut from, 300)).unwrap(), frame);
            }
            prop_assert!(from.is_empty());
        }

        #[test]
        fn heads_read_back(kind in "[a-z0-9.-]{1,32}", stream: bool, timeout_ms: u32, body_len in 0..MESSAGE_LEN_MAX) {
            let form = if stream { Form::Stream } else { Form::Request };
            let head = Head { form, kind, timeout_ms, body_len };
            let bytes = head.encode();
            prop_assert_eq!(block_on(Head::read(&mut &bytes[..])).unwrap(), head);
        }

        #[test]
        fn a_part_of_a_frame_is_none(frame in frame(), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&frame);
            let mut from = &bytes[..cut.index(bytes.len())];
            prop_assert!(matches!(block_on(Frame::read(&mut from, 300)), Err(FrameError::Io(_))));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = block_on(Head::read(&mut &bytes[..]));
            let _ = block_on(Frame::read(&mut &bytes[..], 60));
        }
    }

    #[test]
    fn lengths_above_the_limit_are_refused_before_anything_is_read() {
        let read = |bytes: &[u8]| block_on(Frame::read(&mut &bytes[..], 4));
        assert!(matches!(read(&[END, 0, 0, 0, 5]), Err(FrameError::TooLong { len: 5, max: 4 })));
        assert!(matches!(read(&[PIECE, 0, 4, 0, 1]), Err(FrameError::TooLong { .. })));
        assert!(matches!(read(&[PIECE, 0, 0, 0, 0]), Err(FrameError::Malformed)));
        assert!(matches!(read(&[18, 0, 0, 0, 1]), Err(FrameError::Malformed)));
        let head = [REQUEST, 1, b'x', 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff];
        assert!(matches!(block_on(Head::read(&mut &head[..])), Err(FrameError::TooLong { .. })));
    }
}
