//! Creating, reading, changing and removing records, within the caller's transaction.

mod history;
mod life;
mod methods;
mod referrers;
mod removal;

use cm_db::{KeyPrefix, ReadTx, WriteTx};
use cm_events::EventLog;
use cm_policy::{ADMIN_ROLE, ActionKind, Create, Delete, Permit, Update};
use cm_types::{BucketName, Generation, Page, PrincipalId, ResourceId, ResourceKind, ResourceRef, TenantId};
use serde_json::{Map, Value};

use crate::index::{fetch, insert, replace};
use crate::sources::Sources;
use crate::tables::{ByOwner, Placed};
use crate::trail::{Happening, append};
use crate::validation::Findings;
use crate::{
    CatalogError, Change, Dependents, Fault, FieldError, Header, Integrity, Limits, NewRecord, Occasion,
    Query, Record, kinds,
};

pub use removal::{Deletion, GUARDED, REFERRERS_SHOWN_MAX};

/// The catalogue's rules. The records themselves are in the transaction that every method is given.
#[derive(Clone)]
pub struct Catalog {
    events: EventLog,
    limits: Limits,
    integrity: Integrity,
    sources: Sources,
}

impl Catalog {
    /// A catalogue that leaves its trail in this log.
    pub fn new(events: EventLog, limits: Limits) -> Self {
        Self { events, limits, integrity: Integrity::Enforced, sources: Sources::default() }
    }

    /// The same catalogue, as strict as this.
    pub fn with_integrity(self, integrity: Integrity) -> Self {
        Self { integrity, ..self }
    }

    /// How strictly records are held together.
    pub fn integrity(&self) -> Integrity {
        self.integrity
    }

    /// The limits that new specs are held to.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Does beforehand what takes long in a transaction that writes this spec, which may be none at all. For a thread that
    /// has time.
    pub fn prepare(&self, kind: ResourceKind, spec: &Value) {
        let code = spec.get("axo_code").and_then(Value::as_str);
        if let (ResourceKind::ActiveObject, Some(code)) = (kind, code) {
            self.sources.prepare(code);
        }
    }

    /// A spec as it would be stored: checked, with its defaults filled in.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Invalid`], [`CatalogError::NotCatalogued`].
    pub fn completed(&self, kind: ResourceKind, spec: &Value) -> Result<Value, CatalogError> {
        Ok(self.check_spec(kind, spec)?.spec)
    }

    /// Creates a record. Its tenant, and its owner unless given, are those of the permit, which must be
    /// for the collection of the kind.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Invalid`], [`CatalogError::Exists`], [`CatalogError::DanglingReference`],
    /// [`CatalogError::NotCatalogued`], [`CatalogError::PermitMismatch`], and for a state that cannot follow the last
    /// one [`CatalogError::IllegalTransition`].
    pub fn create(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Create>,
        new: NewRecord,
        occasion: &Occasion,
    ) -> Result<Record, CatalogError> {
        let wanted = || ResourceRef::new(new.kind, new.id.as_ref().map_or("", ResourceId::as_str));
        let Some(owner) = new.owner.as_ref().or(permit.principal()) else {
            return Err(CatalogError::PermitMismatch { wanted: wanted() });
        };
        if !permit.covers_collection(permit.tenant(), new.kind) {
            return Err(CatalogError::PermitMismatch { wanted: wanted() });
        }
        let owner = owner.clone();
        life::check_next_state(tx, permit.tenant(), &new)?;
        methods::refuse_claimed_method(new.kind, &new.spec)?;
        self.add(tx, permit.tenant(), permit.principal(), owner, new, occasion)
    }

    /// The record.
    pub fn get(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        kind: ResourceKind,
        id: &ResourceId,
    ) -> Result<Option<Record>, CatalogError> {
        Ok(fetch(tx, tenant, kind, id)?.map(|placed| placed.record))
    }

