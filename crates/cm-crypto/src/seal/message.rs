//! Short messages for one recipient: HPKE (RFC 9180), base mode, one shot.
//!
//! A sealed file is made for many recipients and streams; a share of a secret is made for one, and there are many of them. A message
//! is the encapsulated key (32 bytes) and the ciphertext with its tag (16 bytes). What it is about is said by `aad`,
//! which both ends must name and which is not stored: a message that is delivered to another place does not open.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::{Deserializable, OpModeR, OpModeS, Serializable};

use super::key::Kem;
use super::{RecipientPublicKey, RecipientSecretKey};
use crate::{CryptoError, Secret};

/// Sets messages apart from everything else that is sealed for the same keys.
const INFO: &[u8] = b"cryptomesh message v1";
const ENCAPSULATED_LEN: usize = 32;

/// Bytes that a sealed message is longer than its content.
pub const MESSAGE_OVERHEAD: usize = ENCAPSULATED_LEN + 16;

/// Seals a message for a recipient.
///
/// # Errors
/// [`CryptoError::Key`] for a public key that forces a known secret.
pub fn seal_message(to: &RecipientPublicKey, aad: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let (encapsulated, sealed) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Base,
        &to.0,
        INFO,
        message,
        aad,
    )
    .map_err(|_| CryptoError::Key("X25519"))?;
    let mut bytes = Vec::with_capacity(ENCAPSULATED_LEN + sealed.len());
    bytes.extend_from_slice(&encapsulated.to_bytes());
    bytes.extend_from_slice(&sealed);
    Ok(bytes)
}

/// Opens what [`seal_message`] returned for this key and the same `aad`.
///
/// # Errors
/// [`CryptoError::Sealed`] for anything else, without a hint as to what differs.
pub fn open_message(
    secret: &RecipientSecretKey,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Secret<Vec<u8>>, CryptoError> {
    let (encapsulated, sealed) = sealed.split_at_checked(ENCAPSULATED_LEN).ok_or(CryptoError::Sealed)?;
    let encapsulated =
        <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| CryptoError::Sealed)?;
    let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeR::Base,
        &secret.0,
        &encapsulated,
        INFO,
        sealed,
        aad,
    );
    opened.map(Secret::new).map_err(|_| CryptoError::Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_opens_for_its_recipient_in_its_place() {
        let [ada, bob] = [(); 2].map(|()| RecipientSecretKey::generate());
        let sealed = seal_message(&ada.public_key(), b"place", b"share").unwrap();
        assert_eq!(sealed.len(), b"share".len() + MESSAGE_OVERHEAD);
        assert_eq!(open_message(&ada, b"place", &sealed).unwrap().expose(), b"share");
        assert!(open_message(&bob, b"place", &sealed).is_err());
        assert!(open_message(&ada, b"elsewhere", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(open_message(&ada, b"place", &altered).is_err(), "byte {at}");
            assert!(open_message(&ada, b"place", &sealed[..at]).is_err());
        }
        assert!(seal_message(&RecipientPublicKey::from_bytes(&[0; 32]), b"", b"").is_err());
    }
}
