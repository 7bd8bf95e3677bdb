//! Whole files into objects: in parts, several at once, going on where it was interrupted, checked as a whole at the end.
//!
//! The node keeps the parts of an upload until it is completed, aborted or expired. Which upload a file goes into is noted in a
//! [`UploadMemory`], by the node, the object and the file. Whoever sends the same file to the same place again asks the node which
//! parts it has, with their digests, and sends only those that are missing or are different from what the file has in their place: a
//! file that has changed meanwhile loses the parts that changed, and nothing else. The object appears when the digest of all of it is that of the
//! file, or not at all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cm_crypto::digest::{Sha256, sha256};
use cm_types::{BucketName, ObjectKey, Sha256Digest};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use crate::api::{key_path, segment};
use crate::objects::{ObjectView, READ_BYTES};
use crate::resources::Listing;
use crate::steady_file::Identity;
use crate::waiting::Waiting;
use crate::{Api, ClientError, Progress};

/// Bytes of one part, but for files that would have too many: what an interruption costs at most for each part under way.
pub const PART_BYTES: u64 = 8 << 20;
/// The most parts that a node takes.
const PARTS_MAX: u64 = 10_000;
/// Parts under way at once.
const PARTS_AT_ONCE: usize = 4;
/// How often a part is sent when connections break or the node is busy.
const PART_ATTEMPTS: u32 = 4;
/// How long to wait before the second attempt; doubled for each further one.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// Bytes that are hashed at a time.
const HASH_BYTES: usize = 1 << 20;
/// Most notes that are kept. A note of an upload that has expired is of no use, and goes as the oldest.
const NOTES_MAX: usize = 1000;
/// Statuses of a node that may take the same request later.
const LATER: [u16; 2] = [429, 503];
/// The status for bytes that are not what was announced.
const UNPROCESSABLE: u16 = 422;
const NOT_FOUND: u16 = 404;

/// What an upload came to.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// What the node stored.
    pub object: ObjectView,
    /// How many of its bytes an earlier, interrupted command had sent.
    pub resumed: u64,
}

/// An upload in parts that is under way at a node.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct UploadView {
    /// Names it.
    pub id: String,
    /// The key of the object that it is going to be.
    pub key: String,
    /// Everything else.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// A part as the node has it.
#[derive(Clone, Debug, Deserialize)]
struct PartView {
    number: u16,
    size: u64,
    sha256: Sha256Digest,
    etag: String,
}

/// A part as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    number: u16,
    from: u64,
    size: u64,
    sha256: Sha256Digest,
}

/// What is remembered of an upload.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    node: String,
    object: String,
    file: PathBuf,
    upload: String,
    part_bytes: u64,
}

/// A directory that says which uploads this user has under way. Several processes may share it.
#[derive(Clone, Debug)]
pub struct UploadMemory {
    dir: PathBuf,
}

impl UploadMemory {
    /// The memory in a directory, which is made if need be and which only its owner may enter.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(dir: PathBuf) -> std::io::Result<UploadMemory> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let memory = UploadMemory { dir };
        memory.forget_oldest()?;
        Ok(memory)
    }

    fn forget_oldest(&self) -> std::io::Result<()> {
        let mut notes = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            // Another process may have removed it meanwhile.
            if let Ok(found) = entry.metadata() {
                notes.push((found.modified()?, entry.path()));
            }
        }
        notes.sort();
        let excess = notes.len().saturating_sub(NOTES_MAX);
        notes.into_iter().take(excess).try_for_each(|(_, path)| std::fs::remove_file(path))
    }

    /// What is remembered of this file on its way to this object, and the right to be the only one to send it.
    fn note(&self, node: &str, object: &str, file: &Path) -> Result<NoteFile, ClientError> {
        let name = sha256(format!("{node}\n{object}\n{}", file.display()).as_bytes());
        let path = self.dir.join(format!("{name}.json"));
        let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let opened = opened.map_err(failed(&path))?;
        let is_still_there =
            || std::io::Result::Ok(std::fs::metadata(&path)?.ino() == opened.metadata()?.ino());
        match opened.try_lock() {
            Ok(()) if is_still_there().unwrap_or(false) => Ok(NoteFile { path, opened }),
            // Whoever held the lock until now has just finished.
            Ok(()) | Err(std::fs::TryLockError::WouldBlock) => {
                Err(ClientError::AlreadyUploading(file.display().to_string()))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(failed(&path)(error)),
        }
    }
}

