//! Catalogue records, as guests and faces work with them: one transaction and one event per call.

use cm_catalog::catalog::{Deletion, REFERRERS_SHOWN_MAX};
use cm_catalog::kinds::is_history;
use cm_catalog::{
    Catalog, CatalogError, Change, Dependents, Integrity, NewRecord, Occasion, Query, Record, guard,
};
use cm_db::{ReadTx, WriteTx};
use cm_identity::Identity;
use cm_policy::{Create, Delete, Denied, Guard, Invoke, List, Permit, Read, Target, Update, decide};
use cm_types::{
    Action, BucketName, Generation, Labels, Page, PageLimit, PrincipalId, ResourceId, ResourceKind,
    ResourceRef, TenantId,
};
use serde_json::Value;

use crate::idempotency::IdempotencyKey;
use crate::{Kernel, KernelError, OpContext, deployments, descriptions, policies, principals};

impl Kernel {
    pub(crate) fn occasion(&self, op: &OpContext) -> Occasion {
        Occasion { at: self.now(), request: Some(op.request.clone()) }
    }

    /// Creates a record. A bucket can hold objects from then on.
    ///
    /// # Errors
    /// The labels are decided on here, whichever the permit was decided for. What the spec refers to must be known
    /// to the actor, see [`Kernel::update_record`].
    pub async fn create_record(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: NewRecord,
    ) -> Result<Record, KernelError> {
        self.create_record_and(op, permit, new, |_, record| Ok(record)).await
    }

    /// As [`Kernel::create_record`], once per key: who repeats a creation under the same key within
    /// [`crate::idempotency::KEY_LIFETIME`] gets the record that the first one made. Whether it was there already is
    /// the second part of the answer.
    ///
    /// # Errors
    /// [`KernelError::KeyReused`] if something else was asked for under the key, [`KernelError::CreationGone`] if the
    /// record was deleted since, whether or not another one has its id.
    pub async fn create_record_once(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: NewRecord,
        key: IdempotencyKey,
    ) -> Result<(Record, bool), KernelError> {
        self.demand_creation(op, permit, &new).await?;
        let new = self.prepared(new).await?;
        let (within, permit, kind) = (self.within(op), permit.clone(), new.kind);
        self.db()
            .write(move |tx| {
                if let Some(found) = key.find(tx, &within, kind)? {
                    return Ok((found, true));
                }
                let record = within.create(tx, &permit, new)?;
                key.remember(tx, &within, &record)?;
                Ok((record, false))
            })
            .await
    }

    /// As [`Kernel::create_record`], and adds states to what the second permit is for, all in one transaction.
    pub async fn create_record_and_history(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: NewRecord,
        invoke: &Permit<Invoke>,
        history: Vec<NewRecord>,
    ) -> Result<Record, KernelError> {
        let (catalog, invoke, occasion) = (self.catalog().clone(), invoke.clone(), self.occasion(op));
        self.create_record_and(op, permit, new, move |tx, record| {
            for new in history {
                catalog.append_history(tx, &invoke, new, &occasion)?;
            }
            Ok(record)
        })
        .await
    }

    /// What the actor created under the key, if anything: for creations whose effects go beyond the catalogue, to be asked
    /// before them.
    ///
    /// # Errors
    /// As [`Kernel::create_record_once`].
    pub async fn created_under(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        key: &IdempotencyKey,
    ) -> Result<Option<Record>, KernelError> {
        let (within, kind, key) = (self.within(op), permit.kind(), key.clone());
        self.db().look_up(move |tx| key.find(tx, &within, kind)).await
    }

    /// As [`Kernel::create_record`], and does something with the new record in the same transaction.
    pub(crate) async fn create_record_and<T: Send + 'static>(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: NewRecord,
        then: impl FnOnce(&mut WriteTx<'_>, Record) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, KernelError> {
        self.demand_creation(op, permit, &new).await?;
        let new = self.prepared(new).await?;
        let (within, permit) = (self.within(op), permit.clone());
        self.db()
            .write(move |tx| {
                let record = within.create(tx, &permit, new)?;
                then(tx, record)
            })
            .await
    }

    /// Decides about the labels that a new record is to have.
    pub(crate) async fn demand_creation(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: &NewRecord,
    ) -> Result<(), KernelError> {
        let collection = Target {
            kind: new.kind,
            id: None,
            tenant: permit.tenant(),
            owner: None,
            labels: &new.labels,
            guard: None,
        };
        match decide::<Create>(&op.subject(), &collection) {
            Ok(_) => Ok(()),
            Err(denied) => Err(self.refuse(op, denied, ResourceRef::new(new.kind, "*")).await),
        }
    }

