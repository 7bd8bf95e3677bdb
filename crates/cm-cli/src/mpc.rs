//! `mpc`: computations on secret shares. Inputs are split and results put together here, on the user's machine; the node is given
//! what it cannot open.

mod numbers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use cm_client::Api;
use cm_client::resources::Entry;
use cm_computation::client::{open_output, seal_input};
use cm_computation::{
    Agreed, Job, Literal, Owner, PlannedParty, Program, Receivers, Settings, Shape, explain, parse,
};
use cm_crypto::seal::RecipientSecretKey;
use cm_types::ResourceKind;
use serde_json::{Value, json};

use crate::object::read_secret;
use crate::{Connection, Format, Outcome, UsageError, output};

/// `cryptomesh mpc`
#[derive(Debug, Subcommand)]
pub enum MpcCommand {
    /// Start a cluster of parties on this machine, in a temporary directory, until interrupted.
    Up(UpArgs),
    /// Show what the node is among parties, and which others it knows.
    Party,
    /// Make other nodes known that may be parties, or forget them.
    #[command(subcommand)]
    Peer(PeerCommand),
    /// Say what a job costs and who learns what. Speaks to no node.
    Explain(ExplainArgs),
    /// Make a computation that waits for inputs of several owners.
    Create(CreateArgs),
    /// Show the plan of a computation: what is computed, by whom, and who learns what.
    Plan(PlanArgs),
    /// Split an input among the parties of a computation.
    Share(ShareArgs),
    /// Start a computation whose inputs are there, and wait for its end.
    Start(StartArgs),
    /// End a run.
    Cancel(StartArgs),
    /// Put a result together.
    Reveal(RevealArgs),
    /// Make a computation, split its inputs, run it and show its results: for a job whose owner has all inputs.
    Run(RunArgs),
}

/// `cryptomesh mpc up`
#[derive(Args, Debug)]
pub struct UpArgs {
    /// How many parties.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=16))]
    pub nodes: u8,
    /// Keep what they store, in this directory.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `cryptomesh mpc peer`
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// Make a node known, or say where it is now.
    Add {
        /// What it is called: its name by `cryptomesh mpc party`.
        name: String,
        /// Host and port of its listener `mpc_peers`.
        address: String,
        /// The key of its links, by `cryptomesh mpc party` or `cryptomesh link-key` over there.
        link_key: String,
    },
    /// Forget a node.
    Remove {
        /// What it is called.
        name: String,
    },
}

/// `cryptomesh mpc explain`
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The job: `.json` for steps, anything else in the language.
    pub job: PathBuf,
    /// For how many parties.
    #[arg(long, default_value_t = 3)]
    pub parties: usize,
}

/// `cryptomesh mpc create`
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// The job, in the language.
    pub job: PathBuf,
    /// What it is called [default: the file's name].
    #[arg(long)]
    pub name: Option<String>,
    /// A party; repeat [default: the node and all that it knows].
    #[arg(long = "party", value_name = "NAME")]
    pub parties: Vec<String>,
    /// Who learns results, with the public key that `cryptomesh keys seal` prints; repeat.
    #[arg(long = "receiver", value_name = "NAME=cmpub1…", required = true)]
    pub receivers: Vec<String>,
}

/// `cryptomesh mpc plan`
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// The computation.
    pub id: String,
}

/// How the parties' keys are trusted.
#[derive(Args, Debug)]
pub struct Trust {
    /// The key that shares for a party are sealed to, as its own node tells it (`cryptomesh mpc party`); repeat for each.
    #[arg(long = "party-key", value_name = "NAME=cmpub1…")]
    pub keys: Vec<String>,
    /// Believe the node that leads the computation about the parties' keys. It could name keys of its own and read the input.
    #[arg(long)]
    pub trust_node: bool,
}

/// `cryptomesh mpc share`
#[derive(Args, Debug)]
pub struct ShareArgs {
    /// The computation.
    pub id: String,
    /// The input.
    pub input: String,
    /// The numbers: a CSV file, with `FILE:COLUMN` one of its columns; or the numbers themselves, separated by commas.
    pub values: String,
    /// How the parties' keys are trusted.
    #[command(flatten)]
    pub trust: Trust,
}

/// `cryptomesh mpc start` and `cancel`
#[derive(Args, Debug)]
pub struct StartArgs {
    /// The computation.
    pub id: String,
    /// Seconds that it may take.
    #[arg(long, value_name = "SECONDS")]
    pub within: Option<u32>,
}