/// A note that nobody else writes as long as it is open.
#[derive(Debug)]
struct NoteFile {
    path: PathBuf,
    opened: File,
}

impl NoteFile {
    /// What it says, if it says anything.
    fn read(&mut self) -> Option<Note> {
        let mut bytes = Vec::new();
        self.opened.rewind().ok()?;
        self.opened.read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn write(&mut self, note: &Note) -> Result<(), ClientError> {
        let bytes = serde_json::to_vec(note).expect("names and numbers make a document");
        let written = self.opened.rewind().and_then(|()| self.opened.set_len(0));
        written.and_then(|()| self.opened.write_all(&bytes)).map_err(failed(&self.path))
    }

    fn forget(self) {
        // What is left of it names an upload that has ended, which is found out.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> ClientError + use<> {
    let path = path.display().to_string();
    move |source| ClientError::File { path: path.clone(), source }
}

fn uploads(bucket: &BucketName) -> String {
    format!("/api/v1/buckets/{}/uploads", segment(bucket.as_str()))
}

fn upload(bucket: &BucketName, key: &ObjectKey, id: &str) -> String {
    format!("{}/{}/{}", uploads(bucket), segment(id), key_path(key.as_str()))
}

/// How large the parts of a file are: as usual, or so large that there are not too many.
fn part_bytes(size: u64) -> u64 {
    PART_BYTES.max(size.div_ceil(PARTS_MAX).next_multiple_of(1 << 20))
}

impl Api {
    /// Makes an object what a file is.
    ///
    /// `progress` is told how much the node has. Interrupted in any way, it leaves at the node what has arrived, and the same
    /// call goes on from there. The file is read twice where parts are sent, once where they are not.
    ///
    /// # Errors
    /// [`ClientError::AlreadyUploading`], [`ClientError::FileChanged`], [`ClientError::File`], and those of any call.
    pub async fn upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        file: &Path,
        memory: &UploadMemory,
        progress: Progress,
    ) -> Result<Uploaded, ClientError> {
        let source = Arc::new(File::open(file).map_err(failed(file))?);
        let identity = Identity::of(&source.metadata().map_err(failed(file))?);
        let size = identity.size;
        let path = file.canonicalize().map_err(failed(file))?;
        let object = format!("{bucket}/{key}");
        let mut noted = memory.note(self.url(), &object, &path)?;
        let known = match noted.read() {
            Some(note) if note.object == object && note.part_bytes >= part_bytes(size) => {
                self.parts(bucket, key, &note.upload).await?.map(|parts| (note, parts))
            }
            _ => None,
        };
        let (note, there) = match known {
            Some(known) => known,
            None => {
                let begun = self.begin_upload(bucket, key).await?;
                let (node, part_bytes) = (self.url().to_owned(), part_bytes(size));
                let note = Note { node, object: object.clone(), file: path, upload: begun.id, part_bytes };
                noted.write(&note)?;
                (note, BTreeMap::new())
            }
        };
        let sending = Sending {
            api: self,
            path: upload(bucket, key, &note.upload),
            file,
            identity,
            there,
            moved: Arc::new(AtomicU64::new(0)),
            resumed: AtomicU64::new(0),
            progress,
        };
        let (pieces, hashed) = mpsc::channel(PARTS_AT_ONCE);
        let reader = source.clone();
        let hashing = tokio::task::spawn_blocking(move || hash(&reader, size, note.part_bytes, &pieces));
        let received =
            stream::unfold(hashed, |mut hashed| async { hashed.recv().await.map(|piece| (piece, hashed)) });
        let sent = received.map(|piece| sending.bring(piece)).buffer_unordered(PARTS_AT_ONCE);
        let mut parts: Vec<(u16, String)> = sent.try_collect().await?;
        parts.sort();
        let whole =
            hashing.await.map_err(|_| failed(file)(std::io::Error::other("the work was abandoned")))?;
        let whole = match whole {
            Ok(whole) => whole,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(ClientError::FileChanged(file.display().to_string()));
            }
            Err(error) => return Err(failed(file)(error)),
        };
        // Every part is what was hashed, but what was hashed at different moments may never have been one file.
        if sending.is_changed() {
            return Err(ClientError::FileChanged(file.display().to_string()));
        }
        let parts: Vec<_> = parts
            .into_iter()
            .map(|(number, etag)| serde_json::json!({"number": number, "etag": etag}))
            .collect();
        let body = serde_json::json!({ "parts": parts, "sha256": whole });
        let stored: ObjectView =
            self.post_patiently(&sending.path, &body).await.map_err(|error| sending.judged(error))?;
        noted.forget();
        Ok(Uploaded { object: stored, resumed: sending.resumed.into_inner() })
    }

