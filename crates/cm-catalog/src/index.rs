//! Writes records together with their indexes. Nothing else writes the tables of this crate, which is
//! why they agree.

use std::collections::BTreeMap;

use cm_db::{DbError, ReadTx, WriteTx};
use cm_types::{PrincipalId, ResourceId, ResourceKind, ResourceRef, TenantId};

use crate::tables::{ByCreation, ByName, ByOwner, ByTarget, Holder, Placed, Pointer, Records, Sequence};
use crate::{CatalogError, Integrity, Record};

/// The kinds whose names identify, so that no two of a tenant may share one.
pub(crate) fn name_identifies(kind: ResourceKind) -> bool {
    matches!(
        kind,
        ResourceKind::Role
            | ResourceKind::SecurityPolicy
            | ResourceKind::PermissionPolicy
            | ResourceKind::Bucket
    )
}

pub(crate) fn fetch(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    kind: ResourceKind,
    id: &ResourceId,
) -> Result<Option<Placed>, DbError> {
    let key = (tenant.clone(), kind, id.clone());
    Ok(tx.get::<Records>(&key)?.map(|stored| Placed::from_stored(key, stored)))
}

/// The records of these ids, in their order.
pub(crate) fn fetch_many(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    kind: ResourceKind,
    ids: impl Iterator<Item = ResourceId>,
) -> Result<Vec<Option<Placed>>, DbError> {
    let keys: Vec<_> = ids.map(|id| (tenant.clone(), kind, id)).collect();
    let rows = tx.get_many::<Records>(&keys)?;
    let placed = |(key, row): (_, Option<_>)| row.map(|stored| Placed::from_stored(key, stored));
    Ok(keys.into_iter().zip(rows).map(placed).collect())
}

/// Whether the target of a reference exists. The text of a reference need not even be an id.
pub(crate) fn exists(tx: &ReadTx<'_>, tenant: &TenantId, to: &ResourceRef) -> Result<bool, DbError> {
    match ResourceId::parse(to.id.as_str()) {
        Ok(id) => Ok(tx.raw_get::<Records>(&(tenant.clone(), to.kind, id))?.is_some()),
        Err(_) => Ok(false),
    }
}

/// Adds a record that is valid in itself.
pub(crate) fn insert(
    tx: &mut WriteTx<'_>,
    record: Record,
    integrity: Integrity,
) -> Result<Placed, CatalogError> {
    let place = tx.get::<Sequence>(&())?.unwrap_or_default().place + 1;
    let placed = Placed { place, record };
    let (tenant, kind, id) = placed.key();
    if exists(tx, &tenant, &placed.record.resource())? {
        return Err(CatalogError::Exists(placed.record.resource()));
    }
    check_references(tx, &placed.record, integrity)?;
    take_name(tx, &placed.record, integrity)?;
    tx.insert::<Records>(&placed.key(), &placed.to_stored())?;
    let pointer = Pointer { id };
    tx.insert::<ByCreation>(&(tenant, kind, place), &pointer)?;
    tx.insert::<ByOwner>(&by_owner(&placed), &pointer)?;
    for (to, holder) in holders(&placed.record) {
        tx.insert::<ByTarget>(&(placed.record.header.tenant.clone(), to, kind, place), &holder)?;
    }
    tx.put::<Sequence>(&(), &crate::tables::LastPlace { place })?;
    Ok(placed)
}

/// Replaces a record by a later version of itself.
pub(crate) fn replace(
    tx: &mut WriteTx<'_>,
    old: &Placed,
    new: &Placed,
    integrity: Integrity,
) -> Result<(), CatalogError> {
    let (tenant, kind, _) = old.key();
    if old.record.references != new.record.references {
        check_references(tx, &new.record, integrity)?;
        let (before, after) = (holders(&old.record), holders(&new.record));
        for to in before.keys().filter(|to| !after.contains_key(to)) {
            tx.delete::<ByTarget>(&(tenant.clone(), to.clone(), kind, old.place))?;
        }
        for (to, holder) in after {
            tx.put::<ByTarget>(&(tenant.clone(), to, kind, old.place), &holder)?;
        }
    }
    if old.record.header.name != new.record.header.name {
        take_name(tx, &new.record, integrity)?;
        free_name(tx, &old.record)?;
    }
    tx.put::<Records>(&new.key(), &new.to_stored())?;
    Ok(())
}

/// Removes a record. Nothing may refer to it, except what the same transaction removes too.
pub(crate) fn remove(tx: &mut WriteTx<'_>, placed: &Placed) -> Result<(), CatalogError> {
    let (tenant, kind, _) = placed.key();
    for to in holders(&placed.record).into_keys() {
        tx.delete::<ByTarget>(&(tenant.clone(), to, kind, placed.place))?;
    }
    free_name(tx, &placed.record)?;
    tx.delete::<ByCreation>(&(tenant, kind, placed.place))?;
    tx.delete::<ByOwner>(&by_owner(placed))?;
    tx.delete::<Records>(&placed.key())?;
    Ok(())
}

/// The key of a record among those of its owner, who never changes.
pub(crate) fn by_owner(placed: &Placed) -> (TenantId, PrincipalId, ResourceKind, u64) {
    let header = &placed.record.header;
    (header.tenant.clone(), header.owner.clone(), header.kind, placed.place)
}

/// The index rows of a record: one per target. Where two fields name the same target, going along
/// with it wins, since the holder is gone then, and being a part of it wins over using it.
pub(crate) fn holders(record: &Record) -> BTreeMap<ResourceRef, Holder> {
    let mut holders: BTreeMap<ResourceRef, Holder> = BTreeMap::new();
    for reference in &record.references {
        let fresh = Holder { id: record.header.id.clone(), on_delete: reference.on_delete };
        let holder = holders.entry(reference.to.clone()).or_insert(fresh);
        holder.on_delete = holder.on_delete.max(reference.on_delete);
    }
    holders
}

fn check_references(tx: &ReadTx<'_>, record: &Record, integrity: Integrity) -> Result<(), CatalogError> {
    if integrity == Integrity::Open {
        return Ok(());
    }
    for reference in &record.references {
        if !exists(tx, &record.header.tenant, &reference.to)? {
            let (field, to) = (reference.field.clone(), reference.to.clone());
            return Err(CatalogError::DanglingReference { field, to });
        }
    }
    Ok(())
}

fn take_name(tx: &mut WriteTx<'_>, record: &Record, integrity: Integrity) -> Result<(), CatalogError> {
    let header = &record.header;
    if !name_identifies(header.kind) {
        return Ok(());
    }
    let key = (header.tenant.clone(), header.kind, header.name.clone());
    if let Some(taken) = tx.get::<ByName>(&key)? {
        if integrity == Integrity::Open {
            // Whoever came first keeps the entry.
            return Ok(());
        }
        return Err(CatalogError::Exists(ResourceRef::new(header.kind, taken.id)));
    }
    tx.insert::<ByName>(&key, &Pointer { id: header.id.clone() })?;
    Ok(())
}

fn free_name(tx: &mut WriteTx<'_>, record: &Record) -> Result<(), CatalogError> {
    let header = &record.header;
    if name_identifies(header.kind) {
        let key = (header.tenant.clone(), header.kind, header.name.clone());
        // Of records that share a name, which only open mode permits, one has the entry.
        if tx.get::<ByName>(&key)?.is_some_and(|taken| taken.id == header.id) {
            tx.delete::<ByName>(&key)?;
        }
    }
    Ok(())
}
