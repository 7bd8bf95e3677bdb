//! The tree itself: nodes, names and limits, without any idea of rights.

use std::collections::{BTreeMap, HashMap, VecDeque};

use cm_instance::GuestPath;

use super::content::Content;
use super::{Errno, VfsLimits};

/// Most symbolic links in the resolution of one name: what wasmtime's own host follows is 40, POSIX demands 8.
const HOPS_MAX: usize = 16;
/// Longest target of a symbolic link, in bytes, and longest name given to any call.
pub(super) const NAME_TEXT_MAX: usize = 4096;

pub(super) type NodeId = u64;
pub(super) const ROOT: NodeId = 0;

#[derive(Debug)]
pub(super) enum NodeBody {
    Directory(BTreeMap<String, NodeId>),
    File(Content),
    Symlink(String),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) body: NodeBody,
    /// Where the node is; a directory has at most one place, the root none.
    places: Vec<(NodeId, String)>,
    opens: u32,
    pub(super) accessed_ns: u64,
    pub(super) modified_ns: u64,
}

impl Node {
    pub(super) fn links(&self) -> usize {
        self.places.len()
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    nodes: HashMap<NodeId, Node>,
    next: NodeId,
    limits: VfsLimits,
    /// Names that directories hold, together.
    names: usize,
    used_bytes: u64,
    moves: u64,
}

/// What a name led to.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// The directory that the last name stands in; the root for the root itself.
    pub(super) parent: NodeId,
    /// The last name; empty for the root.
    pub(super) name: String,
    /// The path, free of symbolic links but for the last name if it was not to be followed.
    pub(super) path: GuestPath,
    /// What is there.
    pub(super) node: Option<NodeId>,
    /// Whether the name ended in a slash, so that it can only mean a directory.
    pub(super) must_be_directory: bool,
}

/// Why a name led nowhere.
#[derive(Clone, Debug)]
pub(super) enum ResolveError {
    /// The way leads over a path that the principal may not know.
    Unknown(GuestPath),
    Errno(Errno),
}

impl From<Errno> for ResolveError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl Tree {
    pub(super) fn new(limits: VfsLimits) -> Self {
        let mut tree = Self { nodes: HashMap::new(), next: ROOT, limits, used_bytes: 0, names: 0, moves: 0 };
        tree.add_node(NodeBody::Directory(BTreeMap::new()));
        tree
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Changes whenever a node may have got another path.
    pub(super) fn moves(&self) -> u64 {
        self.moves
    }

    pub(super) fn node(&self, id: NodeId) -> Result<&Node, Errno> {
        self.nodes.get(&id).ok_or(Errno::Noent)
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&id).ok_or(Errno::Noent)
    }

    pub(super) fn entries(&self, directory: NodeId) -> Result<&BTreeMap<String, NodeId>, Errno> {
        match &self.node(directory)?.body {
            NodeBody::Directory(entries) => Ok(entries),
            _ => Err(Errno::Notdir),
        }
    }

    fn entries_mut(&mut self, directory: NodeId) -> Result<&mut BTreeMap<String, NodeId>, Errno> {
        match &mut self.node_mut(directory)?.body {
            NodeBody::Directory(entries) => Ok(entries),
            _ => Err(Errno::Notdir),
        }
    }

    pub(super) fn entry(&self, directory: NodeId, name: &str) -> Result<Option<NodeId>, Errno> {
        Ok(self.entries(directory)?.get(name).copied())
    }

    /// The node at a path, symbolic links not followed.
    pub(super) fn find(&self, path: &GuestPath) -> Option<NodeId> {
        path.names().try_fold(ROOT, |directory, name| self.entry(directory, name).ok().flatten())
    }

    fn add_node(&mut self, body: NodeBody) -> NodeId {
        let id = self.next;
        self.next += 1;
        let node = Node { body, places: Vec::new(), opens: 0, accessed_ns: 0, modified_ns: 0 };
        self.nodes.insert(id, node);
        id
    }

