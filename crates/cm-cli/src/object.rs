//! `object`: store, read, list and remove objects, sealed if you wish.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};
use cm_client::objects::ObjectView;
use cm_client::upload::PART_BYTES;
use cm_client::{Api, ClientError, SteadyFile};
use cm_crypto::seal::{RecipientPublicKey, RecipientSecretKey};
use cm_types::{BucketName, ObjectKey, ResourceKind};

use crate::destination::{self, Destination};
use crate::{Connection, Format, Outcome, UsageError, folder, output, release, share, transfer};

/// The status of what is not there, or not for the caller.
const NOT_FOUND: u16 = 404;
/// Names of standard output. A file that it was led to has a name of its own, by which it would be replaced.
const STANDARD_OUTPUT: [&[u8]; 2] = [b"-", b"/dev/stdout"];
/// What helps who writes to a bucket that is not there.
const CREATE_BUCKET: &str = "; --create-bucket makes it";

/// `cryptomesh object …`
#[derive(Debug, Subcommand)]
pub enum ObjectCommand {
    /// Store a file, or all of a directory; again after an interruption, to go on.
    Put(PutArgs),
    /// Read an object into a file, or a folder into a directory; again after an interruption, to go on.
    Get(GetArgs),
    /// Copy an object, or a folder, by way of this command.
    Cp(transfer::CpArgs),
    /// Make a URL by which whoever has it can read an object for some time.
    Share(share::ShareArgs),
    /// List uploads that are under way, or end one.
    Uploads(transfer::UploadsArgs),
    /// List a bucket's objects.
    Ls(LsArgs),
    /// Remove an object, or a folder.
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
    /// The file; `-` reads standard input. With `--recursive` a directory.
    pub file: PathBuf,
    /// Where to store it: BUCKET/KEY. A trailing slash keeps the file's name. With `--recursive` a folder: BUCKET or BUCKET/FOLDER.
    pub target: String,
    /// Store all files below a directory but those that are stored already; again after an interruption, to go on.
    #[arg(long, short, conflicts_with_all = ["seal_to", "release_to"])]
    pub recursive: bool,
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
    /// The object: BUCKET/KEY; with `--recursive` a folder: BUCKET or BUCKET/FOLDER.
    pub source: String,
    /// The file to write, or the directory to write it to; `-` writes standard output [default: the last part of the key].
    /// With `--recursive` the directory [default: the working directory].
    pub file: Option<PathBuf>,
    /// Write all objects of a folder but those that are written already; again after an interruption, to go on.
    #[arg(long, short, conflicts_with = "open_with")]
    pub recursive: bool,
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
    #[arg(long, default_value_t = 1000, value_name = "COUNT", value_parser = at_least_one())]
    pub limit: usize,
}

/// `cryptomesh object rm`
#[derive(Args, Debug)]
pub struct RmArgs {
    /// The object: BUCKET/KEY; with `--recursive` a folder: BUCKET or BUCKET/FOLDER.
    pub target: String,
    /// Remove all objects of a folder. A terminal is asked before; without one this needs `--yes`.
    #[arg(long, short)]
    pub recursive: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
}

impl ObjectCommand {
    /// The buckets that a command is about, with what helps if one is not there.
    fn buckets(&self) -> Vec<(String, &'static str)> {
        let bucket = |address: &str, remedy| {
            let name = address.split_once('/').map_or(address, |(bucket, _)| bucket);
            (name.to_owned(), remedy)
        };
        match self {
            ObjectCommand::Put(args) => vec![bucket(&args.target, CREATE_BUCKET)],
            ObjectCommand::Get(args) => vec![bucket(&args.source, "")],
            ObjectCommand::Cp(args) => vec![bucket(&args.source, ""), bucket(&args.target, CREATE_BUCKET)],
            ObjectCommand::Uploads(args) => vec![bucket(&args.target, "")],
            ObjectCommand::Ls(args) => vec![bucket(&args.bucket, "")],
            ObjectCommand::Rm(args) => vec![bucket(&args.target, "")],
            ObjectCommand::Describe(args) => vec![bucket(&args.object, "")],
            ObjectCommand::Share(_) | ObjectCommand::Release(_) | ObjectCommand::Verify => Vec::new(),
        }
    }
}

/// Runs one of them.
pub async fn run(command: ObjectCommand, connection: &Connection) -> Outcome {
    let buckets = command.buckets();
    let outcome = match command {
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
    };
    match outcome {
        Err(error) if is_missing(&error) => Err(missing_bucket(buckets, connection).await.unwrap_or(error)),
        outcome => outcome,
    }
}

pub(crate) fn is_missing(error: &anyhow::Error) -> bool {
    let is_refusal = |cause: &ClientError| match cause {
        ClientError::Refused(refusal) => refusal.status == NOT_FOUND,
        ClientError::NoObject(_) => true,
        _ => false,
    };
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_refusal))
}

