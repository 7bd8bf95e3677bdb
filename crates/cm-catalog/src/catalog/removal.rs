//! Deleting with everything that goes along: first the plan, then the act.

use std::collections::HashSet;

use cm_db::{KeyPrefix, ReadTx, WriteTx};
use cm_types::{PrincipalId, ResourceRef, TenantId};
use serde_json::{Map, Value};

use super::Catalog;
use crate::index::{fetch, remove};
use crate::kinds::is_history;
use crate::tables::{ByTarget, Placed};
use crate::trail::{Happening, append};
use crate::{CatalogError, Occasion, OnDelete};

/// Most referrers that [`CatalogError::StillReferenced`] names.
pub const REFERRERS_SHOWN_MAX: usize = 20;
/// Index rows read at a time.
const BATCH: usize = 256;

/// What a deletion comes to, computed before anything is touched.
struct Plan {
    /// Everything that goes, the root first, whatever goes along after what it goes along with.
    doomed: Vec<Placed>,
    /// Who stands against it.
    refusing: Vec<ResourceRef>,
}

impl Catalog {
    pub(super) fn remove_with_dependants(
        &self,
        tx: &mut WriteTx<'_>,
        actor: Option<&PrincipalId>,
        root: Placed,
        occasion: &Occasion,
    ) -> Result<Vec<ResourceRef>, CatalogError> {
        let tenant = root.record.header.tenant.clone();
        let root_name = root.record.resource();
        let Plan { doomed, refusing } = plan(tx, &tenant, root, self.limits.cascade_records_max)?;
        if !refusing.is_empty() {
            return Err(CatalogError::StillReferenced { by: refusing });
        }
        // History goes by thousands; it is counted in the root's event instead of having events each.
        let history = doomed[1..].iter().filter(|placed| is_history(placed.record.header.kind)).count();
        for (position, placed) in doomed.iter().enumerate() {
            remove(tx, placed)?;
            let mut facts = Map::new();
            if position == 0 {
                facts.insert("along".to_owned(), Value::from(doomed.len() - 1));
                facts.insert("history".to_owned(), Value::from(history));
            } else if is_history(placed.record.header.kind) {
                continue;
            } else {
                facts.insert("along_with".to_owned(), Value::from(root_name.to_string()));
            }
            append(&self.events, tx, actor, occasion, &placed.record, Happening::Deleted, facts)?;
        }
        Ok(doomed.iter().map(|placed| placed.record.resource()).collect())
    }
}

/// Follows references backwards, breadth first. A holder that would refuse is forgiven if it goes
/// along by another reference; hence refusals are judged when all is known.
fn plan(tx: &ReadTx<'_>, tenant: &TenantId, root: Placed, max: usize) -> Result<Plan, CatalogError> {
    let mut names = HashSet::from([root.record.resource()]);
    let mut doomed = vec![root];
    let mut refusing: Vec<ResourceRef> = Vec::new();
    let mut next = 0;
    while let Some(target) = doomed.get(next).map(|placed| placed.record.resource()) {
        next += 1;
        let prefix = KeyPrefix::new().part(tenant).part(&target);
        let mut after = None;
        loop {
            let batch = tx.prefix::<ByTarget>(&prefix, after.as_ref(), BATCH)?;
            let last = batch.len() < BATCH;
            after = batch.last().map(|(key, _)| key.clone());
            for ((_, _, kind, _), holder) in batch {
                let name = ResourceRef::new(kind, holder.id.as_str());
                match holder.on_delete {
                    // Bounded: past what is shown, only refusers that may yet be forgiven matter.
                    OnDelete::Restrict if refusing.len() <= max => refusing.push(name),
                    OnDelete::Restrict => return Err(CatalogError::TooManyCascades { max }),
                    OnDelete::Cascade if names.contains(&name) => {}
                    OnDelete::Cascade => {
                        if doomed.len() > max {
                            return Err(CatalogError::TooManyCascades { max });
                        }
                        let placed = fetch(tx, tenant, kind, &holder.id)?
                            .ok_or_else(|| CatalogError::NotFound(name.clone()))?;
                        names.insert(name);
                        doomed.push(placed);
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
    Ok(Plan { doomed, refusing })
}
