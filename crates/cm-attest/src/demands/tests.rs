use std::collections::BTreeMap;

use cm_types::Sha256Digest;

use super::*;
use crate::{Bound, SnpTcb, TcbStatus};

const POLICY: Sha256Digest = Sha256Digest::from_bytes([1; 32]);
const SPKI: &[u8] = b"a key";

fn nonce() -> Nonce {
    Nonce::from_bytes([7; 32]).unwrap()
}

fn digest_of_instance() -> Vec<u8> {
    ReportData::bind(SPKI, &POLICY, &nonce()).digest().as_bytes().to_vec()
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(REPORT_DATA_LEN, 0);
    padded
}

/// What hardware of a kind would say about an instance of ours.
pub(crate) fn hardware(kind: EvidenceKind) -> Statement {
    let bound = match kind {
        EvidenceKind::AwsNitro => Bound {
            report_data: Some(digest_of_instance()),
            nonce: Some(nonce().as_bytes().to_vec()),
            public_key: None,
        },
        _ => Bound { report_data: Some(padded(&digest_of_instance())), ..Bound::default() },
    };
    Statement {
        kind,
        measurement: Measurement::from_bytes(vec![3; 48]).unwrap(),
        registers: BTreeMap::new(),
        bound,
        debug: false,
        tcb: Tcb::Unrated,
        issued_at: None,
        claims: None,
    }
}

pub(crate) fn demands() -> Demands {
    Demands {
        binding: ReportBinding::Instance { tls_spki_der: SPKI.to_vec(), policy_hash: POLICY, nonce: nonce() },
        measurements: Accepted::OneOf(vec![Measurement::from_bytes(vec![3; 48]).unwrap()]),
        allow_insecure: false,
        tcb: TcbPolicy::default(),
        require_isolation: Vec::new(),
    }
}

fn check(
    kind: EvidenceKind,
    change: impl FnOnce(&mut Statement, &mut Demands),
    expected: Result<(), AttestError>,
) {
    let (mut statement, mut demands) = (hardware(kind), demands());
    change(&mut statement, &mut demands);
    assert_eq!(demands.judge(&statement), expected, "{kind}");
}

const HARDWARE: [EvidenceKind; 4] =
    [EvidenceKind::AwsNitro, EvidenceKind::AmdSevSnp, EvidenceKind::IntelTdx, EvidenceKind::IntelSgx];

#[test]
fn evidence_about_our_instance_is_accepted() {
    for kind in HARDWARE {
        check(kind, |_, _| {}, Ok(()));
    }
}

#[test]
fn another_key_policy_or_challenge_is_refused() {
    for kind in HARDWARE {
        let rebound = |key: &'static [u8], policy: u8, challenge: u8| {
            move |_: &mut Statement, demands: &mut Demands| {
                demands.binding = ReportBinding::Instance {
                    tls_spki_der: key.to_vec(),
                    policy_hash: Sha256Digest::from_bytes([policy; 32]),
                    nonce: Nonce::from_bytes([challenge; 32]).unwrap(),
                };
            }
        };
        check(kind, rebound(SPKI, 1, 7), Ok(()));
        check(kind, rebound(b"another key", 1, 7), Err(AttestError::ReportData));
        check(kind, rebound(SPKI, 2, 7), Err(AttestError::ReportData));
        let stale = if kind == EvidenceKind::AwsNitro { AttestError::Nonce } else { AttestError::ReportData };
        check(kind, rebound(SPKI, 1, 8), Err(stale));
    }
}

#[test]
fn report_data_holds_nothing_but_what_is_expected() {
    let check = |found: Option<Vec<u8>>, expected| {
        check(EvidenceKind::AmdSevSnp, |statement, _| statement.bound.report_data = found, expected);
    };
    check(Some(digest_of_instance()), Ok(()));
    let refused = || Err(AttestError::ReportData);
    check(None, refused());
    check(Some(Vec::new()), refused());
    check(Some(digest_of_instance()[..31].to_vec()), refused());
    check(Some([digest_of_instance(), vec![0]].concat()), refused());
    for at in 0..REPORT_DATA_LEN {
        let mut altered = padded(&digest_of_instance());
        altered[at] ^= 1;
        check(Some(altered), refused());
    }
}

