//! What is done before a transaction that writes, because the writer has no time for it.

use cm_catalog::{Change, NewRecord};
use cm_policy::{Permit, Update};
use cm_types::{ResourceId, ResourceKind};

use crate::{Kernel, KernelError};

impl Kernel {
    /// The record, once a reader has done what the writer has no time for.
    pub(crate) async fn prepared(&self, new: NewRecord) -> Result<NewRecord, KernelError> {
        if new.kind != ResourceKind::ActiveObject {
            return Ok(new);
        }
        let catalog = self.catalog().clone();
        self.db()
            .read(move |_| {
                catalog.prepare(new.kind, &new.spec);
                Ok(new)
            })
            .await
    }

    /// The change, once a reader has done what the writer has no time for: with the record as it is now, which need not be
    /// the one that will be changed.
    pub(crate) async fn prepared_change(
        &self,
        permit: &Permit<Update>,
        id: &ResourceId,
        change: Change,
    ) -> Result<Change, KernelError> {
        if permit.kind() != ResourceKind::ActiveObject || change.spec.is_none() {
            return Ok(change);
        }
        let (catalog, permit, id) = (self.catalog().clone(), permit.clone(), id.clone());
        self.db()
            .read(move |tx| {
                let record = catalog.get(tx, permit.tenant(), permit.kind(), &id)?;
                if let (Some(record), Some(spec)) = (record, &change.spec) {
                    catalog.prepare(permit.kind(), &spec.clone().apply(&record.spec));
                }
                Ok(change)
            })
            .await
    }
}
