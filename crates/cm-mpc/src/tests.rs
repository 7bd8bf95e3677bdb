//! Real nodes in one process: kernels, journals, TLS between them.

mod broken;
mod jobs;
mod signing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cm_computation::{Job, Literal, Settings, parse};
use cm_kernel::catalog::{Integrity, Limits, Record};
use cm_kernel::policy::{Create, Invoke, Read};
use cm_kernel::{Kernel, KernelConfig, OpContext};
use cm_net::Identity;
use cm_runtime::{Drained, SystemClock, Tasks};
use cm_types::{Labels, ResourceKind, Timestamp};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::{Anchor, AnchorFile, ComputationError, Computations, MpcConfig, NewComputation, PeerRow, Sign};

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Where each node records its results.
pub(crate) const ANCHORED: &str = "anchored.jsonl";

pub(crate) struct Node {
    pub(crate) computations: Computations,
    pub(crate) kernel: Kernel,
    pub(crate) tasks: Tasks,
    pub(crate) dir: TempDir,
    pub(crate) address: String,
}

pub(crate) async fn open(dir: TempDir, name: &str, identity: Identity, patience: Duration) -> Node {
    let tasks = Tasks::new();
    let anchor: Arc<dyn Anchor> = Arc::new(AnchorFile::new(dir.path().join(ANCHORED), &tasks));
    let config = KernelConfig {
        data_dir: dir.path().to_owned(),
        limits: Limits::default(),
        integrity: Integrity::Enforced,
        objects: cm_kernel::objects::Config {
            object_bytes_max: 1 << 20,
            ..cm_kernel::objects::Config::default()
        },
        node_name: name.to_owned(),
    };
    let kernel = Kernel::open(config, Arc::new(SystemClock), &tasks, |_| Ok(())).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = MpcConfig {
        data_dir: dir.path().to_owned(),
        name: name.to_owned(),
        peers: Vec::new(),
        run_within: LONG,
        patience,
        runs_max: 4,
        anchor: Some(anchor),
    };
    let computations =
        Computations::open(kernel.clone(), &tasks, config, identity, Some(listener)).await.unwrap();
    Node { computations, kernel, tasks, dir, address }
}

pub(crate) fn identity() -> Identity {
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    Identity::new(&Identity::generate(now).unwrap()).unwrap()
}

/// Nodes that know each other.
pub(crate) async fn cluster(count: usize, patience: Duration) -> Vec<Node> {
    let mut nodes = Vec::new();
    for at in 0..count {
        nodes.push(open(TempDir::new().unwrap(), &format!("n{}", at + 1), identity(), patience).await);
    }
    introduce(&nodes).await;
    nodes
}

pub(crate) async fn introduce(nodes: &[Node]) {
    for node in nodes {
        for other in nodes.iter().filter(|other| other.computations.name() != node.computations.name()) {
            let row = PeerRow { address: other.address.clone(), link_key: other.computations.link_key().0 };
            node.computations.add_peer(other.computations.name(), row).await.unwrap();
        }
    }
}

impl Node {
    pub(crate) fn op(&self) -> OpContext {
        OpContext::node(self.tasks.token())
    }

    /// A job of JSON steps, its values with it, its results for the node.
    pub(crate) async fn submit(&self, job: &str, settings: &Settings, parties: usize) -> Record {
        let job: Job = serde_json::from_str(job).unwrap();
        let lowered = job.lower("ada", settings, |node| Some(format!("n{node}"))).unwrap();
        let record = self.create(lowered.program, parties).await;
        let (record, permit) = self.look_up::<Invoke>(&record).await;
        self.computations.put_values(&record, &permit, &lowered.assigned).await.unwrap();
        record
    }

    pub(crate) async fn create(&self, program: cm_computation::Program, parties: usize) -> Record {
        self.create_signed(program, parties, None).await.unwrap()
    }

    pub(crate) async fn create_signed(
        &self,
        program: cm_computation::Program,
        parties: usize,
        sign: Option<Sign>,
    ) -> Result<Record, ComputationError> {
        let permit = self.kernel.authorize::<Create>(&self.op(), ResourceKind::Computation).await.unwrap();
        let new = NewComputation {
            name: "job".to_owned(),
            description: None,
            program,
            source: None,
            parties: (1..=parties).map(|at| format!("n{at}")).collect(),
            receivers: BTreeMap::from([("ada".to_owned(), self.computations.sealing_key())]),
            sign,
            labels: Labels::new(),
        };
        self.computations.create(&self.op(), &permit, new).await
    }

    /// A job of the language, with these values for its inputs.
    pub(crate) async fn submit_text(
        &self,
        source: &str,
        values: &[(&str, &[f64])],
        parties: usize,
    ) -> Record {
        self.submit_signed(source, values, parties, None).await
    }

    /// The same, signed.
    pub(crate) async fn submit_signed(
        &self,
        source: &str,
        values: &[(&str, &[f64])],
        parties: usize,
        sign: Option<Sign>,
    ) -> Record {
        let program = parse(source).unwrap();
        let kinds: BTreeMap<String, _> =
            program.inputs().map(|(name, _, id)| (name.to_owned(), program.node(id).kind)).collect();
        let record = self.create_signed(program, parties, sign).await.unwrap();
        let (record, permit) = self.look_up::<Invoke>(&record).await;
        let assigned: Vec<_> = (values.iter())
            .map(|(input, values)| cm_computation::Assigned {
                input: (*input).to_owned(),
                kind: kinds[*input],
                values: values.iter().map(|value| literal(*value)).collect(),
                private_to: None,
            })
            .collect();
        self.computations.put_values(&record, &permit, &assigned).await.unwrap();
        record
    }

    pub(crate) async fn look_up<A: cm_kernel::policy::ActionKind>(
        &self,
        record: &Record,
    ) -> (Record, cm_kernel::Permit<A>) {
        let id = record.header.id.as_str();
        self.kernel.look_up::<A>(&self.op(), ResourceKind::Computation, id).await.unwrap()
    }

    /// Starts it and waits for its end; returns the record as it is then.
    pub(crate) async fn run(&self, record: &Record) -> Record {
        let (record, permit) = self.look_up::<Invoke>(record).await;
        let mut progress = self.computations.start(&self.op(), &record, &permit, None).await.unwrap();
        let ended = progress.wait_for(|progress| progress.state != "running");
        tokio::time::timeout(LONG, ended).await.expect("a run ends").unwrap();
        self.look_up::<Read>(&record).await.0
    }

    pub(crate) async fn result(&self, record: &Record, output: &str) -> Vec<String> {
        let (record, permit) = self.look_up::<Read>(record).await;
        let opened = self.computations.open_here(&record, &permit, output, "ada").await.unwrap();
        opened.values.iter().map(ToString::to_string).collect()
    }

    pub(crate) async fn stop(self) -> TempDir {
        assert_eq!(self.tasks.drain(LONG).await, Drained::All);
        self.computations.close().await.unwrap();
        self.kernel.close().await.unwrap();
        self.dir
    }
}

pub(crate) fn literal(value: f64) -> Literal {
    if value.fract() == 0.0 { format!("{value:.0}").parse().unwrap() } else { Literal::Real(value) }
}
