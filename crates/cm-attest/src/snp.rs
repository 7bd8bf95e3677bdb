//! AMD SEV-SNP: reports of the secure processor.
//!
//! A report has 1184 bytes of fixed layout (AMD publication 56860, table 23); the last 512 are the signature of the chip's
//! own key (VCEK) over the others. AMD vouches for that key by a certificate that names the chip and the versions of its
//! parts (publication 57230), signed by the line's ASK, signed by its ARK. The latter two are pinned.
//!
//! The layout is read here and not by the crate `sev`, which would bring a licence that is not permissive along with its
//! search for home directories, re-encodes reports before it checks them, and has announced to replace its types.

mod chip;

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use cm_types::Timestamp;

use crate::{AttestError, Bound, EvidenceKind, Measurement, Presented, SnpTcb, Statement, Tcb, Verifier};

/// Bytes of a report.
pub const REPORT_LEN: usize = 1184;
/// Bytes that the signature covers.
const SIGNED_LEN: usize = 0x2a0;
/// Bytes of each of the signature's two numbers, lowest byte first; the upper ones are not used by P-384.
const NUMBER_LEN: usize = 72;
const NUMBER_LEN_USED: usize = 48;
/// Versions of the layout; later ones only fill what was reserved.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=5;
/// ECDSA with P-384 and SHA-384.
const ALGORITHM: u32 = 1;
/// The bit of the guest's policy that lets the host look into it.
const POLICY_DEBUG: u64 = 1 << 19;

/// Judges reports of AMD SEV-SNP that were signed with a chip's own key, of the lines Milan and Genoa.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnpVerifier(());

impl SnpVerifier {
    /// Believes AMD's roots.
    pub fn new() -> Self {
        Self(())
    }
}

impl Verifier for SnpVerifier {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::AmdSevSnp
    }

    fn authenticate(&self, presented: &Presented<'_>, now: Timestamp) -> Result<Statement, AttestError> {
        let report = Report::parse(presented.evidence)?;
        let endorsed = presented.endorsements.ok_or(AttestError::NoEndorsements(EvidenceKind::AmdSevSnp))?;
        let chip = chip::verify(endorsed, now)?;
        let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &chip.public_key);
        key.verify(report.signed(), &report.signature()?).map_err(|_| AttestError::Forged)?;
        // The same chip has other keys for other versions of its parts.
        if chip.tcb != report.reported_tcb() {
            return Err(mismatch("it names other versions of the platform than the report"));
        }
        if report.chip_id().iter().any(|byte| *byte != 0) && report.chip_id() != chip.id {
            return Err(mismatch("it names another chip than the report"));
        }
        report.to_statement(chip.product)
    }
}

fn mismatch(reason: &str) -> AttestError {
    AttestError::Chain { reason: reason.to_owned() }
}

/// A report whose length is right.
struct Report<'a>(&'a [u8; REPORT_LEN]);

impl<'a> Report<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, AttestError> {
        let report = Self(bytes.try_into().map_err(|_| AttestError::Malformed)?);
        // Bits 2 to 4: which key signed. Zero is the chip's own; others are a cloud's (VLEK) or none.
        let chip_key = (report.u32(0x48) >> 2) & 7 == 0;
        if VERSIONS.contains(&report.u32(0)) && report.u32(0x34) == ALGORITHM && chip_key {
            Ok(report)
        } else {
            Err(AttestError::Malformed)
        }
    }

    fn bytes<const LEN: usize>(&self, at: usize) -> [u8; LEN] {
        self.0[at..at + LEN].try_into().expect("the place lies within the report")
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    fn signed(&self) -> &[u8] {
        &self.0[..SIGNED_LEN]
    }

    /// The two numbers, highest byte first. What the format leaves unused must be zero: it is not signed.
    fn signature(&self) -> Result<Vec<u8>, AttestError> {
        let signature = &self.0[SIGNED_LEN..];
        let (numbers, rest) = signature.split_at(2 * NUMBER_LEN);
        let mut out = Vec::with_capacity(2 * NUMBER_LEN_USED);
        let mut unused = rest.to_vec();
        for number in numbers.chunks(NUMBER_LEN) {
            out.extend(number[..NUMBER_LEN_USED].iter().rev());
            unused.extend(&number[NUMBER_LEN_USED..]);
        }
        if unused.iter().all(|byte| *byte == 0) { Ok(out) } else { Err(AttestError::Malformed) }
    }

    fn tcb(&self, at: usize) -> SnpTcb {
        let [bootloader, tee, _, _, _, _, snp, microcode] = self.bytes(at);
        SnpTcb { bootloader, tee, snp, microcode }
    }

    /// The versions for which the signing key was made: what the platform promises not to fall behind.
    fn reported_tcb(&self) -> SnpTcb {
        self.tcb(0x180)
    }

    fn chip_id(&self) -> [u8; 64] {
        self.bytes(0x1a0)
    }

    fn to_statement(&self, product: &str) -> Result<Statement, AttestError> {
        let measurement =
            Measurement::from_bytes(self.bytes::<48>(0x90)).map_err(|_| AttestError::Malformed)?;
        let policy = u64::from_le_bytes(self.bytes(0x08));
        let text = |at: usize, len: usize| hex::encode(&self.0[at..at + len]);
        let registers = BTreeMap::from([
            ("product".to_owned(), product.to_owned()),
            ("guest_policy".to_owned(), format!("{policy:016x}")),
            ("guest_svn".to_owned(), self.u32(0x04).to_string()),
            ("vmpl".to_owned(), self.u32(0x30).to_string()),
            ("family_id".to_owned(), text(0x10, 16)),
            ("image_id".to_owned(), text(0x20, 16)),
            ("host_data".to_owned(), text(0xc0, 32)),
            ("id_key_digest".to_owned(), text(0xe0, 48)),
            ("author_key_digest".to_owned(), text(0x110, 48)),
        ]);
        Ok(Statement {
            kind: EvidenceKind::AmdSevSnp,
            measurement,
            registers,
            bound: Bound { report_data: Some(self.bytes::<64>(0x50).to_vec()), ..Bound::default() },
            debug: policy & POLICY_DEBUG != 0,
            tcb: Tcb::Versions(self.reported_tcb()),
            issued_at: None,
            claims: None,
        })
    }
}

#[cfg(test)]
mod tests;
