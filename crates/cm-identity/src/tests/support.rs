//! A world to test in: a database, a clock that stands still, an administrator.

use std::sync::Arc;

use cm_crypto::Secret;
use cm_db::{Db, ReadTx, Schema, WriteTx, open_memory};
use cm_events::{Event, EventFilter, EventLog};
use cm_policy::{ActionKind, Create, Delete, Grant, Permit, RoleFacts, Subject, Target, Update, decide};
use cm_runtime::{Clock, ManualClock, Tasks};
use cm_types::{Labels, PageLimit, PrincipalId, ResourceId, ResourceKind, TenantId, Timestamp};
use tempfile::TempDir;

use crate::{
    ApiKeyInfo, Authenticated, CredentialProblem, CredentialRight, Identity, IdentityError, NewPrincipal,
    NodeKeys, Principal, PrincipalChange, Source, TABLES, TokenInfo,
};

pub(super) const PASSWORD: &str = "correct horse";

pub(super) struct World {
    pub(super) identity: Identity,
    pub(super) db: Db,
    pub(super) clock: ManualClock,
    pub(super) admin_key: Secret<String>,
    _keys: TempDir,
}

pub(super) fn tenant() -> TenantId {
    TenantId::default_tenant()
}

pub(super) fn id(text: &str) -> PrincipalId {
    PrincipalId::parse(text).unwrap()
}

pub(super) fn role(text: &str) -> ResourceId {
    ResourceId::parse(text).unwrap()
}

/// Somewhere in a network for documentation.
pub(super) fn source(last: u8) -> Source {
    Source::of([192, 0, 2, last].into())
}

/// What who keeps the tenants gets for all of them.
pub(super) fn of_tenants<A: ActionKind>() -> Permit<A> {
    let (admin, home, labels) = (PrincipalId::admin(), TenantId::default_tenant(), Labels::new());
    let roles = [RoleFacts::administrator()];
    let target = Target { kind: ResourceKind::Tenant, ..target(&home, None, &labels) };
    decide::<A>(&Subject::principal(&admin, &home, &roles), &target).unwrap()
}

fn target<'a>(tenant: &'a TenantId, id: Option<&'a str>, labels: &'a Labels) -> Target<'a> {
    Target { kind: ResourceKind::Principal, id, tenant, owner: None, labels, guard: None }
}

/// What an administrator gets for one principal, or for all of them.
pub(super) fn permit<A: ActionKind>(tenant: &TenantId, about: Option<&str>) -> Permit<A> {
    let (admin, home) = (PrincipalId::admin(), TenantId::default_tenant());
    let roles = [RoleFacts::administrator()];
    let labels = Labels::new();
    decide::<A>(&Subject::principal(&admin, &home, &roles), &target(tenant, about, &labels)).unwrap()
}

/// What a principal gets for itself, as its own owner.
pub(super) fn own(principal: &PrincipalId) -> Permit<Update> {
    let (tenant, labels) = (tenant(), Labels::new());
    let target = Target { owner: Some(principal), ..target(&tenant, Some(principal.as_str()), &labels) };
    decide::<Update>(&Subject::principal(principal, &tenant, &[]), &target).unwrap()
}

/// What an administrator gets for itself.
pub(super) fn of_oneself<A: ActionKind>(principal: &PrincipalId) -> Permit<A> {
    let (home, labels) = (tenant(), Labels::new());
    let roles = [RoleFacts::administrator()];
    let about = target(&home, Some(principal.as_str()), &labels);
    decide::<A>(&Subject::principal(principal, &home, &roles), &about).unwrap()
}

pub(super) fn grant() -> Permit<Grant> {
    permit(&tenant(), None)
}

impl World {
    pub(super) async fn new() -> Self {
        let keys = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let now = Timestamp::from(clock.now());
        let node_keys = Arc::new(NodeKeys::open_or_create(&keys.path().join("keys"), None, now).unwrap());
        let db = open_memory(&Schema::new(1).with_tables(TABLES).with_tables(cm_events::TABLES));
        let signer = node_keys.signing().clone();
        let events = EventLog::open(&db, Arc::new(clock.clone()), signer).await.unwrap();
        let identity = Identity::new(db.clone(), events, Arc::new(clock.clone()), node_keys, Tasks::new());
        let bootstrapping = identity.clone();
        let admin_key = db.write(move |tx| bootstrapping.bootstrap(tx)).await.unwrap().unwrap();
        Self { identity, db, clock, admin_key, _keys: keys }
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Identity, &mut WriteTx<'_>) -> Result<T, IdentityError> + Send + 'static,
    ) -> Result<T, IdentityError> {
        let identity = self.identity.clone();
        self.db.write(move |tx| f(&identity, tx)).await
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Identity, &ReadTx<'_>) -> Result<T, IdentityError> + Send + 'static,
    ) -> Result<T, IdentityError> {
        let identity = self.identity.clone();
        self.db.read(move |tx| f(&identity, tx)).await
    }

