//! How many pieces of evidence are judged in a second, by format.
//!
//! The evidence is what hardware signed once, judged at the time of its recording: everything up to the maker's root is
//! checked each time, nothing is remembered. One thread; there is nothing to compare with, for what each format
//! costs is decided by its maker's choice of signatures and chain.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cm_attest::{
    Claims, DcapVerifier, EvidenceKind, NitroVerifier, Nonce, Presented, ReportData, SnpVerifier,
    SoftwareVerifier, Verifier,
};
use cm_crypto::digest::sha256;
use cm_crypto::sign::SigningKey;
use cm_types::Timestamp;

use crate::table::{Table, Unit};
use cm_e2e::measure::Outcome;
use cm_e2e::measure::Samples;

const ROUNDS: usize = 9;
/// How many are judged in a round.
const AT_ONCE: usize = 50;

/// A format, and a piece of evidence of it.
struct Case {
    name: &'static str,
    verifier: Box<dyn Verifier>,
    evidence: Vec<u8>,
    endorsements: Option<Vec<u8>>,
    /// When it was good.
    at: Timestamp,
}

/// Measures and prints the group.
pub(crate) fn measure() -> Outcome<()> {
    let cases = cases()?;
    let mut samples: Vec<Samples> = cases.iter().map(|_| Samples::default()).collect();
    for _ in 0..ROUNDS {
        for (case, samples) in cases.iter().zip(&mut samples) {
            samples.push(round(case)?);
        }
    }
    let title = format!("verifications: {AT_ONCE} pieces of evidence in a row, {ROUNDS} rounds, one thread");
    let mut table = Table::new(&title, Unit::PerSecond(AT_ONCE as f64));
    for (case, samples) in cases.iter().zip(&samples) {
        table.row(case.name, samples);
    }
    table.report.print()
}

fn round(case: &Case) -> Outcome<Duration> {
    let presented = Presented { evidence: &case.evidence, endorsements: case.endorsements.as_deref() };
    let began = Instant::now();
    for _ in 0..AT_ONCE {
        black_box(case.verifier.authenticate(black_box(&presented), case.at)?);
    }
    Ok(began.elapsed())
}

fn cases() -> Outcome<Vec<Case>> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../cm-attest/fixtures");
    let recorded = |name: &str| std::fs::read(format!("{dir}/{name}"));
    let at = |text: &str| text.parse::<Timestamp>();
    let (software, key) = software(at("2026-03-01T12:00:00Z")?)?;
    Ok(vec![
        Case {
            name: "insecure-software",
            verifier: Box::new(SoftwareVerifier::new(vec![key])),
            evidence: software,
            endorsements: None,
            at: at("2026-03-01T12:00:00Z")?,
        },
        Case {
            name: "aws-nitro",
            verifier: Box::new(NitroVerifier::new()),
            evidence: recorded("nitro.cbor")?,
            endorsements: None,
            at: at("2024-11-30T16:23:00Z")?,
        },
        Case {
            name: "amd-sev-snp",
            verifier: Box::new(SnpVerifier::new()),
            evidence: recorded("snp-report.bin")?,
            endorsements: Some(recorded("snp-vcek.der")?),
            at: at("2025-01-01T00:00:00Z")?,
        },
        Case {
            name: "intel-tdx",
            verifier: Box::new(DcapVerifier::tdx()),
            evidence: recorded("tdx-quote.bin")?,
            endorsements: Some(recorded("tdx-quote-collateral.json")?),
            at: at("2025-06-20T07:00:00Z")?,
        },
        Case {
            name: "intel-sgx",
            verifier: Box::new(DcapVerifier::sgx()),
            evidence: recorded("sgx-quote.bin")?,
            endorsements: Some(recorded("sgx-quote-collateral.json")?),
            at: at("2025-06-20T07:00:00Z")?,
        },
    ])
}

/// What a node signs about an instance.
fn software(issued_at: Timestamp) -> Outcome<(Vec<u8>, cm_crypto::sign::VerifyingKey)> {
    let key = SigningKey::generate();
    let (nonce, policy_hash) = (Nonce::from_bytes([7; 32])?, sha256(b"policy"));
    let claims = Claims {
        kind: EvidenceKind::InsecureSoftware,
        measurement: sha256(b"executable"),
        report_data: ReportData::bind(b"key", &policy_hash, &nonce),
        policy_hash,
        tls_spki_sha256: sha256(b"key"),
        nonce,
        isolation: Vec::new(),
        issued_at,
        node: "node".to_owned(),
    };
    Ok((cm_attest::issue(&key, &claims).as_str().as_bytes().to_vec(), key.verifying_key()))
}
