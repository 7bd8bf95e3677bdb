//! Reading certificates, foreign ones included. Reading one does not mean trusting it.

use cm_types::{Sha256Digest, Timestamp};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::{CryptoError, digest, pem};

const CERTIFICATE: &str = "CERTIFICATE";
const MICROS_PER_SEC: i64 = 1_000_000;

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CryptoError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(CryptoError::Certificate),
    }
}

/// The one certificate in a PEM text, in DER. Text around it and other sections are passed over; two
/// certificates are refused, because it would be unclear which of them is meant.
pub fn pem_to_der(text: &str) -> Result<Vec<u8>, CryptoError> {
    let der: CertificateDer<'static> = pem::decode_one(CERTIFICATE, text)?;
    parse(&der)?;
    Ok(der.to_vec())
}

/// The certificates in a PEM text, in DER and in their order, the leaf of a chain first. Other sections are passed over.
///
/// # Errors
/// [`CryptoError::Pem`] for none, and for more than `max`; [`CryptoError::Certificate`].
pub fn pems_to_der(text: &str, max: usize) -> Result<Vec<Vec<u8>>, CryptoError> {
    let mut all = Vec::new();
    for section in CertificateDer::pem_slice_iter(text.as_bytes()).take(max + 1) {
        let der = section.map_err(|_| CryptoError::Pem(CERTIFICATE))?;
        parse(&der)?;
        all.push(der.to_vec());
    }
    match (1..=max).contains(&all.len()) {
        true => Ok(all),
        false => Err(CryptoError::Pem(CERTIFICATE)),
    }
}

/// A certificate in PEM.
pub fn der_to_pem(der: &[u8]) -> String {
    pem::encode(CERTIFICATE, der)
}

/// From when until when the certificate holds. Years outside of 1970 to 9999 are moved to the nearest.
pub fn validity(der: &[u8]) -> Result<(Timestamp, Timestamp), CryptoError> {
    let certificate = parse(der)?;
    let moment = |secs: i64| Timestamp::from_micros(secs.saturating_mul(MICROS_PER_SEC));
    let validity = certificate.validity();
    Ok((moment(validity.not_before.timestamp()), moment(validity.not_after.timestamp())))
}

/// The certificate's SubjectPublicKeyInfo in DER: what a peer pins.
pub fn spki_der(der: &[u8]) -> Result<Vec<u8>, CryptoError> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

/// The subject's distinguished name, as people read it: `CN=Alice, O=Example`.
pub fn subject(der: &[u8]) -> Result<String, CryptoError> {
    Ok(parse(der)?.subject().to_string())
}

/// The subject's first common name; `None` if it has none, or one that is no text.
pub fn common_name(der: &[u8]) -> Result<Option<String>, CryptoError> {
    let certificate = parse(der)?;
    let first = certificate.subject().iter_common_name().next();
    Ok(first.and_then(|name| name.as_str().ok()).map(str::to_owned))
}

/// The value of the extension with these arcs; `None` if there is none. One that stands there twice is refused.
pub fn extension(der: &[u8], oid: &[u64]) -> Result<Option<Vec<u8>>, CryptoError> {
    let oid = Oid::from(oid).map_err(|_| CryptoError::Certificate)?;
    let certificate = parse(der)?;
    let found = certificate.get_extension_unique(&oid).map_err(|_| CryptoError::Certificate)?;
    Ok(found.map(|extension| extension.value.to_vec()))
}

/// The URIs among the subject's alternative names, in their order.
pub fn uris(der: &[u8]) -> Result<Vec<String>, CryptoError> {
    let certificate = parse(der)?;
    let names = certificate.subject_alternative_name().map_err(|_| CryptoError::Certificate)?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    let uris = names.filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    Ok(uris.collect())
}

/// SHA-256 of the whole certificate.
pub fn fingerprint(der: &[u8]) -> Sha256Digest {
    digest::sha256(der)
}

/// Whether the certificate says that it may issue others.
pub(crate) fn is_authority(der: &[u8]) -> Result<bool, CryptoError> {
    Ok(parse(der)?.is_ca())
}

/// Whether the key of the certificate is for signatures of its holder, and neither for certificates nor for lists of revoked ones
/// (X509-SVID, section 4.3).
pub(crate) fn signs_only(der: &[u8]) -> Result<bool, CryptoError> {
    let certificate = parse(der)?;
    let usage = certificate.key_usage().map_err(|_| CryptoError::Certificate)?;
    Ok(usage.is_some_and(|usage| {
        usage.value.digital_signature() && !usage.value.key_cert_sign() && !usage.value.crl_sign()
    }))
}
