//! SHA-256, the digest that names bytes throughout the product, and MD5, which protects nothing.
//!
//! AWS-LC uses the processor's SHA instructions where there are any.

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};
use cm_types::Sha256Digest;
use md5::Digest as _;

/// The digest of bytes that are all at hand.
pub fn sha256(bytes: &[u8]) -> Sha256Digest {
    convert(&digest(&SHA256, bytes))
}

/// A digest under construction, for bytes that arrive in pieces.
#[derive(Clone)]
pub struct Sha256(Context);

impl Sha256 {
    /// The digest of nothing yet.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Takes in a field together with its length (8 bytes, big-endian), so that no two lists of fields
    /// yield the same input.
    pub fn update_field(&mut self, field: &[u8]) {
        self.0.update(&(field.len() as u64).to_be_bytes());
        self.0.update(field);
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Sha256Digest {
        convert(&self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256(..)")
    }
}

/// An MD5 under construction, in which clients of S3 tell contents apart. Anybody can make two contents with the same
/// one: decide nothing by it that somebody could want to forge.
#[derive(Clone, Default)]
pub struct Md5(md5::Md5);

impl Md5 {
    /// The digest of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> [u8; 16] {
        self.0.finalize().into()
    }
}

impl std::fmt::Debug for Md5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Md5(..)")
    }
}

fn convert(digest: &Digest) -> Sha256Digest {
    let bytes = digest.as_ref().try_into().expect("a SHA-256 digest has 32 bytes");
    Sha256Digest::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 examples as published by NIST.
    #[test]
    fn digests_match_the_standard() {
        let check = |input: &[u8], expected: &str| {
            assert_eq!(sha256(input).to_string(), expected);
            let mut pieces = Sha256::new();
            input.chunks(7).for_each(|piece| pieces.update(piece));
            assert_eq!(pieces.finish().to_string(), expected);
        };
        check(b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check(b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check(
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        );
    }

    /// RFC 1321, appendix A.5.
    #[test]
    fn md5_matches_the_standard() {
        let mut digest = Md5::new();
        digest.update(b"message ");
        digest.update(b"digest");
        assert_eq!(hex::encode(digest.finish()), "f96b697d7cb7938d525a2f31aaf161d0");
    }

    #[test]
    fn fields_cannot_borrow_bytes_from_each_other() {
        let of = |fields: &[&[u8]]| {
            let mut digest = Sha256::new();
            fields.iter().for_each(|field| digest.update_field(field));
            digest.finish()
        };
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"a", b""]), of(&[b"a"]));
        assert_eq!(of(&[b"a", b"b"]), of(&[b"a", b"b"]));
    }
}
