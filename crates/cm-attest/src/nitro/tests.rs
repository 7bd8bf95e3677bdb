use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use coset::{CoseSign1Builder, HeaderBuilder};
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;
use crate::{Accepted, Demands, Nonce, ReportBinding, ReportData, TcbPolicy};
use cm_types::Sha256Digest;

const RECORDED: &[u8] = include_bytes!("../../fixtures/nitro.cbor");
/// When it was signed.
fn signed_at() -> Timestamp {
    Timestamp::from_micros(1_732_983_768_387_000)
}
const PCR0: &str =
    "ec74bfbe7f7445a6c7610e152935e028276f638042b74797b119648e13f7a3675796b721034c320f140ea001b41aeae2";

fn recorded_key() -> Vec<u8> {
    let at = RECORDED.windows(10).position(|window| window == b"public_key").unwrap() + 10;
    RECORDED[at + 2..at + 2 + 65].to_vec()
}

fn demands() -> Demands {
    Demands {
        binding: ReportBinding::Exact { report_data: None, nonce: None, public_key: Some(recorded_key()) },
        measurements: Accepted::OneOf(vec![PCR0.parse().unwrap()]),
        allow_insecure: false,
        tcb: TcbPolicy::default(),
        require_isolation: Vec::new(),
    }
}

fn appraise(document: &[u8], demands: &Demands, now: Timestamp) -> Result<Statement, AttestError> {
    NitroVerifier::new().appraise(&document.into(), demands, now)
}

#[test]
fn a_recorded_document_is_authentic() {
    let statement = appraise(RECORDED, &demands(), signed_at()).unwrap();
    assert_eq!(statement.kind, EvidenceKind::AwsNitro);
    assert_eq!(statement.measurement.to_string(), PCR0);
    assert_eq!(statement.issued_at, Some(signed_at()));
    assert!(!statement.debug);
    let registers: Vec<&str> = statement.registers.keys().map(String::as_str).collect();
    assert_eq!(registers, ["pcr0", "pcr1", "pcr2", "pcr3", "pcr4"], "registers of zeros say nothing");
    assert_eq!(statement.bound.public_key, Some(recorded_key()));
    assert_eq!((statement.bound.nonce, statement.bound.report_data), (None, None));
}

#[test]
fn a_recorded_document_answers_no_other_demand() {
    let check = |change: &dyn Fn(&mut Demands), expected: AttestError| {
        let mut demands = demands();
        change(&mut demands);
        assert_eq!(appraise(RECORDED, &demands, signed_at()), Err(expected));
    };
    check(&|demands| demands.binding = instance(b"key", [1; 32], [7; 32]), AttestError::ReportData);
    check(
        &|demands| {
            demands.binding =
                ReportBinding::Exact { report_data: None, nonce: Some(vec![7; 32]), public_key: None };
        },
        AttestError::Nonce,
    );
    check(
        &|demands| {
            demands.binding =
                ReportBinding::Exact { report_data: None, nonce: None, public_key: Some(vec![4; 65]) };
        },
        AttestError::TlsKey,
    );
    let found: Measurement = PCR0.parse().unwrap();
    let other = "00".repeat(48).parse::<Measurement>().unwrap();
    check(
        &|demands| demands.measurements = Accepted::OneOf(vec![other.clone()]),
        AttestError::Program { found },
    );
}

#[test]
fn its_certificates_hold_for_hours_only() {
    let later = |secs| signed_at().after(Duration::from_secs(secs));
    assert!(appraise(RECORDED, &demands(), later(240)).is_ok());
    assert!(matches!(appraise(RECORDED, &demands(), later(600)), Err(AttestError::Stale { .. })));
    for now in [later(3 * 3600 + 60), later(400 * 24 * 3600), Timestamp::from_micros(0)] {
        assert!(matches!(appraise(RECORDED, &demands(), now), Err(AttestError::Chain { .. })), "{now}");
    }
    let before = Timestamp::from_micros(signed_at().as_micros() - 70_000_000);
    let early = appraise(RECORDED, &demands(), before);
    assert!(matches!(early, Err(AttestError::FromTheFuture { .. } | AttestError::Chain { .. })));
}

