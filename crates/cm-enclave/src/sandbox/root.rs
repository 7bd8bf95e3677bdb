//! An empty root directory.

use rustix::io;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};

/// Any directory that every Linux has; what it held before is hidden by the new root.
const MOUNT_POINT: &str = "/proc";

/// Replaces the root by an empty read-only directory and detaches everything that was mounted before.
///
/// Stacking the old root upon the new one and unmounting it (`pivot_root(".", ".")`, as the manual page
/// of pivot_root(2) describes) needs no directory inside the new root.
pub(super) fn empty() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("none", MOUNT_POINT, "tmpfs", flags, c"size=4k,nr_inodes=1,mode=0555")?;
    chdir(MOUNT_POINT)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    mount_remount("/", flags | MountFlags::RDONLY, c"size=4k,nr_inodes=1")
}
