//! Whose evidence some bytes are, by their looks.

use crate::{EvidenceKind, dcap, snp};

/// Whose evidence the bytes look like; `None` if like nobody's. A guess only: the verifier of that kind finds out.
pub fn detect(evidence: &[u8]) -> Option<EvidenceKind> {
    if evidence.trim_ascii().starts_with(b"eyJ") {
        return Some(EvidenceKind::InsecureSoftware);
    }
    // A tagged or bare array of four, the first of which is `{1: -35}` in a byte string.
    let document = evidence.strip_prefix(&[0xd2]).unwrap_or(evidence);
    if document.starts_with(&[0x84, 0x44, 0xa1, 0x01, 0x38, 0x22]) {
        return Some(EvidenceKind::AwsNitro);
    }
    if let Some(kind) = dcap::kind_of(evidence) {
        return Some(kind);
    }
    (evidence.len() == snp::REPORT_LEN).then_some(EvidenceKind::AmdSevSnp)
}
