//! Opening the kernel, and its parts.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use cm_catalog::{Catalog, Occasion, builtin_roles};
use cm_crypto::Secret;
use cm_db::{Db, open_postgres, open_sqlite};
use cm_events::EventLog;
use cm_identity::{Identity, NodeKeys, recorded_node_key};
use cm_objects::Objects;
use cm_policy::{Create, RoleFacts, Subject, Target, decide};
use cm_runtime::{Clock, Tasks};
use cm_types::{Labels, PrincipalId, ResourceKind, TenantId, Timestamp};
use tokio::sync::watch;

use crate::config::Database;
use crate::denials::Denials;
use crate::leases::Leases;
use crate::measures::Measures;
use crate::network::{NetworkView, RefusedNodes};
use crate::node_id::NodeId;
use crate::policies::PolicyBook;
use crate::recognised::Recognised;
use crate::refused::RefusedCredentials;
use crate::schema::{self, schema};
use crate::{KernelConfig, KernelError};

/// The database, within the data directory.
pub const DATABASE_FILE: &str = "cryptomesh.db";
/// The node's keys, within the data directory.
pub const KEYS_DIR: &str = "keys";
/// Which node this is, within the data directory.
pub const NODE_ID_FILE: &str = "node.id";
/// Stored objects, within the data directory.
pub const OBJECTS_DIR: &str = "objects";

/// Identity, policy, catalogue, objects and events of one node. Clones share it.
#[derive(Clone)]
pub struct Kernel(Arc<Parts>);

struct Parts {
    config: KernelConfig,
    node_id: NodeId,
    db: Db,
    events: EventLog,
    identity: Identity,
    catalog: Catalog,
    objects: Objects,
    keys: Arc<NodeKeys>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    denials: Denials,
    recognised: Recognised,
    policies: PolicyBook,
    refused: RefusedCredentials,
    refused_nodes: RefusedNodes,
    measures: Measures,
    network: OnceLock<watch::Receiver<NetworkView>>,
}

impl Kernel {
    /// Opens the data directory, which the caller holds. On the first start it is filled: keys, the tenant
    /// `default`, the built-in roles and the administrator.
    ///
    /// `keep_admin_key` is called on the first start with the text of the administrator's API key, **before** the
    /// administrator exists for good: if the key cannot be kept, or the process dies in between, the next start is a
    /// first start again.
    ///
    /// # Errors
    /// Data that is newer than this binary, keys that do not belong to the data, a log that was tampered with at its
    /// end, a file system that fails.
    pub async fn open(
        config: KernelConfig,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        keep_admin_key: impl FnOnce(&Secret<String>) -> std::io::Result<()> + Send + 'static,
    ) -> Result<Kernel, KernelError> {
        Kernel::open_on(Database::InDataDir, config, clock, tasks, keep_admin_key).await
    }

    /// As [`Kernel::open`], with the catalogue in the given database. A first start is one with a new database **and**
    /// without keys in the data directory: all nodes of a catalogue have the same keys, and a node whose data
    /// directory has none, or others, is refused.
    ///
    /// # Errors
    /// As [`Kernel::open`]; a database that cannot be reached.
    pub async fn open_on(
        database: Database,
        config: KernelConfig,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        keep_admin_key: impl FnOnce(&Secret<String>) -> std::io::Result<()> + Send + 'static,
    ) -> Result<Kernel, KernelError> {
        let node_id = open_node_id(&config.data_dir, tasks).await?;
        let db = open_database(database, &config.data_dir, tasks).await?;
        let recorded = db.read(recorded_node_key).await?;
        let keys = open_keys(&config.data_dir, recorded, clock.now().into(), tasks).await?;
        let events = EventLog::open(&db, clock.clone(), keys.signing().clone()).await?;
        events.follow(&db, tasks);
        let identity = Identity::new(db.clone(), events.clone(), clock.clone(), keys.clone(), tasks.clone());
        let catalog = Catalog::new(events.clone(), config.limits.clone()).with_integrity(config.integrity);
        let objects = Objects::open(
            &config.data_dir.join(OBJECTS_DIR),
            db.clone(),
            events.clone(),
            clock.clone(),
            tasks,
            cm_objects::Config {
                inline_from: schema::OBJECT_ROWS,
                packing_from: schema::PACKED_CHUNKS,
                ..config.objects.clone()
            },
            keys.objects_key(),
        )
        .await?;
        let kernel = Kernel(Arc::new(Parts {
            config,
            node_id,
            db,
            events,
            identity,
            catalog,
            objects,
            keys,
            clock,
            tasks: tasks.clone(),
            denials: Denials::default(),
            recognised: Recognised::default(),
            policies: PolicyBook::default(),
            refused: RefusedCredentials::default(),
            refused_nodes: RefusedNodes::default(),
            measures: Measures::default(),
            network: OnceLock::new(),
        }));
        kernel.bootstrap(keep_admin_key).await?;
        kernel.finish_removals().await?;
        kernel.follow_measures();
        kernel.follow_refusals();
        Ok(kernel)
    }

