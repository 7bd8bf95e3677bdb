//! Tokens that others signed: JSON Web Tokens of identity providers, verified by the keys that they publish.
//!
//! Providers sign with what they like, RSA above all, so that the one header of [`crate::jws`] will not do; the work is
//! `jsonwebtoken`'s, over AWS-LC. What a token may take part in choosing is which of its issuer's published keys it was signed with,
//! and nothing else: the algorithms are pinned by whoever trusts the issuer, there is none with a shared secret among them, a key
//! serves only algorithms of its own kind, and a header that demands extensions (`crit`) is refused. Claims are handed out after the
//! signature holds; who the issuer is, for whom the token is and whether it is over is for the caller to judge.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Map, Value};

use crate::CryptoError;

/// Longest token that is looked at, in bytes.
pub const TOKEN_LEN_MAX: usize = 16 * 1024;
/// Most keys of a set that are looked at.
pub const KEYS_MAX: usize = 64;
/// Longest set of keys, in bytes.
pub const KEY_SET_LEN_MAX: usize = 256 * 1024;
/// Longest modulus of RSA, in characters of base64: 4096 bits. Verifying takes time that grows with its square.
const MODULUS_CHARS_MAX: usize = 684;
/// Shortest modulus of RSA, in characters of base64: 2048 bits.
const MODULUS_CHARS_MIN: usize = 340;

/// An algorithm that signs with a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForeignAlgorithm {
    /// RSA with PKCS#1 v1.5 padding and SHA-256, what most providers sign with.
    Rs256,
    /// RSA-PSS and SHA-256.
    Ps256,
    /// ECDSA over P-256 and SHA-256.
    Es256,
    /// ECDSA over P-384 and SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl ForeignAlgorithm {
    /// All of them.
    pub const ALL: [ForeignAlgorithm; 5] = [
        ForeignAlgorithm::Rs256,
        ForeignAlgorithm::Ps256,
        ForeignAlgorithm::Es256,
        ForeignAlgorithm::Es384,
        ForeignAlgorithm::EdDsa,
    ];

    /// The name, as headers have it: `RS256`.
    pub fn as_str(self) -> &'static str {
        match self {
            ForeignAlgorithm::Rs256 => "RS256",
            ForeignAlgorithm::Ps256 => "PS256",
            ForeignAlgorithm::Es256 => "ES256",
            ForeignAlgorithm::Es384 => "ES384",
            ForeignAlgorithm::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this name; `None` for all others, those with a shared secret among them.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    fn inner(self) -> Algorithm {
        match self {
            ForeignAlgorithm::Rs256 => Algorithm::RS256,
            ForeignAlgorithm::Ps256 => Algorithm::PS256,
            ForeignAlgorithm::Es256 => Algorithm::ES256,
            ForeignAlgorithm::Es384 => Algorithm::ES384,
            ForeignAlgorithm::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// The keys that an issuer published (RFC 7517). Those that are of no use to us are left out.
#[derive(Clone, Debug)]
pub struct ForeignKeys(Vec<Jwk>);

impl ForeignKeys {
    /// Reads a set of keys.
    ///
    /// # Errors
    /// [`CryptoError::Key`] for what is no set of keys, is too long, or holds no usable key.
    pub fn parse(json: &[u8]) -> Result<Self, CryptoError> {
        const WHAT: CryptoError = CryptoError::Key("set of public");
        if json.len() > KEY_SET_LEN_MAX {
            return Err(WHAT);
        }
        let set: Value = serde_json::from_slice(json).map_err(|_| WHAT)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(WHAT)?;
        // Of a kind that is not known here is no reason to refuse the others.
        let keys =
            keys.iter().take(KEYS_MAX).filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok());
        let keys: Vec<Jwk> = keys.filter(is_usable).collect();
        match keys.is_empty() {
            true => Err(WHAT),
            false => Ok(Self(keys)),
        }
    }

    /// The claims of a token that was signed by one of these keys, with one of these algorithms.
    ///
    /// # Errors
    /// [`CryptoError::Token`] for what is no token; [`CryptoError::UntrustedSigner`] for an algorithm that is not among those, and
    /// for a key that is not: it may have been published since; [`CryptoError::Signature`].
    pub fn verify(
        &self,
        token: &str,
        algorithms: &[ForeignAlgorithm],
    ) -> Result<Map<String, Value>, CryptoError> {
        let header = header_of(token)?;
        if header.contains_key("crit") {
            return Err(CryptoError::Token);
        }
        let name = header.get("alg").and_then(Value::as_str).ok_or(CryptoError::Token)?;
        let algorithm = ForeignAlgorithm::named(name).filter(|named| algorithms.contains(named));
        let algorithm = algorithm.ok_or(CryptoError::UntrustedSigner)?;
        let key = self.key(header.get("kid").and_then(Value::as_str)).ok_or(CryptoError::UntrustedSigner)?;
        if key.common.key_algorithm.is_some_and(|of_key| of_key.to_string() != algorithm.as_str()) {
            return Err(CryptoError::UntrustedSigner);
        }
        let key = DecodingKey::from_jwk(key).map_err(|_| CryptoError::Key("public"))?;
        let mut validation = Validation::new(algorithm.inner());
        // Judged by the caller, who has a clock and knows the issuer.
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_aud) = (false, false);
        let token = decode::<Map<String, Value>>(token, &key, &validation);
        token.map(|token| token.claims).map_err(|_| CryptoError::Signature)
    }

    /// The key of this name; without a name the only one there is.
    fn key(&self, kid: Option<&str>) -> Option<&Jwk> {
        match (kid, self.0.as_slice()) {
            (Some(kid), keys) => keys.iter().find(|key| key.common.key_id.as_deref() == Some(kid)),
            (None, [key]) => Some(key),
            (None, _) => None,
        }
    }
}

fn is_usable(key: &Jwk) -> bool {
    let signs = key.common.public_key_use.as_ref().is_none_or(|what| *what == PublicKeyUse::Signature);
    let is_public = match &key.algorithm {
        AlgorithmParameters::RSA(rsa) => (MODULUS_CHARS_MIN..=MODULUS_CHARS_MAX).contains(&rsa.n.len()),
        AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_) => true,
        // A secret that was published is none.
        _ => false,
    };
    signs && is_public
}

