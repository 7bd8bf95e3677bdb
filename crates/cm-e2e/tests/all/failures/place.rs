//! Where each node of a test lives: a network namespace of its own where that is permitted, so that the network can be cut between nodes,
//! and beside each other on loopback elsewhere; how fast its disk is, and what time it is there.

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The places of all nodes. What was set up is taken down when it is dropped.
pub(super) struct Places {
    /// Without it nothing can be cut.
    namespaces: Option<Namespaces>,
    mounts: Vec<PathBuf>,
    /// Groups of processes whose disk is slow.
    groups: Vec<PathBuf>,
}

/// How many there were: several tests of one process must not meet.
static MADE: AtomicU32 = AtomicU32::new(0);
/// Where groups of processes are, and the file that limits what they write: in the older form, and in the newer one.
const GROUPS: [(&str, &str); 2] =
    [("/sys/fs/cgroup/blkio", "blkio.throttle.write_bps_device"), ("/sys/fs/cgroup", "io.max")];
/// Where Debian installs the library that moves clocks, and others do.
const CLOCKS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// The variables with which a process takes it for later or earlier, as `+10m` says; `None` where there is no such library. What it measures time with goes as
/// fast as ever.
pub(super) fn other_clock(offset: &str) -> Option<Vec<(String, String)>> {
    let library = CLOCKS.into_iter().find(|path| Path::new(path).exists())?;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Some(vec![
        pair("LD_PRELOAD", library),
        pair("FAKETIME", offset),
        pair("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        pair("DONT_FAKE_MONOTONIC", "1"),
    ])
}

/// The disk that a directory is on, as its group of processes names it; `None` if it is on none.
fn disk_of(path: &Path) -> Option<String> {
    let device = std::fs::metadata(path).ok()?.dev();
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    let entry = PathBuf::from(format!("/sys/dev/block/{major}:{minor}")).canonicalize().ok()?;
    // Of a partition, the whole disk is meant.
    let disk = if entry.join("partition").exists() { entry.parent()?.to_owned() } else { entry };
    std::fs::read_to_string(disk.join("dev")).ok().map(|text| text.trim().to_owned())
}

struct Namespaces {
    /// What the names of this test begin with.
    prefix: String,
    /// The third number of its addresses.
    net: u8,
    count: usize,
}

fn ip(arguments: &[&str]) -> bool {
    let done = Command::new("ip").args(arguments).output();
    done.is_ok_and(|done| done.status.success())
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        let number = (std::process::id() * 3 + MADE.fetch_add(1, Ordering::SeqCst)) % 10_000;
        let net = u8::try_from(number % 250).unwrap();
        let namespaces = Namespaces { prefix: format!("cm{number}"), net, count };
        let namespaces = match namespaces.set_up() {
            true => Some(namespaces),
            false => {
                namespaces.take_down();
                eprintln!("network namespaces are not permitted here: nodes are paused instead of cut off");
                None
            }
        };
        Self { namespaces, mounts: Vec::new(), groups: Vec::new() }
    }

    pub(super) fn address(&self, n: usize) -> Ipv4Addr {
        self.namespaces.as_ref().map_or(Ipv4Addr::LOCALHOST, |namespaces| namespaces.address(n))
    }

    /// What a command is to be begun with to run at the place.
    pub(super) fn wrapper(&self, n: usize) -> Vec<String> {
        let Some(namespaces) = &self.namespaces else { return Vec::new() };
        let ip =
            ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].into_iter().find(|path| Path::new(path).exists());
        let ip = ip.expect("it was run to make the namespaces").to_owned();
        [ip, "netns".into(), "exec".into(), namespaces.name(n)].into()
    }

    /// Cuts these off from all others, or lets them meet again. Whether that can be done. Whoever tests reaches them all the same.
    pub(super) fn cut(&self, some: &[usize], is_cut: bool) -> bool {
        let Some(namespaces) = &self.namespaces else { return false };
        let verb = if is_cut { "add" } else { "del" };
        for n in some {
            for other in (0..namespaces.count).filter(|other| !some.contains(other)) {
                let to = format!("{}/32", namespaces.address(other));
                assert!(ip(&["-n", &namespaces.name(*n), "route", verb, "blackhole", &to]), "{verb} {to}");
            }
        }
        true
    }

    /// Lets a process write so many bytes in a second to the disk of a directory, where that is permitted.
    pub(super) fn slow_disk(&mut self, process: u32, at: &Path, bytes_per_second: u64) -> bool {
        let Some(disk) = disk_of(at) else { return false };
        for (root, file) in GROUPS {
            let group = Path::new(root).join(format!("cryptomesh-test-{process}"));
            if std::fs::create_dir(&group).is_err() {
                continue;
            }
            self.groups.push(group.clone());
            let limit = match file {
                "io.max" => format!("{disk} wbps={bytes_per_second}"),
                _ => format!("{disk} {bytes_per_second}"),
            };
            // Where the file is not there, nothing is limited, and none is made.
            let limited = std::fs::OpenOptions::new().write(true).open(group.join(file));
            let limited = limited.and_then(|mut file| file.write_all(limit.as_bytes()));
            let moved = || std::fs::write(group.join("cgroup.procs"), process.to_string());
            if limited.and_then(|()| moved()).is_ok() {
                return true;
            }
        }
        false
    }

    /// All disks are as fast as they are again.
    pub(super) fn fast_disks(&mut self) {
        for group in std::mem::take(&mut self.groups) {
            let processes = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            if let Some(parent) = group.parent() {
                for process in processes.lines() {
                    let _ = std::fs::write(parent.join("cgroup.procs"), process);
                }
            }
            let _ = std::fs::remove_dir(&group);
        }
    }

    /// A small file system of its own, where that is permitted.
    pub(super) fn small_disk(&mut self, at: &Path, mebibytes: usize) -> bool {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(at).output();
        let is_mounted = mounted.is_ok_and(|done| done.status.success());
        if is_mounted {
            self.mounts.push(at.to_owned());
        }
        is_mounted
    }
}

