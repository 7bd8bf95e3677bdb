//! The files as one principal may use them: every call resolves, asks for the rights, then acts.

mod names;
mod open_file;

use std::sync::{Arc, MutexGuard};

use cm_instance::report::DENIED_MAX;
use cm_instance::{DeniedAccess, Grants, GuestPath, Principal, Rights, RightsTable};

use super::tree::{NodeBody, NodeId, ROOT, ResolveError, Resolved, Tree};
use super::{Errno, Handle, NodeKind, NodeStat, Vfs};

/// One entry of a directory that the principal may know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name within the directory.
    pub name: String,
    /// Its node's number.
    pub inode: u64,
    /// What it is.
    pub kind: NodeKind,
}

/// New times of a node, in nanoseconds since 1970; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeChange {
    /// The time of access.
    pub accessed_ns: Option<u64>,
    /// The time of change.
    pub modified_ns: Option<u64>,
}

/// A principal's access to the files, and the list of what was refused to it.
#[derive(Debug)]
pub struct View {
    vfs: Vfs,
    table: Arc<RightsTable>,
    grants: Grants,
    call: &'static str,
    denied: Vec<DeniedAccess>,
    denied_count: u64,
    last_denied: Option<DeniedAccess>,
}

/// Calls that ordinary programs make as a hint and survive the refusal of. They are listed as refused, but
/// are not what a failed run is blamed on: Rust's `fs::read`, for one, asks for a file's size to reserve
/// memory, and under the published rights of a reader it must do without.
const HINTS: [&str; 5] =
    ["fd_filestat_get", "fd_advise", "descriptor.stat", "descriptor.advise", "descriptor.metadata-hash"];

impl View {
    /// The view of a principal. One that is not in the table may do nothing.
    pub fn new(vfs: Vfs, table: Arc<RightsTable>, principal: &Principal) -> Self {
        let grants = table.grants(principal).cloned().unwrap_or_default();
        Self { vfs, table, grants, call: "", denied: Vec::new(), denied_count: 0, last_denied: None }
    }

    /// The root directory as an open one, for which no right is needed: it grants nothing by itself, every
    /// name that starts from it is judged on its own.
    pub fn open_root(&self) -> Handle {
        let mut tree = self.vfs.lock();
        let opened = tree.opened(ROOT);
        debug_assert!(opened.is_ok(), "the root is never removed");
        Handle {
            vfs: self.vfs.clone(),
            node: ROOT,
            kind: NodeKind::Directory,
            path: GuestPath::root(),
            rights: self.grants.rights_on(&GuestPath::root()),
            moves: tree.moves(),
            position: 0,
            append: false,
        }
    }

    /// A second handle on what a handle is open on, with the same rights and a position of its own.
    pub fn duplicate(&self, handle: &Handle, position: u64) -> Result<Handle, Errno> {
        self.vfs.lock().opened(handle.node)?;
        Ok(Handle {
            vfs: self.vfs.clone(),
            node: handle.node,
            kind: handle.kind,
            path: handle.path.clone(),
            rights: handle.rights,
            moves: handle.moves,
            position,
            append: handle.append,
        })
    }

    /// Names the call under which refusals are listed from now on.
    pub fn begin(&mut self, call: &'static str) {
        self.call = call;
    }

    /// The first refusals, at most [`DENIED_MAX`].
    pub fn denied(&self) -> &[DeniedAccess] {
        &self.denied
    }

    /// How many accesses were refused in all.
    pub fn denied_count(&self) -> u64 {
        self.denied_count
    }

    /// The last refusal that a program does not make as a mere hint.
    pub fn last_denied(&self) -> Option<&DeniedAccess> {
        self.last_denied.as_ref()
    }

    /// The rights on a path that is free of symbolic links, as the table says.
    pub fn rights_on(&self, path: &GuestPath) -> Rights {
        self.grants.rights_on(path)
    }