/// `cryptomesh mpc reveal`
#[derive(Args, Debug)]
pub struct RevealArgs {
    /// The computation.
    pub id: String,
    /// The result.
    pub result: String,
    /// The file of your secret key, as `cryptomesh keys seal` wrote it.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// `cryptomesh mpc run`
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The job: `.json` for steps, anything else in the language.
    pub job: PathBuf,
    /// An input: `NAME=FILE.csv`, `NAME=FILE.csv:COLUMN` or `NAME=1,2,3`; repeat.
    #[arg(long = "input", value_name = "NAME=VALUES")]
    pub inputs: Vec<String>,
    /// A party; repeat [default: the node and all that it knows].
    #[arg(long = "party", value_name = "NAME")]
    pub parties: Vec<String>,
    /// Seconds that it may take.
    #[arg(long, value_name = "SECONDS")]
    pub within: Option<u32>,
    /// How the parties' keys are trusted.
    #[command(flatten)]
    pub trust: Trust,
}

/// Runs one of them.
pub async fn run(command: MpcCommand, connection: &Connection) -> Outcome {
    match command {
        MpcCommand::Up(_) => {
            Err(UsageError("`mpc up` starts nodes, which this build of the command cannot".to_owned()).into())
        }
        MpcCommand::Party => party(connection).await,
        MpcCommand::Peer(command) => peer(command, connection).await,
        MpcCommand::Explain(args) => explained(&args, connection),
        MpcCommand::Create(args) => create(args, connection).await,
        MpcCommand::Plan(args) => plan(&args, connection).await,
        MpcCommand::Share(args) => share(&args, connection).await,
        MpcCommand::Start(args) => start(&args, connection).await,
        MpcCommand::Cancel(args) => {
            connection.api()?.cancel_computation(&args.id).await?;
            output::done(connection, "the run is about to end", &json!({ "id": args.id }));
            Ok(ExitCode::SUCCESS)
        }
        MpcCommand::Reveal(args) => reveal(&args, connection).await,
        MpcCommand::Run(args) => run_job(&args, connection).await,
    }
}

async fn party(connection: &Connection) -> Outcome {
    let info = connection.api()?.party().await?;
    if connection.output == Format::Table {
        output::line(&format!("name         {}", info.name));
        output::line(&format!("link key     {}", info.link_key));
        output::line(&format!("sealing key  {}", info.sealing_key));
        if !info.on {
            output::line("takes no part in computations: `listen.mpc_peers` is off");
        }
        for peer in &info.peers {
            let state = if peer.up { "up" } else { "down" };
            output::line(&format!(
                "peer         {} at {} ({state}), link key {}",
                peer.name, peer.address, peer.link_key
            ));
        }
    } else {
        output::document_of(connection, &info);
    }
    Ok(ExitCode::SUCCESS)
}

