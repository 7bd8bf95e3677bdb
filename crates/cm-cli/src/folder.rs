//! `object put`, `get`, `cp` and `rm` with `--recursive`: all objects below a folder, several at once. What is already as it is to
//! be is not transferred, so that the same command goes on after an interruption.

mod crowd;
mod walk;

use std::collections::VecDeque;
use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use cm_client::objects::ObjectView;
use cm_client::upload::PART_BYTES;
use cm_client::{Api, ClientError, SteadyFile, is_content_of};
use cm_types::{BucketName, ObjectKey};

use crate::object::{bucket_name, ensure_bucket};
use crate::removal::agree;
use crate::{Connection, Outcome, UsageError, output, transfer};
use crowd::{Crowd, Done};
use walk::{Walk, place};

/// Objects that are asked for at a time.
const PAGE: usize = 1000;

/// All objects of a bucket whose keys begin with a name and a slash; without a name, all of the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Folder {
    bucket: BucketName,
    /// Empty, or with a slash at its end.
    prefix: String,
}

impl Folder {
    fn parse(text: &str) -> anyhow::Result<Folder> {
        let (bucket, path) = text.split_once('/').unwrap_or((text, ""));
        let slash = if path.is_empty() || path.ends_with('/') { "" } else { "/" };
        Ok(Folder { bucket: bucket_name(bucket)?, prefix: format!("{path}{slash}") })
    }

    fn key(&self, rest: &str) -> anyhow::Result<ObjectKey> {
        Ok(ObjectKey::parse(format!("{}{rest}", self.prefix))?)
    }

    /// What a key has behind the name of the folder.
    fn rest<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.prefix).unwrap_or(key)
    }

    fn has(&self, other: &Folder) -> bool {
        self.bucket == other.bucket && other.prefix.starts_with(&self.prefix)
    }
}

impl Display for Folder {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.bucket, self.prefix)
    }
}

/// The objects of a folder, in the order of their keys.
struct Objects {
    api: Api,
    folder: Folder,
    page: VecDeque<ObjectView>,
    /// Where the next page begins; `None` before the first.
    after: Option<String>,
    is_last: bool,
}

impl Objects {
    fn of(api: &Api, folder: &Folder) -> Objects {
        let (api, folder) = (api.clone(), folder.clone());
        Objects { api, folder, page: VecDeque::new(), after: None, is_last: false }
    }

    async fn next(&mut self) -> Result<Option<ObjectView>, ClientError> {
        while self.page.is_empty() && !self.is_last {
            let prefix = Some(self.folder.prefix.as_str()).filter(|prefix| !prefix.is_empty());
            let listed =
                self.api.list_objects(&self.folder.bucket, prefix, self.after.as_deref(), PAGE).await?;
            self.is_last = listed.next.is_none();
            self.after = listed.next;
            self.page = listed.items.into();
        }
        Ok(self.page.pop_front())
    }
}

/// Stores the files below a directory.
pub(crate) async fn put(dir: &Path, target: &str, create_bucket: bool, connection: &Connection) -> Outcome {
    let folder = Folder::parse(target)?;
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut walk = Walk::default();
    walk.read(entries, dir, "");
    walk.found.sort_unstable();
    for (path, what) in &walk.left_out {
        output::note(connection, &format!("{} is left out: it is {what}", path.display()));
    }
    let api = connection.api()?;
    if create_bucket {
        ensure_bucket(&api, &folder.bucket).await?;
    }
    let memory = transfer::memory(connection);
    let mut crowd = Crowd::new(&folder.to_string(), true, connection);
    crowd.bar.set_length(walk.found.iter().map(|file| file.size).sum());
    let work = async {
        for (path, error) in walk.failed {
            crowd.fail(path.display().to_string(), error);
        }
        for file in walk.found {
            let (api, bucket, memory, meter) =
                (api.clone(), folder.bucket.clone(), memory.clone(), crowd.meter());
            let name = file.path.display().to_string();
            let key = match folder.key(&file.rest) {
                Ok(key) => key,
                Err(error) => {
                    crowd.fail(name, error);
                    continue;
                }
            };
            let job = async move {
                // What cannot be looked at may be written all the same.
                if let Ok(there) = api.object(&bucket, &key).await
                    && is_same(file.path.clone(), there).await?
                {
                    meter(file.size);
                    return Ok(Done::Same);
                }
                match memory.filter(|_| file.size > PART_BYTES) {
                    Some(memory) => {
                        api.upload(&bucket, &key, &file.path, &memory, meter).await?;
                    }
                    None => {
                        api.put_file(&bucket, &key, SteadyFile::open(&file.path)?, Some(meter)).await?;
                    }
                }
                Ok(Done::Changed(file.size))
            };
            if !crowd.add(name, job).await {
                break;
            }
        }
        crowd.end("stored", &dir.display().to_string()).await
    };
    interruptible(work, connection).await
}

