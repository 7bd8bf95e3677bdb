//! Keys derived from keys: HKDF-SHA256 (RFC 5869).

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

use crate::Secret;

struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

/// A key of 32 bytes for one purpose.
///
/// `secret` must already have the entropy of a key; a password goes through [`crate::password`] instead.
/// `purpose` separates the keys drawn from one secret: a constant of the caller, for example
/// `cryptomesh/module-cache/v1`.
pub fn derive_key(secret: &[u8], purpose: &str) -> Secret<[u8; 32]> {
    let prk = Salt::new(HKDF_SHA256, b"cryptomesh").extract(secret);
    let mut key = Secret::new([0; 32]);
    prk.expand(&[purpose.as_bytes()], KeyBytes)
        .and_then(|okm| okm.fill(key.expose_mut()))
        .expect("32 bytes are below the limit of HKDF and match the declared length");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_secrets_separate_keys() {
        let key = |secret: &[u8], purpose| *derive_key(secret, purpose).expose();
        assert_eq!(key(b"secret", "a"), key(b"secret", "a"));
        assert_ne!(key(b"secret", "a"), key(b"secret", "b"));
        assert_ne!(key(b"secret", "a"), key(b"Secret", "a"));
    }

    /// Data sealed by an earlier version must stay readable.
    #[test]
    fn derivation_never_changes() {
        let key = derive_key(&[7; 32], "cryptomesh/test/v1");
        assert_eq!(
            hex::encode(key.expose()),
            "93030757df3b1113893c4601c28351e0c5675855f169daf8ad5db738778db4ab"
        );
    }
}
