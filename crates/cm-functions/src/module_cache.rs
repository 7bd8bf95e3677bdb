//! Compiled modules on disk, sealed by the instances that made them.
//!
//! The node cannot tell a good artefact from a bad one and need not: instances seal them under a key
//! that the node hands over at launch, and recompile what does not open. The cache therefore only has to
//! bound its size and never show a half-written file. Everything here blocks; call it off the runtime.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use cm_types::Sha256Digest;

/// Ending of files that are being written; removed when the cache is opened.
const PARTIAL: &str = "partial";

/// A directory of artefacts, named by digest, of bounded total size.
#[derive(Debug)]
pub struct ModuleCache {
    dir: PathBuf,
    bytes_max: u64,
    /// Held by whoever changes the directory.
    writing: Mutex<()>,
}

impl ModuleCache {
    /// Opens or makes the directory and removes what an interrupted writer left.
    pub fn open(dir: impl Into<PathBuf>, bytes_max: u64) -> io::Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(&dir)?;
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == PARTIAL) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self { dir, bytes_max, writing: Mutex::new(()) })
    }

    /// The artefact under a key, if there is one. Reading marks it as used.
    pub fn get(&self, key: &Sha256Digest) -> Option<Vec<u8>> {
        let path = self.path(key);
        let artefact = fs::read(&path).ok()?;
        // A failure to note the use costs an earlier eviction and nothing else.
        let _ =
            File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(artefact)
    }

    /// Stores an artefact and evicts those that were not used for longest. One that is larger than the
    /// whole cache is not stored.
    pub fn put(&self, key: &Sha256Digest, artefact: &[u8]) -> io::Result<()> {
        let size = artefact.len() as u64;
        if size > self.bytes_max {
            return Ok(());
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(key);
        self.evict(self.bytes_max - size, &path)?;
        let partial = path.with_extension(PARTIAL);
        let mut file = File::create(&partial)?;
        file.write_all(artefact)?;
        file.sync_all()?;
        fs::rename(partial, path)
    }

    fn path(&self, key: &Sha256Digest) -> PathBuf {
        self.dir.join(key.to_string())
    }

    /// Removes the least recently used files other than `replaced` until the rest fits.
    fn evict(&self, bytes_max: u64, replaced: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() && entry.path() != replaced {
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort_unstable();
        let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in files {
            if bytes <= bytes_max {
                break;
            }
            fs::remove_file(path)?;
            bytes -= len;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cm_crypto::digest::sha256;

    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ModuleCache::open(dir.path(), 250).unwrap();
        let keys = [b"a", b"b", b"c"].map(|name| sha256(name));
        for (age, key) in [(300, &keys[0]), (200, &keys[1])] {
            cache.put(key, &[7; 100]).unwrap();
            let past = SystemTime::now() - std::time::Duration::from_secs(age);
            File::options().append(true).open(cache.path(key)).unwrap().set_modified(past).unwrap();
        }
        assert_eq!(cache.get(&keys[0]), Some(vec![7; 100]));
        cache.put(&keys[2], &[9; 100]).unwrap();
        assert_eq!(cache.get(&keys[1]), None, "the one that was not read stayed");
        assert!(cache.get(&keys[0]).is_some() && cache.get(&keys[2]).is_some());
        cache.put(&keys[1], &[0; 251]).unwrap();
        assert_eq!(cache.get(&keys[1]), None);
    }

    #[test]
    fn half_written_files_are_swept_and_never_read() {
        let dir = tempfile::tempdir().unwrap();
        let key = sha256(b"a");
        let partial = dir.path().join(format!("{key}.{PARTIAL}"));
        fs::write(&partial, b"half").unwrap();
        let cache = ModuleCache::open(dir.path(), 100).unwrap();
        assert!(!partial.exists());
        assert_eq!(cache.get(&key), None);
    }
}