impl Namespaces {
    fn name(&self, n: usize) -> String {
        format!("{}n{n}", self.prefix)
    }

    fn link(&self, n: usize) -> String {
        format!("{}v{n}", self.prefix)
    }

    fn bridge(&self) -> String {
        format!("{}b", self.prefix)
    }

    fn address(&self, n: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 231, self.net, u8::try_from(n + 2).unwrap())
    }

    fn set_up(&self) -> bool {
        let bridge = self.bridge();
        let own = format!("10.231.{}.1/24", self.net);
        let has_bridge = ip(&["link", "add", &bridge, "type", "bridge"])
            && ip(&["addr", "add", &own, "dev", &bridge])
            && ip(&["link", "set", &bridge, "up"]);
        has_bridge
            && (0..self.count).all(|n| {
                let (name, link) = (self.name(n), self.link(n));
                let address = format!("{}/24", self.address(n));
                ip(&["netns", "add", &name])
                    && ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &name])
                    && ip(&["link", "set", &link, "master", &bridge, "up"])
                    && ip(&["-n", &name, "addr", "add", &address, "dev", "eth0"])
                    && ip(&["-n", &name, "link", "set", "eth0", "up"])
                    && ip(&["-n", &name, "link", "set", "lo", "up"])
            })
    }

    fn take_down(&self) {
        for n in 0..self.count {
            ip(&["link", "del", &self.link(n)]);
            ip(&["netns", "del", &self.name(n)]);
        }
        ip(&["link", "del", &self.bridge()]);
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.fast_disks();
        for mount in &self.mounts {
            let _ = Command::new("umount").arg("-l").arg(mount).output();
        }
        if let Some(namespaces) = &self.namespaces {
            namespaces.take_down();
        }
    }
}
