//! Certificates for instances whose evidence was accepted, where the earlier services' clients look for them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cm_attest::Statement;
use cm_crypto::cert::{CertificateAuthority, CertificateRequest, CertificateSpec, Extension};
use cm_instance::certificate::{DNS_NAME, MEASUREMENT_OID};
use cm_types::Timestamp;

use super::{AppraisalError, CERTIFICATE_LIFETIME};

const COMMON_NAME: &str = "VeracruzCompute";
const ORGANIZATION: &str = "Veracruz";
const ORGANIZATIONAL_UNIT: &str = "Compute Enclave";
/// How a certificate says on whose word it was issued: `urn:cryptomesh:evidence:insecure-software`.
const EVIDENCE: &str = "urn:cryptomesh:evidence:";
/// How RFC 6920 names bytes by their SHA-256.
const NAMED_BY_SHA256: &str = "ni:///sha-256;";

/// A certificate, in DER, for the key of a request. It carries the measurement, as far as there is room for it, the kind of
/// the evidence and, where that tells it, the policy.
pub(super) fn issue(
    authority: &CertificateAuthority,
    request: &CertificateRequest,
    statement: &Statement,
    now: Timestamp,
) -> Result<Vec<u8>, AppraisalError> {
    let policy = statement.claims.as_ref().map(|claims| claims.policy_hash);
    let policy = policy.map(|hash| format!("{NAMED_BY_SHA256}{}", URL_SAFE_NO_PAD.encode(hash.as_bytes())));
    let kind = format!("{EVIDENCE}{}", statement.kind);
    let measurement = statement.measurement.first_32().to_vec();
    let spec = CertificateSpec {
        organization: Some(ORGANIZATION.to_owned()),
        organizational_unit: Some(ORGANIZATIONAL_UNIT.to_owned()),
        dns_names: vec![DNS_NAME.to_owned()],
        uris: policy.into_iter().chain([kind]).collect(),
        extensions: vec![Extension { oid: MEASUREMENT_OID, content: measurement }],
        ..CertificateSpec::new(COMMON_NAME, now, CERTIFICATE_LIFETIME)
    };
    authority.issue_for(request.spki_der(), &spec).map_err(AppraisalError::Certificate)
}
