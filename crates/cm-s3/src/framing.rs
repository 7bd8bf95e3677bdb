//! Bodies in the framing `aws-chunked`: chunks with their lengths, perhaps signatures, and trailers behind the last.
//!
//! ```text
//! 10000;chunk-signature=<64 digits>\r\n  <65536 bytes>  \r\n
//! 0;chunk-signature=<64 digits>\r\n  x-amz-checksum-crc32:…\r\n  \r\n
//! ```
//!
//! The adapter verifies signatures and holds each chunk in memory until it has. Clients that do not sign chunks may send all
//! of an object as one, hence such chunks are cut here before the adapter sees them; signed ones are bounded.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

/// The longest signed chunk, in bytes. Clients send up to 1 MiB.
pub const SIGNED_CHUNK_BYTES_MAX: u64 = 16 << 20;
/// What chunks without a signature are cut into, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// The longest line before a chunk.
const LINE_BYTES_MAX: usize = 256;
/// All trailers together.
const TRAILER_BYTES_MAX: usize = 16 << 10;

/// What becomes of the framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It stays, in small chunks.
    Cut,
    /// It stays as it is; long chunks are refused.
    Keep,
    /// It goes; signatures are not looked at.
    Remove,
}

/// Trailers, once the body has ended; only where the framing is removed.
#[derive(Clone, Debug, Default)]
pub struct Trailers(pub Arc<OnceLock<HeaderMap>>);

/// A body with its framing changed.
pub struct Frames;

/// The body is not framed as it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A line before a chunk is no length, or something else than a line break follows a chunk.
    #[error("the body is not framed as aws-chunked")]
    Malformed,
    /// A signed chunk is too long to be held in memory.
    #[error("signed chunks may have at most {SIGNED_CHUNK_BYTES_MAX} bytes")]
    ChunkTooLong,
    /// The body ends before its last chunk.
    #[error("the body ends before its last chunk")]
    Incomplete,
}

impl Frames {
    /// Changes the framing of a body.
    #[allow(clippy::new_ret_no_self, reason = "callers need a stream and nothing else")]
    pub fn new(
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        mode: Mode,
        trailers: Trailers,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let state = (body.boxed(), Some(Parser::new(mode)), VecDeque::new(), trailers);
        stream::unfold(state, |(mut body, mut parser, mut ready, trailers)| async move {
            loop {
                if let Some(piece) = ready.pop_front() {
                    return Some((Ok(piece), (body, parser, ready, trailers)));
                }
                // A body that has ended must not be asked again.
                parser.as_ref()?;
                let result = match body.next().await {
                    Some(Ok(input)) => parser.as_mut()?.push(input, &mut ready).map_err(invalid),
                    Some(Err(error)) => Err(error),
                    None => parser.take()?.finish(&trailers).map_err(invalid),
                };
                if let Err(error) = result {
                    return Some((Err(error), (body, None, ready, trailers)));
                }
            }
        })
        .fuse()
    }
}

