use proptest::prelude::*;

use super::*;
use crate::{Accepted, Demands, ReportBinding, TcbPolicy};

struct Recorded {
    kind: EvidenceKind,
    quote: &'static [u8],
    collateral: &'static [u8],
    /// Within the life of the collateral.
    now_secs: i64,
    status: TcbStatus,
}

impl Recorded {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now_secs * 1_000_000)
    }
}

const SGX: Recorded = Recorded {
    kind: EvidenceKind::IntelSgx,
    quote: include_bytes!("../../fixtures/sgx-quote.bin"),
    collateral: include_bytes!("../../fixtures/sgx-quote-collateral.json"),
    now_secs: 1_750_400_000,
    status: TcbStatus::ConfigurationAndSwHardeningNeeded,
};
const TDX: Recorded = Recorded {
    kind: EvidenceKind::IntelTdx,
    quote: include_bytes!("../../fixtures/tdx-quote.bin"),
    collateral: include_bytes!("../../fixtures/tdx-quote-collateral.json"),
    now_secs: 1_750_400_000,
    status: TcbStatus::UpToDate,
};
const OUTDATED: Recorded = Recorded {
    kind: EvidenceKind::IntelTdx,
    quote: include_bytes!("../../fixtures/tdx-quote-outdated.bin"),
    collateral: include_bytes!("../../fixtures/tdx-quote-outdated-collateral.json"),
    now_secs: 1_771_600_000,
    // Older than anything that the collateral still rates.
    status: TcbStatus::OutOfDate,
};

fn authenticate(recorded: &Recorded, quote: &[u8], collateral: &[u8]) -> Result<Statement, AttestError> {
    let verifier = DcapVerifier { kind: recorded.kind };
    let presented = Presented { evidence: quote, endorsements: Some(collateral) };
    verifier.authenticate(&presented, recorded.now())
}

fn demands(statement: &Statement) -> Demands {
    Demands {
        binding: ReportBinding::Exact {
            report_data: statement.bound.report_data.clone(),
            nonce: None,
            public_key: None,
        },
        measurements: Accepted::OneOf(vec![statement.measurement.clone()]),
        allow_insecure: false,
        tcb: TcbPolicy::default(),
        require_isolation: Vec::new(),
    }
}

#[test]
fn recorded_quotes_are_authentic() {
    for recorded in [SGX, TDX] {
        let statement = authenticate(&recorded, recorded.quote, recorded.collateral).unwrap();
        assert_eq!(statement.kind, recorded.kind);
        assert!(!statement.debug);
        let Tcb::Rated { status, .. } = &statement.tcb else { panic!("Intel rates its platforms") };
        assert_eq!(*status, recorded.status);
        assert_eq!(statement.bound.report_data.as_ref().map(Vec::len), Some(64));
        assert_eq!(crate::detect(recorded.quote), Some(recorded.kind));
    }
}

/// What the quotes say is what stands at the places that Intel's formats name.
#[test]
fn what_they_say_is_read_from_its_place() {
    let sgx = authenticate(&SGX, SGX.quote, SGX.collateral).unwrap();
    assert_eq!(sgx.measurement.as_bytes(), &SGX.quote[48 + 64..48 + 96]);
    assert_eq!(sgx.bound.report_data.as_deref(), Some(&SGX.quote[48 + 320..48 + 384]));
    let tdx = authenticate(&TDX, TDX.quote, TDX.collateral).unwrap();
    assert_eq!(tdx.measurement.as_bytes(), &TDX.quote[48 + 136..48 + 184]);
    assert_eq!(tdx.bound.report_data.as_deref(), Some(&TDX.quote[48 + 520..48 + 584]));
}

#[test]
fn only_a_platform_that_is_kept_up_is_good_enough() {
    for recorded in [SGX, TDX] {
        let statement = authenticate(&recorded, recorded.quote, recorded.collateral).unwrap();
        let mut demands = demands(&statement);
        let found = demands.judge(&statement);
        match recorded.status {
            TcbStatus::UpToDate => assert_eq!(found, Ok(())),
            _ => assert!(matches!(found, Err(AttestError::Tcb { .. })), "{found:?}"),
        }
        demands.tcb.statuses.push(recorded.status);
        assert_eq!(demands.judge(&statement), Ok(()));
    }
}

#[test]
fn a_platform_that_is_too_old_to_be_rated_is_refused() {
    let found = authenticate(&OUTDATED, OUTDATED.quote, OUTDATED.collateral).unwrap_err();
    let AttestError::Quote { reason } = found else { panic!("{found}") };
    assert!(reason.contains("TCB level"), "{reason}");
}

