//! Actors for whom a face vouches: it has checked a proof of its own protocol, which the identity does not know.

use std::sync::Arc;

use cm_types::{PrincipalId, TenantId};

use crate::authority::existing_roles;
use crate::{Actor, ActorFacts, Kernel, KernelError};

impl Kernel {
    /// A principal as an actor, with what its roles permit now. The caller has found out that it is this principal who asks, by
    /// something that an operator or the principal itself has bound to it. Such an actor has shown no credential of the identity:
    /// it cannot change its own, nor get tokens.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for a principal that is disabled or gone, and of a tenant that is being removed.
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
                let roles = existing_roles(tx, &tenant, &found.roles)?;
                let policies = book.in_force(tx, &catalog, &tenant)?;
                Ok(Actor::Node(Arc::new(ActorFacts { principal, tenant, roles, policies })))
            })
            .await
    }
}
