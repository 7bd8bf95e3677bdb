//! Opening a sealed stream.

use std::io::{self, Read};

use aead_stream::StreamPrimitive;
use zeroize::Zeroizing;

use super::{RecipientSecretKey, SEGMENT_BYTES, SealError, SegmentCipher, TAG_BYTES, header};

/// Length of every segment but the last, in the sealed file.
const SEALED_SEGMENT_BYTES: usize = SEGMENT_BYTES + TAG_BYTES;

/// Opens a sealed stream, releasing plaintext only after the segment that holds it was authenticated.
///
/// The end of the stream is reported only after the last segment proved that nothing is missing. After an
/// error every further call fails too, so that an error cannot be mistaken for the end.
pub struct Opener<R: Read> {
    reader: R,
    cipher: SegmentCipher,
    /// The sealed segment, and the first byte of the next one, which tells whether there is a next one.
    sealed: Vec<u8>,
    sealed_len: usize,
    plaintext: Zeroizing<Vec<u8>>,
    /// How much of `plaintext` was handed out by [`Read`].
    taken: usize,
    position: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Finished,
    Poisoned,
}

impl<R: Read> Opener<R> {
    /// Reads and authenticates the header.
    ///
    /// # Errors
    /// [`SealError::Format`], [`SealError::NotForYou`], [`SealError::TamperedHeader`],
    /// [`SealError::Truncated`], or whatever the reader says.
    pub fn new(mut reader: R, secret: &RecipientSecretKey) -> Result<Self, SealError> {
        let cipher = header::open(&mut reader, secret)?;
        Ok(Self {
            reader,
            cipher,
            sealed: vec![0; SEALED_SEGMENT_BYTES + 1],
            sealed_len: 0,
            plaintext: Zeroizing::new(Vec::with_capacity(SEALED_SEGMENT_BYTES)),
            taken: 0,
            position: 0,
            state: State::Open,
        })
    }

    /// The next authentic segment, or `None` after the last one. An empty file has one empty segment.
    /// What [`Read`] has not handed out of the segment before is skipped.
    pub fn next_segment(&mut self) -> Result<Option<&[u8]>, SealError> {
        match self.state {
            State::Finished => return Ok(None),
            State::Poisoned => return Err(SealError::Poisoned),
            State::Open => {}
        }
        self.state = State::Poisoned;
        self.plaintext.clear();
        self.taken = 0;
        self.state = self.open_segment()?;
        Ok(Some(&self.plaintext))
    }

    fn open_segment(&mut self) -> Result<State, SealError> {
        self.fill()?;
        let more = self.sealed_len > SEALED_SEGMENT_BYTES;
        let segment_len = self.sealed_len.min(SEALED_SEGMENT_BYTES);
        let segment = self.position;
        let position = u32::try_from(segment).map_err(|_| SealError::Tampered { segment })?;
        if segment_len < TAG_BYTES {
            return Err(SealError::Truncated);
        }
        if !self.decrypt(position, !more, segment_len) {
            // Authentic under the other flag: whole segments were cut off, or something was appended.
            let whole = segment_len == SEALED_SEGMENT_BYTES;
            let misplaced_end = whole && self.decrypt(position, more, segment_len);
            self.plaintext.clear();
            return Err(match (misplaced_end, more) {
                (true, false) => SealError::Truncated,
                (true, true) => SealError::Tampered { segment: segment + 1 },
                (false, _) => SealError::Tampered { segment },
            });
        }
        if !more && self.plaintext.is_empty() && segment > 0 {
            // No sealer writes this: two files with the same plaintext would differ in form.
            return Err(SealError::Tampered { segment });
        }
        self.position += 1;
        if !more {
            return Ok(State::Finished);
        }
        self.sealed[0] = self.sealed[SEALED_SEGMENT_BYTES];
        self.sealed_len = 1;
        Ok(State::Open)
    }

    fn fill(&mut self) -> Result<(), SealError> {
        while self.sealed_len < self.sealed.len() {
            match self.reader.read(&mut self.sealed[self.sealed_len..]) {
                Ok(0) => break,
                Ok(read) => self.sealed_len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SealError::Io(error)),
            }
        }
        Ok(())
    }

    fn decrypt(&mut self, position: u32, last: bool, len: usize) -> bool {
        self.plaintext.clear();
        self.plaintext.extend_from_slice(&self.sealed[..len]);
        self.cipher.decrypt_in_place(position, last, &[], &mut *self.plaintext).is_ok()
    }
}

impl<R: Read> Read for Opener<R> {
    /// Errors carry a [`SealError`] as their inner error, except those of the underlying reader.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while self.taken == self.plaintext.len() {
            if self.next_segment()?.is_none() {
                return Ok(0);
            }
        }
        let given = out.len().min(self.plaintext.len() - self.taken);
        out[..given].copy_from_slice(&self.plaintext[self.taken..self.taken + given]);
        self.taken += given;
        Ok(given)
    }
}

impl<R: Read> std::fmt::Debug for Opener<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener")
            .field("position", &self.position)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Opens bytes that are in memory already: all of the plaintext, or an error and nothing. Never panics,
/// whatever the bytes are; needs no more memory than they do.
pub fn open_slice(sealed: &[u8], secret: &RecipientSecretKey) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut opener = Opener::new(sealed, secret)?;
    let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
    while let Some(segment) = opener.next_segment()? {
        plaintext.extend_from_slice(segment);
    }
    Ok(plaintext)
}
