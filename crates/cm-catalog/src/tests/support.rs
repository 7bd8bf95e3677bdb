//! A catalogue over each engine, and short words for what tests do with it.

use std::sync::Arc;

use cm_crypto::sign::SigningKey;
use cm_db::{Db, DbError, Direction, KeyRange, ReadTx, Schema, open_memory, open_sqlite};
use cm_events::EventLog;
use cm_policy::{ActionKind, Create, Delete, Permit, RoleFacts, Subject, Target, Update, decide};
use cm_runtime::ManualClock;
use cm_types::{
    Generation, Labels, Page, PrincipalId, ResourceId, ResourceKind, ResourceRef, TenantId, Timestamp,
};
use serde_json::Value;

use crate::index::{by_owner, holders, name_identifies};
use crate::tables::{ByCreation, ByName, ByOwner, ByTarget, Placed, Records};
use crate::{
    Catalog, CatalogError, Change, Dependents, Integrity, Limits, NewRecord, Occasion, Query, Record,
};

/// More than any test stores.
const ALL: usize = 100_000;

#[derive(Clone)]
pub(super) struct Fixture {
    pub(super) db: Db,
    events: EventLog,
    pub(super) catalog: Catalog,
    pub(super) tenant: TenantId,
    _directory: Option<Arc<tempfile::TempDir>>,
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Runs the test against the memory engine and against SQLite.
pub(super) fn on_both_engines(test: impl AsyncFn(Fixture)) {
    block_on(async {
        test(Fixture::in_memory().await).await;
        test(Fixture::on_disk().await).await;
    });
}

pub(super) fn id(text: &str) -> ResourceId {
    ResourceId::parse(text).unwrap()
}

pub(super) fn named(kind: ResourceKind, id: &str) -> ResourceRef {
    ResourceRef::new(kind, id)
}

pub(super) fn new(kind: ResourceKind, text: &str, spec: Value) -> NewRecord {
    NewRecord {
        kind,
        id: Some(id(text)),
        name: text.to_owned(),
        owner: None,
        labels: Labels::new(),
        spec,
        status: Value::Null,
    }
}

pub(super) fn occasion(seconds: i64) -> Occasion {
    Occasion { at: Timestamp::from_micros(seconds * 1_000_000), request: None }
}

fn schema() -> Schema {
    Schema::new(1).with_tables(crate::TABLES).with_tables(cm_events::TABLES)
}

impl Fixture {
    pub(super) async fn in_memory() -> Self {
        Self::over(open_memory(&schema()), None).await
    }

    async fn on_disk() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let db = open_sqlite(&directory.path().join("db"), &schema()).unwrap();
        Self::over(db, Some(Arc::new(directory))).await
    }

    async fn over(db: Db, directory: Option<Arc<tempfile::TempDir>>) -> Self {
        let clock = Arc::new(ManualClock::new());
        let events = EventLog::open(&db, clock, SigningKey::generate()).await.unwrap();
        let catalog = Catalog::new(events.clone(), Limits::default());
        Self { db, events, catalog, tenant: TenantId::default_tenant(), _directory: directory }
    }

    pub(super) fn with_limits(&self, limits: Limits) -> Self {
        Self { catalog: Catalog::new(self.events.clone(), limits), ..self.clone() }
    }

    pub(super) fn open(&self) -> Self {
        Self { catalog: self.catalog.clone().with_integrity(Integrity::Open), ..self.clone() }
    }

    pub(super) fn in_tenant(&self, tenant: &str) -> Self {
        Self { tenant: TenantId::parse(tenant).unwrap(), ..self.clone() }
    }

    pub(super) fn permit<A: ActionKind>(&self, kind: ResourceKind, id: Option<&str>) -> Permit<A> {
        let (home, principal) = (TenantId::default_tenant(), PrincipalId::admin());
        let roles = [RoleFacts::administrator()];
        let labels = Labels::new();
        let target = Target { kind, id, tenant: &self.tenant, owner: None, labels: &labels, guard: None };
        decide(&Subject::principal(&principal, &home, &roles), &target).unwrap()
    }

    pub(super) async fn create(&self, new: NewRecord) -> Result<Record, CatalogError> {
        let (catalog, permit) = (self.catalog.clone(), self.permit::<Create>(new.kind, None));
        self.db.write(move |tx| catalog.create(tx, &permit, new, &occasion(1))).await
    }

    pub(super) async fn make(&self, kind: ResourceKind, id: &str, spec: Value) -> Record {
        self.create(new(kind, id, spec)).await.unwrap()
    }

    pub(super) async fn update(
        &self,
        kind: ResourceKind,
        text: &str,
        change: Change,
    ) -> Result<Record, CatalogError> {
        let (catalog, permit, id) = (self.catalog.clone(), self.permit::<Update>(kind, Some(text)), id(text));
        self.db.write(move |tx| catalog.update(tx, &permit, &id, change, &occasion(2))).await
    }

    /// Deletes, and takes the parts along.
    pub(super) async fn delete(
        &self,
        kind: ResourceKind,
        text: &str,
        expected: Option<Generation>,
    ) -> Result<Vec<ResourceRef>, CatalogError> {
        self.delete_and(kind, text, expected, Dependents::Cascade).await
    }

