use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cm_crypto::digest;
use cm_crypto::sign::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::{ReportData, issue};

static NODE: LazyLock<SigningKey> = LazyLock::new(SigningKey::generate);
const SPKI: &[u8] = b"the instance's public key";

fn digest_of(byte: u8) -> Sha256Digest {
    Sha256Digest::from_bytes([byte; 32])
}

fn nonce() -> Nonce {
    Nonce::from_bytes([9; 32]).unwrap()
}

fn issued_at() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn layer(name: &str, reason: Option<&str>) -> IsolationLayer {
    IsolationLayer { name: name.to_owned(), active: reason.is_none(), reason: reason.map(str::to_owned) }
}

/// Claims that fulfil [`expectation`].
pub(crate) fn claims() -> Claims {
    Claims {
        kind: EvidenceKind::InsecureSoftware,
        measurement: digest_of(1),
        report_data: ReportData::bind(SPKI, &digest_of(2), &nonce()),
        policy_hash: digest_of(2),
        tls_spki_sha256: digest::sha256(SPKI),
        nonce: nonce(),
        isolation: vec![layer("seccomp", None), layer("landlock", Some("the kernel has none"))],
        issued_at: issued_at(),
        node: "node-1".to_owned(),
    }
}

fn expectation() -> Expectation {
    Expectation {
        nonce: nonce(),
        policy_hash: digest_of(2),
        tls_spki_der: SPKI.to_vec(),
        measurements: AcceptedMeasurements::OneOf(vec![digest_of(7), digest_of(1)]),
        allow_insecure: true,
        require_isolation: vec!["seccomp".to_owned()],
    }
}

fn verify(evidence: &Evidence, expected: &Expectation, now: Timestamp) -> Result<Claims, AttestError> {
    SoftwareVerifier::new(vec![NODE.verifying_key()]).verify(evidence, expected, now)
}

fn check_expectation(change: impl FnOnce(&mut Expectation), expected: Result<(), AttestError>) {
    let mut expectation = expectation();
    change(&mut expectation);
    let found = verify(&issue(&NODE, &claims()), &expectation, issued_at());
    assert_eq!(found.map(|_| ()), expected);
}

fn check_claims(change: impl FnOnce(&mut Claims), expected: Result<(), AttestError>) {
    let mut claims = claims();
    change(&mut claims);
    let found = verify(&issue(&NODE, &claims), &expectation(), issued_at());
    assert_eq!(found.map(|_| ()), expected);
}

#[test]
fn good_evidence_yields_its_claims() {
    assert_eq!(verify(&issue(&NODE, &claims()), &expectation(), issued_at()).unwrap(), claims());
}

#[test]
fn insecure_evidence_must_be_allowed() {
    check_expectation(|expected| expected.allow_insecure = false, Err(AttestError::InsecureRefused));
}

#[test]
fn each_expectation_can_fail() {
    let other_nonce = Nonce::from_bytes([8; 32]).unwrap();
    check_expectation(|expected| expected.nonce = other_nonce, Err(AttestError::Nonce));
    let policy = AttestError::Policy { expected: digest_of(3), found: digest_of(2) };
    check_expectation(|expected| expected.policy_hash = digest_of(3), Err(policy));
    check_expectation(|expected| expected.tls_spki_der.push(0), Err(AttestError::TlsKey));
    let measurement = || Err(AttestError::Measurement { found: digest_of(1) });
    let one_of =
        |digests: &[u8]| AcceptedMeasurements::OneOf(digests.iter().copied().map(digest_of).collect());
    check_expectation(|expected| expected.measurements = one_of(&[2, 3]), measurement());
    check_expectation(|expected| expected.measurements = one_of(&[]), measurement());
    check_expectation(|expected| expected.measurements = AcceptedMeasurements::Any, Ok(()));
}

#[test]
fn demanded_isolation_must_be_active() {
    let demand = |names: &'static [&str]| {
        move |expected: &mut Expectation| {
            expected.require_isolation = names.iter().map(|name| (*name).to_owned()).collect();
        }
    };
    let missing = |layer: &str, reason: Option<&str>| {
        Err(AttestError::Isolation { layer: layer.to_owned(), reason: reason.map(str::to_owned) })
    };
    check_expectation(demand(&[]), Ok(()));
    check_expectation(demand(&["seccomp", "landlock"]), missing("landlock", Some("the kernel has none")));
    check_expectation(demand(&["namespaces"]), missing("namespaces", None));
    check_claims(
        |claims| claims.isolation.push(layer("seccomp", Some("failed"))),
        missing("seccomp", Some("failed")),
    );
    check_claims(|claims| claims.isolation.clear(), missing("seccomp", None));
}

