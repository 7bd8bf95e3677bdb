//! `instance`: start one, verify it, put files in, run programs, get results, end it.
//!
//! Every command verifies the instance before it sends anything. With `--policy` alone the certificate is judged, which
//! the authority that the policy names has signed; with `--instance` the node is asked for fresh evidence, which says more.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use cm_client::resources::InstanceInfo;
use cm_client::trust::Distrust;
use cm_client::{Api, CertifiedConnection, ClientError, InstanceChannel, InstanceConnection, Terms, Work};
use cm_instance::PolicyText;
use cm_types::{ResourceKind, Sha256Digest};
use serde_json::{Map, Value, json};

use crate::agreement::AgreementArgs;
use crate::belief::{IdentityArgs, TrustArgs};
use crate::{Connection, Format, Outcome, UsageError, belief, output, report, resource};

/// `cryptomesh instance …`
#[derive(Debug, Subcommand)]
pub enum InstanceCommand {
    /// Start an instance of a function under a user policy.
    Create(CreateArgs),
    /// Verify an instance and say what was verified. Sends nothing.
    Verify(VerifyArgs),
    /// Write files into an instance.
    Put(PutArgs),
    /// Run a program or a pipeline and wait until it ends.
    Run(RunArgs),
    /// Fetch files out of an instance.
    Get(GetArgs),
    /// List the files of an instance that you may know of.
    Ls(VerifyArgs),
    /// End an instance, and with it everything in it.
    Shutdown(VerifyArgs),
}

/// `cryptomesh instance create`
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// The user policy: which function, which name, who may do what. `-` reads standard input.
    pub user_policy: PathBuf,
    /// What the instance has to run.
    #[command(flatten)]
    pub agreement: AgreementArgs,
    /// Where to write the policy that the instance obeys, byte for byte.
    #[arg(long, value_name = "FILE")]
    pub output_policy_file: Option<PathBuf>,
}

/// By what an instance is known; at least one of them must be given.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub struct KnownArgs {
    /// The text of the policy that the instance must obey, which has to come from somebody whom you trust.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The instance's id at the node, which is asked for evidence.
    #[arg(long, value_name = "ID")]
    pub instance: Option<String>,
}

/// Which instance, as whom, and what is believed.
#[derive(Args, Debug)]
pub struct TargetArgs {
    /// By what it is known.
    #[command(flatten)]
    pub known: KnownArgs,
    /// With --instance and without --policy: the hash that the policy must have.
    #[arg(long, value_name = "SHA256", conflicts_with = "policy")]
    pub policy_hash: Option<Sha256Digest>,
    /// With --instance and without --policy: take the policy from the node, whatever it says.
    #[arg(long, conflicts_with_all = ["policy", "policy_hash"])]
    pub trust_node_policy: bool,
    /// As whom.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// What is believed.
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// `cryptomesh instance verify`, `ls`, `shutdown`
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The instance.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `cryptomesh instance put`
#[derive(Args, Debug)]
pub struct PutArgs {
    /// The instance.
    #[command(flatten)]
    pub target: TargetArgs,
    /// What to write: NAME=FILE, with the name inside; `-` reads standard input.
    #[arg(required = true, value_name = "NAME=FILE")]
    pub files: Vec<String>,
    /// The files are sealed, and their owner has released their keys to the instance.
    #[arg(long)]
    pub sealed: bool,
}

/// `cryptomesh instance run`
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The instance.
    #[command(flatten)]
    pub target: TargetArgs,
    /// The program's file, or with --pipeline the pipeline's name or number.
    pub work: String,
    /// Run a pipeline.
    #[arg(long)]
    pub pipeline: bool,
    /// Seconds that it may take.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// What the program gets behind its name.
    #[arg(last = true)]
    pub arguments: Vec<String>,
}

/// `cryptomesh instance get`
#[derive(Args, Debug)]
pub struct GetArgs {
    /// The instance.
    #[command(flatten)]
    pub target: TargetArgs,
    /// What to fetch: NAME=FILE; `-` writes standard output, and so does NAME alone.
    #[arg(required = true, value_name = "NAME[=FILE]")]
    pub files: Vec<String>,
    /// End the instance once everything is fetched.
    #[arg(long, conflicts_with = "no_shutdown")]
    pub shutdown: bool,
    /// Leave the instance running, which is the default; for callers who are used to say so.
    #[arg(long, short = 'n')]
    pub no_shutdown: bool,
}

