//! The calls under their names, and the way from a call into [`Wasi`].

use wasmtime::{Caller, Extern, Linker, Memory};

use super::names::PathOpen;
use super::{CallResult, End, Guest, Stop, Wasi};
use crate::nn::Nn;
use crate::vfs::Errno;

const MODULE: &str = "wasi_snapshot_preview1";
const MEMORY: &str = "memory";

/// What a store must hold for the calls.
#[derive(Debug)]
pub struct WasiState<L> {
    /// The world of the run.
    pub wasi: Wasi,
    /// The limits of the run.
    pub limits: L,
    /// The models that the program has loaded.
    pub(crate) nn: Nn,
    /// The program's memory, once it was looked up.
    memory: Option<Memory>,
}

impl<L> WasiState<L> {
    /// The state of a new run.
    pub fn new(wasi: Wasi, limits: L) -> Self {
        Self { wasi, limits, nn: Nn::default(), memory: None }
    }
}

impl<L: 'static> WasiState<L> {
    /// The memory of the program that calls, beside the state; `None` if it has none.
    pub(crate) fn with_memory<'a>(caller: &'a mut Caller<'_, Self>) -> Option<(&'a mut [u8], &'a mut Self)> {
        let memory = match caller.data().memory {
            Some(memory) => memory,
            None => {
                let Some(Extern::Memory(memory)) = caller.get_export(MEMORY) else { return None };
                caller.data_mut().memory = Some(memory);
                memory
            }
        };
        Some(memory.data_and_store_mut(caller))
    }
}

fn call<L: 'static>(
    caller: &mut Caller<'_, WasiState<L>>,
    body: impl FnOnce(&mut Wasi, &mut Guest<'_>) -> CallResult,
) -> wasmtime::Result<i32> {
    let Some((bytes, state)) = WasiState::with_memory(caller) else { return Ok(Errno::Fault as i32) };
    match body(&mut state.wasi, &mut Guest::new(bytes)) {
        Ok(()) => Ok(0),
        Err(Stop::Errno(errno)) => Ok(errno as i32),
        Err(Stop::End(end)) => Err(wasmtime::Error::new(end)),
    }
}

/// Defines one call: its name, its arguments with their types, and what it does. Arguments arrive in the
/// types that WASI means; WebAssembly knows no unsigned numbers.
macro_rules! define {
    ($linker:ident, $name:ident($($arg:ident: $ty:ty),*) |$wasi:ident, $guest:ident| $body:expr) => {
        $linker.func_wrap(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, WasiState<L>>, $($arg: $ty),*| {
                call(&mut caller, |$wasi, $guest| {
                    let _ = &$guest;
                    $body
                })
            },
        )?;
    };
}

/// Defines the 46 calls of `wasi_snapshot_preview1`. Fails only if one of them is defined already.
pub fn add_to_linker<L: 'static>(linker: &mut Linker<WasiState<L>>) -> wasmtime::Result<()> {
    define_process(linker)?;
    define_descriptors(linker)?;
    define_names(linker)
}

fn define_process<L: 'static>(l: &mut Linker<WasiState<L>>) -> wasmtime::Result<()> {
    define!(l, args_get(places: u32, bytes: u32) |w, g| w.args_get(g, places, bytes));
    define!(l, args_sizes_get(count: u32, len: u32) |w, g| w.args_sizes_get(g, count, len));
    define!(l, environ_get(_v: u32, _b: u32) |_w, _g| Ok(()));
    define!(l, environ_sizes_get(count: u32, len: u32) |w, g| w.environ_sizes_get(g, count, len));
    define!(l, clock_res_get(id: u32, out: u32) |w, g| w.clock_res_get(g, id, out));
    define!(l, clock_time_get(id: u32, _precision: u64, out: u32) |w, g| w.clock_time_get(g, id, out));
    define!(l, poll_oneoff(list: u32, events: u32, n: u32, out: u32) |w, g| w.poll_oneoff(g, list, events, n, out));
    define!(l, proc_raise(_signal: u32) |_w, _g| Err(Errno::Nosys.into()));
    define!(l, sched_yield() | _w, _g | Ok(()));
    define!(l, random_get(at: u32, len: u32) |w, g| w.random_get(g, at, len));
    define!(l, sock_accept(fd: u32, _flags: u32, _out: u32) |w, _g| w.sock_accept(fd));
    define!(l, sock_recv(fd: u32, _l: u32, _n: u32, _f: u32, _len: u32, _o: u32) |w, _g| w.sock_recv(fd));
    define!(l, sock_send(fd: u32, _l: u32, _n: u32, _f: u32, _len: u32) |w, _g| w.sock_send(fd));
    define!(l, sock_shutdown(fd: u32, _how: u32) |w, _g| w.sock_shutdown(fd));
    l.func_wrap(MODULE, "proc_exit", |code: u32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(End::Exit(code)))
    })?;
    Ok(())
}

