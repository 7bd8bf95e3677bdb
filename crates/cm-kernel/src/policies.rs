//! The permission policies in force: read with who asks, compiled once for each change of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cm_catalog::kinds::PermissionPolicy;
use cm_catalog::{Catalog, CatalogError, Query, Record};
use cm_db::ReadTx;
use cm_policy::RoleFacts;
use cm_policy::pdl::{Compiled, Document};
use cm_types::{Generation, PageLimit, ResourceId, ResourceKind, TenantId};

use crate::{Kernel, KernelError, OpContext};

/// Most permission policies of a tenant each request of somebody who was not recognised reads them.
const POLICIES_MAX: usize = 256;
/// Most entries that all policies of a tenant, also those that are not enforced, take in the index that is made of them.
const ENTRIES_MAX: usize = 400_000;
/// Most tenants of which compiled policies are kept; beyond it, all are forgotten.
const TENANTS_MAX: usize = 1024;

/// The permission policies in force in a tenant, at a moment.
#[derive(Clone, Debug, Default)]
pub struct Policies(Option<Arc<Compiled>>);

impl Policies {
    /// None: for what the node does itself, and for callers of a node in open mode.
    pub fn none() -> Self {
        Self(None)
    }

    /// Whether they are the very same, so that a decision by either comes out alike.
    pub fn are_same(&self, other: &Policies) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }

    /// What they say; `None` if there are none.
    pub fn compiled(&self) -> Option<&Compiled> {
        self.0.as_deref().filter(|compiled| !compiled.is_empty())
    }
}

/// Which policies, and which generations of them.
type Fingerprint = Vec<(ResourceId, Generation)>;

type Compilations = HashMap<TenantId, (Fingerprint, Arc<Compiled>)>;

/// Compiled policies of tenants, each for the generations that it was made of. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyBook(Arc<Mutex<Compilations>>);

impl PolicyBook {
    /// The policies in force in a tenant, as the transaction sees them.
    pub(crate) fn in_force(
        &self,
        tx: &ReadTx<'_>,
        catalog: &Catalog,
        tenant: &TenantId,
    ) -> Result<Policies, CatalogError> {
        let records = all(tx, catalog, tenant)?;
        if records.is_empty() {
            return Ok(Policies::none());
        }
        let fingerprint: Fingerprint =
            records.iter().map(|record| (record.header.id.clone(), record.header.generation)).collect();
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, compiled)) = book.get(tenant)
            && *known == fingerprint
        {
            return Ok(Policies(Some(compiled.clone())));
        }
        drop(book);
        let mut documents: Vec<(String, Document)> = Vec::with_capacity(records.len());
        for record in &records {
            let policy: PermissionPolicy = record.spec_as()?;
            if policy.enforced {
                documents.push((record.header.id.to_string(), readable(&policy, record)));
            }
        }
        let named: Vec<(&str, &Document)> =
            documents.iter().map(|(name, document)| (name.as_str(), document)).collect();
        let compiled = Arc::new(Compiled::new(&named));
        book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if book.len() >= TENANTS_MAX {
            book.clear();
        }
        book.insert(tenant.clone(), (fingerprint, compiled.clone()));
        Ok(Policies(Some(compiled)))
    }
}

/// The document; one that cannot be read any more must not fall open: it denies everything, to everybody, and administrators
/// can still change it.
fn readable(policy: &PermissionPolicy, record: &Record) -> Document {
    policy.document().unwrap_or_else(|errors| {
        tracing::error!(policy = %record.header.id, error = &errors as &dyn std::error::Error, "permission policy is unreadable and denies everything");
        cm_policy::pdl::parse("pdl 1 deny anyone to do anything on anything").expect("the constant is a document")
    })
}

fn all(tx: &ReadTx<'_>, catalog: &Catalog, tenant: &TenantId) -> Result<Vec<Record>, CatalogError> {
    let mut query = Query { limit: PageLimit::MAX, ..Query::of(ResourceKind::PermissionPolicy) };
    let mut records = Vec::new();
    loop {
        let page = catalog.list(tx, tenant, &query)?;
        records.extend(page.items);
        query.after = page.next;
        if query.after.is_none() {
            return Ok(records);
        }
    }
}

/// Whether the actor may write permission policies at all: they say what everybody may do, hence it takes an administrator,
/// whatever roles and policies permit.
pub(crate) fn demand_administrator(op: &OpContext) -> Result<(), KernelError> {
    match op.subject().roles.iter().any(RoleFacts::is_administrator) {
        true => Ok(()),
        false => Err(KernelError::OnlyAdministrators),
    }
}

/// Refuses one policy too many, and more statements than may be compiled.
pub(crate) fn demand_room(tx: &ReadTx<'_>, catalog: &Catalog, tenant: &TenantId) -> Result<(), KernelError> {
    let records = all(tx, catalog, tenant)?;
    if records.len() > POLICIES_MAX {
        return Err(KernelError::TooManyPolicies { max: POLICIES_MAX });
    }
    let mut entries = 0;
    for record in &records {
        let policy: PermissionPolicy = record.spec_as()?;
        entries += policy.document().map_or(0, |document| document.entries());
        if entries > ENTRIES_MAX {
            return Err(KernelError::PoliciesTooLong { max: ENTRIES_MAX });
        }
    }
    Ok(())
}

impl Kernel {
    /// The permission policies in force in a tenant, for callers who did not say who they are: whoever did has them already.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn policies_of(&self, tenant: &TenantId) -> Result<Policies, KernelError> {
        let (book, catalog, tenant) = (self.policy_book().clone(), self.catalog().clone(), tenant.clone());
        self.db().look_up(move |tx| Ok(book.in_force(tx, &catalog, &tenant)?)).await
    }
}
