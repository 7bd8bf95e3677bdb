//! The signed form of evidence: an Entity Attestation Token (RFC 9711) as a compact JWS.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cm_crypto::jws::{self, TokenType};
use cm_crypto::sign::SigningKey;
use cm_types::{Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{AttestError, Claims, EvidenceKind, IsolationLayer, Nonce, ReportData};

/// Names the set of claims below and their meaning (`eat_profile` of RFC 9711 section 4.3.2). Another set
/// gets another number.
const PROFILE: &str = "urn:cryptomesh:evidence:1";
const MICROS_PER_SEC: i64 = 1_000_000;

/// Evidence as it travels. Nothing in it may be believed before a [`crate::Verifier`] returned its claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence(String);

impl Evidence {
    /// Takes over a text as it was received.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Signs claims with the node's key.
pub fn issue(key: &SigningKey, claims: &Claims) -> Evidence {
    let body = serde_json::to_vec(&Body::from(claims)).expect("the claims are strings, numbers and lists");
    Evidence(jws::sign(key, TokenType::EAT, &body))
}

/// The claims object on the wire. Names without prefix are registered ones.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    eat_profile: String,
    /// Base64url, as RFC 9711 section 4.1 wants it in JSON.
    eat_nonce: String,
    /// Seconds since 1970.
    iat: i64,
    iss: String,
    cm_kind: EvidenceKind,
    cm_measurement: Sha256Digest,
    cm_policy_hash: Sha256Digest,
    cm_tls_spki_sha256: Sha256Digest,
    cm_report_data: Sha256Digest,
    cm_isolation: Vec<IsolationLayer>,
}

impl From<&Claims> for Body {
    fn from(claims: &Claims) -> Self {
        Self {
            eat_profile: PROFILE.to_owned(),
            eat_nonce: URL_SAFE_NO_PAD.encode(claims.nonce.as_bytes()),
            iat: claims.issued_at.as_secs(),
            iss: claims.node.clone(),
            cm_kind: claims.kind,
            cm_measurement: claims.measurement,
            cm_policy_hash: claims.policy_hash,
            cm_tls_spki_sha256: claims.tls_spki_sha256,
            cm_report_data: claims.report_data.digest(),
            cm_isolation: claims.isolation.clone(),
        }
    }
}

/// Reads the claims out of a body whose signature was found to hold.
pub(crate) fn decode_claims(body: &[u8]) -> Result<Claims, AttestError> {
    let body: Body = serde_json::from_slice(body).map_err(|_| AttestError::Malformed)?;
    // A node vouches for nothing but its own software: other kinds have other signers.
    if body.eat_profile != PROFILE || body.iat < 0 || body.cm_kind != EvidenceKind::InsecureSoftware {
        return Err(AttestError::Malformed);
    }
    let nonce = URL_SAFE_NO_PAD.decode(&body.eat_nonce).map_err(|_| AttestError::Malformed)?;
    Ok(Claims {
        kind: body.cm_kind,
        measurement: body.cm_measurement,
        report_data: ReportData::from_digest(body.cm_report_data),
        policy_hash: body.cm_policy_hash,
        tls_spki_sha256: body.cm_tls_spki_sha256,
        nonce: Nonce::from_bytes(nonce).map_err(|_| AttestError::Malformed)?,
        isolation: body.cm_isolation,
        issued_at: Timestamp::from_micros(body.iat.saturating_mul(MICROS_PER_SEC)),
        node: body.iss,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::tests::claims;

    fn body() -> serde_json::Value {
        serde_json::to_value(Body::from(&claims())).unwrap()
    }

    fn decode(value: &serde_json::Value) -> Result<Claims, AttestError> {
        decode_claims(&serde_json::to_vec(value).unwrap())
    }

    #[test]
    fn claims_read_back() {
        assert_eq!(decode(&body()).unwrap(), claims());
    }

    #[test]
    fn the_kind_is_called_by_its_name() {
        assert_eq!(body()["cm_kind"], EvidenceKind::InsecureSoftware.as_str());
        assert_eq!(EvidenceKind::InsecureSoftware.to_string(), "insecure-software");
    }

    #[test]
    fn claims_of_another_shape_are_malformed() {
        let refused = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = body();
            change(&mut value);
            assert_eq!(decode(&value), Err(AttestError::Malformed), "{value}");
        };
        refused(&|value| value["eat_profile"] = "urn:cryptomesh:evidence:2".into());
        refused(&|value| value["extra"] = 1.into());
        refused(&|value| value["iat"] = (-1).into());
        refused(&|value| value["iat"] = "now".into());
        refused(&|value| value["eat_nonce"] = "c2hvcnQ".into());
        refused(&|value| value["eat_nonce"] = "not base64!".into());
        refused(&|value| value["cm_kind"] = "hardware".into());
        refused(&|value| value["cm_kind"] = "aws-nitro".into());
        refused(&|value| value["cm_measurement"] = "00".into());
        let fields: Vec<String> = body().as_object().unwrap().keys().cloned().collect();
        for field in fields {
            refused(&|value| {
                value.as_object_mut().unwrap().remove(&field);
            });
        }
    }

    #[test]
    fn a_claim_given_twice_is_malformed() {
        let text = body().to_string();
        let twice = text.replacen('{', r#"{"iat":1,"#, 1);
        assert_eq!(decode_claims(twice.as_bytes()), Err(AttestError::Malformed));
    }
}
