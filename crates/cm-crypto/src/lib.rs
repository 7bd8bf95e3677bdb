//! The cryptography of the product, in the few shapes in which it is used.
//!
//! Nothing is invented here: every primitive comes from an audited crate (AWS-LC for digests, Ed25519,
//! ECDSA, AES-GCM and HKDF, RustCrypto for argon2id, `rcgen` and `x509-parser` for certificates). The
//! modules fix the choices, so that no caller picks an algorithm, a nonce or a parameter, and keep secret
//! bytes in types that are wiped when dropped and cannot be printed.
//!
//! Nothing here reads a clock: whoever needs the present moment passes it in.
//!
//! Reading order: [`secret`] (how secrets are held), [`digest`], [`sign`] (Ed25519), [`pss`] (RSA), [`foreign`], [`jws`] and [`es256`] (signed
//! tokens), [`password`], [`mod@derive`], [`exchange`] (secrets of two), [`stream`] (pseudorandom bytes), [`threshold`] (signatures of several together), [`sealed`] (bytes at rest under a symmetric key), [`frames`] (long ones, read in part), [`seal`] (objects
//! for recipients), [`cert`], [`svid`] (what workloads show).

pub mod aes_file;
pub mod cert;
pub mod derive;
pub mod digest;
mod error;
pub mod es256;
pub mod exchange;
pub mod foreign;
pub mod frames;
pub mod gmac;
pub mod jws;
pub mod mac;
pub mod password;
mod pem;
pub mod pss;
pub mod seal;
pub mod sealed;
pub mod secp256k1;
pub mod secret;
pub mod sign;
pub mod stream;
pub mod svid;
pub mod threshold;
pub mod x25519;

pub use error::CryptoError;
pub use secret::Secret;
