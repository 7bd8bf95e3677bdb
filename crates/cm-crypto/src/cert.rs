//! X.509 certificates: a small authority, leaf and self-signed certificates, and what is read from foreign
//! ones. TLS keys are ECDSA P-256, which every TLS peer understands; the node's Ed25519 key is for
//! signatures of its own, see [`crate::sign`].

mod authority;
mod inspect;
mod key;
mod request;

pub use authority::{
    CertificateAuthority, CertificateSpec, Extension, GeneratedKey, IssuedCertificate, generate_identity,
    generate_key, generate_request, self_signed,
};
pub use inspect::{
    common_name, der_to_pem, extension, fingerprint, pem_to_der, pems_to_der, spki_der, subject, uris,
    validity,
};
pub(crate) use inspect::{is_authority, signs_only};
pub use request::{CertificateRequest, REQUEST_LEN_MAX};

#[cfg(test)]
mod tests;
