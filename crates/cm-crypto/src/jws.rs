//! Signed tokens: JSON Web Signatures in compact form (RFC 7515), Ed25519 only (RFC 8037).
//!
//! General JOSE libraries let a token's header take part in the choice of algorithm and key, read the
//! system clock, and want the private key handed over on each call. None of that is needed: there is one
//! algorithm and the verifier knows its keys. So the header is not parsed at all. For each trusted key
//! there is exactly one acceptable header, and a token whose first part is not that very text is refused,
//! whatever it says about `alg`, `crit` or `jwk`. Claims are handed out only after the signature holds;
//! judging them is the caller's business.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::sign::{Signature, SigningKey, VerifyingKey};
use crate::{CryptoError, Secret, mac, secret};

/// Longest token that is looked at, in bytes.
pub const TOKEN_LEN_MAX: usize = 64 * 1024;

/// Longest header whose key id is looked at, in bytes.
const HEADER_LEN_MAX: usize = 1024;

/// The type of a token, its header's `typ`. Tokens of one type are never accepted as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenType(&'static str);

impl TokenType {
    /// Attestation evidence (RFC 9711).
    pub const EAT: TokenType = TokenType("eat+jwt");
    /// An attestation result (draft-ietf-rats-ear).
    pub const EAR: TokenType = TokenType("ear+jwt");
    /// A release policy: to which instances the owner of a sealed object releases its key.
    pub const RELEASE: TokenType = TokenType("key-release+jwt");
    /// A bearer token (RFC 9068).
    pub const ACCESS: TokenType = TokenType("at+jwt");

    /// What a client of computations shows after it has signed with its own key.
    pub const COMPUTATION: TokenType = TokenType("computation+jwt");

    /// The text of the header's `typ`.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

fn header(typ: TokenType, key: &VerifyingKey) -> String {
    let json = format!(r#"{{"alg":"EdDSA","kid":"{}","typ":"{}"}}"#, key.key_id(), typ.as_str());
    URL_SAFE_NO_PAD.encode(json)
}

/// Signs the bytes of a claims object.
pub fn sign(key: &SigningKey, typ: TokenType, claims: &[u8]) -> String {
    let header = header(typ, &key.verifying_key());
    let mut token = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = key.sign(token.as_bytes());
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature.as_bytes()));
    token
}

/// The claims' bytes of a token of the given type, signed by one of the keys; and which one it was.
///
/// Errors: [`CryptoError::Token`] for anything that is not three parts of strict base64url,
/// [`CryptoError::UntrustedSigner`] when the header is not the one of a trusted key and this type,
/// [`CryptoError::Signature`] when it is, but the signature does not hold.
pub fn verify<'k>(
    token: &str,
    typ: TokenType,
    trusted: &'k [VerifyingKey],
) -> Result<(Vec<u8>, &'k VerifyingKey), CryptoError> {
    if token.len() > TOKEN_LEN_MAX {
        return Err(CryptoError::Token);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(CryptoError::Token)?;
    let (found_header, claims) = message.split_once('.').ok_or(CryptoError::Token)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| CryptoError::Token)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| CryptoError::Token)?;
    let key =
        trusted.iter().find(|key| header(typ, key) == found_header).ok_or(CryptoError::UntrustedSigner)?;
    key.verify(message.as_bytes(), &Signature::from_slice(&signature)?)?;
    Ok((claims, key))
}

/// A key that both signs and verifies: HMAC with SHA-256 (`HS256` of RFC 7518, section 3.2). Only for tokens that nobody but
/// ourselves has to verify, in protocols whose clients know no other.
pub struct MacKey {
    id: String,
    key: Secret<[u8; 32]>,
}

impl MacKey {
    /// A key and the name that tokens call it by: letters, digits, `-` and `_`.
    pub fn new(id: impl Into<String>, key: Secret<[u8; 32]>) -> Self {
        Self { id: id.into(), key }
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Only this header is accepted, so that no token chooses its algorithm.
    fn header(&self) -> String {
        let json = format!(r#"{{"alg":"HS256","kid":"{}","typ":"JWT"}}"#, self.id);
        URL_SAFE_NO_PAD.encode(json)
    }

    /// Signs the bytes of a claims object. The same claims give the same token.
    pub fn sign(&self, claims: &[u8]) -> String {
        let mut token = format!("{}.{}", self.header(), URL_SAFE_NO_PAD.encode(claims));
        let tag = mac::hmac_sha256(self.key.expose(), token.as_bytes());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(tag));
        token
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MacKey({})", self.id)
    }
}

/// The claims' bytes of a token that was signed with one of these keys.
///
/// Errors: as [`verify`].
pub fn verify_mac<'k>(
    token: &str,
    trusted: impl IntoIterator<Item = &'k MacKey>,
) -> Result<(Vec<u8>, &'k MacKey), CryptoError> {
    if token.len() > TOKEN_LEN_MAX {
        return Err(CryptoError::Token);
    }
    let (message, tag) = token.rsplit_once('.').ok_or(CryptoError::Token)?;
    let (found_header, claims) = message.split_once('.').ok_or(CryptoError::Token)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| CryptoError::Token)?;
    let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| CryptoError::Token)?;
    let key =
        trusted.into_iter().find(|key| key.header() == found_header).ok_or(CryptoError::UntrustedSigner)?;
    let expected = mac::hmac_sha256(key.key.expose(), message.as_bytes());
    match secret::constant_time_eq(&expected, &tag) {
        true => Ok((claims, key)),
        false => Err(CryptoError::Signature),
    }
}

