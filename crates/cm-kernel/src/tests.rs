use std::sync::{Arc, Mutex};

use cm_catalog::{Change, Dependents, Integrity, Limits, NewRecord, Query, Record, SpecChange};
use cm_crypto::Secret;
use cm_events::EventFilter;
use cm_identity::NewPrincipal;
use cm_policy::{Create, Delete, Grant, Invoke, List, Read, Update};
use cm_runtime::{SystemClock, Tasks};
use cm_types::{Action, Labels, PageLimit, PrincipalId, RequestId, ResourceId, ResourceKind, ResourceRef};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{Actor, ErrorClass, Kernel, KernelConfig, KernelError, OpContext};

mod challenges;
mod descriptions;
mod hierarchy;
mod idempotency;
mod manifests;
mod methods;
mod network;
mod people;
mod policies;
mod records;
mod refusals;
mod sharing;
mod tenants;

/// How long tasks may take to end between two openings of the same directory.
const DRAIN: std::time::Duration = std::time::Duration::from_secs(10);

struct House {
    _dir: tempfile::TempDir,
    kernel: Kernel,
    admin: OpContext,
}

fn op(actor: Actor) -> OpContext {
    OpContext::new(actor, RequestId::random(), CancellationToken::new())
}

impl House {
    async fn open() -> House {
        House::open_with(Limits::default()).await
    }

    async fn open_with(limits: Limits) -> House {
        let dir = tempfile::tempdir().unwrap();
        let (kernel, key) = open_with(dir.path(), &Tasks::new(), limits).await.unwrap();
        let admin = op(kernel.authenticate(key.expect("a first start").expose()).await.unwrap());
        House { _dir: dir, kernel, admin }
    }

    /// Somebody with a role that permits this, as they would act.
    async fn somebody(&self, name: &str, permissions: &[&str]) -> OpContext {
        let role = format!("role-of-{name}");
        self.create(ResourceKind::Role, &role, json!({ "permissions": permissions })).await.unwrap();
        self.principal(name, &[&role]).await
    }

    async fn principal(&self, name: &str, roles: &[&str]) -> OpContext {
        let permit = self.kernel.authorize::<Create>(&self.admin, ResourceKind::Principal).await.unwrap();
        let roles = roles.iter().map(|role| ResourceId::parse(*role).unwrap()).collect();
        let new = NewPrincipal { id: PrincipalId::parse(name).unwrap(), display_name: None, roles };
        self.kernel.create_principal(&self.admin, &permit, new).await.unwrap();
        let (principal, permit) = self.kernel.look_up_principal::<Grant>(&self.admin, name).await.unwrap();
        let (key, _) =
            self.kernel.create_api_key(&self.admin, &permit, &principal, "test".into()).await.unwrap();
        op(self.kernel.authenticate(key.expose()).await.unwrap())
    }

    async fn create(&self, kind: ResourceKind, id: &str, spec: Value) -> Result<ResourceId, KernelError> {
        self.create_as(&self.admin, kind, id, spec).await
    }

    async fn create_as(
        &self,
        op: &OpContext,
        kind: ResourceKind,
        id: &str,
        spec: Value,
    ) -> Result<ResourceId, KernelError> {
        self.create_labelled(op, kind, id, Labels::new(), spec).await
    }

    async fn create_labelled(
        &self,
        op: &OpContext,
        kind: ResourceKind,
        id: &str,
        labels: Labels,
        spec: Value,
    ) -> Result<ResourceId, KernelError> {
        let permit = self.kernel.authorize_labelled::<Create>(op, kind, &labels).await?;
        let id = ResourceId::parse(id).unwrap();
        let new = NewRecord {
            kind,
            name: id.to_string(),
            id: Some(id),
            owner: None,
            labels,
            spec,
            status: Value::Null,
        };
        Ok(self.kernel.create_record(op, &permit, new).await?.header.id)
    }

    async fn update(
        &self,
        op: &OpContext,
        kind: ResourceKind,
        id: &str,
        change: Change,
    ) -> Result<Record, KernelError> {
        let (record, permit) = self.kernel.look_up::<Update>(op, kind, id).await?;
        self.kernel.update_record(op, &permit, &record.header.id, change).await
    }

