//! Keys that sign what the node issues, as faces work with them.

use cm_identity::{PublicKey, Purpose, SigningKeyInfo};
use cm_policy::{List, Permit, Update};

use crate::{Kernel, KernelError, OpContext};

impl Kernel {
    /// The signing keys of the node, without the keys. The permit is one of [`Kernel::authorize_of_node`] for tenants.
    pub async fn list_signing_keys(&self, _: &Permit<List>) -> Result<Vec<SigningKeyInfo>, KernelError> {
        let identity = self.identity().clone();
        self.db().read(move |tx| Ok(identity.list_signing_keys(tx)?)).await
    }

    /// Puts a new key in the place of the one that signs, see [`cm_identity::Identity::rotate_signing_key`]. The permit is
    /// one of [`Kernel::authorize_of_node`] for tenants.
    pub async fn rotate_signing_key(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        purpose: Purpose,
        at_once: bool,
    ) -> Result<SigningKeyInfo, KernelError> {
        let (identity, permit, request) = (self.identity().clone(), permit.clone(), op.request.clone());
        self.db()
            .write(move |tx| {
                Ok(identity.rotate_signing_key(tx, &permit, purpose, at_once, Some(&request))?)
            })
            .await
    }

    /// The public keys by which what the node issued for a purpose is verified, with their ids. They are no secret. The first is made if
    /// there is none yet.
    pub async fn public_keys(&self, purpose: Purpose) -> Result<Vec<(String, PublicKey)>, KernelError> {
        let identity = self.identity().clone();
        // Anybody may ask, so that nothing is written because keys do not open.
        let found = self.db().read(move |tx| {
            let has_one = identity.has_signing_key(tx, purpose)?;
            has_one.then(|| identity.public_keys(tx, purpose)).transpose()
        });
        if let Some(found) = found.await? {
            return Ok(found);
        }
        let identity = self.identity().clone();
        self.db()
            .write(move |tx| {
                identity.ensure_signing_key(tx, purpose)?;
                Ok(identity.public_keys(tx, purpose)?)
            })
            .await
    }
}