    /// Adds a new node under a name that is free.
    pub(super) fn create(&mut self, parent: NodeId, name: &str, body: NodeBody) -> Result<NodeId, Errno> {
        if self.entry(parent, name)?.is_some() {
            return Err(Errno::Exist);
        }
        self.check_attached(parent)?;
        if self.nodes.len() >= self.limits.nodes {
            return Err(Errno::Nospc);
        }
        let id = self.add_node(body);
        self.attach(parent, name, id)?;
        Ok(id)
    }

    /// A directory that was removed while it was open takes no new entries.
    fn check_attached(&self, directory: NodeId) -> Result<(), Errno> {
        if directory == ROOT || self.node(directory)?.links() > 0 { Ok(()) } else { Err(Errno::Noent) }
    }

    fn attach(&mut self, parent: NodeId, name: &str, id: NodeId) -> Result<(), Errno> {
        self.entries_mut(parent)?.insert(name.to_owned(), id);
        self.node_mut(id)?.places.push((parent, name.to_owned()));
        self.names += 1;
        Ok(())
    }

    fn detach(&mut self, parent: NodeId, name: &str) -> Result<NodeId, Errno> {
        let id = self.entries_mut(parent)?.remove(name).ok_or(Errno::Noent)?;
        self.names -= 1;
        self.node_mut(id)?.places.retain(|(at, called)| !(*at == parent && called == name));
        Ok(id)
    }

    pub(super) fn make_directories(&mut self, path: &GuestPath) -> Result<NodeId, Errno> {
        let mut directory = ROOT;
        for name in path.names() {
            directory = match self.entry(directory, name)? {
                Some(entry) => entry,
                None => self.create(directory, name, NodeBody::Directory(BTreeMap::new()))?,
            };
        }
        self.entries(directory)?;
        Ok(directory)
    }

    /// Adds a second name to a file or link. Names take memory as nodes do, and are as many at most.
    pub(super) fn link(&mut self, node: NodeId, parent: NodeId, name: &str) -> Result<(), Errno> {
        if self.entry(parent, name)?.is_some() {
            return Err(Errno::Exist);
        }
        self.check_attached(parent)?;
        if self.names >= self.limits.nodes {
            return Err(Errno::Nospc);
        }
        self.moves += 1;
        self.attach(parent, name, node)
    }

    /// Takes a name away, and the node with its last name, unless it is open.
    pub(super) fn remove(&mut self, parent: NodeId, name: &str) -> Result<(), Errno> {
        let id = self.detach(parent, name)?;
        self.reap(id);
        Ok(())
    }

    /// Moves a node; what stands at the new name goes.
    pub(super) fn rename(&mut self, from: (NodeId, &str), to: (NodeId, &str)) -> Result<(), Errno> {
        self.check_attached(to.0)?;
        self.moves += 1;
        let id = self.detach(from.0, from.1)?;
        if self.entry(to.0, to.1)?.is_some() {
            self.remove(to.0, to.1)?;
        }
        self.attach(to.0, to.1, id)
    }

    pub(super) fn opened(&mut self, id: NodeId) -> Result<(), Errno> {
        self.node_mut(id)?.opens += 1;
        Ok(())
    }

