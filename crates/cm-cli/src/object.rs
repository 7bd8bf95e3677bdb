//! `object`: store, read, list and remove objects, sealed if you wish.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use cm_client::Api;
use cm_client::objects::ObjectView;
use cm_client::upload::PART_BYTES;
use cm_crypto::seal::{RecipientPublicKey, RecipientSecretKey};
use cm_types::{BucketName, ObjectKey, ResourceKind};

use crate::{Connection, Format, Outcome, UsageError, output, release, share, transfer};

/// `cryptomesh object …`
#[derive(Debug, Subcommand)]
pub enum ObjectCommand {
    /// Store a file; again after an interruption, to go on.
    Put(PutArgs),
    /// Read an object into a file; again after an interruption, to go on.
    Get(GetArgs),
    /// Copy an object by way of this command.
    Cp(transfer::CpArgs),
    /// Make a URL by which whoever has it can read an object for some time.
    Share(share::ShareArgs),
    /// List uploads that are under way, or end one.
    Uploads(transfer::UploadsArgs),
    /// List a bucket's objects.
    Ls(LsArgs),
    /// Remove an object.
    Rm(RmArgs),
    /// Show what is known of an object, and to whom its key is released.
    Describe(DescribeArgs),
    /// Release the key of a sealed object to an instance, once, and bring the object there.
    Release(Box<release::ReleaseArgs>),
    /// Have the node check everything that it stores; name what is damaged.
    Verify,
}

/// `cryptomesh object put`
#[derive(Args, Debug)]
pub struct PutArgs {
    /// The file; `-` reads standard input.
    pub file: PathBuf,
    /// Where to store it: BUCKET/KEY. A trailing slash keeps the file's name.
    pub target: String,
    /// Seal it so that only the holder of this key's secret can read it. May be repeated.
    #[arg(long, value_name = "PUBLIC-KEY")]
    pub seal_to: Vec<String>,
    /// Create the bucket if it does not exist.
    #[arg(long)]
    pub create_bucket: bool,
    /// To whom the key is released.
    #[command(flatten)]
    pub release: release::ReleaseToArgs,
}

/// `cryptomesh object describe`
#[derive(Args, Debug)]
pub struct DescribeArgs {
    /// The object: BUCKET/KEY.
    pub object: String,
}

/// `cryptomesh object get`
#[derive(Args, Debug)]
pub struct GetArgs {
    /// The object: BUCKET/KEY.
    pub source: String,
    /// The file to write; `-` writes standard output [default: the last part of the key].
    pub file: Option<PathBuf>,
    /// Open a sealed object with the secret key in this file.
    #[arg(long, value_name = "FILE")]
    pub open_with: Option<PathBuf>,
    /// Neither use objects that were read before, nor keep this one.
    #[arg(long)]
    pub no_cache: bool,
}

/// `cryptomesh object ls`
#[derive(Args, Debug)]
pub struct LsArgs {
    /// The bucket, or BUCKET/PREFIX.
    pub bucket: String,
    /// Most objects to show.
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    pub limit: usize,
}

/// `cryptomesh object rm`
#[derive(Args, Debug)]
pub struct RmArgs {
    /// The object: BUCKET/KEY.
    pub target: String,
}

/// Runs one of them.
pub async fn run(command: ObjectCommand, connection: &Connection) -> Outcome {
    match command {
        ObjectCommand::Put(args) => put(args, connection).await,
        ObjectCommand::Get(args) => get(args, connection).await,
        ObjectCommand::Cp(args) => transfer::copy(&args, connection).await,
        ObjectCommand::Share(args) => share::share(&args, connection).await,
        ObjectCommand::Uploads(args) => transfer::uploads(&args, connection).await,
        ObjectCommand::Ls(args) => ls(args, connection).await,
        ObjectCommand::Rm(args) => rm(args, connection).await,
        ObjectCommand::Describe(args) => describe(&args, connection).await,
        ObjectCommand::Release(args) => release::release(&args, connection).await,
        ObjectCommand::Verify => verify(connection).await,
    }
}

pub(crate) fn address(text: &str) -> anyhow::Result<(BucketName, ObjectKey)> {
    let (bucket, key) =
        text.split_once('/').ok_or_else(|| UsageError(format!("`{text}` must be BUCKET/KEY")))?;
    let key = ObjectKey::parse(key).map_err(|error| UsageError(format!("`{key}`: {error}")))?;
    Ok((bucket_name(bucket)?, key))
}

pub(crate) fn bucket_name(text: &str) -> anyhow::Result<BucketName> {
    Ok(BucketName::parse(text).map_err(|error| UsageError(format!("`{text}`: {error}")))?)
}

