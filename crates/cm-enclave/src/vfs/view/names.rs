//! Calls on names.

use std::collections::BTreeMap;

use cm_instance::{Grants, GuestPath, Rights};

use super::{TimeChange, View, set_times, stat};
use crate::vfs::content::Content;
use crate::vfs::tree::{NodeBody, NodeId, Resolved, Tree, check_text};
use crate::vfs::{Errno, Handle, NodeKind, NodeStat, OpenOptions};

/// The rights that let bytes in or out. Two names of one file must agree in these for everybody.
const CONTENT: Rights = Rights::FD_READ
    .union(Rights::FD_WRITE)
    .union(Rights::FD_ALLOCATE)
    .union(Rights::FD_FILESTAT_SET_SIZE)
    .union(Rights::PATH_FILESTAT_SET_SIZE)
    .union(Rights::FILE_EXECUTE);

impl View {
    /// Opens a file or directory, relative to an open directory or else to the root.
    ///
    /// Needs `PATH_OPEN`, to create it `PATH_CREATE_FILE`, to empty it `PATH_FILESTAT_SET_SIZE`. The handle
    /// gets those of the wanted rights that the policy gives, and no others.
    pub fn open(&mut self, base: Option<&Handle>, name: &str, options: OpenOptions) -> Result<Handle, Errno> {
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        let follow = options.follow && !(options.create && options.exclusive);
        let mut needed = Rights::PATH_OPEN;
        if options.truncate {
            needed = needed | Rights::PATH_FILESTAT_SET_SIZE;
        }
        let (resolved, held) = self.resolve_for(&tree, base, name, follow, needed)?;
        let node = match resolved.node {
            Some(_) if options.create && options.exclusive => return Err(Errno::Exist),
            Some(node) => node,
            None if !options.create => return Err(Errno::Noent),
            None => {
                self.require(&resolved.path, held, Rights::PATH_CREATE_FILE)?;
                if resolved.must_be_directory || options.directory {
                    return Err(Errno::Isdir);
                }
                tree.create(resolved.parent, &resolved.name, NodeBody::File(Content::default()))?
            }
        };
        let kind = match tree.node(node)?.body {
            NodeBody::Directory(_) => NodeKind::Directory,
            NodeBody::File(_) => NodeKind::File,
            NodeBody::Symlink(_) => return Err(Errno::Loop),
        };
        match kind {
            NodeKind::Directory if options.truncate || options.create => return Err(Errno::Isdir),
            NodeKind::File if options.directory || resolved.must_be_directory => return Err(Errno::Notdir),
            NodeKind::File if options.truncate => tree.set_len(node, 0)?,
            _ => {}
        }
        tree.opened(node)?;
        Ok(Handle {
            vfs: self.vfs.clone(),
            node,
            kind,
            path: resolved.path,
            rights: options.wanted & held,
            moves: tree.moves(),
            position: 0,
            append: options.append,
        })
    }

    /// What can be learnt about what a name leads to.
    pub fn stat_name(&mut self, base: Option<&Handle>, name: &str, follow: bool) -> Result<NodeStat, Errno> {
        let vfs = self.vfs.clone();
        let tree = Self::lock(&vfs);
        let (resolved, _) = self.resolve_for(&tree, base, name, follow, Rights::PATH_FILESTAT_GET)?;
        stat(&tree, found(&tree, &resolved)?)
    }

    /// Sets the times of what a name leads to.
    pub fn set_times_of_name(
        &mut self,
        base: Option<&Handle>,
        name: &str,
        follow: bool,
        change: TimeChange,
    ) -> Result<(), Errno> {
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        let (resolved, _) = self.resolve_for(&tree, base, name, follow, Rights::PATH_FILESTAT_SET_TIMES)?;
        let node = found(&tree, &resolved)?;
        set_times(&mut tree, node, change)
    }

    /// Makes a directory.
    pub fn create_directory(&mut self, base: Option<&Handle>, name: &str) -> Result<(), Errno> {
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        let (resolved, _) = self.resolve_for(&tree, base, name, false, Rights::PATH_CREATE_DIRECTORY)?;
        if resolved.node.is_some() {
            return Err(Errno::Exist);
        }
        tree.create(resolved.parent, &resolved.name, NodeBody::Directory(BTreeMap::new())).map(drop)
    }

    /// Removes an empty directory.
    pub fn remove_directory(&mut self, base: Option<&Handle>, name: &str) -> Result<(), Errno> {
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        let (resolved, _) = self.resolve_for(&tree, base, name, false, Rights::PATH_REMOVE_DIRECTORY)?;
        let node = found(&tree, &resolved)?;
        if resolved.path.is_root() {
            return Err(Errno::Inval);
        }
        if !tree.entries(node)?.is_empty() {
            return Err(Errno::Notempty);
        }
        tree.remove(resolved.parent, &resolved.name)
    }

    /// Removes a file or a symbolic link.
    pub fn unlink(&mut self, base: Option<&Handle>, name: &str) -> Result<(), Errno> {
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        let (resolved, _) = self.resolve_for(&tree, base, name, false, Rights::PATH_UNLINK_FILE)?;
        let node = found(&tree, &resolved)?;
        if tree.entries(node).is_ok() {
            return Err(Errno::Isdir);
        }
        tree.remove(resolved.parent, &resolved.name)
    }