#[test]
fn claims_that_do_not_bind_each_other_are_refused() {
    let unbound = |claims: &mut Claims| claims.report_data = ReportData::from_digest(digest_of(0));
    check_claims(unbound, Err(AttestError::ReportData));
    check_claims(|claims| claims.tls_spki_sha256 = digest_of(0), Err(AttestError::TlsKey));
    let policy = AttestError::Policy { expected: digest_of(2), found: digest_of(0) };
    check_claims(|claims| claims.policy_hash = digest_of(0), Err(policy));
    let other_nonce = Nonce::from_bytes([8; 32]).unwrap();
    check_claims(|claims| claims.nonce = other_nonce, Err(AttestError::Nonce));
}

#[test]
fn evidence_holds_for_its_time_only() {
    let evidence = issue(&NODE, &claims());
    let at = |offset_secs: i64| {
        let now = Timestamp::from_micros(issued_at().as_micros() + offset_secs * 1_000_000);
        verify(&evidence, &expectation(), now).map(|_| ())
    };
    assert_eq!(at(0), Ok(()));
    assert_eq!(at(300), Ok(()));
    assert_eq!(at(301), Err(AttestError::Stale { age_secs: 301, max_secs: 300 }));
    assert_eq!(at(-60), Ok(()));
    assert_eq!(at(-61), Err(AttestError::FromTheFuture { ahead_secs: 61 }));
}

#[test]
fn only_trusted_keys_can_speak() {
    let stranger = SigningKey::generate();
    let evidence = issue(&stranger, &claims());
    assert_eq!(verify(&evidence, &expectation(), issued_at()), Err(AttestError::UntrustedSigner));
    let nobody = SoftwareVerifier::new(Vec::new());
    let genuine = issue(&NODE, &claims());
    let found = nobody.verify(&genuine, &expectation(), issued_at());
    assert_eq!(found, Err(AttestError::UntrustedSigner));
}

#[test]
fn a_strangers_signature_under_the_nodes_name_is_forged() {
    let genuine = issue(&NODE, &claims());
    let (message, _) = genuine.as_str().rsplit_once('.').unwrap();
    let signature = SigningKey::generate().sign(message.as_bytes());
    let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()));
    let found = verify(&Evidence::from_text(forged), &expectation(), issued_at());
    assert_eq!(found, Err(AttestError::Forged));
}

#[test]
fn every_flipped_bit_and_lost_byte_is_noticed() {
    let evidence = issue(&NODE, &claims());
    let text = evidence.as_str();
    for at in 0..text.len() {
        for bit in 0..7 {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let altered = Evidence::from_text(String::from_utf8(bytes).unwrap());
            assert!(verify(&altered, &expectation(), issued_at()).is_err(), "bit {bit} of byte {at}");
        }
        let shorter = Evidence::from_text(format!("{}{}", &text[..at], &text[at + 1..]));
        assert!(verify(&shorter, &expectation(), issued_at()).is_err(), "without byte {at}");
        let cut = Evidence::from_text(&text[..at]);
        assert!(verify(&cut, &expectation(), issued_at()).is_err(), "cut at {at}");
    }
}

#[test]
fn the_token_does_not_choose_how_it_is_verified() {
    let genuine = issue(&NODE, &claims());
    let body = genuine.as_str().split('.').nth(1).unwrap();
    let kid = NODE.verifying_key().key_id();
    let refused = |header: String, signature: &dyn Fn(&str) -> Vec<u8>| {
        let message = format!("{}.{body}", URL_SAFE_NO_PAD.encode(&header));
        let signature = URL_SAFE_NO_PAD.encode(signature(&message));
        let token = Evidence::from_text(format!("{message}.{signature}"));
        let found = verify(&token, &expectation(), issued_at());
        assert_eq!(found, Err(AttestError::UntrustedSigner), "{header}");
    };
    let unsigned = |_: &str| Vec::new();
    let signed = |message: &str| NODE.sign(message.as_bytes()).as_bytes().to_vec();
    let hmac_with_public_key = |message: &str| {
        let key = NODE.verifying_key().to_spki_pem();
        digest::sha256(&[key.as_bytes(), message.as_bytes()].concat()).as_bytes().to_vec()
    };
    refused(r#"{"alg":"none"}"#.to_owned(), &unsigned);
    refused(format!(r#"{{"alg":"none","kid":"{kid}","typ":"eat+jwt"}}"#), &unsigned);
    refused(format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"eat+jwt"}}"#), &hmac_with_public_key);
    refused(format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"eat+jwt"}}"#), &signed);
    refused(format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"at+jwt"}}"#), &signed);
    refused(format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"JWT"}}"#), &signed);
}

proptest! {
    #[test]
    fn foreign_texts_are_refused_without_panic(text in ".{0,200}") {
        prop_assert!(verify(&Evidence::from_text(text), &expectation(), issued_at()).is_err());
    }

    #[test]
    fn signed_nonsense_is_malformed(body: Vec<u8>) {
        let evidence = Evidence::from_text(jws::sign(&NODE, jws::TokenType::EAT, &body));
        prop_assert_eq!(verify(&evidence, &expectation(), issued_at()), Err(AttestError::Malformed));
    }
}
