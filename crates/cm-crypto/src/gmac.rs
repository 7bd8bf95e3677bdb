//! A quick check that bytes are those seen before: GMAC (NIST SP 800-38D), AES-128.
//!
//! For one process alone: the key is made with it, is never shown, and ends with it, as do the tags. Bytes that were verified by a slower digest
//! once are told from all others by their tag, more than ten times as fast. Whoever changes the bytes without the key gets past a tag with a
//! probability of 2⁻¹⁰⁰ at most, for messages up to 256 MiB.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::secret::random_bytes;

/// A key of this process. `Debug` shows nothing of it.
pub struct GmacKey {
    key: LessSafeKey,
    next: AtomicU64,
}

/// The tag of some bytes under the key that made it.
#[derive(Clone, Copy, Debug)]
pub struct Gmac {
    /// No other tag of the key has it.
    number: u64,
    tag: [u8; 16],
}

impl GmacKey {
    /// A new key.
    pub fn generate() -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &random_bytes::<16>()).expect("an AES-128 key has 16 bytes");
        Self { key: LessSafeKey::new(key), next: AtomicU64::new(0) }
    }

    /// The tag of these bytes.
    pub fn tag(&self, bytes: &[u8]) -> Gmac {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Gmac { number, tag: self.compute(number, bytes) }
    }

    /// Whether the bytes are those that were tagged.
    pub fn verify(&self, bytes: &[u8], known: &Gmac) -> bool {
        verify_slices_are_equal(&self.compute(known.number, bytes), &known.tag).is_ok()
    }

    fn compute(&self, number: u64, bytes: &[u8]) -> [u8; 16] {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(bytes), &mut []);
        let tag = tag.expect("AES-GCM refuses only what does not fit into memory here");
        tag.as_ref().try_into().expect("a tag of AES-GCM has 16 bytes")
    }
}

impl std::fmt::Debug for GmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GmacKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_its_bytes_from_all_others() {
        let (key, mut bytes) = (GmacKey::generate(), vec![7; 100]);
        let (first, second) = (key.tag(&bytes), key.tag(&bytes));
        assert!(key.verify(&bytes, &first) && key.verify(&bytes, &second));
        assert_ne!(first.tag, second.tag, "no two tags have a number");
        assert!(!GmacKey::generate().verify(&bytes, &first));
        assert!(!key.verify(&bytes[..99], &first) && !key.verify(&[], &first));
        for at in [0, 50, 99] {
            bytes[at] ^= 1;
            assert!(!key.verify(&bytes, &first), "{at}");
            bytes[at] ^= 1;
        }
    }

    /// The first test case of the GCM specification (McGrew and Viega, appendix B): no key, nonce or message.
    #[test]
    fn known_answer() {
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[0; 16]).unwrap());
        let key = GmacKey { key, next: AtomicU64::new(0) };
        assert_eq!(hex::encode(key.tag(&[]).tag), "58e2fccefa7e3061367f1d57a4e7455a");
    }
}