async fn peer(command: PeerCommand, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    match command {
        PeerCommand::Add { name, address, link_key } => {
            api.put_party_peer(&name, &address, &link_key).await?;
            output::done(connection, &format!("{name} may be a party"), &json!({ "name": name }));
        }
        PeerCommand::Remove { name } => {
            api.remove_party_peer(&name).await?;
            output::done(connection, &format!("{name} is forgotten"), &json!({ "name": name }));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A job as a program, with the values that came with it.
struct Read {
    program: Program,
    source: String,
    values: BTreeMap<String, Vec<Literal>>,
    name: String,
}

fn read_job(path: &Path, owner: &str, parties: &[String]) -> anyhow::Result<Read> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let stem = path.file_stem().map_or_else(|| "job".to_owned(), |stem| stem.to_string_lossy().into_owned());
    if path.extension().is_some_and(|extension| extension == "json") {
        let job: Job = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let party = |node: u32| parties.get(usize::try_from(node).ok()?.checked_sub(1)?).cloned();
        let lowered = job.lower(owner, &Settings::default(), party)?;
        let values = lowered.assigned.into_iter().map(|assigned| (assigned.input, assigned.values)).collect();
        let name = if job.name.is_empty() { stem } else { job.name.clone() };
        let mut kept = job;
        for step in &mut kept.steps {
            if step.variable_type.as_deref() != Some("public") {
                step.value = None;
            }
        }
        return Ok(Read { program: lowered.program, source: serde_json::to_string(&kept)?, values, name });
    }
    let program = parse(&text).with_context(|| path.display().to_string())?;
    Ok(Read { program, source: text, values: BTreeMap::new(), name: stem })
}

fn explained(args: &ExplainArgs, connection: &Connection) -> Outcome {
    let parties: Vec<String> = (1..=args.parties).map(|at| format!("party-{at}")).collect();
    let read = read_job(&args.job, "you", &parties)?;
    let told = explain(&read.program, args.parties)?;
    if connection.output != Format::Table {
        output::document_of(connection, &told);
        return Ok(ExitCode::SUCCESS);
    }
    let (n, t) = (told.parties, told.threshold);
    output::line(&format!(
        "{} in {}, {n} parties any {t} of which learn nothing together",
        told.tier, told.field
    ));
    output::line(&format!("{} operations in {} layers", told.operations, told.layers));
    match (told.rounds, &told.bytes_per_party) {
        (Some(rounds), Some(bytes)) => {
            let most = bytes.iter().max().copied().unwrap_or_default();
            output::line(&format!("about {rounds} rounds; each party sends up to {most} bytes"));
        }
        _ => output::line("too large for its costs to be told"),
    }
    for (name, owner, len) in &told.inputs {
        output::line(&format!("input   {name}: {} of {owner}, which nobody else learns", numbers_of(*len)));
    }
    for (name, to, len) in &told.outputs {
        output::line(&format!("result  {name}: {}, learned by {to}", numbers_of(*len)));
    }
    Ok(ExitCode::SUCCESS)
}

fn numbers_of(len: usize) -> String {
    if len == 1 { "one number".to_owned() } else { format!("{len} numbers") }
}

fn pairs(texts: &[String]) -> Result<BTreeMap<String, String>, UsageError> {
    let pair = |text: &String| {
        let wrong = || UsageError(format!("`{text}` is not NAME=VALUE"));
        text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(wrong)
    };
    texts.iter().map(pair).collect()
}

async fn create(args: CreateArgs, connection: &Connection) -> Outcome {
    let read = read_job(&args.job, "you", &[])?;
    if !read.values.is_empty() {
        let what = "a job whose values stand in it has one owner: run it with `cryptomesh mpc run`";
        return Err(UsageError(what.to_owned()).into());
    }
    let mut body = json!({
        "name": args.name.unwrap_or(read.name),
        "job": read.source,
        "receivers": pairs(&args.receivers)?,
    });
    if !args.parties.is_empty() {
        body["parties"] = args.parties.into();
    }
    let entry = connection.api()?.create_computation(&body).await?;
    let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
    output::done(connection, &format!("computation {id} waits for its inputs"), &json!({ "id": id }));
    Ok(ExitCode::SUCCESS)
}

fn agreed_of(entry: &Entry) -> anyhow::Result<Agreed> {
    let text = entry.get("plan").and_then(Value::as_str).context("the computation has no plan")?;
    Ok(Agreed::read(text.to_owned())?)
}

fn status<'a>(entry: &'a Entry, field: &str) -> Option<&'a str> {
    entry.get("status").and_then(|status| status.get(field)).and_then(Value::as_str)
}

