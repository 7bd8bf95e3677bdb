//! Bytes at rest in frames that can be read one by one: AES-256-GCM.
//!
//! Each content has a key of its own, derived (HKDF-SHA256) from a secret and a name that no other content ever has; the nonce of
//! a frame is its number. Hence no nonce comes twice under a key, as long as no frame is sealed twice with different bytes: whoever
//! writes a content anew gives it a new name. A frame does not open in another place or another content. How many frames there are
//! is for the caller to keep: a content that was cut at the end of a frame shows no trace of it here.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{CryptoError, Secret, derive};

/// How much longer a sealed frame is, in bytes.
pub const TAG_BYTES: usize = 16;

const PURPOSE: &str = "cryptomesh/frames/v1";

/// The key of one content. `Debug` shows nothing of it.
pub struct FrameKey(LessSafeKey);

impl FrameKey {
    /// The key for the content of this name.
    pub fn derive(secret: &Secret<[u8; 32]>, content: &str) -> Self {
        let key = derive::derive_key(secret.expose(), &format!("{PURPOSE}/{content}"));
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("an AES-256 key has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts a frame where it is, and adds its tag.
    pub fn seal(&self, number: u64, frame: &mut Vec<u8>) {
        self.0
            .seal_in_place_append_tag(nonce(number), Aad::empty(), frame)
            .expect("AES-GCM refuses only plaintexts above 64 GiB, which do not fit into memory here");
    }

    /// Decrypts a frame where it is, and takes its tag away.
    ///
    /// # Errors
    /// [`CryptoError::Sealed`] if it is not the frame of that number, and then nothing of it may be used.
    pub fn open(&self, number: u64, frame: &mut Vec<u8>) -> Result<(), CryptoError> {
        let opened = self.0.open_in_place(nonce(number), Aad::empty(), frame);
        let length = opened.map_err(|_| CryptoError::Sealed)?.len();
        frame.truncate(length);
        Ok(())
    }
}

impl std::fmt::Debug for FrameKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameKey(..)")
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_opens_in_its_place_only() {
        let secret = Secret::new([3; 32]);
        let key = FrameKey::derive(&secret, "a");
        let mut frame = b"content".to_vec();
        key.seal(7, &mut frame);
        assert_eq!(frame.len(), 7 + TAG_BYTES);
        let open = |secret: &Secret<[u8; 32]>, content, number, mut frame: Vec<u8>| {
            FrameKey::derive(secret, content).open(number, &mut frame).map(|()| frame)
        };
        assert_eq!(open(&secret, "a", 7, frame.clone()).unwrap(), b"content");
        assert_eq!(open(&secret, "a", 8, frame.clone()), Err(CryptoError::Sealed));
        assert_eq!(open(&secret, "b", 7, frame.clone()), Err(CryptoError::Sealed));
        assert_eq!(open(&Secret::new([4; 32]), "a", 7, frame.clone()), Err(CryptoError::Sealed));
        for at in 0..frame.len() {
            let mut altered = frame.clone();
            altered[at] ^= 1;
            assert_eq!(open(&secret, "a", 7, altered), Err(CryptoError::Sealed), "byte {at}");
            assert_eq!(open(&secret, "a", 7, frame[..at].to_vec()), Err(CryptoError::Sealed), "cut at {at}");
        }
    }
}
