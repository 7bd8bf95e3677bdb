//! The reference: wasmtime alone, with the few calls that the programs import over a map of files, in this process.
#![allow(unsafe_code, reason = "wasmtime deserialises machine code, which no check can make safe")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use wasmtime::{Caller, Config, Engine, Extern, Linker, Module, Store};

use crate::mesh::{INPUT, OUTPUT};
use cm_e2e::measure::Outcome;

/// The word that makes this executable run one artefact and end.
pub(crate) const PROCESS: &str = "bare-process";

/// Deepest stack of a program, in bytes, as in an instance.
const STACK_BYTES: usize = 1024 * 1024;
const MODULE: &str = "wasi_snapshot_preview1";
const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const NOENT: i32 = 44;
const FILE_TYPE_DIRECTORY: u8 = 3;
const FILE_TYPE_REGULAR: u8 = 4;
const OPEN_CREATE: u32 = 1;
const OPEN_TRUNCATE: u32 = 8;
const ROOT_FD: u32 = 3;

/// A program's exit, on its way out of wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("the program exited with code {0}")]
struct Exit(i32);

/// Files by name, and what is open with its position. Descriptors begin at 4.
#[derive(Default)]
struct Files {
    files: HashMap<String, Vec<u8>>,
    open: Vec<Option<(String, usize)>>,
}

impl Files {
    fn at(&mut self, fd: u32) -> Option<(&mut Vec<u8>, &mut usize)> {
        let (name, position) = self.open.get_mut((fd as usize).checked_sub(4)?)?.as_mut()?;
        Some((self.files.get_mut(name)?, position))
    }
}

/// Whether programs check for a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checks {
    /// They do not: wasmtime as it comes.
    None,
    /// By wasmtime's epochs, at loops and calls: what compiled programs in an instance would pay without checks of
    /// another kind, which `docs/adr/0010-stopping-programs.md` describes.
    Epoch,
}

/// An engine without anything around it.
pub(crate) struct Bare {
    engine: Engine,
    linker: Linker<Files>,
}

impl Bare {
    /// The engine's settings are those of an instance, but for the checks.
    pub(crate) fn new(checks: Checks) -> Outcome<Bare> {
        let mut config = Config::new();
        config.max_wasm_stack(STACK_BYTES);
        config.memory_init_cow(true);
        config.relaxed_simd_deterministic(true);
        config.epoch_interruption(checks == Checks::Epoch);
        let engine = Engine::new(&config)?;
        let linker = linker(&engine)?;
        Ok(Bare { engine, linker })
    }

    /// Compiles a module to an artefact.
    pub(crate) fn compile(&self, wasm: &[u8]) -> Outcome<Vec<u8>> {
        Ok(self.engine.precompile_module(wasm)?)
    }

    /// Makes a module of an artefact.
    pub(crate) fn load(&self, artefact: &[u8]) -> Outcome<Module> {
        // SAFETY: every artefact here was made by `compile` of this very program a moment ago, and kept in its
        // memory or its own temporary directory.
        Ok(unsafe { Module::deserialize(&self.engine, artefact) }?)
    }

    /// Runs a module in a new store on an input; returns its output.
    pub(crate) fn run(&self, module: &Module, input: &[u8]) -> Outcome<Vec<u8>> {
        let mut files = Files::default();
        files.files.insert(INPUT.to_owned(), input.to_vec());
        let mut store = Store::new(&self.engine, files);
        store.set_epoch_deadline(1);
        let instance = self.linker.instantiate(&mut store, module)?;
        let ended = instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ());
        match ended {
            Err(error) if !matches!(error.downcast_ref(), Some(Exit(0))) => return Err(error.into()),
            _ => {}
        }
        store.data_mut().files.remove(OUTPUT).ok_or_else(|| "the program wrote no output".into())
    }
}

/// The whole life of a process that runs one artefact: the input comes over standard input, the output goes to
/// standard output.
pub(crate) fn process(artefact: &Path) -> Outcome<()> {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let bare = Bare::new(Checks::None)?;
    let module = bare.load(&std::fs::read(artefact)?)?;
    Ok(std::io::stdout().write_all(&bare.run(&module, &input)?)?)
}

/// Runs an artefact in a process of its own.
pub(crate) fn in_a_process(artefact: &Path, input: &[u8]) -> Outcome<Vec<u8>> {
    let mut child = Command::new("/proc/self/exe")
        .arg(PROCESS)
        .arg(artefact)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("standard input is piped")?.write_all(input)?;
    Ok(child.wait_with_output()?.stdout)
}

/// Memory and files of a caller.
fn parts<'a>(caller: &'a mut Caller<'_, Files>) -> wasmtime::Result<(&'a mut [u8], &'a mut Files)> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory.data_and_store_mut(caller)),
        _ => Err(wasmtime::Error::msg("the program exports no memory")),
    }
}

fn slice(memory: &mut [u8], at: u32, len: usize) -> wasmtime::Result<&mut [u8]> {
    let at = at as usize;
    memory.get_mut(at..at + len).ok_or_else(|| wasmtime::Error::msg("a pointer leads out of memory"))
}

fn put(memory: &mut [u8], at: u32, bytes: &[u8]) -> wasmtime::Result<()> {
    slice(memory, at, bytes.len())?.copy_from_slice(bytes);
    Ok(())
}

