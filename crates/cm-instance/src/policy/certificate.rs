//! Certificates as policies carry them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_crypto::CryptoError;
use cm_types::Timestamp;
use serde::{Deserialize, Serialize};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// A certificate in a policy: the text as written, and the DER that a peer's certificate is compared with.
///
/// Some published clients take the line ends out of the PEM text, so white space means nothing here. Two
/// certificates are equal when their DER is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Certificate {
    pem: String,
    der: Vec<u8>,
}

impl Certificate {
    /// Reads one PEM certificate. Reading does not mean trusting it.
    pub fn parse(pem: impl Into<String>) -> Result<Self, CryptoError> {
        let pem = pem.into();
        let malformed = || CryptoError::Pem("CERTIFICATE");
        let body = pem.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let packed: String = body.ok_or_else(malformed)?.split_whitespace().collect();
        let der = STANDARD.decode(packed).map_err(|_| malformed())?;
        cm_crypto::cert::validity(&der)?;
        Ok(Self { pem, der })
    }

    /// The text as it was written.
    pub fn as_pem(&self) -> &str {
        &self.pem
    }

    /// The same certificate as the earlier services write it: its body on one line, and no line end behind it.
    pub fn without_line_ends(&self) -> Self {
        let pem = format!("{BEGIN}\n{}\n{END}", STANDARD.encode(&self.der));
        Self { pem, der: self.der.clone() }
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// From when until when it holds.
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        cm_crypto::cert::validity(&self.der).expect("the validity was read at construction")
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl TryFrom<String> for Certificate {
    type Error = CryptoError;

    fn try_from(pem: String) -> Result<Self, CryptoError> {
        Self::parse(pem)
    }
}

impl From<Certificate> for String {
    fn from(certificate: Certificate) -> String {
        certificate.pem
    }
}
