//! What outlives the process: peers that an operator added, and which runs were under way.
//!
//! Shares never come here. Sealed shares of inputs and results are files beside it, for they may be large.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cm_crypto::digest::sha256;
use cm_db::{Db, DbError, Direction, KeyRange, Row, Schema, Table, WriteTx, open_sqlite};
use cm_runtime::Tasks;
use cm_types::{ResourceId, Sha256Digest, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ComputationError;
use crate::group_keys::GroupKeys;
use crate::registry::{Clients, Used};

/// The database, within the data directory.
pub const JOURNAL_FILE: &str = "mpc.db";
/// The folder of sealed shares, within the data directory.
pub const SHARES_DIR: &str = "mpc";
/// Runs that have ended and are remembered.
const RUNS_KEPT: usize = 1000;

struct Peers;

impl Table for Peers {
    const NAME: &'static str = "peers";
    type Key = String;
    type Row = PeerRow;
}

/// A node that may take part in computations with this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRow {
    /// Host and port of its listener for parties.
    pub address: String,
    /// The key by which its links are known.
    pub link_key: Sha256Digest,
}

impl Row for PeerRow {}

struct Runs;

impl Table for Runs {
    const NAME: &'static str = "runs";
    type Key = String;
    type Row = RunRow;
}

/// A run that this node takes part in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunRow {
    /// The computation's record, if this node leads the run.
    pub(crate) leads: Option<(TenantId, ResourceId)>,
    /// The plan that it carries out.
    pub(crate) plan: Sha256Digest,
    /// Whether it has ended.
    pub(crate) ended: bool,
}

impl Row for RunRow {}

struct Plans;

impl Table for Plans {
    const NAME: &'static str = "plans";
    type Key = String;
    type Row = PlanRow;
}

/// A plan that this node has begun to carry out, by its digest.
///
/// Never forgotten: whoever could have a plan carried out again with other inputs of others would learn, run by run, what an owner gave
/// for one result.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PlanRow {
    /// Digest of this party's sealed inputs.
    inputs: Sha256Digest,
    /// Whether a run of it came to results.
    spent: bool,
}

impl Row for PlanRow {}

/// Whether a plan may be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// With these inputs.
    Bound,
    /// It was begun with others.
    OtherInputs,
    /// It has come to results.
    Spent,
    /// The run has been before.
    Again,
}

impl Binding {
    /// Why a party refuses, if it does.
    pub(crate) fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Bound => None,
            Self::Again => Some("this run has been before"),
            Self::OtherInputs => {
                Some("it has begun this plan with other inputs; make a new computation for other inputs")
            }
            Self::Spent => Some("it has carried this plan out; make a new computation to compute again"),
        }
    }
}

/// What a party's sealed inputs are known by.
pub(crate) fn digest_of(sealed: &BTreeMap<String, Vec<u8>>) -> Sha256Digest {
    let mut parts = Vec::new();
    for (input, bytes) in sealed {
        parts.extend_from_slice(sha256(input.as_bytes()).as_bytes());
        parts.extend_from_slice(sha256(bytes).as_bytes());
    }
    sha256(&parts)
}

/// The journal and the folder beside it. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    db: Db,
    dir: PathBuf,
}

