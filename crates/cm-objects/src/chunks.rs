//! Chunks as files named by their digest. Everything here blocks: for blocking threads only.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use cm_types::Sha256Digest;
use uuid::Uuid;

use crate::{Flaw, ObjectError};

mod parts;
mod verified;

pub(crate) use parts::{KeepError, PART_LEN_MAX, Part};
pub(crate) use verified::Verified;

/// Length of every chunk but the last of an object, in bytes. Small enough to verify before a reader
/// notices the delay, large enough that an fsync per chunk does not dominate.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Parts and their bytes.
#[derive(Debug, Default)]
struct Count {
    parts: AtomicU64,
    bytes: AtomicU64,
}

/// The directories of the store, and the lock that says that they are ours.
#[derive(Debug)]
pub(crate) struct ChunkStore {
    chunks: PathBuf,
    temporary: PathBuf,
    /// One for each directory, held while a part of it gets its name, is promised, or is deleted.
    settling: Vec<Mutex<()>>,
    /// What each directory holds, changed only by whoever settles there.
    counts: Vec<Count>,
    verified: Verified,
    _lock: File,
}

impl ChunkStore {
    /// Locks the directory, creates what is missing, and removes what a crash left half-written. Says how
    /// many files that were.
    pub(crate) fn open(dir: &Path) -> Result<(Self, usize), ObjectError> {
        let (chunks, temporary) = (dir.join("chunks"), dir.join("tmp"));
        for path in [dir, &chunks, &temporary] {
            fs::create_dir_all(path).map_err(ObjectError::storage(path))?;
        }
        let lock = lock(&dir.join("lock"))?;
        for shard in 0..=u8::MAX {
            let path = chunks.join(hex_byte(shard));
            match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(ObjectError::Storage { path, source: error });
                }
                _ => {}
            }
        }
        let swept = sweep(&temporary)?;
        for path in [&chunks, dir] {
            sync_dir(path)?;
        }
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
        let settling = (0..=u8::MAX).map(|_| Mutex::default()).collect();
        let counts = (0..=u8::MAX).map(|_| Count::default()).collect();
        Ok((Self { chunks, temporary, settling, counts, verified: Verified::new(), _lock: lock }, swept))
    }

    pub(crate) fn path(&self, digest: &Sha256Digest) -> PathBuf {
        self.chunks.join(hex_byte(shard_of(digest))).join(digest.to_string())
    }

    /// Makes the bytes durable under their digest, which they have, but for [`ChunkStore::sync_shard`]. A file that is there
    /// already is kept if it holds these very bytes, and replaced if it is damaged.
    pub(crate) fn write(&self, digest: &Sha256Digest, bytes: &[u8]) -> Result<(), ObjectError> {
        let path = self.path(digest);
        if matches!(read_at_most(&path, bytes.len()), Ok(found) if found == bytes) {
            return Ok(());
        }
        let mut temporary = TemporaryFile::create(&self.temporary)?;
        temporary.write(bytes).map_err(ObjectError::storage(&temporary.path))?;
        temporary.rename(&path)?;
        self.verified.remember(digest, bytes);
        Ok(())
    }

    /// Makes the names of the chunks in one of the directories durable.
    pub(crate) fn sync_shard(&self, shard: u8) -> Result<(), ObjectError> {
        sync_dir(&self.chunks.join(hex_byte(shard)))
    }

    /// The bytes of the chunk, if they are what they should be.
    pub(crate) fn read(&self, digest: &Sha256Digest, len: usize) -> Result<Bytes, Flaw> {
        let bytes = read_at_most(&self.path(digest), len).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Flaw::Missing,
            kind => Flaw::Unreadable(kind),
        })?;
        if bytes.len() < len {
            return Err(Flaw::Truncated { expected: len as u64, found: bytes.len() as u64 });
        }
        self.verified.check(digest, &bytes)?;
        Ok(bytes.into())
    }

    /// Deletes the file; the number of bytes that this freed, `None` if there was no file.
    pub(crate) fn remove(&self, digest: &Sha256Digest) -> Result<Option<u64>, ObjectError> {
        let path = self.path(digest);
        let len = fs::metadata(&path).map(|metadata| metadata.len()).unwrap_or_default();
        match fs::remove_file(&path) {
            Ok(()) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ObjectError::Storage { path, source }),
        }
    }

    /// The digests of the files in one of the 256 directories. Files with other names are not ours.
    pub(crate) fn list_shard(&self, shard: u8) -> Result<Vec<Sha256Digest>, ObjectError> {
        let path = self.chunks.join(hex_byte(shard));
        let entries = fs::read_dir(&path).map_err(ObjectError::storage(&path))?;
        let mut digests = Vec::new();
        for entry in entries {
            let entry = entry.map_err(ObjectError::storage(&path))?;
            let digest = entry.file_name().to_str().and_then(|name| name.parse::<Sha256Digest>().ok());
            digests.extend(digest.filter(|digest| shard_of(digest) == shard));
        }
        Ok(digests)
    }
}

#[cfg(test)]
impl ChunkStore {
    /// Until what is returned is dropped no part gets its name, is promised or deleted: whoever asks for that waits.
    pub(crate) fn stand_still(self: std::sync::Arc<Self>) -> std::sync::mpsc::Sender<()> {
        let (standing, stands) = std::sync::mpsc::channel();
        let (go_on, until) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _held: Vec<_> = self.settling.iter().map(|one| one.lock().unwrap()).collect();
            standing.send(()).unwrap();
            let _ = until.recv();
        });
        stands.recv().unwrap();
        go_on
    }
}

/// The directory of a chunk: the first byte of its digest.
pub(crate) fn shard_of(digest: &Sha256Digest) -> u8 {
    digest.as_bytes()[0]
}

fn hex_byte(byte: u8) -> String {
    format!("{byte:02x}")
}

fn lock(path: &Path) -> Result<File, ObjectError> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(ObjectError::storage(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(ObjectError::InUse { path: path.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(ObjectError::Storage { path: path.to_owned(), source }),
    }
}

fn sweep(dir: &Path) -> Result<usize, ObjectError> {
    let mut swept = 0;
    for entry in fs::read_dir(dir).map_err(ObjectError::storage(dir))? {
        let path = entry.map_err(ObjectError::storage(dir))?.path();
        fs::remove_file(&path).map_err(ObjectError::storage(&path))?;
        swept += 1;
    }
    Ok(swept)
}

fn sync_dir(path: &Path) -> Result<(), ObjectError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(ObjectError::storage(path))
}

/// Reads the file, but never more than one byte beyond the length: that is enough to differ.
fn read_at_most(path: &Path, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len + 1);
    File::open(path)?.take(len as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file being written; removed when dropped before it got its name.
struct TemporaryFile {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl TemporaryFile {
    fn create(dir: &Path) -> Result<Self, ObjectError> {
        let path = dir.join(Uuid::new_v4().simple().to_string());
        let file = File::create_new(&path).map_err(ObjectError::storage(&path))?;
        Ok(Self { path, file, renamed: false })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_all()
    }

    fn rename(mut self, to: &Path) -> Result<(), ObjectError> {
        fs::rename(&self.path, to).map_err(ObjectError::storage(to))?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.renamed
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "temporary file left behind");
        }
    }
}
