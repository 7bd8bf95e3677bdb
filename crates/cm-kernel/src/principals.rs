//! Principals, as faces work with them. They live in the identity's own tables.

use cm_identity::{IdentityError, NewPrincipal, Principal, PrincipalChange};
use cm_policy::{ActionKind, Create, Delete, Grant, List, Permit, Target, Update, absent, decide};
use cm_types::{
    Cursor, Generation, Labels, Page, PageLimit, PrincipalId, ResourceId, ResourceKind, ResourceRef, TenantId,
};

use crate::applications::forget_user;
use crate::authority::existing_roles;
use crate::giving::{demand_held, demand_nameable, demand_takeable, named_roles};
use crate::records::refuse_while_owning;
use crate::{Kernel, KernelError, OpContext};

impl Kernel {
    /// Reads a principal for an action. A principal does not own itself: what it may do about itself is said where
    /// it is done.
    pub async fn look_up_principal<A: ActionKind>(
        &self,
        op: &OpContext,
        id: &str,
    ) -> Result<(Principal, Permit<A>), KernelError> {
        let resource = ResourceRef::new(ResourceKind::Principal, id);
        let tenant = op.tenant();
        let found = match PrincipalId::parse(id) {
            Ok(id) => {
                let (identity, tenant) = (self.identity().clone(), tenant.clone());
                self.db().read(move |tx| identity.get_principal(tx, &tenant, &id)).await?
            }
            Err(_) => None,
        };
        let decision = match &found {
            Some(principal) => {
                let labels = Labels::new();
                decide::<A>(&op.at(self.now()).subject(), &target(principal.id.as_str(), &tenant, &labels))
            }
            None => Err(absent(A::ACTION, &op.subject(), ResourceKind::Principal)),
        };
        match (decision, found) {
            (Ok(permit), Some(principal)) => Ok((principal, permit)),
            (Ok(_), None) => Err(KernelError::NotFound(resource)),
            (Err(denied), _) => Err(self.refuse(op, denied, resource).await),
        }
    }

    /// Creates a principal, with roles if the actor may give them.
    ///
    /// # Errors
    /// The id of a deleted principal is taken for as long as there are states or results that it owned: a namesake
    /// would own them.
    pub async fn create_principal(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: NewPrincipal,
    ) -> Result<Principal, KernelError> {
        let grant = self.grant_of_roles(op, !new.roles.is_empty()).await?;
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let (op, permit) = (op.clone(), permit.clone());
        self.db()
            .write(move |tx| {
                demand_held(&op.subject(), &named_roles(tx, permit.tenant(), &new.roles)?)?;
                demand_nameable(&op.subject(), &new.id)?;
                if !catalog.owned_by(tx, permit.tenant(), &new.id, 1)?.is_empty() {
                    return Err(IdentityError::Exists.into());
                }
                Ok(identity.create_principal(tx, &permit, grant.as_ref(), new, Some(&op.request))?)
            })
            .await
    }

    /// One page of the tenant's principals.
    pub async fn list_principals(
        &self,
        permit: &Permit<List>,
        after: Option<Cursor>,
        limit: PageLimit,
    ) -> Result<Page<Principal>, KernelError> {
        let (identity, tenant) = (self.identity().clone(), permit.tenant().clone());
        self.db().read(move |tx| Ok(identity.list_principals(tx, &tenant, after.as_ref(), limit)?)).await
    }

    /// Changes a principal; its roles if the actor may give them. Nobody gives or takes away, by roles or by
    /// disabling and enabling, more than they hold.
    pub async fn update_principal(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        id: &PrincipalId,
        change: PrincipalChange,
    ) -> Result<Principal, KernelError> {
        let grant = self.grant_of_roles(op, change.roles.is_some()).await?;
        let identity = self.identity().clone();
        let (op, permit, id) = (op.clone(), permit.clone(), id.clone());
        self.db()
            .write(move |tx| {
                let (subject, tenant) = (op.subject(), permit.tenant());
                let before =
                    identity.get_principal(tx, tenant, &id)?.ok_or(IdentityError::NoSuchPrincipal)?;
                if let Some(roles) = &change.roles {
                    demand_held(&subject, &named_roles(tx, tenant, &without(roles, &before.roles))?)?;
                    demand_takeable(&subject, &existing_roles(tx, tenant, &without(&before.roles, roles))?)?;
                }
                if change.disabled.is_some_and(|disabled| disabled != before.disabled) {
                    demand_held(&subject, &existing_roles(tx, tenant, &before.roles)?)?;
                }
                let request = Some(&op.request);
                Ok(identity.update_principal(tx, &permit, grant.as_ref(), &id, change, request)?)
            })
            .await
    }

    /// Removes a principal, its credentials, and what applications declared about it: whoever gets the name later is somebody
    /// else. As with disabling it, the actor must hold what it holds.
    ///
    /// # Errors
    /// A principal that owns something stays: whoever got its name later would own that. States and results do not
    /// count; they keep the name from being given again.
    pub async fn delete_principal(
        &self,
        op: &OpContext,
        permit: &Permit<Delete>,
        id: &PrincipalId,
        expected: Option<Generation>,
    ) -> Result<(), KernelError> {
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let (op, permit, id) = (op.clone(), permit.clone(), id.clone());
        self.db()
            .write(move |tx| {
                let tenant = permit.tenant();
                if let Some(principal) = identity.get_principal(tx, tenant, &id)? {
                    demand_held(&op.subject(), &existing_roles(tx, tenant, &principal.roles)?)?;
                }
                refuse_while_owning(tx, &catalog, &op, tenant, &id)?;
                identity.delete_principal(tx, &permit, &id, expected, Some(&op.request))?;
                forget_user(tx, tenant, id.as_str())
            })
            .await
    }

    /// The proof that the actor may give roles to somebody, where it is needed.
    async fn grant_of_roles(
        &self,
        op: &OpContext,
        needed: bool,
    ) -> Result<Option<Permit<Grant>>, KernelError> {
        match needed {
            true => Ok(Some(self.authorize::<Grant>(op, ResourceKind::Principal).await?)),
            false => Ok(None),
        }
    }
}

fn without(roles: &[ResourceId], others: &[ResourceId]) -> Vec<ResourceId> {
    roles.iter().filter(|role| !others.contains(role)).cloned().collect()
}

/// A principal as policy sees it. It does not own itself.
pub(crate) fn target<'a>(id: &'a str, tenant: &'a TenantId, labels: &'a Labels) -> Target<'a> {
    Target { kind: ResourceKind::Principal, id: Some(id), tenant, owner: None, labels, guard: None }
}
