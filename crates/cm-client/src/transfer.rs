//! Whole objects into files: several ranges at once, going on where it was interrupted, checked as a whole at the end.
//!
//! Beside the file that a download is to become, `.cryptomesh-ID.part` takes the bytes and `.cryptomesh-ID.part.json` says which version
//! of which object they are of and which parts have arrived, with their digests; ID is made of the file's name, which may be as long as names can be. Whoever downloads the same version to the same place again goes
//! on from there, with the parts that are still what arrived; of another version nothing is kept. The file itself appears whole, with the right digest, or not at all.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cm_crypto::digest::{self, Sha256};
use cm_types::{BucketName, ObjectKey, Sha256Digest};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use crate::object_cache::ObjectCache;
use crate::objects::{ObjectView, item};
use crate::waiting::Waiting;
use crate::{Api, ClientError, Progress};

/// Bytes of one part: what an interruption costs at most for each part under way.
const PART_BYTES: u64 = 8 << 20;
/// Parts under way at once.
const PARTS_AT_ONCE: usize = 4;
/// How often the same is asked for when connections break before anything of it has come.
pub(crate) const PART_ATTEMPTS: usize = 3;
/// Bytes that are hashed at a time.
const HASH_BYTES: usize = 1 << 20;
/// What is not opened by way of a link.
const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
/// As many links as the system follows, too.
const LINKS_MAX: usize = 40;
/// Begins and ends the name of what takes the bytes of a download until it is finished.
const HELPER: (&str, &str) = (".cryptomesh-", ".part");
/// Bytes of a digest that tell files of one directory apart.
const HELPER_ID_BYTES: usize = 8;
/// The header with the digest of a whole object.
pub(crate) const CONTENT_SHA256: &str = "x-content-sha256";

/// A version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectVersion {
    /// What tells it apart from others of the same key, as `ETag` has it.
    pub etag: String,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What a download came to.
#[derive(Clone, Debug)]
pub struct Downloaded {
    /// What the file holds.
    pub version: ObjectVersion,
    /// How many of its bytes an earlier, interrupted download had brought.
    pub resumed: u64,
    /// Whether the bytes came from the cache, and only the question whether they are current from the node.
    pub is_cached: bool,
}

/// What is known of an unfinished download.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    object: String,
    version: ObjectVersion,
    part_bytes: u64,
    /// The parts that have arrived, and their digests.
    done: BTreeMap<u64, Sha256Digest>,
}

impl State {
    fn parts(&self) -> u64 {
        self.version.size.div_ceil(self.part_bytes)
    }

    /// The first byte of a part and the one behind its last.
    fn range(&self, part: u64) -> (u64, u64) {
        (part * self.part_bytes, self.version.size.min((part + 1) * self.part_bytes))
    }

    fn done_bytes(&self) -> u64 {
        self.done.keys().map(|part| self.range(*part)).map(|(from, end)| end - from).sum()
    }

    fn is_of(&self, other: &State) -> bool {
        (&self.object, &self.version, self.part_bytes) == (&other.object, &other.version, other.part_bytes)
            && self.done.last_key_value().is_none_or(|(part, _)| *part < self.parts())
    }
}

/// Where an unfinished download is kept.
struct Places {
    part: PathBuf,
    state: PathBuf,
}

impl Places {
    fn beside(file: &Path) -> Result<Places, ClientError> {
        let no_name = || failed(file)(std::io::Error::other("this is no name of a file"));
        let part = unfinished(file).ok_or_else(no_name)?;
        Ok(Places { state: part.with_extension("part.json"), part })
    }

