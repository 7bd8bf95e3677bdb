//! Files being written, which get their name when their bytes are durable.
//!
//! Whole chunks go past the system's cache where the file system can do that (`O_DIRECT`): they are flushed at once anyway, so that a copy in the
//! cache costs processor time for each byte and pushes out what is read. Whoever reads a chunk brings it into the cache.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use uuid::Uuid;

use super::CHUNK_BYTES;
use crate::ObjectError;

/// To what memory and lengths are aligned: no disk asks for more.
const ALIGNMENT: usize = 4096;
/// Buffers that are kept for the next chunks.
const KEPT_MAX: usize = 8;

/// The directory of files being written.
#[derive(Debug)]
pub(super) struct TemporaryDir {
    path: PathBuf,
    /// Whether the file system has refused to write past the cache.
    buffered: AtomicBool,
    /// Longer than a chunk by what aligns it.
    kept: Mutex<Vec<Vec<u8>>>,
}

impl TemporaryDir {
    /// This one.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, buffered: AtomicBool::new(false), kept: Mutex::default() }
    }

    /// A new file with these bytes, which are not flushed yet.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<TemporaryFile, ObjectError> {
        let path = self.path.join(Uuid::new_v4().simple().to_string());
        let failed = |source| ObjectError::Storage { path: path.clone(), source };
        if bytes.len() == CHUNK_BYTES && !self.buffered.load(Ordering::Relaxed) {
            match self.write_direct(&path, bytes) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.buffered.store(true, Ordering::Relaxed);
                    tracing::debug!(path = %self.path.display(), "the file system writes through its cache only");
                }
                written => return written.map_err(failed),
            }
        }
        let mut file = TemporaryFile::create(&path, 0).map_err(failed)?;
        file.file.write_all(bytes).map_err(failed)?;
        Ok(file)
    }

    fn write_direct(&self, path: &Path, bytes: &[u8]) -> io::Result<TemporaryFile> {
        let created = TemporaryFile::create(path, OFlags::DIRECT.bits());
        let mut file = match created {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                // The system notices after it has made the file.
                let _ = fs::remove_file(path);
                return Err(error);
            }
            created => created?,
        };
        let mut buffer = self.kept().pop().unwrap_or_else(|| vec![0; CHUNK_BYTES + ALIGNMENT]);
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        let aligned = &mut buffer[start..start + CHUNK_BYTES];
        aligned.copy_from_slice(bytes);
        let written = file.file.write_all(aligned);
        let mut kept = self.kept();
        if kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
        drop(kept);
        written.map(|()| file)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file being written; removed when dropped before it got its name.
pub(super) struct TemporaryFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    renamed: bool,
}

impl TemporaryFile {
    fn create(path: &Path, flags: u32) -> io::Result<Self> {
        let flags = i32::try_from(flags).expect("flags of open are those of an int");
        let file = File::options().write(true).create_new(true).custom_flags(flags).open(path)?;
        Ok(Self { path: path.to_owned(), file, renamed: false })
    }

    pub(super) fn rename(mut self, to: &Path) -> Result<(), ObjectError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_they_are_past_the_cache_and_through_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = TemporaryDir::new(root.path().to_owned());
        for (buffered, len) in
            [(false, CHUNK_BYTES), (false, CHUNK_BYTES - 1), (true, CHUNK_BYTES), (true, 3)]
        {
            if buffered {
                dir.buffered.store(true, Ordering::Relaxed);
            }
            let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
            let file = dir.write(&bytes).unwrap();
            file.file.sync_all().unwrap();
            let to = root.path().join("named");
            file.rename(&to).unwrap();
            assert!(fs::read(&to).unwrap() == bytes, "{len}");
        }
        drop(dir.write(&[0; 10]).unwrap());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "what got no name is gone");
        assert!(dir.kept().len() <= 1);
    }
}
