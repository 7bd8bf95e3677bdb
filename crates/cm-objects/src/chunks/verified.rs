//! Chunks whose digest this process has verified, remembered by a tag that is checked more than ten times as fast.
//!
//! Every read is checked. The digest costs more than all else that reading a chunk takes, so it is computed once; from then on a tag under a key that
//! only this process has shows that the bytes are still those. Nothing is remembered across a restart.

use std::sync::{Mutex, PoisonError};

use cm_crypto::digest::sha256;
use cm_crypto::gmac::{Gmac, GmacKey};
use cm_types::Sha256Digest;
use hashlink::LruCache;

use super::CHUNK_BYTES;
use crate::Flaw;

/// How many chunks are remembered, those that were used last: some 10 MiB of memory for 128 GiB.
const REMEMBERED_MAX: usize = 131_072;
/// Chunks below that are verified by their digest each time.
const LEN_MIN: usize = CHUNK_BYTES / 16;

/// What was verified.
#[derive(Debug)]
pub(crate) struct Verified {
    key: GmacKey,
    tags: Mutex<LruCache<Sha256Digest, Gmac>>,
}

impl Verified {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { key: GmacKey::generate(), tags: Mutex::new(LruCache::new(REMEMBERED_MAX)) }
    }

    /// Whether the bytes have this digest.
    pub(super) fn check(&self, digest: &Sha256Digest, bytes: &[u8]) -> Result<(), Flaw> {
        let known = self.tags.lock().unwrap_or_else(PoisonError::into_inner).get(digest).copied();
        if known.is_some_and(|known| self.key.verify(bytes, &known)) {
            return Ok(());
        }
        let found = sha256(bytes);
        if found != *digest {
            return Err(Flaw::Altered { found });
        }
        self.remember(digest, bytes);
        Ok(())
    }

    /// Remembers bytes that have this digest, as the caller knows.
    pub(super) fn remember(&self, digest: &Sha256Digest, bytes: &[u8]) {
        if bytes.len() >= LEN_MIN {
            let tag = self.key.tag(bytes);
            self.tags.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_remembered_other_bytes_are_found_out() {
        for len in [10, LEN_MIN] {
            let (verified, mut bytes) = (Verified::new(), vec![3; len]);
            let digest = sha256(&bytes);
            for _ in 0..2 {
                assert_eq!(verified.check(&digest, &bytes), Ok(()));
                bytes[len / 2] ^= 1;
                let found = sha256(&bytes);
                assert_eq!(verified.check(&digest, &bytes), Err(Flaw::Altered { found }));
                assert!(verified.check(&digest, &bytes[..len - 1]).is_err());
                bytes[len / 2] ^= 1;
            }
            assert_eq!(verified.tags.lock().unwrap().len(), usize::from(len == LEN_MIN));
        }
    }
}
