//! `cryptomesh mpc up`: a cluster of parties on one machine, each a node of its own, until interrupted.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use cm_cli::mpc::UpArgs;
use cm_cli::{Connection, Format, Outcome, output};
use cm_client::{Api, Location};
use cm_crypto::secret::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a node may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long the nodes may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Listeners that a party does not need.
const OFF: &[&str] = &[
    "console",
    "s3",
    "router",
    "mictlanx_peer",
    "summoner",
    "vaas",
    "ccfaas",
    "s3app",
    "attestation",
    "xolo",
    "intel",
    "instances",
];

struct Party {
    name: String,
    process: Child,
    data_dir: PathBuf,
    api: String,
    mpc: String,
    peers: String,
    link_key: String,
    token: Secret<String>,
}

impl Party {
    async fn start(name: String, dir: &Path) -> anyhow::Result<Self> {
        let data_dir = dir.join(&name);
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let log = std::fs::File::create(dir.join(format!("{name}.log")))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("up").args(["--data-dir".as_ref(), data_dir.as_os_str()]).args(["--output", "json"]);
        for listener in OFF {
            command.args(["--set", &format!("listen.{listener}=off")]);
        }
        for listener in ["api", "mpc", "mpc_peers"] {
            command.args(["--set", &format!("listen.{listener}=127.0.0.1:0")]);
        }
        command.args(["--set", &format!("mpc.name={name}")]);
        let mut process = command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a node")?;
        let out = process.stdout.take().context("the node has no standard output")?;
        let mut lines = BufReader::new(out).lines();
        let ready = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
        let Ok(Ok(Some(ready))) = ready else {
            bail!(
                "node {name} did not become ready; its log is {}",
                dir.join(format!("{name}.log")).display()
            );
        };
        let ready: Value = serde_json::from_str(&ready).context("the node's ready line is no JSON")?;
        let listener = |name: &str| {
            ready["listeners"][name]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("no listener {name}"))
        };
        let token = std::fs::read_to_string(data_dir.join("admin.token"))?;
        Ok(Self {
            api: format!("http://{}", listener("api")?),
            mpc: format!("http://{}", listener("mpc")?),
            peers: listener("mpc-peers")?,
            link_key: ready["link_key"].as_str().context("no link key")?.to_owned(),
            token: Secret::new(token.trim().to_owned()),
            name,
            process,
            data_dir,
        })
    }

    fn api(&self) -> anyhow::Result<Api> {
        let location = Location {
            url: self.api.clone(),
            token: Some(self.token.clone()),
            ..Location::resolve(Some(self.api.clone()), None, Some(&self.data_dir))?
        };
        Ok(Api::new(location)?)
    }
}

/// Starts the nodes, makes them known to each other, and waits to be interrupted.
pub(crate) async fn run(args: UpArgs, connection: &Connection) -> Outcome {
    let temporary = match &args.dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("cryptomesh-mpc-").tempdir()?),
    };
    let dir = match (&args.dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => bail!("no directory for the nodes"),
    };
    output::note(connection, &format!("starting {} nodes in {} ...", args.nodes, dir.display()));
    let mut parties = Vec::new();
    for at in 1..=args.nodes {
        parties.push(Party::start(format!("node-{at}"), &dir).await?);
    }
    for party in &parties {
        let api = party.api()?;
        for other in parties.iter().filter(|other| other.name != party.name) {
            api.put_party_peer(&other.name, &other.peers, &other.link_key).await?;
        }
    }
    tell(connection, &parties);
    tokio::signal::ctrl_c().await?;
    output::note(connection, "stopping ...");
    for party in &parties {
        if let Some(pid) = party.process.id().and_then(|pid| i32::try_from(pid).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            // One that has ended by itself needs no signal.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
    for party in &mut parties {
        // Who does not stop in time is killed when dropped.
        let _ = tokio::time::timeout(STOP_WITHIN, party.process.wait()).await;
    }
    Ok(std::process::ExitCode::SUCCESS)
}

fn tell(connection: &Connection, parties: &[Party]) {
    if connection.output != Format::Table {
        let shown: Vec<Value> = parties
            .iter()
            .map(|party| {
                json!({ "name": party.name, "api": party.api, "mpc": party.mpc, "mpc_peers": party.peers, "data_dir": party.data_dir })
            })
            .collect();
        return output::document_of(connection, &json!({ "ready": true, "nodes": shown }));
    }
    for party in parties {
        output::line(&format!(
            "{}  API {}  clients of the first system {}",
            party.name, party.api, party.mpc
        ));
    }
    if let Some(first) = parties.first() {
        output::line(&format!(
            "\nTry, elsewhere:\n  cryptomesh --data-dir {} mpc run JOB --trust-node\nInterrupt to stop.",
            first.data_dir.display()
        ));
    }
}