    /// What a principal owns, states and results last; at most `limit`.
    pub fn owned_by(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        owner: &PrincipalId,
        limit: usize,
    ) -> Result<Vec<ResourceRef>, CatalogError> {
        let (history, declared): (Vec<ResourceKind>, Vec<ResourceKind>) =
            ResourceKind::ALL.iter().copied().partition(|kind| kinds::is_history(*kind));
        let mut owned = Vec::new();
        for kind in declared.into_iter().chain(history) {
            let prefix = KeyPrefix::new().part(tenant).part(owner).part(&kind);
            let rows = tx.prefix::<ByOwner>(&prefix, None, limit - owned.len())?;
            owned.extend(rows.into_iter().map(|(_, pointer)| ResourceRef::new(kind, pointer.id.as_str())));
        }
        Ok(owned)
    }

    /// One page of the records of a kind, in the order in which they were created. Records created
    /// between two pages come last and disturb neither.
    ///
    /// # Errors
    ///
    /// [`CatalogError::InvalidCursor`] if the cursor was not returned by the same query.
    pub fn list(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        query: &Query,
    ) -> Result<Page<Record>, CatalogError> {
        self.list_where(tx, tenant, query, |_| true)
    }

    /// As [`Catalog::list`], leaving out what the caller may not see, so that pages are full all the
    /// same.
    ///
    /// A page looks at a bounded number of records ([`crate::query::SCANNED_MAX`]) and may therefore
    /// be short, or even empty, and still have a next one.
    pub fn list_where(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        query: &Query,
        visible: impl FnMut(&Record) -> bool,
    ) -> Result<Page<Record>, CatalogError> {
        crate::query::run(tx, tenant, query, visible)
    }

    /// Changes name, labels, spec or status. Nothing is checked anew that does not change.
    ///
    /// # Errors
    ///
    /// [`CatalogError::NotFound`], [`CatalogError::Stale`], [`CatalogError::Invalid`],
    /// [`CatalogError::Exists`], [`CatalogError::DanglingReference`], [`CatalogError::AppendOnly`],
    /// [`CatalogError::IllegalTransition`], [`CatalogError::BuiltIn`].
    pub fn update(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Update>,
        id: &ResourceId,
        change: Change,
        occasion: &Occasion,
    ) -> Result<Record, CatalogError> {
        let old = self.fetch_for(tx, permit, id, change.expected)?;
        let mut new = old.clone();
        if let Some(name) = change.name {
            new.record.header.name = if name.is_empty() { id.to_string() } else { name };
            self.check_name(permit.kind(), &new.record.header.name, id)?;
        }
        if let Some(labels) = change.labels {
            new.record.header.labels = labels;
        }
        let mut methods = None;
        if let Some(spec) = change.spec {
            let checked = self.check_spec(permit.kind(), &spec.apply(&old.record.spec))?;
            (new.record.spec, new.record.references) = (checked.spec.into(), checked.references);
            methods = Some(checked.methods);
        }
        methods::check_method(&old.record, &new.record)?;
        if !change.status.is_empty() {
            let mut status = old.record.status.as_object().cloned().unwrap_or_default();
            status.extend(change.status);
            new.record.status = self.check_status(&old.record, Value::Object(status))?;
        }
        let changed = self.store(tx, permit.principal(), &old, new, Happening::Updated, occasion)?;
        if let (ResourceKind::ActiveObject, Some(methods)) = (permit.kind(), methods) {
            self.follow_code(tx, permit.principal(), &changed, &methods, occasion)?;
        }
        if permit.kind() == ResourceKind::ActiveObject {
            self.follow_labels(tx, permit.principal(), &old.record, &changed, occasion)?;
        }
        Ok(changed)
    }

