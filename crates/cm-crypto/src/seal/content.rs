//! The content key of one sealed file.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::SealError;

/// Length of a content key, in bytes.
pub(super) const CONTENT_KEY_BYTES: usize = 32;

/// The key that opens one sealed file and no other. Zeroised when dropped; never printed by `Debug`.
#[derive(Clone)]
pub struct ContentKey(Zeroizing<[u8; CONTENT_KEY_BYTES]>);

impl ContentKey {
    pub(super) fn generate() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; CONTENT_KEY_BYTES]);
        rand::fill(bytes.as_mut()).map_err(|_| SealError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// Takes over the bytes of a key; `None` if there are not exactly 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; CONTENT_KEY_BYTES]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    /// The bytes, for whoever is to open the file.
    pub fn expose(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl std::fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentKey([redacted])")
    }
}
