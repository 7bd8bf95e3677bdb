//! `object release` and `release`: give the key of a sealed object to an instance that is what its owner demands.
//!
//! Only the owner's side has the key. `object release` gives it once; `release serve` is the owner's agent, which does the
//! same for everybody who asks. Requests and answers travel as objects in the bucket: the agent listens nowhere, needs no
//! address, and what was asked and answered stands in the audit log like every write. A request is nobody's word for
//! anything: the agent judges the instance's evidence itself.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Subcommand};
use cm_client::release::Recipient;
use cm_client::{Api, ClientError};
use cm_crypto::seal::{RecipientSecretKey, SealedHeader};
use cm_instance::release::{ReleasePolicy, ReleasedFunction, function_digest};
use cm_instance::{GuestPath, ProgramPolicy};
use cm_types::{BucketName, ObjectKey, ResourceId, ResourceKind, Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::belief::{IdentityArgs, TrustArgs};
use crate::{Connection, Format, Outcome, UsageError, belief, object, output};

/// Where requests are put, within the bucket.
const REQUESTS: &str = "release-requests/";
/// Where answers are put.
const ANSWERS: &str = "release-answers/";
/// Longest request or answer that is read, in bytes.
const LETTER_LEN_MAX: usize = 16 * 1024;
/// Most requests that are answered in one round.
const ROUND_MAX: usize = 100;

/// To whom the key of an object is released; options of `object put`.
#[derive(Args, Debug)]
pub struct ReleaseToArgs {
    /// Release the key to instances with this measurement=HEX, policy=HEX or function=ID. May be repeated: of each of
    /// the three that is named, one must hold.
    #[arg(long, value_name = "WHAT=VALUE", requires = "owner_key")]
    pub release_to: Vec<String>,
    /// Your secret key as `keys seal` wrote it: the object is sealed for it, and it signs to whom it is released.
    #[arg(long, value_name = "FILE")]
    pub owner_key: Option<PathBuf>,
    /// The program policy of the function that the key is released to, as its author published it [default: take the
    /// node's word].
    #[arg(long, value_name = "FILE")]
    pub function_policy: Option<PathBuf>,
    /// For how many days [default: for ever].
    #[arg(long, value_name = "DAYS")]
    pub release_days: Option<u32>,
}

impl ReleaseToArgs {
    /// The release policy but for the header, which is known once the object is sealed.
    pub(crate) async fn policy(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        api: &Api,
        connection: &Connection,
    ) -> anyhow::Result<ReleasePolicy> {
        let now = Timestamp::from(std::time::SystemTime::now());
        let lasting = |days: u32| Duration::from_secs(u64::from(days) * 24 * 3600);
        let mut policy = ReleasePolicy {
            bucket: bucket.to_string(),
            key: key.to_string(),
            sealed: Sha256Digest::from_bytes([0; 32]),
            measurements: Vec::new(),
            policies: Vec::new(),
            functions: Vec::new(),
            until: self.release_days.map(|days| now.after(lasting(days)).as_secs()),
        };
        for text in &self.release_to {
            let (what, value) = crate::resource::pair(text)?;
            let digest =
                || value.parse::<Sha256Digest>().map_err(|_| UsageError(format!("`{value}` is no SHA-256")));
            match what.as_str() {
                "measurement" => policy.measurements.push(digest()?),
                "policy" => policy.policies.push(digest()?),
                "function" => policy.functions.push(self.function(&value, api, connection).await?),
                _ => {
                    let wrong = format!("`{text}` must be measurement=HEX, policy=HEX or function=ID");
                    return Err(UsageError(wrong).into());
                }
            }
        }
        Ok(policy)
    }

    async fn function(
        &self,
        id: &str,
        api: &Api,
        connection: &Connection,
    ) -> anyhow::Result<ReleasedFunction> {
        let text = match &self.function_policy {
            Some(file) => {
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
            }
            None => {
                output::note(connection, &format!("on the node's word: what the function {id} does"));
                let record = api.read(ResourceKind::Function, id).await?;
                let policy = record.get("confidential").and_then(|spec| spec.get("policy"));
                policy.and_then(Value::as_str).context("the function is not confidential")?.to_owned()
            }
        };
        let policy = ProgramPolicy::parse(text.as_bytes()).context("the program policy is unreadable")?;
        Ok(ReleasedFunction { id: id.to_owned(), digest: function_digest(&policy) })
    }
}

/// Signs a policy for the object with this header.
pub(crate) fn signed(
    mut policy: ReleasePolicy,
    header: &SealedHeader,
    owner: &RecipientSecretKey,
) -> Result<String, ClientError> {
    policy.sealed = header.digest();
    Ok(policy.sign(&owner.signing_key())?)
}

/// `cryptomesh object release`
#[derive(Args, Debug)]
pub struct ReleaseArgs {
    /// The object: BUCKET/KEY.
    pub object: String,
    /// The instance's id.
    #[arg(long, value_name = "ID")]
    pub instance: String,
    /// What the file will be called inside.
    #[arg(long = "as", value_name = "PATH")]
    pub file: String,
    /// Your secret key as `keys seal` wrote it.
    #[arg(long, value_name = "FILE")]
    pub owner_key: PathBuf,
    /// Hand over the key only; somebody else carries the object.
    #[arg(long)]
    pub key_only: bool,
    /// As whom.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// What is believed.
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// Releases once.
pub(crate) async fn release(args: &ReleaseArgs, connection: &Connection) -> Outcome {
    let owner = object::read_secret(&args.owner_key)?;
    let agent = Agent { owner, identity: &args.identity, trust: &args.trust, connection };
    let manner = if args.key_only { Manner::KeyOnly } else { Manner::Whole };
    agent.release(&args.object, &args.instance, &args.file, manner).await?;
    let what = if args.key_only { "the key was handed over" } else { "it is there, opened" };
    let (released, key_only) = (true, args.key_only);
    let document = serde_json::json!({
        "object": args.object, "instance": args.instance, "as": args.file, "released": released, "key_only": key_only,
    });
    output::done(connection, &format!("released {} to {}: {what}", args.object, args.instance), &document);
    Ok(ExitCode::SUCCESS)
}

/// `cryptomesh release …`
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Answer requests for the keys of your objects: your agent.
    Serve(ServeArgs),
    /// Ask an owner's agent to release an object to an instance, and wait for the answer.
    Request(RequestArgs),
}

/// `cryptomesh release serve`
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The bucket whose requests are answered.
    pub bucket: String,
    /// Your secret key as `keys seal` wrote it.
    #[arg(long, value_name = "FILE")]
    pub owner_key: PathBuf,
    /// Answer what there is, then end.
    #[arg(long)]
    pub once: bool,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
    /// As whom.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// What is believed.
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// `cryptomesh release request`
#[derive(Args, Debug)]
pub struct RequestArgs {
    /// The object: BUCKET/KEY.
    pub object: String,
    /// The instance's id.
    #[arg(long, value_name = "ID")]
    pub instance: String,
    /// What the file will be called inside.
    #[arg(long = "as", value_name = "PATH")]
    pub file: String,
    /// Seconds to wait for the answer.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub wait: u64,
}

/// What is asked.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Request {
    object: String,
    instance: String,
    #[serde(rename = "as")]
    file: String,
}

