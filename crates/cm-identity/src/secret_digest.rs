//! Digests of secrets that were given away: of API keys, keys of applications, recovery codes.
//!
//! What somebody shows is hashed and compared with one of these. The secrets are random and long, so that a digest gives none of
//! them away and needs no salt; the comparison takes constant time nevertheless, and there is no other: the type has no `==`.

use cm_crypto::{digest, secret};
use cm_types::Sha256Digest;
use serde::{Deserialize, Serialize};

/// The digest of a secret.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretDigest(Sha256Digest);

impl SecretDigest {
    /// Of what is, or claims to be, the secret.
    pub(crate) fn of(secret: &[u8]) -> Self {
        Self(digest::sha256(secret))
    }

    /// Of nothing that anybody has: what is compared where there is nothing to compare with.
    pub(crate) fn of_nothing() -> Self {
        Self(Sha256Digest::from_bytes([0; 32]))
    }

    /// Whether both are of the same secret, in constant time.
    pub(crate) fn matches(&self, other: &SecretDigest) -> bool {
        secret::constant_time_eq(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl std::fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretDigest([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_matches_its_secret_alone() {
        let kept = SecretDigest::of(b"secret");
        assert!(kept.matches(&SecretDigest::of(b"secret")));
        assert!(!kept.matches(&SecretDigest::of(b"secres")));
        assert!(!SecretDigest::of_nothing().matches(&SecretDigest::of(b"")));
        assert!(!format!("{kept:?}").contains(&digest::sha256(b"secret").to_string()));
    }

    /// Says of a type whether it can be compared with `==`: the constant of the implementation wins over the trait's where its
    /// bound holds.
    struct Comparable<T>(std::marker::PhantomData<T>);

    trait Unless {
        const HOLDS: bool = false;
    }

    impl<T> Unless for Comparable<T> {}

    impl<T: PartialEq> Comparable<T> {
        const HOLDS: bool = true;
    }

    #[test]
    fn digests_of_secrets_cannot_be_compared_in_the_ordinary_way() {
        const { assert!(Comparable::<Sha256Digest>::HOLDS) };
        const { assert!(!Comparable::<SecretDigest>::HOLDS) };
    }
}