/// Makes files below a directory what the objects of a folder are.
pub(crate) async fn get(
    source: &str,
    dir: Option<PathBuf>,
    no_cache: bool,
    connection: &Connection,
) -> Outcome {
    let folder = Folder::parse(source)?;
    let dir = dir.unwrap_or_else(|| PathBuf::from("."));
    if dir.exists() && !dir.is_dir() {
        return Err(UsageError(format!("`{}` is no directory", dir.display())).into());
    }
    let api = connection.api()?;
    let cache = if no_cache { None } else { transfer::cache(connection).map(Arc::new) };
    let mut objects = Objects::of(&api, &folder);
    let mut crowd = Crowd::new(&folder.to_string(), false, connection);
    let work = async {
        while let Some(object) = objects.next().await? {
            let name = format!("{}/{}", folder.bucket, object.key);
            let (place, key) = match place(&dir, folder.rest(&object.key), object.size) {
                Ok(place) => (place, ObjectKey::parse(&object.key)?),
                Err(error) => {
                    crowd.fail(name, error);
                    continue;
                }
            };
            crowd.bar.inc_length(object.size);
            let (api, bucket, cache, meter) =
                (api.clone(), folder.bucket.clone(), cache.clone(), crowd.meter());
            let job = async move {
                let is_folder = object.key.ends_with('/');
                let parent = if is_folder { Some(place.as_path()) } else { place.parent() };
                if let Some(parent) = parent {
                    tokio::fs::create_dir_all(parent)
                        .await
                        .with_context(|| format!("cannot make {}", parent.display()))?;
                }
                let size = object.size;
                if is_folder || is_same(place.clone(), object).await? {
                    meter(size);
                    return Ok(Done::Same);
                }
                api.download(&bucket, &key, &place, cache.as_deref(), (&|_| (), meter)).await?;
                Ok(Done::Changed(size))
            };
            if !crowd.add(name, job).await {
                break;
            }
        }
        crowd.end("written", &folder.to_string()).await
    };
    interruptible(work, connection).await
}

/// Copies the objects of a folder.
pub(crate) async fn copy(
    source: &str,
    target: &str,
    create_bucket: bool,
    connection: &Connection,
) -> Outcome {
    let (from, to) = (Folder::parse(source)?, Folder::parse(target)?);
    if from.has(&to) {
        return Err(UsageError(format!("`{to}` is part of what would be copied, `{from}`")).into());
    }
    let api = connection.api()?;
    if create_bucket {
        ensure_bucket(&api, &to.bucket).await?;
    }
    let mut objects = Objects::of(&api, &from);
    let mut crowd = Crowd::new(&to.to_string(), false, connection);
    let work = async {
        while let Some(object) = objects.next().await? {
            let name = format!("{}/{}", from.bucket, object.key);
            let (source, target) = (ObjectKey::parse(&object.key)?, to.key(from.rest(&object.key)));
            let target = match target {
                Ok(target) => target,
                Err(error) => {
                    crowd.fail(name, error);
                    continue;
                }
            };
            crowd.bar.inc_length(object.size);
            let (api, meter) = (api.clone(), crowd.meter());
            let (from, to) = (from.bucket.clone(), to.bucket.clone());
            let job = async move {
                if let Ok(there) = api.object(&to, &target).await
                    && (there.size, there.sha256) == (object.size, object.sha256)
                {
                    meter(object.size);
                    return Ok(Done::Same);
                }
                api.copy_object((&from, &source), (&to, &target), Some(meter)).await?;
                Ok(Done::Changed(object.size))
            };
            if !crowd.add(name, job).await {
                break;
            }
        }
        crowd.end("copied", &from.to_string()).await
    };
    interruptible(work, connection).await
}

/// Removes the objects of a folder.
pub(crate) async fn remove(target: &str, yes: bool, connection: &Connection) -> Outcome {
    let folder = Folder::parse(target)?;
    if !agree(&format!("remove all that is in {folder}?"), yes)? {
        output::note(connection, "nothing was removed");
        return Ok(ExitCode::FAILURE);
    }
    let api = connection.api()?;
    let mut objects = Objects::of(&api, &folder);
    let mut crowd = Crowd::new(&folder.to_string(), false, connection);
    let work = async {
        while let Some(object) = objects.next().await? {
            crowd.bar.inc_length(object.size);
            let (api, bucket, meter) = (api.clone(), folder.bucket.clone(), crowd.meter());
            let name = format!("{bucket}/{}", object.key);
            let job = async move {
                api.remove_object(&bucket, &ObjectKey::parse(&object.key)?).await?;
                meter(object.size);
                Ok(Done::Changed(object.size))
            };
            if !crowd.add(name, job).await {
                break;
            }
        }
        crowd.end("removed", &folder.to_string()).await
    };
    interruptible(work, connection).await
}

/// Does the work unless an interrupt ends it.
async fn interruptible(work: impl Future<Output = Outcome>, connection: &Connection) -> Outcome {
    tokio::select! {
        outcome = work => outcome,
        _ = tokio::signal::ctrl_c() => {
            output::note(connection, "interrupted; the same command goes on where it was");
            Ok(ExitCode::from(transfer::INTERRUPTED))
        }
    }
}

/// Whether a file is what an object is.
async fn is_same(file: PathBuf, object: ObjectView) -> anyhow::Result<bool> {
    let path = file.display().to_string();
    let read = tokio::task::spawn_blocking(move || is_content_of(&file, &object)).await?;
    Ok(read.map_err(|source| ClientError::File { path, source })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_name_with_a_slash() {
        let prefix = |text: &str| Folder::parse(text).unwrap().prefix;
        assert_eq!(
            ["box", "box/", "box/a", "box/a/", "box/a//", "box//"].map(prefix),
            ["", "", "a/", "a/", "a//", "/"]
        );
        assert!(Folder::parse("BOX/a").is_err());
        let folder = |text: &str| Folder::parse(text).unwrap();
        assert!(folder("box").has(&folder("box/a")) && folder("box/a").has(&folder("box/a/b")));
        assert!(!folder("box/a").has(&folder("box/ab")) && !folder("box/a").has(&folder("other/a")));
        assert!(!folder("box/a/b").has(&folder("box/a")));
    }
}