    pub(super) async fn create_with(
        &self,
        name: &str,
        roles: &[&str],
        grant: Option<Permit<Grant>>,
    ) -> Result<Principal, IdentityError> {
        let roles = roles.iter().map(|text| role(text)).collect();
        let new = NewPrincipal { id: id(name), display_name: None, roles };
        self.write(move |identity, tx| {
            identity.create_principal(tx, &permit::<Create>(&tenant(), None), grant.as_ref(), new, None)
        })
        .await
    }

    pub(super) async fn create(&self, name: &str) -> Principal {
        self.create_with(name, &[], None).await.unwrap()
    }

    pub(super) async fn update(
        &self,
        name: &str,
        change: PrincipalChange,
    ) -> Result<Principal, IdentityError> {
        let name = id(name);
        self.write(move |identity, tx| {
            let permit = permit::<Update>(&tenant(), Some(name.as_str()));
            identity.update_principal(tx, &permit, Some(&grant()), &name, change, None)
        })
        .await
    }

    pub(super) async fn set_disabled(&self, name: &str, disabled: bool) -> Result<Principal, IdentityError> {
        self.update(name, PrincipalChange { disabled: Some(disabled), ..PrincipalChange::default() }).await
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), IdentityError> {
        let name = id(name);
        self.write(move |identity, tx| {
            let permit = permit::<Delete>(&tenant(), Some(name.as_str()));
            identity.delete_principal(tx, &permit, &name, None, None)
        })
        .await
    }

    pub(super) async fn set_password(&self, name: &str, password: &str) -> Result<(), IdentityError> {
        let hash = self.identity.hash_password(Secret::new(password.to_owned())).await?;
        let name = id(name);
        self.write(move |identity, tx| {
            identity.set_password(tx, CredentialRight::Granted(&grant()), &name, hash, None)
        })
        .await
    }

    pub(super) async fn login(&self, name: &str, password: &str) -> Result<Authenticated, IdentityError> {
        self.login_from(name, password, &source(1)).await
    }

    pub(super) async fn login_from(
        &self,
        name: &str,
        password: &str,
        source: &Source,
    ) -> Result<Authenticated, IdentityError> {
        let password = Secret::new(password.to_owned());
        self.identity.login(&tenant(), &id(name), password, source, None).await
    }

    pub(super) async fn api_key(&self, name: &str) -> Result<(Secret<String>, ApiKeyInfo), IdentityError> {
        let name = id(name);
        self.write(move |identity, tx| {
            identity.create_api_key(tx, CredentialRight::Granted(&grant()), &name, "test", None)
        })
        .await
    }

    pub(super) async fn token(
        &self,
        authenticated: &Authenticated,
        ttl_secs: u64,
    ) -> Result<(Secret<String>, TokenInfo), IdentityError> {
        let authenticated = authenticated.clone();
        let ttl = std::time::Duration::from_secs(ttl_secs);
        self.write(move |identity, tx| identity.issue_token(tx, &authenticated, ttl, None)).await
    }

    /// A new principal with an API key, authenticated by it.
    pub(super) async fn keyed(&self, name: &str) -> (Secret<String>, ApiKeyInfo, Authenticated) {
        self.create(name).await;
        let (key, info) = self.api_key(name).await.unwrap();
        let authenticated = self.identity.authenticate(key.expose()).await.unwrap();
        (key, info, authenticated)
    }

    /// Why a bearer is refused; `None` if it is not.
    pub(super) async fn refusal(&self, bearer: &str) -> Option<CredentialProblem> {
        match self.identity.authenticate(bearer).await {
            Ok(_) => None,
            Err(IdentityError::InvalidCredential(problem)) => Some(problem),
            Err(other) => panic!("{other:?}"),
        }
    }

    pub(super) fn advance(&self, secs: u64) {
        self.clock.advance(std::time::Duration::from_secs(secs));
    }
}

impl World {
    /// All events, oldest first.
    pub(super) async fn events(&self) -> Vec<Event> {
        self.read(|identity, tx| {
            let page = identity.events().page(tx, 0, PageLimit::MAX, &EventFilter::default())?;
            assert!(page.next.is_none(), "more events than a test looks at");
            Ok(page.items)
        })
        .await
        .unwrap()
    }

    /// How many events of a verb there are.
    pub(super) async fn count(&self, verb: &str) -> usize {
        self.events().await.iter().filter(|event| event.verb.as_str() == verb).count()
    }
}

/// What an administrator of another tenant gets for all principals there.
pub(super) fn foreign<A: ActionKind>(elsewhere: &TenantId) -> Permit<A> {
    let (admin, labels) = (PrincipalId::admin(), Labels::new());
    let roles = [RoleFacts::administrator()];
    decide::<A>(&Subject::principal(&admin, elsewhere, &roles), &target(elsewhere, None, &labels)).unwrap()
}
