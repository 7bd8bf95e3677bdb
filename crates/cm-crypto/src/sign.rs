//! Ed25519 signatures (RFC 8032), the node's own hand.

use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};

use crate::{CryptoError, Secret, digest, pem};

const PRIVATE_KEY: &str = "PRIVATE KEY";
const PUBLIC_KEY: &str = "PUBLIC KEY";
/// What precedes the 32 key bytes in a SubjectPublicKeyInfo (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An Ed25519 signature: 64 bytes, as 128 hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature([u8; 64]);

impl Signature {
    /// Takes over the bytes of a signature; only their number is checked.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, CryptoError> {
        bytes.try_into().map(Self).map_err(|_| CryptoError::Signature)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signature({})", hex::encode(self.0))
    }
}

impl TryFrom<String> for Signature {
    type Error = CryptoError;

    fn try_from(text: String) -> Result<Self, CryptoError> {
        let bytes = hex::decode(text).map_err(|_| CryptoError::Signature)?;
        Self::from_slice(&bytes)
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> String {
        hex::encode(signature.0)
    }
}

/// A private Ed25519 key. Clones share the key, which AWS-LC wipes when the last of them is dropped.
#[derive(Clone)]
pub struct SigningKey(Arc<Ed25519KeyPair>);

impl SigningKey {
    /// A new random key.
    pub fn generate() -> Self {
        let pair = Ed25519KeyPair::generate()
            .expect("AWS-LC ends the process rather than generate a key without entropy");
        Self(Arc::new(pair))
    }

    /// The key of a seed of 32 bytes (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &Secret<[u8; 32]>) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose())
            .expect("every 32 bytes are the seed of an Ed25519 key");
        Self(Arc::new(pair))
    }

    /// Reads a PKCS#8 private key, of our own writing or of `openssl genpkey -algorithm ed25519`.
    pub fn from_pkcs8_pem(text: &str) -> Result<Self, CryptoError> {
        let der: PrivatePkcs8KeyDer<'static> = pem::decode_one(PRIVATE_KEY, text)?;
        let pair = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|_| CryptoError::Key("Ed25519 private"))?;
        Ok(Self(Arc::new(pair)))
    }

    /// The key as PKCS#8 (version 1, which every tool reads) in PEM.
    pub fn to_pkcs8_pem(&self) -> Secret<String> {
        let der = self.0.to_pkcs8v1().expect("a key in memory can be written down");
        Secret::new(pem::encode(PRIVATE_KEY, der.as_ref()))
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signature = self.0.sign(message);
        Signature::from_slice(signature.as_ref()).expect("an Ed25519 signature has 64 bytes")
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        let bytes = self.0.public_key().as_ref();
        VerifyingKey(bytes.try_into().expect("an Ed25519 public key has 32 bytes"))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.verifying_key().key_id())
    }
}

/// A public Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// Reads a SubjectPublicKeyInfo in DER, as certificates and `openssl` have it.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, CryptoError> {
        let raw = der.strip_prefix(&SPKI_PREFIX).ok_or(CryptoError::Key("Ed25519 public"))?;
        let raw: [u8; 32] = raw.try_into().map_err(|_| CryptoError::Key("Ed25519 public"))?;
        UnparsedPublicKey::new(&ED25519, raw).parse().map_err(|_| CryptoError::Key("Ed25519 public"))?;
        Ok(Self(raw))
    }

    /// Reads a `PUBLIC KEY` section.
    pub fn from_spki_pem(text: &str) -> Result<Self, CryptoError> {
        let der: SubjectPublicKeyInfoDer<'static> = pem::decode_one(PUBLIC_KEY, text)?;
        Self::from_spki_der(der.as_ref())
    }

    /// The key as SubjectPublicKeyInfo in DER.
    pub fn to_spki_der(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.0].concat()
    }

    /// The key as SubjectPublicKeyInfo in PEM.
    pub fn to_spki_pem(&self) -> String {
        pem::encode(PUBLIC_KEY, &self.to_spki_der())
    }

    /// The 32 key bytes in base64url, as a JSON Web Key has them (RFC 8037, section 2).
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Whether the signature was made over the message by the private half of this key.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), CryptoError> {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message, signature.as_bytes())
            .map_err(|_| CryptoError::Signature)
    }

    /// The name of the key: SHA-256 of its SubjectPublicKeyInfo, as 64 hexadecimal digits.
    pub fn key_id(&self) -> String {
        digest::sha256(&self.to_spki_der()).to_string()
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({})", self.key_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 section 7.1, test 2, as a PKCS#8 file.
    const RFC8032_TEST2: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7\n\
        -----END PRIVATE KEY-----\n";

    #[test]
    fn signatures_match_the_standard() {
        let key = SigningKey::from_pkcs8_pem(RFC8032_TEST2).unwrap();
        let raw = hex::encode(&key.verifying_key().to_spki_der()[12..]);
        assert_eq!(raw, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
            085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(String::from(key.sign(&[0x72])), expected);
    }

    #[test]
    fn a_signature_holds_for_one_message_and_one_key() {
        let key = SigningKey::generate();
        let signature = key.sign(b"message");
        let public = key.verifying_key();
        assert_eq!(public.verify(b"message", &signature), Ok(()));
        assert_eq!(public.verify(b"massage", &signature), Err(CryptoError::Signature));
        let other = SigningKey::generate().verifying_key();
        assert_eq!(other.verify(b"message", &signature), Err(CryptoError::Signature));
        for at in 0..64 {
            let mut bytes = *signature.as_bytes();
            bytes[at] ^= 1;
            let flipped = Signature::from_slice(&bytes).unwrap();
            assert_eq!(public.verify(b"message", &flipped), Err(CryptoError::Signature), "byte {at}");
        }
    }

    #[test]
    fn keys_read_back_what_they_print() {
        let key = SigningKey::generate();
        let again = SigningKey::from_pkcs8_pem(key.to_pkcs8_pem().expose()).unwrap();
        assert_eq!(again.verifying_key(), key.verifying_key());
        let public = key.verifying_key();
        assert_eq!(VerifyingKey::from_spki_pem(&public.to_spki_pem()).unwrap(), public);
        assert_eq!(public.key_id().len(), 64);
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(SigningKey::from_pkcs8_pem("").is_err());
        assert!(SigningKey::from_pkcs8_pem(&pem::encode("PRIVATE KEY", b"junk")).is_err());
        let der = SigningKey::generate().verifying_key().to_spki_der();
        assert!(VerifyingKey::from_spki_der(&der[..43]).is_err());
        assert!(VerifyingKey::from_spki_der(&[&der[..], &[0]].concat()).is_err());
        assert!(Signature::from_slice(&[0; 63]).is_err());
    }
}
