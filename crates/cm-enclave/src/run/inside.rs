//! Joins the engine and its file system to the server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cm_crypto::Secret;
use cm_crypto::digest::sha256;
use cm_crypto::sealed;
use cm_instance::control::{Launch, Limits};
use cm_instance::policy::StreamEntry;
use cm_instance::{ExecutionReport, FullPolicy, GuestPath, Outcome, Principal, RightsTable};
use cm_runtime::{Clock, SystemClock};
use cm_types::Sha256Digest;
use tokio_util::sync::CancellationToken;

use super::control::{Artefact, ControlFailure, ProgramBytes};
use crate::engine::{self, Engine, EngineError, Interrupt, Program, Run, RunLimits};
use crate::server::{FileError, Host, Part, Staged};
use crate::vfs::{self, Errno, Vfs, VfsLimits, View};

/// Why what the launcher sent cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The bytes are not those that the policy names.
    #[error("{path} has the hash {found}, the policy demands {expected}")]
    Hash { path: GuestPath, expected: Sha256Digest, found: Sha256Digest },
    /// The policy knows no such file, so nobody could say what it should contain.
    #[error("{0} has no hash in the policy")]
    Unknown(GuestPath),
    /// The limits leave no room for a file.
    #[error("{path} does not fit")]
    Room { path: GuestPath, source: Errno },
    /// The engine cannot start, or a program is none.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The launcher could not be told.
    #[error(transparent)]
    Control(#[from] ControlFailure),
}

/// Checks what the launcher sent against the policy, stores it, and makes the programs ready to run. What had to be
/// compiled is handed to `keep`, sealed.
pub(super) fn load(
    engine: Engine,
    policy: &FullPolicy,
    launch: &Launch,
    programs: Vec<ProgramBytes>,
    data_files: Vec<Vec<u8>>,
    mut keep: impl FnMut(&Artefact) -> Result<(), ControlFailure>,
) -> Result<Arc<dyn Host>, LoadError> {
    let table = Arc::new(RightsTable::from_policy(policy));
    let limits = VfsLimits {
        storage_bytes: launch.limits.storage_bytes,
        file_bytes: launch.limits.file_bytes,
        ..VfsLimits::default()
    };
    let vfs = Vfs::new(limits, &table);
    let key = Secret::new(*launch.module_cache_key.as_bytes());
    let mut ready = HashMap::new();
    for (program, bytes) in launch.programs.iter().zip(programs) {
        let digest = store(policy, &vfs, &program.path, &bytes.wasm)?;
        if let std::collections::hash_map::Entry::Vacant(vacant) = ready.entry(digest) {
            vacant.insert(prepare(&engine, &key, digest, &bytes, &mut keep)?);
        }
    }
    for (file, bytes) in launch.data_files.iter().zip(data_files) {
        store(policy, &vfs, &file.path, &bytes)?;
    }
    Ok(Arc::new(Inside {
        engine,
        vfs,
        table,
        streams: policy.streams(),
        clock: policy.enable_clock.then(|| Arc::new(SystemClock) as Arc<dyn Clock>),
        memory_bytes: policy.memory_bytes().min(launch.limits.memory_bytes),
        limits: launch.limits.clone(),
        hashes: expected_hashes(policy),
        debug: policy.debug,
        ready: Mutex::new(ready),
    }))
}

fn expected_hashes(policy: &FullPolicy) -> HashMap<GuestPath, Sha256Digest> {
    let paths = policy.programs.iter().map(|program| program.program_file_name.path());
    paths.filter_map(|path| Some((path.clone(), policy.expected_hash(path)?))).collect()
}

/// Stores a file that must have the hash that the policy names.
fn store(policy: &FullPolicy, vfs: &Vfs, path: &GuestPath, bytes: &[u8]) -> Result<Sha256Digest, LoadError> {
    let expected = policy.expected_hash(path).ok_or_else(|| LoadError::Unknown(path.clone()))?;
    let found = sha256(bytes);
    if found != expected {
        return Err(LoadError::Hash { path: path.clone(), expected, found });
    }
    vfs.store(path, bytes).map_err(|source| LoadError::Room { path: path.clone(), source })?;
    Ok(found)
}

/// Loads the artefact if it is genuine and for this very engine; compiles the program otherwise. A cache that was
/// tampered with costs time and nothing else.
fn prepare(
    engine: &Engine,
    key: &Secret<[u8; 32]>,
    digest: Sha256Digest,
    bytes: &ProgramBytes,
    keep: &mut impl FnMut(&Artefact) -> Result<(), ControlFailure>,
) -> Result<Program, LoadError> {
    let binding = engine.artefact_binding(&digest);
    let opened = bytes.artefact.as_ref().and_then(|sealed| sealed::open(key, &binding, sealed).ok());
    if let Some(opened) = opened {
        let artefact = engine::Artefact::from_authentic_bytes(opened);
        if let Ok(program) = engine.load(digest, &artefact) {
            return Ok(program);
        }
    }
    let (program, artefact) = engine.prepare(&bytes.wasm)?;
    keep(&Artefact { wasm_sha256: digest, sealed: sealed::seal(key, &binding, artefact.as_bytes()) })?;
    Ok(program)
}