    pub(super) async fn delete_and(
        &self,
        kind: ResourceKind,
        text: &str,
        expected: Option<Generation>,
        dependents: Dependents,
    ) -> Result<Vec<ResourceRef>, CatalogError> {
        let (catalog, permit, id) = (self.catalog.clone(), self.permit::<Delete>(kind, Some(text)), id(text));
        self.db.write(move |tx| catalog.delete(tx, &permit, &id, expected, dependents, &occasion(3))).await
    }

    pub(super) async fn get(&self, kind: ResourceKind, text: &str) -> Option<Record> {
        let (catalog, tenant, id) = (self.catalog.clone(), self.tenant.clone(), id(text));
        self.db.read(move |tx| catalog.get(tx, &tenant, kind, &id)).await.unwrap()
    }

    pub(super) async fn list(&self, query: &Query) -> Result<Page<Record>, CatalogError> {
        let (catalog, tenant, query) = (self.catalog.clone(), self.tenant.clone(), query.clone());
        self.db.read(move |tx| catalog.list(tx, &tenant, &query)).await
    }

    pub(super) async fn ids(&self, query: &Query) -> Vec<String> {
        let page = self.list(query).await.unwrap();
        page.items.iter().map(|record| record.header.id.to_string()).collect()
    }

    /// The number of the last event.
    pub(super) async fn events(&self) -> u64 {
        let log = self.events.clone();
        let head = self.db.read::<_, cm_events::EventError, _>(move |tx| log.signed_head(tx)).await.unwrap();
        head.map_or(0, |head| head.seq)
    }

    /// Asserts that every reference resolves and that the indexes say what a full scan says.
    pub(super) async fn check_invariants(&self) {
        let checked = self.db.read::<_, DbError, _>(|tx| {
            check_references(tx);
            check_indexes(tx);
            Ok(())
        });
        checked.await.unwrap();
    }

    /// As [`Fixture::check_invariants`], where references may lead nowhere.
    pub(super) async fn check_indexes(&self) {
        let checked = self.db.read::<_, DbError, _>(|tx| {
            check_indexes(tx);
            Ok(())
        });
        checked.await.unwrap();
    }
}

fn scan(tx: &ReadTx<'_>) -> Vec<Placed> {
    let rows = tx.range::<Records>(KeyRange::all(), Direction::Forward, ALL).unwrap();
    rows.into_iter().map(|(key, stored)| Placed::from_stored(key, stored)).collect()
}

fn check_references(tx: &ReadTx<'_>) {
    let records = scan(tx);
    for placed in &records {
        for reference in &placed.record.references {
            let tenant = &placed.record.header.tenant;
            let to = |p: &Placed| p.record.header.tenant == *tenant && p.record.resource() == reference.to;
            assert!(records.iter().any(to), "{} of {} dangles", reference.field, placed.record.resource());
        }
    }
}

fn check_indexes(tx: &ReadTx<'_>) {
    let records = scan(tx);
    let (mut by_creation, mut by_name, mut by_target) = (Vec::new(), Vec::new(), Vec::new());
    let mut owned = Vec::new();
    for placed in &records {
        let (tenant, kind, id) = placed.key();
        let typed =
            crate::kinds::check(kind, &placed.record.spec, &Limits::default(), &Default::default()).unwrap();
        assert_eq!((&typed.spec, &typed.references), (&*placed.record.spec, &placed.record.references));
        owned.push((by_owner(placed), id.clone()));
        by_creation.push(((tenant.clone(), kind, placed.place), id.clone()));
        if name_identifies(kind) {
            by_name.push(((tenant.clone(), kind, placed.record.header.name.clone()), id));
        }
        for (to, holder) in holders(&placed.record) {
            by_target.push(((tenant.clone(), to, kind, placed.place), holder));
        }
    }
    owned.sort_by(|a, b| a.0.cmp(&b.0));
    by_creation.sort_by(|a, b| a.0.cmp(&b.0));
    by_name.sort_by(|a, b| a.0.cmp(&b.0));
    let mut stored_by_creation: Vec<_> = tx
        .range::<ByCreation>(KeyRange::all(), Direction::Forward, ALL)
        .unwrap()
        .into_iter()
        .map(|(key, pointer)| (key, pointer.id))
        .collect();
    stored_by_creation.sort_by(|a, b| a.0.cmp(&b.0));
    let mut stored_owned: Vec<_> = tx
        .range::<ByOwner>(KeyRange::all(), Direction::Forward, ALL)
        .unwrap()
        .into_iter()
        .map(|(key, pointer)| (key, pointer.id))
        .collect();
    stored_owned.sort_by(|a, b| a.0.cmp(&b.0));
    let mut stored_by_name: Vec<_> = tx
        .range::<ByName>(KeyRange::all(), Direction::Forward, ALL)
        .unwrap()
        .into_iter()
        .map(|(key, pointer)| (key, pointer.id))
        .collect();
    stored_by_name.sort_by(|a, b| a.0.cmp(&b.0));
    let mut stored_by_target = tx.range::<ByTarget>(KeyRange::all(), Direction::Forward, ALL).unwrap();
    by_target.sort_by(|a, b| a.0.cmp(&b.0));
    stored_by_target.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(stored_by_creation, by_creation);
    assert_eq!(stored_owned, owned);
    assert_eq!(stored_by_name, by_name);
    assert_eq!(stored_by_target, by_target);
}