async fn plan(args: &PlanArgs, connection: &Connection) -> Outcome {
    let entry = connection.api()?.read(ResourceKind::Computation, &args.id).await?;
    let agreed = agreed_of(&entry)?;
    if connection.output != Format::Table {
        output::document_of(connection, agreed.plan());
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!("plan    {}", agreed.digest()));
    output::line(&format!("tier    {}", agreed.plan().program.settings().tier.as_str()));
    for party in &agreed.plan().parties {
        output::line(&format!("party   {} with sealing key {}", party.name, party.sealing_key));
    }
    for (name, owner, id) in agreed.plan().program.inputs() {
        let node = agreed.plan().program.node(id);
        output::line(&format!("input   {name}: {} of {owner}, {}", node.shape, node.kind));
    }
    for result in agreed.plan().program.outputs() {
        let to = match result.to {
            Receivers::Everybody => "everybody".to_owned(),
            Receivers::Clients(names) => {
                let key = |name: &String| agreed.plan().receivers.get(name).cloned().unwrap_or_default();
                let shown: Vec<String> = names.iter().map(|name| format!("{name} ({})", key(name))).collect();
                shown.join(", ")
            }
        };
        output::line(&format!("result  {}: learned by {to}", result.name));
    }
    if let Some(source) = entry.get("source").and_then(Value::as_str) {
        output::line("\nmade of this job, which is not what binds:");
        output::line(source.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses a plan whose parties' keys nobody vouches for.
fn demand_trust(trust: &Trust, parties: &[PlannedParty]) -> anyhow::Result<()> {
    if trust.trust_node {
        return Ok(());
    }
    let pinned = pairs(&trust.keys)?;
    for party in parties {
        match pinned.get(&party.name) {
            Some(key) if *key == party.sealing_key => {}
            Some(_) => {
                bail!("the plan has another key for party `{}` than you gave; nothing was sent", party.name)
            }
            None => {
                let what = format!(
                    "give the key of party `{}` with --party-key {}=cmpub1…, as its own node tells it, or pass --trust-node \
                     to believe the node that leads the computation",
                    party.name, party.name
                );
                return Err(UsageError(what).into());
            }
        }
    }
    Ok(())
}

async fn give(api: &Api, id: &str, agreed: &Agreed, input: &str, values: &[Literal]) -> anyhow::Result<()> {
    for (party, sealed) in seal_input(agreed, input, values)? {
        api.put_computation_input(id, input, &agreed.plan().parties[party].name, sealed).await?;
    }
    Ok(())
}

async fn share(args: &ShareArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let agreed = agreed_of(&api.read(ResourceKind::Computation, &args.id).await?)?;
    demand_trust(&args.trust, &agreed.plan().parties)?;
    let values = numbers::read(&args.values)?;
    give(&api, &args.id, &agreed, &args.input, &values).await?;
    let said = format!("`{}` is split among {} parties", args.input, agreed.plan().parties.len());
    output::done(connection, &said, &json!({ "input": args.input, "plan": agreed.digest().to_string() }));
    Ok(ExitCode::SUCCESS)
}

/// Starts it and waits for its end; the entry as it is then.
async fn finish(api: &Api, id: &str, within: Option<u32>) -> anyhow::Result<Entry> {
    api.run_computation(id, within).await?;
    loop {
        // A connection may end before the run.
        let waited = api.await_computation(id).await;
        let entry = api.read(ResourceKind::Computation, id).await?;
        match status(&entry, "state") {
            Some("completed") => return Ok(entry),
            Some("running") => waited?,
            _ => bail!("{}", status(&entry, "message").unwrap_or("the run has failed")),
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

async fn start(args: &StartArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let entry = finish(&api, &args.id, args.within).await?;
    tell_end(connection, &entry);
    Ok(ExitCode::SUCCESS)
}

fn tell_end(connection: &Connection, entry: &Entry) {
    let status = entry.get("status").cloned().unwrap_or_default();
    let tier = status["tier"].as_str().unwrap_or_default().to_owned();
    let (rounds, bytes) = (&status["rounds"], &status["bytes_sent"]);
    let said = format!("completed ({tier}): {rounds} rounds, {bytes} bytes, {} ms", status["took_ms"]);
    if connection.output == Format::Table {
        output::note(connection, &said);
        if let Some(cheaters) = status["cheaters"].as_array().filter(|cheaters| !cheaters.is_empty()) {
            output::note(connection, &format!("parties that cheated: {}", Value::from(cheaters.clone())));
        }
    } else {
        output::document_of(connection, &status);
    }
}

async fn put_together(
    api: &Api,
    entry: &Entry,
    agreed: &Agreed,
    result: &str,
    receiver: &str,
    key: &RecipientSecretKey,
) -> anyhow::Result<(Vec<Literal>, Shape, Vec<String>)> {
    let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
    let run = status(entry, "run").context("the computation has no run")?;
    let mut sealed = Vec::new();
    for (at, party) in agreed.plan().parties.iter().enumerate() {
        // Of the robust tier, shares of some parties may be missing.
        match api.computation_result(id, result, &party.name).await {
            Ok(bytes) => sealed.push((at, bytes)),
            Err(error) if sealed.is_empty() && at + 1 == agreed.plan().parties.len() => {
                return Err(error.into());
            }
            Err(_) => {}
        }
    }
    let opened = open_output(agreed, run, result, receiver, key, &sealed)?;
    Ok((opened.values, opened.shape, opened.wrong))
}

async fn reveal(args: &RevealArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let entry = api.read(ResourceKind::Computation, &args.id).await?;
    let agreed = agreed_of(&entry)?;
    let who = whoami(&api).await?;
    let key = read_secret(&args.key)?;
    let (values, shape, wrong) = put_together(&api, &entry, &agreed, &args.result, &who, &key).await?;
    for party in wrong {
        output::note(connection, &format!("party `{party}` sent wrong shares, which were corrected"));
    }
    show(connection, &BTreeMap::from([(args.result.clone(), (values, shape))]));
    Ok(ExitCode::SUCCESS)
}

async fn whoami(api: &Api) -> anyhow::Result<String> {
    let me = api.whoami().await?;
    let id = me.get("principal").or_else(|| me.get("id")).and_then(Value::as_str);
    id.map(str::to_owned).context("the node does not say who you are")
}

fn show(connection: &Connection, results: &BTreeMap<String, (Vec<Literal>, Shape)>) {
    if connection.output != Format::Table {
        let document: BTreeMap<&String, Value> = results
            .iter()
            .map(|(name, (values, shape))| {
                let value = match shape.dimensions() {
                    [] => json!(values[0]),
                    [_, columns] => json!(values.chunks(*columns).collect::<Vec<_>>()),
                    _ => json!(values),
                };
                (name, value)
            })
            .collect();
        output::document_of(connection, &document);
        return;
    }
    for (name, (values, shape)) in results {
        let width = match shape.dimensions() {
            [_, columns] => *columns,
            _ => values.len(),
        };
        for row in values.chunks(width) {
            let row: Vec<String> = row.iter().map(ToString::to_string).collect();
            output::line(&format!("{name} = {}", row.join(" ")));
        }
    }
}

async fn run_job(args: &RunArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let who = whoami(&api).await?;
    let parties = if args.parties.is_empty() {
        let info = api.party().await?;
        let mut names: Vec<String> = info.peers.into_iter().map(|peer| peer.name).collect();
        names.push(info.name);
        names.sort();
        names
    } else {
        args.parties.clone()
    };
    let mut read = read_job(&args.job, &who, &parties)?;
    for (name, values) in pairs(&args.inputs)? {
        read.values.insert(name, numbers::read(&values)?);
    }
    for (input, owner, _) in read.program.inputs() {
        if let Owner::Client(name) = owner
            && *name != who
        {
            let what = format!(
                "`{input}` is an input of {name}, and you are {who}: make the computation with `cryptomesh mpc create`, so that each \
                 owner can give their own with `cryptomesh mpc share`"
            );
            return Err(UsageError(what).into());
        }
        if !read.values.contains_key(input) {
            return Err(UsageError(format!("`{input}` has no values: pass --input {input}=…")).into());
        }
    }
    // A key for this run alone: the results are shown at its end, and nobody needs them later.
    let key = RecipientSecretKey::generate();
    let body = json!({
        "name": read.name,
        "job": read.source,
        "program": read.program,
        "parties": parties,
        "receivers": { who.clone(): key.public_key().to_string() },
    });
    let entry = api.create_computation(&body).await?;
    let id = entry.get("id").and_then(Value::as_str).context("the computation has no id")?.to_owned();
    let agreed = agreed_of(&entry)?;
    if agreed.plan().program != read.program {
        bail!("the node has made another program of the job; nothing was sent");
    }
    demand_trust(&args.trust, &agreed.plan().parties)?;
    for (input, values) in &read.values {
        give(&api, &id, &agreed, input, values).await?;
    }
    let entry = finish(&api, &id, args.within).await?;
    let mut results = BTreeMap::new();
    for result in agreed.plan().program.outputs() {
        let shape = agreed.plan().program.node(result.node).shape.clone();
        match result.to {
            Receivers::Everybody => {
                let open = entry.get("status").map(|status| status["open"][result.name].clone());
                let values: Vec<Literal> = serde_json::from_value(open.unwrap_or_default())?;
                results.insert(result.name.to_owned(), (values, shape));
            }
            Receivers::Clients(names) if names.contains(&who) => {
                let (values, shape, _) = put_together(&api, &entry, &agreed, result.name, &who, &key).await?;
                results.insert(result.name.to_owned(), (values, shape));
            }
            Receivers::Clients(_) => {}
        }
    }
    if connection.output == Format::Table {
        tell_end(connection, &entry);
    }
    show(connection, &results);
    Ok(ExitCode::SUCCESS)
}