/// The first of the buckets that is not there, as an error. Nodes name the object, whichever of the two is missing.
async fn missing_bucket(
    buckets: Vec<(String, &'static str)>,
    connection: &Connection,
) -> Option<anyhow::Error> {
    let api = connection.api().ok()?;
    for (bucket, remedy) in buckets {
        if let Err(ClientError::Refused(refusal)) = api.read(ResourceKind::Bucket, &bucket).await
            && refusal.status == NOT_FOUND
        {
            return Some(ClientError::NoBucket { bucket, remedy }.into());
        }
    }
    None
}

/// A limit with which something is shown.
pub(crate) fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

pub(crate) fn address(text: &str) -> anyhow::Result<(BucketName, ObjectKey)> {
    let (bucket, key) =
        text.split_once('/').ok_or_else(|| UsageError(format!("`{text}` must be BUCKET/KEY")))?;
    let key = ObjectKey::parse(key).map_err(|error| UsageError(format!("`{text}`: {error}")))?;
    if matches!(key.as_str(), "." | "..") {
        return Err(UsageError(format!("`{text}`: no URL leads to an object whose key is `{key}`")).into());
    }
    Ok((bucket_name(bucket)?, key))
}

pub(crate) fn bucket_name(text: &str) -> anyhow::Result<BucketName> {
    Ok(BucketName::parse(text).map_err(|error| UsageError(format!("`{text}`: {error}")))?)
}

async fn put(args: PutArgs, connection: &Connection) -> Outcome {
    if args.recursive {
        return folder::put(&args.file, &args.target, args.create_bucket, connection).await;
    }
    if args.file.is_dir() {
        let problem = format!("{} is a directory; --recursive stores what is below it", args.file.display());
        return Err(UsageError(problem).into());
    }
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
    if args.file == Path::new("-") {
        let (bar, progress) = output::progress(connection, None, key.as_str());
        let view = if recipients.is_empty() {
            api.put_object(&bucket, &key, tokio::io::stdin(), None, Some(progress)).await?
        } else {
            api.put_object_sealed(&bucket, &key, std::io::stdin(), None, recipients, Some(progress)).await?
        };
        bar.finish_and_clear();
        return show(&view, connection);
    }
    let file = SteadyFile::open(&args.file)?;
    let size = file.size();
    if let Some(size) = size.filter(|size| recipients.is_empty() && *size > PART_BYTES)
        && let Some(memory) = transfer::memory(connection)
    {
        return transfer::put(&api, (&bucket, &key), (&args.file, size), &memory, connection).await;
    }
    let (bar, progress) = output::progress(connection, size, key.as_str());
    let view = if recipients.is_empty() {
        api.put_file(&bucket, &key, file, Some(progress)).await?
    } else {
        api.put_object_sealed(&bucket, &key, file, size, recipients, Some(progress)).await?
    };
    bar.finish_and_clear();
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
    let (source, size): (Box<dyn Read + Send>, _) = if args.file == Path::new("-") {
        (Box::new(std::io::stdin()), None)
    } else {
        let file = SteadyFile::open(&args.file)?;
        let size = file.size();
        (Box::new(file), size)
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
    if args.recursive {
        return folder::get(&args.source, args.file, args.no_cache, connection).await;
    }
    let (bucket, key) = address(&args.source)?;
    let api = connection.api()?;
    let secret = args.open_with.as_deref().map(read_secret).transpose()?;
    let file = place(args.file, &key)?;
    if STANDARD_OUTPUT.contains(&file.as_os_str().as_encoded_bytes()) {
        fetch(&api, &bucket, &key, secret, output::Out, connection).await?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(sink) = destination::stream(&file)? {
        fetch(&api, &bucket, &key, secret, sink, connection).await?;
        return Ok(ExitCode::SUCCESS);
    }
    if secret.is_none() {
        return transfer::get(&api, (&bucket, &key), &file, args.no_cache, connection).await;
    }
    // What was not opened as a whole leaves nothing behind.
    let destination = Destination::in_place_of(&file)?;
    fetch(&api, &bucket, &key, secret, destination.handle()?, connection).await?;
    destination.finish()?;
    let size = std::fs::metadata(&file).map(|found| found.len()).ok();
    let document = serde_json::json!({ "object": args.source, "file": file, "size": size });
    output::done(connection, &format!("{} written", file.display()), &document);
    Ok(ExitCode::SUCCESS)
}

/// Where an object is written: to a file, or in a directory to one whose name is the last part of the key.
fn place(named: Option<PathBuf>, key: &ObjectKey) -> anyhow::Result<PathBuf> {
    let directory = match named {
        Some(path) if !path.is_dir() && !path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            return Ok(path);
        }
        other => other.unwrap_or_default(),
    };
    let name = key.as_str().rsplit('/').next().unwrap_or_default();
    // Neither nothing nor `..` is the name of a file.
    if Path::new(name).file_name() != Some(OsStr::new(name)) {
        let problem = format!("the key `{key}` ends in no name for a file; name the file to write");
        return Err(UsageError(problem).into());
    }
    Ok(directory.join(name))
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
    if args.recursive {
        return folder::remove(&args.target, args.yes, connection).await;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_written_where_its_key_and_the_command_say() {
        let dir = tempfile::tempdir().unwrap();
        let check = |named: Option<&Path>, key: &str, expected: Option<&Path>| {
            let key = ObjectKey::parse(key).unwrap();
            let found = place(named.map(Path::to_owned), &key);
            assert_eq!(found.as_deref().ok(), expected, "{named:?} {key}");
        };
        check(None, "2026/film.mp4", Some(Path::new("film.mp4")));
        check(Some(dir.path()), "2026/film.mp4", Some(&dir.path().join("film.mp4")));
        check(Some(Path::new("new/")), "film.mp4", Some(Path::new("new/film.mp4")));
        check(Some(Path::new("other")), "2026/film.mp4", Some(Path::new("other")));
        check(Some(Path::new("-")), "2026/", Some(Path::new("-")));
        for nameless in ["2026/", "2026/..", "2026/."] {
            check(None, nameless, None);
            check(Some(dir.path()), nameless, None);
            check(Some(Path::new("other")), nameless, Some(Path::new("other")));
        }
    }

    #[test]
    fn a_key_that_no_url_leads_to_is_wrong_usage() {
        for wrong in ["box/..", "box/.", "box/", "box", "BOX/key"] {
            assert!(address(wrong).unwrap_err().is::<UsageError>(), "{wrong}");
        }
        for right in ["box/a/..", "box/...", "box/../a"] {
            assert!(address(right).is_ok(), "{right}");
        }
    }
}
