//! Tenants, as faces work with them: they are of the whole node, and only the tenant `default` has a say about them.

use std::sync::Arc;

use cm_catalog::{Occasion, Query, builtin_roles};
use cm_crypto::Secret;
use cm_events::{EventVerb, NewEvent};
use cm_identity::{IdentityError, NewTenant, Tenant};
use cm_policy::{Create, Delete, Grant, List, Permit, RoleFacts};
use cm_types::{PageLimit, PrincipalId, ResourceKind, TenantId};

use crate::kernel::creation_of_roles;
use crate::{Actor, ActorFacts, Kernel, KernelError, OpContext, applications};

/// Principals that are removed with their tenant in one transaction.
const REMOVED_AT_ONCE: usize = 500;
/// Records that are removed with their tenant in one transaction: each may be of a megabyte.
const RECORDS_AT_ONCE: usize = 64;

impl Kernel {
    /// Creates a tenant with the built-in roles; with an administrator, the text of its API key, once. The permit is one of
    /// [`Kernel::authorize_of_node`].
    pub async fn create_tenant(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: NewTenant,
    ) -> Result<(Tenant, Option<Secret<String>>), KernelError> {
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let (permit, request, at) = (permit.clone(), op.request.clone(), self.now());
        self.db()
            .write(move |tx| {
                let of_roles = creation_of_roles(&new.id);
                let made = identity.create_tenant(tx, &permit, new, Some(&request))?;
                let occasion = Occasion { at, request: Some(request) };
                // What an earlier tenant of this id left, when records were not removed with it.
                while catalog.forget_tenant(tx, &made.0.id, RECORDS_AT_ONCE, &occasion)? > 0 {}
                for role in builtin_roles() {
                    catalog.create(tx, &of_roles, role, &occasion)?;
                }
                Ok(made)
            })
            .await
    }

    /// A tenant, if there is one. What is told of it is no secret to who names it.
    pub async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, KernelError> {
        let (identity, id) = (self.identity().clone(), id.clone());
        self.db().read(move |tx| Ok(identity.get_tenant(tx, &id)?)).await
    }

    /// All tenants. The permit is one of [`Kernel::authorize_of_node`].
    pub async fn list_tenants(&self, _: &Permit<List>) -> Result<Vec<Tenant>, KernelError> {
        let identity = self.identity().clone();
        self.db().read(move |tx| Ok(identity.list_tenants(tx)?)).await
    }

    /// Removes a tenant with its principals, their credentials, its roles and whatever else is nobody's, and what its applications
    /// declared. The permit is one of
    /// [`Kernel::authorize_of_node`].
    ///
    /// It takes as many transactions as its principals and records need. Before the first of them goes, the tenant is closed: nobody gets in
    /// and nothing is made in it any more, and then it is found out whether anybody owns something. So a removal that was
    /// begun can be finished, and is: by asking again, and by each start of a node.
    ///
    /// # Errors
    /// A tenant whose principals own records or buckets stays as it was, for they would be nobody's; so does one with any bucket.
    pub async fn delete_tenant(
        &self,
        op: &OpContext,
        permit: &Permit<Delete>,
        id: &TenantId,
    ) -> Result<(), KernelError> {
        self.set_leaving(op, permit, id, true).await?;
        if self.is_owning(id).await? {
            self.set_leaving(op, permit, id, false).await?;
            return Err(IdentityError::TenantInUse(id.clone()).into());
        }
        self.remove_what_leaves(op, permit, id).await
    }

