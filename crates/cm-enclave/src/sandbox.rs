//! The walls around an instance.
//!
//! An instance is entered in three steps, while the process still has one thread, and a fourth when it knows its size:
//!
//! 1. [`seclude`] leaves the host's namespaces and forks, because a process becomes a member of a new
//!    PID namespace only by birth. The parent stays as a [supervisor](Secluded::Supervisor) that owns
//!    nothing and dies with its child; the child goes on.
//! 2. [`confine`] takes away the root directory, files (Landlock), capabilities and the readability of its memory.
//! 3. [`seal`] installs the system call filter, after the steps that need calls which it forbids.
//! 4. [`bound`] sets resource limits, which the launch message names.
//!
//! No layer relies on another, so that a host without one of them still has the rest. A layer that could
//! not be raised is recorded with the reason; whether that is an error is the launcher's decision
//! (`isolation.require`).

mod files;
mod limits;
mod namespaces;
mod process;
mod root;
mod syscalls;

pub(crate) use limits::Bounds;
pub(crate) use process::adopt;

use std::io;
use std::os::fd::BorrowedFd;

use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions};

/// One layer of isolation, and whether it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Its name in evidence and in `isolation.require`.
    pub(crate) name: &'static str,
    /// Why it does not stand; `None` if it does.
    pub(crate) missing: Option<String>,
}

impl Layer {
    fn of<T, E: std::fmt::Display>(name: &'static str, raised: Result<T, E>) -> Self {
        Self { name, missing: raised.err().map(|error| error.to_string()) }
    }
}

/// Which side of the fork this process is on.
pub(crate) enum Secluded {
    /// The parent: waits for the instance and ends as it ended.
    Supervisor(Pid),
    /// The child, inside.
    Instance(Vec<Layer>),
}

/// Closes every descriptor but the standard ones. To be called first of all in `main`, when none of them belongs to
/// anything in the process yet.
///
/// # Errors
/// The operating system refuses.
pub fn close_inherited() -> io::Result<()> {
    process::close_others(&[])
}

/// Leaves the host's namespaces, closes every descriptor but `kept` and the standard ones, and forks.
pub(crate) fn seclude(kept: &[BorrowedFd<'_>]) -> io::Result<Secluded> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut layers = vec![Layer::of("closed-descriptors", process::close_others(kept))];
    layers.push(Layer::of(
        "empty-environment",
        match std::env::vars_os().next() {
            None => Ok(()),
            Some(_) => Err("the launcher handed over environment variables"),
        },
    ));
    layers.extend(namespaces::leave());
    match process::fork()? {
        Some(child) => Ok(Secluded::Supervisor(child)),
        None => {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(Secluded::Instance(layers))
        }
    }
}

/// Waits for the instance and returns its exit code, 128 + signal if it was killed. The supervisor keeps
/// no descriptor, so that the end of the instance is visible to the launcher at once.
pub(crate) fn supervise(child: Pid) -> u8 {
    let _ = process::close_all();
    loop {
        match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                let code =
                    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
                return code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return u8::MAX,
        }
    }
}

/// Takes away everything that takes no system call filter.
pub(crate) fn confine(layers: &mut Vec<Layer>) {
    layers.push(Layer::of("empty-root", root::empty()));
    layers.push(Layer::of("no-new-privileges", rustix::thread::set_no_new_privs(true)));
    layers.push(Layer::of("landlock", files::deny_all()));
    layers.push(Layer::of("no-capabilities", process::drop_capabilities()));
    layers.push(Layer::of(
        "not-dumpable",
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable),
    ));
}

/// Installs the system call filter. From here on: no new files, sockets, processes or programs.
pub(crate) fn seal(layers: &mut Vec<Layer>) {
    layers.push(Layer::of("seccomp", syscalls::install()));
}

/// Limits what the kernel gives. The one step that needs to know what the instance is for; the filter lets a process
/// lower its own limits.
pub(crate) fn bound(layers: &mut Vec<Layer>, bounds: Bounds) {
    let own_users = layers.iter().any(|layer| layer.name == namespaces::USER && layer.missing.is_none());
    layers.push(Layer::of("resource-limits", limits::apply(bounds, own_users)));
}

#[cfg(test)]
mod tests;
