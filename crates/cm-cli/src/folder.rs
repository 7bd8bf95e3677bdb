//! `object put`, `get`, `cp` and `rm` with `--recursive`: all objects below a folder, several at once. What is already as it is to
//! be is not transferred, so that the same command goes on after an interruption.

use std::collections::VecDeque;
use std::fmt::{Display, Formatter};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use cm_client::objects::ObjectView;
use cm_client::upload::PART_BYTES;
use cm_client::{Api, ClientError, Progress, SteadyFile, is_content_of};
use cm_types::{BucketName, ObjectKey};
use indicatif::{HumanBytes, ProgressBar};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::object::{bucket_name, ensure_bucket};
use crate::removal::agree;
use crate::{Connection, Outcome, UsageError, output, transfer};

/// Objects under way at once. Large ones have several parts under way besides.
const AT_ONCE: usize = 4;
/// After so many failures the rest is not tried.
const FAILURES_MAX: usize = 10;
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

/// A regular file below a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    /// What its key has behind the name of the folder.
    rest: String,
    path: PathBuf,
    size: u64,
}

/// What came of one object.
enum Done {
    /// It was transferred or removed.
    Changed(u64),
    /// It was so already.
    Same,
}

/// What came of all of them.
#[derive(Debug, Default, Serialize)]
struct Tally {
    changed: u64,
    unchanged: u64,
    /// How much was transferred, or how long what was removed had been.
    bytes: u64,
    failed: Vec<Failure>,
}

#[derive(Debug, Serialize)]
struct Failure {
    name: String,
    reason: String,
}

/// Work on several objects at once.
struct Crowd<'a> {
    connection: &'a Connection,
    bar: ProgressBar,
    jobs: JoinSet<(String, anyhow::Result<Done>)>,
    tally: Tally,
    first_error: Option<anyhow::Error>,
}

