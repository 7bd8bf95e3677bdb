//! `function run`: start an instance, verify it, send inputs, run, fetch results, shut down.
//!
//! Everything that decides whether the instance is trusted happens here, on the caller's side, before the first
//! byte of input is sent.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use cm_client::trust::Measurements;
use cm_client::{Api, ClientIdentity, InstanceConnection, Terms, Trust};
use cm_crypto::sign::VerifyingKey;
use cm_types::{ResourceId, ResourceKind, Sha256Digest, Timestamp};
use serde_json::{Value, json};

use crate::agreement::AgreementArgs;
use crate::{Connection, Format, Outcome, UsageError, belief, output, report, resource};

/// What a party that provides inputs and reads results needs, where no user policy says otherwise.
const RIGHTS_WRITE: u32 = 533_572;
const RIGHTS_READ: u32 = 8198;
/// How long a certificate made for one run is valid.
const IDENTITY_VALID: Duration = Duration::from_secs(24 * 3600);

/// `cryptomesh function run`
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The function.
    pub function: String,
    /// Where the terms come from.
    #[command(flatten)]
    pub agreement: AgreementArgs,
    /// The program to run; the function's only one without it.
    #[arg(long, value_name = "NAME")]
    pub program: Option<String>,
    /// A file to send: NAME=FILE, with the name that the policy gives it. May be repeated.
    #[arg(long, value_name = "NAME=FILE")]
    pub input: Vec<String>,
    /// A file to fetch after the run: NAME=FILE; `-` writes standard output. May be repeated.
    #[arg(long, value_name = "NAME=FILE")]
    pub result: Vec<String>,
    /// The user policy: who may read and write which file [default: a certificate made for this run may write
    /// the inputs and read the results].
    #[arg(long, value_name = "FILE", requires = "identity")]
    pub policy: Option<PathBuf>,
    /// Your certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub identity: Option<PathBuf>,
    /// The key of your certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "identity")]
    pub key: Option<PathBuf>,
    /// Accept evidence that only the node's own software vouches for.
    #[arg(long)]
    pub allow_insecure_software: bool,
    /// The node's verifying key, in PEM [default: that of the local data directory].
    #[arg(long, value_name = "FILE")]
    pub node_key: Option<PathBuf>,
    /// SHA-256 of an executable that may run in the instance [default: this executable]. May be repeated.
    #[arg(long, value_name = "SHA256")]
    pub measurement: Vec<Sha256Digest>,
    /// An isolation layer that must be active. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub require_isolation: Vec<String>,
    /// Seconds that the run may take.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// Leave the instance running.
    #[arg(long)]
    pub keep: bool,
}

/// The parts of one run that are fixed before anything is started.
struct Plan {
    program: String,
    inputs: Vec<(String, PathBuf)>,
    results: Vec<(String, PathBuf)>,
    identity: ClientIdentity,
    user_policy: Value,
    terms: Terms,
    trust: Trust,
}

/// Runs a function once.
pub async fn run(args: RunArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let plan = plan(&args, &api, connection).await?;
    let instance = api.create_instance(&plan.user_policy).await.context("cannot start an instance")?;
    output::note(connection, &format!("instance {} on {}", instance.id, instance.address));
    let finished = tokio::select! {
        // In this order: Ctrl-C is listened for before anything is done.
        biased;
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        finished = with_instance(&args, &plan, &api, &instance, connection) => finished,
    };
    if !args.keep {
        // The instance goes whether or not the run went well; the run's own outcome is what counts.
        if let Err(error) = api.remove(ResourceKind::Instance, &instance.id).await {
            output::note(connection, &format!("instance {} could not be removed: {error}", instance.id));
        }
    }
    finished
}

async fn plan(args: &RunArgs, api: &Api, connection: &Connection) -> anyhow::Result<Plan> {
    let inputs = files(&args.input)?;
    let results = files(&args.result)?;
    let policy = args.agreement.program_policy(&args.function, api, connection).await?;
    let document: Value =
        serde_json::from_str(&policy).context("the function's program policy is unreadable")?;
    let program = program_name(args, &document)?;
    let (identity, certificate) = identity(args)?;
    let user_policy = match &args.policy {
        Some(path) => Value::Object(resource::read_document(path)?),
        None => own_policy(args, &certificate, &inputs, &results),
    };
    let terms = Terms::of_policies(&policy, &user_policy).context("what to insist on")?;
    let trust = trust(args, connection)?;
    Ok(Plan { program, inputs, results, identity, user_policy, terms, trust })
}

fn files(pairs: &[String]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    pairs.iter().map(|text| resource::pair(text).map(|(name, file)| (name, PathBuf::from(file)))).collect()
}

