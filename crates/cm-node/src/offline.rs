//! What can be asked of a data directory without its node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cm_crypto::Secret;
use cm_events::{Head, VerifyOptions, VerifyingKeys};
use cm_identity::NodeKeys;
use cm_kernel::catalog::{Integrity, Limits};
use cm_kernel::kernel::{DATABASE_FILE, KEYS_DIR};
use cm_kernel::{Database, Kernel, KernelConfig};
use cm_runtime::{SystemClock, Tasks};
use serde_json::json;

use crate::data_dir::DataDir;
use crate::node::ADMIN_TOKEN_FILE;
use crate::{Config, NodeError, cluster, database};

/// How long the kernel's own tasks may take to end.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// Most findings that one verification reports.
const FINDINGS_MAX: usize = 100;

/// What came of checking a log.
pub struct VerifiedLog {
    /// Whether every record is as it was written.
    pub intact: bool,
    /// How many records were checked.
    pub records: u64,
    /// The same and the findings, as the API would say it.
    pub report: serde_json::Value,
}

/// Makes a new key of the built-in administrator, of a data directory that no node is using, and writes it where the
/// first start wrote the first one.
///
/// With a database server, other nodes of the same catalogue may go on; the data directory gives the keys.
pub async fn reset_admin_token(settings: &Config) -> Result<PathBuf, NodeError> {
    let held = hold(settings)?;
    let tasks = Tasks::new();
    let config = KernelConfig {
        data_dir: held.path().to_owned(),
        limits: Limits::default(),
        integrity: Integrity::Enforced,
        objects: cm_kernel::objects::Config::default(),
        node_name: String::new(),
    };
    // This is no first start: the database is there.
    let no_first_start = |_: &Secret<String>| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let database = settings.database.clone();
    let opened = Kernel::open_on(database, config, Arc::new(SystemClock), &tasks, no_first_start).await;
    let kernel = opened.map_err(|error| NodeError::of_opening(error, &settings.database, held.path()))?;
    let key = kernel.recover_administrator().await?;
    let path = held.write_private(ADMIN_TOKEN_FILE, &format!("{}\n", key.expose()))?;
    tasks.drain(DRAIN_DEADLINE).await;
    kernel.close().await?;
    Ok(path)
}

/// Takes hold of a data directory that has a catalogue, or the keys of one that a server has.
fn hold(settings: &Config) -> Result<DataDir, NodeError> {
    if matches!(settings.database, Database::InDataDir) && cluster::is_member(&settings.data_dir) {
        return Err(NodeError::NetworkRuns(settings.data_dir.clone()));
    }
    let there = match settings.database {
        Database::InDataDir => settings.data_dir.join(DATABASE_FILE),
        Database::Postgres(_) | Database::Opened(_) => settings.data_dir.join(KEYS_DIR),
    };
    if there.exists() {
        DataDir::hold(&settings.data_dir)
    } else {
        Err(NodeError::NoData(settings.data_dir.clone()))
    }
}

/// Checks the event log of a data directory that no node is using, or that of a database server with the keys of the
/// data directory.
pub async fn verify_log(settings: &Config, anchor: Option<&str>) -> Result<VerifiedLog, NodeError> {
    let held = hold(settings)?;
    let anchor: Option<Head> =
        anchor.map(|text| text.parse().map_err(|_| NodeError::Anchor(text.to_owned()))).transpose()?;
    let keys = NodeKeys::open(&held.path().join(KEYS_DIR))?;
    let db = database::open(settings).await?;
    let options = VerifyOptions { anchor, findings_max: FINDINGS_MAX };
    let verified = cm_events::verify(&db, &VerifyingKeys::from(keys.verifying()), options, |_| {}).await?;
    db.close().await?;
    let findings: Vec<_> = verified
        .findings
        .iter()
        .map(|finding| json!({ "seq": finding.seq, "what": finding.what.as_str(), "detail": finding.detail }))
        .collect();
    let intact = verified.is_intact();
    let report = json!({
        "intact": intact,
        "records": verified.records,
        "head": {
            "seq": verified.head.as_ref().map_or(0, |head| head.seq),
            "hash": verified.head.as_ref().map(|head| head.hash),
            "anchor": verified.head.as_ref().map(ToString::to_string),
        },
        "findings": findings,
    });
    Ok(VerifiedLog { intact, records: verified.records, report })
}
