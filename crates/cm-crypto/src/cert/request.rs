//! Requests for certificates (PKCS#10, RFC 2986), which others make.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls_pki_types::CertificateSigningRequestDer;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256;
use x509_parser::prelude::FromDer as _;

use crate::{CryptoError, pem};

/// What PEM calls a request.
pub(super) const CERTIFICATE_REQUEST: &str = "CERTIFICATE REQUEST";
/// Longest request that is looked at, in bytes.
pub const REQUEST_LEN_MAX: usize = 16 * 1024;

/// A request that was signed with the key that it is about. Of what it asks for, only the key counts: names and extensions
/// are chosen by whoever issues the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    spki_der: Vec<u8>,
}

impl CertificateRequest {
    /// Reads a request in DER for an ECDSA P-256 key.
    ///
    /// # Errors
    /// [`CryptoError::CertificateRequest`] for anything else; [`CryptoError::Signature`] if it was not signed with its key.
    pub fn parse(der: &[u8]) -> Result<Self, CryptoError> {
        if der.len() > REQUEST_LEN_MAX {
            return Err(CryptoError::CertificateRequest);
        }
        let request = match X509CertificationRequest::from_der(der) {
            Ok(([], request)) => request,
            Ok(_) | Err(_) => return Err(CryptoError::CertificateRequest),
        };
        if request.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA256 {
            return Err(CryptoError::CertificateRequest);
        }
        let info = &request.certification_request_info;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &info.subject_pki.subject_public_key.data);
        key.verify(info.raw, &request.signature_value.data).map_err(|_| CryptoError::Signature)?;
        Ok(Self { spki_der: info.subject_pki.raw.to_vec() })
    }

    /// As [`CertificateRequest::parse`], in PEM.
    ///
    /// # Errors
    /// As [`CertificateRequest::parse`].
    pub fn from_pem(text: &str) -> Result<Self, CryptoError> {
        if text.len() > 2 * REQUEST_LEN_MAX {
            return Err(CryptoError::CertificateRequest);
        }
        let der: CertificateSigningRequestDer<'static> =
            pem::decode_one(CERTIFICATE_REQUEST, text).map_err(|_| CryptoError::CertificateRequest)?;
        Self::parse(&der)
    }

    /// The key, as SubjectPublicKeyInfo in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn request(algorithm: &'static rcgen::SignatureAlgorithm) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        (request.der().to_vec(), rcgen::PublicKeyData::subject_public_key_info(&key))
    }

    #[test]
    fn a_request_tells_its_key() {
        let (der, spki) = request(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(CertificateRequest::parse(&der).unwrap().spki_der(), spki);
    }

    #[test]
    fn other_keys_and_other_bytes_are_refused() {
        let (other, _) = request(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(CertificateRequest::parse(&other), Err(CryptoError::CertificateRequest));
        let (der, _) = request(&rcgen::PKCS_ECDSA_P256_SHA256);
        for bad in [&[][..], b"junk", &der[1..], &[&der[..], &[0]].concat(), &vec![0x30; REQUEST_LEN_MAX + 1]]
        {
            assert_eq!(CertificateRequest::parse(bad), Err(CryptoError::CertificateRequest));
        }
    }

    /// Otherwise somebody could have another's key certified as belonging to its own instance.
    #[test]
    fn a_request_for_anothers_key_is_refused() {
        let (der, spki) = request(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (_, other) = request(&rcgen::PKCS_ECDSA_P256_SHA256);
        let at = der.windows(spki.len()).position(|window| window == spki).unwrap();
        let mut swapped = der.clone();
        swapped[at..at + spki.len()].copy_from_slice(&other);
        assert_eq!(CertificateRequest::parse(&swapped), Err(CryptoError::Signature));
    }
}