    /// One page of a kind's records, showing only what the actor may read.
    pub async fn list_records(
        &self,
        op: &OpContext,
        permit: &Permit<List>,
        query: Query,
    ) -> Result<Page<Record>, KernelError> {
        let (catalog, tenant, op) = (self.catalog().clone(), permit.tenant().clone(), op.clone());
        self.db()
            .read(move |tx| {
                Ok(readable_where(
                    &op,
                    |record| guard::guard_of(tx, record),
                    |visible| catalog.list_where(tx, &tenant, &query, visible),
                )?)
            })
            .await
    }

    /// Changes name, labels, spec or status of a record.
    ///
    /// # Errors
    /// Labels and the security policy in force confine people; changing them is decided on as
    /// [`cm_policy::decide_change`] says. A reference that the record did not have before must lead to something
    /// that the actor may read or invoke; what is hidden from it is refused as what does not exist, so that nobody
    /// finds out by referring, and nobody keeps a stranger's record from being deleted.
    pub async fn update_record(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        id: &ResourceId,
        change: Change,
    ) -> Result<Record, KernelError> {
        let resource = ResourceRef::new(permit.kind(), id.as_str());
        let change = self.prepared_change(permit, id, change).await?;
        let (within, permit, id) = (self.within(op), permit.clone(), id.clone());
        let outcome = self.db().write(move |tx| within.update(tx, &permit, &id, change)).await;
        match outcome {
            Err(KernelError::Forbidden(explanation)) => {
                Err(self.refuse(op, Denied::Forbidden(explanation), resource).await)
            }
            outcome => outcome,
        }
    }

    /// Records what the platform found about a record.
    pub async fn set_record_status(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        id: &ResourceId,
        status: Value,
    ) -> Result<Record, KernelError> {
        let (catalog, permit, id) = (self.catalog().clone(), permit.clone(), id.clone());
        let occasion = self.occasion(op);
        self.db().write(move |tx| Ok(catalog.set_status(tx, &permit, &id, None, status, &occasion)?)).await
    }

    /// Removes a record and whatever goes with it; returns all that went, the root first.
    ///
    /// A record with a longer history than one transaction may remove loses its states and results first, in several
    /// transactions; they are not among what is returned. Should the caller vanish meanwhile, the record stays with
    /// a shorter history, and can be deleted again.
    ///
    /// # Errors
    /// Who stands against it is named as far as the actor may read it.
    pub async fn delete_record(
        &self,
        op: &OpContext,
        permit: &Permit<Delete>,
        id: &ResourceId,
        expected: Option<Generation>,
        dependents: Dependents,
    ) -> Result<Vec<ResourceRef>, KernelError> {
        match self.delete_at_once(op, permit, id, expected, dependents).await {
            Err(KernelError::Catalog(CatalogError::TooManyCascades { .. })) => {}
            outcome => return outcome,
        }
        while self.remove_some_history(op, permit, id, expected, dependents).await? > 0 {}
        self.delete_at_once(op, permit, id, expected, dependents).await
    }

    /// What [`Kernel::delete_record`] would come to, as far as the actor may read it.
    ///
    /// # Errors
    /// A bucket that has objects is refused as its deletion would be.
    ///
    /// [`CatalogError::StillReferenced`] that names nothing, if only what the actor may not read stands against it: the
    /// plan would look as if nothing did.
    pub async fn plan_deletion(
        &self,
        op: &OpContext,
        permit: &Permit<Delete>,
        id: &ResourceId,
        dependents: Dependents,
    ) -> Result<Deletion, KernelError> {
        let (catalog, objects, identity) =
            (self.catalog().clone(), self.objects().clone(), self.identity().clone());
        let (op, permit, id) = (op.clone(), permit.clone(), id.clone());
        self.db()
            .read(move |tx| {
                let mut plan = catalog.plan_deletion(tx, &permit, &id, dependents)?;
                if permit.kind() == ResourceKind::Role {
                    plan.refusing.extend(holders_of(&identity, tx, permit.tenant(), &id)?);
                    plan.refusing.truncate(REFERRERS_SHOWN_MAX);
                }
                if permit.kind() == ResourceKind::Bucket {
                    objects.refuse_unless_empty(tx, permit.tenant(), &bucket_name(&id)?)?;
                }
                let is_refused = !plan.refusing.is_empty();
                for list in [&mut plan.goes, &mut plan.refusing, &mut plan.orphaned] {
                    let mut visible = Vec::with_capacity(list.len());
                    for resource in std::mem::take(list) {
                        if may_some(tx, &catalog, &op, permit.tenant(), &resource, &[Action::Read])? {
                            visible.push(resource);
                        }
                    }
                    *list = visible;
                }
                if is_refused && plan.refusing.is_empty() {
                    return Err(CatalogError::StillReferenced { by: plan.refusing }.into());
                }
                Ok(plan)
            })
            .await
    }

