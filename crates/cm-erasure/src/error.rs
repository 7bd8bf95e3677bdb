//! Why there is no chunk, or no shard.

use cm_types::Sha256Digest;

/// Why shards cannot be made, read or joined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// Whole copies are no code.
    #[error("whole copies have no shards; use a redundancy of k+m")]
    NoCode,
    /// More bytes than a chunk may have.
    #[error("a chunk of {len} bytes cannot be cut into shards, {max} at most")]
    TooLong {
        /// How long it is, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The bytes are no shard of a release that is known.
    #[error("the bytes are no shard")]
    NoShard,
    /// The shard is not as it was written.
    #[error("shard {number} of chunk {chunk} is damaged")]
    Damaged {
        /// Of which chunk it says to be.
        chunk: Sha256Digest,
        /// Its number.
        number: usize,
    },
    /// Fewer shards of the chunk than are needed.
    #[error("{found} shards of the chunk are there, {needed} are needed")]
    TooFew {
        /// How many different shards of it were given.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Whatever shards are joined, the result is not the chunk.
    #[error("the shards do not make up chunk {0}; too many of them are not what they say")]
    Inconsistent(Sha256Digest),
    /// There is no such shard in the code.
    #[error("there is no shard {number} among {width}")]
    Number {
        /// The number asked for.
        number: usize,
        /// How many there are.
        width: usize,
    },
}
