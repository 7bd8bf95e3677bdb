//! Attestation results: what a verifier concluded, signed for those who trust the verifier and not the hardware.
//!
//! A result is an EAT attestation result (EAR, draft-ietf-rats-ear): a signed JWT with the claims of RFC 9711 and, for the
//! instance that was appraised, a vector of trustworthiness claims (draft-ietf-rats-ar4si). Its overall status is the worst
//! of them. A result about `insecure-software` says `contraindicated`, and says so in a claim of its own: a relying party
//! that knows nothing of us refuses it.

mod vector;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cm_crypto::jws::{self, TokenType};
use cm_crypto::sign::{SigningKey, VerifyingKey};
use cm_types::{Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};

pub use vector::{TrustTier, TrustVector};

use crate::verify::check_time;
use crate::{AttestError, Demands, EvidenceKind, Measurement, Nonce, Statement};

/// The profile of attestation results that others know too.
const PROFILE: &str = "tag:github.com,2023:veraison/ear";
/// By what rules results come about: those of [`TrustVector::of`].
const POLICY: &str = "urn:cryptomesh:appraisal:1";
const DEVELOPER: &str = "CryptoMesh";
const BUILD: &str = concat!("cm-attest ", env!("CARGO_PKG_VERSION"));
const MICROS_PER_SEC: i64 = 1_000_000;

/// What a verifier concluded about one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationResult {
    /// When it concluded so; kept in whole seconds.
    pub issued_at: Timestamp,
    /// Who concluded, by name. Informative: the signer's key is what counts.
    pub verifier: String,
    /// The challenge that the evidence answered.
    pub nonce: Option<Nonce>,
    /// What each aspect is worth.
    pub vector: TrustVector,
    /// Who vouched.
    pub kind: EvidenceKind,
    /// What was loaded.
    pub measurement: Measurement,
    /// How well the platform is kept, in words.
    pub tcb: String,
    /// The policy that the instance obeys, where the evidence says it.
    pub policy_hash: Option<Sha256Digest>,
    /// SHA-256 of the instance's TLS key, where the evidence says it.
    pub tls_spki_sha256: Option<Sha256Digest>,
}

impl AttestationResult {
    /// The result about authentic evidence, measured by what was demanded.
    pub fn of(
        statement: &Statement,
        demands: &Demands,
        nonce: Option<Nonce>,
        verifier: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            issued_at: now,
            verifier: verifier.to_owned(),
            nonce,
            vector: TrustVector::of(statement, demands),
            kind: statement.kind,
            measurement: statement.measurement.clone(),
            tcb: statement.tcb.to_string(),
            policy_hash: statement.claims.as_ref().map(|claims| claims.policy_hash),
            tls_spki_sha256: statement.claims.as_ref().map(|claims| claims.tls_spki_sha256),
        }
    }

    /// The worst of what the aspects are worth.
    pub fn status(&self) -> TrustTier {
        self.vector.status()
    }

    /// The result as a signed token.
    pub fn sign(&self, key: &SigningKey) -> String {
        let body = serde_json::to_vec(&Body::from(self)).expect("the claims are strings, numbers and maps");
        jws::sign(key, TokenType::EAR, &body)
    }

    /// Reads a token that one of the trusted verifiers signed within the last five minutes.
    ///
    /// # Errors
    /// [`AttestError::UntrustedSigner`], [`AttestError::Forged`], [`AttestError::Stale`],
    /// [`AttestError::FromTheFuture`], [`AttestError::Malformed`].
    pub fn verify(token: &str, trusted: &[VerifyingKey], now: Timestamp) -> Result<Self, AttestError> {
        let (body, _) = jws::verify(token, TokenType::EAR, trusted).map_err(AttestError::from_jws)?;
        let body: Body = serde_json::from_slice(&body).map_err(|_| AttestError::Malformed)?;
        let result = Self::try_from(body)?;
        check_time(result.issued_at, now)?;
        Ok(result)
    }
}

/// The claims object on the wire.
#[derive(Serialize, Deserialize)]
struct Body {
    eat_profile: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eat_nonce: Option<String>,
    /// Seconds since 1970.
    iat: i64,
    #[serde(rename = "ear.verifier-id")]
    verifier_id: VerifierId,
    iss: String,
    submods: Submods,
}

#[derive(Serialize, Deserialize)]
struct VerifierId {
    developer: String,
    build: String,
}

#[derive(Serialize, Deserialize)]
struct Submods {
    instance: Appraisal,
}

#[derive(Serialize, Deserialize)]
struct Appraisal {
    #[serde(rename = "ear.status")]
    status: TrustTier,
    #[serde(rename = "ear.trustworthiness-vector")]
    vector: TrustVector,
    #[serde(rename = "ear.appraisal-policy-id")]
    policy: String,
    cm_kind: EvidenceKind,
    /// Said in so many words, for whoever reads nothing else.
    cm_insecure_software: bool,
    cm_measurement: String,
    cm_tcb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cm_policy_hash: Option<Sha256Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cm_tls_spki_sha256: Option<Sha256Digest>,
}

impl From<&AttestationResult> for Body {
    fn from(result: &AttestationResult) -> Self {
        Self {
            eat_profile: PROFILE.to_owned(),
            eat_nonce: result.nonce.as_ref().map(|nonce| URL_SAFE_NO_PAD.encode(nonce.as_bytes())),
            iat: result.issued_at.as_secs(),
            verifier_id: VerifierId { developer: DEVELOPER.to_owned(), build: BUILD.to_owned() },
            iss: result.verifier.clone(),
            submods: Submods {
                instance: Appraisal {
                    status: result.status(),
                    vector: result.vector,
                    policy: POLICY.to_owned(),
                    cm_kind: result.kind,
                    cm_insecure_software: result.kind == EvidenceKind::InsecureSoftware,
                    cm_measurement: result.measurement.to_string(),
                    cm_tcb: result.tcb.clone(),
                    cm_policy_hash: result.policy_hash,
                    cm_tls_spki_sha256: result.tls_spki_sha256,
                },
            },
        }
    }
}

impl TryFrom<Body> for AttestationResult {
    type Error = AttestError;

    fn try_from(body: Body) -> Result<Self, AttestError> {
        let appraisal = body.submods.instance;
        let nonce = match body.eat_nonce {
            Some(text) => {
                let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| AttestError::Malformed)?;
                Some(Nonce::from_bytes(bytes).map_err(|_| AttestError::Malformed)?)
            }
            None => None,
        };
        let result = Self {
            issued_at: Timestamp::from_micros(body.iat.saturating_mul(MICROS_PER_SEC)),
            verifier: body.iss,
            nonce,
            vector: appraisal.vector,
            kind: appraisal.cm_kind,
            measurement: appraisal.cm_measurement.parse().map_err(|_| AttestError::Malformed)?,
            tcb: appraisal.cm_tcb,
            policy_hash: appraisal.cm_policy_hash,
            tls_spki_sha256: appraisal.cm_tls_spki_sha256,
        };
        // What is said twice must be said alike.
        let insecure = result.kind == EvidenceKind::InsecureSoftware;
        let consistent = body.eat_profile == PROFILE
            && body.iat >= 0
            && appraisal.policy == POLICY
            && appraisal.status == result.status()
            && appraisal.cm_insecure_software == insecure;
        if consistent { Ok(result) } else { Err(AttestError::Malformed) }
    }
}

#[cfg(test)]
mod tests;
