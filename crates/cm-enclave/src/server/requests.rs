//! What each request does, and who may ask for it.
//!
//! | request | needs |
//! |---|---|
//! | write | `FD_WRITE` and `FD_SEEK` on the file; `PATH_CREATE_FILE` if it is new, `PATH_FILESTAT_SET_SIZE` if not |
//! | append | `FD_WRITE` and `FD_SEEK` on the file; `PATH_CREATE_FILE` if it is new; never a file with a hash |
//! | read, hash of a file | `FD_READ` on the file |
//! | result, execute | to be allowed to execute the program ([`RightsTable::may_execute`]) |
//! | pipeline | to be allowed to execute every program in it ([`RightsTable::may_run`]) |
//! | provide a key | `FD_WRITE` and `FD_SEEK` on the file that the key is for |
//! | write sealed | as write, and a key for the file |
//! | cancel | nothing: it ends the caller's own runs |
//! | list | nothing: it names what the caller has rights on |
//! | policy hash | nothing |
//! | shutdown | nothing: every identity of the policy may end the instance, as it always could |
//!
//! Rights are asked before the file is looked at, so that a refusal does not tell whether it exists.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cm_crypto::digest::{Sha256, sha256};
use cm_crypto::seal::SealError;
use cm_instance::wire::{
    ARGUMENTS_LEN_MAX, ARGUMENTS_MAX, Data, Execute, FRAME_LEN_MAX, FileEntry, FileList, PiHash, PolicyHash,
    ReadFile, Report, Request, RequestBody, Response, Status, arguments_fit, encode_frame,
};
use cm_instance::{
    ExecutionReport, FullPolicy, GuestPath, InvalidPath, Outcome, Principal, RefusalKind, Rights, RightsTable,
};
use cm_types::Sha256Digest;
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::host::{FileError, Host};
use super::refusals::Refusals;
use super::runs::{RunRefused, Runs};

/// The file that the first published programs write and their clients ask for.
const PUBLISHED_OUTPUT: &str = "output";
/// Room in an answer's frame for everything but the bytes of a file.
const ANSWER_OVERHEAD: usize = 1024;
/// Most bytes of a file in one answer.
const READ_LEN_MAX: usize = FRAME_LEN_MAX - ANSWER_OVERHEAD;
/// Bytes hashed at once.
const HASH_LEN: usize = 1024 * 1024;

mod sealed;
mod uploads;

pub(crate) use uploads::Upload;

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
    #[error("the policy has no such pipeline")]
    Pipeline,
    #[error("too many keys wait for their files")]
    TooManyKeys,
    #[error("no key was provided for this file")]
    NoKey,
    #[error("the piece does not follow the last one; send the file again from its beginning")]
    Piece,
    #[error("the sealed file is not the one that its key was provided for: {0}")]
    Seal(#[from] SealError),
    #[error("a program or a pipeline is executed, not both")]
    Both,
    #[error(
        "at most {ARGUMENTS_MAX} arguments with {ARGUMENTS_LEN_MAX} bytes together are allowed, and no zero byte"
    )]
    Arguments,
}

impl Refusal {
    /// What it is to whoever watches over the instance; `None` for what merely went wrong.
    fn kind(&self) -> Option<RefusalKind> {
        match self {
            Self::Role => Some(RefusalKind::Right),
            Self::Path(InvalidPath::Parent(_)) => Some(RefusalKind::Path),
            Self::Hash { .. } | Self::Pinned => Some(RefusalKind::Hash),
            Self::Seal(_) => Some(RefusalKind::Seal),
            Self::Unknown => Some(RefusalKind::MalformedMessage),
            _ => None,
        }
    }

