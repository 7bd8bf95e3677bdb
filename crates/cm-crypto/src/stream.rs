//! Pseudorandom bytes out of a key: AES-128 in counter mode (NIST SP 800-38A, section 6.5).
//!
//! Two who hold the same key draw the same bytes without a word between them. A [`KeyStream`] is no cipher: nothing is encrypted with
//! it, and its output is only as secret as the key.

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use crate::Secret;

/// Bytes of one stream, at most: the counter of blocks has 32 bits.
pub const STREAM_BYTES_MAX: u64 = 16 << 32;

/// As many streams of pseudorandom bytes as there are nonces of 12 bytes.
pub struct KeyStream {
    cipher: EncryptingKey,
}

impl KeyStream {
    /// Takes the first half of a key of 32 bytes; 128 bits are the strength of the cipher.
    pub fn new(key: &Secret<[u8; 32]>) -> Self {
        let cipher = UnboundCipherKey::new(&AES_128, &key.expose()[..16])
            .and_then(EncryptingKey::ctr)
            .expect("16 bytes are a key of AES-128");
        Self { cipher }
    }

    /// Fills `bytes` with the beginning of the stream of this nonce. The same nonce gives the same bytes: whoever wants new ones counts.
    ///
    /// No more than [`STREAM_BYTES_MAX`] bytes at once.
    pub fn fill(&self, nonce: [u8; 12], bytes: &mut [u8]) {
        debug_assert!(bytes.len() as u64 <= STREAM_BYTES_MAX);
        let mut counter = [0; 16];
        counter[..12].copy_from_slice(&nonce);
        bytes.fill(0);
        self.cipher
            .less_safe_encrypt(bytes, EncryptionContext::Iv128(FixedLength::from(counter)))
            .expect("counter mode takes any bytes and a counter of 16");
    }
}

impl std::fmt::Debug for KeyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyStream([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(key: u8, nonce: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xff; len];
        KeyStream::new(&Secret::new([key; 32])).fill([nonce; 12], &mut bytes);
        bytes
    }

    #[test]
    fn key_and_nonce_make_the_stream() {
        assert_eq!(stream(1, 2, 100), stream(1, 2, 100));
        assert_eq!(stream(1, 2, 100)[..33], stream(1, 2, 33)[..]);
        assert_ne!(stream(1, 2, 100), stream(2, 2, 100));
        assert_ne!(stream(1, 2, 100), stream(1, 3, 100));
    }

    /// The first block under the key of zeros is the encryption of the block of zeros, as in the first test case of GCM.
    #[test]
    fn streams_never_change() {
        assert_eq!(hex::encode(stream(0, 0, 16)), "66e94bd4ef8a2c3b884cfa59ca342b2e");
    }
}