fn number(memory: &mut [u8], at: u32) -> wasmtime::Result<u32> {
    let bytes = slice(memory, at, 4)?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Copies between a file and the buffers that a list names; says how many bytes.
fn transfer(
    memory: &mut [u8],
    (list, count): (u32, u32),
    mut copy: impl FnMut(&mut [u8]) -> usize,
) -> wasmtime::Result<u32> {
    let mut total = 0;
    for index in 0..count {
        let (at, len) = (number(memory, list + 8 * index)?, number(memory, list + 8 * index + 4)?);
        total += copy(slice(memory, at, len as usize)?);
    }
    Ok(u32::try_from(total)?)
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Files>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap(MODULE, "environ_get", |_: u32, _: u32| SUCCESS)?;
    linker.func_wrap(MODULE, "environ_sizes_get", |mut c: Caller<'_, Files>, count: u32, len: u32| {
        let (memory, _) = parts(&mut c)?;
        put(memory, count, &[0; 4])?;
        put(memory, len, &[0; 4]).map(|()| SUCCESS)
    })?;
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Exit(code)))
    })?;
    linker.func_wrap(MODULE, "fd_close", |mut c: Caller<'_, Files>, fd: u32| {
        let place = (fd as usize).checked_sub(4).and_then(|at| c.data_mut().open.get_mut(at));
        if place.and_then(Option::take).is_some() { SUCCESS } else { BADF }
    })?;
    linker.func_wrap(MODULE, "fd_prestat_get", |mut c: Caller<'_, Files>, fd: u32, out: u32| {
        if fd != ROOT_FD {
            return Ok(BADF);
        }
        let (memory, _) = parts(&mut c)?;
        put(memory, out, &[0, 0, 0, 0, 1, 0, 0, 0]).map(|()| SUCCESS)
    })?;
    linker.func_wrap(
        MODULE,
        "fd_prestat_dir_name",
        |mut c: Caller<'_, Files>, _: u32, at: u32, _: u32| put(parts(&mut c)?.0, at, b"/").map(|()| SUCCESS),
    )?;
    files_in(&mut linker)?;
    Ok(linker)
}

/// The calls on open files.
fn files_in(linker: &mut Linker<Files>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_fdstat_get", |mut c: Caller<'_, Files>, fd: u32, out: u32| {
        let (memory, files) = parts(&mut c)?;
        let mut stat = [0xff; 24];
        stat[..8].fill(0);
        stat[0] = if fd == ROOT_FD { FILE_TYPE_DIRECTORY } else { FILE_TYPE_REGULAR };
        if fd > ROOT_FD && files.at(fd).is_none() {
            return Ok(BADF);
        }
        put(memory, out, &stat).map(|()| SUCCESS)
    })?;
    linker.func_wrap(MODULE, "fd_filestat_get", |mut c: Caller<'_, Files>, fd: u32, out: u32| {
        let (memory, files) = parts(&mut c)?;
        let Some((content, _)) = files.at(fd) else { return Ok(BADF) };
        let mut stat = [0; 64];
        stat[16] = FILE_TYPE_REGULAR;
        stat[32..40].copy_from_slice(&(content.len() as u64).to_le_bytes());
        put(memory, out, &stat).map(|()| SUCCESS)
    })?;
    linker.func_wrap(
        MODULE,
        "fd_read",
        |mut c: Caller<'_, Files>, fd: u32, list: u32, count: u32, out: u32| {
            let (memory, files) = parts(&mut c)?;
            let Some((content, position)) = files.at(fd) else { return Ok(BADF) };
            let read = transfer(memory, (list, count), |buffer| {
                let rest = content.get(*position..).unwrap_or_default();
                let len = rest.len().min(buffer.len());
                buffer[..len].copy_from_slice(&rest[..len]);
                *position += len;
                len
            })?;
            put(memory, out, &read.to_le_bytes()).map(|()| SUCCESS)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_write",
        |mut c: Caller<'_, Files>, fd: u32, list: u32, count: u32, out: u32| {
            let (memory, files) = parts(&mut c)?;
            let Some((content, _)) = files.at(fd) else { return Ok(BADF) };
            let written = transfer(memory, (list, count), |buffer| {
                content.extend_from_slice(buffer);
                buffer.len()
            })?;
            put(memory, out, &written.to_le_bytes()).map(|()| SUCCESS)
        },
    )?;
    linker.func_wrap(MODULE, "path_open", path_open)?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the call has so many")]
fn path_open(
    mut caller: Caller<'_, Files>,
    _fd: u32,
    _lookup: u32,
    at: u32,
    len: u32,
    flags: u32,
    _rights: u64,
    _inheriting: u64,
    _fd_flags: u32,
    out: u32,
) -> wasmtime::Result<i32> {
    let (memory, files) = parts(&mut caller)?;
    let name = String::from_utf8_lossy(slice(memory, at, len as usize)?).into_owned();
    if flags & OPEN_CREATE != 0 {
        files.files.entry(name.clone()).or_default();
    }
    let Some(content) = files.files.get_mut(&name) else { return Ok(NOENT) };
    if flags & OPEN_TRUNCATE != 0 {
        content.clear();
    }
    files.open.push(Some((name, 0)));
    let fd = u32::try_from(files.open.len() + 3)?;
    put(memory, out, &fd.to_le_bytes()).map(|()| SUCCESS)
}
