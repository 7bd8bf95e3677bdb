//! One party: an engine with a kernel of its own, told what to do on standard input.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use cm_kernel::catalog::{Integrity, Limits};
use cm_kernel::policy::{Create, Invoke, Read};
use cm_kernel::{Kernel, KernelConfig, OpContext};
use cm_mpc::computation::{Assigned, Literal, parse};
use cm_mpc::{Computations, MpcConfig, NewComputation, PeerRow};
use cm_net::Identity;
use cm_runtime::{SystemClock, Tasks};
use cm_types::{Labels, ResourceKind};
use serde_json::{Value, json};

/// Longer than any run here.
const LONG: Duration = Duration::from_secs(600);

pub(crate) fn run(name: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(serve(name));
}

async fn serve(name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
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
    let identity = Identity::new(&Identity::generate(kernel.now()).unwrap()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = MpcConfig {
        data_dir: dir.path().to_owned(),
        name: name.to_owned(),
        peers: Vec::new(),
        run_within: LONG,
        patience: LONG,
        runs_max: 2,
        anchor: None,
    };
    let engine = Computations::open(kernel.clone(), &tasks, config, identity, Some(listener)).await.unwrap();
    say(&json!({ "name": name, "address": address, "link_key": engine.link_key().to_string() }));
    // Standard input blocks, hence has a thread; the questions come one at a time.
    let (sender, mut questions) = tokio::sync::mpsc::channel(1);
    tasks.spawn_blocking("questions", move || {
        for line in std::io::stdin().lock().lines() {
            if line.ok().is_none_or(|line| sender.blocking_send(line).is_err()) {
                return;
            }
        }
    });
    while let Some(question) = questions.recv().await {
        let question: Value = serde_json::from_str(&question).unwrap();
        let answer = match question["run"].as_str() {
            Some(source) => run_job(&engine, &kernel, source, question["parties"].as_u64().unwrap()).await,
            None => know(&engine, question["peers"].as_array().unwrap()).await,
        };
        say(&answer);
    }
}

fn say(answer: &Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}").unwrap();
    out.flush().unwrap();
}

async fn know(engine: &Computations, peers: &[Value]) -> Value {
    for peer in peers.iter().filter(|peer| peer["name"] != engine.name()) {
        let text = |field: &str| peer[field].as_str().unwrap().to_owned();
        let row = PeerRow { address: text("address"), link_key: text("link_key").parse().unwrap() };
        engine.add_peer(&text("name"), row).await.unwrap();
    }
    json!({})
}

async fn run_job(engine: &Computations, kernel: &Kernel, source: &str, parties: u64) -> Value {
    let program = parse(source).unwrap();
    let ones: Vec<Assigned> = program
        .inputs()
        .map(|(name, _, id)| Assigned {
            input: name.to_owned(),
            values: vec![Literal::integer(1); program.node(id).shape.len()],
            kind: program.node(id).kind,
            private_to: None,
        })
        .collect();
    let op = OpContext::node(kernel.tasks().token());
    let permit = kernel.authorize::<Create>(&op, ResourceKind::Computation).await.unwrap();
    let new = NewComputation {
        name: "speed".to_owned(),
        description: None,
        program,
        source: None,
        parties: (1..=parties).map(|at| format!("n{at}")).collect(),
        receivers: BTreeMap::new(),
        sign: None,
        labels: Labels::new(),
    };
    let record = engine.create(&op, &permit, new).await.unwrap();
    let id = record.header.id.as_str();
    let (record, permit) = kernel.look_up::<Invoke>(&op, ResourceKind::Computation, id).await.unwrap();
    engine.put_values(&record, &permit, &ones).await.unwrap();
    let mut progress = engine.start(&op, &record, &permit, None).await.unwrap();
    progress.wait_for(|progress| progress.state != "running").await.unwrap();
    kernel.look_up::<Read>(&op, ResourceKind::Computation, id).await.unwrap().0.status
}