/// What is answered.
#[derive(Debug, Deserialize, Serialize)]
struct Answer {
    object: String,
    instance: String,
    released: bool,
    reason: Option<String>,
}

/// Runs one of them.
pub async fn run(command: ReleaseCommand, connection: &Connection) -> Outcome {
    match command {
        ReleaseCommand::Serve(args) => serve(&args, connection).await,
        ReleaseCommand::Request(args) => request(&args, connection).await,
    }
}

/// The owner's side.
struct Agent<'a> {
    owner: RecipientSecretKey,
    identity: &'a IdentityArgs,
    trust: &'a TrustArgs,
    connection: &'a Connection,
}

/// What is released, and who asked for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// The owner: the key, and then the object.
    Whole,
    /// The owner: the key alone.
    KeyOnly,
    /// Somebody else, whom the agent answers: the key, and then the object.
    Unwatched,
}

impl Agent<'_> {
    async fn release(&self, target: &str, instance: &str, file: &str, manner: Manner) -> anyhow::Result<()> {
        let (bucket, key) = object::address(target)?;
        let api = self.connection.api()?;
        let policy = api.instance_policy(instance).await?;
        let identity = self.identity.read()?;
        let trust = self.trust.read(self.connection)?;
        let by_hand = manner != Manner::Unwatched;
        let path = GuestPath::parse(file).context("the name of the file inside")?;
        let to = Recipient { instance, policy: &policy, file: &path, trust, identity: &identity, by_hand };
        let released = api.release_key(&bucket, &key, &self.owner, to).await;
        let mut inside = released.inspect_err(|error| belief::hint(self.connection, error))?;
        if manner != Manner::KeyOnly {
            let size = api.object(&bucket, &key).await?.size;
            let (bar, progress) = output::progress(self.connection, Some(size), target);
            let source = api.read_object(&bucket, &key).await?;
            inside.write_sealed(file, source, Some(progress)).await?;
            bar.finish_and_clear();
        }
        Ok(())
    }
}

