//! What each request does, and who may ask for it.
//!
//! | request | needs |
//! |---|---|
//! | write | `FD_WRITE` and `FD_SEEK` on the file; `PATH_CREATE_FILE` if it is new, `PATH_FILESTAT_SET_SIZE` if not |
//! | append | `FD_WRITE` and `FD_SEEK` on the file; `PATH_CREATE_FILE` if it is new; never a file with a hash |
//! | read, hash of a file | `FD_READ` on the file |
//! | result, execute | to be allowed to execute the program ([`RightsTable::may_execute`]) |
//! | cancel | nothing: it ends the caller's own runs |
//! | list | nothing: it names what the caller has rights on |
//! | policy hash | nothing |
//! | shutdown | under policies that use `FILE_EXECUTE`, that right on some program; otherwise any right |
//!
//! Rights are asked before the file is looked at, so that a refusal does not tell whether it exists.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cm_crypto::digest::{Sha256, sha256};
use cm_instance::wire::{
    Data, FRAME_LEN_MAX, FileEntry, FileList, PiHash, PolicyHash, ReadFile, Report, Request, RequestBody,
    Response, Status, encode_frame,
};
use cm_instance::{
    ExecutionReport, FullPolicy, GuestPath, InvalidPath, Outcome, Principal, Rights, RightsTable,
};
use cm_types::Sha256Digest;
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::host::{FileError, Host};
use super::runs::{RunRefused, Runs};

/// The file that the first published programs write and their clients ask for.
const PUBLISHED_OUTPUT: &str = "output";
/// Room in an answer's frame for everything but the bytes of a file.
const ANSWER_OVERHEAD: usize = 1024;
/// Most bytes of a file in one answer.
const READ_LEN_MAX: usize = FRAME_LEN_MAX - ANSWER_OVERHEAD;
/// Bytes hashed at once.
const HASH_LEN: usize = 1024 * 1024;

/// What a writer needs on any file.
const WRITE: Rights = Rights::FD_WRITE.union(Rights::FD_SEEK);