impl<'a> Crowd<'a> {
    fn new(what: &str, connection: &'a Connection) -> Crowd<'a> {
        let (bar, _) = output::progress(connection, None, what);
        Crowd { connection, bar, jobs: JoinSet::new(), tally: Tally::default(), first_error: None }
    }

    /// Begins with one more as soon as there is room for it; false once too many have failed.
    async fn add(
        &mut self,
        name: String,
        job: impl Future<Output = anyhow::Result<Done>> + Send + 'static,
    ) -> bool {
        while self.jobs.len() >= AT_ONCE && self.finish_one().await {}
        if self.tally.failed.len() >= FAILURES_MAX {
            return false;
        }
        self.jobs.spawn(async move { (name, job.await) });
        true
    }

    /// Waits for one; false if there is none.
    async fn finish_one(&mut self) -> bool {
        let Some(joined) = self.jobs.join_next().await else { return false };
        let (name, outcome) = joined.unwrap_or_else(|error| (String::new(), Err(error.into())));
        match outcome {
            Ok(Done::Changed(bytes)) => {
                self.tally.changed += 1;
                self.tally.bytes += bytes;
            }
            Ok(Done::Same) => self.tally.unchanged += 1,
            Err(error) => {
                let reason = format!("{error:#}");
                self.bar.suspend(|| output::note(self.connection, &format!("{name}: {reason}")));
                self.tally.failed.push(Failure { name, reason });
                self.first_error.get_or_insert(error);
            }
        }
        true
    }

    /// A meter of one object's bytes, which counts for all.
    fn meter(&self) -> Progress {
        let (bar, before) = (self.bar.clone(), AtomicU64::new(0));
        Arc::new(move |bytes| bar.inc(bytes.saturating_sub(before.swap(bytes, Ordering::Relaxed))))
    }

    /// Waits for those under way, and says what came of all.
    async fn end(mut self, what_was: &str) -> Outcome {
        while self.finish_one().await {}
        self.bar.finish_and_clear();
        let Tally { changed, unchanged, bytes, failed } = &self.tally;
        let mut text = format!("{} {what_was}, {}", objects(*changed), HumanBytes(*bytes));
        if *unchanged > 0 {
            text += &format!("; {unchanged} were so already");
        }
        output::done(self.connection, &text, &self.tally);
        let Some(error) = self.first_error else { return Ok(ExitCode::SUCCESS) };
        let gave_up = if failed.len() >= FAILURES_MAX { "; the rest was not tried" } else { "" };
        let count = objects(failed.len() as u64);
        Err(error.context(format!("not {what_was}: {count}{gave_up}; the first: {}", failed[0].name)))
    }
}

fn objects(count: u64) -> String {
    if count == 1 { "1 object".to_owned() } else { format!("{count} objects") }
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
    let mut found = Vec::new();
    let left_out = |path: &Path, what: &str| {
        output::note(connection, &format!("{} is left out: it is {what}", path.display()));
    };
    walk(dir, "", &mut found, &left_out)?;
    found.sort_unstable();
    let api = connection.api()?;
    if create_bucket {
        ensure_bucket(&api, &folder.bucket).await?;
    }
    let memory = transfer::memory(connection);
    let mut crowd = Crowd::new(&folder.to_string(), connection);
    crowd.bar.set_length(found.iter().map(|file| file.size).sum());
    let work = async {
        for file in found {
            let (api, bucket, memory, meter) =
                (api.clone(), folder.bucket.clone(), memory.clone(), crowd.meter());
            let key = folder.key(&file.rest);
            let name = file.path.display().to_string();
            let job = async move {
                let key = key?;
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
        crowd.end("stored").await
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
    let api = connection.api()?;
    let cache = if no_cache { None } else { transfer::cache(connection).map(Arc::new) };
    let mut objects = Objects::of(&api, &folder);
    let mut crowd = Crowd::new(&folder.to_string(), connection);
    let work = async {
        while let Some(object) = objects.next().await? {
            crowd.bar.inc_length(object.size);
            let (api, bucket, cache, meter) =
                (api.clone(), folder.bucket.clone(), cache.clone(), crowd.meter());
            let place = place(&dir, folder.rest(&object.key));
            let name = format!("{bucket}/{}", object.key);
            let job = async move {
                let place = place?;
                let key = ObjectKey::parse(&object.key)?;
                let (parent, is_folder) = match object.key.ends_with('/') {
                    true => (Some(place.as_path()), true),
                    false => (place.parent(), false),
                };
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
        crowd.end("written").await
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
    let mut crowd = Crowd::new(&to.to_string(), connection);
    let work = async {
        while let Some(object) = objects.next().await? {
            crowd.bar.inc_length(object.size);
            let (api, from, to, meter) = (
                api.clone(),
                from.bucket.clone(),
                (to.bucket.clone(), to.key(from.rest(&object.key))),
                crowd.meter(),
            );
            let name = format!("{from}/{}", object.key);
            let job = async move {
                let (source, target) = (ObjectKey::parse(&object.key)?, to.1?);
                if let Ok(there) = api.object(&to.0, &target).await
                    && (there.size, there.sha256) == (object.size, object.sha256)
                {
                    meter(object.size);
                    return Ok(Done::Same);
                }
                api.copy_object((&from, &source), (&to.0, &target), Some(meter)).await?;
                Ok(Done::Changed(object.size))
            };
            if !crowd.add(name, job).await {
                break;
            }
        }
        crowd.end("copied").await
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
    let mut crowd = Crowd::new(&folder.to_string(), connection);
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
        crowd.end("removed").await
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
    let path = file.clone();
    let read = tokio::task::spawn_blocking(move || is_content_of(&file, &object)).await?;
    read.with_context(|| format!("cannot read {}", path.display()))
}

/// Finds the regular files below a directory. Links to files are followed, those to directories, which may lead in circles, are not.
fn walk(
    dir: &Path,
    rest: &str,
    found: &mut Vec<Found>,
    left_out: &impl Fn(&Path, &str),
) -> anyhow::Result<()> {
    let unreadable = || format!("cannot read {}", dir.display());
    for entry in std::fs::read_dir(dir).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(|name| format!("{rest}{name}")) else {
            return Err(UsageError(format!("{}: the name is no UTF-8, as keys are", path.display())).into());
        };
        let is_link = entry.file_type().with_context(unreadable)?.is_symlink();
        match std::fs::metadata(&path) {
            Ok(there) if there.is_file() => found.push(Found { rest: name, path, size: there.len() }),
            Ok(there) if there.is_dir() && !is_link => walk(&path, &format!("{name}/"), found, left_out)?,
            Ok(there) if there.is_dir() => left_out(&path, "a link to a directory"),
            Ok(_) => left_out(&path, "no regular file"),
            Err(_) if is_link => left_out(&path, "a link to nothing"),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
    Ok(())
}

/// Where an object of a folder belongs below a directory. A key is a stranger's text, and leads nowhere else.
fn place(dir: &Path, rest: &str) -> anyhow::Result<PathBuf> {
    let parts = rest.strip_suffix('/').unwrap_or(rest).split('/');
    let mut place = dir.to_owned();
    for part in parts {
        let mut components = Path::new(part).components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(name)), None) if name == part => place.push(name),
            _ => anyhow::bail!("`{rest}` is no name of a file; get the object by itself"),
        }
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

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

    #[test]
    fn no_key_leads_out_of_the_directory() {
        let place = |rest: &str| place(Path::new("to"), rest).ok();
        assert_eq!(place("a"), Some("to/a".into()));
        assert_eq!(place("a/b c/d"), Some("to/a/b c/d".into()));
        assert_eq!(place("a/"), Some("to/a".into()));
        for wrong in ["", "/", "..", "../a", "a/../b", "a/./b", "./a", "/etc/passwd", "a//b", "a/.."] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn files_are_found_once_whatever_links_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/deep"), "12").unwrap();
        std::fs::write(root.join("top"), "1").unwrap();
        std::os::unix::fs::symlink("top", root.join("link")).unwrap();
        std::os::unix::fs::symlink(root, root.join("a/circle")).unwrap();
        let mut found = Vec::new();
        std::os::unix::fs::symlink("nowhere", root.join("lost")).unwrap();
        let left_out = RefCell::new(Vec::new());
        let leave_out = |path: &Path, _: &str| left_out.borrow_mut().push(path.to_owned());
        walk(root, "", &mut found, &leave_out).unwrap();
        found.sort_unstable();
        let mut left_out = left_out.into_inner();
        left_out.sort_unstable();
        assert_eq!(left_out, [root.join("a/circle"), root.join("lost")]);
        let found: Vec<_> = found.iter().map(|file| (file.rest.as_str(), file.size)).collect();
        assert_eq!(found, [("a/b/deep", 2), ("link", 1), ("top", 1)]);
    }
}