    /// What becomes of the dependents of a deleted record unless somebody says it.
    pub fn dependents_default(&self) -> Dependents {
        match self.catalog().integrity() {
            Integrity::Enforced => Dependents::Refuse,
            Integrity::Open => Dependents::Orphan,
        }
    }

    async fn remove_some_history(
        &self,
        op: &OpContext,
        permit: &Permit<Delete>,
        id: &ResourceId,
        expected: Option<Generation>,
        dependents: Dependents,
    ) -> Result<usize, KernelError> {
        let (catalog, op, permit) = (self.catalog().clone(), op.clone(), permit.clone());
        let (id, occasion) = (id.clone(), self.occasion(&op));
        self.db()
            .write(move |tx| {
                let removed = catalog.remove_history(tx, &permit, &id, expected, dependents, &occasion);
                removed.map_err(|error| without_hidden(tx, &catalog, &op, permit.tenant(), error))
            })
            .await
    }

    async fn delete_at_once(
        &self,
        op: &OpContext,
        permit: &Permit<Delete>,
        id: &ResourceId,
        expected: Option<Generation>,
        dependents: Dependents,
    ) -> Result<Vec<ResourceRef>, KernelError> {
        let (catalog, objects, identity) =
            (self.catalog().clone(), self.objects().clone(), self.identity().clone());
        let (op, permit, id, occasion) = (op.clone(), permit.clone(), id.clone(), self.occasion(op));
        self.db()
            .write(move |tx| {
                if permit.kind() == ResourceKind::PermissionPolicy {
                    policies::demand_administrator(&op)?;
                }
                if permit.kind() == ResourceKind::Role {
                    let by = holders_of(&identity, tx, permit.tenant(), &id)?;
                    if !by.is_empty() {
                        // A later role of the same id would silently be theirs.
                        let error = CatalogError::StillReferenced { by };
                        return Err(without_hidden(tx, &catalog, &op, permit.tenant(), error));
                    }
                }
                if permit.kind() == ResourceKind::Bucket {
                    let bucket = bucket_name(&id)?;
                    objects.delete_bucket(tx, &permit, &bucket)?;
                    descriptions::forget_bucket(tx, permit.tenant(), &bucket)?;
                }
                let deleted = catalog.delete(tx, &permit, &id, expected, dependents, &occasion);
                let deleted =
                    deleted.map_err(|error| without_hidden(tx, &catalog, &op, permit.tenant(), error))?;
                deployments::refuse_deployed(tx, permit.tenant(), &deleted)?;
                Ok(deleted)
            })
            .await
    }

    /// Adds states and results to what is being used, all in one transaction, in this order.
    pub async fn append_history(
        &self,
        op: &OpContext,
        permit: &Permit<Invoke>,
        new: Vec<NewRecord>,
    ) -> Result<Vec<Record>, KernelError> {
        let (catalog, permit, occasion) = (self.catalog().clone(), permit.clone(), self.occasion(op));
        self.db()
            .write(move |tx| {
                new.into_iter().map(|new| Ok(catalog.append_history(tx, &permit, new, &occasion)?)).collect()
            })
            .await
    }

    /// The state or result that was added last to what the permit is for.
    pub async fn latest_history(
        &self,
        permit: &Permit<Read>,
        kind: ResourceKind,
    ) -> Result<Option<Record>, KernelError> {
        let Some(target) = permit.resource() else { return Ok(None) };
        let (catalog, tenant) = (self.catalog().clone(), permit.tenant().clone());
        self.db().look_up(move |tx| Ok(catalog.latest(tx, &tenant, &target, kind)?)).await
    }
}