/// Why a request is not carried out.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the policy does not allow it")]
    Role,
    #[error(transparent)]
    Path(#[from] InvalidPath),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path} has the hash {found}, the policy demands {expected}")]
    Hash { path: GuestPath, expected: Sha256Digest, found: Sha256Digest },
    #[error("a file with a hash in the policy is written as a whole")]
    Pinned,
    #[error("the file has {0} bytes; read it in parts of at most {READ_LEN_MAX}")]
    TooLong(u64),
    #[error(transparent)]
    Run(#[from] RunRefused),
    #[error("{0}")]
    Ended(Outcome),
    #[error("the request cannot be understood")]
    Unknown,
    #[error("pipelines are not supported")]
    Pipeline,
}

impl Refusal {
    fn status(&self) -> Status {
        match self {
            Self::Role => Status::InvalidRole,
            Self::Run(RunRefused::Busy) => Status::NotReady,
            Self::Run(_) => Status::Generic,
            Self::Ended(Outcome::Exit { .. }) => Status::ErrorCodeReturned,
            Self::Ended(Outcome::MissingRight { call, .. }) if call == "execute" => Status::InvalidRole,
            Self::Ended(Outcome::NotFound | Outcome::HashMismatch { .. }) => Status::InvalidRequest,
            Self::Ended(_) => Status::VmError,
            Self::File(FileError::Full) => Status::Generic,
            _ => Status::InvalidRequest,
        }
    }
}

/// The last run of a program, and how much had been written by then.
struct LastRun {
    changes: u64,
    report: ExecutionReport,
}

/// Answers the requests of identities.
pub(crate) struct Service {
    host: Arc<dyn Host>,
    runs: Runs,
    table: RightsTable,
    policy: FullPolicy,
    policy_hash: Sha256Digest,
    /// Whether the policy is of the later published form, which knows a right to execute.
    knows_execute: bool,
    time_max: Duration,
    /// Cancelled to end the instance.
    stop: CancellationToken,
    /// Counts what could change a program's result: writes of clients, runs of programs.
    changes: AtomicU64,
    last_runs: Mutex<HashMap<GuestPath, LastRun>>,
}

impl Service {
    /// Serves a policy over a host. `stop` is cancelled when a client ends the instance.
    pub(crate) fn new(
        host: Arc<dyn Host>,
        runs: Runs,
        policy: FullPolicy,
        policy_hash: Sha256Digest,
        time_max: Duration,
        stop: CancellationToken,
    ) -> Self {
        let table = RightsTable::from_policy(&policy);
        let identities = policy.identities.iter().map(|identity| Principal::Identity(identity.id));
        let programs = policy
            .programs
            .iter()
            .map(|program| Principal::Program(program.program_file_name.path().clone()));
        let knows_execute = identities
            .chain(programs)
            .filter_map(|principal| table.grants(&principal))
            .any(|grants| grants.mention(Rights::FILE_EXECUTE));
        Self {
            host,
            runs,
            table,
            policy,
            policy_hash,
            knows_execute,
            time_max,
            stop,
            changes: AtomicU64::new(0),
            last_runs: Mutex::default(),
        }
    }

    /// Answers one request, given and answered as messages without their frames' headers.
    pub(crate) async fn answer(&self, identity: u64, request: Bytes) -> Bytes {
        let answer = match Request::decode(request) {
            Ok(Request { body: Some(body), .. }) => self.carry_out(identity, body).await,
            Ok(Request { body: None, .. }) | Err(_) => Err(Refusal::Unknown),
        };
        let answer =
            answer.unwrap_or_else(|refusal| Response::failure(refusal.status(), refusal.to_string()));
        encode_frame(&answer).unwrap_or_else(|error| {
            let failure = Response::failure(Status::Generic, error.to_string());
            encode_frame(&failure).expect("a short text fits into a frame")
        })
    }

    async fn carry_out(&self, identity: u64, body: RequestBody) -> Result<Response, Refusal> {
        match body {
            RequestBody::WriteFile(data) => self.write(identity, data),
            RequestBody::AppendFile(data) => self.append(identity, data),
            RequestBody::ReadFile(read) => self.read(identity, &read),
            RequestBody::RequestPiHash(request) => self.hash(identity, &request.file_name).await,
            RequestBody::RequestPolicyHash(_) => {
                let policy_hash = Some(PolicyHash { data: self.policy_hash.to_string() });
                Ok(Response { policy_hash, ..Response::success() })
            }
            RequestBody::RequestResult(request) if self.knows_execute => {
                let report = self.run(identity, &request.file_name, self.time_max).await?;
                self.exit_code(&report)
            }
            RequestBody::RequestResult(request) => self.fresh_result(identity, &request.file_name).await,
            RequestBody::Execute(request) => {
                let asked = Duration::from_millis(request.deadline_ms);
                let time_max = if asked.is_zero() { self.time_max } else { asked.min(self.time_max) };
                Ok(reported(&self.run(identity, &request.file_name, time_max).await?))
            }
            RequestBody::Cancel(_) => {
                self.runs.cancel(identity);
                Ok(Response::success())
            }
            RequestBody::ListFiles(_) => Ok(self.list(identity)),
            RequestBody::RequestShutdown(_) => self.shut_down(identity),
            RequestBody::RequestPipeline(_) => Err(Refusal::Pipeline),
        }
    }

    fn rights(&self, identity: u64, path: &GuestPath) -> Rights {
        self.table.rights(&Principal::Identity(identity), path)
    }

    fn demand(&self, identity: u64, path: &GuestPath, needed: Rights) -> Result<(), Refusal> {
        if self.rights(identity, path).contains(needed) { Ok(()) } else { Err(Refusal::Role) }
    }

    fn write(&self, identity: u64, data: Data) -> Result<Response, Refusal> {
        let path = GuestPath::parse(&data.file_name)?;
        self.demand(identity, &path, WRITE)?;
        let existing = self.host.file_len(&path).is_some();
        let further = if existing { Rights::PATH_FILESTAT_SET_SIZE } else { Rights::PATH_CREATE_FILE };
        self.demand(identity, &path, further)?;
        if let Some(expected) = self.policy.expected_hash(&path) {
            let found = sha256(&data.data);
            if found != expected {
                return Err(Refusal::Hash { path, expected, found });
            }
        }
        self.host.write(&path, &data.data, false)?;
        self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(Response::success())
    }

    fn append(&self, identity: u64, data: Data) -> Result<Response, Refusal> {
        let path = GuestPath::parse(&data.file_name)?;
        self.demand(identity, &path, WRITE)?;
        if self.host.file_len(&path).is_none() {
            self.demand(identity, &path, Rights::PATH_CREATE_FILE)?;
        }
        if self.policy.program(&path).is_some() || self.policy.expected_hash(&path).is_some() {
            return Err(Refusal::Pinned);
        }
        self.host.write(&path, &data.data, true)?;
        self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(Response::success())
    }

    fn read(&self, identity: u64, request: &ReadFile) -> Result<Response, Refusal> {
        let path = GuestPath::parse(&request.file_name)?;
        self.demand(identity, &path, Rights::FD_READ)?;
        let wanted = match usize::try_from(request.length) {
            Ok(length) if length > 0 => length.min(READ_LEN_MAX),
            _ => READ_LEN_MAX,
        };
        let part = self.host.read(&path, request.offset, wanted)?;
        let rest = part.file_len.saturating_sub(request.offset);
        // Who names no length expects everything, and must not take a part for the whole.
        if request.length == 0 && rest > part.bytes.len() as u64 {
            return Err(Refusal::TooLong(part.file_len));
        }
        Ok(Response { file_len: Some(part.file_len), ..Response::data(part.bytes) })
    }

    /// Hashes in steps, between which the loop serves others.
    async fn hash(&self, identity: u64, file_name: &str) -> Result<Response, Refusal> {
        let path = GuestPath::parse(file_name)?;
        self.demand(identity, &path, Rights::FD_READ)?;
        let mut hash = Sha256::new();
        let mut offset = 0;
        loop {
            let part = self.host.read(&path, offset, HASH_LEN)?;
            hash.update(&part.bytes);
            offset += part.bytes.len() as u64;
            if part.bytes.is_empty() || offset >= part.file_len {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok(Response { pi_hash: Some(PiHash { data: hash.finish().to_string() }), ..Response::success() })
    }

    fn list(&self, identity: u64) -> Response {
        let known = self.host.list().into_iter().filter_map(|(path, length)| {
            let rights = self.rights(identity, &path);
            let measurable = Rights::FD_READ | Rights::PATH_FILESTAT_GET | Rights::FD_FILESTAT_GET;
            (!rights.is_empty()).then(|| FileEntry {
                file_name: path.to_string(),
                length: rights.intersects(measurable).then_some(length),
                rights: rights.bits(),
            })
        });
        Response { files: Some(FileList { files: known.collect() }), ..Response::success() }
    }

    /// Ends the instance, and with it every file. The later published policies know who executes; under
    /// the first ones the client that has fetched its result ends the instance, so there any identity
    /// with a right may.
    fn shut_down(&self, identity: u64) -> Result<Response, Refusal> {
        let wanted = if self.knows_execute { Rights::FILE_EXECUTE } else { Rights::ALL };
        let grants = self.table.grants(&Principal::Identity(identity)).ok_or(Refusal::Role)?;
        if !grants.mention(wanted) {
            return Err(Refusal::Role);
        }
        self.stop.cancel();
        Ok(Response::success())
    }

    async fn run(&self, identity: u64, name: &str, time_max: Duration) -> Result<ExecutionReport, Refusal> {
        let program = GuestPath::parse(name)?;
        if !self.table.may_execute(identity, &program) {
            return Err(Refusal::Role);
        }
        let changes = self.changes.load(Ordering::Relaxed);
        let report = self.runs.run(identity, &program, time_max).await?;
        // Others may have to run again now; this program need not.
        let raised = self.changes.fetch_add(1, Ordering::Relaxed);
        let changes = if raised == changes { raised + 1 } else { changes };
        let mut last_runs = self.last_runs.lock().unwrap_or_else(PoisonError::into_inner);
        last_runs.insert(program, LastRun { changes, report: report.clone() });
        Ok(report)
    }

    /// Runs the program if anything changed since it last ran, then answers with the output file, read
    /// with the caller's rights.
    async fn fresh_result(&self, identity: u64, name: &str) -> Result<Response, Refusal> {
        let program = GuestPath::parse(name)?;
        if !self.table.may_execute(identity, &program) {
            return Err(Refusal::Role);
        }
        let last = {
            let last_runs = self.last_runs.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = |last: &&LastRun| last.changes == self.changes.load(Ordering::Relaxed);
            last_runs.get(&program).filter(fresh).map(|last| last.report.clone())
        };
        let report = match last {
            Some(report) => report,
            None => self.run(identity, name, self.time_max).await?,
        };
        if !report.succeeded() {
            return Ok(reported(&report));
        }
        let output = ReadFile { file_name: PUBLISHED_OUTPUT.to_owned(), offset: 0, length: 0 };
        self.read(identity, &output)
    }

    /// The answer of the later published runtime: the exit code, also when it is not 0.
    fn exit_code(&self, report: &ExecutionReport) -> Result<Response, Refusal> {
        match report.outcome {
            Outcome::Completed => Ok(Response::data(0u32.to_le_bytes().to_vec())),
            Outcome::Exit { code } => Ok(Response::data(code.to_le_bytes().to_vec())),
            _ => Ok(reported(report)),
        }
    }
}

/// The answer that holds a whole report.
fn reported(report: &ExecutionReport) -> Response {
    let packed = Some(Report::pack(report));
    if report.succeeded() {
        return Response { report: packed, ..Response::success() };
    }
    let ended = Refusal::Ended(report.outcome.clone());
    Response { report: packed, ..Response::failure(ended.status(), ended.to_string()) }
}

#[cfg(test)]
mod tests;
