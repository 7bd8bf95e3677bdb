//! Keys of recipients, and their text forms.

use std::fmt;
use std::str::FromStr;

use bech32::{Bech32m, Hrp};
use hpke::kem::{Kem as _, X25519HkdfSha256};
use hpke::{Deserializable, Serializable};
use zeroize::Zeroizing;

use super::error::InvalidRecipientKey;
use crate::derive::derive_key;
use crate::sign::SigningKey;

pub(super) type Kem = X25519HkdfSha256;

const KEY_BYTES: usize = 32;
const PUBLIC_PREFIX: &str = "cmpub";
const SECRET_PREFIX: &str = "cmsec";
/// Sets the derived signing key apart from everything else that is derived from a secret.
const SIGNING_PURPOSE: &str = "cryptomesh seal v1 signing key";

/// Whom a file is sealed for. Its text form is bech32m (BIP 350) and begins with `cmpub1`.
#[derive(Clone, PartialEq, Eq)]
pub struct RecipientPublicKey(pub(super) <Kem as hpke::Kem>::PublicKey);

/// Opens what was sealed for the matching public key. Its text form begins with `cmsec1`. Zeroised when
/// dropped; never printed by `Debug`.
#[derive(Clone)]
pub struct RecipientSecretKey(pub(super) <Kem as hpke::Kem>::PrivateKey);

impl RecipientPublicKey {
    /// The 32 bytes of the X25519 point.
    pub fn to_bytes(&self) -> [u8; KEY_BYTES] {
        self.0.to_bytes().into()
    }

    /// Takes over the 32 bytes of an X25519 point.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(
            <Kem as hpke::Kem>::PublicKey::from_bytes(bytes)
                .expect("every 32 bytes are the encoding of an X25519 public key"),
        )
    }
}

impl RecipientSecretKey {
    /// A new random key.
    ///
    /// # Panics
    /// If the system gives no random bytes.
    pub fn generate() -> Self {
        Self(Kem::gen_keypair().0)
    }

    /// Takes over the 32 bytes of an X25519 scalar.
    pub(crate) fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        let key = <Kem as hpke::Kem>::PrivateKey::from_bytes(bytes);
        Self(key.expect("every 32 bytes are the encoding of an X25519 private key"))
    }

    /// The key that others seal for.
    pub fn public_key(&self) -> RecipientPublicKey {
        RecipientPublicKey(Kem::sk_to_pk(&self.0))
    }

    /// The key with which its holder signs what is to be done with what was sealed for it. It is derived, so that
    /// one secret is enough for both, and tells nothing of the secret.
    pub fn signing_key(&self) -> SigningKey {
        let bytes = Zeroizing::new(<[u8; KEY_BYTES]>::from(self.0.to_bytes()));
        SigningKey::from_seed(&derive_key(&*bytes, SIGNING_PURPOSE))
    }

    /// The text form, `cmsec1…`. Whoever holds it reads everything sealed for this key.
    pub fn to_text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new(<[u8; KEY_BYTES]>::from(self.0.to_bytes()));
        Zeroizing::new(encode(SECRET_PREFIX, &bytes))
    }
}

fn encode(prefix: &'static str, bytes: &[u8; KEY_BYTES]) -> String {
    let hrp = Hrp::parse(prefix).expect("the prefixes are short ASCII words");
    bech32::encode::<Bech32m>(hrp, bytes).expect("32 bytes are far below the code length of bech32m")
}

fn decode(expected: &'static str, text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, InvalidRecipientKey> {
    let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text.trim())
        .map_err(|_| InvalidRecipientKey::Checksum)?;
    let found = checked.hrp().to_lowercase();
    if found != expected {
        return Err(InvalidRecipientKey::Prefix { expected, found });
    }
    let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(checked.byte_iter().collect());
    let array = <[u8; KEY_BYTES]>::try_from(bytes.as_slice())
        .map_err(|_| InvalidRecipientKey::Length { expected: KEY_BYTES, found: bytes.len() })?;
    Ok(Zeroizing::new(array))
}

impl fmt::Display for RecipientPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(PUBLIC_PREFIX, &self.to_bytes()))
    }
}

impl fmt::Debug for RecipientPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientPublicKey({self})")
    }
}

impl fmt::Debug for RecipientSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientSecretKey([redacted])")
    }
}

impl FromStr for RecipientPublicKey {
    type Err = InvalidRecipientKey;

    /// Accepts the text form in either case, with white space around it.
    fn from_str(text: &str) -> Result<Self, InvalidRecipientKey> {
        Ok(Self::from_bytes(&*decode(PUBLIC_PREFIX, text)?))
    }
}

impl FromStr for RecipientSecretKey {
    type Err = InvalidRecipientKey;

    /// Accepts the text form in either case, with white space around it.
    fn from_str(text: &str) -> Result<Self, InvalidRecipientKey> {
        let bytes = decode(SECRET_PREFIX, text)?;
        Ok(Self::from_bytes(&bytes))
    }
}
