//! Binary structures in their textual armour (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;

use crate::CryptoError;

/// Characters of base64 on one line, as RFC 7468 section 2 demands.
const LINE: usize = 64;

/// Writes DER bytes under a label such as `CERTIFICATE`.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = String::with_capacity(body.len() + body.len() / LINE + 2 * label.len() + 36);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// Reads the only section of a kind; other kinds beside it are passed over, a second one is refused.
pub(crate) fn decode_one<T: PemObject>(label: &'static str, text: &str) -> Result<T, CryptoError> {
    let mut sections = T::pem_slice_iter(text.as_bytes());
    let first = sections.next().and_then(Result::ok).ok_or(CryptoError::Pem(label))?;
    match sections.next() {
        None => Ok(first),
        Some(_) => Err(CryptoError::Pem(label)),
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;

    use super::*;

    #[test]
    fn armour_reads_back_and_keeps_its_lines_short() {
        for len in [0, 1, 47, 48, 49, 500] {
            let der: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let text = encode("CERTIFICATE", &der);
            assert!(text.lines().all(|line| line.len() <= LINE));
            let back: CertificateDer<'static> = decode_one("CERTIFICATE", &text).unwrap();
            assert_eq!(back.as_ref(), der);
        }
    }

    #[test]
    fn anything_but_one_section_is_refused() {
        let one = encode("CERTIFICATE", b"x");
        for bad in [String::new(), "nothing".to_owned(), encode("PUBLIC KEY", b"x"), format!("{one}{one}")] {
            let found = decode_one::<CertificateDer<'static>>("CERTIFICATE", &bad);
            assert_eq!(found.unwrap_err(), CryptoError::Pem("CERTIFICATE"), "{bad}");
        }
    }
}
