//! Evidence of hardware: whatever the bytes, nothing is believed that no maker signed, and nothing panics.

use cm_attest::{AttestationResult, DcapVerifier, NitroVerifier, Presented, SnpVerifier, Verifier, detect};
use cm_crypto::sign::SigningKey;
use cm_types::Timestamp;

const COLLATERAL: &[u8] = include_bytes!("../../../crates/cm-attest/fixtures/tdx-quote-collateral.json");
const VCEK: &[u8] = include_bytes!("../../../crates/cm-attest/fixtures/snp-vcek.der");
const QUOTE: &[u8] = include_bytes!("../../../crates/cm-attest/fixtures/tdx-quote.bin");
const REPORT: &[u8] = include_bytes!("../../../crates/cm-attest/fixtures/snp-report.bin");

/// Within the lives of all recorded certificates but those of Nitro.
fn at() -> Timestamp {
    Timestamp::from_micros(1_750_400_000_000_000)
}

/// A document, unless it is one of AWS's, is refused; its certificates ended long before this moment.
pub fn nitro_documents(data: &[u8]) {
    let _ = detect(data);
    let found = NitroVerifier::new().authenticate(&data.into(), at());
    assert!(found.is_err(), "a document that nobody signed now was accepted");
}

/// A report, or a certificate, that differs from the recorded one is refused or says the same.
pub fn snp_reports(data: &[u8]) {
    let verifier = SnpVerifier::new();
    let recorded = Presented { evidence: REPORT, endorsements: Some(VCEK) };
    let recorded = verifier.authenticate(&recorded, at()).expect("the recording is authentic");
    for presented in [
        Presented { evidence: data, endorsements: Some(VCEK) },
        Presented { evidence: REPORT, endorsements: Some(data) },
    ] {
        if let Ok(found) = verifier.authenticate(&presented, at()) {
            assert_eq!(found, recorded, "something else than what was signed is believed");
        }
    }
}

/// A quote, or collateral, that differs from the recorded one is refused or says the same.
pub fn dcap_quotes(data: &[u8]) {
    let verifier = DcapVerifier::tdx();
    let recorded = Presented { evidence: QUOTE, endorsements: Some(COLLATERAL) };
    let recorded = verifier.authenticate(&recorded, at()).expect("the recording is authentic");
    for presented in [
        Presented { evidence: data, endorsements: Some(COLLATERAL) },
        Presented { evidence: QUOTE, endorsements: Some(data) },
    ] {
        if let Ok(found) = verifier.authenticate(&presented, at()) {
            assert_eq!(found, recorded, "something else than what was signed is believed");
        }
        let _ = DcapVerifier::sgx().authenticate(&presented, at());
    }
}

/// No foreign text is a result.
pub fn attestation_results(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let trusted = [SigningKey::generate().verifying_key()];
    assert!(
        AttestationResult::verify(text, &trusted, at()).is_err(),
        "a result that nobody signed was accepted"
    );
}

/// No foreign bytes are a certificate request unless they are signed with their own key.
pub fn certificate_requests(data: &[u8]) {
    if let Ok(request) = cm_crypto::cert::CertificateRequest::parse(data) {
        assert!(!request.spki_der().is_empty());
    }
}