fn invalid(error: FramingError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Where in the framing the next byte belongs.
enum State {
    Line(Vec<u8>),
    Data {
        left: u64,
        signed: bool,
    },
    /// The line break behind a chunk, of which so many bytes are missing.
    Break(usize),
    Trailers(Vec<u8>),
}

/// Reads framing and writes what the mode says.
pub struct Parser {
    mode: Mode,
    state: State,
}

impl Parser {
    /// At the beginning of a body.
    pub fn new(mode: Mode) -> Self {
        Self { mode, state: State::Line(Vec::new()) }
    }

    /// Takes the next bytes; what is to be passed on is appended.
    ///
    /// # Errors
    /// [`FramingError`]; the parser is of no use afterwards.
    pub fn push(&mut self, mut input: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), FramingError> {
        while !input.is_empty() {
            match &mut self.state {
                State::Line(line) => {
                    let end = input.iter().position(|byte| *byte == b'\n');
                    line.extend_from_slice(&input.split_to(end.map_or(input.len(), |end| end + 1)));
                    if line.len() > LINE_BYTES_MAX {
                        return Err(FramingError::Malformed);
                    }
                    if end.is_some() {
                        let line = std::mem::take(line);
                        self.begin_chunk(line, out)?;
                    }
                }
                State::Data { left, signed } => {
                    let cut = self.mode == Mode::Cut && !*signed;
                    let max = if cut { PIECE_BYTES.min(input.len()) } else { input.len() };
                    let piece = input.split_to(usize::try_from(*left).unwrap_or(usize::MAX).min(max));
                    *left -= piece.len() as u64;
                    if cut {
                        out.extend([
                            format!("{:x}\r\n", piece.len()).into(),
                            piece,
                            Bytes::from_static(b"\r\n"),
                        ]);
                    } else {
                        out.push_back(piece);
                    }
                    if *left == 0 {
                        self.state = State::Break(2);
                    }
                }
                State::Break(missing) => {
                    let expected = if *missing == 2 { b'\r' } else { b'\n' };
                    if input.split_to(1)[0] != expected {
                        return Err(FramingError::Malformed);
                    }
                    *missing -= 1;
                    if *missing == 0 {
                        if self.mode == Mode::Keep {
                            out.push_back(Bytes::from_static(b"\r\n"));
                        }
                        self.state = State::Line(Vec::new());
                    }
                }
                State::Trailers(all) => {
                    if all.len() + input.len() > TRAILER_BYTES_MAX {
                        return Err(FramingError::Malformed);
                    }
                    all.extend_from_slice(&input);
                    let rest = std::mem::take(&mut input);
                    if self.mode != Mode::Remove {
                        out.push_back(rest);
                    }
                }
            }
        }
        Ok(())
    }

    fn begin_chunk(&mut self, line: Vec<u8>, out: &mut VecDeque<Bytes>) -> Result<(), FramingError> {
        let text = line.strip_suffix(b"\r\n").ok_or(FramingError::Malformed)?;
        let digits = text.split(|byte| *byte == b';').next().unwrap_or_default();
        let signed = digits.len() < text.len();
        let digits = std::str::from_utf8(digits).map_err(|_| FramingError::Malformed)?;
        let is_number =
            (1..=16).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let left = u64::from_str_radix(digits, 16).ok().filter(|_| is_number);
        let left = left.ok_or(FramingError::Malformed)?;
        // What is cut must not carry signatures, which were made over longer chunks.
        match self.mode {
            Mode::Cut if signed => return Err(FramingError::Malformed),
            Mode::Keep if left > SIGNED_CHUNK_BYTES_MAX => return Err(FramingError::ChunkTooLong),
            _ => {}
        }
        if self.mode == Mode::Keep || (left == 0 && self.mode == Mode::Cut) {
            out.push_back(line.into());
        }
        self.state = if left == 0 { State::Trailers(Vec::new()) } else { State::Data { left, signed } };
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// [`FramingError::Incomplete`] if that is too early.
    pub fn finish(self, trailers: &Trailers) -> Result<(), FramingError> {
        let State::Trailers(all) = self.state else { return Err(FramingError::Incomplete) };
        if self.mode == Mode::Remove {
            // Set once: there is one parser for each body.
            let _ = trailers.0.set(parse_trailers(&all)?);
        }
        Ok(())
    }
}

fn parse_trailers(all: &[u8]) -> Result<HeaderMap, FramingError> {
    let mut trailers = HeaderMap::new();
    for line in all.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(FramingError::Malformed)?;
        let name = HeaderName::from_bytes(line[..colon].trim_ascii()).map_err(|_| FramingError::Malformed)?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        trailers.append(name, value.map_err(|_| FramingError::Malformed)?);
    }
    Ok(trailers)
}

#[cfg(test)]
mod tests;
