//! Taking requests out of a stream, in the forms of both eras, and long files in pieces.
//!
//! ```text
//! framed   length (8 bytes, big-endian)   [context] body
//! bare                                    [context] body
//! ```
//!
//! The published client of the first era sends its messages **bare**: it has nothing before them, and where one ends shows
//! in its one field. No length begins with another byte than 0 and no message with 0, so that the first byte tells the two
//! apart.
//!
//! Both eras send a file in one message, however long the file is. A message that is longer than [`FRAME_LEN_MAX`]
//! must therefore be the writing of a file, and is given out in pieces as they arrive; nothing holds all of it.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::encoding::{encode_varint, encoded_len_varint};

use super::frame::{FRAME_LEN_MAX, FrameError, HEADER_LEN, RESERVE_MAX};

/// Longest file name in a message that is taken in pieces, in bytes.
const NAME_LEN_MAX: usize = 4096;
/// Most bytes that stand around the bytes of a file in such a message: keys, lengths, the name.
const AROUND_MAX: u64 = NAME_LEN_MAX as u64 + 64;
/// Longest varint, in bytes.
const VARINT_LEN_MAX: usize = 10;

/// The keys of the fields, with their wire types.
const CONTEXT: u64 = 1 << 3;
const WRITE_FILE: u64 = 2 << 3 | LENGTH_DELIMITED;
const APPEND_FILE: u64 = 3 << 3 | LENGTH_DELIMITED;
const FILE_NAME: u64 = 1 << 3 | LENGTH_DELIMITED;
const DATA: u64 = 2 << 3 | LENGTH_DELIMITED;
const LENGTH_DELIMITED: u64 = 2;

/// What arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message, undecoded.
    Message(Bytes),
    /// The beginning of a message that writes a long file. Its bytes follow, then [`Incoming::End`].
    Begin {
        /// Whether the bytes are for the file's end, instead of replacing it.
        append: bool,
        /// The file.
        file_name: String,
        /// How many bytes follow.
        length: u64,
    },
    /// The next bytes of the file.
    Piece(Bytes),
    /// All bytes of the file have arrived.
    End,
}

/// The frame of a message that replaces a file by `length` bytes, up to these bytes. The sender sends exactly so many
/// behind it. Nothing of the file changes before the last of them.
///
/// # Errors
/// [`FrameError::Form`] if the name is longer than 4096 bytes, or the length is none that a message can have.
pub fn begin_write(file_name: &str, length: u64) -> Result<Bytes, FrameError> {
    if file_name.len() > NAME_LEN_MAX {
        return Err(FrameError::Form);
    }
    let mut fields = BytesMut::new();
    encode_varint(FILE_NAME, &mut fields);
    encode_varint(file_name.len() as u64, &mut fields);
    fields.put_slice(file_name.as_bytes());
    encode_varint(DATA, &mut fields);
    encode_varint(length, &mut fields);
    let data_len = length.checked_add(fields.len() as u64).ok_or(FrameError::Form)?;
    let around = encoded_len_varint(WRITE_FILE) + encoded_len_varint(data_len);
    let mut frame = BytesMut::new();
    frame.put_u64(data_len.checked_add(around as u64).ok_or(FrameError::Form)?);
    encode_varint(WRITE_FILE, &mut frame);
    encode_varint(data_len, &mut frame);
    frame.put_slice(&fields);
    Ok(frame.freeze())
}

/// Takes requests out of a stream of bytes that arrives in pieces of any size.
///
/// It holds at most one incomplete message of at most [`FRAME_LEN_MAX`] bytes besides what was pushed with it. After an
/// error it gives nothing more, because the place where the next message begins is unknown.
#[derive(Debug)]
pub struct RequestDecoder {
    buffer: BytesMut,
    state: State,
    takes_bare: bool,
    is_bare: bool,
    write_len_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between two messages, or within one that is taken as a whole.
    Between,
    /// Within the bytes of a file, of which so many are missing.
    Within(u64),
    /// Nothing more can be understood.
    Broken,
}

impl RequestDecoder {
    /// A decoder of framed messages that takes files of at most `write_len_max` bytes.
    pub fn framed(write_len_max: u64) -> Self {
        Self {
            buffer: BytesMut::new(),
            state: State::Between,
            takes_bare: false,
            is_bare: false,
            write_len_max,
        }
    }