#[test]
fn a_recorded_quote_answers_no_other_demand() {
    let statement = authenticate(&TDX, TDX.quote, TDX.collateral).unwrap();
    let mut other = demands(&statement);
    let mut report_data = statement.bound.report_data.clone().unwrap();
    report_data[0] ^= 1;
    other.binding = ReportBinding::Exact { report_data: Some(report_data), nonce: None, public_key: None };
    assert_eq!(other.judge(&statement), Err(AttestError::ReportData));
    let mut other = demands(&statement);
    other.measurements = Accepted::OneOf(vec![Measurement::from_bytes(vec![9; 48]).unwrap()]);
    assert!(matches!(other.judge(&statement), Err(AttestError::Program { .. })));
}

#[test]
fn the_collateral_holds_for_its_time_only() {
    for recorded in [SGX, TDX] {
        let verifier = DcapVerifier { kind: recorded.kind };
        let presented = Presented { evidence: recorded.quote, endorsements: Some(recorded.collateral) };
        for days in [-400_i64, 40] {
            let now = Timestamp::from_micros((recorded.now_secs + days * 86_400) * 1_000_000);
            let found = verifier.authenticate(&presented, now);
            assert!(matches!(found, Err(AttestError::Quote { .. })), "{days}: {found:?}");
        }
    }
}

#[test]
fn quotes_are_judged_by_their_own_verifier_and_collateral() {
    let other = DcapVerifier::sgx();
    let presented = Presented { evidence: TDX.quote, endorsements: Some(TDX.collateral) };
    assert_eq!(other.authenticate(&presented, TDX.now()), Err(AttestError::Kind(EvidenceKind::IntelSgx)));
    let alone = DcapVerifier::tdx().authenticate(&TDX.quote.into(), TDX.now());
    assert_eq!(alone, Err(AttestError::NoEndorsements(EvidenceKind::IntelTdx)));
    assert!(matches!(authenticate(&TDX, TDX.quote, SGX.collateral), Err(AttestError::Quote { .. })));
    assert_eq!(authenticate(&TDX, TDX.quote, b"{}"), Err(AttestError::Malformed));
    let trailing = [TDX.quote, &[1]].concat();
    assert_eq!(authenticate(&TDX, &trailing, TDX.collateral), Err(AttestError::Malformed));
}

#[test]
fn collateral_that_was_altered_is_refused() {
    let altered = |from: &str, to: &str| {
        let text = std::str::from_utf8(SGX.collateral).unwrap();
        assert!(text.contains(from), "{from}");
        authenticate(&SGX, SGX.quote, text.replacen(from, to, 1).as_bytes())
    };
    for status in ["ConfigurationAndSWHardeningNeeded", "OutOfDate"] {
        let Err(AttestError::Quote { reason }) = altered(status, "UpToDate") else {
            panic!("altered collateral was believed");
        };
        assert!(reason.to_lowercase().contains("signature"), "{reason}");
    }
}

/// The signature covers what a debug domain would have changed, so the bits are tested where they are read.
#[test]
fn debug_attributes_are_read() {
    let mut quote = Quote::parse(TDX.quote).unwrap();
    let Report::TD10(domain) = &mut quote.report else { panic!("the recording is of TDX 1.0") };
    domain.td_attributes[0] |= 1;
    let debug = statement(&quote.report, Tcb::Unrated).unwrap();
    assert_eq!(demands(&debug).judge(&debug), Err(AttestError::Debug));
    let mut quote = Quote::parse(SGX.quote).unwrap();
    let Report::SgxEnclave(enclave) = &mut quote.report else { panic!("the recording is of SGX") };
    enclave.attributes[0] |= SGX_DEBUG;
    let debug = statement(&quote.report, Tcb::Unrated).unwrap();
    assert_eq!(demands(&debug).judge(&debug), Err(AttestError::Debug));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Header, report, signature and everything up to the certificates is covered; in these, white space around the
    /// base64 means nothing, so there the quote may be accepted, but must say the same.
    #[test]
    fn no_flipped_bit_changes_what_is_believed(at in 0..TDX.quote.len(), bit in 0_u8..8, sgx in any::<bool>()) {
        let recorded = if sgx { SGX } else { TDX };
        let mut altered = recorded.quote.to_vec();
        let at = at % altered.len();
        altered[at] ^= 1 << bit;
        if let Ok(found) = authenticate(&recorded, &altered, recorded.collateral) {
            let signed = Quote::parse(recorded.quote).unwrap().signed_length();
            prop_assert!(at >= signed, "byte {at} is signed");
            prop_assert_eq!(found, authenticate(&recorded, recorded.quote, recorded.collateral).unwrap());
        }
    }
}