async fn put(args: PutArgs, connection: &Connection) -> Outcome {
    let target = match args.target.strip_suffix('/') {
        Some(folder) => {
            let name =
                args.file.file_name().ok_or_else(|| UsageError("give the object's whole key".to_owned()))?;
            format!("{folder}/{}", name.to_string_lossy())
        }
        None => args.target.clone(),
    };
    let (bucket, key) = address(&target)?;
    let api = connection.api()?;
    if args.create_bucket {
        ensure_bucket(&api, &bucket).await?;
    }
    let recipients: Vec<RecipientPublicKey> = args
        .seal_to
        .iter()
        .map(|text| text.parse().map_err(|error| UsageError(format!("--seal-to {text}: {error}")).into()))
        .collect::<anyhow::Result<_>>()?;
    if !args.release.release_to.is_empty() {
        return put_released(&args, &bucket, &key, recipients, &api, connection).await;
    }
    let (size, view);
    if args.file == Path::new("-") {
        size = None;
        let (bar, progress) = output::progress(connection, size, key.as_str());
        view = if recipients.is_empty() {
            api.put_object(&bucket, &key, tokio::io::stdin(), size, Some(progress)).await?
        } else {
            api.put_object_sealed(&bucket, &key, std::io::stdin(), size, recipients, Some(progress)).await?
        };
        bar.finish_and_clear();
    } else {
        let file = std::fs::File::open(&args.file)
            .with_context(|| format!("cannot read {}", args.file.display()))?;
        let found = file.metadata()?;
        let memory = if recipients.is_empty() && found.is_file() && found.len() > PART_BYTES {
            transfer::memory(connection)
        } else {
            None
        };
        if let Some(memory) = memory {
            let file = (args.file.as_path(), found.len());
            return transfer::put(&api, (&bucket, &key), file, &memory, connection).await;
        }
        size = Some(found.len());
        let (bar, progress) = output::progress(connection, size, key.as_str());
        view = if recipients.is_empty() {
            api.put_object(&bucket, &key, tokio::fs::File::from_std(file), size, Some(progress)).await?
        } else {
            api.put_object_sealed(&bucket, &key, file, size, recipients, Some(progress)).await?
        };
        bar.finish_and_clear();
    }
    show(&view, connection)
}

