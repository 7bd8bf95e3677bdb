use std::time::SystemTime;

use cm_attest::{Claims, IsolationLayer, ReportData, TrustTier};
use cm_crypto::cert;
use cm_instance::InstanceClaims;
use cm_kernel::events::EventFilter;
use cm_kernel::policy::List;
use cm_types::{PageLimit, ResourceKind, Timestamp};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};

use super::*;
use crate::tests::House;

const SNP_REPORT: &[u8] = include_bytes!("../../../cm-attest/fixtures/snp-report.bin");
const SNP_VCEK: &[u8] = include_bytes!("../../../cm-attest/fixtures/snp-vcek.der");
const POLICY: Sha256Digest = Sha256Digest::from_bytes([3; 32]);
const OWN: Sha256Digest = Sha256Digest::from_bytes([1; 32]);

/// A service beside a real kernel, and an instance that it knows of.
struct Desk {
    house: House,
    attestation: Attestation,
    key: KeyPair,
    csr: Vec<u8>,
}

impl Desk {
    async fn open(adjust: impl FnOnce(&mut AttestationConfig)) -> Desk {
        let house = House::open("false").await;
        let mut config = AttestationConfig { allow_insecure: true, ..AttestationConfig::default() };
        adjust(&mut config);
        let attestation = Attestation::new(house.kernel.clone(), OWN, config);
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        Desk { house, attestation, key, csr }
    }

