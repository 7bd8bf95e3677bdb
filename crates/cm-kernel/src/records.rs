//! Catalogue records, as guests and faces work with them: one transaction and one event per call.

use cm_catalog::catalog::{Deletion, REFERRERS_SHOWN_MAX};
use cm_catalog::kinds::is_history;
use cm_catalog::{
    Catalog, CatalogError, Change, Dependents, Integrity, NewRecord, Occasion, Query, Record, Reference,
    SpecChange, guard,
};
use cm_db::ReadTx;
use cm_identity::Identity;
use cm_policy::{
    Create, Delete, Denied, Guard, Invoke, List, Permission, Permit, Read, Target, Update, decide,
    decide_change,
};
use cm_types::{
    Action, BucketName, Generation, Labels, Page, PageLimit, PrincipalId, ResourceId, ResourceKind,
    ResourceRef, TenantId,
};
use serde_json::Value;

use crate::{Kernel, KernelError, OpContext, principals};

/// Most records that are listed as parts of another.
pub const PARTS_MAX: usize = 1000;

impl Kernel {
    fn occasion(&self, op: &OpContext) -> Occasion {
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
        if new.kind == ResourceKind::Role {
            self.check_gives_only_held(op, &new.name, new.spec.get("permissions"))?;
        }
        let collection = Target {
            kind: new.kind,
            id: None,
            tenant: permit.tenant(),
            owner: None,
            labels: &new.labels,
            guard: None,
        };
        if let Err(denied) = decide::<Create>(&op.subject(), &collection) {
            return Err(self.refuse(op, denied, ResourceRef::new(new.kind, "*")).await);
        }
        let (catalog, objects) = (self.catalog().clone(), self.objects().clone());
        let (op, permit, occasion) = (op.clone(), permit.clone(), self.occasion(op));
        self.db()
            .write(move |tx| {
                let record = catalog.create(tx, &permit, new, &occasion)?;
                demand_known(tx, &catalog, &op, &record, &[])?;
                if record.header.kind == ResourceKind::Bucket {
                    objects.create_bucket(tx, &permit, &bucket_name(&record.header.id)?)?;
                }
                Ok(record)
            })
            .await
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
                let mut failed = None;
                let page = catalog.list_where(tx, &tenant, &query, |record| {
                    // A record whose security policy cannot be read is not shown; the list as a whole fails below.
                    match guard::guard_of(tx, record) {
                        Ok(guard) => may_read(&op, record, guard.as_ref()),
                        Err(error) => {
                            failed.get_or_insert(error);
                            false
                        }
                    }
                })?;
                match failed {
                    Some(error) => Err(error.into()),
                    None => Ok(page),
                }
            })
            .await
    }

    /// Of each of these resources the records of a kind that refer to it and that the actor may read, by id, the first
    /// [`PARTS_MAX`] of them.
    pub async fn parts_of(
        &self,
        op: &OpContext,
        whole: Vec<ResourceRef>,
        kind: ResourceKind,
    ) -> Result<Vec<Vec<ResourceId>>, KernelError> {
        let (catalog, op, tenant) = (self.catalog().clone(), op.clone(), op.tenant());
        self.db()
            .read(move |tx| {
                let mut parts = Vec::with_capacity(whole.len());
                for of in whole {
                    let limit = PageLimit::clamped(PARTS_MAX);
                    let query = Query { referencing: Some(of), limit, ..Query::of(kind) };
                    let page = catalog.list_where(tx, &tenant, &query, |record| {
                        guard::guard_of(tx, record).is_ok_and(|guard| may_read(&op, record, guard.as_ref()))
                    })?;
                    parts.push(page.items.into_iter().map(|record| record.header.id).collect());
                }
                Ok(parts)
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
        if let (ResourceKind::Role, Some(change)) = (permit.kind(), &change.spec) {
            let fields = match change {
                SpecChange::Replace(spec) => spec.get("permissions"),
                SpecChange::Merge(fields) => fields.get("permissions"),
            };
            self.check_gives_only_held(op, id.as_str(), fields)?;
        }
        let resource = ResourceRef::new(permit.kind(), id.as_str());
        let (catalog, permit, id) = (self.catalog().clone(), permit.clone(), id.clone());
        let (actor, occasion) = (op.clone(), self.occasion(op));
        let outcome = self
            .db()
            .write(move |tx| {
                let before = catalog.get(tx, permit.tenant(), permit.kind(), &id)?;
                let after = catalog.update(tx, &permit, &id, change, &occasion)?;
                if let Some(before) = before {
                    demand_known(tx, &catalog, &actor, &after, &before.references)?;
                    demand_change(tx, &actor, &before, &after)?;
                }
                Ok(after)
            })
            .await;
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
    pub async fn plan_deletion(
        &self,
        op: &OpContext,
        permit: &Permit<Delete>,
        id: &ResourceId,
        dependents: Dependents,
    ) -> Result<Deletion, KernelError> {
        let (catalog, op, permit, id) = (self.catalog().clone(), op.clone(), permit.clone(), id.clone());
        self.db()
            .read(move |tx| {
                let mut plan = catalog.plan_deletion(tx, &permit, &id, dependents)?;
                for list in [&mut plan.goes, &mut plan.refusing, &mut plan.orphaned] {
                    let mut visible = Vec::with_capacity(list.len());
                    for resource in std::mem::take(list) {
                        if may_some(tx, &catalog, &op, permit.tenant(), &resource, &[Action::Read])? {
                            visible.push(resource);
                        }
                    }
                    *list = visible;
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
                if permit.kind() == ResourceKind::Role {
                    let refused = refuse_role_in_use(&identity, tx, permit.tenant(), &id);
                    refused.map_err(|error| match error {
                        KernelError::Catalog(error) => {
                            without_hidden(tx, &catalog, &op, permit.tenant(), error)
                        }
                        error => error,
                    })?;
                }
                if permit.kind() == ResourceKind::Bucket {
                    objects.delete_bucket(tx, &permit, &bucket_name(&id)?)?;
                }
                let deleted = catalog.delete(tx, &permit, &id, expected, dependents, &occasion);
                deleted.map_err(|error| without_hidden(tx, &catalog, &op, permit.tenant(), error))
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
        self.db().read(move |tx| Ok(catalog.latest(tx, &tenant, &target, kind)?)).await
    }

    /// Whoever could write a role that permits more than they hold could give themselves everything.
    fn check_gives_only_held(
        &self,
        op: &OpContext,
        role: &str,
        permissions: Option<&Value>,
    ) -> Result<(), KernelError> {
        // What cannot be read is refused by the catalogue, with the reason, or permits nothing.
        let listed = permissions.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let subject = op.subject();
        let granted = |word: &Value| Permission::granted_by(word.as_str()?).ok();
        for permission in listed.iter().filter_map(granted).flatten() {
            if !subject.holds(&permission) {
                return Err(KernelError::GivesMoreThanHeld {
                    role: role.to_owned(),
                    permission: permission.to_string(),
                });
            }
        }
        Ok(())
    }
}

fn target_of<'a>(record: &'a Record, guard: Option<&'a Guard>) -> Target<'a> {
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

fn may_read(op: &OpContext, record: &Record, guard: Option<&Guard>) -> bool {
    decide::<Read>(&op.subject(), &target_of(record, guard)).is_ok()
}

/// Whether the actor may turn the one into the other, once it is clear that it may update it.
fn demand_change(
    tx: &ReadTx<'_>,
    op: &OpContext,
    before: &Record,
    after: &Record,
) -> Result<(), KernelError> {
    let guard_text = |record: &Record| record.spec.get("security_policy").cloned();
    let same_guard = before.references == after.references && guard_text(before) == guard_text(after);
    if before.header.labels == after.header.labels && same_guard {
        return Ok(());
    }
    let (old, new) = (guard::guard_of(tx, before)?, guard::guard_of(tx, after)?);
    let (old, new) = (target_of(before, old.as_ref()), target_of(after, new.as_ref()));
    decide_change(&op.subject(), &old, &new).map_err(KernelError::Forbidden)
}

/// Whether the actor may know of all that a record refers to, apart from what it referred to already.
fn demand_known(
    tx: &ReadTx<'_>,
    catalog: &Catalog,
    op: &OpContext,
    record: &Record,
    already: &[Reference],
) -> Result<(), KernelError> {
    if catalog.integrity() == Integrity::Open {
        return Ok(());
    }
    let tenant = &record.header.tenant;
    for reference in record.references.iter().filter(|new| !already.iter().any(|old| old.to == new.to)) {
        // Whoever may only invoke a function may still run it, which makes an instance that refers to it.
        if !may_some(tx, catalog, op, tenant, &reference.to, &[Action::Read, Action::Invoke])? {
            let (field, to) = (reference.field.clone(), reference.to.clone());
            return Err(CatalogError::DanglingReference { field, to }.into());
        }
    }
    Ok(())
}

/// Whether the actor may do one of these to something that is a principal or in the catalogue.
fn may_some(
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
fn without_hidden(
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

fn bucket_name(id: &ResourceId) -> Result<BucketName, KernelError> {
    BucketName::parse(id.as_str())
        .map_err(|_| KernelError::NotFound(ResourceRef::new(ResourceKind::Bucket, id.as_str())))
}

/// A role that somebody holds stays: a later role of the same id would silently be theirs.
fn refuse_role_in_use(
    identity: &Identity,
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    role: &ResourceId,
) -> Result<(), KernelError> {
    let (mut by, mut after) = (Vec::new(), None);
    loop {
        let page = identity.list_principals(tx, tenant, after.as_ref(), PageLimit::MAX)?;
        let holders = page.items.iter().filter(|principal| principal.roles.contains(role));
        by.extend(holders.map(|holder| ResourceRef::new(ResourceKind::Principal, holder.id.as_str())));
        by.truncate(REFERRERS_SHOWN_MAX);
        after = page.next;
        if after.is_none() || by.len() == REFERRERS_SHOWN_MAX {
            break;
        }
    }
    if by.is_empty() { Ok(()) } else { Err(CatalogError::StillReferenced { by }.into()) }
}
