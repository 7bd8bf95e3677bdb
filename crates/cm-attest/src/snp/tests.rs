use proptest::prelude::*;

use super::*;
use crate::{Accepted, Demands, ReportBinding, TcbPolicy};

const REPORT: &[u8] = include_bytes!("../../fixtures/snp-report.bin");
const VCEK: &[u8] = include_bytes!("../../fixtures/snp-vcek.der");
/// Within the life of the VCEK, which was made on 3 April 2023 for seven years.
fn now() -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000)
}

fn demands() -> Demands {
    Demands {
        binding: ReportBinding::Exact {
            report_data: Some(REPORT[0x50..0x90].to_vec()),
            nonce: None,
            public_key: None,
        },
        measurements: Accepted::OneOf(vec![Measurement::from_bytes(&REPORT[0x90..0xc0]).unwrap()]),
        allow_insecure: false,
        tcb: TcbPolicy::default(),
        require_isolation: Vec::new(),
    }
}

fn check(report: &[u8], vcek: &[u8], demands: &Demands, at: Timestamp) -> Result<Statement, AttestError> {
    let presented = Presented { evidence: report, endorsements: Some(vcek) };
    SnpVerifier::new().appraise(&presented, demands, at)
}

#[test]
fn a_recorded_report_is_authentic() {
    let statement = check(REPORT, VCEK, &demands(), now()).unwrap();
    assert_eq!(statement.kind, EvidenceKind::AmdSevSnp);
    assert_eq!(statement.measurement.as_bytes(), &REPORT[0x90..0xc0]);
    assert_eq!(statement.registers["product"], "Milan");
    assert!(!statement.debug);
    let Tcb::Versions(versions) = statement.tcb else { panic!("AMD tells versions") };
    assert!(versions.microcode > 0, "{versions}");
    assert_eq!(crate::detect(REPORT), Some(EvidenceKind::AmdSevSnp));
    let pem = cm_crypto::cert::der_to_pem(VCEK);
    assert!(check(REPORT, pem.as_bytes(), &demands(), now()).is_ok(), "the certificate in PEM");
}

#[test]
fn a_recorded_report_answers_no_other_demand() {
    let refused = |change: &dyn Fn(&mut Demands)| {
        let mut demands = demands();
        change(&mut demands);
        check(REPORT, VCEK, &demands, now()).unwrap_err()
    };
    let other = refused(&|demands| {
        let mut report_data = REPORT[0x50..0x90].to_vec();
        report_data[63] ^= 1;
        demands.binding =
            ReportBinding::Exact { report_data: Some(report_data), nonce: None, public_key: None };
    });
    assert_eq!(other, AttestError::ReportData);
    let other = Measurement::from_bytes(vec![9; 48]).unwrap();
    let other = refused(&|demands| demands.measurements = Accepted::OneOf(vec![other.clone()]));
    assert!(matches!(other, AttestError::Program { .. }));
    let old = refused(&|demands| demands.tcb.snp_least = SnpTcb { snp: 255, ..SnpTcb::default() });
    assert!(matches!(old, AttestError::Tcb { .. }));
    let unnamed = refused(&|demands| {
        demands.binding =
            ReportBinding::Exact { report_data: None, nonce: Some(vec![7; 32]), public_key: None };
    });
    assert_eq!(unnamed, AttestError::Nonce, "the format has no place for a nonce");
}

#[test]
fn the_certificates_hold_for_their_time_only() {
    for secs in [1_600_000_000_i64, 1_910_000_000] {
        let at = Timestamp::from_micros(secs * 1_000_000);
        assert!(matches!(check(REPORT, VCEK, &demands(), at), Err(AttestError::Chain { .. })), "{secs}");
    }
}

#[test]
fn without_the_chips_certificate_nothing_is_believed() {
    let alone = SnpVerifier::new().authenticate(&REPORT.into(), now());
    assert_eq!(alone, Err(AttestError::NoEndorsements(EvidenceKind::AmdSevSnp)));
    for other in [crate::roots::AMD[0].ask, crate::roots::AMD[0].ark, crate::roots::AWS_NITRO, b"", b"-----"]
    {
        assert!(check(REPORT, other, &demands(), now()).is_err());
    }
}

/// The signature covers what a debug guest would have changed, so the bit is tested where it is read.
#[test]
fn the_debug_bit_is_read() {
    let mut report = REPORT.to_vec();
    report[0x0a] |= 1 << 3;
    assert!(check(&report, VCEK, &demands(), now()).is_err());
    let statement = Report::parse(&report).unwrap().to_statement("Milan").unwrap();
    assert!(statement.debug);
    assert_eq!(demands().judge(&statement), Err(AttestError::Debug));
}

#[test]
fn reports_of_another_shape_are_malformed() {
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut report = REPORT.to_vec();
        change(&mut report);
        assert_eq!(check(&report, VCEK, &demands(), now()), Err(AttestError::Malformed));
    };
    refused(&|report| report.truncate(REPORT_LEN - 1));
    refused(&|report| report.push(0));
    refused(&|report| report[0] = 1);
    refused(&|report| report[0] = 6);
    refused(&|report| report[0x34] = 2);
    refused(&|report| report[0x48] = 1 << 2);
    refused(&|report| report[SIGNED_LEN + NUMBER_LEN_USED] = 1);
    refused(&|report| report[REPORT_LEN - 1] = 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_flipped_bit_is_overlooked(at in 0..REPORT.len(), bit in 0_u8..8) {
        let mut altered = REPORT.to_vec();
        altered[at] ^= 1 << bit;
        prop_assert!(check(&altered, VCEK, &demands(), now()).is_err());
    }

    /// What AMD signed is covered. Of the wrapping around it, the parser may overlook a bit; it says nothing.
    #[test]
    fn no_flipped_bit_of_the_certificate_changes_what_is_believed(at in 0..VCEK.len(), bit in 0_u8..8) {
        let mut altered = VCEK.to_vec();
        altered[at] ^= 1 << bit;
        if let Ok(found) = check(REPORT, &altered, &demands(), now()) {
            let signed = 4..4 + 4 + usize::from(u16::from_be_bytes([VCEK[6], VCEK[7]]));
            prop_assert!(!signed.contains(&at), "byte {at} is signed");
            prop_assert_eq!(found, check(REPORT, VCEK, &demands(), now()).unwrap());
        }
    }
}
