//! One certificate, byte for byte.

use cm_crypto::{CryptoError, cert};
use cm_types::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};

use crate::judge::{Judge, timestamp};

/// The one certificate that the other end may have. Its dates hold; who signed it says nothing.
#[derive(Clone, Debug)]
pub struct Pinned {
    certificate: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Pinned {
    /// Pins a certificate in DER. It must be one of version 3.
    ///
    /// # Errors
    /// [`CryptoError::Certificate`].
    pub fn new(certificate: Vec<u8>) -> Result<Self, CryptoError> {
        let (not_before, not_after) = cert::validity(&certificate)?;
        Ok(Self { certificate, not_before, not_after })
    }
}

impl Judge for Pinned {
    fn judge(&self, peer: &CertificateDer<'_>, _: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let now = timestamp(now);
        if peer.as_ref() != self.certificate {
            Err(CertificateError::UnknownIssuer.into())
        } else if now < self.not_before {
            Err(CertificateError::NotValidYet.into())
        } else if now > self.not_after {
            Err(CertificateError::Expired.into())
        } else {
            Ok(())
        }
    }
}
