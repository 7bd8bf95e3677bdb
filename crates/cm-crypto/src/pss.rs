//! RSA-PSS signatures with SHA-256 (RFC 8017, section 8.1), as peers of the threat network sign.
//!
//! The salt is the longest that fits the key, which is what Python's `cryptography` calls `MAX_LENGTH`: 222 bytes for a key of
//! 2048 bits. Signatures with another salt are refused.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKey};
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaParameters, RsaPssSaltLength,
    RsaSignatureEncoding, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_types::Sha256Digest;
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::{CryptoError, Secret, digest};

const VERIFY: RsaParameters = RSA_PSS_2048_8192_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);
const fn with_salt(len: u16) -> RsaParameters {
    RSA_PSS_2048_8192_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(len))
}
/// With the salts that other programs choose: none, and the lengths of the usual digests.
static OTHER_SALTS: [RsaParameters; 6] =
    [with_salt(32), with_salt(20), with_salt(0), with_salt(64), with_salt(48), with_salt(28)];
const SIGN: RsaSignatureEncoding = RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);

const PRIVATE_KEY: &str = "PRIVATE KEY";
const PUBLIC_KEY: &str = "PUBLIC KEY";
const RSA_PUBLIC_KEY: &str = "RSA PUBLIC KEY";
/// Longest public key in PEM that is looked at, in bytes: several times one of 4096 bits.
const PEM_LEN_MAX: usize = 8 * 1024;
/// Largest modulus that is accepted, in bytes: verifying takes time that grows with its square.
const MODULUS_LEN_MAX: usize = 512;

/// A private RSA key. Clones share the key, which AWS-LC wipes when the last of them is dropped.
#[derive(Clone)]
pub struct PssSigningKey(Arc<KeyPair>);

impl PssSigningKey {
    /// A new random key of 2048 bits. Takes up to a second: off the runtime.
    ///
    /// # Errors
    /// [`CryptoError::Key`] if none can be made.
    pub fn generate() -> Result<Self, CryptoError> {
        KeyPair::generate(KeySize::Rsa2048)
            .map(|pair| Self(Arc::new(pair)))
            .map_err(|_| CryptoError::Key("RSA private"))
    }

    /// Reads a PKCS#8 private key in PEM.
    ///
    /// # Errors
    /// [`CryptoError::Pem`] or [`CryptoError::Key`].
    pub fn from_pkcs8_pem(text: &str) -> Result<Self, CryptoError> {
        let der: PrivatePkcs8KeyDer<'static> = crate::pem::decode_one(PRIVATE_KEY, text)?;
        let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der());
        pair.map(|pair| Self(Arc::new(pair))).map_err(|_| CryptoError::Key("RSA private"))
    }

    /// The key as PKCS#8 in PEM.
    pub fn to_pkcs8_pem(&self) -> Secret<String> {
        let der = self.0.as_der().expect("a key in memory can be written down");
        Secret::new(crate::pem::encode(PRIVATE_KEY, der.as_ref()))
    }

    /// The public half as SubjectPublicKeyInfo in PEM: lines of 64 characters, the last of them ended.
    pub fn public_pem(&self) -> String {
        let der = self.0.public_key().as_der().expect("a key in memory can be written down");
        crate::pem::encode(PUBLIC_KEY, der.as_ref())
    }

    /// Signs a message; takes about a quarter of a millisecond.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&SIGN, &SystemRandom::new(), message, &mut signature)
            .expect("the salt fits every key of 2048 bits or more, which alone are accepted");
        signature
    }
}

impl std::fmt::Debug for PssSigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PssSigningKey(..)")
    }
}

/// A public RSA key of 2048 to 4096 bits, ready for verifying. Cheap to clone.
#[derive(Clone)]
pub struct PssKey {
    key: Arc<ParsedPublicKey>,
    spki: Arc<[u8]>,
    id: Sha256Digest,
}

impl PssKey {
    /// Reads a public key in PEM, SubjectPublicKeyInfo or PKCS#1, whatever stands around it and however its lines end.
    ///
    /// # Errors
    /// [`CryptoError::Pem`] if there is no such section; [`CryptoError::Key`] for a key that is none or of another length.
    pub fn from_pem(text: &str) -> Result<Self, CryptoError> {
        if text.len() > PEM_LEN_MAX {
            return Err(CryptoError::Pem(PUBLIC_KEY));
        }
        let der = [PUBLIC_KEY, RSA_PUBLIC_KEY].into_iter().find_map(|label| section(text, label));
        Self::from_der(&der.ok_or(CryptoError::Pem(PUBLIC_KEY))?)
    }