fn show(view: &ObjectView, connection: &Connection) -> Outcome {
    match serde_json::to_value(view)? {
        serde_json::Value::Object(entry) => output::entry(connection, &entry),
        other => output::line(&other.to_string()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Stores an object whose key its owner releases to some instances, and which the owner can read besides.
async fn put_released(
    args: &PutArgs,
    bucket: &BucketName,
    key: &ObjectKey,
    mut recipients: Vec<RecipientPublicKey>,
    api: &Api,
    connection: &Connection,
) -> Outcome {
    let owner = release::owner_key(args.release.owner_key.as_deref())?;
    recipients.insert(0, owner.public_key());
    let policy = args.release.policy(bucket, key, api, connection).await?;
    let (source, size): (Box<dyn std::io::Read + Send>, _) = if args.file == Path::new("-") {
        (Box::new(std::io::stdin()), None)
    } else {
        let file = std::fs::File::open(&args.file)
            .with_context(|| format!("cannot read {}", args.file.display()))?;
        let size = file.metadata()?.len();
        (Box::new(file), Some(size))
    };
    let (bar, progress) = output::progress(connection, size, key.as_str());
    let sign = |header: &_| release::signed(policy, header, &owner);
    let view = api.put_object_released(bucket, key, source, size, recipients, sign, Some(progress)).await?;
    bar.finish_and_clear();
    show(&view, connection)
}

async fn describe(args: &DescribeArgs, connection: &Connection) -> Outcome {
    let (bucket, key) = address(&args.object)?;
    let object = connection.api()?.object(&bucket, &key).await?;
    let released = cm_client::release::release_token(&object).map(release::described);
    if let serde_json::Value::Object(mut entry) = serde_json::to_value(&object)? {
        if let Some(released) = released {
            entry.insert("released_to".to_owned(), released);
        }
        output::entry(connection, &entry);
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the bucket unless it is there.
pub async fn ensure_bucket(api: &Api, bucket: &BucketName) -> anyhow::Result<()> {
    let body = serde_json::json!({ "name": bucket.as_str() });
    match api.create(cm_types::ResourceKind::Bucket, &body).await {
        Ok(_) => Ok(()),
        Err(cm_client::ClientError::Refused(refusal)) if refusal.status == 409 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn get(args: GetArgs, connection: &Connection) -> Outcome {
    let (bucket, key) = address(&args.source)?;
    let api = connection.api()?;
    let secret = args.open_with.as_deref().map(read_secret).transpose()?;
    let file =
        args.file.unwrap_or_else(|| PathBuf::from(key.as_str().rsplit('/').next().unwrap_or(key.as_str())));
    if file == Path::new("-") {
        fetch(&api, &bucket, &key, secret, std::io::stdout(), connection).await?;
        return Ok(ExitCode::SUCCESS);
    }
    if secret.is_none() {
        return transfer::get(&api, (&bucket, &key), &file, args.no_cache, connection).await;
    }
    // Written beside the destination and renamed, so that what was not opened as a whole leaves nothing behind.
    let temporary = temporary_beside(&file)?;
    let sink =
        std::fs::File::create(&temporary).with_context(|| format!("cannot write {}", temporary.display()))?;
    let fetched = fetch(&api, &bucket, &key, secret, sink, connection).await;
    if let Err(error) = fetched {
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    std::fs::rename(&temporary, &file).with_context(|| format!("cannot write {}", file.display()))?;
    let size = std::fs::metadata(&file).map(|found| found.len()).ok();
    let document = serde_json::json!({ "object": args.source, "file": file, "size": size });
    output::done(connection, &format!("{} written", file.display()), &document);
    Ok(ExitCode::SUCCESS)
}

fn temporary_beside(file: &Path) -> anyhow::Result<PathBuf> {
    let name = file.file_name().with_context(|| format!("{} is no file name", file.display()))?;
    let name = format!(".{}.{}.part", name.to_string_lossy(), std::process::id());
    Ok(file.with_file_name(name))
}

async fn fetch(
    api: &Api,
    bucket: &BucketName,
    key: &ObjectKey,
    secret: Option<RecipientSecretKey>,
    mut sink: impl Write + Send + 'static,
    connection: &Connection,
) -> anyhow::Result<()> {
    let (bar, progress) = output::progress(connection, None, key.as_str());
    if let Some(secret) = secret {
        api.get_object_sealed(bucket, key, sink, secret, Some(progress)).await?;
    } else {
        let mut download = api.get_object(bucket, key).await?;
        bar.set_length(download.size().unwrap_or(0));
        let mut received = 0;
        while let Some(part) = download.next().await? {
            sink.write_all(&part)?;
            received += part.len() as u64;
            progress(received);
        }
        sink.flush()?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Reads the secret key that `keys seal` wrote.
pub fn read_secret(path: &Path) -> anyhow::Result<RecipientSecretKey> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = line else { bail!("{} holds no secret key", path.display()) };
    line.parse().with_context(|| format!("{} holds no secret key", path.display()))
}

async fn ls(args: LsArgs, connection: &Connection) -> Outcome {
    let (bucket, prefix) = match args.bucket.split_once('/') {
        Some((bucket, prefix)) => (bucket_name(bucket)?, Some(prefix)),
        None => (bucket_name(&args.bucket)?, None),
    };
    let api = connection.api()?;
    let mut entries = Vec::new();
    let mut after = None;
    loop {
        let page = api
            .list_objects(&bucket, prefix, after.as_deref(), (args.limit - entries.len()).min(1000))
            .await?;
        for object in &page.items {
            if let serde_json::Value::Object(entry) = serde_json::to_value(object)? {
                entries.push(entry);
            }
        }
        after = page.next;
        if after.is_none() || entries.len() >= args.limit {
            break;
        }
    }
    output::records(connection, ResourceKind::Object, &entries);
    if after.is_some() {
        output::note(connection, "there are more; use --limit");
    }
    Ok(ExitCode::SUCCESS)
}

async fn rm(args: RmArgs, connection: &Connection) -> Outcome {
    let (bucket, key) = address(&args.target)?;
    connection.api()?.remove_object(&bucket, &key).await?;
    let document = serde_json::json!({ "removed": args.target });
    output::done(connection, &format!("{} removed", args.target), &document);
    Ok(ExitCode::SUCCESS)
}

async fn verify(connection: &Connection) -> Outcome {
    let outcome = connection.api()?.verify_objects().await?;
    match connection.output {
        Format::Json | Format::Yaml => output::document_of(connection, &outcome),
        Format::Table if outcome.intact => output::line(&format!("intact: {} objects", outcome.objects)),
        Format::Table => {
            output::line(&format!("NOT INTACT, {} objects checked", outcome.objects));
            output::entries(connection, &outcome.findings);
        }
    }
    Ok(if outcome.intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