#[test]
fn only_the_pinned_root_counts() {
    let verifier = NitroVerifier::with_root(&PKI.root);
    let found = verifier.appraise(&RECORDED.into(), &demands(), signed_at());
    assert!(matches!(found, Err(AttestError::Chain { .. })));
    let ours = document(&|_| {});
    let found = appraise(&ours, &demands(), signed_at());
    assert!(matches!(found, Err(AttestError::Chain { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_flipped_bit_is_overlooked(at in 0..RECORDED.len(), bit in 0_u8..8) {
        let mut altered = RECORDED.to_vec();
        altered[at] ^= 1 << bit;
        prop_assert!(appraise(&altered, &demands(), signed_at()).is_err());
    }

    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0..RECORDED.len()) {
        let _ = appraise(&bytes, &demands(), signed_at());
        prop_assert!(appraise(&RECORDED[..cut], &demands(), signed_at()).is_err());
    }
}

// From here on: documents of our own making under a root of our own, for what no recording shows.

struct Pki {
    root: Vec<u8>,
    certificate: Vec<u8>,
    signing: EcdsaKeyPair,
}

static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let key = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let begin = time::OffsetDateTime::from_unix_timestamp(signed_at().as_secs() - 3600).unwrap();
    let params = |is_ca| {
        let mut params = CertificateParams::default();
        params.is_ca = is_ca;
        params.not_before = begin;
        params.not_after = begin + time::Duration::hours(3);
        params
    };
    let (root_key, leaf_key) = (key(), key());
    let root = params(IsCa::Ca(BasicConstraints::Unconstrained));
    let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
    let issuer = Issuer::new(root, root_key);
    let leaf = params(IsCa::ExplicitNoCa).signed_by(&leaf_key, &issuer).unwrap();
    let signing =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &leaf_key.serialize_der()).unwrap();
    Pki { root: root_der, certificate: leaf.der().to_vec(), signing }
});

type Fields = BTreeMap<&'static str, Value>;

/// A signed document, after a change to its fields.
fn document(change: &dyn Fn(&mut Fields)) -> Vec<u8> {
    let pcrs = (0..5_u8).map(|number| (Value::from(number), Value::Bytes(vec![number + 1; PCR_LEN])));
    let mut fields = Fields::from([
        ("module_id", Value::from("i-0123-enc4567")),
        ("digest", Value::from("SHA384")),
        ("timestamp", Value::from(signed_at().as_micros() / 1000)),
        ("pcrs", Value::Map(pcrs.collect())),
        ("certificate", Value::Bytes(PKI.certificate.clone())),
        ("cabundle", Value::Array(vec![Value::Bytes(PKI.root.clone())])),
        ("public_key", Value::Null),
        ("user_data", Value::Null),
        ("nonce", Value::Null),
    ]);
    change(&mut fields);
    let map = Value::Map(fields.into_iter().map(|(name, value)| (Value::from(name), value)).collect());
    let mut payload = Vec::new();
    coset::cbor::into_writer(&map, &mut payload).unwrap();
    sign(payload, iana::Algorithm::ES384)
}

fn sign(payload: Vec<u8>, algorithm: iana::Algorithm) -> Vec<u8> {
    let signed = CoseSign1Builder::new()
        .protected(HeaderBuilder::new().algorithm(algorithm).build())
        .payload(payload)
        .create_signature(&[], |message| {
            PKI.signing.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
        });
    signed.build().to_vec().unwrap()
}

fn instance(key: &[u8], policy: [u8; 32], nonce: [u8; 32]) -> ReportBinding {
    ReportBinding::Instance {
        tls_spki_der: key.to_vec(),
        policy_hash: Sha256Digest::from_bytes(policy),
        nonce: Nonce::from_bytes(nonce).unwrap(),
    }
}

fn ours(document: &[u8], binding: ReportBinding) -> Result<Statement, AttestError> {
    let measurement = Measurement::from_bytes(vec![1; PCR_LEN]).unwrap();
    let demands = Demands { binding, measurements: Accepted::OneOf(vec![measurement]), ..demands() };
    NitroVerifier::with_root(&PKI.root).appraise(&document.into(), &demands, signed_at())
}

