//! Objects on the nodes of a network: written at one, read at any, while nodes are killed and come back.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cm_e2e::{Node, NodeOptions, cryptomesh};
use serde_json::Value;

/// How long anything here may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) struct Peer {
    root: PathBuf,
    api: String,
    peers: String,
    pub(crate) node: Option<Node>,
}

impl Peer {
    fn new(dir: &Path, name: &str) -> Self {
        let port = || cm_testkit::ports::free(1).0;
        let (api, peers) = (format!("127.0.0.1:{}", port()), format!("127.0.0.1:{}", port()));
        Self { root: dir.join(name), api, peers, node: None }
    }

    fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(cryptomesh());
        command
            .arg("--data-dir")
            .arg(self.root.join("data"))
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null());
        command.output().expect("the binary can be started")
    }

    fn join(&self, invitation: &str) {
        std::fs::create_dir_all(&self.root).unwrap();
        let file = self.root.join("invitation");
        std::fs::write(&file, invitation).unwrap();
        succeeded(self.command(&["cluster", "join", file.to_str().unwrap(), "--address", &self.peers]));
    }

    fn start(&mut self) {
        let set = vec![
            format!("listen.api={}", self.api),
            format!("listen.peers={}", self.peers),
            "objects.capacity=1GiB".to_owned(),
        ];
        self.node = Some(Node::start(&self.root, &NodeOptions { set, ..NodeOptions::default() }));
    }

    pub(crate) fn kill(&mut self) {
        self.node.take().expect("the node runs").kill();
    }
}

/// Nodes of one network.
pub(crate) struct Network {
    pub(crate) peers: Vec<Peer>,
    pub(crate) token: String,
}

impl Network {
    /// The first of three nodes runs, and is the whole network.
    pub(crate) fn founded(dir: &Path) -> Self {
        let mut peers: Vec<Peer> = ["a", "b", "c"].map(|name| Peer::new(dir, name)).into();
        succeeded(peers[0].command(&["cluster", "found", "--address", &peers[0].peers]));
        peers[0].start();
        let token = peers[0].node.as_ref().unwrap().admin_token();
        Self { peers, token }
    }

    /// The other two join, and run.
    pub(crate) fn join_others(&mut self) {
        for n in 1..3 {
            let invitation = succeeded(self.at(0, &["-o", "json", "cluster", "invite"])).stdout;
            let invitation: Value = serde_json::from_slice(&invitation).unwrap();
            self.peers[n].join(invitation["invitation"].as_str().unwrap());
            self.peers[n].start();
        }
    }

    /// A command at one of the nodes.
    fn at(&self, n: usize, arguments: &[&str]) -> Output {
        let url = format!("http://{}", self.peers[n].api);
        let mut all = vec!["--url", &url, "--token", &self.token];
        all.extend(arguments);
        self.peers[n].command(&all)
    }

    /// The same, which must succeed.
    pub(crate) fn run(&self, n: usize, arguments: &[&str]) {
        succeeded(self.at(n, arguments));
    }

    fn put(&self, n: usize, file: &Path, name: &str) -> Output {
        self.at(n, &["object", "put", file.to_str().unwrap(), name, "--create-bucket"])
    }

    fn read(&self, n: usize, name: &str) -> Vec<u8> {
        succeeded(self.at(n, &["object", "get", name, "-", "--no-cache"])).stdout
    }

    fn status(&self, n: usize) -> Value {
        let output = succeeded(self.at(n, &["-o", "json", "storage", "status"]));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn wait(&self, n: usize, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.status(n);
            if holds(&status) {
                return status;
            }
            assert!(began.elapsed() < DEADLINE, "{what}: {status:#}");
        }
    }
}

fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn sample(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(len).collect()
}

/// Whether three nodes take part and everything is at its place.
pub(crate) fn settled(status: &Value) -> bool {
    status["short_chunks"] == 0
        && status["epoch"] == status["oldest_epoch"]
        && status["peers"].as_array().unwrap().len() == 3
}

#[test]
fn objects_are_on_all_nodes_and_survive_each_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut network = Network::founded(dir.path());
    // Before anybody joined: these bytes spread later.
    let (first, second) = (sample(2_500_000, 1), sample(1_500_000, 2));
    let (first_file, second_file) = (dir.path().join("first"), dir.path().join("second"));
    std::fs::write(&first_file, &first).unwrap();
    std::fs::write(&second_file, &second).unwrap();
    succeeded(network.put(0, &first_file, "films/first"));
    network.join_others();
    let parts = |status: &Value| -> u64 {
        let peers = status["peers"].as_array().unwrap().iter();
        peers.map(|peer| peer["parts"].as_u64().unwrap_or_default()).sum()
    };
    network.wait(1, "three copies of three chunks", |status| settled(status) && parts(status) == 9);
    for n in 0..3 {
        assert!(network.read(n, "films/first") == first, "at {n}");
    }
    // The founder goes, as by a power cut: reading and writing go on.
    network.peers[0].kill();
    assert!(network.read(2, "films/first") == first);
    let began = Instant::now();
    while !network.put(1, &second_file, "films/second").status.success() {
        assert!(began.elapsed() < DEADLINE, "nothing can be written");
    }
    assert!(network.read(2, "films/second") == second);
    network.peers[0].start();
    network.wait(2, "all is whole", |status| settled(status) && parts(status) == 15);
    network.peers[1].kill();
    network.peers[2].kill();
    // Its catalogue has no majority; its copies are there all the same.
    network.peers[1].start();
    assert!(network.read(0, "films/second") == second);
    network.peers[2].start();
    succeeded(network.at(0, &["storage", "redundancy", "films", "2+1"]));
    succeeded(network.at(0, &["storage", "repair"]));
    succeeded(network.at(2, &["object", "rm", "films/first"]));
    let refused =
        network.at(0, &["storage", "remove", network.status(0)["peers"][0]["id"].as_str().unwrap()]);
    assert!(!refused.status.success(), "an active node may hold the only copy of something");
    for peer in &mut network.peers {
        peer.kill();
    }
}