    /// The file for the bytes that are to replace another, which nobody else writes as long as it is open.
    fn open(&self, replaced: &Path) -> Result<File, ClientError> {
        let mut options = File::options();
        let options = options.create(true).truncate(false).read(true).write(true);
        // In a directory that others may write to, a link would lead the bytes over a file of the user's.
        let file = options.custom_flags(NO_LINK).open(&self.part).map_err(failed(&self.part))?;
        let is_still_there =
            || std::io::Result::Ok(std::fs::metadata(&self.part)?.ino() == file.metadata()?.ino());
        match file.try_lock() {
            Ok(()) if is_still_there().map_err(failed(&self.part))? => {
                // Those who may not read the file read no parts of it either.
                if let Ok(found) = std::fs::metadata(replaced) {
                    let open = Permissions::from_mode(found.permissions().mode() | 0o600);
                    file.set_permissions(open).map_err(failed(&self.part))?;
                }
                Ok(file)
            }
            // Whoever held the lock until now has just given the file its name.
            Ok(()) | Err(std::fs::TryLockError::WouldBlock) => {
                Err(ClientError::AlreadyDownloading(self.part.display().to_string()))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(failed(&self.part)(error)),
        }
    }

    /// What the last download left, if it was of the same.
    fn resume(&self, new: State) -> State {
        let left = std::fs::read(&self.state).ok();
        let left = left.and_then(|bytes| serde_json::from_slice::<State>(&bytes).ok());
        left.filter(|left| left.is_of(&new)).unwrap_or(new)
    }

    async fn save(&self, state: &State) -> Result<(), ClientError> {
        let bytes = serde_json::to_vec(state).expect("names and numbers make a document");
        let temporary = self.state.with_extension("tmp");
        tokio::fs::write(&temporary, bytes).await.map_err(failed(&temporary))?;
        tokio::fs::rename(&temporary, &self.state).await.map_err(failed(&self.state))
    }

    fn forget(&self) {
        // What is left of it is of no use, and in nobody's way.
        let _ = std::fs::remove_file(&self.state);
        let _ = std::fs::remove_file(&self.part);
    }
}

/// What takes the bytes of a download to this file until it is finished; `None` if this is no name of a file.
pub fn unfinished(file: &Path) -> Option<PathBuf> {
    let id = digest::sha256(file.file_name()?.as_encoded_bytes());
    let id = hex::encode(&id.as_bytes()[..HELPER_ID_BYTES]);
    Some(file.with_file_name(format!("{}{id}{}", HELPER.0, HELPER.1)))
}

/// Whether this is the name of something that belongs to an unfinished download.
pub fn is_unfinished(name: &str) -> bool {
    let id = name.strip_prefix(HELPER.0).and_then(|rest| rest.split_once(HELPER.1));
    id.is_some_and(|(id, rest)| id.len() == 2 * HELPER_ID_BYTES && ["", ".json", ".tmp"].contains(&rest))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> ClientError + use<> {
    let path = path.display().to_string();
    move |source| ClientError::File { path: path.clone(), source }
}

impl Api {
    /// Makes `file` what an object is. With a cache, an object that is in it and has not changed is not sent again.
    ///
    /// `progress` is told how much is there, `sized` before that how much it will be. Interrupted in any way, it leaves what has arrived beside the file, and the same call goes on from there.
    pub async fn download(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        file: &Path,
        cache: Option<&ObjectCache>,
        (sized, progress): (&(dyn Fn(u64) + Sync), Progress),
    ) -> Result<Downloaded, ClientError> {
        let name = format!("{bucket}/{key}");
        let file = &followed(file).map_err(failed(file))?;
        if std::fs::metadata(file).is_ok_and(|found| !found.is_file()) {
            return Err(failed(file)(std::io::Error::other("it is no file, and is not replaced by one")));
        }
        let places = Places::beside(file)?;
        let known = cache.and_then(|cache| cache.version(self.url(), &name));
        let mut version = self.current(bucket, key, known.as_ref()).await?;
        let opened = places.open(file)?;
        if let (None, Some(known), Some(cache)) = (&version, &known, cache) {
            if cached(cache, known, &opened).await.map_err(failed(&places.part))? {
                place(&opened, &places, file)?;
                return Ok(Downloaded { version: known.clone(), resumed: 0, is_cached: true });
            }
            version = self.current(bucket, key, None).await?;
        }
        let version =
            version.ok_or_else(|| self.unexpected("an object that nobody asked to compare is unchanged"))?;
        sized(version.size);
        let resumed = self.fetch_missing(bucket, key, &version, &places, &opened, progress).await?;
        let found = blocking(&opened, digest_of).await.map_err(failed(&places.part))?;
        if found != version.sha256 {
            places.forget();
            return Err(ClientError::Damaged { object: name, expected: version.sha256, found });
        }
        place(&opened, &places, file)?;
        if let Some(cache) = cache {
            let (cache, node, from) = (cache.clone(), self.url().to_owned(), file.to_owned());
            let kept = version.clone();
            // The file is there; that it could not be kept a second time is no reason to fail.
            let _ = tokio::task::spawn_blocking(move || cache.keep(&node, &name, &kept, &from)).await;
        }
        Ok(Downloaded { version, resumed, is_cached: false })
    }

    /// The version that the node has now; `None` if it is the known one.
    async fn current(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        known: Option<&ObjectVersion>,
    ) -> Result<Option<ObjectVersion>, ClientError> {
        let path = item(bucket, key);
        let mut request = self.request(Method::HEAD, &path)?;
        if let Some(known) = known {
            request = request.header(header::IF_NONE_MATCH, &known.etag);
        }
        let response = self.answer(request, Waiting::question()).await?;
        match response.status() {
            StatusCode::NOT_MODIFIED if known.is_some() => Ok(None),
            StatusCode::OK => self.version(&response).map(Some),
            // What is wrong is in the body, which answers to HEAD do not have.
            _ => {
                let response = self.send(self.request(Method::GET, &path)?).await?;
                self.version(&response).map(Some)
            }
        }
    }

    fn version(&self, response: &Response) -> Result<ObjectVersion, ClientError> {
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let version = || {
            Some(ObjectVersion {
                etag: text("etag")?.to_owned(),
                sha256: text(CONTENT_SHA256)?.parse().ok()?,
                size: text("content-length")?.parse().ok()?,
            })
        };
        version().ok_or_else(|| self.unexpected("the tag, the digest or the length of the object is missing"))
    }

    fn unexpected(&self, problem: &str) -> ClientError {
        ClientError::Protocol { url: self.url().to_owned(), problem: problem.to_owned() }
    }

    /// Brings the parts that are not there yet: how many bytes were there already.
    async fn fetch_missing(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: &ObjectVersion,
        places: &Places,
        opened: &File,
        progress: Progress,
    ) -> Result<u64, ClientError> {
        let mut state = places.resume(State {
            object: format!("{bucket}/{key}"),
            version: version.clone(),
            part_bytes: PART_BYTES,
            done: BTreeMap::new(),
        });
        // A file that is shorter than what is said of it was not left by us.
        if opened.metadata().map_err(failed(&places.part))?.len() != version.size {
            state.done.clear();
            opened.set_len(version.size).map_err(failed(&places.part))?;
        }
        let intact = blocking(opened, move |file| {
            keep_intact(file, &mut state)?;
            Ok(state)
        });
        let mut state = intact.await.map_err(failed(&places.part))?;
        places.save(&state).await?;
        let resumed = state.done_bytes();
        let moved = Arc::new(AtomicU64::new(resumed));
        let missing: Vec<u64> = (0..state.parts()).filter(|part| !state.done.contains_key(part)).collect();
        let fetches = missing.into_iter().map(|part| {
            let range = state.range(part);
            let (moved, progress) = (moved.clone(), progress.clone());
            async move {
                let to = (&*moved, &progress);
                let digest = self.fetch_part(bucket, key, version, range, &places.part, to).await?;
                Ok::<_, ClientError>((part, digest))
            }
        });
        let mut fetched = stream::iter(fetches.collect::<Vec<_>>()).buffer_unordered(PARTS_AT_ONCE);
        while let Some((part, digest)) = fetched.try_next().await? {
            state.done.insert(part, digest);
            places.save(&state).await?;
        }
        Ok(resumed)
    }

    async fn fetch_part(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: &ObjectVersion,
        range: (u64, u64),
        file: &Path,
        (moved, progress): (&AtomicU64, &Progress),
    ) -> Result<Sha256Digest, ClientError> {
        let passed = |bytes: u64| progress(moved.fetch_add(bytes, Ordering::Relaxed) + bytes);
        let mut arrived = Arrived::default();
        let (mut attempt, mut before) = (1, 0);
        loop {
            let fetched = self.fetch_range(bucket, key, version, range, file, &mut arrived, passed).await;
            let error = match fetched {
                Ok(()) => return Ok(arrived.hash.finish()),
                Err(error) => error,
            };
            let may_pass = matches!(error, ClientError::Unreachable { .. } | ClientError::BrokenOff { .. });
            if arrived.bytes > before {
                (attempt, before) = (0, arrived.bytes);
            }
            attempt += 1;
            if !may_pass || attempt > PART_ATTEMPTS {
                return Err(error);
            }
        }
    }

    /// Brings what has not arrived yet of a range. Where it broke off it is asked for anew: a node that cannot go on from there
    /// then says why.
    #[expect(clippy::too_many_arguments, reason = "what, from where, to where, and who is told")]
    async fn fetch_range(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: &ObjectVersion,
        (start, end): (u64, u64),
        file: &Path,
        arrived: &mut Arrived,
        passed: impl Fn(u64),
    ) -> Result<(), ClientError> {
        let from = start + arrived.bytes;
        if from == end {
            return Ok(());
        }
        let request = self
            .request(Method::GET, &item(bucket, key))?
            .header(header::RANGE, format!("bytes={from}-{}", end - 1))
            .header(header::IF_MATCH, &version.etag);
        let mut response = self.send(request).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(self.unexpected("a range was asked for, and something else was sent"));
        }
        let mut options = tokio::fs::OpenOptions::new();
        let sink = options.write(true).custom_flags(NO_LINK).open(file).await;
        let mut sink = sink.map_err(failed(file))?;
        sink.seek(std::io::SeekFrom::Start(from)).await.map_err(failed(file))?;
        let ended = loop {
            match response.chunk().await {
                Ok(Some(piece)) => {
                    if arrived.bytes + piece.len() as u64 > end - start {
                        return Err(self.unexpected("more was sent than the range that was asked for"));
                    }
                    sink.write_all(&piece).await.map_err(failed(file))?;
                    arrived.bytes += piece.len() as u64;
                    arrived.hash.update(&piece);
                    passed(piece.len() as u64);
                }
                Ok(None) => break Ok(()),
                Err(source) => break Err(source),
            }
        };
        sink.flush().await.map_err(failed(file))?;
        ended.map_err(|source| ClientError::BrokenOff {
            object: format!("{bucket}/{key}"),
            received: arrived.bytes,
            source: source.into(),
        })?;
        if arrived.bytes < end - start {
            return Err(self.unexpected("less was sent than the range that was asked for"));
        }
        Ok(())
    }
}

/// What has arrived of a part.
#[derive(Default)]
struct Arrived {
    bytes: u64,
    hash: Sha256,
}

/// Where links lead to, whether or not there is anything.
///
/// # Errors
/// They lead in a circle.
pub fn followed(file: &Path) -> std::io::Result<PathBuf> {
    let mut place = file.to_owned();
    for _ in 0..LINKS_MAX {
        match std::fs::read_link(&place) {
            Ok(target) => place = place.parent().unwrap_or(Path::new("")).join(target),
            // No link, or nothing at all.
            Err(_) => return Ok(place),
        }
    }
    Err(std::io::Error::other("too many links follow one another"))
}

/// Writes what the cache has into the file, unless it turns out to be something else.
async fn cached(cache: &ObjectCache, known: &ObjectVersion, opened: &File) -> std::io::Result<bool> {
    let (cache, sha256) = (cache.clone(), known.sha256);
    blocking(opened, move |file| cache.read(&sha256, file)).await
}

/// Gives the finished file its name, and the permissions of what had it before.
fn place(opened: &File, places: &Places, file: &Path) -> Result<(), ClientError> {
    opened.sync_all().map_err(failed(&places.part))?;
    if let Ok(found) = std::fs::metadata(file) {
        opened.set_permissions(found.permissions()).map_err(failed(&places.part))?;
    }
    std::fs::rename(&places.part, file).map_err(failed(file))?;
    let _ = std::fs::remove_file(&places.state);
    Ok(())
}

async fn blocking<T: Send + 'static>(
    file: &File,
    work: impl FnOnce(&mut File) -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let mut file = file.try_clone()?;
    let ended = tokio::task::spawn_blocking(move || work(&mut file)).await;
    ended.map_err(|_| std::io::Error::other("the work was abandoned"))?
}

