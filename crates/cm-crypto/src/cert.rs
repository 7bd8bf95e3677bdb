//! X.509 certificates: a small authority, leaf and self-signed certificates, and what is read from foreign
//! ones. TLS keys are ECDSA P-256, which every TLS peer understands; the node's Ed25519 key is for
//! signatures of its own, see [`crate::sign`].

mod authority;
mod inspect;
mod key;

pub use authority::{
    CertificateAuthority, CertificateSpec, IssuedCertificate, generate_identity, self_signed,
};
pub use inspect::{common_name, fingerprint, pem_to_der, spki_der, subject, validity};

#[cfg(test)]
mod tests;
