//! Intel TDX and SGX: quotes, judged with Intel's collateral.
//!
//! A quote is signed by the platform's quoting enclave, whose key Intel certified for this processor. Whether processor
//! and quoting enclave are kept up is told by Intel's collateral: TCB information, the enclave's identity, revocation
//! lists, each signed and each of limited life. The crate `dcap-qvl` follows all of that to Intel's root; what the quote
//! says then is read here. Its cryptography is exchanged for AWS-LC's, the only one in the product.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use cm_types::Timestamp;
use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::config::{Config, CryptoProvider};
use dcap_qvl::quote::{Quote, Report};
use dcap_qvl::signature::DerSigEncoder;
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::x509::X509CertBackend;
use rustls_pki_types::SignatureVerificationAlgorithm;

use crate::{
    AttestError, Bound, EvidenceKind, Measurement, Presented, Statement, Tcb, TcbStatus, Verifier, roots,
};

/// Longest quote that is looked at, in bytes. Usual ones have 5 KiB.
pub const QUOTE_LEN_MAX: usize = 64 * 1024;
/// Longest collateral that is looked at, in bytes. Usual ones have 20 KiB; revocation lists may grow.
pub const COLLATERAL_LEN_MAX: usize = 1024 * 1024;
/// The bit of an enclave's attributes that lets the host look into it.
const SGX_DEBUG: u8 = 1 << 1;

/// Judges quotes about trust domains or about enclaves.
#[derive(Clone, Copy, Debug)]
pub struct DcapVerifier {
    kind: EvidenceKind,
}

impl DcapVerifier {
    /// For trust domains.
    pub fn tdx() -> Self {
        Self { kind: EvidenceKind::IntelTdx }
    }

    /// For enclaves.
    pub fn sgx() -> Self {
        Self { kind: EvidenceKind::IntelSgx }
    }
}

impl Verifier for DcapVerifier {
    fn kind(&self) -> EvidenceKind {
        self.kind
    }

    fn authenticate(&self, presented: &Presented<'_>, now: Timestamp) -> Result<Statement, AttestError> {
        let found = kind_of(presented.evidence).ok_or(AttestError::Malformed)?;
        if found != self.kind {
            return Err(AttestError::Kind(self.kind));
        }
        let collateral = presented.endorsements.ok_or(AttestError::NoEndorsements(self.kind))?;
        if collateral.len() > COLLATERAL_LEN_MAX {
            return Err(AttestError::Malformed);
        }
        let collateral: QuoteCollateralV3 =
            serde_json::from_slice(collateral).map_err(|_| AttestError::Malformed)?;
        let now_secs = u64::try_from(now.as_secs()).unwrap_or(0);
        // Debug mode is judged with everything else, not here.
        let verifier = QuoteVerifier::<AwsLc>::new_with_config(roots::INTEL.to_vec()).allow_debug(true);
        let verified = verifier
            .verify(presented.evidence, &collateral, now_secs)
            .map_err(|error| AttestError::Quote { reason: format!("{error:#}") })?;
        let status: TcbStatus = verified.status.parse().map_err(|_| AttestError::Malformed)?;
        let tcb = Tcb::Rated { status, advisories: verified.advisory_ids };
        statement(&verified.report, tcb)
    }
}

/// What a quote claims to be about, before anything of it is believed; `None` if it is none.
pub(crate) fn kind_of(quote: &[u8]) -> Option<EvidenceKind> {
    if quote.len() > QUOTE_LEN_MAX {
        return None;
    }
    let parsed = Quote::parse(quote).ok()?;
    let (_, signature) = quote.split_at_checked(parsed.signed_length())?;
    let (len, signature) = signature.split_first_chunk()?;
    let (_, rest) = signature.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    // Hardware hands out quotes in buffers of fixed size.
    if rest.iter().any(|byte| *byte != 0) {
        return None;
    }
    Some(if parsed.report.is_sgx() { EvidenceKind::IntelSgx } else { EvidenceKind::IntelTdx })
}

fn statement(report: &Report, tcb: Tcb) -> Result<Statement, AttestError> {
    let (kind, measurement, report_data, debug, registers) = match report {
        Report::SgxEnclave(enclave) => (
            EvidenceKind::IntelSgx,
            &enclave.mr_enclave[..],
            enclave.report_data,
            enclave.attributes[0] & SGX_DEBUG != 0,
            vec![
                ("mrsigner", hex::encode(enclave.mr_signer)),
                ("isvprodid", enclave.isv_prod_id.to_string()),
                ("isvsvn", enclave.isv_svn.to_string()),
                ("attributes", hex::encode(enclave.attributes)),
            ],
        ),
        Report::TD10(_) | Report::TD15(_) | Report::TD15Ex(_) => {
            let domain = report.as_td10().ok_or(AttestError::Malformed)?;
            (
                EvidenceKind::IntelTdx,
                &domain.mr_td[..],
                domain.report_data,
                // The first byte: bits that make a domain untrusted.
                domain.td_attributes[0] != 0,
                vec![
                    ("mrseam", hex::encode(domain.mr_seam)),
                    ("mrconfigid", hex::encode(domain.mr_config_id)),
                    ("mrowner", hex::encode(domain.mr_owner)),
                    ("mrownerconfig", hex::encode(domain.mr_owner_config)),
                    ("rtmr0", hex::encode(domain.rt_mr0)),
                    ("rtmr1", hex::encode(domain.rt_mr1)),
                    ("rtmr2", hex::encode(domain.rt_mr2)),
                    ("rtmr3", hex::encode(domain.rt_mr3)),
                    ("tdattributes", hex::encode(domain.td_attributes)),
                    ("xfam", hex::encode(domain.xfam)),
                ],
            )
        }
    };
    let registers: BTreeMap<String, String> =
        registers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Statement {
        kind,
        measurement: Measurement::from_bytes(measurement).map_err(|_| AttestError::Malformed)?,
        registers,
        bound: Bound { report_data: Some(report_data.to_vec()), ..Bound::default() },
        debug,
        tcb,
        issued_at: None,
        claims: None,
    })
}

/// The library's parsers with the product's cryptography.
struct AwsLc;

impl Config for AwsLc {
    type X509 = X509CertBackend;
    type SigEncoder = DerSigEncoder;
    type Crypto = AwsLc;
}

impl CryptoProvider for AwsLc {
    fn sig_algo() -> &'static dyn SignatureVerificationAlgorithm {
        webpki::aws_lc_rs::ECDSA_P256_SHA256
    }

    fn sha256(data: &[u8]) -> [u8; 32] {
        digest(&SHA256, data).as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    fn sha384(data: &[u8]) -> [u8; 48] {
        digest(&SHA384, data).as_ref().try_into().expect("SHA-384 has 48 bytes")
    }
}

#[cfg(test)]
mod tests;
