//! What a program sees of the world: the 46 calls of `wasi_snapshot_preview1`, and nothing else.
//!
//! Written by hand rather than with `wiggle`; docs/adr/0004-wasi-host.md says why. Every pointer and length
//! comes from the program, so every access to its memory goes through [`Guest`], which checks it.
//!
//! # What needs which right
//!
//! Each right of a policy governs the call that WASI's own `rights` type names for it. Without the right the
//! call fails with `ENOTCAPABLE` and the refusal is listed in the report. What differs or needs a decision:
//!
//! - `fd_close`, `fd_renumber`, `fd_fdstat_get`, `fd_fdstat_set_rights`, `fd_prestat_get` and
//!   `fd_prestat_dir_name` need no right: they say and change nothing about a file, and no C library gets as
//!   far as opening one without them.
//! - `fd_filestat_get` does need its right, which the published policies do not give. Rust's `fs::read` uses
//!   it as a hint for a buffer's size only and goes on; so it is refused, listed, and never what a failed run
//!   is blamed on.
//! - `fd_pread` and `fd_pwrite` need `FD_SEEK` besides `FD_READ` or `FD_WRITE`; `fd_tell`, and a seek by 0 from
//!   the current position, need `FD_TELL` or `FD_SEEK`.
//! - `path_open` gives a descriptor the wanted rights that the policy also gives; C libraries ask for many.
//!   The one directory that is open from the start, `/` on descriptor 3, claims in `fd_fdstat_get` to
//!   let all rights through, because older C libraries intersect with that claim before they ask.
//! - Reading a clock, or waiting for one, fails with `EACCES` unless the policy enables it. The times of files
//!   are 0 unless set. There is no environment and there are no sockets. Arguments are the caller's, behind the
//!   program's name. Randomness is the system's.
//! - A write over the limit on storage ends the run: a program that ignores `ENOSPC` would else run for ever.

mod descriptors;
mod linker;
mod memory;
mod names;
mod poll;
mod streams;
#[cfg(test)]
mod tests;
mod time;

use cm_instance::policy::StreamEntry;
use cm_instance::{Limit, Rights};

use crate::vfs::{Errno, Handle, NodeKind, View};

pub use linker::{WasiState, add_to_linker};
pub use memory::Guest;
pub(crate) use poll::RANDOM_MAX;
pub(crate) use streams::open_streams;
pub(crate) use time::RESOLUTION_NS;
pub use time::Time;

/// Most descriptors that a program has open at once.
pub const DESCRIPTORS_MAX: usize = 1024;
/// The descriptor of `/`.
const ROOT_FD: u32 = 3;
/// All that WASI has bits for; the right to execute has none there.
pub(crate) const WASI_RIGHTS: Rights = Rights::ALL.difference(Rights::FILE_EXECUTE);

/// Why a call does not return to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The program exited.
    #[error("exited with code {0}")]
    Exit(u32),
    /// A limit was reached.
    #[error("exceeded the limit on {0}")]
    Limit(Limit),
    /// Somebody cancelled the run.
    #[error("cancelled")]
    Cancelled,
    /// The program asked for the time in a way that has no answer but the time.
    #[error("the policy enables no clock")]
    NoClock,
}

/// How a call ends that does not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The program gets this number.
    Errno(Errno),
    /// The program ends.
    End(End),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

/// The result of a call.
pub type CallResult = Result<(), Stop>;

/// What stands behind a descriptor.
#[derive(Debug)]
enum Descriptor {
    /// A file or directory.
    Open(Handle),
    /// A standard stream without a file: nothing comes out, what goes in is gone.
    Null,
}

/// The world of one run.
pub struct Wasi {
    view: View,
    descriptors: Vec<Option<Descriptor>>,
    arguments: Vec<String>,
    time: Time,
}

impl std::fmt::Debug for Wasi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wasi").field("descriptors", &self.descriptors).finish_non_exhaustive()
    }
}

impl Wasi {
    /// The world of a program: its view of the files, the streams of the policy, its arguments, the name that it is
    /// called by first, and its time.
    pub fn new(mut view: View, streams: &[StreamEntry], arguments: &[String], time: Time) -> Self {
        let streams = open_streams(&mut view, streams);
        let root = view.open_root();
        let streams = streams.map(|handle| Some(handle.map_or(Descriptor::Null, Descriptor::Open)));
        let descriptors = streams.into_iter().chain([Some(Descriptor::Open(root))]).collect();
        Self { view, descriptors, arguments: arguments.to_vec(), time }
    }

    /// The view, with the list of refusals.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The view, for calls of other interfaces.
    pub(crate) fn view_mut(&mut self) -> &mut View {
        &mut self.view
    }

    /// The time of the run.
    pub(crate) fn time(&self) -> &Time {
        &self.time
    }

    fn descriptor(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.descriptors.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::Badf)
    }

    /// The view and an open file, for calls that need both.
    fn file(&mut self, fd: u32) -> Result<(&mut View, Option<&mut Handle>), Errno> {
        match self.descriptors.get_mut(fd as usize).and_then(Option::as_mut) {
            None => Err(Errno::Badf),
            Some(Descriptor::Null) => Ok((&mut self.view, None)),
            Some(Descriptor::Open(handle)) => Ok((&mut self.view, Some(handle))),
        }
    }

    /// The view and an open directory, for calls on names.
    fn directory(&mut self, fd: u32) -> Result<(&mut View, &Handle), Errno> {
        match self.descriptors.get(fd as usize).and_then(Option::as_ref) {
            None => Err(Errno::Badf),
            Some(Descriptor::Open(handle)) if handle.kind() == NodeKind::Directory => {
                Ok((&mut self.view, handle))
            }
            Some(_) => Err(Errno::Notdir),
        }
    }

    fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let free = self.descriptors.iter().position(Option::is_none);
        let at = match free {
            Some(at) => at,
            None if self.descriptors.len() >= DESCRIPTORS_MAX => return Err(Errno::Mfile),
            None => {
                self.descriptors.push(None);
                self.descriptors.len() - 1
            }
        };
        self.descriptors[at] = Some(descriptor);
        u32::try_from(at).map_err(|_| Errno::Mfile)
    }
}

/// A write or a new entry that meets the limit on storage ends the run.
pub(crate) fn or_end(errno: Errno) -> Stop {
    match errno {
        Errno::Nospc => Stop::End(End::Limit(Limit::Storage)),
        Errno::Fbig => Stop::End(End::Limit(Limit::Output)),
        other => Stop::Errno(other),
    }
}
