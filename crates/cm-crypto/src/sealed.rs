//! Bytes at rest under a symmetric key: AES-256-GCM with random nonces.
//!
//! Used for artefacts that only this node reads again, such as compiled modules. What others shall open is
//! sealed to their public keys instead.
//!
//! Layout: one version byte (1), the nonce (12 bytes), the ciphertext, the tag (16 bytes). Nonces are drawn
//! at random, so a key should seal at most 2^32 messages (NIST SP 800-38D section 8.3).

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use crate::{CryptoError, Secret};

const VERSION: u8 = 1;
const HEADER_LEN: usize = 1 + NONCE_LEN;

fn cipher(key: &Secret<[u8; 32]>) -> RandomizedNonceKey {
    RandomizedNonceKey::new(&AES_256_GCM, key.expose()).expect("an AES-256 key has 32 bytes")
}

/// Seals bytes under a key. `aad` says what they are and where they belong; it is not stored, and
/// [`open`] must be given the same again.
pub fn seal(key: &Secret<[u8; 32]>, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len());
    body.extend_from_slice(plaintext);
    let nonce = cipher(key)
        .seal_in_place_append_tag(Aad::from(aad), &mut body)
        .expect("AES-GCM refuses only plaintexts above 64 GiB, which do not fit into memory here");
    let mut sealed = Vec::with_capacity(HEADER_LEN + body.len());
    sealed.push(VERSION);
    sealed.extend_from_slice(nonce.as_ref());
    sealed.append(&mut body);
    sealed
}

/// Opens what [`seal`] returned for the same key and `aad`.
///
/// Anything else is [`CryptoError::Sealed`], without a hint as to what differs.
pub fn open(key: &Secret<[u8; 32]>, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let (header, body) = sealed.split_at_checked(HEADER_LEN).ok_or(CryptoError::Sealed)?;
    if header[0] != VERSION {
        return Err(CryptoError::Sealed);
    }
    let nonce = Nonce::try_assume_unique_for_key(&header[1..]).map_err(|_| CryptoError::Sealed)?;
    let mut body = body.to_vec();
    let plaintext_len =
        cipher(key).open_in_place(nonce, Aad::from(aad), &mut body).map_err(|_| CryptoError::Sealed)?.len();
    body.truncate(plaintext_len);
    Ok(body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> Secret<[u8; 32]> {
        Secret::new([byte; 32])
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let sealed = seal(&key(1), b"module", b"plaintext");
        assert_eq!(open(&key(1), b"module", &sealed).unwrap(), b"plaintext");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 0x40;
            assert_eq!(open(&key(1), b"module", &altered), Err(CryptoError::Sealed), "byte {at}");
            assert_eq!(open(&key(1), b"module", &sealed[..at]), Err(CryptoError::Sealed), "cut at {at}");
        }
    }

    #[test]
    fn another_key_or_purpose_does_not_open() {
        let sealed = seal(&key(1), b"module", b"plaintext");
        assert_eq!(open(&key(2), b"module", &sealed), Err(CryptoError::Sealed));
        assert_eq!(open(&key(1), b"policy", &sealed), Err(CryptoError::Sealed));
    }

    proptest! {
        #[test]
        fn sealed_bytes_open_again(plaintext: Vec<u8>, aad: Vec<u8>) {
            let sealed = seal(&key(3), &aad, &plaintext);
            prop_assert_eq!(open(&key(3), &aad, &sealed).unwrap(), plaintext.clone());
            prop_assert_ne!(seal(&key(3), &aad, &plaintext), sealed);
        }

        #[test]
        fn foreign_bytes_are_refused_without_panic(bytes: Vec<u8>) {
            prop_assert_eq!(open(&key(3), b"", &bytes), Err(CryptoError::Sealed));
        }
    }
}
