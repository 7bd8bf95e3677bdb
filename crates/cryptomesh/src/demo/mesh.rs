//! A node in a temporary directory, started from this very executable as a process of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use cm_client::{Api, Location};
use cm_crypto::secret::Secret;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long the node may take to become ready.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// How long the node may take to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Listeners that take free ports, so that nothing that runs on this machine is in the way.
const LISTENERS: &[&str] = &[
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
];

/// The running node.
pub(crate) struct Mesh {
    // Held so that the directory goes when the demonstration does.
    root: tempfile::TempDir,
    node: Child,
    url: String,
    listeners: serde_json::Value,
    admin_token: Secret<String>,
}

impl Mesh {
    /// Starts the node and waits until it says that it is ready.
    pub(crate) async fn start() -> anyhow::Result<Mesh> {
        let root = tempfile::Builder::new().prefix("cryptomesh-demo-").tempdir()?;
        let log = std::fs::File::create(root.path().join("node.log"))?;
        let mut node = Command::new(std::env::current_exe()?)
            .arg("up")
            .args(["--data-dir".as_ref(), root.path().join("data").as_os_str()])
            .args(
                LISTENERS.iter().flat_map(|name| ["--set".to_owned(), format!("listen.{name}=127.0.0.1:0")]),
            )
            .args(["--set", "log.level=debug", "--output", "json"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the node")?;
        let out = node.stdout.take().context("the node has no standard output")?;
        let mut lines = BufReader::new(out).lines();
        let ready = tokio::time::timeout(READY_DEADLINE, lines.next_line()).await;
        let Ok(Ok(Some(ready))) = ready else {
            let log = std::fs::read_to_string(root.path().join("node.log")).unwrap_or_default();
            bail!("the node did not become ready; it said:\n{log}");
        };
        let ready: serde_json::Value =
            serde_json::from_str(&ready).context("the node's ready line is no JSON")?;
        let api = ready["listeners"]["api"].as_str().context("the node has no API listener")?;
        let token = std::fs::read_to_string(root.path().join("data/admin.token"))?;
        Ok(Mesh {
            listeners: ready["listeners"].clone(),
            url: format!("http://{api}"),
            admin_token: Secret::new(token.trim().to_owned()),
            node,
            root,
        })
    }

    /// The API as the administrator sees it.
    pub(crate) fn as_administrator(&self) -> anyhow::Result<Api> {
        self.with_token(Secret::new(self.admin_token.expose().clone()))
    }

    /// The API as the holder of a token sees it.
    pub(crate) fn with_token(&self, token: Secret<String>) -> anyhow::Result<Api> {
        let token_file = self.root.path().join("unused");
        Ok(Api::new(Location { url: self.url.clone(), token: Some(token), token_file })?)
    }

    /// The address of a listener.
    pub(crate) fn address(&self, listener: &str) -> anyhow::Result<&str> {
        self.listeners[listener].as_str().with_context(|| format!("the node has no listener {listener}"))
    }

    /// The administrator's token.
    pub(crate) fn admin_token(&self) -> &Secret<String> {
        &self.admin_token
    }

    /// Everything that the operator has: data directory and log.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The node's process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.node.id()
    }

    /// The node's verifying key, as its operator handed it to the parties.
    pub(crate) fn verifying_key(&self) -> anyhow::Result<String> {
        let path = self.root.path().join("data/node.pub.pem");
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The last lines of the node's log.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        let log = std::fs::read_to_string(self.root.path().join("node.log")).unwrap_or_default();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Stops the node as an operator would, and removes its directory unless it is to be kept.
    pub(crate) async fn stop(mut self, keep: bool) -> anyhow::Result<Option<PathBuf>> {
        if let Some(pid) = self.node.id() {
            cm_node::terminate(pid)?;
        }
        let status = tokio::time::timeout(STOP_DEADLINE, self.node.wait()).await;
        let kept = keep.then(|| self.root.keep());
        match status {
            Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(kept),
            Ok(status) => bail!("the node stopped with {status:?}"),
            Err(_) => bail!("the node did not stop within {} s", STOP_DEADLINE.as_secs()),
        }
    }
}
