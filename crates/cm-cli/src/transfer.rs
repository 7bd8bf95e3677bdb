//! `object put`, `object get` and `object cp` of whole objects, and the uploads that are under way.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use cm_client::{Api, ClientError, ObjectCache, UploadMemory};
use cm_types::{BucketName, ObjectKey};

use crate::object::{address, at_least_one, bucket_name, ensure_bucket};
use crate::{Connection, Outcome, folder, output};

/// The most bytes of objects that are kept for the next time.
const CACHE_BYTES_MAX: u64 = 1 << 30;
/// What shells say of a command that an interrupt ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// `cryptomesh object cp`
#[derive(Args, Debug)]
pub struct CpArgs {
    /// The object: BUCKET/KEY; with `--recursive` a folder: BUCKET or BUCKET/FOLDER.
    pub source: String,
    /// What to store it as: BUCKET/KEY. A trailing slash keeps the last part of the key. With `--recursive` a folder.
    pub target: String,
    /// Copy all objects of a folder but those that are there already; again after an interruption, to go on.
    #[arg(long, short)]
    pub recursive: bool,
    /// Create the bucket if it does not exist.
    #[arg(long)]
    pub create_bucket: bool,
}

/// `cryptomesh object uploads`
#[derive(Args, Debug)]
pub struct UploadsArgs {
    /// The bucket, or BUCKET/PREFIX; with `--abort` the object that it is going to be: BUCKET/KEY.
    pub target: String,
    /// End this upload without an object, and take its parts back.
    #[arg(long, value_name = "UPLOAD")]
    pub abort: Option<String>,
    /// Most uploads to show.
    #[arg(long, default_value_t = 1000, value_name = "COUNT", value_parser = at_least_one())]
    pub limit: usize,
}

