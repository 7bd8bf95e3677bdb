//! Keys that requests of S3 are signed with, as the face of S3 works with them.

use std::sync::Arc;

use cm_crypto::Secret;
use cm_identity::{ApiKeyInfo, Principal};

use crate::authority::existing_roles;
use crate::credentials::{existing, unproven};
use crate::giving::demand_power_to_become;
use crate::{Actor, ActorFacts, CredentialPermit, Kernel, KernelError, OpContext};

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
        let (identity, key) = (self.identity().clone(), key.to_owned());
        // As for every other credential: the first look at what a request may do, and what it is answered from.
        self.freshen().await?;
        self.db().read(move |tx| identity.s3_secret(tx, &key).map_err(unproven)).await
    }

    /// Finds out whose S3 key it is that a request was signed with. The caller has checked the signature with this
    /// secret.
    ///
    /// # Errors
    /// As [`Kernel::authenticate`].
    pub async fn authenticate_s3(&self, key: &str, secret: &str) -> Result<Actor, KernelError> {
        let presented = self.identity().presented_s3(key, secret).map_err(unproven)?;
        let (book, catalog) = (self.policy_book().clone(), self.catalog().clone());
        let actor = self
            .db()
            .read(move |tx| {
                let authenticated = presented.recognise(tx).map_err(unproven)?;
                let principal = authenticated.principal();
                let roles = existing_roles(tx, &principal.tenant, &principal.roles)?;
                let policies = book.in_force(tx, &catalog, &principal.tenant)?;
                let (principal, tenant) = (principal.id.clone(), principal.tenant.clone());
                let facts = ActorFacts { principal, tenant, roles, policies };
                Ok::<_, KernelError>(Actor::Principal(Arc::new(facts), Arc::new(authenticated)))
            })
            .await?;
        self.admit(None, &actor)?;
        Ok(actor)
    }
}
