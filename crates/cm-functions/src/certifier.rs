//! Certificates for the keys that instances make inside.

use std::fmt;

use cm_crypto::CryptoError;
use cm_instance::{FullPolicy, InstanceClaims, PolicyText};
use cm_kernel::Kernel;
use cm_types::{Sha256Digest, Timestamp};

/// Certifies the key of one instance, by the node's authority: the one that the policy names.
///
/// Launchers get no more of the authority than this, so that what they certify is always what was decided to be
/// launched, whatever they are told over a control socket.
#[derive(Clone)]
pub struct Certifier {
    kernel: Kernel,
    claims: InstanceClaims,
    until: Timestamp,
}

impl fmt::Debug for Certifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certifier").field("claims", &self.claims).finish_non_exhaustive()
    }
}

impl Certifier {
    /// For the instance that obeys this policy and runs this executable. Its certificate holds as long as the policy.
    pub(crate) fn new(
        kernel: Kernel,
        policy: &FullPolicy,
        text: &PolicyText,
        measurement: Sha256Digest,
    ) -> Self {
        let claims = InstanceClaims { measurement, policy_hash: text.hash() };
        Self { kernel, claims, until: policy.enclave_cert_expiry.to_timestamp() }
    }

    /// The certificates, in DER, for a public key (SubjectPublicKeyInfo, DER): that of the key first, and not the
    /// authority's own, which everybody has from the policy.
    ///
    /// # Errors
    /// If the bytes are no key that a certificate can be made for.
    pub fn certify(&self, spki_der: &[u8]) -> Result<Vec<Vec<u8>>, CryptoError> {
        let authority = self.kernel.keys().ca();
        Ok(vec![self.claims.certify(authority, spki_der, self.kernel.now(), self.until)?])
    }
}
