//! AWS Nitro: attestation documents of the Nitro security module.
//!
//! A document is a COSE_Sign1 (RFC 9052) with ES384 over a CBOR map: PCRs, certificates, and up to three byte strings that
//! the enclave chose (AWS Nitro Enclaves user guide, "Verifying the root of trust"). The signer's certificate lives for
//! hours and leads over three others to the pinned root. In debug mode PCR0 to PCR2 are zero.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use cm_types::Timestamp;
use coset::cbor::Value;
use coset::{
    CborSerializable as _, CoseSign1, RegisteredLabelWithPrivate, TaggedCborSerializable as _, iana,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::verify::check_time;
use crate::{AttestError, Bound, EvidenceKind, Measurement, Presented, Statement, Tcb, Verifier, roots};

/// Longest document that is looked at, in bytes. The security module's are below 16 KiB.
pub const DOCUMENT_LEN_MAX: usize = 32 * 1024;
/// Most certificates between signer and root. There are four.
const CHAIN_LEN_MAX: usize = 8;
/// Bytes of a register: SHA-384.
const PCR_LEN: usize = 48;
/// What tells the measured program: PCR0 is the digest of the whole enclave image.
const PROGRAM: u8 = 0;
/// Registers that are zero in debug mode.
const DEBUG: [u8; 3] = [0, 1, 2];

/// Judges attestation documents of AWS Nitro.
#[derive(Clone, Debug)]
pub struct NitroVerifier {
    root: &'static [u8],
}

impl NitroVerifier {
    /// Believes the root that AWS publishes.
    pub fn new() -> Self {
        Self { root: roots::AWS_NITRO }
    }

    #[cfg(test)]
    pub(crate) fn with_root(root: &'static [u8]) -> Self {
        Self { root }
    }

    fn verify_chain(&self, document: &Document, now: Timestamp) -> Result<(), AttestError> {
        let root = CertificateDer::from(self.root);
        let anchor = anchor_from_trusted_cert(&root).map_err(chain)?;
        let between: Vec<CertificateDer<'_>> =
            document.bundle.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let signer = CertificateDer::from(document.certificate.as_slice());
        let signer = EndEntityCert::try_from(&signer).map_err(chain)?;
        let secs = u64::try_from(now.as_secs()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(secs));
        // The certificates name no extended usage, so none is asked for.
        signer
            .verify_for_usage(
                &[webpki::aws_lc_rs::ECDSA_P384_SHA384],
                &[anchor],
                &between,
                now,
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(chain)?;
        Ok(())
    }
}

impl Default for NitroVerifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Verifier for NitroVerifier {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::AwsNitro
    }

    fn authenticate(&self, presented: &Presented<'_>, now: Timestamp) -> Result<Statement, AttestError> {
        if presented.evidence.len() > DOCUMENT_LEN_MAX {
            return Err(AttestError::Malformed);
        }
        let signed = CoseSign1::from_tagged_slice(presented.evidence)
            .or_else(|_| CoseSign1::from_slice(presented.evidence))
            .map_err(|_| AttestError::Malformed)?;
        let es384 = RegisteredLabelWithPrivate::Assigned(iana::Algorithm::ES384);
        // What is not signed must not be there: nobody could say who wrote it.
        if signed.protected.header.alg != Some(es384) || !signed.unprotected.is_empty() {
            return Err(AttestError::Malformed);
        }
        let document = Document::parse(signed.payload.as_deref().ok_or(AttestError::Malformed)?)
            .ok_or(AttestError::Malformed)?;
        self.verify_chain(&document, now)?;
        let key = public_key(&document.certificate)?;
        let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key);
        signed.verify_signature(&[], |signature, message| {
            key.verify(message, signature).map_err(|_| AttestError::Forged)
        })?;
        check_time(document.issued_at, now)?;
        document.into_statement()
    }
}

