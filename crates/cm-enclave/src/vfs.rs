//! The files of an instance: in memory, limited, and seen by each principal only as its rights allow.
//!
//! # Model
//!
//! A [`Vfs`] is a tree of directories, files and symbolic links, shared by everybody in the instance. Nobody
//! but the instance itself touches it directly; a principal has a [`View`], which resolves a name completely
//! (`.`, `..`, symbolic links, absolute names) and only then asks the rights table about the **resolved**
//! path. What the name looked like does not matter.
//!
//! # What a right on a path means when files move
//!
//! A file's rights are those of its path. If it has several paths (hard links), a principal has the rights
//! that it has on *all* of them. An open file does not keep rights by staying open: after anything in the
//! tree moved, they are computed again from where the file is now, and only ever shrink.
//!
//! Moving and linking must not give anybody bytes that were out of reach before:
//!
//! - a **hard link** is refused unless every principal has the same content rights on both paths;
//! - a **rename** is refused unless the one who renames could have copied (may read the source), or nobody
//!   can read the target who cannot read the source; a directory is renamed only if this holds, and the
//!   rights to rename are there, for everything in it;
//! - a **symbolic link** gives nothing: each hop is resolved and checked anew.
//!
//! # Limits
//!
//! Bytes of all files together, bytes of one file, and the number of nodes and of their names; a hole in a file costs nothing.
//! There is no time in the tree but what `*_set_times` put there, so that it cannot serve as a clock.

mod content;
mod errno;
mod handle;
mod staged;
#[cfg(test)]
mod tests;
mod tree;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cm_instance::{GuestPath, RightsTable};

pub use errno::Errno;
pub use handle::{Handle, NodeKind, NodeStat, OpenOptions, Whence};
pub use staged::Staged;
pub use view::{DirectoryEntry, TimeChange, View};

use content::Content;
use tree::Tree;

/// What the files of one instance may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VfsLimits {
    /// All files together, in bytes.
    pub storage_bytes: u64,
    /// One file, in bytes; also the farthest that a hole reaches.
    pub file_bytes: u64,
    /// Files, directories and links together.
    pub nodes: usize,
}

impl Default for VfsLimits {
    fn default() -> Self {
        Self { storage_bytes: 1 << 30, file_bytes: 1 << 30, nodes: 65_536 }
    }
}

/// The files of one instance. Clones share them.
#[derive(Clone, Debug)]
pub struct Vfs(Arc<Mutex<Tree>>);

impl Vfs {
    /// An empty tree. Directories that the table's paths lie in exist from the beginning, so that nobody
    /// needs the right to create them.
    pub fn new(limits: VfsLimits, table: &RightsTable) -> Self {
        let mut tree = Tree::new(limits);
        for (path, subtree) in table.paths() {
            let directory = if subtree { Some(path.clone()) } else { path.parent() };
            if let Some(directory) = directory {
                // Only the limit on nodes can refuse; then the directory is missing, which denies.
                let _ = tree.make_directories(&directory);
            }
        }
        Self(Arc::new(Mutex::new(tree)))
    }

    /// Replaces a file's content in the name of the instance itself, as when it provisions programs and data.
    /// Missing directories are made. On an error the file is as it was.
    pub fn store(&self, path: &GuestPath, bytes: &[u8]) -> Result<(), Errno> {
        let mut tree = self.lock();
        let parent = tree.make_directories(&path.parent().ok_or(Errno::Isdir)?)?;
        let name = path.file_name().ok_or(Errno::Isdir)?;
        tree.replace(parent, name, bytes)
    }

    /// Adds to a file's end in the name of the instance itself; the file and its directories are made if they
    /// are missing. On an error the file is as it was.
    pub fn append(&self, path: &GuestPath, bytes: &[u8]) -> Result<(), Errno> {
        let mut tree = self.lock();
        let Some(node) = tree.find(path) else {
            drop(tree);
            return self.store(path, bytes);
        };
        let end = tree.content(node)?.len();
        match tree.write(node, end, bytes) {
            Ok(count) if count < bytes.len() => {
                tree.set_len(node, end)?;
                Err(Errno::Fbig)
            }
            other => other.map(drop),
        }
    }

    /// A file's content in the name of the instance itself, as when it starts a program. Symbolic links are
    /// not followed, neither at the name's end nor on the way.
    pub fn load(&self, path: &GuestPath) -> Result<Vec<u8>, Errno> {
        let tree = self.lock();
        let node = tree.find(path).ok_or(Errno::Noent)?;
        Ok(tree.content(node)?.to_vec())
    }

    /// At most `len` bytes of a file from a place on, and the file's whole length, in the same way.
    pub fn load_part(&self, path: &GuestPath, at: u64, len: usize) -> Result<(Vec<u8>, u64), Errno> {
        let tree = self.lock();
        let content = tree.content(tree.find(path).ok_or(Errno::Noent)?)?;
        let available = usize::try_from(content.len().saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(available)];
        content.read(at, &mut bytes);
        Ok((bytes, content.len()))
    }

    /// A file's length in bytes; `None` if there is no file of this name.
    pub fn file_len(&self, path: &GuestPath) -> Option<u64> {
        let tree = self.lock();
        tree.content(tree.find(path)?).ok().map(Content::len)
    }

    /// Every file with its length, in the order of the paths.
    pub fn files(&self) -> Vec<(GuestPath, u64)> {
        let tree = self.lock();
        let mut files = Vec::new();
        for (names, node) in tree.descendants(tree::ROOT) {
            let path = names.iter().try_fold(GuestPath::root(), |path, name| path.join(name));
            if let (Ok(content), Ok(path)) = (tree.content(node), path) {
                files.push((path, content.len()));
            }
        }
        files.sort();
        files
    }

    /// Whether there is anything of this name, symbolic links not followed.
    pub fn exists(&self, path: &GuestPath) -> bool {
        self.lock().find(path).is_some()
    }

    /// Bytes that all files take together.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes()
    }

    /// Every change to the tree is complete before the lock is given back, so that a panic elsewhere in the
    /// process leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
