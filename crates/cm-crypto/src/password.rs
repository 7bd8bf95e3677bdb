//! Passwords: argon2id (RFC 9106) with the parameters that OWASP recommends.
//!
//! Both functions work for tens of milliseconds on 19 MiB of memory: call them off the asynchronous
//! runtime, and bound how many run at once.
//!
//! Hashes that an earlier service made, PBKDF2 with SHA-256 as `pbkdf2$l=32,sl=16,i=1000$SALT/KEY`, are verified but never
//! made: [`PasswordHash::is_outdated`] tells who has the password to hash it anew.

use std::num::NonZeroU32;
use std::sync::LazyLock;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use serde::{Deserialize, Serialize};

use crate::{CryptoError, Secret, secret};

/// Memory in KiB: 19 MiB (OWASP Password Storage Cheat Sheet, argon2id, second choice of parameters).
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over the memory; belongs to the memory above.
const PASSES: u32 = 2;
/// Lanes; belongs to the memory above.
const LANES: u32 = 1;
/// What one hash costs, in words.
pub const COST: &str = "19 MiB of memory, 2 passes, 1 lane";
/// The dearest hash that is still verified, in KiB: a stored text must not decide to eat the machine.
const MEMORY_KIB_MAX: u32 = 128 * 1024;
/// The most passes that are still verified.
const PASSES_MAX: u32 = 8;
/// What hashes of the earlier service begin with.
const PBKDF2_PREFIX: &str = "pbkdf2$";
/// The most rounds of PBKDF2 that are still verified.
const ROUNDS_MAX: u32 = 1_000_000;
/// Lengths of keys and salts of PBKDF2 that are verified, in bytes.
const PBKDF2_LENGTHS: std::ops::RangeInclusive<usize> = 8..=64;

/// A password hash in the PHC string format, salt and parameters included. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes over a stored hash after checking its form and that verifying it stays affordable.
    pub fn parse(text: impl Into<String>) -> Result<Self, CryptoError> {
        let text = text.into();
        if text.starts_with(PBKDF2_PREFIX) {
            return Pbkdf2::parse(&text).map(|_| Self(text)).ok_or(CryptoError::PasswordHash);
        }
        let phc = Phc::new(&text).map_err(|_| CryptoError::PasswordHash)?;
        let params = Params::try_from(&phc).map_err(|_| CryptoError::PasswordHash)?;
        let affordable = params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX;
        if phc.algorithm.as_str() == "argon2id" && phc.hash.is_some() && affordable {
            Ok(Self(text))
        } else {
            Err(CryptoError::PasswordHash)
        }
    }

    /// Whether it is one of the earlier service, to be replaced as soon as its password is presented.
    pub fn is_outdated(&self) -> bool {
        self.0.starts_with(PBKDF2_PREFIX)
    }

    /// The PHC string, or the one of the earlier service.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A hash of a password that nobody knows, to be verified when there is no hash to verify, so that an
    /// unknown name costs the same time as a wrong password.
    pub fn decoy() -> &'static PasswordHash {
        static DECOY: LazyLock<PasswordHash> = LazyLock::new(|| hash(&secret::random_token()));
        &DECOY
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash([redacted])")
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = CryptoError;

    fn try_from(text: String) -> Result<Self, CryptoError> {
        Self::parse(text)
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> String {
        hash.0
    }
}

fn argon2id() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are within bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password under a fresh salt. Blocking; see the module.
pub fn hash(password: &Secret<String>) -> PasswordHash {
    let salt = secret::random_bytes::<16>();
    let phc: Phc = argon2id()
        .hash_password_with_salt(password.expose().as_bytes(), &salt)
        .expect("salt and parameters are within bounds, and no password in memory exceeds 4 GiB");
    PasswordHash(phc.to_string())
}

/// Whether the password is the one that was hashed. Blocking; see the module.
pub fn verify(password: &Secret<String>, hash: &PasswordHash) -> bool {
    if let Some(earlier) = Pbkdf2::parse(hash.as_str()) {
        return earlier.verify(password);
    }
    argon2id().verify_password(password.expose().as_bytes(), hash.as_str()).is_ok()
}

/// A hash of the earlier service, taken apart.
struct Pbkdf2 {
    rounds: NonZeroU32,
    salt: Vec<u8>,
    key: Vec<u8>,
}

