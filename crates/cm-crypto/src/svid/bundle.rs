//! Trust bundles in the form of SPIFFE (SPIFFE Trust Domain and Bundle, section 4): a JSON Web Key Set whose keys say what they are for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::es256::EcVerifyingKey;
use crate::foreign::ForeignKeys;
use crate::{CryptoError, cert};

/// Longest bundle, in bytes.
pub const BUNDLE_LEN_MAX: usize = 256 * 1024;
/// Most authorities of certificates in one bundle.
pub const AUTHORITIES_MAX: usize = 32;
/// What keys that issue certificates say they are for.
const CERTIFICATES: &str = "x509-svid";
/// What keys that sign tokens say they are for.
const TOKENS: &str = "jwt-svid";
/// The longest that a bundle may say it can be used without asking again, in seconds: a day.
const REFRESH_SECS_MAX: u64 = 24 * 3600;

/// The public keys of a trust domain.
#[derive(Clone, Debug)]
pub struct TrustBundle {
    authorities: Vec<Vec<u8>>,
    tokens: Option<ForeignKeys>,
    sequence: Option<u64>,
    refresh_secs: Option<u64>,
}

impl TrustBundle {
    /// Reads a bundle. Keys for other uses are passed over, as the standard has it.
    ///
    /// # Errors
    /// [`CryptoError::TrustBundle`] for what is no bundle, is too long, has an authority that is none, or holds no usable key.
    pub fn parse(document: &[u8]) -> Result<Self, CryptoError> {
        const WHAT: CryptoError = CryptoError::TrustBundle;
        if document.len() > BUNDLE_LEN_MAX {
            return Err(WHAT);
        }
        let document: Value = serde_json::from_slice(document).map_err(|_| WHAT)?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or(WHAT)?;
        let of_use = |what: &'static str| {
            keys.iter().filter(move |key| key.get("use").and_then(Value::as_str) == Some(what))
        };
        let mut authorities = Vec::new();
        for key in of_use(CERTIFICATES).take(AUTHORITIES_MAX) {
            // Exactly one certificate each (section 4.2.2), which is what counts; the key's own members repeat it.
            let [one] = key.get("x5c").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) else {
                return Err(WHAT);
            };
            let der = one.as_str().and_then(|text| STANDARD.decode(text).ok()).ok_or(WHAT)?;
            if !cert::is_authority(&der).map_err(|_| WHAT)? {
                return Err(WHAT);
            }
            authorities.push(der);
        }
        let tokens: Vec<Value> = of_use(TOKENS).filter_map(signing).collect();
        let tokens = ForeignKeys::parse(json!({ "keys": tokens }).to_string().as_bytes()).ok();
        if authorities.is_empty() && tokens.is_none() {
            return Err(WHAT);
        }
        let number = |name: &str| document.get(name).and_then(Value::as_u64);
        Ok(Self {
            authorities,
            tokens,
            sequence: number("spiffe_sequence"),
            refresh_secs: number("spiffe_refresh_hint").map(|secs| secs.min(REFRESH_SECS_MAX)),
        })
    }

    /// The certificates of the authorities, in DER.
    pub fn authorities(&self) -> &[Vec<u8>] {
        &self.authorities
    }

    /// The certificates of the authorities in PEM, one after the other.
    pub fn authorities_pem(&self) -> String {
        self.authorities.iter().map(|der| cert::der_to_pem(der)).collect()
    }

    /// The keys that sign tokens.
    pub(super) fn token_keys(&self) -> Option<&ForeignKeys> {
        self.tokens.as_ref()
    }

    /// Its number, which grows from bundle to bundle of a domain, if it has one.
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// How soon to ask for the next one, in seconds, at most a day; if it says so.
    pub fn refresh_secs(&self) -> Option<u64> {
        self.refresh_secs
    }
}

/// The same key, said to be one that signs, as [`ForeignKeys`] takes it. One without a name is of no use: tokens name their key.
fn signing(key: &Value) -> Option<Value> {
    let mut key = key.as_object()?.clone();
    key.get("kid").and_then(Value::as_str)?;
    key.insert("use".to_owned(), Value::from("sig"));
    Some(Value::Object(key))
}

/// The bundle of these authorities, certificates of ECDSA P-256 in DER, and keys that sign tokens, with their names.
///
/// # Errors
/// [`CryptoError::Certificate`], [`CryptoError::Key`] for an authority with another key.
pub fn bundle_document(
    authorities: &[Vec<u8>],
    tokens: &[(String, EcVerifyingKey)],
    sequence: u64,
    refresh_secs: u64,
) -> Result<Value, CryptoError> {
    let mut keys = Vec::new();
    for der in authorities {
        let (x, y) = EcVerifyingKey::from_spki_der(&cert::spki_der(der)?)?.coordinates();
        let x5c = [STANDARD.encode(der)];
        keys.push(json!({ "use": CERTIFICATES, "kty": "EC", "crv": "P-256", "x": x, "y": y, "x5c": x5c }));
    }
    for (kid, key) in tokens {
        let (x, y) = key.coordinates();
        keys.push(json!({ "use": TOKENS, "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid }));
    }
    Ok(json!({ "keys": keys, "spiffe_sequence": sequence, "spiffe_refresh_hint": refresh_secs }))
}
