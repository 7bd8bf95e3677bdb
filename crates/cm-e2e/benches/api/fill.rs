//! Filling a catalogue before a node serves it: in this process, many records per transaction.

use std::path::PathBuf;
use std::sync::Arc;

use cm_db::{Db, PostgresConfig, open_postgres, open_sqlite};
use cm_e2e::{Node, NodeOptions};
use cm_kernel::catalog::{Catalog, Limits, NewRecord, Occasion};
use cm_kernel::events::EventLog;
use cm_kernel::identity::NodeKeys;
use cm_kernel::kernel::{DATABASE_FILE, KEYS_DIR};
use cm_kernel::policy::{Create, Permit, RoleFacts, Subject, Target, decide};
use cm_runtime::SystemClock;
use cm_testkit::postgres::{Database, Server};
use cm_types::{Labels, PrincipalId, ResourceId, ResourceKind, TenantId};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::place::role_id;
use cm_e2e::measure::Outcome;
use cm_e2e::measure::progress;

/// Records of one transaction.
const BATCH: u64 = 1000;
/// Records between two signs of life.
const PROGRESS_EVERY: u64 = 100_000;

/// The data directory of a node that does not run, with so many roles.
pub(crate) struct Filled {
    root: TempDir,
    records: u64,
    runtime: tokio::runtime::Runtime,
}

impl Filled {
    /// A new node's, with no roles but its own.
    pub(crate) fn new() -> Outcome<Filled> {
        let root = tempfile::Builder::new().prefix("cm-bench-api-").tempdir()?;
        Node::start(root.path(), &NodeOptions::default()).stop();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Filled { root, records: 0, runtime })
    }

    /// The folder that it is in, for copies beside it.
    pub(crate) fn root(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// How many roles were filled in.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    fn open(&self) -> Outcome<Db> {
        Ok(open_sqlite(&self.data_dir().join(DATABASE_FILE), &cm_kernel::schema())?)
    }

    /// Adds roles until there are so many, with their events, as a node would.
    pub(crate) fn fill_to(&mut self, records: u64) -> Outcome<()> {
        progress(&format!("filling a catalogue to {records} records"));
        let db = self.open()?;
        let keys = NodeKeys::open(&self.data_dir().join(KEYS_DIR))?;
        let clock = Arc::new(SystemClock);
        let first = self.records;
        self.runtime.block_on(async {
            let events = EventLog::open(&db, clock.clone(), keys.signing().clone()).await?;
            let catalog = Catalog::new(events, Limits::default());
            let permit = creation();
            let mut at = first;
            while at < records {
                let batch = at..records.min(at + BATCH);
                at = batch.end;
                let (catalog, permit) = (catalog.clone(), permit.clone());
                let occasion = Occasion { at: cm_runtime::Clock::now(&*clock).into(), request: None };
                let filled = db.write(move |tx| {
                    for n in batch {
                        catalog.create(tx, &permit, role(n), &occasion)?;
                    }
                    Ok::<_, cm_kernel::KernelError>(())
                });
                filled.await?;
                if at.is_multiple_of(PROGRESS_EVERY) && at < records {
                    progress(&format!("  {at} records"));
                }
            }
            db.close().await?;
            Outcome::Ok(())
        })?;
        self.records = records;
        Ok(())
    }

    /// Copies everything to a new database of a PostgreSQL server.
    pub(crate) fn copy_to(&self, server: &Server) -> Outcome<Database> {
        let database = server.create_database();
        let from = self.open()?;
        let to = open_postgres(&PostgresConfig::parse(database.url(), None)?, &cm_kernel::schema())?;
        self.runtime.block_on(async {
            let path = self.root.path().join("backup");
            from.export(std::fs::File::create(&path)?).await?;
            to.import(std::fs::File::open(&path)?).await?;
            std::fs::remove_file(path)?;
            from.close().await?;
            to.close().await?;
            Outcome::Ok(())
        })?;
        // As the server itself does after a while: plans and pages are those of a database in use.
        database.execute("VACUUM ANALYZE");
        Ok(database)
    }
}

/// The n-th role.
fn role(n: u64) -> NewRecord {
    NewRecord {
        kind: ResourceKind::Role,
        id: Some(ResourceId::parse(role_id(n)).expect("such an id is one")),
        name: format!("filled-{n:09}"),
        owner: Some(PrincipalId::parse("admin").expect("such an id is one")),
        labels: Labels::new(),
        spec: json!({
            "description": "Reads buckets of tests",
            "permissions": ["bucket:read@env=test", "bucket:list", "object:read"],
        }),
        status: Value::Null,
    }
}

/// The node's own permit to create roles, decided as every other.
fn creation() -> Permit<Create> {
    let (node, tenant, labels) = (PrincipalId::node(), TenantId::default_tenant(), Labels::new());
    let roles = [RoleFacts::administrator()];
    let target = Target {
        kind: ResourceKind::Role,
        id: None,
        tenant: &tenant,
        owner: None,
        labels: &labels,
        guard: None,
    };
    decide::<Create>(&Subject::principal(&node, &tenant, &roles), &target)
        .expect("an administrator may create roles in its own tenant")
}
