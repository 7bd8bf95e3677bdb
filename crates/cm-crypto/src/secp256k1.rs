//! Keys of the curve secp256k1, as earlier clients of computations have them. Their signatures are ECDSA over the SHA-256 of a message,
//! without a demand on `s`; they are only verified here, never made. Their key files are no PKCS or SEC1 PEM:
//!
//! ```text
//! -----BEGIN SHAMIRA PRIVATE KEY-----
//! (64 hexadecimal digits)
//! -----END SHAMIRA PRIVATE KEY-----
//! -----BEGIN SHAMIRA PUBLIC KEY-----
//! (130 hexadecimal digits: the uncompressed point)
//! -----END SHAMIRA PUBLIC KEY-----
//! ```

use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use k256::ecdsa::{Signature, SigningKey, VerifyingKey};
use k256::elliptic_curve::point::AffineCoordinates as _;
use k256::pkcs8::DecodePublicKey as _;
use k256::{ProjectivePoint, elliptic_curve};

use crate::CryptoError;
use crate::digest::sha256;
use crate::secret::{Secret, random_bytes};

const PRIVATE_HEAD: &str = "-----BEGIN SHAMIRA PRIVATE KEY-----";
const PUBLIC_HEAD: &str = "-----BEGIN SHAMIRA PUBLIC KEY-----";

/// The secret half of a key, to which earlier clients encrypt. Erased when dropped.
pub struct Secp256k1SecretKey(SigningKey);

impl std::fmt::Debug for Secp256k1SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secp256k1SecretKey")
    }
}

impl Secp256k1SecretKey {
    /// A fresh key.
    pub fn generate() -> Self {
        loop {
            let bytes = Secret::new(random_bytes::<32>());
            // Not every number of 256 bits is below the order; hardly any is not.
            if let Ok(key) = SigningKey::from_slice(bytes.expose().as_slice()) {
                return Self(key);
            }
        }
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`CryptoError::Key`] for anything else, also for halves that do not belong together.
    pub fn read(text: &str) -> Result<Self, CryptoError> {
        let refused = || CryptoError::Key("secp256k1");
        let digits =
            text.trim_start().strip_prefix(PRIVATE_HEAD).and_then(|rest| rest.trim_start().lines().next());
        let bytes = Secret::new(hex::decode(digits.ok_or_else(refused)?.trim()).map_err(|_| refused())?);
        let key = Self(SigningKey::from_slice(bytes.expose()).map_err(|_| refused())?);
        let public = text.find(PUBLIC_HEAD).and_then(|at| text.get(at..)).ok_or_else(refused)?;
        if Secp256k1PublicKey::parse(public)? != key.public_key() {
            return Err(refused());
        }
        Ok(key)
    }

    /// The key as a file.
    pub fn to_file(&self) -> Secret<String> {
        let scalar = Secret::new(hex::encode(self.0.to_bytes()));
        let public = self.public_key().to_hex();
        Secret::new(format!(
            "{PRIVATE_HEAD}\n{}\n-----END SHAMIRA PRIVATE KEY-----\n{PUBLIC_HEAD}\n{public}\n-----END SHAMIRA PUBLIC KEY-----\n",
            scalar.expose(),
        ))
    }

    /// The public half.
    pub fn public_key(&self) -> Secp256k1PublicKey {
        Secp256k1PublicKey(*self.0.verifying_key())
    }

    /// The x coordinate of this key times another's point, big-endian: what an earlier client masked a number with for this key, where
    /// the other is the ephemeral one that came with it.
    pub fn shared_x(&self, other: &Secp256k1PublicKey) -> Secret<[u8; 32]> {
        let point = ProjectivePoint::from(*other.0.as_affine()) * *self.0.as_nonzero_scalar().as_ref();
        let x: elliptic_curve::FieldBytes<k256::Secp256k1> = point.to_affine().x();
        Secret::new(x.into())
    }
}

/// A public key of the curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secp256k1PublicKey(VerifyingKey);

impl Secp256k1PublicKey {
    /// Reads a key: a SubjectPublicKeyInfo in PEM, the public part of a key file of earlier clients, or the point (SEC 1) in
    /// hexadecimal digits.
    ///
    /// # Errors
    /// [`CryptoError::Key`] for anything that is no point of the curve.
    pub fn parse(text: &str) -> Result<Self, CryptoError> {
        const LEN_MAX: usize = 4096;
        let refused = || CryptoError::Key("secp256k1");
        let text = text.trim();
        if text.len() > LEN_MAX {
            return Err(refused());
        }
        if let Some(rest) = text.strip_prefix(PUBLIC_HEAD) {
            let digits = rest.trim_start().lines().next().unwrap_or_default();
            return if digits.starts_with('-') { Err(refused()) } else { Self::parse(digits) };
        }
        if text.starts_with("-----BEGIN") {
            return VerifyingKey::from_public_key_pem(text).map(Self).map_err(|_| refused());
        }
        let bytes = hex::decode(text).map_err(|_| refused())?;
        VerifyingKey::from_sec1_bytes(&bytes).map(Self).map_err(|_| refused())
    }

