//! Services with all that belongs to them, as one tree.
//!
//! A page of the tree is one snapshot. Each level costs one range of the index by what records refer to, plus the
//! records themselves; the security policy in force is handed down instead of being sought for every record anew.

use std::cell::Cell;
use std::collections::HashMap;

use cm_catalog::{Catalog, CatalogError, Query, Record, guard};
use cm_db::ReadTx;
use cm_policy::{Guard, List, Permit};
use cm_types::{Cursor, Page, PageLimit, ResourceKind, TenantId};

use crate::records::may_read;
use crate::relations::Part;
use crate::{Kernel, KernelError, OpContext};

/// Most records of one page of the tree. A page ends before the service that would go beyond, unless that is its first.
pub const HIERARCHY_RECORDS_MAX: usize = 10_000;
/// Most ranges of services that one page of the tree goes through in search of some that the actor may read.
const RANGES_MAX: usize = 16;

/// Most records that one page of the tree looks at, those included that the actor may not read.
const SCANNED_MAX: usize = 100_000;

/// Records read at a time, before what is long in them is dropped.
const AT_A_TIME: usize = 100;

/// A service with what belongs to it.
#[derive(Clone, Debug)]
pub struct ServiceTree {
    /// The service.
    pub service: Record,
    /// Its microservices.
    pub microservices: Vec<MicroserviceTree>,
    /// Whether more belongs to it than one page of the tree may have, and the rest is left out.
    pub truncated: bool,
}

/// A microservice with what belongs to it.
#[derive(Clone, Debug)]
pub struct MicroserviceTree {
    /// The microservice.
    pub microservice: Record,
    /// Its active objects.
    pub active_objects: Vec<ActiveObjectTree>,
    /// Its functions that are no methods of these.
    pub functions: Vec<Part>,
}

/// An active object with its methods.
#[derive(Clone, Debug)]
pub struct ActiveObjectTree {
    /// The object, without its code.
    pub object: Record,
    /// Its methods.
    pub functions: Vec<Part>,
}

impl Kernel {
    /// One page of the tree of services, in the order of their creation. Everything in it may be read by the actor; what
    /// belongs to something that it may not read is left out.
    ///
    /// # Errors
    /// A cursor of something else.
    pub async fn hierarchy(
        &self,
        op: &OpContext,
        permit: &Permit<List>,
        after: Option<Cursor>,
        services_max: Option<PageLimit>,
    ) -> Result<Page<ServiceTree>, KernelError> {
        self.hierarchy_within(op, permit, after, services_max, HIERARCHY_RECORDS_MAX).await
    }

    pub(crate) async fn hierarchy_within(
        &self,
        op: &OpContext,
        permit: &Permit<List>,
        after: Option<Cursor>,
        services_max: Option<PageLimit>,
        records_max: usize,
    ) -> Result<Page<ServiceTree>, KernelError> {
        let (catalog, tenant, op) = (self.catalog().clone(), permit.tenant().clone(), op.clone());
        self.db()
            .read(move |tx| {
                let (tenant, op, scanned) = (&tenant, &op, Cell::new(0));
                let walk = Walk { tx, catalog: &catalog, tenant, op, scanned };
                Ok(walk.page(after, services_max, records_max)?)
            })
            .await
    }
}

/// What every step down needs.
struct Walk<'a, 'tx> {
    tx: &'a ReadTx<'tx>,
    catalog: &'a Catalog,
    tenant: &'a TenantId,
    op: &'a OpContext,
    /// Records looked at so far.
    scanned: Cell<usize>,
}

/// A record that the actor may read, with the security policy in force on it.
type Seen = (Record, Option<Guard>);

impl Walk<'_, '_> {
    fn page(
        &self,
        mut after: Option<Cursor>,
        services_max: Option<PageLimit>,
        records_max: usize,
    ) -> Result<Page<ServiceTree>, CatalogError> {
        let limit = services_max.unwrap_or(PageLimit::MAX);
        let (mut items, mut room) = (Vec::new(), records_max);
        for _ in 0..RANGES_MAX {
            let query = Query { after: after.clone(), limit, ..Query::of(ResourceKind::Service) };
            let (services, next) = self.services(&query)?;
            for (at, (service, guard)) in services.into_iter().enumerate() {
                let (tree, left) = self.service(service, guard.as_ref(), room)?;
                if tree.truncated && !items.is_empty() {
                    return Ok(Page { items, next: self.cursor_before(&query, at)? });
                }
                room = left;
                items.push(tree);
            }
            after = next;
            if after.is_none() || services_max.is_some() || self.has_scanned_enough() {
                break;
            }
        }
        Ok(Page { items, next: after })
    }

    fn services(&self, query: &Query) -> Result<(Vec<Seen>, Option<Cursor>), CatalogError> {
        let mut guards = Vec::new();
        let page = self.list(query, &mut guards, |record| guard::guard_of(self.tx, record))?;
        Ok((page.items.into_iter().zip(guards).collect(), page.next))
    }