    async fn delete(
        &self,
        op: &OpContext,
        kind: ResourceKind,
        id: &str,
    ) -> Result<Vec<ResourceRef>, KernelError> {
        let (record, permit) = self.kernel.look_up::<Delete>(op, kind, id).await?;
        self.kernel.delete_record(op, &permit, &record.header.id, None, Dependents::Refuse).await
    }

    async fn delete_principal(&self, op: &OpContext, name: &str) -> Result<(), KernelError> {
        let (principal, permit) = self.kernel.look_up_principal::<Delete>(op, name).await?;
        self.kernel.delete_principal(op, &permit, &principal.id, None).await
    }
}

async fn open_with(
    dir: &std::path::Path,
    tasks: &Tasks,
    limits: Limits,
) -> Result<(Kernel, Option<Secret<String>>), KernelError> {
    let config = KernelConfig {
        data_dir: dir.to_owned(),
        limits,
        integrity: Integrity::Enforced,
        objects: cm_objects::Config { object_bytes_max: 1 << 30, ..cm_objects::Config::default() },
        node_name: "test".into(),
    };
    let kept = Arc::new(Mutex::new(None));
    let keep = kept.clone();
    let kernel = Kernel::open(config, Arc::new(SystemClock), tasks, move |key| {
        *keep.lock().unwrap() = Some(Secret::new(key.expose().clone()));
        Ok(())
    })
    .await?;
    let key = kept.lock().unwrap().take();
    Ok((kernel, key))
}

fn class<T>(outcome: Result<T, KernelError>) -> ErrorClass {
    outcome.err().expect("a refusal").class()
}

#[tokio::test]
async fn a_key_that_cannot_be_kept_leaves_a_first_start_for_the_next_time() {
    let dir = tempfile::tempdir().unwrap();
    let config = KernelConfig {
        data_dir: dir.path().to_owned(),
        limits: Limits::default(),
        integrity: Integrity::Enforced,
        objects: cm_objects::Config { object_bytes_max: 1 << 30, ..cm_objects::Config::default() },
        node_name: "test".into(),
    };
    let full = |_: &Secret<String>| Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
    let tasks = Tasks::new();
    let failed = Kernel::open(config, Arc::new(SystemClock), &tasks, full).await;
    assert!(matches!(failed, Err(KernelError::AdminKey(_))));
    tasks.drain(DRAIN).await;
    for expected in [true, false] {
        let tasks = Tasks::new();
        let (kernel, key) = open_with(dir.path(), &tasks, Limits::default()).await.unwrap();
        assert_eq!(key.is_some(), expected, "a key is shown once, as soon as it could be kept");
        drop(kernel);
        tasks.drain(DRAIN).await;
    }
}

#[tokio::test]
async fn without_any_permission_existence_makes_no_difference() {
    let house = House::open().await;
    house.create(ResourceKind::Function, "f", json!({})).await.unwrap();
    let powerless = house.somebody("powerless", &[]).await;
    for id in ["f", "absent", "not an id"] {
        let outcome = house.kernel.look_up::<Read>(&powerless, ResourceKind::Function, id).await;
        assert_eq!(class(outcome), ErrorClass::Forbidden, "{id}");
        let outcome = house.kernel.look_up::<Read>(&op(Actor::Anonymous), ResourceKind::Function, id).await;
        assert_eq!(class(outcome), ErrorClass::Unauthenticated, "{id}");
    }
    let reader = house.somebody("reader", &["function:read"]).await;
    assert!(house.kernel.look_up::<Read>(&reader, ResourceKind::Function, "f").await.is_ok());
    let outcome = house.kernel.look_up::<Read>(&reader, ResourceKind::Function, "absent").await;
    assert_eq!(class(outcome), ErrorClass::NotFound);
    let outcome = house.kernel.look_up::<Invoke>(&reader, ResourceKind::Function, "f").await;
    assert_eq!(class(outcome), ErrorClass::Forbidden);
}

