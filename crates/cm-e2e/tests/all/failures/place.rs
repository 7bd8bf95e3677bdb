//! Where each node of a test lives: a network namespace of its own where that is permitted, so that the network can be cut between nodes,
//! and beside each other on loopback elsewhere.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The places of all nodes. What was set up is taken down when it is dropped.
pub(super) struct Places {
    /// Without it nothing can be cut.
    namespaces: Option<Namespaces>,
    mounts: Vec<PathBuf>,
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
        let number = std::process::id() % 10_000;
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
        Self { namespaces, mounts: Vec::new() }
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
        for mount in &self.mounts {
            let _ = Command::new("umount").arg("-l").arg(mount).output();
        }
        if let Some(namespaces) = &self.namespaces {
            namespaces.take_down();
        }
    }
}