    /// The same for messages of both forms.
    pub fn of_both_eras(write_len_max: u64) -> Self {
        Self { takes_bare: true, ..Self::framed(write_len_max) }
    }

    /// Whether the message that was begun last is bare, so that the answer to it must be bare too.
    pub fn is_bare(&self) -> bool {
        self.is_bare
    }

    /// Adds bytes that have arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state != State::Broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The buffer, to read from a socket into it without copying. Only appending makes sense.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether the stream may end here: no part of a message has arrived.
    pub fn is_at_boundary(&self) -> bool {
        self.buffer.is_empty() && self.state == State::Between
    }

    /// What has arrived next; `None` until more bytes do.
    pub fn next_incoming(&mut self) -> Result<Option<Incoming>, FrameError> {
        match self.state {
            State::Broken => Ok(None),
            State::Within(missing) => Ok(self.within(missing)),
            State::Between => {
                let begun = self.between();
                if begun.is_err() {
                    self.state = State::Broken;
                    self.buffer = BytesMut::new();
                }
                begun
            }
        }
    }

    fn within(&mut self, missing: u64) -> Option<Incoming> {
        if missing == 0 {
            self.state = State::Between;
            return Some(Incoming::End);
        }
        let available = usize::try_from(missing).unwrap_or(usize::MAX).min(self.buffer.len());
        if available == 0 {
            return None;
        }
        self.state = State::Within(missing - available as u64);
        Some(Incoming::Piece(self.buffer.split_to(available).freeze()))
    }

    fn between(&mut self) -> Result<Option<Incoming>, FrameError> {
        let Some(&first) = self.buffer.first() else { return Ok(None) };
        self.is_bare = self.takes_bare && first != 0;
        let (before, length) = if self.is_bare {
            match Message::read(&self.buffer)? {
                Some(message) => (0, message.end()?),
                None => return Ok(None),
            }
        } else {
            let Some(header) = self.buffer.first_chunk::<HEADER_LEN>() else { return Ok(None) };
            (HEADER_LEN, u64::from_be_bytes(*header))
        };
        if length > FRAME_LEN_MAX as u64 {
            return self.long(before, length);
        }
        let end = before + usize::try_from(length).expect("the length is below a limit that is a length");
        if self.buffer.len() < end {
            let missing = end - self.buffer.len();
            self.buffer.reserve(missing.min(RESERVE_MAX));
            return Ok(None);
        }
        self.buffer.advance(before);
        Ok(Some(Incoming::Message(self.buffer.split_to(end - before).freeze())))
    }

    /// Begins with a message that is too long to be taken as a whole.
    fn long(&mut self, before: usize, length: u64) -> Result<Option<Incoming>, FrameError> {
        let too_long = FrameError::TooLong { found: length, max: FRAME_LEN_MAX };
        if length > self.write_len_max.saturating_add(AROUND_MAX) {
            return Err(too_long);
        }
        let Some(write) = Write::read(&self.buffer[before..], length)? else {
            return if self.buffer.len() as u64 > AROUND_MAX { Err(too_long) } else { Ok(None) };
        };
        if write.length > self.write_len_max {
            return Err(too_long);
        }
        self.buffer.advance(before + write.before);
        self.state = State::Within(write.length);
        let Write { append, file_name, length, .. } = write;
        Ok(Some(Incoming::Begin { append, file_name, length }))
    }
}

/// The beginning of a message: where its one body field is.
struct Message {
    key: u64,
    before: usize,
    length: u64,
}

impl Message {
    /// `None` until enough has arrived.
    fn read(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let mut rest = Cursor { bytes, at: 0 };
        let Some(mut key) = rest.varint()? else { return Ok(None) };
        if key == CONTEXT {
            if rest.varint()?.is_none() {
                return Ok(None);
            }
            let Some(next) = rest.varint()? else { return Ok(None) };
            key = next;
        }
        if key & 7 != LENGTH_DELIMITED {
            return Err(FrameError::Form);
        }
        let Some(length) = rest.varint()? else { return Ok(None) };
        Ok(Some(Self { key, before: rest.at, length }))
    }

    /// How many bytes the message has.
    fn end(&self) -> Result<u64, FrameError> {
        (self.before as u64).checked_add(self.length).ok_or(FrameError::Form)
    }
}

/// The beginning of a message that writes a file, up to the file's bytes.
struct Write {
    append: bool,
    file_name: String,
    before: usize,
    length: u64,
}