    fn spki(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    async fn challenge(&self) -> Challenge {
        self.attestation.challenge(&self.house.admin).await.unwrap()
    }

    /// What the node says about the instance, after a change.
    fn evidence(&self, challenge: &Challenge, change: impl FnOnce(&mut Claims)) -> Vec<u8> {
        let nonce = Nonce::from_bytes(challenge.nonce).unwrap();
        let mut claims = Claims {
            kind: EvidenceKind::InsecureSoftware,
            measurement: OWN,
            report_data: ReportData::bind(&self.spki(), &POLICY, &nonce),
            policy_hash: POLICY,
            tls_spki_sha256: sha256(&self.spki()),
            nonce,
            isolation: vec![IsolationLayer { name: "seccomp".into(), active: true, reason: None }],
            issued_at: SystemTime::now().into(),
            node: "test".into(),
        };
        change(&mut claims);
        let signing = self.house.kernel.keys().signing();
        cm_attest::issue(signing, &claims).as_str().as_bytes().to_vec()
    }

    fn instance(&self) -> AppraisalSubject {
        AppraisalSubject::Instance { tls_spki_der: self.spki(), policy_hash: POLICY }
    }

    fn request(&self) -> AppraisalSubject {
        AppraisalSubject::Request { csr_der: self.csr.clone() }
    }

    async fn answer(
        &self,
        challenge: &Challenge,
        evidence: Vec<u8>,
        subject: AppraisalSubject,
    ) -> Result<Conclusion, AppraisalError> {
        let submission =
            Submission { challenge: challenge.id.to_string(), kind: None, evidence, endorsements: None };
        self.attestation.appraise(&self.house.admin, submission, subject).await
    }

    /// Why answers were refused, as the log has it.
    async fn refusals(&self) -> Vec<String> {
        let kernel = &self.house.kernel;
        let permit = kernel.authorize::<List>(&self.house.admin, ResourceKind::Event).await.unwrap();
        let filter = EventFilter::default();
        let page = kernel.event_page(&permit, 0, PageLimit::MAX, filter).await.unwrap();
        let refused = page.items.iter().filter(|event| event.verb.as_str() == "attestation.refused");
        refused.map(|event| event.facts["reason"].as_str().unwrap().to_owned()).collect()
    }

    async fn check_refused(
        &self,
        subject: AppraisalSubject,
        change: impl FnOnce(&mut Claims),
        expected: &str,
    ) {
        let challenge = self.challenge().await;
        let evidence = self.evidence(&challenge, change);
        let error = self.answer(&challenge, evidence, subject).await.unwrap_err();
        assert_eq!(error.code(), Some(expected), "{error}");
        assert_eq!(self.refusals().await.last().map(String::as_str), Some(expected));
    }
}

#[tokio::test]
async fn evidence_becomes_a_result() {
    let desk = Desk::open(|_| {}).await;
    let challenge = desk.challenge().await;
    let evidence = desk.evidence(&challenge, |_| {});
    let conclusion = desk.answer(&challenge, evidence, desk.instance()).await.unwrap();
    let now = Timestamp::from(SystemTime::now());
    let trusted = [desk.attestation.verifying_key()];
    let result = AttestationResult::verify(&conclusion.token, &trusted, now).unwrap();
    assert_eq!(result.nonce, Some(Nonce::from_bytes(challenge.nonce).unwrap()));
    assert_eq!(result.policy_hash, Some(POLICY));
    // It was allowed, and still nobody can overlook what it is.
    assert_eq!(result.kind, EvidenceKind::InsecureSoftware);
    assert_eq!(result.status(), TrustTier::Contraindicated);
    assert_eq!(conclusion.certificate_der, None);
    assert!(desk.refusals().await.is_empty());
}

#[tokio::test]
async fn a_request_becomes_a_certificate() {
    let desk = Desk::open(|_| {}).await;
    let challenge = desk.challenge().await;
    let evidence = desk.evidence(&challenge, |_| {});
    let conclusion = desk.answer(&challenge, evidence, desk.request()).await.unwrap();
    let certificate = conclusion.certificate_der.expect("a certificate was asked for");
    assert_eq!(cert::spki_der(&certificate).unwrap(), desk.spki());
    let claims = InstanceClaims::read(&certificate).unwrap();
    assert_eq!((claims.measurement, claims.policy_hash), (OWN, POLICY));
    let uris = cert::uris(&certificate).unwrap();
    assert!(uris.iter().any(|uri| uri == "urn:cryptomesh:evidence:insecure-software"), "{uris:?}");
    let (_, until) = cert::validity(&certificate).unwrap();
    assert!(until <= Timestamp::from(SystemTime::now()).after(CERTIFICATE_LIFETIME));
}

#[tokio::test]
async fn an_answer_counts_once() {
    let desk = Desk::open(|_| {}).await;
    let challenge = desk.challenge().await;
    let evidence = desk.evidence(&challenge, |_| {});
    desk.answer(&challenge, evidence.clone(), desk.instance()).await.unwrap();
    let again = desk.answer(&challenge, evidence.clone(), desk.instance()).await.unwrap_err();
    assert!(matches!(again, AppraisalError::ChallengeUsed));
    // Under another challenge it is stale.
    let other = desk.challenge().await;
    let replayed = desk.answer(&other, evidence, desk.instance()).await.unwrap_err();
    assert!(matches!(replayed, AppraisalError::Evidence(AttestError::Nonce)));
    // What was refused has used its challenge up too.
    let evidence = desk.evidence(&other, |_| {});
    let late = desk.answer(&other, evidence, desk.instance()).await.unwrap_err();
    assert!(matches!(late, AppraisalError::ChallengeUsed));
    assert_eq!(desk.refusals().await, ["replayed-challenge", "other-nonce", "replayed-challenge"]);
}

#[tokio::test]
async fn evidence_of_another_instance_is_refused() {
    let desk = Desk::open(|_| {}).await;
    let other = |claims: &mut Claims| claims.tls_spki_sha256 = sha256(b"another key");
    desk.check_refused(desk.instance(), other, "other-key").await;
    desk.check_refused(desk.request(), other, "other-key").await;
    let other = |claims: &mut Claims| claims.policy_hash = Sha256Digest::from_bytes([4; 32]);
    desk.check_refused(desk.instance(), other, "other-policy").await;
    desk.check_refused(desk.request(), other, "other-report-data").await;
    let other = |claims: &mut Claims| claims.measurement = Sha256Digest::from_bytes([9; 32]);
    desk.check_refused(desk.instance(), other, "other-measurement").await;
    desk.check_refused(desk.request(), other, "other-measurement").await;
}

#[tokio::test]
async fn insecure_software_must_be_allowed() {
    let desk = Desk::open(|config| config.allow_insecure = false).await;
    desk.check_refused(desk.instance(), |_| {}, "insecure-software").await;
    desk.check_refused(desk.request(), |_| {}, "insecure-software").await;
}

#[tokio::test]
async fn recorded_evidence_answers_no_challenge() {
    let measurement = Measurement::from_bytes(&SNP_REPORT[0x90..0xc0]).unwrap();
    let desk = Desk::open(|config| config.measurements.push(measurement)).await;
    let answer = |challenge: Challenge, endorsements: Option<&[u8]>| Submission {
        challenge: challenge.id.to_string(),
        kind: Some(EvidenceKind::AmdSevSnp),
        evidence: SNP_REPORT.to_vec(),
        endorsements: endorsements.map(<[u8]>::to_vec),
    };
    let admin = &desk.house.admin;
    let submission = answer(desk.challenge().await, Some(SNP_VCEK));
    let error = desk.attestation.appraise(admin, submission, desk.request()).await.unwrap_err();
    assert_eq!(error.code(), Some("other-report-data"), "{error}");
    let submission = answer(desk.challenge().await, None);
    let error = desk.attestation.appraise(admin, submission, desk.request()).await.unwrap_err();
    assert_eq!(error.code(), Some("no-endorsements"), "{error}");
}

#[tokio::test]
async fn a_request_that_is_none_uses_its_challenge_up() {
    let desk = Desk::open(|_| {}).await;
    let challenge = desk.challenge().await;
    let evidence = desk.evidence(&challenge, |_| {});
    let junk = AppraisalSubject::Request { csr_der: b"junk".to_vec() };
    let error = desk.answer(&challenge, evidence.clone(), junk).await.unwrap_err();
    assert_eq!(error.code(), Some("request"));
    let again = desk.answer(&challenge, evidence, desk.request()).await.unwrap_err();
    assert!(matches!(again, AppraisalError::ChallengeUsed));
    let psa = desk.challenge().await.id.to_string();
    let admin = &desk.house.admin;
    let error = desk.attestation.refuse(admin, &psa, AppraisalError::PublicKeyToken).await;
    assert!(matches!(error, AppraisalError::PublicKeyToken));
    let error = desk.attestation.refuse(admin, &psa, AppraisalError::PublicKeyToken).await;
    assert!(matches!(error, AppraisalError::ChallengeUsed));
}
