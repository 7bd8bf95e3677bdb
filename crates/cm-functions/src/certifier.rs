//! Certificates for the keys that instances make inside.

use std::fmt;

use cm_instance::{FullPolicy, InstanceClaims, PolicyText};
use cm_kernel::Kernel;
use cm_types::{Sha256Digest, Timestamp};
use tokio::sync::watch;

use crate::launcher::LaunchError;

/// Certifies the key of one instance, by the node's authority: the one that the policy names.
///
/// Launchers get no more of the authority than this, so that what they certify is always what was decided to be
/// launched, whatever they are told over a control socket.
///
/// Without its certificate an instance serves nobody, and it gets none before its record stands in the catalogue: until then
/// somebody else's instance may have the id, or the caller may not create any.
#[derive(Clone)]
pub struct Certifier {
    kernel: Kernel,
    claims: InstanceClaims,
    until: Timestamp,
    recorded: watch::Receiver<bool>,
}

impl fmt::Debug for Certifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certifier").field("claims", &self.claims).finish_non_exhaustive()
    }
}

impl Certifier {
    /// For the instance that obeys this policy and runs this executable. Its certificate holds as long as the policy.
    /// `recorded` becomes true when the instance has its record, and is closed if it does not get one.
    pub(crate) fn new(
        kernel: Kernel,
        policy: &FullPolicy,
        text: &PolicyText,
        measurement: Sha256Digest,
        recorded: watch::Receiver<bool>,
    ) -> Self {
        let claims = InstanceClaims { measurement, policy_hash: text.hash() };
        Self { kernel, claims, until: policy.enclave_cert_expiry.to_timestamp(), recorded }
    }

    /// The certificates, in DER, for a public key (SubjectPublicKeyInfo, DER): that of the key first, and not the
    /// authority's own, which everybody has from the policy. Waits for the record of the instance.
    ///
    /// # Errors
    /// [`LaunchError::NotRecorded`], and [`LaunchError::Certificate`] if the bytes are no key that a certificate can be made
    /// for.
    pub async fn certify(&self, spki_der: &[u8]) -> Result<Vec<Vec<u8>>, LaunchError> {
        let recorded = self.recorded.clone().wait_for(|recorded| *recorded).await.is_ok();
        if !recorded {
            return Err(LaunchError::NotRecorded);
        }
        let authority = self.kernel.keys().ca();
        let certified = self.claims.certify(authority, spki_der, self.kernel.now(), self.until);
        Ok(vec![certified.map_err(LaunchError::Certificate)?])
    }
}