impl Write {
    /// `None` until enough has arrived.
    fn read(bytes: &[u8], message_len: u64) -> Result<Option<Self>, FrameError> {
        let Some(message) = Message::read(bytes)? else { return Ok(None) };
        let append = match message.key {
            WRITE_FILE => false,
            APPEND_FILE => true,
            _ => return Err(FrameError::TooLong { found: message_len, max: FRAME_LEN_MAX }),
        };
        let mut rest = Cursor { bytes, at: message.before };
        match rest.varint()? {
            None => return Ok(None),
            Some(FILE_NAME) => {}
            Some(_) => return Err(FrameError::Form),
        }
        let Some(name_len) = rest.varint()? else { return Ok(None) };
        let name_len = usize::try_from(name_len).ok().filter(|len| *len <= NAME_LEN_MAX);
        let Some(name) = rest.take(name_len.ok_or(FrameError::Form)?) else { return Ok(None) };
        let file_name = std::str::from_utf8(name).map_err(|_| FrameError::Form)?.to_owned();
        match rest.varint()? {
            None => return Ok(None),
            Some(DATA) => {}
            Some(_) => return Err(FrameError::Form),
        }
        let Some(length) = rest.varint()? else { return Ok(None) };
        // The bytes of the file are the end of everything, or there is something that would be lost.
        let before = rest.at;
        let end = (before as u64).checked_add(length);
        if end != Some(message_len) || message.end()? != message_len {
            return Err(FrameError::Form);
        }
        Ok(Some(Self { append, file_name, before, length }))
    }
}

