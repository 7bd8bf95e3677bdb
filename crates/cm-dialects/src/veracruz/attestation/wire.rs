//! What the service's own routes say, in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cm_attest::{EvidenceKind, TrustTier};
use cm_crypto::sign::VerifyingKey;
use cm_functions::{AppraisalSubject, Conclusion, Submission};
use cm_http::{Failure, FailureClass};
use cm_kernel::Challenge;
use cm_types::{Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A format, by its name in the paths of the earlier service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One that can be judged.
    Evidence(EvidenceKind),
    /// Tokens of the earlier Linux platform, signed with a key that everybody has.
    Psa,
}

impl Format {
    /// By name, in any case.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let kind = match name.to_ascii_lowercase().as_str() {
            "psa" => return Some(Format::Psa),
            "nitro" => EvidenceKind::AwsNitro,
            "snp" => EvidenceKind::AmdSevSnp,
            "tdx" => EvidenceKind::IntelTdx,
            "sgx" => EvidenceKind::IntelSgx,
            other => other.parse().ok()?,
        };
        Some(Format::Evidence(kind))
    }
}

/// A challenge.
#[derive(Serialize)]
pub(super) struct Issued {
    /// Its name.
    id: String,
    /// Its 32 bytes, in hexadecimal digits.
    nonce: String,
    expires_at: Timestamp,
}

impl From<&Challenge> for Issued {
    fn from(challenge: &Challenge) -> Self {
        let nonce = challenge.nonce.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { id: challenge.id.to_string(), nonce, expires_at: challenge.expires_at }
    }
}

/// An answer to a challenge.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Appraisal {
    challenge: String,
    /// Found out by the evidence's looks if absent.
    #[serde(default)]
    kind: Option<EvidenceKind>,
    /// A token as it is, everything else in base64.
    evidence: String,
    /// A string in base64, or Intel's collateral as the JSON object that it is.
    #[serde(default)]
    endorsements: Option<Box<RawValue>>,
    /// The instance's TLS key (SubjectPublicKeyInfo, DER, base64), together with `policy_hash`.
    #[serde(default)]
    tls_spki: Option<String>,
    #[serde(default)]
    policy_hash: Option<Sha256Digest>,
    /// A certificate request (PKCS#10, DER, base64), in place of the two.
    #[serde(default)]
    csr: Option<String>,
}

impl Appraisal {
    /// In the engine's terms.
    ///
    /// # Errors
    /// 422 that names the field.
    pub(super) fn decode(self) -> Result<(Submission, AppraisalSubject), Failure> {
        let subject = match (self.tls_spki, self.policy_hash, self.csr) {
            (Some(spki), Some(policy_hash), None) => {
                AppraisalSubject::Instance { tls_spki_der: decode(&spki, "tls_spki")?, policy_hash }
            }
            (None, None, Some(csr)) => AppraisalSubject::Request { csr_der: decode(&csr, "csr")? },
            _ => return Err(wrong("csr", "give either `tls_spki` and `policy_hash`, or `csr`")),
        };
        let endorsements = self.endorsements.as_deref().map(endorsements).transpose()?;
        let evidence = match self.evidence.trim().starts_with("eyJ") {
            true => self.evidence.trim().as_bytes().to_vec(),
            false => decode(&self.evidence, "evidence")?,
        };
        Ok((Submission { challenge: self.challenge, kind: self.kind, evidence, endorsements }, subject))
    }
}

fn endorsements(given: &RawValue) -> Result<Vec<u8>, Failure> {
    match serde_json::from_str::<String>(given.get()) {
        Ok(text) => decode(&text, "endorsements"),
        // As it was written: it is parsed once, by whoever judges the evidence.
        Err(_) if given.get().starts_with('{') => Ok(given.get().as_bytes().to_vec()),
        Err(_) => Err(wrong("endorsements", "must be base64, or Intel's collateral as an object")),
    }
}

fn decode(text: &str, field: &str) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(text.trim()).map_err(|_| wrong(field, "must be base64"))
}

fn wrong(field: &str, problem: &str) -> Failure {
    Failure::new(FailureClass::Invalid, format!("`{field}`: {problem}")).with_detail("path", field)
}

/// What was concluded.
#[derive(Serialize)]
pub(super) struct Appraised {
    /// The signed result.
    result: String,
    /// What it comes to, for those who need not verify it: they ask the node itself.
    status: TrustTier,
    kind: EvidenceKind,
    measurement: String,
    /// What each aspect is worth, without those of which nothing is claimed.
    vector: Map<String, Value>,
    /// The certificate that was asked for and the authority's, in DER, base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<String>,
}

