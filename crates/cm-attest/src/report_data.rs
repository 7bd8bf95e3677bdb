//! What hardware would sign: one digest that binds key, policy and nonce.

use cm_crypto::digest::Sha256;
use cm_types::Sha256Digest;

use crate::Nonce;

/// Separates this digest from every other use of SHA-256 in the product.
const DOMAIN: &[u8] = b"cryptomesh/report-data/v1";

/// The digest over TLS key, policy hash and nonce.
///
/// Trusted hardware offers a few bytes that its signature covers (64 in SGX, TDX and SEV-SNP); this digest
/// is what goes there. Software evidence carries it too, so that all kinds are checked alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportData(Sha256Digest);

impl ReportData {
    /// `SHA-256(domain ‖ len(spki) ‖ spki ‖ len(policy) ‖ policy ‖ len(nonce) ‖ nonce)`, each length in
    /// 8 bytes, big-endian, the domain preceded by its length likewise.
    pub fn bind(tls_spki_der: &[u8], policy_hash: &Sha256Digest, nonce: &Nonce) -> Self {
        let mut digest = Sha256::new();
        digest.update_field(DOMAIN);
        digest.update_field(tls_spki_der);
        digest.update_field(policy_hash.as_bytes());
        digest.update_field(nonce.as_bytes());
        Self(digest.finish())
    }

    /// Wraps a digest that was read from evidence; whether it binds anything is the verifier's question.
    pub fn from_digest(digest: Sha256Digest) -> Self {
        Self(digest)
    }

    /// The digest.
    pub fn digest(&self) -> Sha256Digest {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(byte: u8) -> Nonce {
        Nonce::from_bytes([byte; 16]).unwrap()
    }

    #[test]
    fn every_field_counts() {
        let policy = |byte| Sha256Digest::from_bytes([byte; 32]);
        let base = ReportData::bind(b"key", &policy(1), &nonce(2));
        assert_eq!(ReportData::bind(b"key", &policy(1), &nonce(2)), base);
        assert_ne!(ReportData::bind(b"kez", &policy(1), &nonce(2)), base);
        assert_ne!(ReportData::bind(b"key", &policy(2), &nonce(2)), base);
        assert_ne!(ReportData::bind(b"key", &policy(1), &nonce(3)), base);
        let longer = Nonce::from_bytes([2; 17]).unwrap();
        assert_ne!(ReportData::bind(b"key", &policy(1), &longer), base);
    }

    /// Clients of other versions compute the same digest.
    #[test]
    fn the_binding_never_changes() {
        let bound = ReportData::bind(b"key", &Sha256Digest::from_bytes([1; 32]), &nonce(2));
        assert_eq!(
            bound.digest().to_string(),
            "6d4a023c69a986b9d055d11ce95bf1e29fe9659b0d4c0507bdfb6c9e49704ce5"
        );
    }
}