fn define_descriptors<L: 'static>(l: &mut Linker<WasiState<L>>) -> wasmtime::Result<()> {
    define!(l, fd_advise(fd: u32, _at: u64, _len: u64, advice: u32) |w, _g| w.fd_advise(fd, advice));
    define!(l, fd_allocate(fd: u32, at: u64, len: u64) |w, _g| w.fd_allocate(fd, at, len));
    define!(l, fd_close(fd: u32) |w, _g| w.fd_close(fd));
    define!(l, fd_datasync(fd: u32) |w, _g| w.fd_datasync(fd));
    define!(l, fd_fdstat_get(fd: u32, out: u32) |w, g| w.fd_fdstat_get(g, fd, out));
    define!(l, fd_fdstat_set_flags(fd: u32, flags: u32) |w, _g| w.fd_fdstat_set_flags(fd, flags));
    define!(l, fd_fdstat_set_rights(fd: u32, base: u64, _inheriting: u64) |w, _g| w.fd_fdstat_set_rights(fd, base));
    define!(l, fd_filestat_get(fd: u32, out: u32) |w, g| w.fd_filestat_get(g, fd, out));
    define!(l, fd_filestat_set_size(fd: u32, len: u64) |w, _g| w.fd_filestat_set_size(fd, len));
    define!(l, fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, flags: u32) |w, _g| {
        w.fd_filestat_set_times(fd, accessed, modified, flags)
    });
    define!(l, fd_pread(fd: u32, list: u32, n: u32, at: u64, out: u32) |w, g| w.fd_pread(g, fd, list, n, at, out));
    define!(l, fd_prestat_get(fd: u32, out: u32) |w, g| w.fd_prestat_get(g, fd, out));
    define!(l, fd_prestat_dir_name(fd: u32, at: u32, len: u32) |w, g| w.fd_prestat_dir_name(g, fd, at, len));
    define!(l, fd_pwrite(fd: u32, list: u32, n: u32, at: u64, out: u32) |w, g| {
        w.fd_pwrite(g, fd, list, n, at, out)
    });
    define!(l, fd_read(fd: u32, list: u32, n: u32, out: u32) |w, g| w.fd_read(g, fd, list, n, out));
    define!(l, fd_readdir(fd: u32, at: u32, len: u32, cookie: u64, out: u32) |w, g| {
        w.fd_readdir(g, fd, at, len, cookie, out)
    });
    define!(l, fd_renumber(from: u32, to: u32) |w, _g| w.fd_renumber(from, to));
    define!(l, fd_seek(fd: u32, by: i64, whence: u32, out: u32) |w, g| w.fd_seek(g, fd, by, whence, out));
    define!(l, fd_sync(fd: u32) |w, _g| w.fd_sync(fd));
    define!(l, fd_tell(fd: u32, out: u32) |w, g| w.fd_tell(g, fd, out));
    define!(l, fd_write(fd: u32, list: u32, n: u32, out: u32) |w, g| w.fd_write(g, fd, list, n, out));
    Ok(())
}

fn define_names<L: 'static>(l: &mut Linker<WasiState<L>>) -> wasmtime::Result<()> {
    define!(l, path_create_directory(fd: u32, at: u32, len: u32) |w, g| w.path_create_directory(g, fd, at, len));
    define!(l, path_filestat_get(fd: u32, lookup: u32, at: u32, len: u32, out: u32) |w, g| {
        w.path_filestat_get(g, fd, lookup, at, len, out)
    });
    define!(l, path_filestat_set_times(
        fd: u32, lookup: u32, at: u32, len: u32, accessed: u64, modified: u64, flags: u32
    ) |w, g| w.path_filestat_set_times(g, fd, lookup, at, len, accessed, modified, flags));
    define!(l, path_link(
        from: u32, lookup: u32, from_at: u32, from_len: u32, to: u32, to_at: u32, to_len: u32
    ) |w, g| w.path_link(g, (from, lookup, from_at, from_len), (to, to_at, to_len)));
    define!(l, path_open(
        fd: u32, lookup: u32, at: u32, len: u32, oflags: u32, rights: u64, _inheriting: u64, fdflags: u32, out: u32
    ) |w, g| w.path_open(g, PathOpen { fd, lookup, at, len, oflags, rights, fdflags, out }));
    define!(l, path_readlink(fd: u32, at: u32, len: u32, buffer: u32, buffer_len: u32, out: u32) |w, g| {
        w.path_readlink(g, fd, (at, len), (buffer, buffer_len), out)
    });
    define!(l, path_remove_directory(fd: u32, at: u32, len: u32) |w, g| w.path_remove_directory(g, fd, at, len));
    define!(l, path_rename(from: u32, from_at: u32, from_len: u32, to: u32, to_at: u32, to_len: u32) |w, g| {
        w.path_rename(g, (from, from_at, from_len), (to, to_at, to_len))
    });
    define!(l, path_symlink(target: u32, target_len: u32, fd: u32, at: u32, len: u32) |w, g| {
        w.path_symlink(g, (target, target_len), fd, (at, len))
    });
    define!(l, path_unlink_file(fd: u32, at: u32, len: u32) |w, g| w.path_unlink_file(g, fd, at, len));
    Ok(())
}