/// Makes an object what a file is, in parts.
pub(crate) async fn put(
    api: &Api,
    (bucket, key): (&BucketName, &ObjectKey),
    (file, size): (&Path, u64),
    memory: &UploadMemory,
    connection: &Connection,
) -> Outcome {
    let (bar, progress) = output::progress(connection, Some(size), key.as_str());
    let upload = api.upload(bucket, key, file, memory, progress);
    let uploaded = tokio::select! {
        uploaded = upload => uploaded,
        _ = tokio::signal::ctrl_c() => {
            bar.finish_and_clear();
            output::note(connection, "interrupted; the same command goes on where it was");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    bar.finish_and_clear();
    let uploaded = match uploaded {
        Err(error @ ClientError::Unreachable { .. }) => {
            return Err(anyhow::Error::new(error).context("the same command goes on where it was"));
        }
        uploaded => uploaded?,
    };
    if let serde_json::Value::Object(mut entry) = serde_json::to_value(&uploaded.object)? {
        entry.insert("resumed".to_owned(), uploaded.resumed.into());
        output::entry(connection, &entry);
    }
    Ok(ExitCode::SUCCESS)
}

/// Where it is remembered which uploads are under way, if that can be.
pub(crate) fn memory(connection: &Connection) -> Option<UploadMemory> {
    let dir = connection.surroundings.cache_dir.as_ref()?.join("cryptomesh/uploads");
    match UploadMemory::open(dir.clone()) {
        Ok(memory) => Some(memory),
        Err(error) => {
            output::note(connection, &format!("an interruption will cost all: {}: {error}", dir.display()));
            None
        }
    }
}

/// Lists uploads that are under way, or ends one.
pub(crate) async fn uploads(args: &UploadsArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    if let Some(id) = &args.abort {
        let (bucket, key) = address(&args.target)?;
        if let Err(error) = api.abort_upload(&bucket, &key, id).await {
            let problem = format!("upload `{id}` of {} was not ended", args.target);
            return Err(anyhow::Error::new(error).context(problem));
        }
        let document = serde_json::json!({ "aborted": id, "object": args.target });
        output::done(connection, &format!("upload {id} of {} ended", args.target), &document);
        return Ok(ExitCode::SUCCESS);
    }
    let (bucket, prefix) = match args.target.split_once('/') {
        Some((bucket, prefix)) => (bucket_name(bucket)?, Some(prefix)),
        None => (bucket_name(&args.target)?, None),
    };
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let limit = (args.limit - entries.len()).min(1000);
        let page = api.list_uploads(&bucket, prefix, after.as_deref(), limit).await?;
        for upload in &page.items {
            if let serde_json::Value::Object(entry) = serde_json::to_value(upload)? {
                entries.push(entry);
            }
        }
        after = page.next;
        if after.is_none() || entries.len() >= args.limit {
            break;
        }
    }
    output::entries(connection, &entries);
    if after.is_some() {
        output::note(connection, "there are more; use --limit");
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a file what an object is.
pub(crate) async fn get(
    api: &Api,
    (bucket, key): (&BucketName, &ObjectKey),
    file: &Path,
    no_cache: bool,
    connection: &Connection,
) -> Outcome {
    let cache = if no_cache { None } else { cache(connection) };
    let (bar, progress) = output::progress(connection, None, key.as_str());
    let length = bar.clone();
    let sized = move |size| length.set_length(size);
    let download = api.download(bucket, key, file, cache.as_ref(), (&sized, progress));
    let downloaded = tokio::select! {
        downloaded = download => downloaded,
        _ = tokio::signal::ctrl_c() => {
            bar.finish_and_clear();
            output::note(connection, "interrupted; the same command goes on where it was");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    bar.finish_and_clear();
    let downloaded = match downloaded {
        Err(error @ ClientError::Unreachable { .. }) => {
            return Err(anyhow::Error::new(error).context("the same command goes on where it was"));
        }
        downloaded => downloaded?,
    };
    let how = match (downloaded.is_cached, downloaded.resumed) {
        (true, _) => " from the cache".to_owned(),
        (false, 0) => String::new(),
        (false, resumed) => format!(", {resumed} bytes of it by an earlier command"),
    };
    let document = serde_json::json!({
        "object": format!("{bucket}/{key}"),
        "file": file,
        "size": downloaded.version.size,
        "sha256": downloaded.version.sha256,
        "cached": downloaded.is_cached,
        "resumed": downloaded.resumed,
    });
    output::done(connection, &format!("{} written{how}", file.display()), &document);
    Ok(ExitCode::SUCCESS)
}

/// The user's cache, if there can be one.
pub(crate) fn cache(connection: &Connection) -> Option<ObjectCache> {
    let dir = connection.surroundings.cache_dir.as_ref()?.join("cryptomesh");
    match ObjectCache::open(dir.clone(), CACHE_BYTES_MAX) {
        Ok(cache) => Some(cache),
        Err(error) => {
            output::note(connection, &format!("no cache is used: {}: {error}", dir.display()));
            None
        }
    }
}

/// Copies an object.
pub(crate) async fn copy(args: &CpArgs, connection: &Connection) -> Outcome {
    if args.recursive {
        return folder::copy(&args.source, &args.target, args.create_bucket, connection).await;
    }
    let from = address(&args.source)?;
    let target = match args.target.strip_suffix('/') {
        Some(folder) => format!("{folder}/{}", from.1.as_str().rsplit('/').next().unwrap_or_default()),
        None => args.target.clone(),
    };
    let to = address(&target)?;
    let api = connection.api()?;
    if args.create_bucket {
        ensure_bucket(&api, &to.0).await?;
    }
    let (bar, progress) = output::progress(connection, None, to.1.as_str());
    let copied = api.copy_object((&from.0, &from.1), (&to.0, &to.1), Some(progress)).await;
    bar.finish_and_clear();
    if let serde_json::Value::Object(entry) = serde_json::to_value(copied?)? {
        output::entry(connection, &entry);
    }
    Ok(ExitCode::SUCCESS)
}
