//! The comparisons, and how guesses for them are made.

use std::hint::black_box;
use std::time::Instant;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cm_crypto::jws::{MacKey, verify_mac};
use cm_crypto::password::{self, PasswordHash};
use cm_crypto::secret::{constant_time_eq, fill_random, random_bytes};
use cm_crypto::{Secret, digest};
use cm_e2e::measure::{Classes, Contrast, Outcome};

/// Samples that are thrown away at the beginning, while caches and the processor's frequency settle.
const WARM_UP: usize = 200;
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// Length of the passwords that are compared.
const PASSWORD_BYTES: usize = 24;

/// Says whether a guess is right.
type Compare = Box<dyn Fn(&[u8]) -> bool>;

/// A comparison under test.
pub(crate) struct Subject {
    /// What it is.
    pub(crate) name: &'static str,
    /// Whether it is meant to leak.
    pub(crate) is_control: bool,
    /// How many times fewer samples are taken than of a quick one.
    pub(crate) dearness: usize,
    /// How often it is done within one sample, so that the clock's own steps do not matter.
    repeat: usize,
    /// What would be right.
    secret: Vec<u8>,
    /// How many bytes of a near guess, from the last on, are not those of the secret; none if it is right.
    beside: usize,
    compare: Compare,
}

impl Subject {
    /// Times it on guesses of both classes in random order.
    pub(crate) fn measure(&mut self, samples: usize) -> Contrast {
        let mut classes = Classes::default();
        let mut guess = self.secret.clone();
        for sample in 0..samples + WARM_UP {
            let is_far = random_bytes::<1>()[0] & 1 == 1;
            self.make_guess(&mut guess, is_far);
            let began = Instant::now();
            for _ in 0..self.repeat {
                black_box((self.compare)(black_box(&guess)));
            }
            let time = began.elapsed().as_nanos() as f64 / self.repeat as f64;
            if sample >= WARM_UP {
                classes.push(is_far, time);
            }
        }
        classes.contrast()
    }

    /// Both classes take the same steps to be made.
    fn make_guess(&self, guess: &mut [u8], is_far: bool) {
        fill_random(guess);
        // Letters, so that the guess is text of the same length whatever it is.
        guess.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
        let own = if is_far { 0 } else { guess.len() - self.beside };
        guess[..own].copy_from_slice(&self.secret[..own]);
        if guess[0] == self.secret[0] && is_far {
            guess[0] ^= 1;
        }
    }
}

/// What a comparison is that leaks: it ends at the first difference. Not `==`, which the library does in wide steps.
fn leaking_eq(a: &[u8], b: &[u8]) -> bool {
    for (a, b) in a.iter().zip(b) {
        if black_box(*a) != black_box(*b) {
            return false;
        }
    }
    a.len() == b.len()
}

fn letters(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    fill_random(&mut bytes);
    bytes.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
    bytes
}

fn of_bytes(name: &'static str, compare: fn(&[u8], &[u8]) -> bool, beside: usize) -> Subject {
    let secret = letters(TOKEN_BYTES);
    let kept = secret.clone();
    let compare: Compare = Box::new(move |guess| compare(black_box(&kept), guess));
    Subject { name, is_control: false, dearness: 1, repeat: 32, secret, beside, compare }
}

/// All of them, the one that leaks first.
pub(crate) fn subjects() -> Outcome<Vec<Subject>> {
    let control = of_bytes("control: a comparison that stops early", leaking_eq, 1);
    Ok(vec![
        Subject { is_control: true, ..control },
        of_bytes("secret::constant_time_eq, all bytes but the last", constant_time_eq, 1),
        of_bytes("secret::constant_time_eq, half of the bytes", constant_time_eq, TOKEN_BYTES / 2),
        of_bytes("secret::constant_time_eq, right", constant_time_eq, 0),
        api_key(),
        shared_key_token(),
        cheap_argon2()?,
        earlier_hash()?,
        full_argon2(),
    ])
}

/// API keys, keys of applications, recovery codes: the digest of what is shown, compared with the one that is kept.
fn api_key() -> Subject {
    let secret = letters(43);
    let kept = digest::sha256(&secret);
    let compare: Compare = Box::new(move |guess| {
        constant_time_eq(black_box(&kept).as_bytes(), digest::sha256(guess).as_bytes())
    });
    let name = "the digest of an API key, all letters but the last";
    Subject { name, is_control: false, dearness: 1, repeat: 8, secret, beside: 1, compare }
}

/// Tokens of the Xolo dialect: the tag is what a forger would find byte by byte.
fn shared_key_token() -> Subject {
    let key = MacKey::new("timing", Secret::new(random_bytes::<32>()));
    let token = key.sign(br#"{"sub":"somebody","aud":"timing","exp":4102444800}"#);
    let (message, tag) = token.rsplit_once('.').expect("a token has three parts");
    let secret = URL_SAFE_NO_PAD.decode(tag).expect("a tag of our own is base64url");
    let message = format!("{message}.");
    let compare: Compare = Box::new(move |guess| {
        let token = format!("{message}{}", URL_SAFE_NO_PAD.encode(guess));
        verify_mac(&token, [&key]).is_ok()
    });
    let name = "the tag of an HS256 token, all bytes but the last";
    Subject { name, is_control: false, dearness: 2, repeat: 4, secret, beside: 1, compare }
}

fn of_password(name: &'static str, hash: PasswordHash, secret: Vec<u8>, beside: usize) -> Subject {
    let compare: Compare = Box::new(move |guess| {
        let text = String::from_utf8(guess.to_vec()).expect("guesses are letters");
        password::verify(&Secret::new(text), &hash)
    });
    Subject { name, is_control: false, dearness: 5, repeat: 1, secret, beside, compare }
}

/// So cheap that the comparison at its end is not lost in it: a right password's hash is compared to its end, a wrong one's
/// differs at once.
fn cheap_argon2() -> Outcome<Subject> {
    let secret = letters(PASSWORD_BYTES);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None)?);
    let phc: Phc = argon2.hash_password_with_salt(&secret, &random_bytes::<16>())?;
    let hash = PasswordHash::parse(phc.to_string())?;
    Ok(of_password("argon2id with 8 KiB and one pass, right", hash, secret, 0))
}

/// The same of the earlier service, with one round.
fn earlier_hash() -> Outcome<Subject> {
    let secret = letters(PASSWORD_BYTES);
    let (salt, mut key) = (random_bytes::<16>(), [0; 32]);
    let rounds = std::num::NonZeroU32::MIN;
    aws_lc_rs::pbkdf2::derive(aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, &secret, &mut key);
    let text = format!("pbkdf2$l=32,sl=16,i=1${}/{}", hex::encode(salt), hex::encode(key));
    Ok(of_password("PBKDF2 with one round, right", PasswordHash::parse(text)?, secret, 0))
}

/// As people's passwords are hashed.
fn full_argon2() -> Subject {
    let secret = letters(PASSWORD_BYTES);
    let hash = password::hash(&Secret::new(String::from_utf8(secret.clone()).expect("letters")));
    let name = "argon2id as configured, all letters but the last";
    Subject { dearness: 100, ..of_password(name, hash, secret, 1) }
}