    /// Records what the platform found. The status belongs to the platform; faces must not pass on what
    /// clients claim.
    ///
    /// # Errors
    ///
    /// [`CatalogError::NotFound`], [`CatalogError::Stale`], [`CatalogError::Invalid`] if the status is
    /// longer than a spec may be, [`CatalogError::IllegalTransition`], [`CatalogError::AppendOnly`],
    /// [`CatalogError::BuiltIn`].
    pub fn set_status(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Update>,
        id: &ResourceId,
        expected: Option<Generation>,
        status: Value,
        occasion: &Occasion,
    ) -> Result<Record, CatalogError> {
        let old = self.fetch_for(tx, permit, id, expected)?;
        let mut new = old.clone();
        new.record.status = self.check_status(&old.record, status)?;
        self.store(tx, permit.principal(), &old, new, Happening::StatusChanged, occasion)
    }

    /// Removes a record and everything that goes along; all of it or nothing. The permit is needed for the root only.
    /// Returns all that went, the root first.
    ///
    /// # Errors
    ///
    /// [`CatalogError::NotFound`], [`CatalogError::Stale`], [`CatalogError::StillReferenced`],
    /// [`CatalogError::TooManyCascades`], [`CatalogError::BuiltIn`].
    pub fn delete(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Delete>,
        id: &ResourceId,
        expected: Option<Generation>,
        dependents: Dependents,
        occasion: &Occasion,
    ) -> Result<Vec<ResourceRef>, CatalogError> {
        let root = fetch_permitted(tx, permit, id)?;
        check_generation(&root.record, expected)?;
        refuse_built_in(&root.record)?;
        methods::refuse_method(&root.record)?;
        self.remove_with_dependents(tx, permit.principal(), root, dependents, occasion)
    }

    fn add(
        &self,
        tx: &mut WriteTx<'_>,
        tenant: &TenantId,
        actor: Option<&PrincipalId>,
        owner: PrincipalId,
        new: NewRecord,
        occasion: &Occasion,
    ) -> Result<Record, CatalogError> {
        let NewRecord { kind, id, name, owner: _, labels, spec, status } = new;
        let checked = self.check_spec(kind, &spec)?;
        let id = match id {
            Some(id) => id,
            None if kind == ResourceKind::Bucket => bucket_id(&name)?,
            None => ResourceId::random(),
        };
        let name = match checked.default_name {
            Some(default) if name.is_empty() => default,
            None if name.is_empty() => id.to_string(),
            _ => name,
        };
        self.check_name(kind, &name, &id)?;
        let header = Header {
            kind,
            id,
            name,
            tenant: tenant.clone(),
            owner,
            labels,
            generation: Generation::FIRST,
            created_at: occasion.at,
            updated_at: occasion.at,
        };
        let record = Record { header, spec: checked.spec.into(), status, references: checked.references };
        let record = self.insert_new(tx, actor, record, occasion)?;
        if kind == ResourceKind::ActiveObject {
            self.follow_code(tx, actor, &record, &checked.methods, occasion)?;
        }
        Ok(record)
    }

    /// Writes a new record that was found good.
    fn insert_new(
        &self,
        tx: &mut WriteTx<'_>,
        actor: Option<&PrincipalId>,
        record: Record,
        occasion: &Occasion,
    ) -> Result<Record, CatalogError> {
        let placed = insert(tx, record, self.integrity)?;
        append(&self.events, tx, actor, occasion, &placed.record, Happening::Created, Map::new())?;
        Ok(placed.record)
    }

    /// The current version of a record that is about to change.
    fn fetch_for<A: ActionKind>(
        &self,
        tx: &WriteTx<'_>,
        permit: &Permit<A>,
        id: &ResourceId,
        expected: Option<Generation>,
    ) -> Result<Placed, CatalogError> {
        let placed = fetch_permitted(tx, permit, id)?;
        if kinds::is_history(permit.kind()) && self.integrity == Integrity::Enforced {
            return Err(CatalogError::AppendOnly(permit.kind()));
        }
        refuse_built_in(&placed.record)?;
        check_generation(&placed.record, expected)?;
        Ok(placed)
    }

    fn store(
        &self,
        tx: &mut WriteTx<'_>,
        actor: Option<&PrincipalId>,
        old: &Placed,
        mut new: Placed,
        happening: Happening,
        occasion: &Occasion,
    ) -> Result<Record, CatalogError> {
        new.record.header.generation = old.record.header.generation.next();
        new.record.header.updated_at = occasion.at;
        replace(tx, old, &new, self.integrity)?;
        append(&self.events, tx, actor, occasion, &new.record, happening, Map::new())?;
        Ok(new.record)
    }

