//! Changes of records within the caller's transaction: what every way to a change has in common.

use cm_catalog::{
    Catalog, CatalogError, Change, Integrity, NewRecord, Occasion, Record, Reference, SpecChange, guard,
};
use cm_db::{ReadTx, WriteTx};
use cm_identity::{Identity, IdentityError};
use cm_objects::Objects;
use cm_policy::{Create, Permission, Permit, Update, decide_change};
use cm_types::{Action, ResourceId, ResourceKind};
use serde_json::Value;

use crate::policies::{demand_administrator, demand_room};
use crate::records::{bucket_name, may_some, target_of, without_hidden};
use crate::{Kernel, KernelError, OpContext, measures};

/// What a change needs besides the transaction.
#[derive(Clone)]
pub(crate) struct Within {
    pub(crate) identity: Identity,
    pub(crate) catalog: Catalog,
    pub(crate) objects: Objects,
    pub(crate) op: OpContext,
    pub(crate) occasion: Occasion,
}

impl Kernel {
    /// What changes by this operation need.
    pub(crate) fn within(&self, op: &OpContext) -> Within {
        let (catalog, objects) = (self.catalog().clone(), self.objects().clone());
        Within {
            identity: self.identity().clone(),
            catalog,
            objects,
            op: op.at(self.now()).into_owned(),
            occasion: self.occasion(op),
        }
    }
}

impl Within {
    /// Creates a record that the permit is for, and what exists because of it.
    pub(crate) fn create(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Create>,
        new: NewRecord,
    ) -> Result<Record, KernelError> {
        // Whoever was let in before the tenant was closed must not leave anything in it.
        if self.identity.get_tenant(tx, permit.tenant())?.is_some_and(|tenant| tenant.leaving) {
            return Err(IdentityError::NoSuchTenant.into());
        }
        if new.kind == ResourceKind::Role {
            let named = new.id.as_ref().filter(|_| new.name.is_empty()).map(ResourceId::as_str);
            self.demand_held(named.unwrap_or(&new.name), new.spec.get("permissions"))?;
        }
        let is_policy = new.kind == ResourceKind::PermissionPolicy;
        if is_policy {
            demand_administrator(&self.op)?;
        }
        let record = self.catalog.create(tx, permit, new, &self.occasion)?;
        measures::demand_reach(&record)?;
        if is_policy {
            demand_room(tx, &self.catalog, &record.header.tenant)?;
        }
        self.demand_known(tx, &record, &[])?;
        self.demand_methods(tx, &record, &[])?;
        if record.header.kind == ResourceKind::Bucket {
            self.objects.create_bucket(tx, permit, &bucket_name(&record.header.id)?)?;
        }
        Ok(record)
    }

    /// Changes a record that the permit is for.
    pub(crate) fn update(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Update>,
        id: &ResourceId,
        change: Change,
    ) -> Result<Record, KernelError> {
        if let (ResourceKind::Role, Some(change)) = (permit.kind(), &change.spec) {
            let permissions = match change {
                SpecChange::Replace(spec) => spec.get("permissions"),
                SpecChange::Merge(fields) => fields.get("permissions"),
            };
            self.demand_held(id.as_str(), permissions)?;
        }
        if permit.kind() == ResourceKind::PermissionPolicy {
            demand_administrator(&self.op)?;
        }
        let before = self.catalog.get(tx, permit.tenant(), permit.kind(), id)?;
        let methods = self.methods(tx, permit.tenant(), permit.kind(), id)?;
        let after = self.catalog.update(tx, permit, id, change, &self.occasion);
        // A method that is used stands against code without it, and its users may be hidden from the actor.
        let after =
            after.map_err(|error| without_hidden(tx, &self.catalog, &self.op, permit.tenant(), error))?;
        measures::demand_reach(&after)?;
        if permit.kind() == ResourceKind::PermissionPolicy {
            demand_room(tx, &self.catalog, permit.tenant())?;
        }
        if let Some(before) = before {
            self.demand_known(tx, &after, &before.references)?;
            self.demand_change(tx, &before, &after)?;
            self.demand_methods(tx, &after, &methods)?;
        }
        Ok(after)
    }

    /// Whoever could write a role that permits more than they hold could give themselves everything.
    fn demand_held(&self, role: &str, permissions: Option<&Value>) -> Result<(), KernelError> {
        // What cannot be read is refused by the catalogue, with the reason, or permits nothing.
        let listed = permissions.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let subject = self.op.subject();
        let granted = |word: &Value| Permission::granted_by(word.as_str()?).ok();
        match listed.iter().filter_map(granted).flatten().find(|permission| !subject.holds(permission)) {
            None => Ok(()),
            Some(permission) => {
                let (role, permission) = (role.to_owned(), permission.to_string());
                Err(KernelError::GivesMoreThanHeld { role, permission })
            }
        }
    }

    /// Whether the actor may know of all that a record refers to, apart from what it referred to already.
    fn demand_known(
        &self,
        tx: &ReadTx<'_>,
        record: &Record,
        already: &[Reference],
    ) -> Result<(), KernelError> {
        if self.catalog.integrity() == Integrity::Open {
            return Ok(());
        }
        let tenant = &record.header.tenant;
        for reference in record.references.iter().filter(|new| !already.iter().any(|old| old.to == new.to)) {
            // Whoever may only invoke a function may still run it, which makes an instance that refers to it.
            let uses = [Action::Read, Action::Invoke];
            if !may_some(tx, &self.catalog, &self.op, tenant, &reference.to, &uses)? {
                let (field, to) = (reference.field.clone(), reference.to.clone());
                return Err(CatalogError::DanglingReference { field, to }.into());
            }
        }
        Ok(())
    }

    /// Whether the actor may turn the one into the other, once it is clear that it may update it.
    pub(crate) fn demand_change(
        &self,
        tx: &ReadTx<'_>,
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
        decide_change(&self.op.subject(), &old, &new).map_err(KernelError::Forbidden)
    }
}
