//! A node under test: `cryptomesh up` as a process of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use cm_client::{Api, Location};
use cm_crypto::secret::Secret;

use crate::cryptomesh;

/// How long a node may take to become ready or to stop.
const DEADLINE: Duration = Duration::from_secs(60);

/// How to start a node.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// `--set` assignments.
    pub set: Vec<String>,
    /// Environment variables; there are no others.
    pub variables: Vec<(String, String)>,
    /// Whether to serve without authentication.
    pub open: bool,
    /// A command that is to start the node, such as one that enters a namespace, by its full path; it must become the node's process. It stands before commands against the node, too.
    pub wrapper: Vec<String>,
}

/// A running node. Killed when dropped.
pub struct Node {
    process: Child,
    data_dir: PathBuf,
    log: PathBuf,
    listeners: BTreeMap<String, String>,
    within: Vec<String>,
}

/// A line that runs the executable.
fn line(within: &[String]) -> Command {
    match within {
        [] => Command::new(cryptomesh()),
        [first, others @ ..] => {
            let mut command = Command::new(first);
            command.args(others).arg(cryptomesh());
            command
        }
    }
}

impl Node {
    /// Starts a node whose data directory is `root/data` and whose log is `root/node.log`; `root` is made if need be.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start(root: &Path, options: &NodeOptions) -> Node {
        std::fs::create_dir_all(root).expect("the node's directory can be made");
        let data_dir = root.join("data");
        let log = root.join("node.log");
        let file =
            std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("the log can be opened");
        let mut command = line(&options.wrapper);
        command.arg("up").arg("--data-dir").arg(&data_dir).args(["--output", "json"]);
        for listener in [
            "api",
            "console",
            "s3",
            "router",
            "mictlanx_peer",
            "mpc",
            "mpc_peers",
            "intel",
            "summoner",
            "vaas",
            "ccfaas",
            "s3app",
            "attestation",
            "xolo",
            "instances",
        ] {
            command.args(["--set", &format!("listen.{listener}=127.0.0.1:0")]);
        }
        for assignment in &options.set {
            command.args(["--set", assignment]);
        }
        if options.open {
            command.arg("--open");
        }
        let mut process = command
            .env_clear()
            .envs(options.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("the binary can be started");
        let mut ready = String::new();
        let out = process.stdout.take().expect("standard output is piped");
        BufReader::new(out).read_line(&mut ready).expect("the node's output can be read");
        let listeners = serde_json::from_str::<serde_json::Value>(&ready)
            .ok()
            .and_then(|ready| serde_json::from_value(ready["listeners"].clone()).ok());
        let Some(listeners) = listeners else {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let _ = process.kill();
            panic!("the node did not become ready: {ready:?}\n{said}");
        };
        Node { process, data_dir, log, listeners, within: options.wrapper.clone() }
    }

    /// The address of a listener.
    pub fn address(&self, listener: &str) -> &str {
        &self.listeners[listener]
    }

    /// The base URL of the API.
    pub fn url(&self) -> String {
        format!("http://{}", self.address("api"))
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Everything that the node has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log can be read")
    }

    /// The log once it has the text so often: lines are written a moment after what they tell of.
    ///
    /// # Panics
    /// If it does not have it in time.
    pub fn log_with(&self, text: &str, times: usize) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let log = self.log();
            if log.matches(text).count() >= times {
                return log;
            }
            assert!(Instant::now() < end, "not {times} times `{text}` in the log:\n{log}");
            std::thread::yield_now();
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The administrator's token.
    pub fn admin_token(&self) -> String {
        let text =
            std::fs::read_to_string(self.data_dir.join("admin.token")).expect("there is an admin token");
        text.trim().to_owned()
    }

    /// The API as the administrator sees it.
    pub fn admin(&self) -> Api {
        self.api(Some(self.admin_token()))
    }

    /// The API as the holder of a token, or nobody, sees it.
    pub fn api(&self, token: Option<String>) -> Api {
        let location = Location {
            url: self.url(),
            token: token.map(Secret::new),
            token_file: self.data_dir.join("unused"),
        };
        Api::new(location).expect("a client can be made")
    }

    /// Runs a command against this node as its administrator.
    pub fn command(&self, arguments: &[&str]) -> Output {
        line(&self.within)
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .expect("the binary can be started")
    }

    /// Kills the node as a power cut would: no handler runs.
    pub fn kill(mut self) {
        self.process.kill().expect("the node can be killed");
        self.process.wait().expect("the node can be waited for");
    }

    /// Sends the node a signal, by name as `kill` takes it.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(status.expect("`kill` can be run").success(), "signal {name} could not be sent");
    }

    /// Asks the node to stop and waits until it has.
    ///
    /// # Panics
    /// If it does not stop in time.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.process.try_wait().expect("the node can be waited for") {
                return status;
            }
            assert!(Instant::now() < end, "the node did not stop:\n{}", self.log());
            std::thread::yield_now();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