    async fn begin_upload(&self, bucket: &BucketName, key: &ObjectKey) -> Result<UploadView, ClientError> {
        let request = self
            .request(Method::POST, &uploads(bucket))?
            .query(&[("key", key.as_str())])
            .header("content-type", "application/octet-stream");
        let response = self.send(request).await?;
        self.json(response).await
    }

    /// The parts that the node has of an upload; `None` if it has ended.
    async fn parts(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        id: &str,
    ) -> Result<Option<BTreeMap<u16, PartView>>, ClientError> {
        let (mut parts, mut after) = (BTreeMap::new(), None);
        loop {
            let mut query = vec![("limit", "1000".to_owned())];
            query.extend(after.map(|after: String| ("after", after)));
            let page: Listing<PartView> = match self.get_page(&upload(bucket, key, id), &query).await {
                Err(ClientError::Refused(refusal)) if refusal.status == NOT_FOUND => return Ok(None),
                page => page?,
            };
            parts.extend(page.items.into_iter().map(|part| (part.number, part)));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(Some(parts)),
            }
        }
    }

    /// One page of the uploads that are under way in a bucket.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn list_uploads(
        &self,
        bucket: &BucketName,
        prefix: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing<UploadView>, ClientError> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(prefix.map(|prefix| ("prefix", prefix.to_owned())));
        query.extend(after.map(|after| ("after", after.to_owned())));
        self.get_page(&uploads(bucket), &query).await
    }

    /// Ends an upload without an object.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn abort_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        id: &str,
    ) -> Result<(), ClientError> {
        self.delete(&upload(bucket, key, id)).await
    }
}

/// An upload that is under way.
struct Sending<'a> {
    api: &'a Api,
    path: String,
    file: &'a Path,
    identity: Identity,
    there: BTreeMap<u16, PartView>,
    moved: Arc<AtomicU64>,
    resumed: AtomicU64,
    progress: Progress,
}