    pub(super) fn closed(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.opens = node.opens.saturating_sub(1);
        }
        self.reap(id);
    }

    fn reap(&mut self, id: NodeId) {
        let unused = self.nodes.get(&id).is_some_and(|node| node.opens == 0 && node.links() == 0);
        if !unused || id == ROOT {
            return;
        }
        if let Some(Node { body: NodeBody::File(content), .. }) = self.nodes.remove(&id) {
            self.used_bytes -= content.held();
        }
    }

    fn content_mut(&mut self, id: NodeId) -> Result<&mut Content, Errno> {
        match &mut self.node_mut(id)?.body {
            NodeBody::File(content) => Ok(content),
            NodeBody::Directory(_) => Err(Errno::Isdir),
            NodeBody::Symlink(_) => Err(Errno::Inval),
        }
    }

    pub(super) fn content(&self, id: NodeId) -> Result<&Content, Errno> {
        match &self.node(id)?.body {
            NodeBody::File(content) => Ok(content),
            NodeBody::Directory(_) => Err(Errno::Isdir),
            NodeBody::Symlink(_) => Err(Errno::Inval),
        }
    }

    /// Writes as much as the limits allow, at least one byte or an error; says how much.
    pub(super) fn write(&mut self, id: NodeId, at: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let room = self.limits.storage_bytes - self.used_bytes.min(self.limits.storage_bytes);
        let file_bytes = self.limits.file_bytes;
        let content = self.content_mut(id)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let left = usize::try_from(file_bytes.saturating_sub(at)).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(left)];
        if bytes.is_empty() {
            return Err(Errno::Fbig);
        }
        let cost = content.cost(at, bytes.len());
        if cost > room {
            return Err(Errno::Nospc);
        }
        content.write(at, bytes);
        self.used_bytes += cost;
        Ok(bytes.len())
    }

    /// Replaces a file's whole content, or makes the file. Nothing changes if there is no room.
    pub(super) fn replace(&mut self, parent: NodeId, name: &str, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.len() as u64 > self.limits.file_bytes {
            return Err(Errno::Fbig);
        }
        let entry = self.entry(parent, name)?;
        let held = entry.map_or(Ok(0), |node| self.content(node).map(Content::held))?;
        if bytes.len() as u64 > self.limits.storage_bytes.saturating_sub(self.used_bytes - held) {
            return Err(Errno::Nospc);
        }
        let node = match entry {
            Some(node) => node,
            None => self.create(parent, name, NodeBody::File(Content::default()))?,
        };
        self.set_len(node, 0)?;
        self.write(node, 0, bytes).map(drop)
    }

    /// A file in no directory, which lives until it is closed. Fails if there is no room for `length` bytes.
    pub(super) fn stage(&mut self, length: u64) -> Result<NodeId, Errno> {
        if length > self.limits.file_bytes {
            return Err(Errno::Fbig);
        }
        if length > self.limits.storage_bytes.saturating_sub(self.used_bytes) {
            return Err(Errno::Nospc);
        }
        let node = self.add_node(NodeBody::File(Content::default()));
        self.opened(node)?;
        Ok(node)
    }

    /// Makes the bytes of a staged file the content of a file, or its end. The staged file is gone then; on an error
    /// nothing has changed.
    pub(super) fn take_over(
        &mut self,
        staged: NodeId,
        parent: NodeId,
        name: &str,
        append: bool,
    ) -> Result<(), Errno> {
        let entry = self.entry(parent, name)?;
        let before = entry.map_or(Ok(0), |node| self.content(node).map(Content::len))?;
        let added = self.content(staged)?.len();
        if append && before.saturating_add(added) > self.limits.file_bytes {
            return Err(Errno::Fbig);
        }
        let node = match entry {
            Some(node) => node,
            None => self.create(parent, name, NodeBody::File(Content::default()))?,
        };
        let bytes = std::mem::take(self.content_mut(staged)?);
        let staged_held = bytes.held();
        let content = self.content_mut(node)?;
        let held = content.held();
        if append {
            content.append(bytes);
        } else {
            *content = bytes;
        }
        let after = content.held();
        self.used_bytes = self.used_bytes - staged_held - held + after;
        self.closed(staged);
        Ok(())
    }

    pub(super) fn set_len(&mut self, id: NodeId, len: u64) -> Result<(), Errno> {
        let file_bytes = self.limits.file_bytes;
        let content = self.content_mut(id)?;
        if len > file_bytes {
            return Err(Errno::Fbig);
        }
        let before = content.held();
        content.set_len(len);
        let after = content.held();
        self.used_bytes = self.used_bytes - before + after;
        Ok(())
    }

    fn place_path(&self, place: &(NodeId, String)) -> Option<GuestPath> {
        self.paths(place.0).first()?.join(&place.1).ok()
    }

    /// Every path of a node; none if it was removed.
    pub(super) fn paths(&self, id: NodeId) -> Vec<GuestPath> {
        if id == ROOT {
            return vec![GuestPath::root()];
        }
        let places = self.nodes.get(&id).map_or(&[][..], |node| node.places.as_slice());
        places.iter().filter_map(|place| self.place_path(place)).collect()
    }

    pub(super) fn path(&self, id: NodeId) -> Result<GuestPath, Errno> {
        self.paths(id).into_iter().next().ok_or(Errno::Noent)
    }

    fn parent(&self, directory: NodeId) -> Result<NodeId, Errno> {
        Ok(self.node(directory)?.places.first().ok_or(Errno::Noent)?.0)
    }

    /// Everything below a node with the names from there on, the node itself first with none.
    pub(super) fn descendants(&self, id: NodeId) -> Vec<(Vec<String>, NodeId)> {
        let mut found = vec![(Vec::new(), id)];
        let mut next = 0;
        while let Some((names, id)) = found.get(next).cloned() {
            next += 1;
            if let Ok(entries) = self.entries(id) {
                found.extend(entries.iter().map(|(name, &entry)| {
                    let mut names = names.clone();
                    names.push(name.clone());
                    (names, entry)
                }));
            }
        }
        found
    }

    /// Follows a name from a directory on. `knows` says whether the principal may know of a path; a way over
    /// one that it may not know ends there, whatever is or is not behind it.
    pub(super) fn resolve(
        &self,
        start: NodeId,
        text: &str,
        follow_last: bool,
        knows: &dyn Fn(&GuestPath) -> bool,
    ) -> Result<Resolved, ResolveError> {
        check_text(text)?;
        let mut directory = if text.starts_with('/') { ROOT } else { start };
        let mut path = self.path(directory)?;
        self.entries(directory)?;
        let mut names: VecDeque<String> = parts(text);
        let mut must_be_directory = text.ends_with('/');
        let mut hops = 0;
        while let Some(name) = names.pop_front() {
            if name == ".." {
                if directory == ROOT {
                    return Err(ResolveError::Unknown(GuestPath::root()));
                }
                directory = self.parent(directory)?;
                path = self.path(directory)?;
                continue;
            }
            let entry_path = path.join(&name).map_err(Errno::from)?;
            let entry = self.entry(directory, &name)?;
            let is_last = names.is_empty();
            let target = match entry.map(|id| self.node(id)).transpose()?.map(|node| &node.body) {
                Some(NodeBody::Symlink(target)) if !is_last || follow_last || must_be_directory => {
                    Some(target)
                }
                _ => None,
            };
            if is_last && target.is_none() {
                return Ok(Resolved {
                    parent: directory,
                    name,
                    path: entry_path,
                    node: entry,
                    must_be_directory,
                });
            }
            if !knows(&entry_path) {
                return Err(ResolveError::Unknown(entry_path));
            }
            match target {
                Some(target) => {
                    hops += 1;
                    if hops > HOPS_MAX || names.len() > NAME_TEXT_MAX {
                        return Err(Errno::Loop.into());
                    }
                    if target.starts_with('/') {
                        directory = ROOT;
                        path = GuestPath::root();
                    }
                    must_be_directory |= is_last && target.ends_with('/');
                    for part in parts(target).into_iter().rev() {
                        names.push_front(part);
                    }
                }
                None => {
                    directory = entry.ok_or(Errno::Noent)?;
                    self.entries(directory)?;
                    path = entry_path;
                }
            }
        }
        let parent = if directory == ROOT { ROOT } else { self.parent(directory)? };
        let name = path.file_name().unwrap_or_default().to_owned();
        Ok(Resolved { parent, name, path, node: Some(directory), must_be_directory: true })
    }
}

fn parts(text: &str) -> VecDeque<String> {
    text.split('/').filter(|name| !name.is_empty() && *name != ".").map(str::to_owned).collect()
}

pub(super) fn check_text(text: &str) -> Result<(), Errno> {
    if text.is_empty() {
        return Err(Errno::Noent);
    }
    if text.len() > NAME_TEXT_MAX {
        return Err(Errno::Nametoolong);
    }
    if text.contains('\0') { Err(Errno::Inval) } else { Ok(()) }
}
