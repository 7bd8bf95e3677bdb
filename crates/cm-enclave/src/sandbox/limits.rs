//! Resource limits that the kernel enforces, behind those that the engine enforces itself.

use rustix::io;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Threads: the server, the thread that wakes at deadlines, the compiler's pool and the runs.
const THREADS_MAX: u64 = 128;
/// Address space. Wasmtime reserves gibibytes per linear memory without touching them.
const ADDRESS_SPACE_MAX: u64 = 1 << 42;
/// What the process needs besides guests' memory and files: code, compiler, TLS buffers.
const OVERHEAD: u64 = 1 << 30;

/// What the launcher allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of a guest's memory and of the file system together.
    pub(crate) data: u64,
    /// Open connections.
    pub(crate) connections: u64,
}

/// Applies all limits, hard and soft. Threads are counted only in a user namespace of our own: elsewhere
/// the count is the whole user's.
pub(super) fn apply(bounds: Bounds, own_users: bool) -> io::Result<()> {
    set(Resource::Core, 0)?;
    set(Resource::Fsize, 0)?;
    set(Resource::Memlock, 0)?;
    set(Resource::Msgqueue, 0)?;
    set(Resource::Nofile, bounds.connections.saturating_add(32))?;
    set(Resource::Data, bounds.data.saturating_add(OVERHEAD))?;
    set(Resource::As, ADDRESS_SPACE_MAX)?;
    if own_users {
        set(Resource::Nproc, THREADS_MAX)?;
    }
    Ok(())
}

/// Never raises a limit that the host set lower.
fn set(resource: Resource, value: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let value = now.maximum.map_or(value, |maximum| maximum.min(value));
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
}