    /// Finishes removals that were cut off. What fails is told and tried again at the next start: a node must start with it.
    pub(crate) async fn finish_removals(&self) -> Result<(), KernelError> {
        let identity = self.identity().clone();
        let tenants = self.db().read(move |tx| identity.list_tenants(tx)).await?;
        for tenant in tenants.into_iter().filter(|tenant| tenant.leaving) {
            let op = OpContext::node(self.tasks().token());
            let permit = self.authorize_of_node::<Delete>(&op, ResourceKind::Tenant).await?;
            if let Err(error) = self.delete_tenant(&op, &permit, &tenant.id).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(tenant = %tenant.id, error, "the removal of a tenant could not be finished");
            }
        }
        Ok(())
    }

    async fn set_leaving(
        &self,
        op: &OpContext,
        permit: &Permit<Delete>,
        id: &TenantId,
        leaving: bool,
    ) -> Result<(), KernelError> {
        let (identity, permit) = (self.identity().clone(), permit.clone());
        let (request, id) = (op.request.clone(), id.clone());
        self.db().write(move |tx| Ok(identity.set_leaving(tx, &permit, &id, leaving, Some(&request))?)).await
    }

    /// Whether any principal of a tenant owns something, found out a page at a time, or there is a bucket: the node's own too may hold
    /// objects.
    async fn is_owning(&self, id: &TenantId) -> Result<bool, KernelError> {
        let (catalog, tenant) = (self.catalog().clone(), id.clone());
        let buckets = Query { limit: PageLimit::clamped(1), ..Query::of(ResourceKind::Bucket) };
        let found =
            self.db().read(move |tx| Ok::<_, KernelError>(catalog.list(tx, &tenant, &buckets)?)).await?;
        if !found.items.is_empty() {
            return Ok(true);
        }
        let mut after = None;
        loop {
            let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
            let (id, from) = (id.clone(), after.take());
            let (owns, last) = self
                .db()
                .read(move |tx| {
                    let principals = identity.principals_of(tx, &id, from.as_ref(), REMOVED_AT_ONCE)?;
                    for principal in &principals {
                        if !catalog.owned_by(tx, &id, principal, 1)?.is_empty() {
                            return Ok::<_, KernelError>((true, None));
                        }
                    }
                    Ok((false, principals.last().cloned()))
                })
                .await?;
            match (owns, last) {
                (true, _) => return Ok(true),
                (false, None) => return Ok(false),
                (false, last) => after = last,
            }
        }
    }

    async fn remove_what_leaves(
        &self,
        op: &OpContext,
        permit: &Permit<Delete>,
        id: &TenantId,
    ) -> Result<(), KernelError> {
        loop {
            let (identity, objects) = (self.identity().clone(), self.objects().clone());
            let (catalog, at) = (self.catalog().clone(), self.now());
            let (permit, request, id) = (permit.clone(), op.request.clone(), id.clone());
            let is_done = self
                .db()
                .write(move |tx| {
                    // Somebody else may have finished it, or let it stay.
                    if !identity.get_tenant(tx, &id)?.is_some_and(|tenant| tenant.leaving) {
                        return Err(KernelError::from(IdentityError::NoSuchTenant));
                    }
                    let principals = identity.principals_of(tx, &id, None, REMOVED_AT_ONCE)?;
                    for principal in &principals {
                        identity.remove_principal_of_deleted_tenant(tx, &permit, &id, principal)?;
                    }
                    if principals.len() == REMOVED_AT_ONCE {
                        return Ok(false);
                    }
                    let occasion = Occasion { at, request: Some(request.clone()) };
                    if catalog.forget_tenant(tx, &id, RECORDS_AT_ONCE, &occasion)? == RECORDS_AT_ONCE {
                        return Ok(false);
                    }
                    applications::forget(tx, &id)?;
                    objects.forget_tenant(tx, &id)?;
                    identity.delete_tenant(tx, &permit, &id, Some(&request))?;
                    Ok(true)
                })
                .await?;
            if is_done {
                return Ok(());
            }
        }
    }

    /// The operation of somebody who keeps the tenants, as one within a tenant: there it is the node itself that acts. That
    /// it was, and for whom, is told to the tenant `default`: `tenant.operated`.
    ///
    /// # Errors
    /// Whoever may not grant rights over tenants is refused; there must be such a tenant.
    pub async fn operate_in(&self, op: &OpContext, tenant: &TenantId) -> Result<OpContext, KernelError> {
        let permit = self.authorize_of_node::<Grant>(op, ResourceKind::Tenant).await?;
        let tenant_of = self.tenant(tenant).await?;
        tenant_of.filter(|tenant| !tenant.leaving).ok_or(IdentityError::NoSuchTenant)?;
        let mut event = NewEvent::new(permit.tenant().clone(), EventVerb::fixed("tenant.operated"));
        event.actor = op.principal().cloned();
        event.request = Some(op.request.clone());
        event.facts.insert("tenant".to_owned(), tenant.as_str().into());
        self.record_event(event).await?;
        Ok(self.node_in(op, tenant))
    }

    /// The operation as one of the node itself within a tenant.
    pub(crate) fn node_in(&self, op: &OpContext, tenant: &TenantId) -> OpContext {
        let facts = ActorFacts {
            principal: PrincipalId::node(),
            tenant: tenant.clone(),
            roles: vec![RoleFacts::administrator()],
            policies: crate::Policies::none(),
        };
        OpContext { actor: Actor::Node(Arc::new(facts)), ..op.clone() }
    }
}