    fn from_der(der: &[u8]) -> Result<Self, CryptoError> {
        let refused = || CryptoError::Key("RSA public");
        let public = PublicKey::from_der(der).map_err(|_| refused())?;
        if !(256..=MODULUS_LEN_MAX).contains(&public.modulus_len()) {
            return Err(refused());
        }
        let spki = public.as_der().map_err(|_| refused())?;
        let key = ParsedPublicKey::new(&VERIFY, spki.as_ref()).map_err(|_| refused())?;
        let spki = spki.as_ref();
        Ok(Self { key: Arc::new(key), id: digest::sha256(spki), spki: spki.into() })
    }

    /// The name of the key: SHA-256 of its SubjectPublicKeyInfo in DER, the same however it was written.
    pub fn id(&self) -> Sha256Digest {
        self.id
    }

    /// Whether the signature was made over the message by the private half of this key.
    ///
    /// # Errors
    /// [`CryptoError::Signature`] if not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.key.verify_sig(message, signature).map_err(|_| CryptoError::Signature)
    }

    /// Whether the signature is the key's after all, with a salt of 0, 20, 28, 32, 48 or 64 bytes. Such a signature proves as much as one with the longest salt; it is
    /// only that not everybody takes it. Takes as long as six verifications at worst.
    pub fn is_signed_with_another_salt(&self, message: &[u8], signature: &[u8]) -> bool {
        let is_so = |salt: &'static RsaParameters| {
            UnparsedPublicKey::new(salt, &*self.spki).verify(message, signature).is_ok()
        };
        OTHER_SALTS.iter().any(is_so)
    }
}

/// The bytes of the first section under a label. The PEM reader of the TLS library does not know PKCS#1's.
fn section(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()
}

impl std::fmt::Debug for PssKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PssKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_one_message_and_one_key() {
        let key = PssSigningKey::generate().unwrap();
        let public = PssKey::from_pem(&key.public_pem()).unwrap();
        let signature = key.sign(b"message");
        assert_eq!(signature.len(), 256);
        assert_ne!(signature, key.sign(b"message"), "the salt is random");
        assert_eq!(public.verify(b"message", &signature), Ok(()));
        assert_eq!(public.verify(b"massage", &signature), Err(CryptoError::Signature));
        let other = PssSigningKey::generate().unwrap();
        assert!(PssKey::from_pem(&other.public_pem()).unwrap().verify(b"message", &signature).is_err());
        let again = PssSigningKey::from_pkcs8_pem(key.to_pkcs8_pem().expose()).unwrap();
        assert_eq!(again.public_pem(), key.public_pem());
    }

    #[test]
    fn another_salt_is_told_from_another_key() {
        let key = PssSigningKey::generate().unwrap();
        let (public, other) = (
            PssKey::from_pem(&key.public_pem()).unwrap(),
            PssKey::from_pem(&PssSigningKey::generate().unwrap().public_pem()).unwrap(),
        );
        let mut signature = vec![0; 256];
        for len in [32, 20, 0, 64] {
            let salted = RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(len));
            // The encodings must live for ever; a test may leak some bytes.
            let salted: &'static RsaSignatureEncoding = Box::leak(Box::new(salted));
            key.0.sign(salted, &SystemRandom::new(), b"message", &mut signature).unwrap();
            assert_eq!(public.verify(b"message", &signature), Err(CryptoError::Signature));
            assert!(public.is_signed_with_another_salt(b"message", &signature));
            assert!(!public.is_signed_with_another_salt(b"massage", &signature));
            assert!(!other.is_signed_with_another_salt(b"message", &signature));
        }
    }

    #[test]
    fn a_key_has_one_name_however_it_is_written() {
        let key = PssSigningKey::generate().unwrap();
        let pem = key.public_pem();
        let id = PssKey::from_pem(&pem).unwrap().id();
        let bare = key.0.public_key().as_ref();
        let pkcs1 = crate::pem::encode("RSA PUBLIC KEY", bare);
        for spelling in [pem.replace('\n', "\r\n"), format!("before\n{pem}after\n"), pkcs1] {
            assert_eq!(PssKey::from_pem(&spelling).unwrap().id(), id, "{spelling}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let ed25519 = crate::sign::SigningKey::generate().verifying_key().to_spki_pem();
        for bad in ["", "junk", &ed25519, &crate::pem::encode("PUBLIC KEY", b"junk"), &"x".repeat(9000)] {
            assert!(PssKey::from_pem(bad).is_err(), "{bad}");
        }
    }
}
