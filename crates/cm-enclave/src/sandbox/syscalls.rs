//! The system call filter: what a sealed instance may still ask of the kernel.
//!
//! The list is what tokio's loop over existing sockets, rustls, wasmtime (code memory, signals) and
//! threads need. Nothing on it names a file, makes a socket, looks at a process or starts a program;
//! those answer EPERM. Some calls are on the list with certain arguments only; [`permitted`] says which and
//! why. Two calls answer ENOSYS instead, because their callers then fall back to something
//! that the list permits: `clone3`, whose flags a filter cannot see, and `memfd_create`, without which
//! wasmtime initialises memories by copying.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// Permitted with any arguments.
const PERMITTED: &[libc::c_long] = &[
    // Bytes over descriptors that exist.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_close,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    // Memory, executable pages included: the compiler works inside.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    // Threads and signals of this process.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Time and randomness.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    // Answered with ENOSYS by the other filter; see above.
    libc::SYS_clone3,
    libc::SYS_memfd_create,
];

/// Permitted too where the architecture has them.
#[cfg(target_arch = "x86_64")]
const PERMITTED_HERE: &[libc::c_long] =
    &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_time, libc::SYS_gettimeofday];
#[cfg(not(target_arch = "x86_64"))]
const PERMITTED_HERE: &[libc::c_long] = &[libc::SYS_gettimeofday];

/// The flags that make a thread a member of a new namespace.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    /// The filter could not be built for this machine.
    #[error("the filter cannot be built: {0}")]
    Build(#[from] seccompiler::BackendError),
    /// The kernel refused it.
    #[error("the kernel refused the filter: {0}")]
    Install(#[from] seccompiler::Error),
}

/// Installs both filters for this thread and all that come of it.
pub(super) fn install() -> Result<(), FilterError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    seccompiler::apply_filter(&fallbacks(arch)?)?;
    Ok(seccompiler::apply_filter(&permitted(arch)?)?)
}

fn fallbacks(arch: TargetArch) -> Result<BpfProgram, FilterError> {
    let rules = BTreeMap::from([(libc::SYS_clone3, vec![]), (libc::SYS_memfd_create, vec![])]);
    let action = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()?)
}

fn permitted(arch: TargetArch) -> Result<BpfProgram, FilterError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        PERMITTED.iter().chain(PERMITTED_HERE).map(|call| (*call, vec![])).collect();
    // Threads, never processes: the flag must be there, and none that makes a namespace.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let namespaces = NAMESPACES.iter().fold(0, |flags, flag| flags | u64::from(flag.unsigned_abs()));
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![masked(0, thread | namespaces, thread)?])?]);
    // Signals to threads of this process, which a host without PID namespaces does not ensure otherwise.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![equal(0, own)?])?]);
    // Sending, but not with the flag that connects first: a listener that is shut down turns into a socket
    // which that flag connects to anywhere, without the call that is forbidden for it.
    let fast_open = u64::from(libc::MSG_FASTOPEN.unsigned_abs());
    rules.insert(libc::SYS_sendto, vec![SeccompRule::new(vec![masked(3, fast_open, 0)?])?]);
    rules.insert(libc::SYS_sendmsg, vec![SeccompRule::new(vec![masked(2, fast_open, 0)?])?]);
    // The one option that accepted connections get.
    let no_delay = [
        equal(1, u64::from(libc::IPPROTO_TCP.unsigned_abs()))?,
        equal(2, u64::from(libc::TCP_NODELAY.unsigned_abs()))?,
    ];
    rules.insert(libc::SYS_setsockopt, vec![SeccompRule::new(no_delay.to_vec())?]);
    // The name of a thread or of a memory area, for debuggers.
    let name = u64::from(libc::PR_SET_NAME.unsigned_abs());
    let area = u64::from(libc::PR_SET_VMA.unsigned_abs());
    rules.insert(
        libc::SYS_prctl,
        vec![SeccompRule::new(vec![equal(0, name)?])?, SeccompRule::new(vec![equal(0, area)?])?],
    );
    // Limits of this process, which can only be lowered without the capability that is gone.
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![equal(0, 0)?])?]);
    // Flags of descriptors that exist; no duplicates, locks or owners.
    let fcntl = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL];
    let fcntl = fcntl.map(|command| SeccompRule::new(vec![equal(1, u64::from(command.unsigned_abs()))?]));
    rules.insert(libc::SYS_fcntl, fcntl.into_iter().collect::<Result<_, _>>()?);
    // Whether reading waits, and nothing else about devices.
    let ioctl = SeccompRule::new(vec![equal(1, libc::FIONBIO)?])?;
    rules.insert(libc::SYS_ioctl, vec![ioctl]);
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    Ok(SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)?.try_into()?)
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(mask), value)
}