    /// On the first start creates who and what must exist; on later ones checks that data and keys belong together.
    async fn bootstrap(
        &self,
        keep_admin_key: impl FnOnce(&Secret<String>) -> std::io::Result<()> + Send + 'static,
    ) -> Result<(), KernelError> {
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let occasion = Occasion { at: self.now(), request: None };
        self.db()
            .write(move |tx| {
                let Some(key) = identity.bootstrap(tx)? else { return Ok(()) };
                let permit = creation_of_roles(&TenantId::default_tenant());
                for role in builtin_roles() {
                    catalog.create(tx, &permit, role, &occasion)?;
                }
                // Within the transaction: either the key is kept and the administrator exists, or neither.
                keep_admin_key(&key).map_err(KernelError::AdminKey)
            })
            .await
    }

    /// Makes a new API key for the built-in administrator, who is enabled and has the administrator's role from
    /// then on, whatever was done to it; see [`Identity::recover_admin`]. Nobody is asked: this is for whoever has
    /// the data directory in their hands, and must not be reachable by a face.
    pub async fn recover_administrator(&self) -> Result<Secret<String>, KernelError> {
        let identity = self.identity().clone();
        self.db().write(move |tx| Ok(identity.recover_admin(tx)?)).await
    }

    /// What the kernel was told.
    pub fn config(&self) -> &KernelConfig {
        &self.0.config
    }

    /// Which node this is, of those that share a catalogue: the same after every restart.
    pub fn node_id(&self) -> &NodeId {
        &self.0.node_id
    }

    /// Claims that nodes have on work of which only one may do it.
    pub fn leases(&self) -> Leases {
        Leases::new(self.db().clone(), self.node_id().clone(), self.clock().clone())
    }

    /// The event log.
    pub fn events(&self) -> &EventLog {
        &self.0.events
    }

    /// Tenants, principals and credentials.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// The catalogue.
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// Stored objects.
    pub fn objects(&self) -> &Objects {
        &self.0.objects
    }

    /// The node's keys.
    pub fn keys(&self) -> &NodeKeys {
        &self.0.keys
    }

    /// Records what waits to be, finishes what is written and closes the database. Later operations fail.
    pub async fn close(&self) -> Result<(), KernelError> {
        self.record_refusals(None).await;
        Ok(self.db().close().await?)
    }

    /// The clock of everything.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now().into()
    }

    /// The process's tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(crate) fn network_cell(&self) -> &OnceLock<watch::Receiver<NetworkView>> {
        &self.0.network
    }

    pub(crate) fn recognised(&self) -> &Recognised {
        &self.0.recognised
    }

    pub(crate) fn refused_credentials(&self) -> &RefusedCredentials {
        &self.0.refused
    }

    pub(crate) fn refused_nodes(&self) -> &RefusedNodes {
        &self.0.refused_nodes
    }

    pub(crate) fn policy_book(&self) -> &PolicyBook {
        &self.0.policies
    }

    pub(crate) fn measures(&self) -> &Measures {
        &self.0.measures
    }

    pub(crate) fn denials(&self) -> &Denials {
        &self.0.denials
    }
}

/// The node's own permit to create the built-in roles, decided as every other.
pub(crate) fn creation_of_roles(tenant: &TenantId) -> cm_policy::Permit<Create> {
    let (node, labels) = (PrincipalId::node(), Labels::new());
    let roles = [RoleFacts::administrator()];
    let target =
        Target { kind: ResourceKind::Role, id: None, tenant, owner: None, labels: &labels, guard: None };
    decide::<Create>(&Subject::principal(&node, tenant, &roles), &target)
        .expect("an administrator may create roles in its own tenant")
}

async fn open_database(database: Database, data_dir: &Path, tasks: &Tasks) -> Result<Db, KernelError> {
    let path = data_dir.join(DATABASE_FILE);
    let opened = tasks.spawn_blocking("database-open", move || match database {
        Database::InDataDir => open_sqlite(&path, &schema()),
        Database::Postgres(config) => open_postgres(&config, &schema()),
        Database::Opened(db) => Ok(db),
    });
    Ok(opened.await.map_err(|_| KernelError::ShuttingDown)??)
}

async fn open_node_id(data_dir: &Path, tasks: &Tasks) -> Result<NodeId, KernelError> {
    let path = data_dir.join(NODE_ID_FILE);
    let opened = tasks.spawn_blocking("node-id-open", move || NodeId::open_or_create(&path));
    opened.await.map_err(|_| KernelError::ShuttingDown)?.map_err(KernelError::NodeId)
}

async fn open_keys(
    data_dir: &Path,
    recorded: Option<String>,
    now: Timestamp,
    tasks: &Tasks,
) -> Result<Arc<NodeKeys>, KernelError> {
    let dir = data_dir.join(KEYS_DIR);
    let opened =
        tasks.spawn_blocking("keys-open", move || NodeKeys::open_or_create(&dir, recorded.as_deref(), now));
    let keys = opened.await.map_err(|_| KernelError::ShuttingDown)?;
    Ok(Arc::new(keys.map_err(cm_identity::IdentityError::from)?))
}
