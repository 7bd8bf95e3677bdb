//! Signatures of the curve secp256k1, as earlier clients of computations make them: ECDSA over the SHA-256 of a message, without
//! a demand on `s`. Only verified here, never made.

use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use k256::ecdsa::{Signature, VerifyingKey};
use k256::pkcs8::DecodePublicKey as _;

use crate::CryptoError;
use crate::digest::sha256;

/// A public key of the curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secp256k1PublicKey(VerifyingKey);

impl Secp256k1PublicKey {
    /// Reads a key: a SubjectPublicKeyInfo in PEM, or the point (SEC 1) in hexadecimal digits.
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