/// Files and programs of one instance.
struct Inside {
    engine: Engine,
    vfs: Vfs,
    table: Arc<RightsTable>,
    streams: Vec<StreamEntry>,
    clock: Option<Arc<dyn Clock>>,
    memory_bytes: u64,
    limits: Limits,
    /// What each program's file must contain.
    hashes: HashMap<GuestPath, Sha256Digest>,
    /// Whether reports tell names that the policy does not know.
    debug: bool,
    /// Programs that are ready to run, by the hash of their modules. At most one per program of the policy, because
    /// only modules with a hash of the policy get here.
    ready: Mutex<HashMap<Sha256Digest, Program>>,
}

impl Inside {
    /// The program stored as this file, compiled if a client has provided it since.
    fn program(&self, path: &GuestPath) -> Result<Program, Outcome> {
        let wasm = self.vfs.load(path).map_err(|_| Outcome::NotFound)?;
        let found = sha256(&wasm);
        match self.hashes.get(path) {
            None => return Err(Outcome::NotFound),
            Some(&expected) if expected != found => {
                return Err(Outcome::HashMismatch { path: path.clone(), expected, found });
            }
            Some(_) => {}
        }
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = ready.get(&found) {
            return Ok(program.clone());
        }
        match self.engine.prepare(&wasm) {
            Ok((program, _)) => {
                ready.insert(found, program.clone());
                Ok(program)
            }
            Err(error) => Err(Outcome::InvalidModule { message: super::chain(&error) }),
        }
    }

    /// The report without names that only the program knows. A program chooses the names that it tries, and whoever
    /// may execute it need not be allowed to read anything that it has read: such a name is told as the nearest
    /// directory that the policy names. A policy with `debug` lets everything through.
    fn discreet(&self, mut report: ExecutionReport) -> ExecutionReport {
        for denied in &mut report.denied {
            denied.path = self.named(&denied.path);
        }
        if let Outcome::MissingRight { path, .. } = &mut report.outcome {
            *path = self.named(path);
        }
        report
    }

    fn named(&self, path: &GuestPath) -> GuestPath {
        let mut path = path.clone();
        while !self.hashes.contains_key(&path) && !self.table.paths().any(|(named, _)| *named == path) {
            match path.parent() {
                Some(parent) => path = parent,
                None => return GuestPath::root(),
            }
        }
        path
    }
}

impl Host for Inside {
    fn file_len(&self, path: &GuestPath) -> Option<u64> {
        self.vfs.file_len(path)
    }

    fn read(&self, path: &GuestPath, offset: u64, len: usize) -> Result<Part, FileError> {
        let (bytes, file_len) = self.vfs.load_part(path, offset, len).map_err(file_error)?;
        Ok(Part { bytes: Bytes::from(bytes), file_len })
    }

    fn write(&self, path: &GuestPath, bytes: &[u8], append: bool) -> Result<(), FileError> {
        let written = if append { self.vfs.append(path, bytes) } else { self.vfs.store(path, bytes) };
        written.map_err(file_error)
    }

    fn stage(&self, length: u64) -> Result<Box<dyn Staged>, FileError> {
        Ok(Box::new(Beside(self.vfs.stage(length).map_err(file_error)?)))
    }

    fn list(&self) -> Vec<(GuestPath, u64)> {
        self.vfs.files()
    }

    fn exists(&self, path: &GuestPath) -> bool {
        self.vfs.exists(path)
    }

    fn execute(
        &self,
        path: &GuestPath,
        arguments: &[String],
        time_max: Duration,
        cancel: &CancellationToken,
    ) -> ExecutionReport {
        let program = match self.program(path) {
            Ok(program) => program,
            Err(outcome) => return ExecutionReport::before_start(outcome),
        };
        let arguments: Vec<String> =
            std::iter::once(path.to_string()).chain(arguments.iter().cloned()).collect();
        let interrupt = Interrupt::new();
        let run = Run {
            view: View::new(self.vfs.clone(), self.table.clone(), &Principal::Program(path.clone())),
            arguments: &arguments,
            streams: &self.streams,
            clock: self.clock.clone(),
            limits: RunLimits {
                memory_bytes: self.memory_bytes,
                wall: time_max.min(Duration::from_millis(self.limits.wall_ms)),
                fuel: None,
            },
            interrupt: interrupt.clone(),
        };
        let report = interruptible(cancel, &interrupt, || self.engine.run(&program, run));
        if self.debug { report } else { self.discreet(report) }
    }
}

/// A file on its way into the file system.
struct Beside(vfs::Staged);

impl Staged for Beside {
    fn push(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.0.push(bytes).map_err(file_error)
    }

    fn commit(self: Box<Self>, path: &GuestPath, append: bool) -> Result<(), FileError> {
        self.0.commit(path, append).map_err(file_error)
    }
}

fn file_error(errno: Errno) -> FileError {
    match errno {
        Errno::Noent => FileError::NotFound,
        Errno::Nospc | Errno::Fbig => FileError::Full,
        _ => FileError::NotAFile,
    }
}

/// Does blocking work that the token's cancellation interrupts. The engine is interrupted from another thread, and a
/// token can only be awaited, hence the thread.
fn interruptible<T>(cancel: &CancellationToken, interrupt: &Interrupt, work: impl FnOnce() -> T) -> T {
    let done = CancellationToken::new();
    std::thread::scope(|scope| {
        // Cancelled however the work ends, so that the scope's thread ends too.
        let _done = done.clone().drop_guard();
        scope.spawn(|| {
            futures::executor::block_on(async {
                tokio::select! {
                    () = cancel.cancelled() => interrupt.cancel(),
                    () = done.cancelled() => {}
                }
            });
        });
        work()
    })
}

#[cfg(test)]
mod tests;
