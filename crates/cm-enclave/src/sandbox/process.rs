//! The few system calls that have no safe wrapper: taking over inherited descriptors, closing foreign
//! ones, forking. All `unsafe` of the sandbox is here.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

/// Takes over a descriptor that the launcher put at `fd`, moved above the standard ones.
///
/// The original number is left open if it is a standard one (0 to 2), pointing to `/dev/null`, because
/// libraries assume that those exist.
pub(crate) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: `fcntl` with F_DUPFD_CLOEXEC only reads its integer arguments and fails with EBADF for a
    // number that is not open.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us and nobody else knows its number.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    if fd > 2 {
        // SAFETY: the process has just started and this number was handed over to be adopted once; no
        // other owner exists.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    } else {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        // SAFETY: replaces a standard descriptor, which is never owned by a Rust value.
        if unsafe { libc::dup2(null.as_raw_fd(), fd) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(copy)
}

/// Closes every descriptor above the standard ones except `kept`.
pub(super) fn close_others(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX)
}

/// Closes every descriptor. For the supervisor, which ends by returning from `main` without using any.
pub(super) fn close_all() -> io::Result<()> {
    close_range(0, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: takes three integers. Descriptors closed here belong to no live Rust value: the caller
    // names those that do, and the process has not opened others yet.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0u32) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Leaves the namespaces that `flags` name.
pub(super) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES), "descriptors stay shared");
    // SAFETY: only `FILES` can take descriptors away from other threads; nobody here asks for it, and
    // there is one thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Forks; `Some(child)` in the parent, `None` in the child.
pub(super) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the process has one thread (its `main` calls here first), so the child finds every lock
    // of the allocator and of the standard library free and may go on with ordinary code.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        child => Ok(Pid::from_raw(child)),
    }
}

/// Gives up every capability of this thread, the only one, for good (no-new-privileges is set before).
pub(super) fn drop_capabilities() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )
}

/// Asks whether a thread of a process could be signalled, for the test of the filter.
#[cfg(test)]
pub(super) fn probe_signal(process: u32) -> io::Result<()> {
    // SAFETY: takes three integers; signal 0 is delivered to nobody.
    match unsafe { libc::syscall(libc::SYS_tgkill, process, process, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