    /// Where the page begins whose first service is the one at this place of the query's page; the place is not the
    /// first one.
    fn cursor_before(&self, query: &Query, at: usize) -> Result<Option<Cursor>, CatalogError> {
        if at == 0 {
            return Ok(query.after.clone());
        }
        let query = Query { limit: PageLimit::clamped(at), ..query.clone() };
        Ok(self.services(&query)?.1)
    }

    /// The service with at most so many records, itself included, and for how many there is room then.
    fn service(
        &self,
        service: Record,
        guard: Option<&Guard>,
        room: usize,
    ) -> Result<(ServiceTree, usize), CatalogError> {
        let mut budget = Budget { left: room, exceeded: false };
        budget.take();
        let mut microservices = Vec::new();
        for (microservice, guard) in self.beneath(&service, guard, ResourceKind::Microservice, &mut budget)? {
            microservices.push(self.microservice(microservice, guard.as_ref(), &mut budget)?);
        }
        let truncated = budget.exceeded;
        Ok((ServiceTree { service, microservices, truncated }, budget.left))
    }

    fn microservice(
        &self,
        microservice: Record,
        guard: Option<&Guard>,
        budget: &mut Budget,
    ) -> Result<MicroserviceTree, CatalogError> {
        let objects = self.beneath(&microservice, guard, ResourceKind::ActiveObject, budget)?;
        let mut active_objects: Vec<ActiveObjectTree> = objects
            .into_iter()
            .map(|(object, _)| ActiveObjectTree { object, functions: Vec::new() })
            .collect();
        let places: HashMap<String, usize> = active_objects
            .iter()
            .enumerate()
            .map(|(at, tree)| (tree.object.header.id.to_string(), at))
            .collect();
        let mut functions = Vec::new();
        for (function, _) in self.beneath(&microservice, guard, ResourceKind::Function, budget)? {
            let object = function.spec.get("active_object_id").and_then(|id| id.as_str());
            match object.and_then(|id| places.get(id)) {
                Some(at) => active_objects[*at].functions.push(Part::from(&function)),
                None => functions.push(Part::from(&function)),
            }
        }
        Ok(MicroserviceTree { microservice, active_objects, functions })
    }

    /// What of a kind belongs to the record and may be read, in the order of creation, while there is room.
    fn beneath(
        &self,
        whole: &Record,
        guard: Option<&Guard>,
        kind: ResourceKind,
        budget: &mut Budget,
    ) -> Result<Vec<Seen>, CatalogError> {
        let (mut found, mut after): (Vec<Seen>, _) = (Vec::new(), None);
        loop {
            // One more than there is room for, to know whether there is one.
            let limit = PageLimit::clamped((budget.left + 1).min(AT_A_TIME));
            let query = Query { referencing: Some(whole.resource()), limit, after, ..Query::of(kind) };
            let mut guards = Vec::new();
            let page =
                self.list(&query, &mut guards, |record| guard::guard_beneath(self.tx, record, guard))?;
            for seen in page.items.into_iter().map(lean).zip(guards) {
                if !budget.take() {
                    return Ok(found);
                }
                found.push(seen);
            }
            after = page.next;
            if after.is_some() && self.has_scanned_enough() {
                budget.exceeded = true;
            }
            if after.is_none() || budget.exceeded {
                return Ok(found);
            }
        }
    }

    fn has_scanned_enough(&self) -> bool {
        self.scanned.get() >= SCANNED_MAX
    }

    /// One page of what may be read, with the guard of each.
    fn list(
        &self,
        query: &Query,
        guards: &mut Vec<Option<Guard>>,
        guard_of: impl Fn(&Record) -> Result<Option<Guard>, CatalogError>,
    ) -> Result<Page<Record>, CatalogError> {
        let mut failed = None;
        let page = self.catalog.list_where(self.tx, self.tenant, query, |record| {
            self.scanned.set(self.scanned.get() + 1);
            match guard_of(record) {
                Ok(guard) => {
                    let seen = may_read(self.op, record, guard.as_ref());
                    if seen {
                        guards.push(guard);
                    }
                    seen
                }
                Err(error) => {
                    failed.get_or_insert(error);
                    false
                }
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None => Ok(page),
        }
    }
}

/// How many records there is room for.
struct Budget {
    left: usize,
    exceeded: bool,
}

impl Budget {
    fn take(&mut self) -> bool {
        self.exceeded |= self.left == 0;
        self.left = self.left.saturating_sub(1);
        !self.exceeded
    }
}

/// The record without what is long and not shown in the tree.
fn lean(mut record: Record) -> Record {
    if let Some(spec) = record.spec.as_object_mut() {
        spec.remove("axo_code");
        spec.remove("confidential");
    }
    record
}
