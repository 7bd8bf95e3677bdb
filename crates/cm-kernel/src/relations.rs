//! What records have to do with each other, as far as the actor may read it.

use cm_catalog::{Query, Record, guard};
use cm_policy::{Permit, Read};
use cm_types::{Cursor, Page, PageLimit, ResourceId, ResourceKind, ResourceRef, Timestamp};

use crate::records::{may_read, readable_where};
use crate::{Kernel, KernelError, OpContext};

/// Most records that are listed as parts of another.
pub const PARTS_MAX: usize = 1000;

/// A record that belongs to another, as it is listed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its id.
    pub id: ResourceId,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
}

impl From<&Record> for Part {
    fn from(record: &Record) -> Self {
        let header = &record.header;
        Self { id: header.id.clone(), name: header.name.clone(), created_at: header.created_at }
    }
}

impl Kernel {
    /// Of each of these resources the records of a kind that refer to it and that the actor may read, the first
    /// [`PARTS_MAX`] of them.
    pub async fn parts_of(
        &self,
        op: &OpContext,
        whole: Vec<ResourceRef>,
        kind: ResourceKind,
    ) -> Result<Vec<Vec<Part>>, KernelError> {
        let (catalog, op, tenant) = (self.catalog().clone(), op.clone(), op.tenant());
        self.db()
            .read(move |tx| {
                let mut parts = Vec::with_capacity(whole.len());
                for of in whole {
                    let limit = PageLimit::clamped(PARTS_MAX);
                    let query = Query { referencing: Some(of), limit, ..Query::of(kind) };
                    let page = readable_where(
                        &op,
                        |record| guard::guard_of(tx, record),
                        |visible| catalog.list_where(tx, &tenant, &query, visible),
                    )?;
                    parts.push(page.items.iter().map(Part::from).collect());
                }
                Ok(parts)
            })
            .await
    }

    /// Each of these records, if it exists and the actor may read it, all of one moment. Nothing is refused: what may
    /// not be read is absent.
    pub async fn readable(
        &self,
        op: &OpContext,
        resources: Vec<ResourceRef>,
    ) -> Result<Vec<Option<Record>>, KernelError> {
        let (catalog, op, tenant) = (self.catalog().clone(), op.clone(), op.tenant());
        self.db()
            .read(move |tx| {
                let mut found = Vec::with_capacity(resources.len());
                for resource in resources {
                    let record = match ResourceId::parse(resource.id.as_str()) {
                        Ok(id) => catalog.get(tx, &tenant, resource.kind, &id)?,
                        Err(_) => None,
                    };
                    found.push(match record {
                        Some(record) => {
                            let guard = guard::guard_of(tx, &record)?;
                            may_read(&op, &record, guard.as_ref()).then_some(record)
                        }
                        None => None,
                    });
                }
                Ok(found)
            })
            .await
    }

    /// The first records of a kind that refer to a resource and that the actor may read.
    pub async fn readable_referrers(
        &self,
        op: &OpContext,
        of: ResourceRef,
        kind: ResourceKind,
        limit: PageLimit,
    ) -> Result<Vec<Record>, KernelError> {
        let (catalog, op, tenant) = (self.catalog().clone(), op.clone(), op.tenant());
        self.db()
            .read(move |tx| {
                let query = Query { referencing: Some(of), limit, ..Query::of(kind) };
                let page = readable_where(
                    &op,
                    |record| guard::guard_of(tx, record),
                    |visible| catalog.list_where(tx, &tenant, &query, visible),
                )?;
                Ok(page.items)
            })
            .await
    }

    /// One page of what refers to the record that the permit is for, kind by kind.
    pub async fn referrers(
        &self,
        op: &OpContext,
        permit: &Permit<Read>,
        after: Option<Cursor>,
        limit: PageLimit,
    ) -> Result<Page<ResourceRef>, KernelError> {
        let Some(target) = permit.resource() else { return Ok(Page { items: Vec::new(), next: None }) };
        let (catalog, op, tenant) = (self.catalog().clone(), op.clone(), permit.tenant().clone());
        self.db()
            .read(move |tx| {
                Ok(readable_where(
                    &op,
                    |record| guard::guard_of(tx, record),
                    |visible| catalog.referrers(tx, &tenant, &target, after.as_ref(), limit, visible),
                )?)
            })
            .await
    }
}