    pub(super) fn refuse(&mut self, path: &GuestPath, right: Rights) -> Errno {
        let denied = DeniedAccess { path: path.clone(), right, call: self.call.to_owned() };
        self.denied_count += 1;
        if !HINTS.contains(&self.call) {
            self.last_denied = Some(denied.clone());
        }
        if self.denied.len() < DENIED_MAX && !self.denied.contains(&denied) {
            self.denied.push(denied);
        }
        Errno::Notcapable
    }

    fn require(&mut self, path: &GuestPath, held: Rights, needed: Rights) -> Result<(), Errno> {
        let missing = needed.difference(held);
        if missing.is_empty() { Ok(()) } else { Err(self.refuse(path, missing)) }
    }

    /// The rights on what a name resolved to: those that the principal has on all of its paths.
    fn held(&self, tree: &Tree, resolved: &Resolved) -> Rights {
        let named = self.grants.rights_on(&resolved.path);
        let Some(node) = resolved.node else { return named };
        tree.paths(node).iter().fold(named, |held, path| held & self.grants.rights_on(path))
    }

    fn resolve(
        &mut self,
        tree: &Tree,
        base: Option<&Handle>,
        name: &str,
        follow: bool,
        wanted: Rights,
    ) -> Result<Resolved, Errno> {
        let start = base.map_or(ROOT, |handle| handle.node);
        let grants = &self.grants;
        match tree.resolve(start, name, follow, &|path| grants.may_know(path)) {
            Ok(resolved) => Ok(resolved),
            Err(ResolveError::Errno(errno)) => Err(errno),
            Err(ResolveError::Unknown(path)) => Err(self.refuse(&path, wanted)),
        }
    }

    /// Resolves a name and demands the rights before saying whether anything is there.
    fn resolve_for(
        &mut self,
        tree: &Tree,
        base: Option<&Handle>,
        name: &str,
        follow: bool,
        needed: Rights,
    ) -> Result<(Resolved, Rights), Errno> {
        let resolved = self.resolve(tree, base, name, follow, needed)?;
        let held = self.held(tree, &resolved);
        self.require(&resolved.path, held, needed)?;
        Ok((resolved, held))
    }

    /// Computes a handle's rights anew if anything moved since it was last used.
    fn refresh(&self, tree: &Tree, handle: &mut Handle) {
        if handle.moves == tree.moves() {
            return;
        }
        handle.moves = tree.moves();
        let paths = tree.paths(handle.node);
        handle.rights = paths.iter().fold(handle.rights, |rights, path| rights & self.grants.rights_on(path));
        if let Some(path) = paths.into_iter().next() {
            handle.path = path;
        }
    }

    /// Demands a right of an open file; one of several, if several are given as alternatives.
    fn require_open(&mut self, tree: &Tree, handle: &mut Handle, any_of: &[Rights]) -> Result<(), Errno> {
        self.refresh(tree, handle);
        if any_of.iter().any(|&rights| handle.rights.contains(rights)) {
            return Ok(());
        }
        let missing = any_of.first().map_or(Rights::NONE, |rights| rights.difference(handle.rights));
        Err(self.refuse(&handle.path, missing))
    }

    /// The lock on the tree, through a second pointer, so that `self` stays free for the checks.
    fn lock(vfs: &Vfs) -> MutexGuard<'_, Tree> {
        vfs.lock()
    }
}

fn stat(tree: &Tree, id: NodeId) -> Result<NodeStat, Errno> {
    let node = tree.node(id)?;
    let (kind, len) = match &node.body {
        NodeBody::Directory(_) => (NodeKind::Directory, 0),
        NodeBody::File(content) => (NodeKind::File, content.len()),
        NodeBody::Symlink(target) => (NodeKind::Symlink, target.len() as u64),
    };
    Ok(NodeStat {
        inode: id,
        kind,
        links: node.links().max(1) as u64,
        len,
        accessed_ns: node.accessed_ns,
        modified_ns: node.modified_ns,
    })
}

fn set_times(tree: &mut Tree, id: NodeId, change: TimeChange) -> Result<(), Errno> {
    let node = tree.node_mut(id)?;
    node.accessed_ns = change.accessed_ns.unwrap_or(node.accessed_ns);
    node.modified_ns = change.modified_ns.unwrap_or(node.modified_ns);
    Ok(())
}
