//! Reading what was handed over, in whatever form that was.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_crypto::cert;
use cm_crypto::sign::VerifyingKey;
use serde_json::Value;

/// Most bytes that are read of a file: collateral is the longest.
const FILE_LEN_MAX: u64 = 2 << 20;

/// The bytes of a file, or of standard input.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let unreadable = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(FILE_LEN_MAX).read_to_end(&mut bytes).with_context(unreadable)?;
    } else {
        let file = std::fs::File::open(path).with_context(unreadable)?;
        file.take(FILE_LEN_MAX).read_to_end(&mut bytes).with_context(unreadable)?;
    }
    Ok(bytes)
}

/// Public keys of nodes.
pub(super) fn keys(paths: &[PathBuf]) -> anyhow::Result<Vec<VerifyingKey>> {
    let key = |path: &PathBuf| {
        let text = String::from_utf8(read(path)?)?;
        VerifyingKey::from_spki_pem(&text)
            .with_context(|| format!("{} is no public key of a node", path.display()))
    };
    paths.iter().map(key).collect()
}

/// The key of a certificate in PEM or DER, as SubjectPublicKeyInfo.
pub(super) fn certificate_key(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = read(path)?;
    let der = match std::str::from_utf8(&bytes) {
        Ok(text) => cert::pem_to_der(text),
        Err(_) => Ok(bytes),
    };
    der.and_then(|der| cert::spki_der(&der)).with_context(|| format!("{} is no certificate", path.display()))
}

/// Evidence out of its wrapping: a JSON object with a member `evidence`, hexadecimal digits, base64, or none.
pub(super) fn unwrap(bytes: Vec<u8>) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(&bytes) else { return bytes };
    let member = serde_json::from_str::<Value>(text).ok();
    let member = member.as_ref().and_then(|value| value.get("evidence")?.as_str());
    let text = member.unwrap_or(text).trim();
    // A token is base64 in parts; its dots tell it.
    if text.contains('.') {
        return text.as_bytes().to_vec();
    }
    let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let decoded = hex::decode(&packed).ok().or_else(|| STANDARD.decode(&packed).ok());
    decoded.filter(|decoded| !decoded.is_empty()).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_found_in_every_wrapping() {
        let check = |given: &[u8], expected: &[u8]| assert_eq!(unwrap(given.to_vec()), expected);
        check(b"eyJh.bb.cc\n", b"eyJh.bb.cc");
        check(br#"{"evidence":"eyJh.bb.cc","x":1}"#, b"eyJh.bb.cc");
        check(br#"{"evidence":"AAEC/w=="}"#, &[0, 1, 2, 255]);
        check(b"00 01\n02ff", &[0, 1, 2, 255]);
        check(b"AAEC/w==\n", &[0, 1, 2, 255]);
        check(&[0xd2, 0x84, 0xff], &[0xd2, 0x84, 0xff]);
        check(b"", b"");
    }
}