    fn status(&self) -> Status {
        match self {
            Self::Role => Status::InvalidRole,
            Self::Run(RunRefused::Busy) => Status::NotReady,
            Self::Run(_) => Status::Generic,
            Self::Ended(Outcome::Exit { .. }) => Status::ErrorCodeReturned,
            Self::Ended(Outcome::MissingRight { call, .. }) if call == "execute" => Status::InvalidRole,
            Self::Ended(Outcome::NotFound | Outcome::HashMismatch { .. }) => Status::InvalidRequest,
            Self::Ended(_) => Status::VmError,
            Self::File(FileError::Full) | Self::TooManyKeys => Status::Generic,
            Self::NoKey => Status::NotReady,
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
    refusals: Arc<Refusals>,
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
    sealed: sealed::SealedFiles,
}

impl Service {
    /// Serves a policy over a host. `stop` is cancelled when a client ends the instance.
    pub(crate) fn new(
        host: Arc<dyn Host>,
        runs: Runs,
        refusals: Arc<Refusals>,
        policy: FullPolicy,
        policy_hash: Sha256Digest,
        time_max: Duration,
        stop: CancellationToken,
    ) -> Self {
        let table = RightsTable::from_policy(&policy);
        let knows_execute = table.knows_execute();
        Self {
            host,
            runs,
            refusals,
            table,
            policy,
            policy_hash,
            knows_execute,
            time_max,
            stop,
            changes: AtomicU64::new(0),
            last_runs: Mutex::default(),
            sealed: sealed::SealedFiles::default(),
        }
    }

    /// Forgets keys that have waited for too long for their files, and files for their keys.
    pub(crate) fn forget_old(&self, now: Instant) {
        self.sealed.forget_old(now);
    }

    /// Answers one request, given and answered as messages without their frames' headers.
    pub(crate) async fn answer(&self, identity: u64, request: Bytes) -> Bytes {
        self.forget_old(Instant::now());
        let (name, answer) = match Request::decode(request) {
            Ok(Request { body: Some(body), .. }) => {
                let name = body.file_name().map(str::to_owned);
                (name, self.carry_out(identity, body).await)
            }
            Ok(Request { body: None, .. }) | Err(_) => (None, Err(Refusal::Unknown)),
        };
        self.respond(identity, name.as_deref(), answer)
    }

    /// The frame of an answer. What is refused for the sake of security is told.
    fn respond(&self, identity: u64, name: Option<&str>, answer: Result<Response, Refusal>) -> Bytes {
        let answer = answer.unwrap_or_else(|refusal| {
            if let Some(kind) = refusal.kind() {
                self.refusals.identity(kind, identity, name.and_then(|name| self.named(name)));
            }
            Response::failure(refusal.status(), refusal.to_string())
        });
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
                let report = self.run(identity, &request.file_name, &[], self.time_max).await?;
                self.exit_code(&report)
            }
            RequestBody::RequestResult(request) => self.fresh_result(identity, &request.file_name).await,
            RequestBody::Execute(request) => self.execute(identity, &request).await,
            RequestBody::Cancel(_) => {
                self.runs.cancel(identity);
                Ok(Response::success())
            }
            RequestBody::ListFiles(_) => Ok(self.list(identity)),
            RequestBody::ProvideKey(request) => self.provide_key(identity, request, Instant::now()),
            RequestBody::WriteSealed(request) => self.write_sealed(identity, &request, Instant::now()),
            RequestBody::RequestShutdown(_) => self.shut_down(identity),
            RequestBody::RequestPipeline(request) => {
                let report = self.run_pipeline(identity, &request.pipeline_id, &[], self.time_max).await?;
                self.exit_code(&report)
            }
        }
    }

    fn rights(&self, identity: u64, path: &GuestPath) -> Rights {
        self.table.rights(&Principal::Identity(identity), path)
    }

    fn demand(&self, identity: u64, path: &GuestPath, needed: Rights) -> Result<(), Refusal> {
        if self.rights(identity, path).contains(needed) { Ok(()) } else { Err(Refusal::Role) }
    }

    /// The file that a name means, if the policy names it.
    fn named(&self, name: &str) -> Option<GuestPath> {
        let path = GuestPath::parse(name).ok()?;
        self.table.paths().any(|(named, _)| *named == path).then_some(path)
    }

    /// Something that could change a program's result has happened.
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// The file of this name, if the identity may replace it, or add to its end.
    fn writable(&self, identity: u64, name: &str, append: bool) -> Result<GuestPath, Refusal> {
        let path = GuestPath::parse(name)?;
        self.demand(identity, &path, WRITE)?;
        match self.host.file_len(&path) {
            None => self.demand(identity, &path, Rights::PATH_CREATE_FILE)?,
            Some(_) if append => {}
            Some(_) => self.demand(identity, &path, Rights::PATH_FILESTAT_SET_SIZE)?,
        }
        let pinned = self.policy.program(&path).is_some() || self.policy.expected_hash(&path).is_some();
        if append && pinned { Err(Refusal::Pinned) } else { Ok(path) }
    }

