//! Catalogue records, as guests and faces work with them: one transaction and one event per call.

use cm_catalog::catalog::REFERRERS_SHOWN_MAX;
use cm_catalog::{CatalogError, Change, NewRecord, Occasion, Query, Record, guard};
use cm_db::ReadTx;
use cm_identity::Identity;
use cm_policy::{Create, Delete, Invoke, List, Permit, Read, Target, Update, decide};
use cm_types::{BucketName, Generation, Page, PageLimit, ResourceId, ResourceKind, ResourceRef, TenantId};
use serde_json::Value;

use crate::{Kernel, KernelError, OpContext};

impl Kernel {
    fn occasion(&self, op: &OpContext) -> Occasion {
        Occasion { at: self.now(), request: Some(op.request.clone()) }
    }

    /// Creates a record. A bucket can hold objects from then on.
    pub async fn create_record(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: NewRecord,
    ) -> Result<Record, KernelError> {
        if new.kind == ResourceKind::Role {
            self.check_gives_only_held(op, &new.name, &new.spec)?;
        }
        let (catalog, objects) = (self.catalog().clone(), self.objects().clone());
        let (permit, occasion) = (permit.clone(), self.occasion(op));
        self.db()
            .write(move |tx| {
                let record = catalog.create(tx, &permit, new, &occasion)?;
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

    /// Changes name, labels or spec of a record.
    pub async fn update_record(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        id: &ResourceId,
        change: Change,
    ) -> Result<Record, KernelError> {
        if let (ResourceKind::Role, Some(spec)) = (permit.kind(), &change.spec) {
            self.check_gives_only_held(op, id.as_str(), spec)?;
        }
        let (catalog, permit, id) = (self.catalog().clone(), permit.clone(), id.clone());
        let occasion = self.occasion(op);
        self.db().write(move |tx| Ok(catalog.update(tx, &permit, &id, change, &occasion)?)).await
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
    pub async fn delete_record(
        &self,
        op: &OpContext,
        permit: &Permit<Delete>,
        id: &ResourceId,
        expected: Option<Generation>,
    ) -> Result<Vec<ResourceRef>, KernelError> {
        let (catalog, objects, identity) = (self.catalog().clone(), self.objects().clone(), self.identity().clone());
        let (permit, id, occasion) = (permit.clone(), id.clone(), self.occasion(op));
        self.db()
            .write(move |tx| {
                if permit.kind() == ResourceKind::Role {
                    refuse_role_in_use(&identity, tx, permit.tenant(), &id)?;
                }
                if permit.kind() == ResourceKind::Bucket {
                    objects.delete_bucket(tx, &permit, &bucket_name(&id)?)?;
                }
                Ok(catalog.delete(tx, &permit, &id, expected, &occasion)?)
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
    fn check_gives_only_held(&self, op: &OpContext, role: &str, spec: &Value) -> Result<(), KernelError> {
        // What cannot be read is refused by the catalogue, with the reason.
        let listed = spec.get("permissions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let subject = op.subject();
        for permission in listed.iter().filter_map(Value::as_str).filter_map(|text| text.parse().ok()) {
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

fn may_read(op: &OpContext, record: &Record, guard: Option<&cm_policy::Guard>) -> bool {
    let header = &record.header;
    let target = Target {
        kind: header.kind,
        id: Some(header.id.as_str()),
        tenant: &header.tenant,
        owner: Some(&header.owner),
        labels: &header.labels,
        guard,
    };
    decide::<Read>(&op.subject(), &target).is_ok()
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
