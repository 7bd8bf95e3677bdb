//! The private key behind a certificate.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::{CryptoError, Secret, pem};

pub(super) const PRIVATE_KEY: &str = "PRIVATE KEY";

/// An ECDSA P-256 key. It lives in AWS-LC's memory, which is wiped when freed; rcgen's own key type would
/// keep a second copy that is not.
pub(super) struct TlsKey(EcdsaKeyPair);

impl TlsKey {
    pub(super) fn generate() -> Result<Self, CryptoError> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map(Self)
            .map_err(|_| CryptoError::Key("ECDSA P-256 private"))
    }

    pub(super) fn from_pkcs8_pem(text: &str) -> Result<Self, CryptoError> {
        let der: PrivatePkcs8KeyDer<'static> = pem::decode_one(PRIVATE_KEY, text)?;
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der())
            .map(Self)
            .map_err(|_| CryptoError::Key("ECDSA P-256 private"))
    }

    pub(super) fn to_pkcs8_der(&self) -> Secret<Vec<u8>> {
        let der = self.0.to_pkcs8v1().expect("a key in memory can be written down");
        Secret::new(der.as_ref().to_vec())
    }
}

impl rcgen::PublicKeyData for TlsKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature =
            self.0.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.as_ref().to_vec())
    }
}