    fn write(&self, identity: u64, data: Data) -> Result<Response, Refusal> {
        let path = self.writable(identity, &data.file_name, false)?;
        if let Some(expected) = self.policy.expected_hash(&path) {
            let found = sha256(&data.data);
            if found != expected {
                return Err(Refusal::Hash { path, expected, found });
            }
        }
        self.host.write(&path, &data.data, false)?;
        self.changed();
        Ok(Response::success())
    }

    fn append(&self, identity: u64, data: Data) -> Result<Response, Refusal> {
        let path = self.writable(identity, &data.file_name, true)?;
        self.host.write(&path, &data.data, true)?;
        self.changed();
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

    /// Ends the instance, and with it every file. Whoever is in the policy may: the published clients end the instance
    /// when they have their result, whatever rights they have, and it discloses nothing.
    fn shut_down(&self, identity: u64) -> Result<Response, Refusal> {
        self.table.grants(&Principal::Identity(identity)).ok_or(Refusal::Role)?;
        self.stop.cancel();
        Ok(Response::success())
    }

    async fn execute(&self, identity: u64, request: &Execute) -> Result<Response, Refusal> {
        if !arguments_fit(&request.arguments) {
            return Err(Refusal::Arguments);
        }
        let asked = Duration::from_millis(request.deadline_ms);
        let time_max = if asked.is_zero() { self.time_max } else { asked.min(self.time_max) };
        let report = match &request.pipeline {
            None => self.run(identity, &request.file_name, &request.arguments, time_max).await?,
            Some(name) if request.file_name.is_empty() => {
                self.run_pipeline(identity, name, &request.arguments, time_max).await?
            }
            Some(_) => return Err(Refusal::Both),
        };
        Ok(reported(&report))
    }

    async fn run(
        &self,
        identity: u64,
        name: &str,
        arguments: &[String],
        time_max: Duration,
    ) -> Result<ExecutionReport, Refusal> {
        let program = GuestPath::parse(name)?;
        if !self.table.may_execute(identity, &program) {
            return Err(Refusal::Role);
        }
        let changes = self.changes.load(Ordering::Relaxed);
        let report = self.runs.run(identity, &program, arguments, time_max).await?;
        // Others may have to run again now; this program need not.
        let raised = self.changes.fetch_add(1, Ordering::Relaxed);
        let changes = if raised == changes { raised + 1 } else { changes };
        let mut last_runs = self.last_runs.lock().unwrap_or_else(PoisonError::into_inner);
        // Who asks for a fresh result gives no arguments, and must not get the result of a run that had some.
        if arguments.is_empty() {
            last_runs.insert(program, LastRun { changes, report: report.clone() });
        } else {
            last_runs.remove(&program);
        }
        Ok(report)
    }

    /// Runs the programs of a pipeline, each with its own rights, up to the first that does not complete. The time is
    /// that of all of them.
    async fn run_pipeline(
        &self,
        identity: u64,
        asked: &str,
        arguments: &[String],
        time_max: Duration,
    ) -> Result<ExecutionReport, Refusal> {
        let entry = self.policy.pipeline(asked).ok_or(Refusal::Pipeline)?;
        if !self.table.may_run(identity, entry) {
            return Err(Refusal::Role);
        }
        let started = Instant::now();
        let mut whole = ExecutionReport::before_start(Outcome::Completed);
        let mut evaluation = entry.pipeline.begin();
        let exists = |path: &GuestPath| {
            let may_ask = self.table.may_ask(&entry.name, path);
            may_ask.then(|| self.host.exists(path)).ok_or_else(|| Outcome::MissingRight {
                path: path.clone(),
                right: Rights::PATH_FILESTAT_GET,
                call: "if".to_owned(),
            })
        };
        while whole.succeeded() {
            match evaluation.next_program(exists) {
                Ok(Some(program)) => {
                    let left = time_max.saturating_sub(started.elapsed());
                    let step = self.run(identity, program.as_str(), arguments, left).await?;
                    whole.add_step(program.clone(), step);
                }
                Ok(None) => break,
                Err(refused) => whole.outcome = refused,
            }
        }
        Ok(whole)
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
            None => self.run(identity, name, &[], self.time_max).await?,
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
