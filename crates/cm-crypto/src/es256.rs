//! ECDSA signatures over P-256 with SHA-256 in the form of JSON Web Signatures (`ES256` of RFC 7518, section 3.4), for tokens
//! whose standard knows no Ed25519, as that of SPIFFE does.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::{CryptoError, Secret, digest, pem};

const PRIVATE_KEY: &str = "PRIVATE KEY";
/// Length of a coordinate of P-256, in bytes.
const COORDINATE_BYTES: usize = 32;
/// What an uncompressed point begins with (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;
/// What precedes the point in a SubjectPublicKeyInfo (RFC 5480, section 2).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Longest token that is looked at, in bytes.
const TOKEN_LEN_MAX: usize = 64 * 1024;

/// A private ECDSA P-256 key that signs tokens.
pub struct EcSigningKey {
    pair: EcdsaKeyPair,
    public: EcVerifyingKey,
}

/// Its public half.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EcVerifyingKey {
    x: [u8; COORDINATE_BYTES],
    y: [u8; COORDINATE_BYTES],
}

impl EcSigningKey {
    /// A new random key.
    ///
    /// Errors: [`CryptoError::Key`] if the library refuses.
    pub fn generate() -> Result<Self, CryptoError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::of(pair.map_err(|_| CryptoError::Key("ECDSA P-256 private"))?)
    }

    /// Reads a PKCS#8 private key of our own writing.
    ///
    /// Errors: [`CryptoError::Pem`], [`CryptoError::Key`].
    pub fn from_pkcs8_pem(text: &str) -> Result<Self, CryptoError> {
        let der: PrivatePkcs8KeyDer<'static> = pem::decode_one(PRIVATE_KEY, text)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der());
        Self::of(pair.map_err(|_| CryptoError::Key("ECDSA P-256 private"))?)
    }

    fn of(pair: EcdsaKeyPair) -> Result<Self, CryptoError> {
        let point = pair.public_key().as_ref();
        let public = EcVerifyingKey::from_point(point)?;
        Ok(Self { pair, public })
    }

    /// The key as PKCS#8 in PEM.
    pub fn to_pkcs8_pem(&self) -> Secret<String> {
        let der = self.pair.to_pkcs8v1().expect("a key in memory can be written down");
        Secret::new(pem::encode(PRIVATE_KEY, der.as_ref()))
    }

    /// The public half.
    pub fn verifying_key(&self) -> EcVerifyingKey {
        self.public
    }

    /// Signs the bytes of a claims object as a compact token of type `JWT`.
    ///
    /// Errors: [`CryptoError::Key`] if the library refuses.
    pub fn sign_token(&self, claims: &[u8]) -> Result<String, CryptoError> {
        let mut token = format!("{}.{}", self.public.header(), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), token.as_bytes());
        let signature = signature.map_err(|_| CryptoError::Key("ECDSA P-256 private"))?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature.as_ref()));
        Ok(token)
    }
}

impl std::fmt::Debug for EcSigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EcSigningKey({})", self.public.key_id())
    }
}

impl EcVerifyingKey {
    fn from_point(point: &[u8]) -> Result<Self, CryptoError> {
        let bad = CryptoError::Key("ECDSA P-256 public");
        let (&first, rest) = point.split_first().ok_or(bad)?;
        let (x, y) = rest.split_at_checked(COORDINATE_BYTES).ok_or(bad)?;
        if first != UNCOMPRESSED {
            return Err(bad);
        }
        Ok(Self { x: x.try_into().map_err(|_| bad)?, y: y.try_into().map_err(|_| bad)? })
    }

    /// The key of its two coordinates in base64url, as a JSON Web Key has them (RFC 7518, section 6.2).
    ///
    /// Errors: [`CryptoError::Key`].
    pub fn from_coordinates(x: &str, y: &str) -> Result<Self, CryptoError> {
        let coordinate = |text: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok();
            bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(CryptoError::Key("ECDSA P-256 public"))
        };
        let key = Self { x: coordinate(x)?, y: coordinate(y)? };
        let parsed = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point()).parse();
        parsed.map_err(|_| CryptoError::Key("ECDSA P-256 public"))?;
        Ok(key)
    }

    /// The key of a SubjectPublicKeyInfo in DER.
    ///
    /// Errors: [`CryptoError::Key`] for any but one of ECDSA P-256.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, CryptoError> {
        let point = der.strip_prefix(&SPKI_PREFIX).ok_or(CryptoError::Key("ECDSA P-256 public"))?;
        let key = Self::from_point(point)?;
        match key.point().len() == point.len() {
            true => Ok(key),
            false => Err(CryptoError::Key("ECDSA P-256 public")),
        }
    }

    /// The two coordinates in base64url.
    pub fn coordinates(&self) -> (String, String) {
        (URL_SAFE_NO_PAD.encode(self.x), URL_SAFE_NO_PAD.encode(self.y))
    }

    fn point(&self) -> Vec<u8> {
        [&[UNCOMPRESSED][..], &self.x, &self.y].concat()
    }

    /// The name of the key: SHA-256 of its uncompressed point, as 64 hexadecimal digits.
    pub fn key_id(&self) -> String {
        digest::sha256(&self.point()).to_string()
    }

    fn header(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256","kid":"{}","typ":"JWT"}}"#, self.key_id()))
    }

    /// The claims' bytes of a token that was signed with this key. As in [`crate::jws`] only one header is accepted, the
    /// one that [`EcSigningKey::sign_token`] writes.
    ///
    /// Errors: as [`crate::jws::verify`].
    pub fn verify_token(&self, token: &str) -> Result<Vec<u8>, CryptoError> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(CryptoError::Token);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(CryptoError::Token)?;
        let (header, claims) = message.split_once('.').ok_or(CryptoError::Token)?;
        if header != self.header() {
            return Err(CryptoError::UntrustedSigner);
        }
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| CryptoError::Token)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| CryptoError::Token)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point())
            .verify(message.as_bytes(), &signature)
            .map_err(|_| CryptoError::Signature)?;
        Ok(claims)
    }
}

impl std::fmt::Debug for EcVerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EcVerifyingKey({})", self.key_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_under_its_key_alone_and_keys_read_back() {
        let (key, other) = (EcSigningKey::generate().unwrap(), EcSigningKey::generate().unwrap());
        let token = key.sign_token(br#"{"a":1}"#).unwrap();
        let public = key.verifying_key();
        assert_eq!(public.verify_token(&token).unwrap(), br#"{"a":1}"#);
        assert_eq!(other.verifying_key().verify_token(&token), Err(CryptoError::UntrustedSigner));
        let (x, y) = public.coordinates();
        assert_eq!(EcVerifyingKey::from_coordinates(&x, &y).unwrap(), public);
        assert!(EcVerifyingKey::from_coordinates(&y, &x).is_err(), "a point beside the curve");
        let again = EcSigningKey::from_pkcs8_pem(key.to_pkcs8_pem().expose()).unwrap();
        assert_eq!(again.verifying_key(), public);
        for at in 0..token.len() {
            let altered = format!("{}.{}", &token[..at], &token[at + 1..]);
            assert_eq!(public.verify_token(&altered).is_ok(), altered == token, "{at}");
        }
    }
}