async fn serve(args: &ServeArgs, connection: &Connection) -> Outcome {
    let bucket = object::bucket_name(&args.bucket)?;
    let owner = object::read_secret(&args.owner_key)?;
    // What is wrong with the certificate or the trust shows at once, not at the first request.
    args.identity.read()?;
    args.trust.read(connection)?;
    let agent = Agent { owner, identity: &args.identity, trust: &args.trust, connection };
    output::note(connection, &format!("answering requests for keys in {bucket}"));
    loop {
        let round = answer_all(&agent, &bucket);
        if args.once {
            round.await?;
            return Ok(ExitCode::SUCCESS);
        }
        tokio::select! {
            done = round => {
                // The node may be gone for a while; the agent stays.
                if let Err(error) = done {
                    output::note(connection, &format!("{error:#}"));
                }
            }
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(args.every)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn answer_all(agent: &Agent<'_>, bucket: &BucketName) -> anyhow::Result<()> {
    let api = agent.connection.api()?;
    let page = api.list_objects(bucket, Some(REQUESTS), None, ROUND_MAX).await?;
    for letter in page.items {
        let key = ObjectKey::parse(&letter.key).context("an object has an impossible key")?;
        let answer = match read_letter::<Request>(&api, bucket, &key).await? {
            None => Answer {
                object: String::new(),
                instance: String::new(),
                released: false,
                reason: Some("the request is unreadable".to_owned()),
            },
            Some(asked) => answer(agent, bucket, asked).await,
        };
        let outcome = answer.reason.clone().unwrap_or_else(|| "released".to_owned());
        let said = format!("{} to {}: {outcome}", answer.object, answer.instance);
        output::note(agent.connection, &said);
        // One document a line: an agent does not end.
        if agent.connection.output == Format::Json {
            output::line(&serde_json::to_string(&answer)?);
        }
        let name = letter.key.strip_prefix(REQUESTS).unwrap_or(&letter.key);
        write_letter(&api, bucket, &format!("{ANSWERS}{name}"), &answer).await?;
        api.remove_object(bucket, &key).await?;
    }
    Ok(())
}

async fn answer(agent: &Agent<'_>, bucket: &BucketName, asked: Request) -> Answer {
    let here = asked.object.strip_prefix(bucket.as_str()).is_some_and(|rest| rest.starts_with('/'));
    let released = if here {
        agent.release(&asked.object, &asked.instance, &asked.file, Manner::Unwatched).await
    } else {
        Err(anyhow::anyhow!("the object is in another bucket than the request"))
    };
    let reason = released.err().map(|error| format!("{error:#}"));
    Answer { object: asked.object, instance: asked.instance, released: reason.is_none(), reason }
}

async fn request(args: &RequestArgs, connection: &Connection) -> Outcome {
    let (bucket, _) = object::address(&args.object)?;
    let api = connection.api()?;
    let name = format!("{}.json", ResourceId::random());
    let asked =
        Request { object: args.object.clone(), instance: args.instance.clone(), file: args.file.clone() };
    write_letter(&api, &bucket, &format!("{REQUESTS}{name}"), &asked).await?;
    let key = ObjectKey::parse(format!("{ANSWERS}{name}")).context("the key of an answer")?;
    let end = Instant::now() + Duration::from_secs(args.wait);
    loop {
        match read_letter::<Answer>(&api, &bucket, &key).await {
            Ok(Some(answer)) => return told(&answer, connection),
            Ok(None) => anyhow::bail!("the answer is unreadable"),
            Err(error) if is_absent(&error) && Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) if is_absent(&error) => anyhow::bail!("nobody answered; does the owner's agent run?"),
            Err(error) => return Err(error),
        }
    }
}

fn told(answer: &Answer, connection: &Connection) -> Outcome {
    if let Value::Object(entry) = serde_json::to_value(answer)? {
        output::entry(connection, &entry);
    }
    // Refused, as every other refusal.
    Ok(if answer.released { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn is_absent(error: &anyhow::Error) -> bool {
    let refused = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>());
    matches!(refused, Some(ClientError::Refused(refusal)) if refusal.status == 404)
}

async fn write_letter(
    api: &Api,
    bucket: &BucketName,
    key: &str,
    letter: &impl Serialize,
) -> anyhow::Result<()> {
    let key = ObjectKey::parse(key).context("the key of a letter")?;
    let bytes = serde_json::to_vec(letter)?;
    let size = bytes.len() as u64;
    api.put_object(bucket, &key, std::io::Cursor::new(bytes), Some(size), None).await?;
    Ok(())
}

/// A letter; `None` if it is too long or is none.
async fn read_letter<T: serde::de::DeserializeOwned>(
    api: &Api,
    bucket: &BucketName,
    key: &ObjectKey,
) -> anyhow::Result<Option<T>> {
    let mut download = api.get_object(bucket, key).await?;
    let mut bytes = Vec::new();
    while let Some(part) = download.next().await? {
        bytes.extend_from_slice(&part);
        if bytes.len() > LETTER_LEN_MAX {
            return Ok(None);
        }
    }
    Ok(serde_json::from_slice(&bytes).ok())
}

/// Shows a release policy as it stands at an object, to whoever looks: its signature only its owner's agent judges.
pub(crate) fn described(token: &str) -> Value {
    match ReleasePolicy::unverified(token) {
        Some(policy) => serde_json::to_value(policy).unwrap_or_default(),
        None => Value::String("unreadable".to_owned()),
    }
}

/// A secret key where one is needed.
pub(crate) fn owner_key(file: Option<&Path>) -> anyhow::Result<RecipientSecretKey> {
    object::read_secret(file.ok_or_else(|| UsageError("--release-to needs --owner-key".to_owned()))?)
}
