//! Nodes that form a network, each a process of the real executable.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Node, NodeOptions, cryptomesh};

/// How long anything that a network does may take.
pub const NETWORK_DEADLINE: Duration = Duration::from_secs(120);

/// One of the nodes, which may be down.
pub struct Peer {
    /// What is its own: its data, and what is written down for it.
    pub root: PathBuf,
    /// Where its API is.
    pub api: String,
    /// Where others of its network reach it.
    pub peers: String,
    /// Settings besides these addresses, as `KEY=VALUE`.
    pub set: Vec<String>,
    /// A command that it is started by, if not by itself.
    pub wrapper: Vec<String>,
    /// The process, while it runs.
    pub node: Option<Node>,
}

impl Peer {
    /// A node that was never started, at a loopback address.
    pub fn new(root: PathBuf) -> Self {
        Self::at(root, "127.0.0.1".parse().expect("it is an address"))
    }

    /// A node that was never started, at an address.
    pub fn at(root: PathBuf, address: IpAddr) -> Self {
        let port = || SocketAddr::new(address, cm_testkit::ports::free(1).0).to_string();
        let (api, peers) = (port(), port());
        let set = vec!["objects.capacity=16GiB".to_owned()];
        Self { root, api, peers, set, wrapper: Vec::new(), node: None }
    }

    /// Where its API is, as clients write it.
    pub fn url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// Runs a command on its data directory.
    ///
    /// # Panics
    /// If the command cannot be started.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(cryptomesh());
        let command = command.arg("--data-dir").arg(self.root.join("data")).args(arguments);
        command.env_clear().stdin(Stdio::null()).output().expect("the binary can be started")
    }

    /// Makes it the first of a network.
    pub fn found(&self) -> Output {
        self.command(&["cluster", "found", "--address", &self.peers])
    }

    /// Makes it one of the network that invites it.
    ///
    /// # Panics
    /// If the invitation cannot be written down.
    pub fn join(&self, invitation: &str) -> Output {
        std::fs::create_dir_all(&self.root).expect("a directory can be made");
        let file = self.root.join("invitation");
        std::fs::write(&file, invitation).expect("a file can be written");
        let file = file.to_str().expect("a path is UTF-8");
        self.command(&["cluster", "join", file, "--address", &self.peers])
    }

    /// Starts it, again perhaps.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start(&mut self) {
        self.start_with(Vec::new());
    }

    /// Starts it with these variables and no others.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start_with(&mut self, variables: Vec<(String, String)>) {
        let mut set = vec![format!("listen.api={}", self.api), format!("listen.peers={}", self.peers)];
        set.extend_from_slice(&self.set);
        let options = NodeOptions { set, wrapper: self.wrapper.clone(), variables, ..NodeOptions::default() };
        self.node = Some(Node::start(&self.root, &options));
    }

    /// Ends it as a power cut would.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        self.node.take().expect("the node runs").kill();
    }
}

/// Nodes of one network, in the order in which they join it.
pub struct Network {
    /// The nodes.
    pub peers: Vec<Peer>,
    /// The administrator's token.
    pub token: String,
}

impl Network {
    /// So many nodes, below a directory, of which the first runs and is the whole network.
    ///
    /// # Panics
    /// If it does not.
    pub fn founded(dir: &Path, count: usize) -> Self {
        let mut peers: Vec<Peer> = (0..count).map(|n| Peer::new(dir.join(format!("node-{n}")))).collect();
        succeeded(peers[0].found());
        peers[0].start();
        let token = peers[0].node.as_ref().expect("it was started").admin_token();
        Self { peers, token }
    }

    /// Lets the others join, one after the other.
    ///
    /// # Panics
    /// If one cannot.
    pub fn join_others(&mut self) {
        for n in 1..self.peers.len() {
            let invitation = self.run(0, &["-o", "json", "cluster", "invite"]).stdout;
            let invitation: Value = serde_json::from_slice(&invitation).expect("the command prints JSON");
            let invitation = invitation["invitation"].as_str().expect("there is an invitation");
            succeeded(self.peers[n].join(invitation));
            self.peers[n].start();
        }
    }

    /// Runs a command at one of the nodes as its administrator.
    pub fn at(&self, n: usize, arguments: &[&str]) -> Output {
        let url = self.peers[n].url();
        let mut all = vec!["--url", &url, "--token", &self.token];
        all.extend(arguments);
        self.peers[n].command(&all)
    }

    /// The same.
    ///
    /// # Panics
    /// If the command fails.
    pub fn run(&self, n: usize, arguments: &[&str]) -> Output {
        succeeded(self.at(n, arguments))
    }

    /// What a node says of the storage network once it says what is waited for; `what` names it.
    ///
    /// # Panics
    /// If it does not come within [`NETWORK_DEADLINE`].
    pub fn wait(&self, n: usize, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.run(n, &["-o", "json", "storage", "status"]).stdout;
            let status = serde_json::from_slice(&status).expect("the command prints JSON");
            if holds(&status) {
                return status;
            }
            assert!(began.elapsed() < NETWORK_DEADLINE, "{what}: {status:#}");
        }
    }

    /// Whether all nodes take part and everything is at its place, as `status` says it.
    pub fn is_settled(&self, status: &Value) -> bool {
        status["short_chunks"] == 0
            && status["epoch"] == status["oldest_epoch"]
            && status["peers"].as_array().is_some_and(|peers| peers.len() == self.peers.len())
    }
}

/// The output of a command that succeeded.
///
/// # Panics
/// If it did not.
pub fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}
