//! An open file.

use cm_instance::{GuestPath, Rights};

use super::Vfs;
use super::tree::NodeId;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A symbolic link.
    Symlink,
}

/// What can be learnt about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeStat {
    /// Its number, never given to another node.
    pub inode: u64,
    /// What it is.
    pub kind: NodeKind,
    /// How many names it has.
    pub links: u64,
    /// Its length in bytes; that of the target's text for a symbolic link, 0 for a directory.
    pub len: u64,
    /// The time of access, in nanoseconds since 1970; 0 unless somebody set it.
    pub accessed_ns: u64,
    /// The time of change, in the same way.
    pub modified_ns: u64,
}

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// The rights that the handle shall have; it gets those of them that the policy gives.
    pub wanted: Rights,
    /// Make the file if it is missing.
    pub create: bool,
    /// Refuse if the file exists.
    pub exclusive: bool,
    /// Empty the file.
    pub truncate: bool,
    /// Refuse what is no directory.
    pub directory: bool,
    /// Follow a symbolic link at the name's end.
    pub follow: bool,
    /// Write at the end, wherever the position is.
    pub append: bool,
}

/// Where a seek counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// The file's beginning.
    Set,
    /// The current position.
    Current,
    /// The file's end.
    End,
}

/// An open file or directory. Its node lives until it is dropped, with or without a name.
#[derive(Debug)]
pub struct Handle {
    pub(super) vfs: Vfs,
    pub(super) node: NodeId,
    pub(super) kind: NodeKind,
    /// Where it was when its rights were last computed.
    pub(super) path: GuestPath,
    pub(super) rights: Rights,
    /// The tree's count of moves at that time.
    pub(super) moves: u64,
    pub(super) position: u64,
    pub(super) append: bool,
}

impl Handle {
    /// What it is.
    pub fn kind(&self) -> NodeKind {
        self.kind
    }

    /// The number of what it is open on, never given to anything else.
    pub fn inode(&self) -> u64 {
        self.node
    }

    /// From now on, writes go to the end.
    pub(crate) fn append_only(mut self) -> Self {
        self.append = true;
        self
    }

    /// The rights it had when last used; a move since then may have taken some away.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// Where it was when last used.
    pub fn path(&self) -> &GuestPath {
        &self.path
    }

    /// Whether writes go to the end.
    pub fn is_append(&self) -> bool {
        self.append
    }

    /// Gives up every right but these, for good.
    pub fn restrict(&mut self, rights: Rights) {
        self.rights = self.rights.intersection(rights);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.vfs.lock().closed(self.node);
    }
}