    /// Makes a symbolic link. The target is a text; it is judged whenever somebody follows it.
    pub fn symlink(&mut self, target: &str, base: Option<&Handle>, name: &str) -> Result<(), Errno> {
        check_text(target)?;
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        let (resolved, _) = self.resolve_for(&tree, base, name, false, Rights::PATH_SYMLINK)?;
        if resolved.node.is_some() {
            return Err(Errno::Exist);
        }
        tree.create(resolved.parent, &resolved.name, NodeBody::Symlink(target.to_owned())).map(drop)
    }

    /// Where a symbolic link leads.
    pub fn read_link(&mut self, base: Option<&Handle>, name: &str) -> Result<String, Errno> {
        let vfs = self.vfs.clone();
        let tree = Self::lock(&vfs);
        let (resolved, _) = self.resolve_for(&tree, base, name, false, Rights::PATH_READLINK)?;
        match &tree.node(found(&tree, &resolved)?)?.body {
            NodeBody::Symlink(target) => Ok(target.clone()),
            _ => Err(Errno::Inval),
        }
    }

    /// Gives a file a second name. Both names must mean the same to everybody: the link is refused if any
    /// principal has other content rights on the new one than on the old.
    pub fn link(
        &mut self,
        from: (Option<&Handle>, &str, bool),
        to: (Option<&Handle>, &str),
    ) -> Result<(), Errno> {
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        let (source, _) = self.resolve_for(&tree, from.0, from.1, from.2, Rights::PATH_LINK_SOURCE)?;
        let (target, _) = self.resolve_for(&tree, to.0, to.1, false, Rights::PATH_LINK_TARGET)?;
        self.require_equal(&source.path, &target.path)?;
        let node = found(&tree, &source)?;
        if tree.entries(node).is_ok() {
            return Err(Errno::Isdir);
        }
        if target.must_be_directory {
            return Err(Errno::Noent);
        }
        tree.link(node, target.parent, &target.name)
    }

    /// Moves a file, a link, or a directory with everything in it.
    pub fn rename(
        &mut self,
        from: (Option<&Handle>, &str),
        to: (Option<&Handle>, &str),
    ) -> Result<(), Errno> {
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        let (source, _) = self.resolve_for(&tree, from.0, from.1, false, Rights::PATH_RENAME_SOURCE)?;
        let (target, _) = self.resolve_for(&tree, to.0, to.1, false, Rights::PATH_RENAME_TARGET)?;
        let node = found(&tree, &source)?;
        if target.node == Some(node) {
            return Ok(());
        }
        if source.path.is_root() || target.path.is_root() || source.path.covers(&target.path) {
            return Err(Errno::Inval);
        }
        let is_directory = tree.entries(node).is_ok();
        if target.must_be_directory && !is_directory {
            return Err(Errno::Notdir);
        }
        if let Some(replaced) = target.node {
            match tree.entries(replaced) {
                Ok(entries) if !entries.is_empty() => return Err(Errno::Notempty),
                Ok(_) if !is_directory => return Err(Errno::Isdir),
                Err(_) if is_directory => return Err(Errno::Notdir),
                _ => {}
            }
        }
        for (names, moved) in tree.descendants(node) {
            let below = |path: &GuestPath| names.iter().try_fold(path.clone(), |path, name| path.join(name));
            let (old, new) = (below(&source.path)?, below(&target.path)?);
            self.require_movable(&tree, moved, &old, &new)?;
        }
        tree.rename((source.parent, &source.name), (target.parent, &target.name))
    }

    /// Whether one node may go from one path to another; see the rules in [`crate::vfs`].
    fn require_movable(
        &mut self,
        tree: &Tree,
        node: NodeId,
        old: &GuestPath,
        new: &GuestPath,
    ) -> Result<(), Errno> {
        self.require(old, self.grants.rights_on(old), Rights::PATH_RENAME_SOURCE)?;
        self.require(new, self.grants.rights_on(new), Rights::PATH_RENAME_TARGET)?;
        if tree.node(node)?.links() > 1 {
            return self.require_equal(old, new);
        }
        let reads = |grants: &Grants, path: &GuestPath| grants.rights_on(path).contains(Rights::FD_READ);
        let all_read_already =
            self.table.principals().all(|(_, grants)| !reads(grants, new) || reads(grants, old));
        if all_read_already || reads(&self.grants, old) {
            return Ok(());
        }
        Err(self.refuse(old, Rights::FD_READ))
    }

    fn require_equal(&mut self, old: &GuestPath, new: &GuestPath) -> Result<(), Errno> {
        let content = |grants: &Grants, path: &GuestPath| grants.rights_on(path) & CONTENT;
        let own = (content(&self.grants, old), content(&self.grants, new));
        let equal = self.table.principals().all(|(_, grants)| content(grants, old) == content(grants, new));
        if equal && own.0 == own.1 {
            return Ok(());
        }
        let missing = own.1.difference(own.0);
        Err(self.refuse(old, if missing.is_empty() { Rights::PATH_LINK_SOURCE } else { missing }))
    }
}

/// The node that a name led to, if it is of the kind that the name demands.
fn found(tree: &Tree, resolved: &Resolved) -> Result<NodeId, Errno> {
    let node = resolved.node.ok_or(Errno::Noent)?;
    if resolved.must_be_directory {
        tree.entries(node)?;
    }
    Ok(node)
}
