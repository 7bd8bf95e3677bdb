//! Actors for whom a face vouches: it has checked a proof of its own protocol, which the identity does not know.

use std::sync::Arc;

use cm_identity::IdentityError;
use cm_types::{PrincipalId, TenantId};

use crate::authority::existing_roles;
use crate::{Actor, ActorFacts, Kernel, KernelError};

impl Kernel {
    /// A principal as an actor, with what its roles permit now. The caller has found out that it is this principal who asks, by
    /// something that an operator or the principal itself has bound to it. Such an actor has shown no credential of the identity:
    /// it cannot change its own, nor get tokens.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for a principal that is disabled or gone, of a tenant that is being removed, and for one
    /// that an identity provider vouches for: what a face knows of it would outlive what the provider says.
    pub async fn vouched_for(
        &self,
        tenant: &TenantId,
        principal: &PrincipalId,
    ) -> Result<Actor, KernelError> {
        let (identity, tenant, principal) = (self.identity().clone(), tenant.clone(), principal.clone());
        let (book, catalog) = (self.policy_book().clone(), self.catalog().clone());
        self.db()
            .read(move |tx| {
                if identity.get_tenant(tx, &tenant)?.is_none_or(|tenant| tenant.leaving) {
                    return Err(KernelError::Unauthenticated);
                }
                let found = identity.get_principal(tx, &tenant, &principal)?;
                let found = found.filter(|found| !found.disabled).ok_or(KernelError::Unauthenticated)?;
                match identity.require_own_credentials(tx, &tenant, &principal) {
                    Err(IdentityError::Vouched) => return Err(KernelError::Unauthenticated),
                    outcome => outcome?,
                }
                let roles = existing_roles(tx, &tenant, &found.roles)?;
                let policies = book.in_force(tx, &catalog, &tenant)?;
                Ok(Actor::Node(Arc::new(ActorFacts { principal, tenant, roles, policies })))
            })
            .await
    }

    /// Refuses to bind a key of a face's own protocol to a principal that an identity provider vouches for.
    ///
    /// # Errors
    /// [`IdentityError::Vouched`].
    pub async fn require_own_credentials(
        &self,
        tenant: &TenantId,
        principal: &PrincipalId,
    ) -> Result<(), KernelError> {
        let (identity, tenant, principal) = (self.identity().clone(), tenant.clone(), principal.clone());
        self.db().read(move |tx| Ok(identity.require_own_credentials(tx, &tenant, &principal)?)).await
    }
}