/// Forgets the parts that are not what arrived: whatever else has happened to the file meanwhile, they are brought again.
fn keep_intact(file: &File, state: &mut State) -> std::io::Result<()> {
    let mut buffer = vec![0; HASH_BYTES];
    let mut damaged = Vec::new();
    for (part, expected) in &state.done {
        let (mut position, end) = state.range(*part);
        let mut hash = Sha256::new();
        while position < end {
            let wanted = usize::try_from(end - position).unwrap_or(usize::MAX).min(HASH_BYTES);
            file.read_exact_at(&mut buffer[..wanted], position)?;
            hash.update(&buffer[..wanted]);
            position += wanted as u64;
        }
        if hash.finish() != *expected {
            damaged.push(*part);
        }
    }
    for part in damaged {
        state.done.remove(&part);
    }
    Ok(())
}

/// Whether a file is, byte for byte, what an object is. It is read only if the length is right; where there is no regular file, the answer is no.
///
/// # Errors
/// The file cannot be read.
pub fn is_content_of(file: &Path, object: &ObjectView) -> std::io::Result<bool> {
    match std::fs::metadata(file) {
        Ok(found) if found.is_file() && found.len() == object.size => {
            Ok(digest_of(&mut File::open(file)?)? == object.sha256)
        }
        Ok(_) => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The digest of all bytes of a file.
pub(crate) fn digest_of(file: &mut File) -> std::io::Result<Sha256Digest> {
    use std::io::Seek;
    file.rewind()?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; HASH_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finish()),
            read => hash.update(&buffer[..read]),
        }
    }
}
