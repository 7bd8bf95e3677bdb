//! Sealing a stream.

use std::io::{self, Write};

use aead_stream::StreamPrimitive;
use zeroize::Zeroizing;

use super::header::SealedHeader;
use super::{RecipientPublicKey, SEGMENT_BYTES, SEGMENTS_MAX, SealError, SegmentCipher, TAG_BYTES, header};

/// Seals what is written to it, segment by segment.
///
/// [`Sealer::finish`] is part of sealing: without it the file lacks its last segment and every reader
/// reports it as truncated. After an error the sealer refuses to go on.
pub struct Sealer<W: Write> {
    writer: W,
    cipher: SegmentCipher,
    header: SealedHeader,
    /// Plaintext of the segment being filled. A full one waits until it is known whether it is the last.
    pending: Zeroizing<Vec<u8>>,
    position: u64,
    poisoned: bool,
}

impl<W: Write> Sealer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// [`SealError::Recipients`], [`SealError::WeakRecipient`], or whatever the writer says.
    pub fn new(mut writer: W, recipients: &[RecipientPublicKey]) -> Result<Self, SealError> {
        let (header, cipher) = header::create(recipients)?;
        writer.write_all(header.as_bytes())?;
        let pending = Zeroizing::new(Vec::with_capacity(SEGMENT_BYTES + TAG_BYTES));
        Ok(Self { writer, cipher, header, pending, position: 0, poisoned: false })
    }

    /// The header that was written.
    pub fn header(&self) -> &SealedHeader {
        &self.header
    }

    /// Writes the last segment, flushes, and gives the writer back. Whether the bytes are durable is the
    /// writer's affair.
    pub fn finish(mut self) -> Result<W, SealError> {
        self.write_segment(true)?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn write_segment(&mut self, last: bool) -> Result<(), SealError> {
        if self.poisoned {
            return Err(SealError::Poisoned);
        }
        // Whatever goes wrong below: the same position must never encrypt twice.
        self.poisoned = true;
        let position = u32::try_from(self.position).map_err(|_| SealError::TooLong)?;
        if !last && self.position >= SEGMENTS_MAX {
            return Err(SealError::TooLong);
        }
        self.cipher
            .encrypt_in_place(position, last, &[], &mut *self.pending)
            .expect("a segment is far below the length limit of the cipher");
        self.writer.write_all(&self.pending)?;
        self.pending.clear();
        self.position += 1;
        self.poisoned = false;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.pending.len() == SEGMENT_BYTES {
            self.write_segment(false)?;
        }
        let taken = bytes.len().min(SEGMENT_BYTES - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Flushes the writer. The segment being filled stays here: only a full one can be sealed.
    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl<W: Write> std::fmt::Debug for Sealer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("position", &self.position).finish_non_exhaustive()
    }
}

/// Seals bytes that are in memory already.
pub fn seal_slice(plaintext: &[u8], recipients: &[RecipientPublicKey]) -> Result<Vec<u8>, SealError> {
    let mut sealer = Sealer::new(Vec::new(), recipients)?;
    sealer.write_all(plaintext)?;
    sealer.finish()
}

/// How long the sealed form of so many bytes is for so many distinct recipients. Saturates at `u64::MAX`.
pub fn sealed_len(plaintext_len: u64, recipients: usize) -> u64 {
    let segments = plaintext_len.div_ceil(SEGMENT_BYTES as u64).max(1);
    (header::header_bytes(recipients) as u64)
        .saturating_add(plaintext_len)
        .saturating_add(segments.saturating_mul(TAG_BYTES as u64))
}
