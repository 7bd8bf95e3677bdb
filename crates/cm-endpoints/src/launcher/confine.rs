//! What a server may use.
//!
//! All of it works without privileges, and is in force before the server is told to begin:
//!
//! - **Memory** is `RLIMIT_DATA`: what a process may map privately and write to, its heap and its threads' stacks. That is
//!   nearer to the memory that it uses than `RLIMIT_AS`, which also counts the executable, mapped files and address space
//!   that is only set aside. Whoever asks for less than [`DATA_BYTES_MIN`] gets that.
//! - **CPU** is affinity: so many of the node's CPUs, beginning at another one for each endpoint, and no others. It bounds
//!   how much runs at a time and reserves nothing.
//! - No core dumps, and a bounded number of open files.

use std::io;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The least memory that a server gets, in bytes: an idle one was measured to take half a megabyte, and as many connections
/// as it accepts need some more.
const DATA_BYTES_MIN: u64 = 16 << 20;
/// Open files: both listeners' connections with room to spare.
const FILES_MAX: u64 = 1024;

/// Holds a process to what its endpoint asks for.
pub(super) fn confine(pid: u32, cpu: Option<u32>, ram: Option<u64>, slot: u16) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    limit(pid, Resource::Core, 0)?;
    limit(pid, Resource::Nofile, FILES_MAX)?;
    if let Some(ram) = ram {
        limit(pid, Resource::Data, ram.max(DATA_BYTES_MIN))?;
    }
    if let Some(cpu) = cpu
        && let Some(cpus) = share(&sched_getaffinity(None)?, cpu, slot)
    {
        sched_setaffinity(Some(pid), &cpus)?;
    }
    Ok(())
}

fn limit(pid: Pid, resource: Resource, value: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    // What this process may not have itself it cannot give.
    let value = now.maximum.map_or(value, |maximum| value.min(maximum));
    prlimit(Some(pid), resource, Rlimit { current: Some(value), maximum: Some(value) })?;
    Ok(())
}

/// So many of these CPUs, others for each slot as far as they go round; `None` if that is all of them.
fn share(all: &CpuSet, count: u32, slot: u16) -> Option<CpuSet> {
    let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
    let count = usize::try_from(count).unwrap_or(usize::MAX).max(1);
    if count >= all.len() {
        return None;
    }
    let first = usize::from(slot) * count;
    let mut share = CpuSet::new();
    (first..first + count).for_each(|at| share.set(all[at % all.len()]));
    Some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(all: &[usize], count: u32, slot: u16, expected: Option<&[usize]>) {
        let mut set = CpuSet::new();
        all.iter().for_each(|cpu| set.set(*cpu));
        let share = share(&set, count, slot);
        let found = share.map(|share| (0..64).filter(|cpu| share.is_set(*cpu)).collect::<Vec<_>>());
        assert_eq!(found.as_deref(), expected, "{count} of {all:?} in slot {slot}");
    }

    #[test]
    fn cpus_are_shared_out_in_turn() {
        check(&[0, 1, 2, 3], 1, 0, Some(&[0]));
        check(&[0, 1, 2, 3], 1, 5, Some(&[1]));
        check(&[0, 2, 5, 7], 2, 1, Some(&[5, 7]));
        check(&[0, 1, 2], 2, 1, Some(&[0, 2]));
        check(&[0, 1], 2, 0, None);
        check(&[0], 4, 9, None);
    }
}