impl Journal {
    pub(crate) async fn open(data_dir: &Path, tasks: &Tasks) -> Result<Self, ComputationError> {
        let (path, dir) = (data_dir.join(JOURNAL_FILE), data_dir.join(SHARES_DIR));
        let schema = Schema::new(3)
            .with_table::<Peers>()
            .with_table::<Runs>()
            .with_table::<Clients>()
            .with_table::<Used>()
            .with_table::<Plans>()
            .with_table::<GroupKeys>();
        let made = dir.clone();
        let opened = tasks.spawn_blocking("mpc-journal-open", move || {
            std::fs::create_dir_all(&made)?;
            Ok::<_, ComputationError>(open_sqlite(&path, &schema)?)
        });
        let db = opened.await.map_err(|_| cm_db::DbError::Panicked)??;
        Ok(Self { db, dir })
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    pub(crate) async fn peers(&self) -> Result<Vec<(String, PeerRow)>, ComputationError> {
        Ok(self.db.read(|tx| tx.range::<Peers>(KeyRange::all(), Direction::Forward, 10_000)).await?)
    }

    pub(crate) async fn put_peer(&self, name: String, row: PeerRow) -> Result<(), ComputationError> {
        Ok(self.db.write(move |tx| tx.put::<Peers>(&name, &row)).await?)
    }

    pub(crate) async fn remove_peer(&self, name: String) -> Result<bool, ComputationError> {
        Ok(self.db.write(move |tx| tx.delete::<Peers>(&name)).await?)
    }

    /// Notes that a run begins. The same run never begins twice: that would use its randomness again.
    pub(crate) async fn begin(&self, run: Uuid, row: RunRow) -> Result<bool, ComputationError> {
        let key = run.to_string();
        Ok(self.db.write(move |tx| note(tx, &key, &row)).await?)
    }

    /// Whether a run has been before.
    pub(crate) async fn has_run(&self, run: Uuid) -> Result<bool, ComputationError> {
        let key = run.to_string();
        Ok(self.db.read(move |tx| Ok::<_, cm_db::DbError>(tx.get::<Runs>(&key)?.is_some())).await?)
    }

    /// Binds a plan to the inputs that it is carried out with, once and for ever; in a run that begins here, unless it was noted before
    /// (`None`). Both are written through to the disk at once.
    pub(crate) async fn bind(
        &self,
        plan: &Sha256Digest,
        inputs: Sha256Digest,
        begins: Option<Uuid>,
    ) -> Result<Binding, ComputationError> {
        let (key, row) = (plan.to_string(), RunRow { leads: None, plan: *plan, ended: false });
        let bound = self.db.write(move |tx| {
            if let Some(run) = begins
                && !note(tx, &run.to_string(), &row)?
            {
                return Ok(Binding::Again);
            }
            match tx.get::<Plans>(&key)? {
                Some(row) if row.spent => Ok(Binding::Spent),
                Some(row) if row.inputs != inputs => Ok(Binding::OtherInputs),
                Some(_) => Ok(Binding::Bound),
                None => {
                    tx.put::<Plans>(&key, &PlanRow { inputs, spent: false })?;
                    Ok::<_, cm_db::DbError>(Binding::Bound)
                }
            }
        });
        Ok(bound.await?)
    }

    /// Whether a plan was begun here, and if so, whether it has come to results.
    pub(crate) async fn begun(&self, plan: &Sha256Digest) -> Result<Option<bool>, ComputationError> {
        let key = plan.to_string();
        Ok(self
            .db
            .read(move |tx| Ok::<_, cm_db::DbError>(tx.get::<Plans>(&key)?.map(|row| row.spent)))
            .await?)
    }

    /// Notes that a plan comes to results, before anybody is given them. Whether it did not before.
    pub(crate) async fn spend(&self, plan: &Sha256Digest) -> Result<bool, ComputationError> {
        let key = plan.to_string();
        let spent = self.db.write(move |tx| match tx.get::<Plans>(&key)? {
            Some(row) if !row.spent => {
                tx.put::<Plans>(&key, &PlanRow { spent: true, ..row })?;
                Ok(true)
            }
            _ => Ok::<_, cm_db::DbError>(false),
        });
        Ok(spent.await?)
    }

    pub(crate) async fn end(&self, run: Uuid) -> Result<(), ComputationError> {
        let key = run.to_string();
        let ended = self.db.write(move |tx| match tx.get::<Runs>(&key)? {
            Some(row) => tx.put::<Runs>(&key, &RunRow { ended: true, ..row }),
            None => Ok(()),
        });
        Ok(ended.await?)
    }

    /// Ends the runs that an earlier process was taken from, and returns the computations among them that this node led.
    pub(crate) async fn end_leftovers(&self) -> Result<Vec<(TenantId, ResourceId)>, ComputationError> {
        let ended = self.db.write(|tx| {
            let mut led = Vec::new();
            for (key, row) in tx.range::<Runs>(KeyRange::all(), Direction::Forward, RUNS_KEPT * 4)? {
                if !row.ended {
                    led.extend(row.leads.clone());
                    tx.put::<Runs>(&key, &RunRow { ended: true, ..row })?;
                }
            }
            Ok::<_, cm_db::DbError>(led)
        });
        Ok(ended.await?)
    }

    pub(crate) async fn close(&self) -> Result<(), ComputationError> {
        Ok(self.db.close().await?)
    }

    /// The folder of a computation's sealed shares. Its name is the hexadecimal text of both ids: nothing in them can lead elsewhere.
    fn folder(&self, tenant: &TenantId, computation: &ResourceId) -> PathBuf {
        self.dir.join(format!("{}.{}", hexed(tenant.as_str()), hexed(computation.as_str())))
    }

    /// Stores a sealed share, as a whole or not at all. `name` is made of its own words by the engine.
    pub(crate) async fn put_share(
        &self,
        place: (&TenantId, &ResourceId),
        name: &ShareName,
        bytes: &[u8],
    ) -> Result<(), ComputationError> {
        let folder = self.folder(place.0, place.1);
        tokio::fs::create_dir_all(&folder).await?;
        let partial = folder.join(format!("{}.{}.partial", name.file(), Uuid::new_v4()));
        tokio::fs::write(&partial, bytes).await?;
        Ok(tokio::fs::rename(&partial, folder.join(name.file())).await?)
    }

    /// A sealed share, if it is there.
    pub(crate) async fn share(
        &self,
        place: (&TenantId, &ResourceId),
        name: &ShareName,
    ) -> Result<Option<Vec<u8>>, ComputationError> {
        match tokio::fs::read(self.folder(place.0, place.1).join(name.file())).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn has_share(&self, place: (&TenantId, &ResourceId), name: &ShareName) -> bool {
        tokio::fs::try_exists(self.folder(place.0, place.1).join(name.file())).await.unwrap_or(false)
    }

    /// Removes all shares of a computation.
    pub(crate) async fn forget(&self, place: (&TenantId, &ResourceId)) -> Result<(), ComputationError> {
        match tokio::fs::remove_dir_all(self.folder(place.0, place.1)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Notes a run, unless it has been before; forgets the oldest.
fn note(tx: &mut WriteTx<'_>, key: &String, row: &RunRow) -> Result<bool, DbError> {
    if tx.get::<Runs>(key)?.is_some() {
        return Ok(false);
    }
    let old = tx.range::<Runs>(KeyRange::all(), Direction::Forward, RUNS_KEPT + 1)?;
    if old.len() > RUNS_KEPT {
        // Their ids come from the clock and a random number, oldest first.
        for (key, _) in old.iter().filter(|(_, row)| row.ended).take(old.len() - RUNS_KEPT) {
            tx.delete::<Runs>(key)?;
        }
    }
    tx.put::<Runs>(key, row)?;
    Ok(true)
}

/// Which sealed share of a computation.
#[derive(Clone, Debug)]
pub(crate) enum ShareName {
    Input { input: String, party: usize },
    Output { output: String, receiver: String, party: usize },
}

impl ShareName {
    fn file(&self) -> String {
        match self {
            ShareName::Input { input, party } => format!("in.{}.{party}", hexed(input)),
            ShareName::Output { output, receiver, party } => {
                // A digest: two long names together would be too long for a file's.
                let both = sha256(format!("{output}\n{receiver}").as_bytes());
                format!("out.{both}.{party}")
            }
        }
    }
}

fn hexed(text: &str) -> String {
    if text.len() > 60 {
        return sha256(text.as_bytes()).to_string();
    }
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