impl Pbkdf2 {
    /// `None` for what is none, and for what would cost too much or prove too little.
    fn parse(text: &str) -> Option<Self> {
        let (settings, bytes) = text.strip_prefix(PBKDF2_PREFIX)?.split_once('$')?;
        let (salt, key) = bytes.split_once('/')?;
        let (salt, key) = (hex::decode(salt).ok()?, hex::decode(key).ok()?);
        let (mut rounds, mut lengths_fit) = (None, true);
        for setting in settings.split(',') {
            let (name, value) = setting.split_once('=')?;
            match name {
                "i" => rounds = Some(value.parse().ok()?),
                "l" => lengths_fit &= value.parse() == Ok(key.len()),
                "sl" => lengths_fit &= value.parse() == Ok(salt.len()),
                _ => return None,
            }
        }
        let rounds = NonZeroU32::new(rounds?)?;
        let fits = lengths_fit && PBKDF2_LENGTHS.contains(&key.len()) && PBKDF2_LENGTHS.contains(&salt.len());
        (fits && rounds.get() <= ROUNDS_MAX).then_some(Self { rounds, salt, key })
    }

    fn verify(&self, password: &Secret<String>) -> bool {
        let password = password.expose().as_bytes();
        pbkdf2::verify(PBKDF2_HMAC_SHA256, self.rounds, &self.salt, password, &self.key).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `hashlib.pbkdf2_hmac("sha256", b"correct horse", bytes(range(16)), 1000, 32)`.
    const EARLIER: &str = "pbkdf2$l=32,sl=16,i=1000$000102030405060708090a0b0c0d0e0f/c914cc4f06cc6e8f46d157e3a1b5aa7abceebb17bb0444cd4c4ac16ca2ae9864";

    #[test]
    fn a_hash_of_the_earlier_service_is_verified_and_outdated() {
        let stored = PasswordHash::parse(EARLIER).unwrap();
        assert!(stored.is_outdated());
        assert!(verify(&secret("correct horse"), &stored));
        assert!(!verify(&secret("correct hors"), &stored));
        assert!(!hash(&secret("x")).is_outdated());
        for bad in [
            EARLIER.replace("i=1000", "i=0"),
            EARLIER.replace("i=1000", "i=100000000"),
            EARLIER.replace("l=32", "l=31"),
            EARLIER.replace("sl=16", "sl=1"),
            EARLIER.replace(",i=1000", ""),
            EARLIER.replace("000102", "00010"),
            EARLIER.replace("l=32", "x=32"),
        ] {
            assert_eq!(PasswordHash::parse(bad.clone()), Err(CryptoError::PasswordHash), "{bad}");
        }
    }

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_hash_holds_for_its_password_only() {
        let stored = hash(&secret("correct horse"));
        assert!(stored.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.as_str());
        assert!(verify(&secret("correct horse"), &stored));
        assert!(!verify(&secret("correct hors"), &stored));
        assert!(!verify(&secret(""), &stored));
        assert_ne!(hash(&secret("correct horse")), stored, "salts repeat");
        assert!(!format!("{stored:?}").contains("argon2"));
        assert_eq!(PasswordHash::parse(stored.as_str()).unwrap(), stored);
    }

    #[test]
    fn the_cost_is_told_as_it_is() {
        let told = format!("{} MiB of memory, {PASSES} passes, {LANES} lane", MEMORY_KIB / 1024);
        assert_eq!(COST, told);
    }

    #[test]
    fn nothing_matches_the_decoy() {
        assert!(!verify(&secret(""), PasswordHash::decoy()));
    }

    #[test]
    fn foreign_and_ruinous_hashes_are_refused() {
        let stored = hash(&secret("x"));
        for bad in [
            "".to_owned(),
            "plain".to_owned(),
            stored.as_str().replace("argon2id", "argon2i"),
            stored.as_str().replace("m=19456", "m=4194304"),
            stored.as_str().replace("t=2", "t=4000000"),
            "$argon2id$v=19$m=19456,t=2,p=1".to_owned(),
        ] {
            assert_eq!(PasswordHash::parse(bad.clone()), Err(CryptoError::PasswordHash), "{bad}");
        }
    }
}
