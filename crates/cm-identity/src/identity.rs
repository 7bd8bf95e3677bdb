//! The engine: all operations on tenants, principals and credentials.

mod api_keys;
mod authenticate;
mod bootstrap;
mod login;
mod principals;
mod tokens;

use std::sync::{Arc, Mutex};

use cm_db::{Db, ReadTx};
use cm_events::EventLog;
use cm_runtime::{Clock, Tasks};
use cm_types::{PrincipalId, TenantId, Timestamp};

use crate::hashing::Hashing;
use crate::lockout::UnknownNames;
use crate::table::{PrincipalRow, Principals, Tenants};
use crate::{IdentityError, NodeKeys};

pub use api_keys::{API_KEYS_MAX, LABEL_LEN_MAX};
pub use authenticate::{BEARER_LEN_MAX, Presented};
pub use principals::{PASSWORD_LEN_MAX, PASSWORD_LEN_MIN};
pub use tokens::{TOKEN_TTL_DEFAULT, TOKEN_TTL_MAX};

/// All operations on tenants, principals and credentials. Clones share everything.
///
/// Methods that take a transaction are synchronous and quick. Those that hash passwords are asynchronous and
/// stand outside of transactions.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    db: Db,
    events: EventLog,
    clock: Arc<dyn Clock>,
    keys: Arc<NodeKeys>,
    hashing: Hashing,
    unknown_names: Mutex<UnknownNames>,
}

impl Identity {
    /// Works on the database, appends to the event log, signs with the node's keys, hashes on the tasks.
    pub fn new(db: Db, events: EventLog, clock: Arc<dyn Clock>, keys: Arc<NodeKeys>, tasks: Tasks) -> Self {
        let hashing = Hashing::new(tasks);
        Self(Arc::new(Inner { db, events, clock, keys, hashing, unknown_names: Mutex::default() }))
    }

    /// The node's keys.
    pub fn keys(&self) -> &NodeKeys {
        &self.0.keys
    }

    pub(crate) fn events(&self) -> &EventLog {
        &self.0.events
    }

    fn now(&self) -> Timestamp {
        Timestamp::from(self.0.clock.now())
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({:?})", self.0.keys)
    }
}

fn key_of(tenant: &TenantId, id: &PrincipalId) -> (TenantId, PrincipalId) {
    (tenant.clone(), id.clone())
}

fn existing(tx: &ReadTx<'_>, tenant: &TenantId, id: &PrincipalId) -> Result<PrincipalRow, IdentityError> {
    tx.get::<Principals>(&key_of(tenant, id))?.ok_or(IdentityError::NoSuchPrincipal)
}

fn require_tenant(tx: &ReadTx<'_>, tenant: &TenantId) -> Result<(), IdentityError> {
    tx.get::<Tenants>(tenant)?.map(|_| ()).ok_or(IdentityError::NoSuchTenant)
}