    /// The uncompressed point in hexadecimal digits: the one text by which the key is known.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.to_sec1_point(false).as_bytes())
    }

    /// Whether the signature with these two numbers, as decimal digits, was made over the message by the private half of the key.
    ///
    /// # Errors
    /// [`CryptoError::Signature`] if not, or if a number is none below the curve's order.
    pub fn verify(&self, message: &[u8], r: &str, s: &str) -> Result<(), CryptoError> {
        let numbers = number(r).zip(number(s)).ok_or(CryptoError::Signature)?;
        let signature = Signature::from_scalars(numbers.0, numbers.1).map_err(|_| CryptoError::Signature)?;
        // Of both values of `s` that a signature can have, the library takes one.
        let signature = signature.normalize_s();
        self.0.verify_prehash(sha256(message).as_bytes(), &signature).map_err(|_| CryptoError::Signature)
    }
}

/// A number below 2^256 of decimal digits, big-endian.
fn number(digits: &str) -> Option<[u8; 32]> {
    if digits.is_empty() || digits.len() > 78 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut bytes = [0_u8; 32];
    for digit in digits.bytes() {
        let mut carry = u16::from(digit - b'0');
        for byte in bytes.iter_mut().rev() {
            let value = u16::from(*byte) * 10 + carry;
            *byte = u8::try_from(value & 0xff).expect("it was masked");
            carry = value >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use k256::ecdsa::SigningKey;
    use k256::ecdsa::signature::hazmat::PrehashSigner as _;

    use super::*;

    fn decimal(bytes: &[u8]) -> String {
        let mut bytes = bytes.to_vec();
        let mut digits = Vec::new();
        while bytes.iter().any(|byte| *byte != 0) {
            let mut rest = 0_u32;
            for byte in &mut bytes {
                rest = rest * 256 + u32::from(*byte);
                *byte = u8::try_from(rest / 10).unwrap();
                rest %= 10;
            }
            digits.push(char::from_digit(rest, 10).unwrap());
        }
        digits.iter().rev().collect()
    }

    #[test]
    fn key_files_are_those_of_earlier_clients() {
        let key = Secp256k1SecretKey::generate();
        let file = key.to_file();
        let lines: Vec<&str> = file.expose().lines().collect();
        // Their reader takes the second line and the fifth.
        assert_eq!((lines.len(), lines[1].len(), lines[4].len()), (6, 64, 130));
        assert_eq!(lines[4], key.public_key().to_hex());
        let again = Secp256k1SecretKey::read(file.expose()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(Secp256k1PublicKey::parse(&lines[3..].join("\n")), Ok(key.public_key()));
        let other = Secp256k1SecretKey::generate();
        let both = |a: &Secp256k1SecretKey, b: &Secp256k1SecretKey| *a.shared_x(&b.public_key()).expose();
        assert_eq!(both(&key, &other), both(&other, &key));
        let foreign = [&lines[..4].join("\n"), other.public_key().to_hex().as_str()].join("\n");
        for wrong in ["", &foreign, &lines[..3].join("\n"), &file.expose().replace("SHAMIRA", "EC")] {
            assert!(Secp256k1SecretKey::read(wrong).is_err());
        }
    }

    #[test]
    fn signatures_with_either_s_are_verified_and_no_others() {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let public = Secp256k1PublicKey(*key.verifying_key());
        let public = Secp256k1PublicKey::parse(&public.to_hex()).unwrap();
        let signature: Signature = key.sign_prehash(sha256(b"hello").as_bytes()).unwrap();
        let (r, s) = signature.split_scalars();
        let (r, low) = (decimal(&r.to_bytes()), decimal(&s.to_bytes()));
        let high = decimal(&(-*s).to_bytes());
        for s in [&low, &high] {
            assert_eq!(public.verify(b"hello", &r, s), Ok(()));
            assert_eq!(public.verify(b"hallo", &r, s), Err(CryptoError::Signature));
        }
        for (r, s) in [("0", low.as_str()), (r.as_str(), "0"), ("x", "1"), (&"9".repeat(78), "1"), ("", "")] {
            assert_eq!(public.verify(b"hello", r, s), Err(CryptoError::Signature));
        }
        for text in ["", "04", "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----", &"00".repeat(65)]
        {
            assert!(Secp256k1PublicKey::parse(text).is_err(), "{text}");
        }
    }
}
