//! Objects that were read before, kept by what they hold.
//!
//! `objects/DIGEST` are the bytes, once for all keys that have them; `names/…` say which version of which object of which
//! node was read last. What is here is used only when the node says, in answer to a conditional request, that this is still
//! the current version, and only after its digest was computed again: neither a revoked permission nor a damaged file goes
//! unnoticed. When it grows beyond its size, what was not used for the longest time goes first.

use std::fs::File;
use std::io::Seek;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cm_crypto::digest::sha256;
use cm_types::Sha256Digest;

use crate::transfer::{ObjectVersion, digest_of};

/// One object may take this part of the cache at most: a larger one would drive out everything else.
const SHARE_MAX: u64 = 4;
/// How many names are remembered.
const NAMES_MAX: usize = 10_000;

/// A directory of objects that were read before. Several processes may share it.
#[derive(Clone, Debug)]
pub struct ObjectCache {
    dir: PathBuf,
    bytes_max: u64,
}

impl ObjectCache {
    /// The cache in a directory, which is made if need be and which only its owner may enter. It may take `bytes_max` bytes.
    ///
    /// # Errors
    /// The directory cannot be made, or is somebody else's.
    pub fn open(dir: PathBuf, bytes_max: u64) -> std::io::Result<ObjectCache> {
        for part in [dir.clone(), dir.join("objects"), dir.join("names")] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&part)?;
        }
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700))?;
        Ok(ObjectCache { dir, bytes_max })
    }

    fn object(&self, digest: &Sha256Digest) -> PathBuf {
        self.dir.join("objects").join(digest.to_string())
    }

    fn name(&self, node: &str, object: &str) -> PathBuf {
        self.dir.join("names").join(sha256(format!("{node}\n{object}").as_bytes()).to_string())
    }

    /// The version that was read last, if its bytes are still here.
    pub(crate) fn version(&self, node: &str, object: &str) -> Option<ObjectVersion> {
        let bytes = std::fs::read(self.name(node, object)).ok()?;
        let version: ObjectVersion = serde_json::from_slice(&bytes).ok()?;
        self.object(&version.sha256).is_file().then_some(version)
    }

    /// Makes a file what the object with this digest is; whether it is that. One that is damaged is removed.
    pub(crate) fn read(&self, digest: &Sha256Digest, file: &mut File) -> std::io::Result<bool> {
        let path = self.object(digest);
        let Ok(mut kept) = File::open(&path) else { return Ok(false) };
        file.set_len(0)?;
        file.rewind()?;
        std::io::copy(&mut kept, file)?;
        if digest_of(file)? != *digest {
            let _ = std::fs::remove_file(path);
            file.set_len(0)?;
            return Ok(false);
        }
        // When it was used last. A cache on a file system that does not take it forgets in another order.
        let _ = kept.set_modified(SystemTime::now());
        Ok(true)
    }

    /// Keeps a copy of a file that was found to have the digest of this version.
    pub(crate) fn keep(
        &self,
        node: &str,
        object: &str,
        version: &ObjectVersion,
        file: &Path,
    ) -> std::io::Result<()> {
        if version.size > self.bytes_max / SHARE_MAX {
            return Ok(());
        }
        let path = self.object(&version.sha256);
        if !path.is_file() {
            put_in_place(&path, |temporary| std::fs::copy(file, temporary).map(drop))?;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        }
        let bytes = serde_json::to_vec(version)?;
        put_in_place(&self.name(node, object), |temporary| std::fs::write(temporary, &bytes))?;
        self.shrink()
    }

    /// Removes what was not used for the longest time until the rest fits.
    fn shrink(&self) -> std::io::Result<()> {
        let mut objects = by_age(&self.dir.join("objects"))?;
        let mut total: u64 = objects.iter().map(|(_, size, _)| size).sum();
        while let (true, Some((_, size, path))) = (total > self.bytes_max, objects.pop()) {
            std::fs::remove_file(path)?;
            total -= size;
        }
        let names = by_age(&self.dir.join("names"))?;
        names.into_iter().skip(NAMES_MAX).try_for_each(|(_, _, path)| std::fs::remove_file(path))
    }
}

/// The files of a directory, what was used last first.
fn by_age(dir: &Path) -> std::io::Result<Vec<(SystemTime, u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // Another process may have removed it meanwhile.
        if let Ok(found) = entry.metadata() {
            files.push((found.modified()?, found.len(), entry.path()));
        }
    }
    files.sort_by(|a, b| b.cmp(a));
    Ok(files)
}

/// Lets `make` write a file that appears under its name when it is whole.
fn put_in_place(path: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    make(&temporary).and_then(|()| std::fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(content: &[u8]) -> ObjectVersion {
        ObjectVersion { etag: "\"t\"".into(), sha256: sha256(content), size: content.len() as u64 }
    }

    fn keep(cache: &ObjectCache, dir: &Path, name: &str, content: &[u8]) {
        let file = dir.join("file");
        std::fs::write(&file, content).unwrap();
        cache.keep("node", name, &version(content), &file).unwrap();
    }

    fn read(cache: &ObjectCache, content: &[u8]) -> Option<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        if !cache.read(&sha256(content), &mut file).unwrap() {
            return None;
        }
        let mut found = Vec::new();
        file.rewind().unwrap();
        std::io::Read::read_to_end(&mut file, &mut found).unwrap();
        Some(found)
    }

    #[test]
    fn what_is_kept_is_found_until_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ObjectCache::open(dir.path().join("cache"), 1000).unwrap();
        assert_eq!(dir.path().join("cache").metadata().unwrap().permissions().mode() & 0o777, 0o700);
        keep(&cache, dir.path(), "a", b"content");
        assert_eq!(cache.version("node", "a"), Some(version(b"content")));
        assert_eq!(cache.version("other", "a"), None);
        assert_eq!(read(&cache, b"content"), Some(b"content".to_vec()));
        std::fs::write(cache.object(&sha256(b"content")), b"CONTENT").unwrap();
        assert_eq!(read(&cache, b"content"), None);
        assert_eq!(cache.version("node", "a"), None);
    }

    #[test]
    fn it_forgets_what_was_not_used_for_the_longest_time() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ObjectCache::open(dir.path().join("cache"), 400).unwrap();
        let content = |n: u8| vec![n; 100];
        for n in 0..4 {
            keep(&cache, dir.path(), &n.to_string(), &content(n));
            // Moments as a file system tells them apart.
            let kept = File::open(cache.object(&sha256(&content(n)))).unwrap();
            kept.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n.into())).unwrap();
        }
        assert!(read(&cache, &content(0)).is_some(), "the oldest is used");
        keep(&cache, dir.path(), "4", &content(4));
        let left: Vec<bool> = (0..5).map(|n| cache.version("node", &n.to_string()).is_some()).collect();
        assert_eq!(left, [true, false, true, true, true]);
        // What would drive out everything is not kept at all.
        keep(&cache, dir.path(), "large", &[9; 101]);
        assert_eq!(cache.version("node", "large"), None);
    }
}
