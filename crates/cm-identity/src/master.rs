//! The key under which signing keys are kept.
//!
//! Signing keys live in the database, so that all nodes of a catalogue have the same; there they are sealed. What opens
//! them is one key of 32 bytes that is not in the database: derived from the node's own secret, unless whoever configures the
//! node hands over another, which it has from a file or from where else keys are kept. Here it is only used.

use cm_crypto::{Secret, derive, digest, sealed};

/// What a master key has bytes of.
pub const MASTER_KEY_LEN: usize = 32;

const PURPOSE: &str = "cryptomesh/signing-keys/v1";

/// Seals signing keys. `Debug` shows the name only.
pub struct MasterKey {
    name: String,
    key: Secret<[u8; 32]>,
}

impl MasterKey {
    /// A master key of this secret, which must have the entropy of a key.
    pub fn new(secret: &Secret<[u8; MASTER_KEY_LEN]>) -> Self {
        Self::derived(secret.expose())
    }

    pub(crate) fn derived(secret: &[u8]) -> Self {
        let key = derive::derive_key(secret, PURPOSE);
        // The name is of another purpose than the key, and says nothing about it.
        let name = derive::derive_key(secret, "cryptomesh/signing-keys-name/v1");
        let name = digest::sha256(name.expose()).to_string();
        Self { name: name[..16].to_owned(), key }
    }

    /// What the key is told from others by. It is no secret.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `what` says what the bytes are; they open as nothing else.
    pub(crate) fn seal(&self, what: &str, bytes: &[u8]) -> Vec<u8> {
        sealed::seal(&self.key, what.as_bytes(), bytes)
    }

    pub(crate) fn open(&self, what: &str, bytes: &[u8]) -> Option<Secret<Vec<u8>>> {
        sealed::open(&self.key, what.as_bytes(), bytes).ok().map(Secret::new)
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_its_key_as_what_it_is() {
        let (ours, other) = (MasterKey::new(&Secret::new([1; 32])), MasterKey::new(&Secret::new([2; 32])));
        let sealed = ours.seal("token", b"key");
        assert_eq!(ours.open("token", &sealed).unwrap().expose(), b"key");
        assert!(ours.open("xolo", &sealed).is_none());
        assert!(other.open("token", &sealed).is_none());
        assert_ne!(ours.name(), other.name());
        assert_eq!(format!("{ours:?}"), format!("MasterKey({})", ours.name()));
    }
}
