//! A node with one party who owns functions, data and results.

use std::time::{Duration, Instant};

use cm_client::resources::InstanceInfo;
use cm_client::trust::Measurements;
use cm_client::{InstanceConnection, Terms, Trust};
use cm_crypto::digest::sha256;
use cm_crypto::sign::VerifyingKey;
use cm_e2e::{Node, NodeOptions, Party, cryptomesh, enrol, policy_for};
use cm_types::ResourceKind;
use serde_json::{Value, json};
use tempfile::TempDir;

use cm_e2e::measure::Outcome;

/// The file that programs read.
pub(crate) const INPUT: &str = "input";
/// The file that programs write.
pub(crate) const OUTPUT: &str = "output";

/// How long the processes of instances may take to become as many as expected.
const SETTLE_DEADLINE: Duration = Duration::from_secs(30);
const SETTLE_POLL: Duration = Duration::from_millis(5);

/// Rights of a reader and of a writer, as the published policies have them.
const READ: u32 = 8198;
const WRITE: u32 = 533_572;

/// A function that was registered, with its program uploaded.
pub(crate) struct Function {
    name: String,
    policy: String,
}

impl Function {
    /// The name of its program.
    pub(crate) fn program(&self) -> String {
        format!("{}.wasm", self.name)
    }
}

/// An instance that is ready.
pub(crate) struct Started {
    info: InstanceInfo,
    user_policy: Value,
}

/// The node and the party.
pub(crate) struct Mesh {
    node: Node,
    party: Party,
    trust: Trust,
    _root: TempDir,
}

impl Mesh {
    /// Starts a node whose instances may hold large files, with so many processes waiting to become one.
    pub(crate) async fn start(pool: usize) -> Outcome<Mesh> {
        let root = tempfile::tempdir()?;
        let set = vec!["instances.storage=2GiB".to_owned(), format!("instances.pool={pool}")];
        let options = NodeOptions { set, ..NodeOptions::default() };
        let node = Node::start(root.path(), &options);
        let party = enrol(&node, "bench", &["developer", "analyst"]).await;
        let key = std::fs::read_to_string(node.data_dir().join("node.pub.pem"))?;
        let trust = Trust {
            node_keys: vec![VerifyingKey::from_spki_pem(&key)?],
            measurements: Measurements::OneOf(vec![sha256(&std::fs::read(cryptomesh())?)]),
            allow_insecure_software: true,
            require_isolation: Vec::new(),
        };
        Ok(Mesh { node, party, trust, _root: root })
    }

    /// Registers a function of one program and uploads the program.
    pub(crate) async fn register(&self, name: &str, wasm: Vec<u8>, strategy: &str) -> Outcome<Function> {
        let function = Function { name: name.to_owned(), policy: String::new() };
        let rights = [(INPUT, READ), (OUTPUT, WRITE)];
        let rights = rights.map(|(file, rights)| json!({ "file_name": file, "rights": rights }));
        let policy = json!({
            "function": name,
            "execution_strategy": strategy,
            "programs": [{
                "id": 0,
                "pi_hash": sha256(&wasm),
                "program_file_name": function.program(),
                "file_rights": rights,
            }],
        });
        let function = Function { policy: policy.to_string(), ..function };
        self.party.api.register_function(name, None, &function.policy).await?;
        self.party.api.put_program(name, &function.program(), wasm).await?;
        Ok(function)
    }

    /// Asks for an instance of a function and waits until it is ready.
    pub(crate) async fn create(&self, function: &Function, instance: &str) -> Outcome<Started> {
        let rights: &[(&str, u32)] = &[(INPUT, WRITE), (OUTPUT, READ)];
        let user_policy = policy_for(&function.name, instance, &[(&self.party, rights)]);
        let info = self.party.api.create_instance(&user_policy).await?;
        Ok(Started { info, user_policy })
    }

    /// Verifies an instance and connects to it.
    pub(crate) async fn open(&self, function: &Function, started: &Started) -> Outcome<InstanceConnection> {
        let terms = Terms::of_policies(&function.policy, &started.user_policy)?;
        let policy = started.info.policy.as_deref().ok_or("the answer holds no policy")?;
        let (api, identity) = (&self.party.api, &self.party.identity);
        Ok(api.open_instance(&started.info.id, policy, &terms, &self.trust, identity).await?)
    }

    /// Ends an instance and waits until it is gone.
    pub(crate) async fn remove(&self, started: Started) -> Outcome<()> {
        Ok(self.party.api.remove(ResourceKind::Instance, &started.info.id).await?)
    }

    /// Waits until so many processes of instances are there: those that run, and those that wait to become one.
    pub(crate) async fn settled(&self, processes: usize) -> Outcome<()> {
        let deadline = Instant::now() + SETTLE_DEADLINE;
        while descendants(self.node.pid())?.len() != processes {
            if Instant::now() > deadline {
                return Err(format!("there are not {processes} processes of instances").into());
            }
            tokio::time::sleep(SETTLE_POLL).await;
        }
        Ok(())
    }

    /// The most memory that any process of an instance has held at a time, in bytes. The node must have one instance
    /// and no pool.
    pub(crate) fn instance_memory_peak(&self) -> Outcome<u64> {
        let mut peak = 0;
        for process in descendants(self.node.pid())? {
            let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib: u64 = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").parse()?;
            peak = peak.max(kib << 10);
        }
        Ok(peak)
    }

    /// Stops the node.
    pub(crate) fn stop(self) {
        self.node.stop();
    }
}

/// The processes that descend from one, itself excluded.
fn descendants(root: u32) -> Outcome<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may have ended since.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        // The name in parentheses may hold anything; what follows it is numbers: state, parent.
        let parent =
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (process, parent)));
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        next += 1;
    }
    Ok(found.split_off(1))
}
