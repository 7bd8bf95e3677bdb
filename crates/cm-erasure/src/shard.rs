//! One shard.

use cm_crypto::digest;
use cm_types::Sha256Digest;

use crate::ErasureError;

/// What precedes the bytes of a shard.
pub const HEADER_LEN: usize = 4 + 1 + 1 + 1 + 1 + 4 + 32 + 32;
/// `CMS` and the version of the form.
const MAGIC: [u8; 4] = *b"CMS\x01";

/// A part of a chunk that says what it is.
///
/// Its form: 4 bytes of magic, numbers of data and parity shards, its own number, a zero byte, length of the chunk (4 bytes, big-endian), SHA-256 of
/// the chunk, SHA-256 of everything before it and of the bytes of the shard, the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    pub(crate) data: u8,
    pub(crate) parity: u8,
    pub(crate) number: u8,
    pub(crate) chunk_len: u32,
    pub(crate) chunk: Sha256Digest,
    pub(crate) bytes: Vec<u8>,
}

impl Shard {
    /// Of which chunk it is.
    pub fn chunk(&self) -> &Sha256Digest {
        &self.chunk
    }

    /// Its number: the data shards come first.
    pub fn number(&self) -> usize {
        self.number.into()
    }

    /// How many data and parity shards the chunk has.
    pub fn shards(&self) -> (usize, usize) {
        (self.data.into(), self.parity.into())
    }

    /// How long the chunk is, in bytes.
    pub fn chunk_len(&self) -> usize {
        self.chunk_len as usize
    }

    fn header(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&[self.data, self.parity, self.number, 0]);
        header[8..12].copy_from_slice(&self.chunk_len.to_be_bytes());
        header[12..44].copy_from_slice(self.chunk.as_bytes());
        let checksum = self.checksum(&header[..44]);
        header[44..].copy_from_slice(checksum.as_bytes());
        header
    }

    fn checksum(&self, header: &[u8]) -> Sha256Digest {
        let mut hasher = digest::Sha256::new();
        hasher.update(header);
        hasher.update(&self.bytes);
        hasher.finish()
    }

    /// The bytes that a peer keeps.
    pub fn encode(&self) -> Vec<u8> {
        [&self.header()[..], &self.bytes].concat()
    }

    /// Reads what a peer has kept.
    ///
    /// # Errors
    /// [`ErasureError::NoShard`] if it is none, [`ErasureError::Damaged`] if it is not as it was written.
    pub fn decode(bytes: &[u8]) -> Result<Self, ErasureError> {
        let (header, bytes) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(ErasureError::NoShard)?;
        let [data, parity, number, zero] = [header[4], header[5], header[6], header[7]];
        if header[..4] != MAGIC || zero != 0 || data == 0 || parity == 0 {
            return Err(ErasureError::NoShard);
        }
        let chunk_len = u32::from_be_bytes(header[8..12].try_into().expect("four bytes are four bytes"));
        let digest = |at: usize| -> [u8; 32] {
            header[at..at + 32].try_into().expect("the header has room for both digests")
        };
        let chunk = Sha256Digest::from_bytes(digest(12));
        let shard = Self { data, parity, number, chunk_len, chunk, bytes: bytes.to_vec() };
        let damaged = ErasureError::Damaged { chunk, number: number.into() };
        if usize::from(number) >= usize::from(data) + usize::from(parity)
            || shard.bytes.len() != shard_len(shard.chunk_len(), data.into())
            || shard.checksum(&header[..44]) != Sha256Digest::from_bytes(digest(44))
        {
            return Err(damaged);
        }
        Ok(shard)
    }
}

/// How long each shard of a chunk is: the code works on pairs of bytes.
pub(crate) fn shard_len(chunk_len: usize, data: usize) -> usize {
    chunk_len.div_ceil(data).max(1).next_multiple_of(2)
}
