//! Whole files, as clients of an instance use them. Symbolic links at a name's end are not followed, so that
//! a program cannot turn a client's write elsewhere.

use cm_crypto::digest::Sha256;
use cm_instance::{GuestPath, Rights};
use cm_types::Sha256Digest;

use super::{Errno, Handle, OpenOptions, View};

/// A file that a principal may know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its path.
    pub path: GuestPath,
    /// Its length in bytes, if the principal may read it.
    pub len: Option<u64>,
    /// The principal's rights on it.
    pub rights: Rights,
}

/// Bytes hashed under one lock.
const HASH_STEP: usize = 256 * 1024;

impl View {
    /// Part of a file's content, and the file's whole length. At most `len` bytes; fewer only at the end.
    /// Needs `PATH_OPEN` and `FD_READ`.
    pub fn read_file(&mut self, path: &GuestPath, at: u64, len: usize) -> Result<(Vec<u8>, u64), Errno> {
        let handle = self.open_whole(path, OpenOptions::default(), Rights::FD_READ)?;
        let tree = handle.vfs.lock();
        let content = tree.content(handle.node)?;
        let available = usize::try_from(content.len().saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(available)];
        content.read(at, &mut bytes);
        let whole = content.len();
        drop(tree);
        Ok((bytes, whole))
    }

    /// Replaces a file's content. Needs `PATH_OPEN`, `FD_WRITE` and `PATH_FILESTAT_SET_SIZE`, and to make
    /// the file `PATH_CREATE_FILE`. If there is no room, the file keeps what fitted in.
    pub fn write_file(&mut self, path: &GuestPath, bytes: &[u8]) -> Result<(), Errno> {
        let options = OpenOptions { create: true, truncate: true, ..OpenOptions::default() };
        let mut handle = self.open_whole(path, options, Rights::FD_WRITE)?;
        self.write_all(&mut handle, bytes)
    }

    /// Adds to a file's end. Needs `PATH_OPEN` and `FD_WRITE`, and to make the file `PATH_CREATE_FILE`.
    pub fn append_file(&mut self, path: &GuestPath, bytes: &[u8]) -> Result<(), Errno> {
        let options = OpenOptions { create: true, append: true, ..OpenOptions::default() };
        let mut handle = self.open_whole(path, options, Rights::FD_WRITE)?;
        self.write_all(&mut handle, bytes)
    }

    /// SHA-256 of a file's content. Needs `PATH_OPEN` and `FD_READ`.
    pub fn hash_file(&mut self, path: &GuestPath) -> Result<Sha256Digest, Errno> {
        let mut handle = self.open_whole(path, OpenOptions::default(), Rights::FD_READ)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; HASH_STEP];
        loop {
            let count = self.read(&mut handle, std::iter::once(buffer.as_mut_slice()))?;
            if count == 0 {
                return Ok(hash.finish());
            }
            hash.update(&buffer[..count]);
        }
    }

    /// Every file on which the principal has a right, in the order of the paths.
    pub fn list_files(&self) -> Vec<FileInfo> {
        let tree = self.vfs().lock();
        let mut files = Vec::new();
        for (names, node) in tree.descendants(super::tree::ROOT) {
            let Ok(content) = tree.content(node) else { continue };
            let Ok(path) = names.iter().try_fold(GuestPath::root(), |path, name| path.join(name)) else {
                continue;
            };
            let rights = self.rights_on(&path);
            if !rights.is_empty() {
                let len = rights.contains(Rights::FD_READ).then(|| content.len());
                files.push(FileInfo { path, len, rights });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    fn open_whole(
        &mut self,
        path: &GuestPath,
        options: OpenOptions,
        needed: Rights,
    ) -> Result<Handle, Errno> {
        let held = self.rights_on(path);
        let missing = needed.difference(held);
        if !missing.is_empty() {
            return Err(self.refuse(path, missing));
        }
        let options = OpenOptions { wanted: needed, ..options };
        let handle = self.open(None, path.as_str(), options)?;
        if handle.rights().contains(needed) { Ok(handle) } else { Err(self.refuse(path, needed)) }
    }

    fn write_all(&mut self, handle: &mut Handle, bytes: &[u8]) -> Result<(), Errno> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.write(handle, rest)?;
            rest = &rest[count..];
        }
        Ok(())
    }
}
