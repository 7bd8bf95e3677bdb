//! Leaving the host's namespaces.
//!
//! A user namespace comes first: inside it an unprivileged process may create the others. Where the host
//! forbids user namespaces, the others are still tried, for a node that runs with privileges.

use std::fs;
use std::io;

use rustix::thread::UnshareFlags;

use super::Layer;
use super::process::unshare;

/// The name of the layer that the limits depend on.
pub(super) const USER: &str = "user-namespace";

/// The identity inside: nobody, mapped to the user that runs the node.
const INSIDE_ID: u32 = 65534;

/// Each namespace and the name of its layer.
const NAMESPACES: [(&str, UnshareFlags); 5] = [
    ("mount-namespace", UnshareFlags::NEWNS),
    ("pid-namespace", UnshareFlags::NEWPID),
    ("network-namespace", UnshareFlags::NEWNET),
    ("ipc-namespace", UnshareFlags::NEWIPC),
    ("uts-namespace", UnshareFlags::NEWUTS),
];

/// Leaves all of them; the PID namespace takes effect for the next child.
///
/// An inherited socket belongs to the network namespace in which it was made, so the listener goes on
/// accepting while nothing new can be reached.
pub(super) fn leave() -> Vec<Layer> {
    let mut layers = vec![Layer::of(USER, leave_users())];
    let all = NAMESPACES.iter().fold(UnshareFlags::empty(), |flags, (_, flag)| flags | *flag);
    if unshare(all).is_ok() {
        layers.extend(NAMESPACES.map(|(name, _)| Layer { name, missing: None }));
    } else {
        layers.extend(NAMESPACES.map(|(name, flag)| Layer::of(name, unshare(flag))));
    }
    layers
}

fn leave_users() -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(UnshareFlags::NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{INSIDE_ID} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{INSIDE_ID} {group} 1"))
}