    /// Decodes and validates a spec, by all that is held of specs here.
    fn check_spec(&self, kind: ResourceKind, spec: &Value) -> Result<kinds::Checked, CatalogError> {
        let checked = kinds::check(kind, spec, &self.limits, &self.sources)?;
        if kind == ResourceKind::Role && self.integrity == Integrity::Enforced {
            let role: kinds::Role = kinds::parse(&checked.spec).map_err(|error| vec![error])?;
            let unknown = role.unknown_permissions();
            if !unknown.is_empty() {
                return Err(CatalogError::Invalid(unknown));
            }
        }
        Ok(checked)
    }

    fn check_status(&self, record: &Record, status: Value) -> Result<Value, CatalogError> {
        if status.to_string().len() > self.limits.spec_bytes_max {
            let message = format!("is longer than {} bytes", self.limits.spec_bytes_max);
            let error = FieldError { path: "status".to_owned(), message, fault: Fault::Limit };
            return Err(CatalogError::Invalid(vec![error]));
        }
        life::check_step(record, &status)?;
        Ok(status)
    }

    fn check_name(&self, kind: ResourceKind, name: &str, id: &ResourceId) -> Result<(), CatalogError> {
        let mut findings = Findings::default();
        findings.name("name", name);
        let limit = self.limits.name_chars_max;
        if is_named_by_people(kind) && name != id.as_str() && name.chars().count() > limit {
            findings.beyond_limit("name", format!("is longer than {limit} characters"));
        }
        if kind == ResourceKind::Bucket {
            if name != id.as_str() {
                findings.add("name", "must be the bucket's id");
            }
            if let Err(error) = BucketName::parse(id.as_str()) {
                findings.add("id", error.to_string());
            }
        }
        Ok(findings.finish()?)
    }
}

/// The kinds whose names people choose, and read in tables.
fn is_named_by_people(kind: ResourceKind) -> bool {
    matches!(
        kind,
        ResourceKind::Role
            | ResourceKind::SecurityPolicy
            | ResourceKind::PermissionPolicy
            | ResourceKind::Service
            | ResourceKind::Microservice
            | ResourceKind::Function
            | ResourceKind::Endpoint
            | ResourceKind::ActiveObject
    )
}

fn fetch_permitted<A: ActionKind>(
    tx: &ReadTx<'_>,
    permit: &Permit<A>,
    id: &ResourceId,
) -> Result<Placed, CatalogError> {
    let wanted = ResourceRef::new(permit.kind(), id.as_str());
    if !permit.covers(permit.tenant(), permit.kind(), id.as_str()) {
        return Err(CatalogError::PermitMismatch { wanted });
    }
    fetch(tx, permit.tenant(), permit.kind(), id)?.ok_or(CatalogError::NotFound(wanted))
}

fn check_generation(record: &Record, expected: Option<Generation>) -> Result<(), CatalogError> {
    let found = record.header.generation;
    match expected {
        Some(expected) if expected != found => Err(CatalogError::Stale { expected, found }),
        _ => Ok(()),
    }
}

fn refuse_built_in(record: &Record) -> Result<(), CatalogError> {
    let header = &record.header;
    let built_in = header.kind == ResourceKind::Role
        && header.id.as_str() == ADMIN_ROLE
        && header.tenant == TenantId::default_tenant();
    if built_in { Err(CatalogError::BuiltIn(record.resource())) } else { Ok(()) }
}

fn bucket_id(name: &str) -> Result<ResourceId, CatalogError> {
    match BucketName::parse(name) {
        Ok(name) => Ok(name.into()),
        Err(error) => {
            let mut findings = Findings::default();
            findings.add("name", error.to_string());
            Err(findings.finish().expect_err("a finding was just added").into())
        }
    }
}
