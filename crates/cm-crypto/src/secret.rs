//! How secrets are held: wiped when dropped, never printed, compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Entropy of a random token, in bytes. 256 bits: guessing one of 2^64 tokens stays hopeless.
const TOKEN_BYTES: usize = 32;

/// A value that must not leak. Its memory is wiped on drop; `Debug` prints `[redacted]`.
///
/// There is deliberately neither `Display` nor `Serialize` nor `PartialEq`: showing a secret takes a call
/// of [`Secret::expose`], which a reviewer can search for. Copies that the allocator made while a string
/// was still growing are beyond its reach; build secrets at their final size.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value into custody.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Do not copy it into anything that outlives the need.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, to be filled in place.
    pub(crate) fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    /// Reads a secret out of a request or a file; writing one is not offered.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

/// Fills the bytes from the operating system's entropy.
pub fn fill_random(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes).expect("AWS-LC ends the process rather than return without entropy");
}

/// Wipes bytes that were secret, wherever they were held.
pub fn wipe(bytes: &mut Vec<u8>) {
    bytes.zeroize();
}

/// Random bytes, for nonces, salts and keys.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_random(&mut bytes);
    bytes
}

/// A new bearer secret of 256 bits, as 43 characters of base64url.
pub fn random_token() -> Secret<String> {
    let bytes = Secret::new(random_bytes::<TOKEN_BYTES>());
    Secret::new(URL_SAFE_NO_PAD.encode(bytes.expose()))
}

/// Whether the bytes are equal, in a time that depends on their lengths only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    all_equal(a, b)
}

/// Generic, so that a test can count what it looks at.
fn all_equal<T: ConstantTimeEq>(a: &[T], b: &[T]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let password = Some(Secret::new("hunter2".to_owned()));
        assert_eq!(format!("{password:?}"), "Some([redacted])");
    }

    #[test]
    fn tokens_are_long_and_never_repeat() {
        let (a, b) = (random_token(), random_token());
        assert_eq!(a.expose().len(), 43);
        assert_ne!(a.expose(), b.expose());
        assert_ne!(random_bytes::<32>(), [0; 32]);
    }

    #[test]
    fn comparison_sees_every_difference() {
        assert!(constant_time_eq(b"abc", b"abc"));
        for other in [&b"abd"[..], b"bbc", b"ab", b"abcd", b""] {
            assert!(!constant_time_eq(b"abc", other));
        }
    }

    /// An element that counts how often it is compared.
    struct Counted<'a>(u8, &'a std::cell::Cell<usize>);

    impl ConstantTimeEq for Counted<'_> {
        fn ct_eq(&self, other: &Self) -> subtle::Choice {
            self.1.set(self.1.get() + 1);
            self.0.ct_eq(&other.0)
        }
    }

    impl PartialEq for Counted<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.1.set(self.1.get() + 1);
            self.0 == other.0
        }
    }

    /// Wherever the first difference is, every element is looked at. The ordinary comparison shows that the count can tell.
    #[test]
    fn comparison_looks_at_everything_wherever_the_difference_is() {
        const LEN: usize = 32;
        for different in 0..=LEN {
            let count = std::cell::Cell::new(0);
            let a: Vec<_> = (0..LEN).map(|at| Counted(at as u8, &count)).collect();
            let b: Vec<_> =
                (0..LEN).map(|at| Counted(at as u8 ^ u8::from(at == different), &count)).collect();
            assert_eq!(all_equal(&a, &b), different == LEN);
            assert_eq!(count.take(), LEN, "a difference at {different}");
            assert_eq!(a == b, different == LEN);
            assert_eq!(
                count.take(),
                (different + 1).min(LEN),
                "the ordinary comparison stops at {different}"
            );
        }
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
    fn secrets_cannot_be_compared_in_the_ordinary_way() {
        const { assert!(Comparable::<String>::HOLDS && Comparable::<[u8; 32]>::HOLDS) };
        const { assert!(!Comparable::<Secret<String>>::HOLDS) };
        const { assert!(!Comparable::<Secret<[u8; 32]>>::HOLDS) };
    }

    #[test]
    fn a_secret_can_be_read_from_json() {
        let secret: Secret<String> = serde_json::from_str("\"s3cret\"").unwrap();
        assert_eq!(secret.expose(), "s3cret");
    }
}