pub(crate) fn target_of<'a>(record: &'a Record, guard: Option<&'a Guard>) -> Target<'a> {
    let header = &record.header;
    Target {
        kind: header.kind,
        id: Some(header.id.as_str()),
        tenant: &header.tenant,
        owner: Some(&header.owner),
        labels: &header.labels,
        guard,
    }
}

pub(crate) fn may_read(op: &OpContext, record: &Record, guard: Option<&Guard>) -> bool {
    cm_policy::explain(Action::Read, &op.subject(), &target_of(record, guard)).allowed
}

/// A list of what the actor may read. It fails as a whole if the security policy of a record cannot be found out.
pub(crate) fn readable_where<T>(
    op: &OpContext,
    guard_of: impl Fn(&Record) -> Result<Option<Guard>, CatalogError>,
    list: impl FnOnce(&mut dyn FnMut(&Record) -> bool) -> Result<T, CatalogError>,
) -> Result<T, CatalogError> {
    let mut failed = None;
    let listed = list(&mut |record| match guard_of(record) {
        Ok(guard) => may_read(op, record, guard.as_ref()),
        Err(error) => {
            failed.get_or_insert(error);
            false
        }
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(listed),
    }
}

/// Whether the actor may do one of these to something that is a principal or in the catalogue.
pub(crate) fn may_some(
    tx: &ReadTx<'_>,
    catalog: &Catalog,
    op: &OpContext,
    tenant: &TenantId,
    to: &ResourceRef,
    actions: &[Action],
) -> Result<bool, KernelError> {
    let may = |target: &Target<'_>| {
        actions.iter().any(|action| cm_policy::explain(*action, &op.subject(), target).allowed)
    };
    if to.kind == ResourceKind::Principal {
        return Ok(may(&principals::target(&to.id, tenant, &Labels::new())));
    }
    let Ok(id) = ResourceId::parse(to.id.as_str()) else { return Ok(false) };
    let Some(record) = catalog.get(tx, tenant, to.kind, &id)? else { return Ok(false) };
    let guard = guard::guard_of(tx, &record)?;
    Ok(may(&target_of(&record, guard.as_ref())))
}

/// The error with nothing in it that the actor may not read.
pub(crate) fn without_hidden(
    tx: &ReadTx<'_>,
    catalog: &Catalog,
    op: &OpContext,
    tenant: &TenantId,
    error: CatalogError,
) -> KernelError {
    let CatalogError::StillReferenced { by } = error else { return error.into() };
    let mut visible = Vec::with_capacity(by.len());
    for referrer in by {
        match may_some(tx, catalog, op, tenant, &referrer, &[Action::Read]) {
            Ok(true) => visible.push(referrer),
            Ok(false) => {}
            Err(error) => return error,
        }
    }
    CatalogError::StillReferenced { by: visible }.into()
}

/// Who owns something stays: whoever got the name later would own it. States and results do not count, or nobody who
/// ever ran a function could be removed.
pub(crate) fn refuse_while_owning(
    tx: &ReadTx<'_>,
    catalog: &Catalog,
    op: &OpContext,
    tenant: &TenantId,
    owner: &PrincipalId,
) -> Result<(), KernelError> {
    let mut by = catalog.owned_by(tx, tenant, owner, REFERRERS_SHOWN_MAX)?;
    by.retain(|owned| !is_history(owned.kind));
    match by.is_empty() {
        true => Ok(()),
        false => Err(without_hidden(tx, catalog, op, tenant, CatalogError::StillReferenced { by })),
    }
}

pub(crate) fn bucket_name(id: &ResourceId) -> Result<BucketName, KernelError> {
    BucketName::parse(id.as_str())
        .map_err(|_| KernelError::NotFound(ResourceRef::new(ResourceKind::Bucket, id.as_str())))
}

/// The principals who hold a role; at most [`REFERRERS_SHOWN_MAX`].
fn holders_of(
    identity: &Identity,
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    role: &ResourceId,
) -> Result<Vec<ResourceRef>, KernelError> {
    let (mut by, mut after) = (Vec::new(), None);
    loop {
        let page = identity.list_principals(tx, tenant, after.as_ref(), PageLimit::MAX)?;
        let holders = page.items.iter().filter(|principal| principal.roles.contains(role));
        by.extend(holders.map(|holder| ResourceRef::new(ResourceKind::Principal, holder.id.as_str())));
        by.truncate(REFERRERS_SHOWN_MAX);
        after = page.next;
        if after.is_none() || by.len() == REFERRERS_SHOWN_MAX {
            return Ok(by);
        }
    }
}
