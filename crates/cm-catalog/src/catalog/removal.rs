//! Deleting with everything that goes along: first the plan, then the act.

use std::collections::HashSet;

use cm_db::{KeyPrefix, ReadTx, WriteTx};
use cm_policy::{Delete, Permit};
use cm_types::{Generation, PrincipalId, ResourceId, ResourceKind, ResourceRef, TenantId};
use serde_json::{Map, Value};

use super::{Catalog, check_generation, fetch_permitted, methods, refuse_built_in};
use crate::guard::guard_of;
use crate::index::{fetch, remove};
use crate::kinds::is_history;
use crate::tables::{ByTarget, Placed, Records};
use crate::trail::{Happening, append};
use crate::{CatalogError, Dependents, Occasion, OnDelete};

/// Most referrers that [`CatalogError::StillReferenced`] names.
pub const REFERRERS_SHOWN_MAX: usize = 20;
/// The fact of a deletion event that says that a security policy was in force on the record.
pub const GUARDED: &str = "guarded";
/// Index rows read at a time.
const BATCH: usize = 256;
/// Most states and results that [`Catalog::remove_history`] looks at in one transaction.
const HISTORY_BATCH: usize = 4096;

/// What a deletion would come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// What would go, the root first.
    pub goes: Vec<ResourceRef>,
    /// What stands against it; at most [`REFERRERS_SHOWN_MAX`].
    pub refusing: Vec<ResourceRef>,
    /// What would stay with a reference that leads nowhere; at most [`REFERRERS_SHOWN_MAX`].
    pub orphaned: Vec<ResourceRef>,
}

/// What a deletion comes to, computed before anything is touched.
struct Plan {
    /// Everything that goes, the root first, whatever goes along after what it goes along with. Names, not records: there
    /// may be thousands of them, of a megabyte each.
    doomed: Vec<(ResourceKind, ResourceId)>,
    /// Who stands against it.
    refusing: Vec<ResourceRef>,
    /// Who stays without what it refers to.
    orphaned: Vec<ResourceRef>,
}

impl Catalog {
    /// What deleting the record would come to, without doing it.
    ///
    /// # Errors
    ///
    /// [`CatalogError::NotFound`], [`CatalogError::TooManyCascades`], [`CatalogError::BuiltIn`].
    pub fn plan_deletion(
        &self,
        tx: &ReadTx<'_>,
        permit: &Permit<Delete>,
        id: &ResourceId,
        dependents: Dependents,
    ) -> Result<Deletion, CatalogError> {
        let root = fetch_permitted(tx, permit, id)?;
        refuse_built_in(&root.record)?;
        let object = methods::object_of(&root.record);
        let Plan { doomed, mut refusing, orphaned } =
            plan(tx, permit.tenant(), &root, dependents, self.limits.cascade_records_max)?;
        refusing.extend(object);
        let goes = doomed.iter().map(|(kind, id)| ResourceRef::new(*kind, id.as_str())).collect();
        Ok(Deletion { goes, refusing, orphaned })
    }