fn chain(error: webpki::Error) -> AttestError {
    let reason = match error {
        webpki::Error::CertExpired { .. } => "a certificate has expired".to_owned(),
        webpki::Error::CertNotValidYet { .. } => "a certificate does not hold yet".to_owned(),
        webpki::Error::UnknownIssuer => "a certificate was issued by nobody who is known".to_owned(),
        webpki::Error::InvalidSignatureForPublicKey => "a signature does not hold".to_owned(),
        other => other.to_string(),
    };
    AttestError::Chain { reason }
}

/// The point on the curve that a certificate is about.
fn public_key(certificate: &[u8]) -> Result<Vec<u8>, AttestError> {
    let (_, certificate) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| AttestError::Malformed)?;
    Ok(certificate.public_key().subject_public_key.data.to_vec())
}

/// A document's content.
struct Document {
    issued_at: Timestamp,
    registers: BTreeMap<u8, Vec<u8>>,
    certificate: Vec<u8>,
    bundle: Vec<Vec<u8>>,
    bound: Bound,
}

impl Document {
    /// `None` for anything but a map with exactly the fields of the format, each once.
    fn parse(payload: &[u8]) -> Option<Self> {
        let Value::Map(entries) = coset::cbor::from_reader(payload).ok()? else { return None };
        let mut fields = BTreeMap::new();
        for (name, value) in entries {
            if fields.insert(name.into_text().ok()?, value).is_some() {
                return None;
            }
        }
        let mut take = |name: &str| fields.remove(name);
        if take("digest")?.as_text() != Some("SHA384") || take("module_id")?.as_text()?.is_empty() {
            return None;
        }
        let millis = i64::try_from(take("timestamp")?.into_integer().ok()?).ok()?;
        let bundle = take("cabundle")?.into_array().ok()?;
        if bundle.is_empty() || bundle.len() > CHAIN_LEN_MAX {
            return None;
        }
        let document = Self {
            issued_at: Timestamp::from_micros(millis.checked_mul(1000).filter(|micros| *micros > 0)?),
            registers: registers(take("pcrs")?)?,
            certificate: take("certificate")?.into_bytes().ok()?,
            bundle: bundle.into_iter().map(|der| der.into_bytes().ok()).collect::<Option<_>>()?,
            bound: Bound {
                report_data: chosen(take("user_data"))?,
                nonce: chosen(take("nonce"))?,
                public_key: chosen(take("public_key"))?,
            },
        };
        fields.is_empty().then_some(document)
    }

    fn into_statement(self) -> Result<Statement, AttestError> {
        let program = self.registers.get(&PROGRAM).ok_or(AttestError::Malformed)?;
        let measurement = Measurement::from_bytes(program.as_slice()).map_err(|_| AttestError::Malformed)?;
        let is_zero =
            |number: &u8| self.registers.get(number).is_none_or(|pcr| pcr.iter().all(|byte| *byte == 0));
        let debug = DEBUG.iter().any(is_zero);
        let registers = self.registers.iter().filter(|(number, _)| !is_zero(number));
        Ok(Statement {
            kind: EvidenceKind::AwsNitro,
            measurement,
            registers: registers.map(|(number, pcr)| (format!("pcr{number}"), hex::encode(pcr))).collect(),
            bound: self.bound,
            debug,
            tcb: Tcb::Unrated,
            issued_at: Some(self.issued_at),
            claims: None,
        })
    }
}

/// Registers 0 to 31, each at most once, each with 48 bytes.
fn registers(value: Value) -> Option<BTreeMap<u8, Vec<u8>>> {
    let mut registers = BTreeMap::new();
    for (number, pcr) in value.into_map().ok()? {
        let number = u8::try_from(number.into_integer().ok()?).ok().filter(|number| *number < 32)?;
        let pcr = pcr.into_bytes().ok().filter(|pcr| pcr.len() == PCR_LEN)?;
        if registers.insert(number, pcr).is_some() {
            return None;
        }
    }
    Some(registers)
}

/// Bytes that the enclave chose: absent, null or a byte string. `None` for anything else.
fn chosen(value: Option<Value>) -> Option<Option<Vec<u8>>> {
    match value {
        None | Some(Value::Null) => Some(None),
        Some(value) => value.into_bytes().ok().map(Some),
    }
}

#[cfg(test)]
mod tests;
