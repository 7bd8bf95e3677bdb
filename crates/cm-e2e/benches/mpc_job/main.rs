//! How long one product takes as a job over REST, between three nodes that are processes of their own.
//!
//! `cargo xtask bench mpc-job [-- JOBS]`: the release binary three times, each with a data directory, TLS between them, the tier
//! `malicious-abort`. Measured are the one request of the first system (`POST /execute_job`, values in it), and the native way (make, three
//! sealed shares of each input, run, wait, read). Beside them, in turns, what one write costs that is synced to the same disk: a
//! job cannot be faster than the writes that must come one after the other.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use cm_client::Api;
use cm_e2e::measure::{Outcome, Report, Samples, progress};
use cm_e2e::{Node, NodeOptions};
use serde_json::{Value, json};

/// Jobs before any is counted: connections are made and kept.
const WARM: usize = 5;
/// What is aimed at.
const AIM: Duration = Duration::from_millis(20);

/// How long one product takes as a job over REST, between three nodes that are processes of their own.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask bench mpc-job --")]
struct Options {
    /// Jobs of each kind.
    #[arg(default_value = "100", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    jobs: usize,
    /// What cargo itself adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let jobs = Options::parse().jobs;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(measure(jobs)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(jobs: usize) -> Outcome<()> {
    let root = tempfile::tempdir()?;
    progress("three nodes start");
    let nodes = cluster(root.path()).await?;
    let (api, client) = (nodes[0].admin(), reqwest::Client::new());
    let token = nodes[0].admin_token();
    let job = json!({ "name": "multiply", "steps": [
        { "step_id": "x", "operation": "assign", "destination_node": 1, "variable_name": "x", "variable_type": "shard", "value": 4 },
        { "step_id": "y", "operation": "assign", "destination_node": 1, "variable_name": "y", "variable_type": "shard", "value": 5 },
        { "step_id": "p", "operation": "multiply", "variable_name": "product", "operand1": "x", "operand2": "y" },
    ] });
    let url = format!("http://{}/execute_job", nodes[0].address("mpc"));
    let published = async || -> Outcome<Duration> {
        let began = Instant::now();
        let response = client.post(&url).bearer_auth(&token).json(&job).send().await?;
        let answer: Value = response.json().await?;
        let took = began.elapsed();
        if answer["results"]["product"] != 20 {
            return Err(format!("the job ended otherwise: {answer}").into());
        }
        Ok(took)
    };
    for _ in 0..WARM {
        published().await?;
        native(&api).await?;
    }
    progress("measuring");
    let mut report = Report::new("one product as a job over REST, n = 3, malicious-abort");
    let (mut first, mut own, mut disk) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..jobs {
        first.push(published().await?);
        own.push(native(&api).await?);
        disk.push(synced(root.path())?);
    }
    let ms = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
    for (name, samples) in [
        ("POST /execute_job", &first),
        ("native: make, share, run, wait, read", &own),
        ("one write that is synced", &disk),
    ] {
        report.line(format!(
            "{name:<38} median {:>9}  fastest {:>9}  99 of 100 within {:>9}",
            ms(samples.median()),
            ms(samples.min()),
            ms(samples.p99())
        ));
    }
    let found = first.median();
    report.aim("one job within 20 ms", ms(found), found <= AIM.as_secs_f64());
    report.print()
}

async fn cluster(root: &Path) -> Outcome<Vec<Node>> {
    let start = |at: usize| {
        let options = NodeOptions { set: vec![format!("mpc.name=n{at}")], ..NodeOptions::default() };
        Node::start(&root.join(format!("n{at}")), &options)
    };
    let nodes: Vec<Node> = (1..=3).map(start).collect();
    let mut parties = Vec::new();
    for node in &nodes {
        parties.push((node.admin().party().await?, node.address("mpc-peers").to_owned()));
    }
    for (node, (own, _)) in nodes.iter().zip(&parties) {
        for (party, address) in parties.iter().filter(|(party, _)| party.name != own.name) {
            node.admin().put_party_peer(&party.name, address, &party.link_key).await?;
        }
    }
    Ok(nodes)
}

/// A product by the native API, from the first request to the result.
async fn native(api: &Api) -> Outcome<Duration> {
    let began = Instant::now();
    let job = "input x from admin\nreveal x * x as r to all\n";
    let body = json!({ "name": "bench", "job": job, "parties": ["n1", "n2", "n3"], "receivers": {} });
    let entry = api.create_computation(&body).await?;
    let id = entry.get("id").and_then(Value::as_str).ok_or("the computation has no id")?.to_owned();
    let plan = entry.get("plan").and_then(Value::as_str).ok_or("the computation has no plan")?;
    let agreed = cm_computation::Agreed::read(plan.to_owned())?;
    let six = [cm_computation::Literal::integer(6)];
    for (party, sealed) in cm_computation::client::seal_input(&agreed, "x", &six)? {
        api.put_computation_input(&id, "x", &agreed.plan().parties[party].name, sealed).await?;
    }
    api.run_computation(&id, None).await?;
    api.await_computation(&id).await?;
    let ended = api.read(cm_types::ResourceKind::Computation, &id).await?;
    let took = began.elapsed();
    let open = ended.get("status").map(|status| status["open"]["r"][0].clone()).unwrap_or_default();
    if open != 36 {
        return Err(format!("the job ended otherwise: {open}").into());
    }
    Ok(took)
}

/// One small write that is synced.
fn synced(dir: &Path) -> Outcome<Duration> {
    let mut file = File::options().create(true).append(true).open(dir.join("synced"))?;
    let began = Instant::now();
    file.write_all(&[0; 4096])?;
    file.sync_data()?;
    Ok(began.elapsed())
}