/// The `kid` that a token's header claims, without any proof: to know which key to fetch. `None` for what is no token.
pub fn claimed_key_id(token: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Header {
        kid: String,
    }
    let header = token.split('.').next().filter(|header| header.len() <= HEADER_LEN_MAX)?;
    let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    Some(header.kid)
}

/// The claims of a token, without any proof: to know whom to ask about it. `None` for what is no token.
pub(crate) fn claimed(token: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
    let claims = token.split('.').nth(1).filter(|_| token.len() <= TOKEN_LEN_MAX)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_a_shared_key_hold_under_it_alone() {
        let key = |id: &str, byte| MacKey::new(id, Secret::new([byte; 32]));
        let (ours, namesake) = (key("a", 1), key("a", 2));
        let token = ours.sign(br#"{"sub":"x"}"#);
        let theirs = key("b", 3);
        let (claims, signer) = verify_mac(&token, [&theirs, &ours]).unwrap();
        assert_eq!((claims.as_slice(), signer.id()), (&br#"{"sub":"x"}"#[..], "a"));
        assert_eq!(claimed_key_id(&token).as_deref(), Some("a"));
        assert_eq!(verify_mac(&token, [&namesake]).unwrap_err(), CryptoError::Signature);
        assert_eq!(verify_mac(&token, [&key("b", 1)]).unwrap_err(), CryptoError::UntrustedSigner);
        let claims = token.split('.').nth(1).unwrap();
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"none","kid":"a","typ":"JWT"}"#,
            r#"{"alg":"EdDSA","kid":"a","typ":"JWT"}"#,
            r#"{"alg":"HS512","kid":"a","typ":"JWT"}"#,
            r#"{"alg":"HS256","typ":"JWT"}"#,
        ] {
            let message = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header));
            let tag = mac::hmac_sha256(&[1; 32], message.as_bytes());
            let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
            assert_eq!(verify_mac(&forged, [&ours]).unwrap_err(), CryptoError::UntrustedSigner, "{header}");
            assert!(verify_mac(&format!("{message}."), [&ours]).is_err(), "{header}");
        }
        for at in 0..token.len() {
            let altered = format!("{}.{}", &token[..at], &token[at + 1..]);
            assert_eq!(verify_mac(&altered, [&ours]).is_ok(), altered == token, "{at}");
        }
    }

    fn forge(header: &str, claims: &str, key: &SigningKey) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).as_bytes());
        format!("{message}.{signature}")
    }

    #[test]
    fn a_token_reads_back_under_its_key_and_type() {
        let (key, other) = (SigningKey::generate(), SigningKey::generate());
        let token = sign(&key, TokenType::EAT, b"{}");
        let trusted = [other.verifying_key(), key.verifying_key()];
        let (claims, signer) = verify(&token, TokenType::EAT, &trusted).unwrap();
        assert_eq!((claims.as_slice(), signer), (&b"{}"[..], &trusted[1]));
        assert_eq!(verify(&token, TokenType::ACCESS, &trusted), Err(CryptoError::UntrustedSigner));
        assert_eq!(verify(&token, TokenType::EAT, &trusted[..1]), Err(CryptoError::UntrustedSigner));
        assert_eq!(verify(&token, TokenType::EAT, &[]), Err(CryptoError::UntrustedSigner));
    }

    #[test]
    fn every_altered_character_is_noticed() {
        let key = SigningKey::generate();
        let trusted = [key.verifying_key()];
        let token = sign(&key, TokenType::EAT, br#"{"a":1}"#);
        for at in 0..token.len() {
            for replacement in ["A", "B", "_", ".", "=", "", "AA"] {
                let altered = format!("{}{replacement}{}", &token[..at], &token[at + 1..]);
                let accepted = verify(&altered, TokenType::EAT, &trusted).is_ok();
                assert_eq!(accepted, altered == token, "{replacement:?} at {at}");
            }
        }
    }

    #[test]
    fn the_header_never_chooses_the_algorithm() {
        let key = SigningKey::generate();
        let trusted = [key.verifying_key()];
        let kid = trusted[0].key_id();
        for header in [
            r#"{"alg":"none","typ":"eat+jwt"}"#.to_owned(),
            format!(r#"{{"alg":"none","kid":"{kid}","typ":"eat+jwt"}}"#),
            format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"eat+jwt"}}"#),
            format!(r#"{{"alg":"EdDSA","crit":["x"],"kid":"{kid}","typ":"eat+jwt"}}"#),
            format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#),
        ] {
            let token = forge(&header, "{}", &key);
            assert_eq!(
                verify(&token, TokenType::EAT, &trusted),
                Err(CryptoError::UntrustedSigner),
                "{header}"
            );
            let (unsigned, _) = token.rsplit_once('.').unwrap();
            assert!(verify(&format!("{unsigned}."), TokenType::EAT, &trusted).is_err(), "{header}");
        }
        let good = forge(&format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"eat+jwt"}}"#), "{}", &key);
        assert!(verify(&good, TokenType::EAT, &trusted).is_ok(), "the forgery itself is well-formed");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let trusted = [SigningKey::generate().verifying_key()];
        for bad in ["", ".", "..", "a.b", "a.b.c.d", "\u{e4}.b.c", &"a".repeat(TOKEN_LEN_MAX + 1)] {
            assert!(verify(bad, TokenType::EAT, &trusted).is_err(), "{}", &bad[..bad.len().min(8)]);
        }
    }

    /// RFC 8037 appendix A.4: same key, same claims, same signature.
    #[test]
    fn signing_input_matches_the_standard() {
        let key = SigningKey::from_pkcs8_pem(
            "-----BEGIN PRIVATE KEY-----\n\
             MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
             -----END PRIVATE KEY-----\n",
        )
        .unwrap();
        let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).as_bytes());
        assert_eq!(
            signature,
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }
}
