//! Active objects and the functions that their code is made into.
//!
//! A method is a function. Whoever writes code that declares new ones creates functions, and needs the permission to;
//! whoever leaves one out of it deletes a function, and needs the permission for that one; whoever moves an object moves
//! its methods, each of which is decided on as if it were moved alone.

use cm_catalog::{Record, guard};
use cm_db::ReadTx;
use cm_policy::{Create, Delete, Target, decide};
use cm_types::{ResourceId, ResourceKind, ResourceRef, TenantId};

use crate::KernelError;
use crate::records::target_of;
use crate::within::Within;

impl Within {
    /// The methods of an active object; none of anything else.
    pub(crate) fn methods(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        kind: ResourceKind,
        id: &ResourceId,
    ) -> Result<Vec<Record>, KernelError> {
        match kind {
            ResourceKind::ActiveObject => Ok(self.catalog.methods_of(tx, tenant, id)?),
            _ => Ok(Vec::new()),
        }
    }

    /// Whether the actor may make of the methods that an object had what they are now that it is written.
    pub(crate) fn demand_methods(
        &self,
        tx: &ReadTx<'_>,
        object: &Record,
        before: &[Record],
    ) -> Result<(), KernelError> {
        let header = &object.header;
        let after = self.methods(tx, &header.tenant, header.kind, &header.id)?;
        let is_gone = |before: &&Record| !after.iter().any(|after| after.header.id == before.header.id);
        for gone in before.iter().filter(is_gone) {
            self.demand_deletion(tx, gone)?;
        }
        for after in after {
            match before.iter().find(|before| before.header.id == after.header.id) {
                Some(before) => self.demand_change(tx, before, &after)?,
                None => self.demand_creation(&after)?,
            }
        }
        Ok(())
    }

    /// Of a method that is gone already, in this transaction: what it belonged to still says which policy was in force.
    fn demand_deletion(&self, tx: &ReadTx<'_>, method: &Record) -> Result<(), KernelError> {
        let guard = guard::guard_of(tx, method)?;
        decide::<Delete>(&self.op.subject(), &target_of(method, guard.as_ref()))
            .map(drop)
            .map_err(|denied| KernelError::denied(denied, method.resource()))
    }

    fn demand_creation(&self, method: &Record) -> Result<(), KernelError> {
        let header = &method.header;
        let collection = Target {
            kind: header.kind,
            id: None,
            tenant: &header.tenant,
            owner: None,
            labels: &header.labels,
            guard: None,
        };
        decide::<Create>(&self.op.subject(), &collection)
            .map(drop)
            .map_err(|denied| KernelError::denied(denied, ResourceRef::new(header.kind, "*")))
    }
}