#[test]
fn a_request_is_bound_as_the_earlier_services_did() {
    let csr = Sha256Digest::from_bytes([9; 32]);
    let request = |demands: &mut Demands| {
        demands.binding = ReportBinding::Request { csr_sha256: csr, spki_der: SPKI.to_vec(), nonce: nonce() };
    };
    let bound = |report_data: Vec<u8>, challenge: Option<Vec<u8>>| {
        move |statement: &mut Statement, demands: &mut Demands| {
            request(demands);
            statement.bound = Bound { report_data: Some(report_data), nonce: challenge, public_key: None };
        }
    };
    let (digest, challenge) = (csr.as_bytes().to_vec(), nonce().as_bytes().to_vec());
    let nitro = EvidenceKind::AwsNitro;
    check(nitro, bound(digest.clone(), Some(challenge.clone())), Ok(()));
    check(nitro, bound(digest.clone(), None), Err(AttestError::Nonce));
    check(nitro, bound(digest.clone(), Some(vec![8; 32])), Err(AttestError::Nonce));
    check(nitro, bound(vec![8; 32], Some(challenge.clone())), Err(AttestError::ReportData));
    let snp = EvidenceKind::AmdSevSnp;
    check(snp, bound([digest.clone(), challenge].concat(), None), Ok(()));
    // What the earlier services were content with: the digest without the challenge.
    check(snp, bound(padded(&digest), None), Err(AttestError::ReportData));
}

#[test]
fn debug_another_program_and_an_old_platform_are_refused() {
    for kind in HARDWARE {
        check(kind, |statement, _| statement.debug = true, Err(AttestError::Debug));
        let other = Measurement::from_bytes(vec![4; 48]).unwrap();
        let found = other.clone();
        let unlike = move |statement: &mut Statement, _: &mut Demands| statement.measurement = other;
        check(kind, unlike, Err(AttestError::Program { found }));
        // The beginning of a measurement is not the measurement.
        let shortened = |_: &mut Statement, demands: &mut Demands| {
            demands.measurements = Accepted::OneOf(vec![Measurement::from_bytes(vec![3; 32]).unwrap()]);
        };
        let found = Measurement::from_bytes(vec![3; 48]).unwrap();
        check(kind, shortened, Err(AttestError::Program { found }));
        let nobody =
            |_: &mut Statement, demands: &mut Demands| demands.measurements = Accepted::OneOf(vec![]);
        let found = Measurement::from_bytes(vec![3; 48]).unwrap();
        check(kind, nobody, Err(AttestError::Program { found }));
    }
    let old = SnpTcb { microcode: 9, ..SnpTcb::default() };
    check(
        EvidenceKind::AmdSevSnp,
        |statement, demands| {
            statement.tcb = Tcb::Versions(old);
            demands.tcb.snp_least.microcode = 10;
        },
        Err(AttestError::Tcb { found: old.to_string() }),
    );
    for status in TcbStatus::ALL {
        let rated = |statement: &mut Statement, _: &mut Demands| {
            statement.tcb = Tcb::Rated { status, advisories: Vec::new() };
        };
        let expected = match status {
            TcbStatus::UpToDate => Ok(()),
            _ => Err(AttestError::Tcb { found: status.to_string() }),
        };
        check(EvidenceKind::IntelTdx, rated, expected);
    }
}

#[test]
fn insecure_software_needs_to_be_allowed() {
    let mut statement = hardware(EvidenceKind::InsecureSoftware);
    statement.claims = Some(crate::verify::tests::claims());
    assert_eq!(demands().judge(&statement), Err(AttestError::InsecureRefused));
}
