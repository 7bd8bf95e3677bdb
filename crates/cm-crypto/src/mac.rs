//! Message authentication: HMAC (RFC 2104) under keys that both sides know.

use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256};

/// The HMAC-SHA-256 of a message.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(HMAC_SHA256, key), message);
    tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

/// The HMAC-SHA-1 of a message, for protocols that know no other. Collisions of SHA-1 do not forge it; nothing new should
/// use it.
pub fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    let tag = hmac::sign(&hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), message);
    tag.as_ref().try_into().expect("HMAC-SHA-1 has 20 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second test case of RFC 4231 and of RFC 2202.
    #[test]
    fn known_answers() {
        let message = b"what do ya want for nothing?";
        assert_eq!(
            hex::encode(hmac_sha256(b"Jefe", message)),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(hex::encode(hmac_sha1(b"Jefe", message)), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }
}
