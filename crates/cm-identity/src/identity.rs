//! The engine: all operations on tenants, principals and credentials.

mod api_keys;
mod authenticate;
mod bootstrap;
mod login;
mod principals;
mod sessions;
mod tenants;
mod tokens;
mod xolo_tokens;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cm_db::{Db, ReadTx};
use cm_events::EventLog;
use cm_runtime::{Clock, Tasks};
use cm_types::{PrincipalId, TenantId, Timestamp, TrustDomain};

use crate::hashing::Hashing;
use crate::lockout::{Sprays, UnknownNames};
use crate::signing::Ring;
use crate::table::{Externals, PrincipalRow, Principals, Tenants};
use crate::{CredentialProblem, IdentityError, MasterKey, NodeKeys, RelyingParty};

pub use api_keys::{API_KEYS_MAX, LABEL_LEN_MAX};
pub use authenticate::{BEARER_LEN_MAX, Presented};
pub(crate) use bootstrap::new_epoch;
pub use principals::{PASSWORD_LEN_MAX, PASSWORD_LEN_MIN, SIGN_UP_PASSWORD_LEN_MIN};
pub(crate) use principals::{require_cover, require_right};
pub use sessions::{NewSession, SESSION_MAX, SESSIONS_MAX, XOLO_TTL_MAX};
pub use tenants::TENANTS_MAX;
pub(crate) use tokens::CLOCK_SKEW_MAX;
pub use tokens::{Introspection, TOKEN_TTL_DEFAULT, TOKEN_TTL_MAX};

/// All operations on tenants, principals and credentials. Clones share everything.
///
/// Methods that take a transaction are synchronous and quick. Those that hash passwords are asynchronous and
/// stand outside of transactions.
#[derive(Clone)]
pub struct Identity(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) db: Db,
    events: EventLog,
    clock: Arc<dyn Clock>,
    keys: Arc<NodeKeys>,
    pub(crate) hashing: Hashing,
    unknown_names: Mutex<UnknownNames>,
    sprays: Mutex<Sprays>,
    ring: Mutex<Ring>,
    master: OnceLock<MasterKey>,
    issuer: OnceLock<String>,
    trust_domain: OnceLock<TrustDomain>,
    pub(crate) relying_party: OnceLock<Arc<RelyingParty>>,
}

impl Identity {
    /// Works on the database, appends to the event log, signs with the node's keys, hashes on the tasks.
    pub fn new(db: Db, events: EventLog, clock: Arc<dyn Clock>, keys: Arc<NodeKeys>, tasks: Tasks) -> Self {
        let hashing = Hashing::new(tasks);
        Self(Arc::new(Inner {
            db,
            events,
            clock,
            keys,
            hashing,
            unknown_names: Mutex::default(),
            sprays: Mutex::default(),
            ring: Mutex::default(),
            master: OnceLock::new(),
            issuer: OnceLock::new(),
            trust_domain: OnceLock::new(),
            relying_party: OnceLock::new(),
        }))
    }

    /// Sets the key under which signing keys are kept, once, before the first of them is needed. Without it, it is derived from
    /// the node's own secret.
    ///
    /// Errors: the key, if another one is in use already.
    pub fn use_master_key(&self, master: MasterKey) -> Result<(), MasterKey> {
        self.0.master.set(master)
    }

    /// Sets what tokens name as their issuer, once: the URL under which the node's documents of OpenID Connect are found.
    /// Without it, it is the id of the node's key.
    ///
    /// Errors: the text, if another one is in use already.
    pub fn use_issuer(&self, issuer: String) -> Result<(), String> {
        self.0.issuer.set(issuer)
    }

    /// Sets the trust domain in whose name documents of workloads are issued, once. Without it there are none.
    ///
    /// Errors: the domain, if another one is in use already.
    pub fn use_trust_domain(&self, domain: TrustDomain) -> Result<(), TrustDomain> {
        self.0.trust_domain.set(domain)
    }

    pub(crate) fn own_trust_domain(&self) -> Option<&TrustDomain> {
        self.0.trust_domain.get()
    }

    /// What tokens name as their issuer, and as whom they are for.
    pub fn issuer(&self) -> String {
        self.0.issuer.get().cloned().unwrap_or_else(|| self.keys().key_id())
    }

    pub(crate) fn master(&self) -> &MasterKey {
        self.0.master.get_or_init(|| self.keys().master_key())
    }

    pub(crate) fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node's keys.
    pub fn keys(&self) -> &NodeKeys {
        &self.0.keys
    }

    pub(crate) fn events(&self) -> &EventLog {
        &self.0.events
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from(self.0.clock.now())
    }
}

impl Identity {
    /// Refuses whom a provider vouches for: for engines that bind keys of protocols of their own to a principal.
    ///
    /// Errors: `Vouched`.
    pub fn require_own_credentials(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        id: &PrincipalId,
    ) -> Result<(), IdentityError> {
        require_not_vouched(tx, tenant, id)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({:?})", self.0.keys)
    }
}

pub(crate) fn key_of(tenant: &TenantId, id: &PrincipalId) -> (TenantId, PrincipalId) {
    (tenant.clone(), id.clone())
}

pub(crate) fn existing(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    id: &PrincipalId,
) -> Result<PrincipalRow, IdentityError> {
    tx.get::<Principals>(&key_of(tenant, id))?.ok_or(IdentityError::NoSuchPrincipal)
}

pub(crate) fn require_tenant(tx: &ReadTx<'_>, tenant: &TenantId) -> Result<(), IdentityError> {
    match tx.get::<Tenants>(tenant)? {
        Some(row) if !row.leaving => Ok(()),
        _ => Err(IdentityError::NoSuchTenant),
    }
}

/// What somebody has of its own ends with nobody but itself: whom a provider vouches for has no such thing, lest it outlive what
/// the provider says.
pub(crate) fn require_not_vouched(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    id: &PrincipalId,
) -> Result<(), IdentityError> {
    match tx.get::<Externals>(&key_of(tenant, id))? {
        Some(_) => Err(IdentityError::Vouched),
        None => Ok(()),
    }
}

/// Whether somebody of the tenant may prove who they are at all: not while it is being removed.
pub(crate) fn require_open_doors(tx: &ReadTx<'_>, tenant: &TenantId) -> Result<(), IdentityError> {
    match require_tenant(tx, tenant) {
        Err(IdentityError::NoSuchTenant) => Err(CredentialProblem::Disabled.into()),
        outcome => outcome,
    }
}
