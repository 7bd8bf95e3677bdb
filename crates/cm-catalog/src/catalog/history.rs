//! States and results: added, read in order, never changed.

use cm_db::{Direction, KeyPrefix, KeyRange, ReadTx, WriteTx};
use cm_policy::{Invoke, Permit};
use cm_types::{ResourceId, ResourceKind, ResourceRef, TenantId};

use super::Catalog;
use crate::index::fetch;
use crate::kinds::{self, is_history};
use crate::tables::ByTarget;
use crate::{CatalogError, NewRecord, Occasion, Record};

impl Catalog {
    /// Adds a state or result to what is being used: whoever may invoke a function or an endpoint
    /// causes its history. The permit must be for the record that the new one goes with.
    ///
    /// A client that posts states or results of its own accord needs a permit to create them, and
    /// [`Catalog::create`].
    ///
    /// # Errors
    ///
    /// As [`Catalog::create`]; [`CatalogError::PermitMismatch`] also if the kind is no history or the
    /// permit is for something that the new record does not go with.
    pub fn append_history(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Invoke>,
        new: NewRecord,
        occasion: &Occasion,
    ) -> Result<Record, CatalogError> {
        let checked = kinds::check(new.kind, &new.spec, &self.limits, &self.sources)?;
        let parent = permit.resource();
        let belongs = checked.references.iter().any(|reference| Some(&reference.to) == parent.as_ref());
        let (true, true, Some(parent)) = (is_history(new.kind), belongs, parent) else {
            let wanted = ResourceRef::new(new.kind, new.id.as_ref().map_or("", ResourceId::as_str));
            return Err(CatalogError::PermitMismatch { wanted });
        };
        // An anonymous caller owns nothing; what it causes belongs to the owner of what it used.
        let owner = match new.owner.as_ref().or(permit.principal()) {
            Some(owner) => owner.clone(),
            None => {
                let id = ResourceId::parse(parent.id.as_str())
                    .map_err(|_| CatalogError::NotFound(parent.clone()))?;
                fetch(tx, permit.tenant(), parent.kind, &id)?
                    .ok_or(CatalogError::NotFound(parent))?
                    .record
                    .header
                    .owner
            }
        };
        self.add(tx, permit.tenant(), permit.principal(), owner, new, occasion)
    }

    /// The last record of a kind that refers to the target. For whole histories, oldest first, list
    /// with [`crate::Query::referencing`].
    pub fn latest(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        target: &ResourceRef,
        kind: ResourceKind,
    ) -> Result<Option<Record>, CatalogError> {
        let prefix = KeyPrefix::new().part(tenant).part(target).part(&kind);
        let last = tx.range::<ByTarget>(KeyRange::prefix(prefix), Direction::Backward, 1)?;
        match last.into_iter().next() {
            Some((_, holder)) => self.get(tx, tenant, kind, &holder.id),
            None => Ok(None),
        }
    }
}
