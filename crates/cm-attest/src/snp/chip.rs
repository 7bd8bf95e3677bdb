//! The chip's key, as AMD vouches for it.

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA384, UnparsedPublicKey};
use cm_types::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_PKCS1_RSASSAPSS, Oid, asn1_rs::oid};
use x509_parser::time::ASN1Time;

use super::mismatch;
use crate::roots::{AMD, AmdProduct};
use crate::{AttestError, SnpTcb};

/// Longest certificate that is looked at, in bytes.
const CERTIFICATE_LEN_MAX: usize = 16 * 1024;

/// What AMD says about a chip.
pub(super) struct Chip {
    /// A point on P-384.
    pub(super) public_key: Vec<u8>,
    /// The versions for which the key was made.
    pub(super) tcb: SnpTcb,
    /// Which chip it is.
    pub(super) id: [u8; 64],
    /// Of which line it is.
    pub(super) product: &'static str,
}

/// Reads the certificate of a chip's key (VCEK) and follows it to the root of its line.
pub(super) fn verify(endorsed: &[u8], now: Timestamp) -> Result<Chip, AttestError> {
    let der = if endorsed.starts_with(b"-----") {
        let text = std::str::from_utf8(endorsed).map_err(|_| AttestError::Malformed)?;
        cm_crypto::cert::pem_to_der(text).map_err(|_| AttestError::Malformed)?
    } else {
        endorsed.to_vec()
    };
    if der.len() > CERTIFICATE_LEN_MAX {
        return Err(AttestError::Malformed);
    }
    let vcek = parse(&der)?;
    let issued_by = |product: &&AmdProduct| {
        parse(product.ask).is_ok_and(|ask| ask.subject().as_raw() == vcek.issuer().as_raw())
    };
    let product = AMD.iter().find(issued_by);
    let product = product.ok_or_else(|| mismatch("no pinned root has issued it"))?;
    let (ark, ask) = (parse(product.ark)?, parse(product.ask)?);
    for (subject, issuer) in [(&ark, &ark), (&ask, &ark), (&vcek, &ask)] {
        check_issued(subject, issuer)?;
        check_validity(subject, now)?;
    }
    Ok(Chip {
        public_key: vcek.public_key().subject_public_key.data.to_vec(),
        tcb: SnpTcb {
            bootloader: version(&vcek, &oid!(1.3.6.1.4.1.3704.1.3.1))?,
            tee: version(&vcek, &oid!(1.3.6.1.4.1.3704.1.3.2))?,
            snp: version(&vcek, &oid!(1.3.6.1.4.1.3704.1.3.3))?,
            microcode: version(&vcek, &oid!(1.3.6.1.4.1.3704.1.3.8))?,
        },
        id: chip_id(&vcek)?,
        product: product.name,
    })
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, AttestError> {
    match x509_parser::parse_x509_certificate(der) {
        // The parser is lax about the outermost tag, which nobody signed.
        Ok(([], certificate)) if der.starts_with(&[0x30]) => Ok(certificate),
        Ok(_) | Err(_) => Err(AttestError::Malformed),
    }
}

/// AMD signs with RSASSA-PSS, SHA-384. What the certificate says about the algorithm is only compared, never obeyed.
fn check_issued(subject: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Result<(), AttestError> {
    let algorithm = &subject.signature_algorithm;
    if algorithm.algorithm != OID_PKCS1_RSASSAPSS || *algorithm != subject.tbs_certificate.signature {
        return Err(mismatch("it was signed with another algorithm than AMD's"));
    }
    if subject.issuer().as_raw() != issuer.subject().as_raw() || !issuer.is_ca() {
        return Err(mismatch("its issuer may issue none"));
    }
    let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA384, &issuer.public_key().subject_public_key.data);
    let (message, signature) = (subject.tbs_certificate.as_ref(), &subject.signature_value);
    if signature.unused_bits != 0 {
        return Err(AttestError::Malformed);
    }
    key.verify(message, &signature.data).map_err(|_| mismatch("its signature does not hold"))
}

fn check_validity(certificate: &X509Certificate<'_>, now: Timestamp) -> Result<(), AttestError> {
    let now = ASN1Time::from_timestamp(now.as_secs()).map_err(|_| AttestError::Malformed)?;
    if certificate.validity().is_valid_at(now) {
        return Ok(());
    }
    Err(mismatch("a certificate does not hold at this time"))
}

fn extension<'c>(certificate: &'c X509Certificate<'_>, id: &Oid<'_>) -> Result<&'c [u8], AttestError> {
    let mut found = certificate.extensions().iter().filter(|extension| extension.oid == *id);
    match (found.next(), found.next()) {
        (Some(extension), None) => Ok(extension.value),
        _ => Err(AttestError::Malformed),
    }
}

/// A version of 0 to 255 as a DER integer.
fn version(certificate: &X509Certificate<'_>, id: &Oid<'_>) -> Result<u8, AttestError> {
    match *extension(certificate, id)? {
        [2, 1, version @ 0..=0x7f] | [2, 2, 0, version @ 0x80..=0xff] => Ok(version),
        _ => Err(AttestError::Malformed),
    }
}

/// 64 bytes, bare or as an octet string.
fn chip_id(certificate: &X509Certificate<'_>) -> Result<[u8; 64], AttestError> {
    let value = extension(certificate, &oid!(1.3.6.1.4.1.3704.1.4))?;
    let bare = value.strip_prefix(&[4, 64]).filter(|bare| bare.len() == 64).unwrap_or(value);
    bare.try_into().map_err(|_| AttestError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_lines_lead_to_their_roots() {
        let [milan, genoa] = &AMD;
        for product in [milan, genoa] {
            let (ark, ask) = (parse(product.ark).unwrap(), parse(product.ask).unwrap());
            assert_eq!(check_issued(&ark, &ark), Ok(()), "{}", product.name);
            assert_eq!(check_issued(&ask, &ark), Ok(()), "{}", product.name);
            assert!(check_issued(&ark, &ask).is_err(), "{}", product.name);
        }
        let (other, ask) = (parse(genoa.ark).unwrap(), parse(milan.ask).unwrap());
        assert!(check_issued(&ask, &other).is_err(), "another line's root");
    }
}
