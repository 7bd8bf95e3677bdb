//! Where the digests of signed results are recorded, so that nobody can later say that there was another, or none at that time.
//!
//! Two implementations ship: [`AnchorFile`], lines of JSON at the end of a file, and a ledger behind Ethereum's JSON-RPC, which speaks HTTP and
//! stands among the faces (`cm_dialects::evm`). A computation is completed before its result is recorded: what `anchor` says in its status tells
//! how that went, and it can be asked for again.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cm_computation::Proof;
use cm_kernel::OpContext;
use cm_kernel::catalog::Record;
use cm_kernel::policy::{Invoke, Permit, Read};
use cm_runtime::Tasks;
use cm_types::{ResourceId, ResourceKind, Sha256Digest, TenantId, Timestamp};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::lead::{demand_completed, demand_concerned, key};
use crate::{ComputationError, Computations};

/// How long it may take to record a result. Blocks of public ledgers come every quarter of a minute.
pub const ANCHOR_WITHIN: Duration = Duration::from_secs(120);

/// What is recorded of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchored {
    /// When the node recorded it, as it says.
    pub at: Timestamp,
    /// Which computation it was.
    pub computation: String,
    /// In which run.
    pub run: String,
    /// The digest of the result's statement: what the parties signed.
    pub result_sha256: Sha256Digest,
    /// The parties' key.
    pub group_key: String,
    /// Their signature.
    pub signature: String,
}

/// Why a result could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The file cannot be written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The ledger cannot be reached, or says what it must not.
    #[error(
        "the ledger did not answer as it should ({0}); see whether `mpc.anchor_url` names a JSON-RPC endpoint that is up"
    )]
    Unreachable(&'static str),
    /// The ledger refused.
    #[error("the ledger refused: {0}")]
    Refused(String),
    /// It took too long. It may be recorded all the same.
    #[error("not confirmed within {} s; ask again to see whether it was", .0.as_secs())]
    Late(Duration),
    /// The ledger forgot what it was given.
    #[error("the ledger does not know the transaction any more; ask again to send another")]
    Forgotten,
    /// The node is going down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

impl AnchorError {
    /// Whether what was submitted will not be recorded any more: the next attempt submits it anew.
    fn is_final(&self) -> bool {
        matches!(self, AnchorError::Refused(_) | AnchorError::Forgotten)
    }
}

/// Something that remembers digests where this node cannot change them unnoticed. In two steps, because each submission may cost money: what is known to
/// have been submitted is not submitted again before it is known to have come to nothing.
pub trait Anchor: std::fmt::Debug + Send + Sync {
    /// What it is called in the status of computations.
    fn kind(&self) -> &'static str;

    /// Submits a result; what comes back is for [`Anchor::confirm`].
    fn submit<'a>(&'a self, entry: &'a Anchored) -> BoxFuture<'a, Result<Value, AnchorError>>;

    /// Waits until what was submitted is recorded durably; what comes back says where it can be found. Safe to repeat.
    fn confirm<'a>(
        &'a self,
        entry: &'a Anchored,
        submitted: &'a Value,
    ) -> BoxFuture<'a, Result<Value, AnchorError>>;
}

/// A file to whose end a line of JSON is written for each result.
#[derive(Debug)]
pub struct AnchorFile {
    path: PathBuf,
    tasks: Tasks,
    /// One writer at a time.
    turn: Arc<Mutex<()>>,
}

impl AnchorFile {
    /// The file at this path; it need not be there yet.
    pub fn new(path: PathBuf, tasks: &Tasks) -> Self {
        Self { path, tasks: tasks.clone(), turn: Arc::default() }
    }
}

impl Anchor for AnchorFile {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn submit<'a>(&'a self, entry: &'a Anchored) -> BoxFuture<'a, Result<Value, AnchorError>> {
        Box::pin(async move {
            let mut line = serde_json::to_vec(entry).expect("plain data");
            line.push(b'\n');
            let (path, turn) = (self.path.clone(), self.turn.clone());
            let written = self.tasks.spawn_blocking("mpc-anchor", move || {
                let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                append(&path, &line)
            });
            let written = written.await.map_err(|_| AnchorError::ShuttingDown)?;
            let at = written.map_err(|source| AnchorError::File { path: self.path.clone(), source })?;
            Ok(json!({ "file": self.path.display().to_string(), "offset": at }))
        })
    }

    /// A line that was written is recorded.
    fn confirm<'a>(
        &'a self,
        _: &'a Anchored,
        submitted: &'a Value,
    ) -> BoxFuture<'a, Result<Value, AnchorError>> {
        Box::pin(async move { Ok(submitted.clone()) })
    }
}

/// Writes a line to the end of a file, durably; where it begins.
fn append(path: &Path, line: &[u8]) -> std::io::Result<u64> {
    let is_new = !path.try_exists()?;
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let mut end = file.seek(SeekFrom::End(0))?;
    if end > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            // A line that a crash cut off must not swallow the next.
            file.write_all(b"\n")?;
            end += 1;
        }
    }
    file.write_all(line)?;
    file.sync_all()?;
    if is_new && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(end)
}

impl Computations {
    /// The proof of a completed computation that was signed.
    ///
    /// # Errors
    /// [`ComputationError::NoResult`] before its end, [`ComputationError::NotSigned`] if the plan did not ask for it.
    pub fn proof(&self, record: &Record, permit: &Permit<Read>) -> Result<Proof, ComputationError> {
        debug_assert_eq!(permit.kind(), ResourceKind::Computation);
        demand_completed(record)?;
        proof_of(record)
    }