#[tokio::test]
async fn nobody_gives_away_more_than_they_hold() {
    let house = House::open().await;
    let permissions = &["role:*", "principal:*", "function:read"];
    let manager = house.somebody("manager", permissions).await;
    let role = |permission: &str| json!({ "permissions": [permission] });
    let create = |id: &'static str, spec| house.create_as(&manager, ResourceKind::Role, id, spec);
    assert_eq!(class(create("too-much", role("*:*")).await), ErrorClass::Forbidden);
    assert_eq!(class(create("also-too-much", role("function:*")).await), ErrorClass::Forbidden);
    assert!(create("enough", role("function:read")).await.is_ok());

    let permit = house.kernel.authorize::<Create>(&manager, ResourceKind::Principal).await.unwrap();
    let new = |role: &str| NewPrincipal {
        id: PrincipalId::parse("puppet").unwrap(),
        display_name: None,
        roles: vec![ResourceId::parse(role).unwrap()],
    };
    let outcome = house.kernel.create_principal(&manager, &permit, new("admin")).await;
    assert_eq!(class(outcome), ErrorClass::Forbidden);
    let (admin, permit) = house.kernel.look_up_principal::<Grant>(&manager, "admin").await.unwrap();
    let outcome = house.kernel.create_api_key(&manager, &permit, &admin, "steal".into()).await;
    assert_eq!(class(outcome), ErrorClass::Forbidden);
    let password = Secret::new("correct horse battery".to_owned());
    let outcome = house.kernel.set_password(&manager, &permit, &admin, password).await;
    assert_eq!(class(outcome), ErrorClass::Forbidden);
}

#[tokio::test]
async fn a_security_policy_decides_about_what_carries_it() {
    let house = House::open().await;
    let member = house.somebody("member", &["function:*"]).await;
    let stranger = house.somebody("stranger", &["function:*"]).await;
    let policy = json!({ "roles": ["role-of-member"], "requires_authentication": true });
    house.create(ResourceKind::SecurityPolicy, "members", policy).await.unwrap();
    house.create(ResourceKind::Function, "f", json!({ "security_policy": "members" })).await.unwrap();
    assert!(house.kernel.look_up::<Invoke>(&member, ResourceKind::Function, "f").await.is_ok());
    let outcome = house.kernel.look_up::<Invoke>(&stranger, ResourceKind::Function, "f").await;
    assert_eq!(class(outcome), ErrorClass::NotFound);

    let permit = house.kernel.authorize::<List>(&stranger, ResourceKind::Function).await;
    let permit = permit.expect("`function:*` permits to list");
    let query = Query::of(ResourceKind::Function);
    let page = house.kernel.list_records(&stranger, &permit, query).await.unwrap();
    assert!(page.items.is_empty(), "a list shows what may not be read");

    let resource = ResourceRef::new(ResourceKind::Function, "f");
    let stranger = PrincipalId::parse("stranger").unwrap();
    let explanation = house.kernel.explain(&house.admin, &stranger, Action::Invoke, &resource).await.unwrap();
    assert!(!explanation.allowed);
    assert!(explanation.to_string().contains("members"), "{explanation}");
}

#[tokio::test]
async fn a_refusal_is_on_the_record_once_a_second() {
    let house = House::open().await;
    let powerless = house.somebody("powerless", &[]).await;
    for _ in 0..20 {
        let _ = house.kernel.look_up::<Read>(&powerless, ResourceKind::Function, "f").await;
    }
    let permit = house.kernel.authorize::<List>(&house.admin, ResourceKind::Event).await.unwrap();
    let filter = EventFilter { verb_prefix: Some("access.".into()), ..EventFilter::default() };
    let page = house.kernel.event_page(&permit, 0, PageLimit::default(), filter).await.unwrap();
    assert!((1..20).contains(&page.items.len()), "{} records", page.items.len());
    let verified = house.kernel.verify_events(&permit, None).await.unwrap();
    assert!(verified.findings.is_empty(), "{:?}", verified.findings);
}