fn header_of(token: &str) -> Result<Map<String, Value>, CryptoError> {
    if token.len() > TOKEN_LEN_MAX {
        return Err(CryptoError::Token);
    }
    let (header, _) = token.split_once('.').ok_or(CryptoError::Token)?;
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| CryptoError::Token)?;
    serde_json::from_slice(&header).map_err(|_| CryptoError::Token)
}

/// The issuer that a token claims, without any proof: to know whose keys to ask for. `None` for what is no token.
pub fn claimed_issuer(token: &str) -> Option<String> {
    header_of(token).ok()?;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Map<String, Value> = serde_json::from_slice(&claims).ok()?;
    Some(claims.get("iss")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::es256::EcSigningKey;
    use crate::mac;

    fn set(keys: &[(&str, &EcSigningKey)]) -> Vec<u8> {
        let view = |(kid, key): &(&str, &EcSigningKey)| {
            let (x, y) = key.verifying_key().coordinates();
            serde_json::json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": x, "y": y })
        };
        serde_json::to_vec(&serde_json::json!({ "keys": keys.iter().map(view).collect::<Vec<_>>() })).unwrap()
    }

    fn with_header(header: Value, token: &str) -> String {
        let rest = token.split_once('.').unwrap().1;
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
    }

    #[test]
    fn a_token_holds_under_a_published_key_and_a_pinned_algorithm_alone() {
        let (key, other) = (EcSigningKey::generate().unwrap(), EcSigningKey::generate().unwrap());
        let kid = key.verifying_key().key_id();
        let token = key.sign_token(br#"{"iss":"https://x","n":1}"#).unwrap();
        assert_eq!(claimed_issuer(&token).as_deref(), Some("https://x"));
        let keys = ForeignKeys::parse(&set(&[("other", &other), (&kid, &key)])).unwrap();
        let es256 = [ForeignAlgorithm::Es256];
        assert_eq!(keys.verify(&token, &es256).unwrap()["n"], 1);
        for algorithms in [&[][..], &[ForeignAlgorithm::Rs256, ForeignAlgorithm::EdDsa]] {
            assert_eq!(keys.verify(&token, algorithms), Err(CryptoError::UntrustedSigner));
        }
        let under_our_name = ForeignKeys::parse(&set(&[(&kid, &other)])).unwrap();
        assert_eq!(under_our_name.verify(&token, &es256), Err(CryptoError::Signature));
        let unknown = ForeignKeys::parse(&set(&[("other", &other)])).unwrap();
        assert_eq!(unknown.verify(&token, &es256), Err(CryptoError::UntrustedSigner));
        for at in 0..token.len() {
            let altered = format!("{}.{}", &token[..at], &token[at + 1..]);
            assert_eq!(keys.verify(&altered, &es256).is_ok(), altered == token, "{at}");
        }
    }

    #[test]
    fn headers_choose_nothing() {
        let key = EcSigningKey::generate().unwrap();
        let kid = key.verifying_key().key_id();
        let token = key.sign_token(br#"{"iss":"x"}"#).unwrap();
        let keys = ForeignKeys::parse(&set(&[(&kid, &key)])).unwrap();
        for header in [
            serde_json::json!({ "alg": "none", "kid": kid }),
            serde_json::json!({ "alg": "ES256", "kid": kid, "crit": ["x"] }),
            serde_json::json!({ "alg": "RS256", "kid": kid }),
            serde_json::json!({ "alg": "ES384", "kid": kid }),
            serde_json::json!({ "kid": kid }),
        ] {
            let forged = with_header(header.clone(), &token);
            assert!(keys.verify(&forged, &ForeignAlgorithm::ALL).is_err(), "{header}");
            let (message, _) = forged.rsplit_once('.').unwrap();
            assert!(keys.verify(&format!("{message}."), &ForeignAlgorithm::ALL).is_err(), "{header}");
        }
        // The classic: the public key as the secret of an HMAC.
        let (x, y) = key.verifying_key().coordinates();
        let swapped = with_header(serde_json::json!({ "alg": "HS256", "kid": kid }), &token);
        let (message, _) = swapped.rsplit_once('.').unwrap();
        for secret in [x.as_bytes(), y.as_bytes()] {
            let tag = URL_SAFE_NO_PAD.encode(mac::hmac_sha256(secret, message.as_bytes()));
            let refused = keys.verify(&format!("{message}.{tag}"), &ForeignAlgorithm::ALL);
            assert_eq!(refused, Err(CryptoError::UntrustedSigner));
        }
    }

    #[test]
    fn sets_without_a_usable_key_are_refused() {
        for bad in [
            &b""[..],
            b"{}",
            br#"{"keys":[]}"#,
            br#"{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}"#,
            br#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}"#,
            &vec![b' '; KEY_SET_LEN_MAX + 1],
        ] {
            assert!(
                ForeignKeys::parse(bad).is_err(),
                "{}",
                String::from_utf8_lossy(&bad[..bad.len().min(60)])
            );
        }
    }
}