    /// Records the result of a computation now, for whom it concerns, and says so in its status: what the anchor tells of it.
    ///
    /// # Errors
    /// [`ComputationError::NotSigned`], [`ComputationError::NoAnchor`], or why it was not recorded.
    pub async fn anchor(
        &self,
        op: &OpContext,
        record: &Record,
        permit: &Permit<Invoke>,
    ) -> Result<Value, ComputationError> {
        debug_assert_eq!(permit.kind(), ResourceKind::Computation);
        demand_concerned(op, record, &self.plan(record)?)?;
        demand_completed(record)?;
        let proof = proof_of(record)?;
        self.anchor_now(&key(record), &proof).await
    }

    /// The same by itself, after a run. How it went stands in the status and in the log.
    pub(crate) fn anchor_soon(&self, place: (TenantId, ResourceId)) {
        let own = self.clone();
        self.0.tasks.spawn("mpc-anchor", async move {
            let op = own.node_op(&place.0);
            let found = own.0.kernel.look_up::<Read>(&op, ResourceKind::Computation, place.1.as_str()).await;
            let anchored = match found.map_err(ComputationError::from).and_then(|(record, _)| proof_of(&record)) {
                Ok(proof) => own.anchor_now(&place, &proof).await,
                Err(error) => Err(error),
            };
            if let Err(error) = anchored {
                tracing::warn!(computation = %place.1, error = &error as &dyn std::error::Error, "result not recorded");
            }
        });
    }

    async fn anchor_now(
        &self,
        place: &(TenantId, ResourceId),
        proof: &Proof,
    ) -> Result<Value, ComputationError> {
        let anchor = self.0.config.anchor.clone().ok_or(ComputationError::NoAnchor)?;
        let anchoring = || self.0.anchoring.lock().unwrap_or_else(PoisonError::into_inner);
        if !anchoring().insert(place.clone()) {
            return Err(ComputationError::Anchoring);
        }
        let _over = Over(self, place);
        let op = self.node_op(&place.0);
        let (record, _) =
            self.0.kernel.look_up::<Read>(&op, ResourceKind::Computation, place.1.as_str()).await?;
        // Once is enough: a ledger takes money for each.
        let known = &record.status["anchor"];
        if known["state"] == "recorded" {
            return Ok(known.clone());
        }
        let is_under_way = known["state"] == "submitted" && known["kind"] == anchor.kind();
        let mut submitted = known.get("place").filter(|_| is_under_way).cloned();
        let entry = Anchored {
            at: self.0.kernel.now(),
            computation: proof.statement.computation.clone(),
            run: proof.statement.run.clone(),
            result_sha256: proof.result_sha256,
            group_key: proof.group_key.clone(),
            signature: proof.signature.clone(),
        };
        let said = |state: &str| json!({ "kind": anchor.kind(), "at": entry.at, "state": state });
        let recorded = async {
            let at = match &submitted {
                Some(at) => at,
                None => {
                    let at = submitted.insert(within(anchor.submit(&entry)).await?);
                    let noted = self.set_anchor(place, said("submitted"), Some(at)).await;
                    // It may have been paid for: whoever reads the log can find it.
                    noted.inspect_err(
                        |_| tracing::error!(computation = %place.1, %at, "submitted and not noted"),
                    )?;
                    at
                }
            };
            Ok(within(anchor.confirm(&entry, at)).await?)
        };
        match recorded.await {
            Ok(found) => self.set_anchor(place, said("recorded"), Some(&found)).await,
            Err(ComputationError::Anchor(error)) => {
                let submitted = submitted.as_ref().filter(|_| !error.is_final());
                let mut status = said(if submitted.is_some() { "submitted" } else { "failed" });
                status["message"] = json!(error.to_string());
                self.set_anchor(place, status, submitted).await?;
                Err(error.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Says in the status of a computation how far its recording is.
    async fn set_anchor(
        &self,
        place: &(TenantId, ResourceId),
        mut said: Value,
        at: Option<&Value>,
    ) -> Result<Value, ComputationError> {
        if let Some(at) = at {
            said["place"] = at.clone();
        }
        let op = self.node_op(&place.0);
        let (record, _) =
            self.0.kernel.look_up::<Read>(&op, ResourceKind::Computation, place.1.as_str()).await?;
        let mut status = record.status;
        status["anchor"] = said.clone();
        self.set_status(place, status).await?;
        Ok(said)
    }
}

async fn within(step: impl Future<Output = Result<Value, AnchorError>>) -> Result<Value, AnchorError> {
    timeout(ANCHOR_WITHIN, step).await.unwrap_or(Err(AnchorError::Late(ANCHOR_WITHIN)))
}

/// Takes the computation from those that are being recorded.
struct Over<'a>(&'a Computations, &'a (TenantId, ResourceId));

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.0.anchoring.lock().unwrap_or_else(PoisonError::into_inner).remove(self.1);
    }
}

fn proof_of(record: &Record) -> Result<Proof, ComputationError> {
    let proof = record.status.get("proof").ok_or(ComputationError::NotSigned)?;
    serde_json::from_value(proof.clone()).map_err(|_| ComputationError::NotSigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_line_that_a_crash_cut_off_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results");
        std::fs::write(&path, b"{\"at\":").unwrap();
        let entry = Anchored {
            at: Timestamp::from_micros(1),
            computation: "c".to_owned(),
            run: "r".to_owned(),
            result_sha256: Sha256Digest::from_bytes([7; 32]),
            group_key: "02".repeat(33),
            signature: "00".repeat(65),
        };
        let said = AnchorFile::new(path.clone(), &Tasks::new()).submit(&entry).await.unwrap();
        assert_eq!(said["offset"], 7);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<Anchored>(&text[7..]).unwrap(), entry);
    }
}