#[test]
fn a_document_about_our_instance_binds_key_policy_and_challenge() {
    let nonce = Nonce::from_bytes([7; 32]).unwrap();
    let digest = ReportData::bind(b"key", &Sha256Digest::from_bytes([1; 32]), &nonce).digest();
    let bound = document(&|fields| {
        fields.insert("user_data", Value::Bytes(digest.as_bytes().to_vec()));
        fields.insert("nonce", Value::Bytes(vec![7; 32]));
    });
    assert!(ours(&bound, instance(b"key", [1; 32], [7; 32])).is_ok());
    assert_eq!(ours(&bound, instance(b"kez", [1; 32], [7; 32])), Err(AttestError::ReportData));
    assert_eq!(ours(&bound, instance(b"key", [2; 32], [7; 32])), Err(AttestError::ReportData));
    assert_eq!(ours(&bound, instance(b"key", [1; 32], [8; 32])), Err(AttestError::Nonce));
    assert_eq!(crate::detect(&bound), Some(EvidenceKind::AwsNitro));
}

#[test]
fn a_debug_enclave_is_refused() {
    for zeroed in DEBUG {
        let debug = document(&|fields| {
            let Some(Value::Map(pcrs)) = fields.get_mut("pcrs") else { panic!("the document has registers") };
            pcrs[usize::from(zeroed)].1 = Value::Bytes(vec![0; PCR_LEN]);
        });
        assert_eq!(ours(&debug, ReportBinding::nothing()), Err(AttestError::Debug), "PCR{zeroed}");
    }
}

#[test]
fn documents_of_another_shape_are_malformed() {
    let refused = |change: &dyn Fn(&mut Fields)| {
        let found = ours(&document(change), ReportBinding::nothing());
        assert_eq!(found, Err(AttestError::Malformed));
    };
    assert!(ours(&document(&|_| {}), ReportBinding::nothing()).is_ok());
    refused(&|fields| drop(fields.insert("digest", Value::from("SHA256"))));
    refused(&|fields| drop(fields.insert("extra", Value::Null)));
    refused(&|fields| drop(fields.insert("timestamp", Value::from(0))));
    refused(&|fields| drop(fields.insert("timestamp", Value::from(u64::MAX))));
    refused(&|fields| drop(fields.insert("nonce", Value::from("text"))));
    refused(&|fields| drop(fields.insert("cabundle", Value::Array(Vec::new()))));
    refused(&|fields| drop(fields.insert("cabundle", Value::Array(vec![Value::Bytes(vec![1]); 9]))));
    let pcrs = |pcrs: Vec<(Value, Value)>| Value::Map(pcrs);
    let pcr = |len: usize| Value::Bytes(vec![1; len]);
    refused(&|fields| drop(fields.insert("pcrs", pcrs(vec![(Value::from(0), pcr(32))]))));
    refused(&|fields| drop(fields.insert("pcrs", pcrs(vec![(Value::from(32), pcr(48))]))));
    let twice = || pcrs(vec![(Value::from(0), pcr(48)), (Value::from(0), pcr(48))]);
    refused(&|fields| drop(fields.insert("pcrs", twice())));
    for name in ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"] {
        refused(&|fields| drop(fields.remove(name)));
    }
}

#[test]
fn another_algorithm_or_signer_is_refused() {
    let payload = |bytes: &[u8]| CoseSign1::from_slice(bytes).unwrap().payload.unwrap();
    let other = sign(payload(&document(&|_| {})), iana::Algorithm::ES256);
    assert_eq!(ours(&other, ReportBinding::nothing()), Err(AttestError::Malformed));
    let mut stolen = CoseSign1::from_slice(&document(&|_| {})).unwrap();
    stolen.signature = CoseSign1::from_slice(&document(&|fields| {
        fields.insert("nonce", Value::Bytes(vec![1; 32]));
    }))
    .unwrap()
    .signature;
    assert_eq!(ours(&stolen.to_vec().unwrap(), ReportBinding::nothing()), Err(AttestError::Forged));
}