    /// Removes some of the states and results that would go along with a deletion: the way to delete what has
    /// more of them than one transaction may remove. Call it, in a transaction each, for as long as it returns
    /// more than zero, and delete then. Whoever stops in between has kept the record with a shorter history.
    ///
    /// Only the history of the record itself counts. Of what goes along with it, such as a service's functions,
    /// each is deleted on its own if it has too much.
    ///
    /// # Errors
    ///
    /// As [`Catalog::delete`]: nothing is removed of what could not be deleted at the end.
    pub fn remove_history(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Delete>,
        id: &ResourceId,
        expected: Option<Generation>,
        dependents: Dependents,
        occasion: &Occasion,
    ) -> Result<usize, CatalogError> {
        let root = fetch_permitted(tx, permit, id)?;
        check_generation(&root.record, expected)?;
        refuse_built_in(&root.record)?;
        methods::refuse_method(&root.record)?;
        let tenant = permit.tenant();
        let (name, history) =
            (root.record.resource(), ResourceKind::ALL.iter().filter(|kind| is_history(**kind)));
        refuse_direct_holders(tx, tenant, &name, dependents)?;
        let (mut looked_at, mut removed) = (0, 0);
        for kind in history {
            let prefix = KeyPrefix::new().part(tenant).part(&name).part(kind);
            let rows = tx.prefix::<ByTarget>(&prefix, None, HISTORY_BATCH - looked_at)?;
            looked_at += rows.len();
            for (_, holder) in rows {
                // Gone already if it went along with an earlier one, as a result does with its state.
                let Some(placed) = fetch(tx, tenant, *kind, &holder.id)? else { continue };
                let Plan { doomed, refusing, .. } =
                    plan(tx, tenant, &placed, dependents, self.limits.cascade_records_max)?;
                if !refusing.is_empty() {
                    return Err(CatalogError::StillReferenced { by: refusing });
                }
                for (kind, id) in &doomed {
                    remove(tx, &planned(tx, tenant, *kind, id)?)?;
                }
                removed += doomed.len();
            }
        }
        if removed > 0 {
            let facts = Map::from_iter([("history".to_owned(), Value::from(removed))]);
            let (actor, happening) = (permit.principal(), Happening::HistoryRemoved);
            append(&self.events, tx, actor, occasion, &root.record, happening, facts)?;
        }
        Ok(removed)
    }

    /// Removes at most `limit` records of a tenant that goes, whatever refers to them; how many went. Call it, in a transaction each, for
    /// as long as it removes `limit`. The caller has made sure that nothing is made in the tenant any more.
    pub fn forget_tenant(
        &self,
        tx: &mut WriteTx<'_>,
        tenant: &TenantId,
        limit: usize,
        occasion: &Occasion,
    ) -> Result<usize, CatalogError> {
        let node = PrincipalId::node();
        let found = tx.prefix::<Records>(KeyPrefix::new().part(tenant), None, limit)?;
        let removed = found.len();
        for (key, stored) in found {
            let placed = Placed::from_stored(key, stored);
            remove(tx, &placed)?;
            if !is_history(placed.record.header.kind) {
                let (actor, happening) = (Some(&node), Happening::Deleted);
                append(&self.events, tx, actor, occasion, &placed.record, happening, Map::new())?;
            }
        }
        Ok(removed)
    }

    pub(super) fn remove_with_dependents(
        &self,
        tx: &mut WriteTx<'_>,
        actor: Option<&PrincipalId>,
        root: Placed,
        dependents: Dependents,
        occasion: &Occasion,
    ) -> Result<Vec<ResourceRef>, CatalogError> {
        let tenant = root.record.header.tenant.clone();
        let root_name = root.record.resource();
        let Plan { doomed, refusing, .. } =
            plan(tx, &tenant, &root, dependents, self.limits.cascade_records_max)?;
        if !refusing.is_empty() {
            return Err(CatalogError::StillReferenced { by: refusing });
        }
        // History goes by thousands; it is counted in the root's event instead of having events each.
        let history = doomed[1..].iter().filter(|(kind, _)| is_history(*kind)).count();
        for (position, (kind, id)) in doomed.iter().enumerate() {
            let placed = planned(tx, &tenant, *kind, id)?;
            // Nobody can be judged by a policy once its record is gone; that there was one is known then.
            let is_history = is_history(placed.record.header.kind);
            let guarded = !is_history && guard_of(tx, &placed.record)?.is_some();
            remove(tx, &placed)?;
            let mut facts = Map::new();
            if guarded {
                facts.insert(GUARDED.to_owned(), Value::from(true));
            }
            if position == 0 {
                facts.insert("along".to_owned(), Value::from(doomed.len() - 1));
                facts.insert("history".to_owned(), Value::from(history));
            } else if is_history {
                continue;
            } else {
                facts.insert("along_with".to_owned(), Value::from(root_name.to_string()));
            }
            append(&self.events, tx, actor, occasion, &placed.record, Happening::Deleted, facts)?;
        }
        Ok(doomed.iter().map(|(kind, id)| ResourceRef::new(*kind, id.as_str())).collect())
    }
}

