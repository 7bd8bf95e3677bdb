use std::time::Duration;

use cm_crypto::jws::TokenType;
use serde_json::{Value, json};

use super::*;
use crate::demands::tests::{demands, hardware};
use crate::verify::tests::claims;
use crate::{Accepted, IsolationLayer, SnpTcb, SoftwareVerifier, Tcb, TcbStatus, Verifier as _};

fn now() -> Timestamp {
    Timestamp::from_micros(1_750_000_000_000_000)
}

fn result(statement: &Statement) -> AttestationResult {
    let nonce = Nonce::from_bytes([7; 32]).unwrap();
    AttestationResult::of(statement, &demands(), Some(nonce), "node-1", now())
}

fn software() -> Statement {
    Statement { claims: Some(claims()), ..hardware(EvidenceKind::InsecureSoftware) }
}

#[test]
fn a_result_reads_back() {
    let key = SigningKey::generate();
    for statement in [hardware(EvidenceKind::AmdSevSnp), software()] {
        let result = result(&statement);
        let token = result.sign(&key);
        let trusted = [key.verifying_key()];
        assert_eq!(AttestationResult::verify(&token, &trusted, now()).unwrap(), result);
        let stranger = [SigningKey::generate().verifying_key()];
        assert_eq!(AttestationResult::verify(&token, &stranger, now()), Err(AttestError::UntrustedSigner));
        let later = now().after(Duration::from_secs(301));
        assert!(matches!(AttestationResult::verify(&token, &trusted, later), Err(AttestError::Stale { .. })));
    }
}

/// Neither may evidence pass for a result, nor a result for evidence.
#[test]
fn results_and_evidence_are_not_confused() {
    let key = SigningKey::generate();
    let trusted = vec![key.verifying_key()];
    let evidence = crate::issue(&key, &claims());
    let found = AttestationResult::verify(evidence.as_str(), &trusted, claims().issued_at);
    assert_eq!(found, Err(AttestError::UntrustedSigner));
    let token = result(&software()).sign(&key);
    let found = SoftwareVerifier::new(trusted).authenticate(&token.as_bytes().into(), now());
    assert_eq!(found, Err(AttestError::UntrustedSigner));
}

#[test]
fn insecure_software_travels_visibly() {
    let body = serde_json::to_value(Body::from(&result(&software()))).unwrap();
    let instance = &body["submods"]["instance"];
    assert_eq!(instance["ear.status"], "contraindicated");
    assert_eq!(instance["cm_insecure_software"], true);
    assert_eq!(instance["cm_kind"], "insecure-software");
    assert_eq!(instance["ear.trustworthiness-vector"]["runtime-opaque"], 96);
    assert_eq!(instance["ear.trustworthiness-vector"]["hardware"], 97);
}

#[test]
fn the_vector_says_what_is() {
    let check = |statement: Statement, expected: TrustTier| {
        assert_eq!(result(&statement).status(), expected, "{statement:?}");
    };
    check(hardware(EvidenceKind::IntelSgx), TrustTier::Affirming);
    check(hardware(EvidenceKind::AwsNitro), TrustTier::Warning);
    check(Statement { debug: true, ..hardware(EvidenceKind::IntelTdx) }, TrustTier::Contraindicated);
    let rated = |status| Tcb::Rated { status, advisories: Vec::new() };
    let sgx = |status| Statement { tcb: rated(status), ..hardware(EvidenceKind::IntelSgx) };
    check(sgx(TcbStatus::UpToDate), TrustTier::Affirming);
    check(sgx(TcbStatus::OutOfDate), TrustTier::Warning);
    check(sgx(TcbStatus::Revoked), TrustTier::Contraindicated);
    let versions = Tcb::Versions(SnpTcb::default());
    check(Statement { tcb: versions, ..hardware(EvidenceKind::AmdSevSnp) }, TrustTier::Affirming);
    let mut known = demands();
    known.measurements = Accepted::OneOf(Vec::new());
    let unknown = TrustVector::of(&hardware(EvidenceKind::IntelSgx), &known);
    assert_eq!((unknown.executables, unknown.status()), (33, TrustTier::Warning));
    let mut loose = software();
    let layer = IsolationLayer { name: "seccomp".to_owned(), active: false, reason: None };
    loose.claims.as_mut().unwrap().isolation.push(layer);
    assert_eq!(result(&loose).vector.configuration, 32);
}

/// Whoever trusts the verifier need not trust our arithmetic, but must not find two answers.
#[test]
fn a_result_that_contradicts_itself_is_malformed() {
    let key = SigningKey::generate();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut body = serde_json::to_value(Body::from(&result(&software()))).unwrap();
        change(&mut body);
        let token = jws::sign(&key, TokenType::EAR, body.to_string().as_bytes());
        assert_eq!(
            AttestationResult::verify(&token, &[key.verifying_key()], now()),
            Err(AttestError::Malformed),
            "{body}"
        );
    };
    refused(&|body| body["submods"]["instance"]["ear.status"] = json!("affirming"));
    refused(&|body| body["submods"]["instance"]["cm_insecure_software"] = json!(false));
    refused(&|body| body["submods"]["instance"]["cm_kind"] = json!("intel-sgx"));
    refused(&|body| body["submods"]["instance"]["cm_measurement"] = json!("00"));
    refused(&|body| body["submods"]["instance"]["ear.trustworthiness-vector"]["hardware"] = json!(2.5));
    refused(&|body| body["eat_profile"] = json!("another"));
    refused(&|body| body["iat"] = json!(-1));
}
