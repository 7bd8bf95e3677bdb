//! Key pairs of X25519 (RFC 7748) in files: PKCS#8 and SPKI in PEM, as RFC 8410 and most libraries write them.

use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

use crate::seal::{RecipientPublicKey, RecipientSecretKey};
use crate::secret::random_bytes;
use crate::{CryptoError, Secret, derive, digest, pem};

/// What stands before the 32 bytes of a private key: version 0, the algorithm 1.3.101.110, and two octet strings.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20];
/// What stands before the 32 bytes of a public key: the algorithm and a bit string.
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00];

/// One half of an agreement, to be kept.
#[derive(Clone, Debug)]
pub struct SecretKey(Secret<[u8; 32]>);

/// The other half, to be given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl SecretKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self(Secret::new(random_bytes()))
    }

    /// Reads a file with one `PRIVATE KEY`.
    ///
    /// # Errors
    /// [`CryptoError::Pem`], and [`CryptoError::Key`] for a key of another algorithm.
    pub fn from_pem(text: &str) -> Result<Self, CryptoError> {
        let der: PrivatePkcs8KeyDer<'static> = pem::decode_one("PRIVATE KEY", text)?;
        let bytes = der.secret_pkcs8_der().strip_prefix(&PKCS8_HEAD).ok_or(CryptoError::Key("X25519"))?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| CryptoError::Key("X25519"))?;
        Ok(Self(Secret::new(bytes)))
    }

    /// The file. Whoever holds it can take its owner's place.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let der = Zeroizing::new([&PKCS8_HEAD[..], self.0.expose()].concat());
        Zeroizing::new(pem::encode("PRIVATE KEY", &der))
    }

    /// The key that others are given.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(RecipientSecretKey::from_bytes(self.0.expose()).public_key().to_bytes())
    }

    /// The same key, to open what was sealed for it.
    pub fn to_recipient(&self) -> RecipientSecretKey {
        RecipientSecretKey::from_bytes(self.0.expose())
    }

    /// The shared secret as it is, which earlier software uses as a key. It is not evenly distributed, and is the same for
    /// every use of the two keys: for all else there is [`SecretKey::agree`].
    ///
    /// # Errors
    /// [`CryptoError::Key`] for a public key with which no secret can be agreed.
    pub fn agree_raw(&self, other: &PublicKey) -> Result<Secret<[u8; 32]>, CryptoError> {
        let unusable = CryptoError::Key("X25519");
        let own = agreement::PrivateKey::from_private_key(&X25519, self.0.expose()).map_err(|_| unusable)?;
        agreement::agree(&own, UnparsedPublicKey::new(&X25519, other.0), unusable, |shared| {
            <[u8; 32]>::try_from(shared).map(Secret::new).map_err(|_| unusable)
        })
    }

    /// A key that only the two of them can find, for one purpose: HKDF-SHA256 over the shared secret, both public keys in
    /// the order of their bytes, and the purpose.
    ///
    /// # Errors
    /// [`CryptoError::Key`] for a public key with which no secret can be agreed.
    pub fn agree(&self, other: &PublicKey, purpose: &str) -> Result<Secret<[u8; 32]>, CryptoError> {
        let shared = self.agree_raw(other)?;
        let own = self.public_key();
        let (first, second) = if own.0 <= other.0 { (own.0, other.0) } else { (other.0, own.0) };
        let between = digest::sha256(&[first, second].concat());
        Ok(derive::derive_key(shared.expose(), &format!("cryptomesh exchange v1 {between} {purpose}")))
    }
}

impl PublicKey {
    /// Reads a file with one `PUBLIC KEY`.
    ///
    /// # Errors
    /// [`CryptoError::Pem`], and [`CryptoError::Key`] for a key of another algorithm.
    pub fn from_pem(text: &str) -> Result<Self, CryptoError> {
        let der: SubjectPublicKeyInfoDer<'static> = pem::decode_one("PUBLIC KEY", text)?;
        let bytes = der.as_ref().strip_prefix(&SPKI_HEAD).ok_or(CryptoError::Key("X25519"))?;
        <[u8; 32]>::try_from(bytes).map(Self).map_err(|_| CryptoError::Key("X25519"))
    }

    /// The file.
    pub fn to_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &[&SPKI_HEAD[..], &self.0].concat())
    }

    /// The same key, to seal for.
    pub fn to_recipient(&self) -> RecipientPublicKey {
        RecipientPublicKey::from_bytes(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Python's `cryptography`; see `aes_file/vectors.py`.
    const ALICE: &str = include_str!("aes_file/vectors/alice");
    const ALICE_PUB: &str = include_str!("aes_file/vectors/alice.pub");
    const BOB: &str = include_str!("aes_file/vectors/bob");
    const BOB_PUB: &str = include_str!("aes_file/vectors/bob.pub");
    const SHARED: &str = include_str!("aes_file/vectors/shared.hex");

    #[test]
    fn keys_of_another_library_are_read_and_written_alike() {
        let (alice, bob) = (SecretKey::from_pem(ALICE).unwrap(), SecretKey::from_pem(BOB).unwrap());
        assert_eq!(alice.to_pem().as_str(), ALICE);
        assert_eq!(alice.public_key().to_pem(), ALICE_PUB);
        assert_eq!(PublicKey::from_pem(BOB_PUB).unwrap(), bob.public_key());
        let shared = alice.agree_raw(&bob.public_key()).unwrap();
        assert_eq!(hex::encode(shared.expose()), SHARED.trim());
        assert_eq!(bob.agree_raw(&alice.public_key()).unwrap().expose(), shared.expose());
    }

    #[test]
    fn an_agreement_has_two_sides_and_a_purpose() {
        let (alice, bob) = (SecretKey::generate(), SecretKey::generate());
        let key = alice.agree(&bob.public_key(), "files").unwrap();
        assert_eq!(bob.agree(&alice.public_key(), "files").unwrap().expose(), key.expose());
        assert_ne!(bob.agree(&alice.public_key(), "letters").unwrap().expose(), key.expose());
        assert_ne!(alice.agree_raw(&bob.public_key()).unwrap().expose(), key.expose());
    }

    #[test]
    fn what_is_no_such_key_is_refused() {
        assert_eq!(SecretKey::from_pem(ALICE_PUB).unwrap_err(), CryptoError::Pem("PRIVATE KEY"));
        assert_eq!(PublicKey::from_pem(ALICE).unwrap_err(), CryptoError::Pem("PUBLIC KEY"));
        let ed25519 = ALICE_PUB.replace("MCowBQYDK2Vu", "MCowBQYDK2Vw");
        assert_eq!(PublicKey::from_pem(&ed25519).unwrap_err(), CryptoError::Key("X25519"));
        let nothing = PublicKey([0; 32]);
        assert_eq!(SecretKey::generate().agree_raw(&nothing).unwrap_err(), CryptoError::Key("X25519"));
    }

    #[test]
    fn the_same_key_opens_what_is_sealed_for_it() {
        let secret = SecretKey::generate();
        let sealed = crate::seal::seal_slice(b"for you", &[secret.public_key().to_recipient()]).unwrap();
        assert_eq!(*crate::seal::open_slice(&sealed, &secret.to_recipient()).unwrap(), b"for you");
    }
}