impl Appraised {
    pub(super) fn new(conclusion: &Conclusion, authority_der: &[u8]) -> Self {
        let result = &conclusion.result;
        let claimed = result.vector.entries().into_iter().filter(|(_, value)| *value != 0);
        let certificate = conclusion.certificate_der.as_deref();
        Self {
            result: conclusion.token.clone(),
            status: result.status(),
            kind: result.kind,
            measurement: result.measurement.to_string(),
            vector: claimed.map(|(name, value)| (name.to_owned(), value.into())).collect(),
            certificates: certificate
                .into_iter()
                .flat_map(|der| [der, authority_der])
                .map(|der| STANDARD.encode(der))
                .collect(),
        }
    }
}

/// What verifies results: a JSON Web Key Set (RFC 7517, RFC 8037).
#[derive(Serialize)]
pub(super) struct Keys {
    keys: [Key; 1],
}

#[derive(Serialize)]
struct Key {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x: String,
}

impl Keys {
    pub(super) fn of(key: &VerifyingKey) -> Self {
        let spki = key.to_spki_der();
        // The key's 32 bytes end its SubjectPublicKeyInfo (RFC 8410).
        let x = URL_SAFE_NO_PAD.encode(&spki[spki.len() - 32..]);
        Self { keys: [Key { kty: "OKP", crv: "Ed25519", alg: "EdDSA", usage: "sig", kid: key.key_id(), x }] }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decoded(value: Value) -> Result<(Submission, AppraisalSubject), Failure> {
        serde_json::from_str::<Appraisal>(&value.to_string()).unwrap().decode()
    }

    #[test]
    fn formats_are_known_by_both_names() {
        assert_eq!(Format::parse("PSA"), Some(Format::Psa));
        for (name, kind) in [
            ("Nitro", EvidenceKind::AwsNitro),
            ("SNP", EvidenceKind::AmdSevSnp),
            ("intel-tdx", EvidenceKind::IntelTdx),
            ("insecure-software", EvidenceKind::InsecureSoftware),
        ] {
            assert_eq!(Format::parse(name), Some(Format::Evidence(kind)), "{name}");
        }
        assert_eq!(Format::parse("Start"), None);
    }

    #[test]
    fn an_answer_is_about_an_instance_or_a_request() {
        let hash = "01".repeat(32);
        let base = json!({ "challenge": "c", "evidence": "eyJhIjoxfQ.a.b" });
        let with = |more: Value| {
            let mut value = base.clone();
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            decoded(value)
        };
        let (submission, subject) = with(json!({ "tls_spki": "a2V5", "policy_hash": hash })).unwrap();
        assert_eq!(submission.evidence, b"eyJhIjoxfQ.a.b");
        assert!(matches!(subject, AppraisalSubject::Instance { .. }));
        let (submission, subject) =
            with(json!({ "csr": "Y3Ny", "evidence": "AAEC", "endorsements": { "a": 1 } })).unwrap();
        assert_eq!(submission.evidence, [0, 1, 2]);
        assert_eq!(submission.endorsements.as_deref(), Some(&br#"{"a":1}"#[..]));
        assert!(matches!(subject, AppraisalSubject::Request { .. }));
        let (submission, _) = with(json!({ "csr": "Y3Ny", "endorsements": "eA==" })).unwrap();
        assert_eq!(submission.endorsements.as_deref(), Some(&b"x"[..]));
        for bad in [
            json!({}),
            json!({ "tls_spki": "a2V5" }),
            json!({ "policy_hash": hash }),
            json!({ "csr": "Y3Ny", "tls_spki": "a2V5", "policy_hash": hash }),
            json!({ "csr": "no base64!" }),
            json!({ "csr": "Y3Ny", "evidence": "no base64!" }),
            json!({ "csr": "Y3Ny", "endorsements": 7 }),
        ] {
            let failure = with(bad.clone()).err().map(|failure| failure.class());
            assert_eq!(failure, Some(FailureClass::Invalid), "{bad}");
        }
    }

    #[test]
    fn keys_are_published_as_a_set() {
        let key = cm_crypto::sign::SigningKey::generate().verifying_key();
        let set = serde_json::to_value(Keys::of(&key)).unwrap();
        assert_eq!(set["keys"][0]["kid"], key.key_id());
        assert_eq!(set["keys"][0]["x"].as_str().map(str::len), Some(43));
    }
}
