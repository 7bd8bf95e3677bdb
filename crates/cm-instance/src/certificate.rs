//! The certificate that an instance presents: for clients that hold nothing but the text of a policy.
//!
//! The authority that the policy names as `proxy_service_cert` signs a certificate for the key that the instance made
//! inside. It says what the instance is: the measurement of what runs, and the policy that it obeys. Whoever has
//! the text can so check both before a byte is sent.
//!
//! | where | what |
//! | --- | --- |
//! | extension [`MEASUREMENT_OID`], not critical | the measurement, 32 raw bytes, where the published clients look for it |
//! | alternative name, `ni:///sha-256;…` (RFC 6920) | the SHA-256 of the policy's text |
//! | alternative name, `urn:cryptomesh:evidence:…` | on whose word that was certified |
//! | alternative name, [`DNS_NAME`] | the name that clients of the first era compare |
//!
//! The policy stands there as a name and not as an extension of our own, because there is a standard for naming a text by
//! its hash and none for that extension: an object identifier under `2.25` has an arc of 128 bits, which neither our library nor
//! those of the published clients can write.
//!
//! The certificate is worth what its authority is worth: it is issued by the node, which is trusted to tell the
//! truth about what it launched. Evidence says as much and more, and is asked for anew by each client.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cm_crypto::CryptoError;
use cm_crypto::cert::{self, CertificateAuthority, CertificateSpec, Extension};
use cm_types::{Sha256Digest, Timestamp};

use crate::FullPolicy;

/// The extension with the measurement. The published clients know this number.
pub const MEASUREMENT_OID: &[u64] = &[2, 5, 30, 1];
/// The name of every instance for clients that insist on one. It says nothing about where an instance is.
pub const DNS_NAME: &str = "ComputeEnclave.dev";
const COMMON_NAME: &str = "VeracruzCompute";
const ORGANIZATION: &str = "Veracruz";
const ORGANIZATIONAL_UNIT: &str = "Compute Enclave";
/// How RFC 6920 names bytes by their SHA-256, whoever has them.
const NAMED_BY_SHA256: &str = "ni:///sha-256;";
/// Before the kind of evidence that a certificate was issued on.
const EVIDENCE: &str = "urn:cryptomesh:evidence:";
/// The kind of evidence that a node has about what it launched itself: its own word.
pub const NODE_EVIDENCE: &str = "insecure-software";

/// What a certificate says about its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceClaims {
    /// The measurement of what runs.
    pub measurement: Sha256Digest,
    /// The hash of the policy that it obeys.
    pub policy_hash: Sha256Digest,
}

/// What a certificate does not say about an instance, or says otherwise than expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaims {
    /// It is no certificate.
    #[error(transparent)]
    Certificate(#[from] CryptoError),
    /// It holds no measurement, or one of another length.
    #[error("the certificate holds no measurement")]
    Measurement,
    /// It names no policy, or several.
    #[error("the certificate does not name one policy")]
    Policy,
    /// The measurement is none that the policy accepts.
    #[error("the certificate is for the measurement {found}, which the policy does not name")]
    OtherMeasurement {
        /// The measurement in the certificate.
        found: Sha256Digest,
    },
    /// The policy is another one.
    #[error("the certificate is for the policy {found}, not for {expected}")]
    OtherPolicy {
        /// The hash of the policy at hand.
        expected: Sha256Digest,
        /// The hash in the certificate.
        found: Sha256Digest,
    },
}

