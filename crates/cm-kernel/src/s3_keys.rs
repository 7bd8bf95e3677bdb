//! Keys that requests of S3 are signed with, as the face of S3 works with them.

use cm_crypto::Secret;
use cm_identity::{ApiKeyInfo, Principal};

use crate::credentials::{existing, unproven};
use crate::giving::demand_power_to_become;
use crate::recognised::Asked;
use crate::{Actor, CredentialPermit, Kernel, KernelError, OpContext};

impl Kernel {
    /// Makes a key for a principal to sign requests of S3 with; its secret is returned this once, and its id is the access
    /// key id. The rules are those of [`Kernel::set_password`]; it is listed and revoked as an API key.
    pub async fn create_s3_key(
        &self,
        op: &OpContext,
        permit: impl Into<CredentialPermit>,
        principal: &Principal,
        label: String,
    ) -> Result<(Secret<String>, ApiKeyInfo), KernelError> {
        let permit = permit.into();
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let (op, id) = (op.clone(), principal.id.clone());
        self.db()
            .write(move |tx| {
                let principal = existing(tx, &identity, permit.tenant(), &id)?;
                demand_power_to_become(tx, &catalog, &op.subject(), &principal)?;
                Ok(identity.create_s3_key(tx, permit.right(), &id, &label, Some(&op.request))?)
            })
            .await
    }

    /// The secret of an S3 key, to check a signature with.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] if there is no such key.
    pub async fn s3_secret(&self, key: &str) -> Result<Secret<String>, KernelError> {
        // As for every other credential: the first look at what a request may do, and what it is answered from.
        self.freshen().await?;
        if self.known_s3_key(key).1.is_some() {
            return Ok(self.identity().s3_secret_of_known(key));
        }
        let (identity, key) = (self.identity().clone(), key.to_owned());
        self.db().look_up(move |tx| identity.s3_secret(tx, &key).map_err(unproven)).await
    }

    /// Finds out whose S3 key it is that a request was signed with. The caller has checked the signature with this
    /// secret.
    ///
    /// # Errors
    /// As [`Kernel::authenticate`].
    pub async fn authenticate_s3(&self, key: &str, secret: &str) -> Result<Actor, KernelError> {
        let presented = self.identity().presented_s3(key, secret).map_err(unproven)?;
        let actor = match self.known_s3_key(key) {
            (_, Some(known)) => known,
            (asked, None) => self.recognise(presented, asked).await?,
        };
        self.admit(None, &actor)?;
        Ok(actor)
    }

    /// Whose key it was a moment ago, for those who have shown its secret.
    fn known_s3_key(&self, key: &str) -> (Option<Asked>, Option<Actor>) {
        let asked = Asked::of_s3_key(key, self.db());
        let known = asked.as_ref().and_then(|asked| self.recognised().find(asked, self.now()));
        (asked, known)
    }
}
