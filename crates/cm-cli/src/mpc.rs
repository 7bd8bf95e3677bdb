//! `mpc`: computations on secret shares. Inputs are split and results put together here, on the user's machine; the node is given
//! what it cannot open.

mod bench;
mod end;
mod job;
mod numbers;
mod objects;
mod plan;
mod proof;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use cm_client::Api;
use serde_json::{Value, json};

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
    /// Show the keys by which the node signs results with others.
    Keys,
    /// Write down the parties' signature of a result, with what they signed.
    Proof(ProofArgs),
    /// Verify such a signature. Speaks to no node.
    Verify(VerifyArgs),
    /// Record a signed result where the node records them, once more.
    Anchor(AnchorArgs),
    /// Make a computation, split its inputs, run it and show its results: for a job whose owner has all inputs.
    Run(RunArgs),
    /// Measure how fast the node and the parties that it knows compute.
    Bench(BenchArgs),
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
    /// Have the parties sign the result: by `any` key that they have together or a fresh one, by a `fresh` one, or by the one of this public part.
    #[arg(long, value_name = "KEY", num_args = 0..=1, default_missing_value = "any")]
    pub sign: Option<String>,
}

/// `cryptomesh mpc proof`
#[derive(Args, Debug)]
pub struct ProofArgs {
    /// The computation.
    pub id: String,
    /// The file to write; the output without it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `cryptomesh mpc verify`
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The file that `cryptomesh mpc proof` wrote.
    pub proof: PathBuf,
    /// The parties' public key, 66 hexadecimal digits, as you know it from them: `cryptomesh mpc keys` at any of them.
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// The plan that it must be a result of: its digest, as `cryptomesh mpc plan` prints it.
    #[arg(long, value_name = "DIGEST")]
    pub plan: Option<String>,
    /// A file of recorded results in which it must stand.
    #[arg(long, value_name = "FILE")]
    pub anchored: Option<PathBuf>,
}

/// `cryptomesh mpc anchor`
#[derive(Args, Debug)]
pub struct AnchorArgs {
    /// The computation.
    pub id: String,
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
    /// Believe the node that leads the computation about the plan and the parties' keys. It could name keys of its own and read the input.
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
    /// The numbers: a CSV file, with `FILE:COLUMN` one of its columns; the same of an object, `object:BUCKET/KEY`; or the numbers themselves,
    /// separated by commas.
    pub values: String,
    /// Open a sealed object with the secret key in this file.
    #[arg(long, value_name = "FILE")]
    pub open_with: Option<PathBuf>,
    /// The plan that you have read (`cryptomesh mpc plan` prints its digest): the numbers are split for it and for no other.
    #[arg(long, value_name = "DIGEST", required_unless_present = "trust_node")]
    pub plan: Option<String>,
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
    /// Do not show it: store it as an object that this key opens, BUCKET/KEY, as lines of numbers with commas between.
    #[arg(long, value_name = "BUCKET/KEY")]
    pub to: Option<String>,
    /// Who else can open that object; repeat.
    #[arg(long, value_name = "PUBLIC-KEY", requires = "to")]
    pub seal_to: Vec<String>,
}

/// `cryptomesh mpc run`
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The job: `.json` for steps, anything else in the language.
    pub job: PathBuf,
    /// An input: `NAME=FILE.csv`, `NAME=FILE.csv:COLUMN`, `NAME=object:BUCKET/KEY:COLUMN` or `NAME=1,2,3`; repeat.
    #[arg(long = "input", value_name = "NAME=VALUES")]
    pub inputs: Vec<String>,
    /// Open sealed objects among the inputs with the secret key in this file.
    #[arg(long, value_name = "FILE")]
    pub open_with: Option<PathBuf>,
    /// A party; repeat [default: the node and all that it knows].
    #[arg(long = "party", value_name = "NAME")]
    pub parties: Vec<String>,
    /// Seconds that it may take.
    #[arg(long, value_name = "SECONDS")]
    pub within: Option<u32>,
    /// Have the parties sign the result, as with `cryptomesh mpc create`.
    #[arg(long, value_name = "KEY", num_args = 0..=1, default_missing_value = "any")]
    pub sign: Option<String>,
    /// How the parties' keys are trusted.
    #[command(flatten)]
    pub trust: Trust,
}

/// `cryptomesh mpc bench`
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// What the computations withstand: `semi-honest` or `malicious-abort`.
    #[arg(long, default_value = "malicious-abort", value_parser = ["semi-honest", "malicious-abort"])]
    pub tier: String,
}

/// Runs one of them.
pub async fn run(command: MpcCommand, connection: &Connection) -> Outcome {
    match command {
        MpcCommand::Up(_) => {
            Err(UsageError("`mpc up` starts nodes, which this build of the command cannot".to_owned()).into())
        }
        MpcCommand::Party => party(connection).await,
        MpcCommand::Peer(command) => peer(command, connection).await,
        MpcCommand::Explain(args) => job::explained(&args, connection),
        MpcCommand::Create(args) => job::create(args, connection).await,
        MpcCommand::Plan(args) => plan::plan(&args, connection).await,
        MpcCommand::Share(args) => plan::share(&args, connection).await,
        MpcCommand::Start(args) => end::start(&args, connection).await,
        MpcCommand::Cancel(args) => {
            connection.api()?.cancel_computation(&args.id).await?;
            output::done(connection, "the run is about to end", &json!({ "id": args.id }));
            Ok(ExitCode::SUCCESS)
        }
        MpcCommand::Reveal(args) => end::reveal(&args, connection).await,
        MpcCommand::Keys => proof::keys(connection).await,
        MpcCommand::Proof(args) => proof::proof(&args, connection).await,
        MpcCommand::Verify(args) => proof::verify(&args, connection),
        MpcCommand::Anchor(args) => proof::anchor(&args, connection).await,
        MpcCommand::Bench(args) => bench::bench(&args, connection).await,
        MpcCommand::Run(args) => job::run_job(&args, connection).await,
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

fn pairs(texts: &[String]) -> Result<BTreeMap<String, String>, UsageError> {
    let pair = |text: &String| {
        let wrong = || UsageError(format!("`{text}` is not NAME=VALUE"));
        text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(wrong)
    };
    texts.iter().map(pair).collect()
}

async fn whoami(api: &Api) -> anyhow::Result<String> {
    let me = api.whoami().await?;
    let id = me.get("principal").or_else(|| me.get("id")).and_then(Value::as_str);
    id.map(str::to_owned).context("the node does not say who you are")
}
