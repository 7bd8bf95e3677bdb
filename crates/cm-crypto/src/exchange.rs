//! Secrets that two parties have in common without having met: X25519 (RFC 7748) and HKDF-SHA256.

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};

use crate::derive::derive_key;
use crate::secret::random_bytes;
use crate::{CryptoError, Secret};

/// The public half of an [`ExchangeKey`]: 32 bytes that may be shown to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicExchangeKey(pub [u8; 32]);

/// The private half. It is kept as 32 bytes.
#[derive(Clone)]
pub struct ExchangeKey {
    secret: Secret<[u8; 32]>,
    public: PublicExchangeKey,
}

impl ExchangeKey {
    /// A new key.
    pub fn generate() -> Self {
        Self::from_bytes(Secret::new(random_bytes())).expect("any 32 bytes are a private key of X25519")
    }

    /// A key that was kept.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Key`] if the library rejects the bytes.
    pub fn from_bytes(secret: Secret<[u8; 32]>) -> Result<Self, CryptoError> {
        let public = private(&secret)?.compute_public_key().map_err(|_| REJECTED)?;
        let public = PublicExchangeKey(public.as_ref().try_into().map_err(|_| REJECTED)?);
        Ok(Self { secret, public })
    }

    /// The bytes to keep.
    pub fn as_bytes(&self) -> &Secret<[u8; 32]> {
        &self.secret
    }

    /// What others need to agree on a secret with the holder of this key.
    pub fn public(&self) -> PublicExchangeKey {
        self.public
    }

    /// The secret that both holders arrive at. It depends on both public keys and on the purpose; both name the same one.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Key`] for a public key that would force a known secret (a point of small order).
    pub fn agree(&self, peer: PublicExchangeKey, purpose: &str) -> Result<Secret<[u8; 32]>, CryptoError> {
        let (low, high) = if self.public <= peer { (self.public, peer) } else { (peer, self.public) };
        agreement::agree(
            &private(&self.secret)?,
            UnparsedPublicKey::new(&X25519, peer.0),
            REJECTED,
            |shared| {
                let mut material = Secret::new([0; 96]);
                let bytes = material.expose_mut();
                bytes[..32].copy_from_slice(shared);
                bytes[32..64].copy_from_slice(&low.0);
                bytes[64..].copy_from_slice(&high.0);
                Ok(derive_key(material.expose(), purpose))
            },
        )
    }
}

impl std::fmt::Debug for ExchangeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExchangeKey").field("public", &self.public).finish_non_exhaustive()
    }
}

const REJECTED: CryptoError = CryptoError::Key("X25519");

fn private(secret: &Secret<[u8; 32]>) -> Result<PrivateKey, CryptoError> {
    PrivateKey::from_private_key(&X25519, secret.expose()).map_err(|_| REJECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_and_nobody_else_does() {
        let (a, b, c) = (ExchangeKey::generate(), ExchangeKey::generate(), ExchangeKey::generate());
        let secret = |mine: &ExchangeKey, peer: &ExchangeKey, purpose| {
            *mine.agree(peer.public(), purpose).unwrap().expose()
        };
        assert_eq!(secret(&a, &b, "x"), secret(&b, &a, "x"));
        assert_ne!(secret(&a, &b, "x"), secret(&a, &b, "y"));
        assert_ne!(secret(&a, &b, "x"), secret(&a, &c, "x"));
        let kept = ExchangeKey::from_bytes(a.as_bytes().clone()).unwrap();
        assert_eq!(secret(&kept, &b, "x"), secret(&a, &b, "x"));
    }

    #[test]
    fn a_key_that_forces_the_secret_is_refused() {
        assert!(ExchangeKey::generate().agree(PublicExchangeKey([0; 32]), "x").is_err());
    }
}