/// Runs one of them.
pub async fn run(command: InstanceCommand, connection: &Connection) -> Outcome {
    match command {
        InstanceCommand::Create(args) => create(&args, connection).await,
        InstanceCommand::Verify(args) => verify(&args.target, connection).await,
        InstanceCommand::Put(args) => put(&args, connection).await,
        InstanceCommand::Run(args) => execute(&args, connection).await,
        InstanceCommand::Get(args) => get(&args, connection).await,
        InstanceCommand::Ls(args) => ls(&args.target, connection).await,
        InstanceCommand::Shutdown(args) => {
            let mut inside = open(&args.target, connection).await?;
            inside.shut_down().await?;
            let document = json!({ "policy_hash": inside.policy_hash(), "ended": true });
            output::done(connection, "the instance ends", &document);
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn create(args: &CreateArgs, connection: &Connection) -> Outcome {
    let user_policy = Value::Object(resource::read_document(&args.user_policy)?);
    let Some(function) = user_policy["function"].as_str() else {
        let what = format!("{} names no `function`", args.user_policy.display());
        return Err(UsageError(what).into());
    };
    let api = connection.api()?;
    let program_policy = args.agreement.program_policy(function, &api, connection).await?;
    let terms = Terms::of_policies(&program_policy, &user_policy).context("what to insist on")?;
    let made = api.create_instance(&user_policy).await.context("cannot start an instance")?;
    let agreed = agreed_policy(&api, &made, &terms).await.and_then(|policy| {
        if let Some(file) = &args.output_policy_file {
            std::fs::write(file, policy.as_str())
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(policy)
    });
    let policy = match agreed {
        Ok(policy) => policy,
        Err(error) => {
            // Nobody is left with an instance that is not what was asked for, or with one that nobody has the policy of.
            if let Err(error) = api.remove(ResourceKind::Instance, &made.id).await {
                output::note(connection, &format!("instance {} could not be removed: {error}", made.id));
            }
            return Err(error);
        }
    };
    show(connection, json!({ "id": made.id, "address": made.address, "policy_hash": policy.hash() }));
    Ok(ExitCode::SUCCESS)
}

/// The policy that the instance is to obey, as the node returned it, if it keeps the terms.
async fn agreed_policy(api: &Api, made: &InstanceInfo, terms: &Terms) -> anyhow::Result<PolicyText> {
    let text = match &made.policy {
        Some(policy) => policy.clone(),
        None => api.instance_policy(&made.id).await?,
    };
    let text = PolicyText::new(text);
    let parsed = text.parse().map_err(|error| ClientError::from(Distrust::from(error)))?;
    terms.check(&parsed).map_err(|broken| ClientError::from(Distrust::from(broken))).with_context(|| {
        format!("the node returned another policy for {} than was asked for; the instance is ended", made.id)
    })?;
    Ok(text)
}

/// A verified instance, by either judge.
enum Open {
    Evidence(Box<InstanceConnection>),
    Certificate(Box<CertifiedConnection>),
}

impl Open {
    fn policy_hash(&self) -> Sha256Digest {
        match self {
            Self::Evidence(connection) => connection.claims().policy_hash,
            Self::Certificate(connection) => connection.claims().policy_hash,
        }
    }
}

impl Deref for Open {
    type Target = InstanceChannel;

    fn deref(&self) -> &InstanceChannel {
        match self {
            Self::Evidence(connection) => connection,
            Self::Certificate(connection) => connection,
        }
    }
}

impl DerefMut for Open {
    fn deref_mut(&mut self) -> &mut InstanceChannel {
        match self {
            Self::Evidence(connection) => connection,
            Self::Certificate(connection) => connection,
        }
    }
}

/// The policy's text as the caller knows it.
async fn policy(target: &TargetArgs, connection: &Connection) -> anyhow::Result<PolicyText> {
    if let Some(file) = &target.known.policy {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        return Ok(PolicyText::new(text));
    }
    let id = target.known.instance.as_deref().unwrap_or_default();
    if target.policy_hash.is_none() && !target.trust_node_policy {
        let what = "say which policy the instance must obey: --policy FILE, --policy-hash SHA256, or --trust-node-policy";
        return Err(UsageError(what.to_owned()).into());
    }
    let text = PolicyText::new(connection.api()?.instance_policy(id).await?);
    match target.policy_hash {
        Some(expected) if expected != text.hash() => {
            Err(ClientError::from(cm_instance::release::NotReleased::Policy(text.hash())).into())
        }
        _ => Ok(text),
    }
}

async fn open(target: &TargetArgs, connection: &Connection) -> anyhow::Result<Open> {
    // What is demanded must be checkable, before anything is asked of anybody.
    let measurements = match &target.known.instance {
        Some(_) => None,
        None => Some(target.trust.of_certificate()?),
    };
    let text = policy(target, connection).await?;
    let identity = target.identity.read()?;
    let insecure = target.trust.allow_insecure_software;
    let opened = match measurements {
        None => {
            let id = target.known.instance.as_deref().unwrap_or_default();
            let trust = target.trust.read(connection)?;
            let opened = connection.api()?.open_text(id, &text, &trust, &identity).await;
            opened.map(|connection| Open::Evidence(Box::new(connection)))
        }
        Some(measurements) => {
            let opened =
                CertifiedConnection::open_measured(text.as_str(), &identity, insecure, measurements).await;
            opened.map(|connection| Open::Certificate(Box::new(connection)))
        }
    };
    let opened = opened.inspect_err(|error| belief::hint(connection, error))?;
    let judge = match &opened {
        Open::Evidence(connection) => connection.claims().kind.as_str(),
        Open::Certificate(_) => "certificate",
    };
    output::note(connection, &format!("verified: {judge}, policy {}", opened.policy_hash()));
    Ok(opened)
}

async fn verify(target: &TargetArgs, connection: &Connection) -> Outcome {
    let opened = open(target, connection).await?;
    let entry = match &opened {
        Open::Evidence(connection) => {
            let claims = connection.claims();
            let layers = claims.isolation.iter();
            let (active, missing): (Vec<_>, Vec<_>) = layers.partition(|layer| layer.active);
            let names = |layers: Vec<&cm_attest::IsolationLayer>| -> Vec<String> {
                layers.into_iter().map(|layer| layer.name.clone()).collect()
            };
            json!({
                "judged_by": "evidence", "evidence": claims.kind.as_str(), "measurement": claims.measurement,
                "policy_hash": claims.policy_hash, "tls_key_sha256": claims.tls_spki_sha256,
                "isolation": names(active), "isolation_missing": names(missing),
                "issued_at": claims.issued_at.to_string(), "node": claims.node,
            })
        }
        Open::Certificate(connection) => {
            let claims = connection.claims();
            json!({
                "judged_by": "certificate", "measurement": claims.measurement, "policy_hash": claims.policy_hash,
            })
        }
    };
    show(connection, entry);
    Ok(ExitCode::SUCCESS)
}

async fn put(args: &PutArgs, connection: &Connection) -> Outcome {
    let files: Vec<(String, String)> =
        args.files.iter().map(|text| resource::pair(text)).collect::<anyhow::Result<_>>()?;
    if files.iter().filter(|(_, file)| file == "-").count() > 1 {
        return Err(UsageError("standard input can be one file only".to_owned()).into());
    }
    if let Some(name) = files
        .iter()
        .enumerate()
        .find_map(|(at, (name, _))| files.iter().take(at).any(|(earlier, _)| earlier == name).then_some(name))
    {
        return Err(UsageError(format!("{name} is given twice")).into());
    }
    let mut inside = open(&args.target, connection).await?;
    let mut written = Vec::new();
    for (name, file) in &files {
        let (source, size): (Box<dyn tokio::io::AsyncRead + Unpin + Send>, _) = if file == "-" {
            (Box::new(tokio::io::stdin()), None)
        } else {
            let opened = tokio::fs::File::open(file).await.with_context(|| format!("cannot read {file}"))?;
            let size = opened.metadata().await?.len();
            (Box::new(opened), Some(size))
        };
        let (bar, progress) = output::progress(connection, size, name);
        if args.sealed {
            inside.write_sealed(name, source, Some(progress)).await.map(drop)
        } else {
            inside.write_stream(name, source, Some(progress)).await
        }
        .with_context(|| format!("cannot send {name}"))?;
        written.push(json!({ "name": name, "file": file, "size": bar.position() }));
        bar.finish_and_clear();
        output::note(connection, &format!("{name} written"));
    }
    if connection.output != Format::Table {
        output::document_of(connection, &json!({ "policy_hash": inside.policy_hash(), "written": written }));
    }
    Ok(ExitCode::SUCCESS)
}

async fn execute(args: &RunArgs, connection: &Connection) -> Outcome {
    let work =
        if args.pipeline { Work::Pipeline(args.work.clone()) } else { Work::Program(args.work.clone()) };
    let mut inside = open(&args.target, connection).await?;
    let timeout = Duration::from_secs(args.timeout);
    let report = inside.execute_with(&work, &args.arguments, timeout).await?;
    match connection.output {
        Format::Json | Format::Yaml => output::document_of(connection, &report::document(&report)?),
        Format::Table => {
            for step in &report.steps {
                let text = format!("{} {} in {} ms", step.program, step.outcome, step.wall_ms);
                output::note(connection, &text);
            }
            let text = format!("{} {} in {} ms", args.work, report.outcome, report.wall_ms);
            if report.succeeded() { output::line(&text) } else { output::error(&text) }
        }
    }
    Ok(if report.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn get(args: &GetArgs, connection: &Connection) -> Outcome {
    let mut inside = open(&args.target, connection).await?;
    let mut read = Vec::new();
    for text in &args.files {
        let (name, file) = text.split_once('=').unwrap_or((text, "-"));
        let (bar, progress) = output::progress(connection, None, name);
        let fetched = if file == "-" {
            inside.read_into(name, tokio::io::stdout(), Some(progress)).await
        } else {
            // Beside its place until it is whole.
            let temporary = PathBuf::from(format!("{file}.part"));
            let sink = tokio::fs::File::create(&temporary).await;
            let sink = sink.with_context(|| format!("cannot write {}", temporary.display()))?;
            let fetched = inside.read_into(name, sink, Some(progress)).await;
            match &fetched {
                Ok(_) => tokio::fs::rename(&temporary, Path::new(file)).await,
                Err(_) => tokio::fs::remove_file(&temporary).await,
            }
            .with_context(|| format!("cannot write {file}"))?;
            fetched
        };
        bar.finish_and_clear();
        let size = fetched.with_context(|| format!("cannot read {name}"))?;
        if file != "-" {
            read.push(json!({ "name": name, "file": file, "size": size }));
            output::note(connection, &format!("{file} written"));
        }
    }
    if args.shutdown {
        inside.shut_down().await?;
        output::note(connection, "the instance ends");
    }
    // A file on standard output stands there alone.
    if connection.output != Format::Table && read.len() == args.files.len() {
        let policy_hash = inside.policy_hash();
        output::document_of(
            connection,
            &json!({ "policy_hash": policy_hash, "read": read, "ended": args.shutdown }),
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn ls(target: &TargetArgs, connection: &Connection) -> Outcome {
    let files = open(target, connection).await?.list_files().await?;
    let entries: Vec<Map<String, Value>> = files
        .into_iter()
        .filter_map(|file| {
            let rights = cm_instance::Rights::from_bits_truncated(file.rights.into());
            let entry = json!({
                "name": file.file_name, "size": file.length, "rights": file.rights, "may": cm_instance::explain::in_words(rights),
            });
            entry.as_object().cloned()
        })
        .collect();
    output::whole_entries(connection, &entries);
    Ok(ExitCode::SUCCESS)
}

fn show(connection: &Connection, entry: Value) {
    if let Value::Object(entry) = entry {
        output::entry(connection, &entry);
    }
}