/// Bytes, of which the first have been read.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(taken)
    }

    /// The next number in protobuf's form; `None` if the bytes end within it.
    fn varint(&mut self) -> Result<Option<u64>, FrameError> {
        let mut value = 0u64;
        for index in 0..VARINT_LEN_MAX {
            let Some(&byte) = self.bytes.get(self.at + index) else { return Ok(None) };
            let bits = u64::from(byte & 0x7f);
            if index == VARINT_LEN_MAX - 1 && bits > 1 {
                return Err(FrameError::Form);
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                self.at += index + 1;
                return Ok(Some(value));
            }
        }
        Err(FrameError::Form)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::super::{Data, ReadFile, Request, RequestBody, RequestShutdown};
    use super::*;

    const LONG: usize = FRAME_LEN_MAX + 12_345;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&(message.len() as u64).to_be_bytes()[..], message].concat()
    }

    fn write(append: bool, name: &str, data: Vec<u8>) -> Request {
        let data = Data { file_name: name.to_owned(), data: data.into() };
        Request::from(if append { RequestBody::AppendFile(data) } else { RequestBody::WriteFile(data) })
    }

    /// Everything that comes out when the stream arrives in pieces of `step` bytes.
    fn all(decoder: &mut RequestDecoder, stream: &[u8], step: usize) -> Result<Vec<Incoming>, FrameError> {
        let mut found = Vec::new();
        for piece in stream.chunks(step) {
            decoder.push(piece);
            while let Some(incoming) = decoder.next_incoming()? {
                found.push(incoming);
            }
        }
        Ok(found)
    }

    #[test]
    fn messages_of_both_eras_are_told_apart_and_end_where_they_end() {
        let read = ReadFile { file_name: "output".to_owned(), offset: 0, length: 0 };
        let requests = [
            Request::from(RequestBody::RequestShutdown(RequestShutdown {})),
            Request { context: 300, ..Request::from(RequestBody::ReadFile(read)) },
            write(false, "input-0", vec![7; 300]),
        ];
        let encoded: Vec<Vec<u8>> = requests.iter().map(Request::encode_to_vec).collect();
        let stream =
            [encoded[0].clone(), framed(&encoded[1]), encoded[1].clone(), encoded[2].clone()].concat();
        for step in [1, 2, 7, 1000] {
            let mut decoder = RequestDecoder::of_both_eras(1 << 30);
            let found = all(&mut decoder, &stream, step).unwrap();
            let expected: Vec<Incoming> =
                [0, 1, 1, 2].map(|at| Incoming::Message(encoded[at].clone().into())).to_vec();
            assert_eq!(found, expected, "{step}");
            assert!(decoder.is_bare() && decoder.is_at_boundary());
        }
    }

    #[test]
    fn a_framed_decoder_takes_no_bare_message() {
        let mut decoder = RequestDecoder::framed(1 << 30);
        decoder.push(&Request::from(RequestBody::RequestShutdown(RequestShutdown {})).encode_to_vec());
        decoder.push(&[0; 8]);
        assert!(matches!(decoder.next_incoming(), Err(FrameError::TooLong { .. })));
        assert_eq!(decoder.next_incoming().unwrap(), None);
    }

    #[test]
    fn a_long_file_arrives_in_pieces_and_what_follows_behind_it() {
        let data: Vec<u8> = (0..LONG).map(|at| at as u8).collect();
        for (bare, append) in [(false, false), (false, true), (true, false)] {
            let message = write(append, "/in/video", data.clone()).encode_to_vec();
            let last = framed(&[0x42, 0x00]);
            let stream = if bare { [message, last].concat() } else { [framed(&message), last].concat() };
            let mut decoder = RequestDecoder::of_both_eras(1 << 30);
            let found = all(&mut decoder, &stream, 1_000_003).unwrap();
            let begin = Incoming::Begin { append, file_name: "/in/video".to_owned(), length: LONG as u64 };
            assert_eq!(found.first(), Some(&begin));
            let pieces = found.iter().filter_map(|incoming| match incoming {
                Incoming::Piece(piece) => Some(piece.as_ref()),
                _ => None,
            });
            assert!(pieces.collect::<Vec<_>>().concat() == data);
            let end = [Incoming::End, Incoming::Message(Bytes::from_static(&[0x42, 0x00]))];
            assert!(found.ends_with(&end));
        }
    }

    #[test]
    fn a_write_begins_as_its_message_does() {
        for length in [0, 1, 127, 128, 70_000, LONG] {
            let message = write(false, "/in/video", vec![5; length]).encode_to_vec();
            let begun = [&begin_write("/in/video", length as u64).unwrap()[..], &vec![5; length]].concat();
            // An empty field is not written, and read all the same.
            if length > 0 {
                assert!(begun == framed(&message), "{length}");
            }
            let read = Request::decode(&begun[HEADER_LEN..]).unwrap();
            assert!(read == write(false, "/in/video", vec![5; length]), "{length}");
        }
        assert!(matches!(begin_write(&"x".repeat(4097), 1), Err(FrameError::Form)));
        assert!(matches!(begin_write("x", u64::MAX - 3), Err(FrameError::Form)));
    }

    #[test]
    fn what_is_too_long_or_no_file_is_refused_at_its_beginning() {
        let refused = |bytes: &[u8], write_len_max: u64| {
            let mut decoder = RequestDecoder::of_both_eras(write_len_max);
            decoder.push(bytes);
            decoder.next_incoming().unwrap_err()
        };
        let message = write(false, "x", vec![0; LONG]).encode_to_vec();
        for max in [0, LONG as u64 - 1] {
            assert!(matches!(refused(&framed(&message)[..64], max), FrameError::TooLong { .. }), "{max}");
            assert!(matches!(refused(&message[..64], max), FrameError::TooLong { .. }), "{max}");
        }
        // Another request of this length, and a file behind whose bytes there is something more.
        let read = ReadFile { file_name: "x".repeat(LONG), offset: 0, length: 0 };
        let read = Request::from(RequestBody::ReadFile(read)).encode_to_vec();
        assert!(matches!(refused(&framed(&read)[..64], 1 << 30), FrameError::TooLong { .. }));
        let more = framed(&[message.as_slice(), &[0x08, 0x01]].concat());
        assert!(matches!(refused(&more[..64], 1 << 30), FrameError::Form));
        assert!(matches!(refused(&[0xff; 20], 1 << 30), FrameError::Form));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200), both in any::<bool>(), step in 1usize..50,
        ) {
            let mut decoder = RequestDecoder::framed(1 << 40);
            decoder.takes_bare = both;
            let _ = all(&mut decoder, &bytes, step);
        }

        #[test]
        fn bare_messages_arrive_as_sent(
            names in prop::collection::vec(".{0,30}", 1..5), step in 1usize..20, context in any::<u32>(),
        ) {
            let requests: Vec<Vec<u8>> = names
                .iter()
                .map(|name| Request { context, ..write(false, name, name.clone().into_bytes()) }.encode_to_vec())
                .collect();
            let mut decoder = RequestDecoder::of_both_eras(1 << 20);
            let found = all(&mut decoder, &requests.concat(), step).unwrap();
            let expected: Vec<Incoming> = requests.into_iter().map(|one| Incoming::Message(one.into())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