/// Whether something other than history refers to the target and does not go along with it.
fn refuse_direct_holders(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    target: &ResourceRef,
    dependents: Dependents,
) -> Result<(), CatalogError> {
    let mut refusing = Vec::new();
    for kind in ResourceKind::ALL.iter().filter(|kind| !is_history(**kind)) {
        let prefix = KeyPrefix::new().part(tenant).part(target).part(kind);
        let rows = tx.prefix::<ByTarget>(&prefix, None, REFERRERS_SHOWN_MAX)?;
        let rows = rows.into_iter().filter(|(_, holder)| fate(holder.on_delete, dependents) == Fate::Refuses);
        refusing.extend(rows.map(|(_, holder)| ResourceRef::new(*kind, holder.id.as_str())));
    }
    refusing.truncate(REFERRERS_SHOWN_MAX);
    if refusing.is_empty() { Ok(()) } else { Err(CatalogError::StillReferenced { by: refusing }) }
}

/// What becomes of the holder of a reference to what is deleted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Refuses,
    GoesAlong,
    Stays,
}

fn fate(on_delete: OnDelete, dependents: Dependents) -> Fate {
    match (on_delete, dependents) {
        (OnDelete::Cascade, _) | (OnDelete::Part, Dependents::Cascade) => Fate::GoesAlong,
        (OnDelete::Restrict | OnDelete::Part, Dependents::Orphan) => Fate::Stays,
        (OnDelete::Part, Dependents::Refuse) => Fate::Refuses,
        (OnDelete::Restrict, Dependents::Refuse | Dependents::Cascade) => Fate::Refuses,
    }
}

/// A record that was planned to go in the same transaction.
fn planned(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    kind: ResourceKind,
    id: &ResourceId,
) -> Result<Placed, CatalogError> {
    let gone = || CatalogError::NotFound(ResourceRef::new(kind, id.as_str()));
    fetch(tx, tenant, kind, id)?.ok_or_else(gone)
}

/// Follows references backwards, breadth first. A holder that would refuse is forgiven if it goes
/// along by another reference; hence refusals are judged when all is known.
fn plan(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    root: &Placed,
    dependents: Dependents,
    max: usize,
) -> Result<Plan, CatalogError> {
    let mut names = HashSet::from([root.record.resource()]);
    let mut doomed = vec![(root.record.header.kind, root.record.header.id.clone())];
    let mut refusing: Vec<ResourceRef> = Vec::new();
    let mut orphaned: Vec<ResourceRef> = Vec::new();
    let mut next = 0;
    while let Some(target) = doomed.get(next).map(|(kind, id)| ResourceRef::new(*kind, id.as_str())) {
        next += 1;
        let prefix = KeyPrefix::new().part(tenant).part(&target);
        let mut after = None;
        loop {
            let batch = tx.prefix::<ByTarget>(&prefix, after.as_ref(), BATCH)?;
            let last = batch.len() < BATCH;
            after = batch.last().map(|(key, _)| key.clone());
            for ((_, _, kind, _), holder) in batch {
                let name = ResourceRef::new(kind, holder.id.as_str());
                match fate(holder.on_delete, dependents) {
                    // Bounded: past what is shown, only refusers that may yet be forgiven matter.
                    Fate::Refuses if refusing.len() <= max => refusing.push(name),
                    Fate::Refuses => return Err(CatalogError::TooManyCascades { max }),
                    Fate::Stays if orphaned.len() < REFERRERS_SHOWN_MAX => orphaned.push(name),
                    Fate::Stays => {}
                    Fate::GoesAlong if names.contains(&name) => {}
                    Fate::GoesAlong => {
                        if doomed.len() > max {
                            return Err(CatalogError::TooManyCascades { max });
                        }
                        names.insert(name);
                        doomed.push((kind, holder.id));
                    }
                }
            }
            if last {
                break;
            }
        }
    }
    refusing.retain(|name| !names.contains(name));
    refusing.truncate(REFERRERS_SHOWN_MAX);
    orphaned.retain(|name| !names.contains(name));
    Ok(Plan { doomed, refusing, orphaned })
}