impl InstanceClaims {
    /// Issues a certificate, in DER, for the key of an instance (SubjectPublicKeyInfo, DER), which holds from `now` until
    /// `until`. It is issued by the node that launched the instance, and says that nobody else vouches.
    pub fn certify(
        &self,
        authority: &CertificateAuthority,
        spki_der: &[u8],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<u8>, CryptoError> {
        let policy = URL_SAFE_NO_PAD.encode(self.policy_hash.as_bytes());
        let measurement = Extension { oid: MEASUREMENT_OID, content: self.measurement.as_bytes().to_vec() };
        let spec = CertificateSpec {
            organization: Some(ORGANIZATION.to_owned()),
            organizational_unit: Some(ORGANIZATIONAL_UNIT.to_owned()),
            dns_names: vec![DNS_NAME.to_owned()],
            uris: vec![format!("{NAMED_BY_SHA256}{policy}"), format!("{EVIDENCE}{NODE_EVIDENCE}")],
            extensions: vec![measurement],
            ..CertificateSpec::new(COMMON_NAME, now, until.since(now))
        };
        authority.issue_for(spki_der, &spec)
    }

    /// Reads what a certificate says. Whoever believes it must have checked who signed it.
    pub fn read(certificate_der: &[u8]) -> Result<Self, InvalidClaims> {
        let measurement = cert::extension(certificate_der, MEASUREMENT_OID)?;
        let measurement = measurement.and_then(|raw| digest(&raw)).ok_or(InvalidClaims::Measurement)?;
        let uris = cert::uris(certificate_der)?;
        let mut policies = uris.iter().filter_map(|uri| uri.strip_prefix(NAMED_BY_SHA256));
        let (Some(policy), None) = (policies.next(), policies.next()) else {
            return Err(InvalidClaims::Policy);
        };
        let policy = URL_SAFE_NO_PAD.decode(policy).ok();
        let policy_hash = policy.and_then(|raw| digest(&raw)).ok_or(InvalidClaims::Policy)?;
        Ok(Self { measurement, policy_hash })
    }

    /// Whether this is the policy and one of the measurements that it names.
    pub fn check(&self, policy: &FullPolicy, policy_hash: Sha256Digest) -> Result<(), InvalidClaims> {
        if self.policy_hash != policy_hash {
            return Err(InvalidClaims::OtherPolicy { expected: policy_hash, found: self.policy_hash });
        }
        if !policy.measurements().any(|named| named == self.measurement) {
            return Err(InvalidClaims::OtherMeasurement { found: self.measurement });
        }
        Ok(())
    }
}

/// The kind of evidence that a certificate says it was issued on, as [`NODE_EVIDENCE`]; `None` if it says nothing, or
/// several things.
pub fn evidence_kind(certificate_der: &[u8]) -> Result<Option<String>, CryptoError> {
    let uris = cert::uris(certificate_der)?;
    let mut kinds = uris.iter().filter_map(|uri| uri.strip_prefix(EVIDENCE));
    let first = kinds.next().map(str::to_owned);
    Ok(if kinds.next().is_some() { None } else { first })
}

fn digest(raw: &[u8]) -> Option<Sha256Digest> {
    raw.try_into().ok().map(Sha256Digest::from_bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn authority() -> CertificateAuthority {
        CertificateAuthority::create("CA", now(), HOUR * 24).unwrap()
    }

    fn claims(measurement: u8, policy: u8) -> InstanceClaims {
        InstanceClaims {
            measurement: Sha256Digest::from_bytes([measurement; 32]),
            policy_hash: Sha256Digest::from_bytes([policy; 32]),
        }
    }

    #[test]
    fn what_is_certified_is_read_back() {
        let authority = authority();
        let key = cert::generate_key().unwrap();
        let claims = claims(0xfb, 0xff);
        let der = claims.certify(&authority, &key.spki_der, now(), now().after(HOUR)).unwrap();
        assert_eq!(InstanceClaims::read(&der), Ok(claims));
        assert_eq!(evidence_kind(&der).unwrap().as_deref(), Some(NODE_EVIDENCE));
        assert_eq!(cert::spki_der(&der).unwrap(), key.spki_der);
        assert_eq!(cert::validity(&der).unwrap().1, now().after(HOUR));
        let subject = cert::subject(&der).unwrap();
        assert_eq!(subject, "O=Veracruz, OU=Compute Enclave, CN=VeracruzCompute");
    }

    #[test]
    fn a_certificate_that_says_less_or_too_much_is_refused() {
        let read = |uris: &[&str], extension: Option<&[u8]>| {
            let extensions = extension
                .map(|content| Extension { oid: MEASUREMENT_OID, content: content.to_vec() })
                .into_iter()
                .collect();
            let uris = uris.iter().map(|uri| (*uri).to_owned()).collect();
            let spec = CertificateSpec { uris, extensions, ..CertificateSpec::new("x", now(), HOUR) };
            InstanceClaims::read(&cert::self_signed(&spec).unwrap().certificate_der)
        };
        let policy = format!("{NAMED_BY_SHA256}{}", URL_SAFE_NO_PAD.encode([2; 32]));
        assert_eq!(read(&[&policy], Some(&[1; 32])), Ok(claims(1, 2)));
        assert_eq!(read(&[&policy], None), Err(InvalidClaims::Measurement));
        assert_eq!(read(&[&policy], Some(&[1; 31])), Err(InvalidClaims::Measurement));
        assert_eq!(read(&[], Some(&[1; 32])), Err(InvalidClaims::Policy));
        assert_eq!(read(&[&policy, &policy], Some(&[1; 32])), Err(InvalidClaims::Policy));
        assert_eq!(read(&["ni:///sha-256;AAAA"], Some(&[1; 32])), Err(InvalidClaims::Policy));
        assert!(matches!(InstanceClaims::read(b"x"), Err(InvalidClaims::Certificate(_))));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(der in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = InstanceClaims::read(&der);
        }
    }
}