impl Sending<'_> {
    /// Sees to it that the node has a part: its number and tag.
    async fn bring(&self, piece: Piece) -> Result<(u16, String), ClientError> {
        let there = self.there.get(&piece.number);
        if let Some(part) = there.filter(|part| (part.size, part.sha256) == (piece.size, piece.sha256)) {
            self.resumed.fetch_add(piece.size, Ordering::Relaxed);
            (self.progress)(self.moved.fetch_add(piece.size, Ordering::Relaxed) + piece.size);
            return Ok((piece.number, part.etag.clone()));
        }
        let mut attempt = 1;
        loop {
            let sent = Arc::new(AtomicU64::new(0));
            let error = match self.send(piece, sent.clone()).await {
                Ok(part) => return Ok((part.number, part.etag)),
                Err(error) => self.judged(error),
            };
            self.moved.fetch_sub(sent.load(Ordering::Relaxed), Ordering::Relaxed);
            let may_pass = match &error {
                ClientError::Unreachable { .. } => true,
                ClientError::Refused(refusal) => LATER.contains(&refusal.status),
                _ => false,
            };
            if !may_pass || attempt == PART_ATTEMPTS {
                return Err(error);
            }
            tokio::time::sleep(RETRY_WAIT * 2_u32.pow(attempt - 1)).await;
            attempt += 1;
        }
    }

    /// Sends a part once. `sent` grows with what is handed to the connection.
    async fn send(&self, piece: Piece, sent: Arc<AtomicU64>) -> Result<PartView, ClientError> {
        let failed = failed(self.file);
        // A position of its own for each part under way.
        let mut source = tokio::fs::File::open(self.file).await.map_err(&failed)?;
        if source.metadata().await.map_err(&failed)?.len() < piece.from + piece.size {
            return Err(ClientError::FileChanged(self.file.display().to_string()));
        }
        source.seek(std::io::SeekFrom::Start(piece.from)).await.map_err(&failed)?;
        let (moved, progress) = (self.moved.clone(), self.progress.clone());
        let waiting = Waiting::work();
        let movement = waiting.movement();
        let bytes = ReaderStream::with_capacity(source.take(piece.size), READ_BYTES);
        let body = bytes.inspect_ok(move |bytes| {
            let bytes = bytes.len() as u64;
            movement.note();
            sent.fetch_add(bytes, Ordering::Relaxed);
            progress(moved.fetch_add(bytes, Ordering::Relaxed) + bytes);
        });
        let request = self
            .api
            .patient_request(Method::PUT, &self.path)?
            .query(&[("part", piece.number)])
            .header("content-type", "application/octet-stream")
            .header("content-length", piece.size)
            .header("x-expected-sha256", piece.sha256.to_string())
            .body(reqwest::Body::wrap_stream(body));
        let response = self.api.send_waiting(request, waiting).await?;
        self.api.json(response).await
    }

    /// Other bytes than were announced, of a file that is not what it was, are no fault of the way.
    fn judged(&self, error: ClientError) -> ClientError {
        match error {
            ClientError::Refused(refusal) if refusal.status == UNPROCESSABLE && self.is_changed() => {
                ClientError::FileChanged(self.file.display().to_string())
            }
            error => error,
        }
    }

    /// Whether the file is another than when it was begun to be sent, or is gone.
    fn is_changed(&self) -> bool {
        std::fs::metadata(self.file).map_or(true, |now| Identity::of(&now) != self.identity)
    }
}

/// Reads all of a file and hands over its parts with their digests, as fast as they are taken: the digest of the whole.
///
/// # Errors
/// The file cannot be read, or is shorter than it was. Nobody takes the parts any more.
fn hash(
    file: &File,
    size: u64,
    part_bytes: u64,
    pieces: &mpsc::Sender<Piece>,
) -> std::io::Result<Sha256Digest> {
    let (mut whole, mut buffer) = (Sha256::new(), vec![0; HASH_BYTES]);
    // An empty object is one empty part.
    for at in 0..size.div_ceil(part_bytes).max(1) {
        let (from, end) = (at * part_bytes, size.min((at + 1) * part_bytes));
        let (mut part, mut position) = (Sha256::new(), from);
        while position < end {
            let wanted = usize::try_from(end - position).unwrap_or(usize::MAX).min(HASH_BYTES);
            let bytes = &mut buffer[..wanted];
            file.read_exact_at(bytes, position)?;
            part.update(bytes);
            whole.update(bytes);
            position += wanted as u64;
        }
        let number = u16::try_from(at + 1).map_err(std::io::Error::other)?;
        let piece = Piece { number, from, size: end - from, sha256: part.finish() };
        pieces.blocking_send(piece).map_err(|_| std::io::Error::other("the upload ended"))?;
    }
    Ok(whole.finish())
}

#[cfg(test)]
mod tests;
