//! Active objects and the functions that their code is made into.
//!
//! A method is a function. Whoever writes code that declares new ones creates functions, and needs the permission to;
//! whoever moves an object moves its methods, each of which is decided on as if it were moved alone.

use cm_catalog::Record;
use cm_db::ReadTx;
use cm_policy::{Create, Target, decide};
use cm_types::{ResourceId, ResourceKind, ResourceRef, TenantId};

use crate::KernelError;
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
        for after in self.methods(tx, &header.tenant, header.kind, &header.id)? {
            match before.iter().find(|before| before.header.id == after.header.id) {
                Some(before) => self.demand_change(tx, before, &after)?,
                None => self.demand_creation(&after)?,
            }
        }
        Ok(())
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