fn program_name(args: &RunArgs, policy: &Value) -> anyhow::Result<String> {
    if let Some(program) = &args.program {
        return Ok(program.clone());
    }
    match policy["programs"].as_array().map(Vec::as_slice) {
        Some([only]) => only["program_file_name"]
            .as_str()
            .map(str::to_owned)
            .context("the function's only program has no name"),
        _ => {
            let which = format!("{} has several programs; say which with --program", args.function);
            Err(UsageError(which).into())
        }
    }
}

fn identity(args: &RunArgs) -> anyhow::Result<(ClientIdentity, String)> {
    let (certificate, key) = match (&args.identity, &args.key) {
        (Some(certificate), Some(key)) => {
            let read = |path: &PathBuf| {
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
            };
            (read(certificate)?, read(key)?)
        }
        _ => {
            let now = Timestamp::from(std::time::SystemTime::now());
            let made = cm_crypto::cert::generate_identity("cryptomesh function run", now, IDENTITY_VALID)?;
            (made.certificate_pem(), made.private_key_pem().expose().clone())
        }
    };
    let identity = ClientIdentity::from_pem(&certificate, &key)?;
    Ok((identity, certificate))
}

fn own_policy(
    args: &RunArgs,
    certificate: &str,
    inputs: &[(String, PathBuf)],
    results: &[(String, PathBuf)],
) -> Value {
    let writes = inputs.iter().map(|(name, _)| json!({ "file_name": name, "rights": RIGHTS_WRITE }));
    let reads = results.iter().map(|(name, _)| json!({ "file_name": name, "rights": RIGHTS_READ }));
    json!({
        "function": args.function,
        "instanceid": ResourceId::random(),
        "identities": [{ "certificate": certificate, "file_rights": writes.chain(reads).collect::<Vec<_>>() }],
    })
}

fn trust(args: &RunArgs, connection: &Connection) -> anyhow::Result<Trust> {
    let path = args.node_key.clone().unwrap_or_else(|| connection.data_dir().join("node.pub.pem"));
    let key = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "cannot read the node's verifying key {}; pass the one its operator gave you with --node-key",
            path.display()
        )
    })?;
    let measurements = if args.measurement.is_empty() {
        let executable = std::fs::read("/proc/self/exe").context("cannot read this executable")?;
        vec![cm_crypto::digest::sha256(&executable)]
    } else {
        args.measurement.clone()
    };
    Ok(Trust {
        node_keys: vec![VerifyingKey::from_spki_pem(&key)?],
        measurements: Measurements::OneOf(measurements),
        allow_insecure_software: args.allow_insecure_software,
        require_isolation: args.require_isolation.clone(),
    })
}

async fn with_instance(
    args: &RunArgs,
    plan: &Plan,
    api: &Api,
    instance: &cm_client::resources::InstanceInfo,
    connection: &Connection,
) -> Outcome {
    let policy = match &instance.policy {
        Some(policy) => policy.clone(),
        None => api.instance_policy(&instance.id).await?,
    };
    let opened = api.open_instance(&instance.id, &policy, &plan.terms, &plan.trust, &plan.identity).await;
    let mut inside = opened.inspect_err(|error| belief::hint(connection, error))?;
    let kind = inside.claims().kind;
    output::note(connection, &format!("verified: {kind} evidence, policy {}", instance.policy_hash));
    for (name, file) in &plan.inputs {
        send(&mut inside, name, file, connection).await?;
    }
    let report = inside.execute(&plan.program, Duration::from_secs(args.timeout)).await?;
    if !report.succeeded() {
        match connection.output {
            Format::Json | Format::Yaml => output::document_of(connection, &report::document(&report)?),
            Format::Table => output::error(&format!("{} {}", plan.program, report.outcome)),
        }
        return Ok(ExitCode::FAILURE);
    }
    output::note(connection, &format!("{} completed in {} ms", plan.program, report.wall_ms));
    for (name, file) in &plan.results {
        let bytes = inside.read_file(name).await.with_context(|| format!("cannot read {name}"))?;
        write_result(file, &bytes)?;
    }
    // A result on standard output stands there alone.
    if connection.output != Format::Table && plan.results.iter().all(|(_, file)| file != Path::new("-")) {
        output::document_of(connection, &report::document(&report)?);
    }
    Ok(ExitCode::SUCCESS)
}

async fn send(
    inside: &mut InstanceConnection,
    name: &str,
    file: &PathBuf,
    connection: &Connection,
) -> anyhow::Result<()> {
    let opened =
        tokio::fs::File::open(file).await.with_context(|| format!("cannot read {}", file.display()))?;
    let size = opened.metadata().await?.len();
    let (bar, progress) = output::progress(connection, Some(size), name);
    inside.write_stream(name, opened, Some(progress)).await.with_context(|| format!("cannot send {name}"))?;
    bar.finish_and_clear();
    Ok(())
}

fn write_result(file: &PathBuf, bytes: &[u8]) -> anyhow::Result<()> {
    if file == Path::new("-") {
        use std::io::Write;
        return crate::output::Out.write_all(bytes).context("cannot write the result");
    }
    std::fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}
