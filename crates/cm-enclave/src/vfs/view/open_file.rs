//! Calls on an open file.

use cm_instance::Rights;

use super::{DirectoryEntry, TimeChange, View, set_times, stat};
use crate::vfs::tree::NodeBody;
use crate::vfs::{Errno, Handle, NodeKind, NodeStat, Whence};

impl View {
    /// Reads from the position on into the buffers, one after the other, and moves the position. Says how
    /// many bytes; none at the end.
    pub fn read<'b>(
        &mut self,
        handle: &mut Handle,
        buffers: impl Iterator<Item = &'b mut [u8]>,
    ) -> Result<usize, Errno> {
        let vfs = self.vfs.clone();
        let tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[Rights::FD_READ])?;
        let content = tree.content(handle.node)?;
        let mut total = 0;
        for buffer in buffers {
            let count = content.read(handle.position, buffer);
            handle.position += count as u64;
            total += count;
            if count < buffer.len() {
                break;
            }
        }
        Ok(total)
    }

    /// Reads at a place without moving the position.
    pub fn read_at(&mut self, handle: &mut Handle, at: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let vfs = self.vfs.clone();
        let tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[Rights::FD_READ | Rights::FD_SEEK])?;
        Ok(tree.content(handle.node)?.read(at, buffer))
    }

    /// Writes at the position, or at the end of a file opened for that, and moves the position. Says how
    /// many bytes; an error only if there is no room for the first.
    pub fn write(&mut self, handle: &mut Handle, bytes: &[u8]) -> Result<usize, Errno> {
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[Rights::FD_WRITE])?;
        if handle.append {
            handle.position = tree.content(handle.node)?.len();
        }
        let count = tree.write(handle.node, handle.position, bytes)?;
        handle.position += count as u64;
        Ok(count)
    }

    /// Writes at a place without moving the position.
    pub fn write_at(&mut self, handle: &mut Handle, at: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[Rights::FD_WRITE | Rights::FD_SEEK])?;
        tree.write(handle.node, at, bytes)
    }

    /// Moves the position; asking for it without moving is [`View::tell`].
    pub fn seek(&mut self, handle: &mut Handle, offset: i64, whence: Whence) -> Result<u64, Errno> {
        if offset == 0 && whence == Whence::Current {
            return self.tell(handle);
        }
        let vfs = self.vfs.clone();
        let tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[Rights::FD_SEEK])?;
        let from = match whence {
            Whence::Set => 0,
            Whence::Current => handle.position,
            Whence::End => tree.content(handle.node)?.len(),
        };
        handle.position = from.checked_add_signed(offset).ok_or(Errno::Inval)?;
        Ok(handle.position)
    }

    /// The position.
    pub fn tell(&mut self, handle: &mut Handle) -> Result<u64, Errno> {
        let vfs = self.vfs.clone();
        let tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[Rights::FD_TELL, Rights::FD_SEEK])?;
        Ok(handle.position)
    }

    /// Demands a right for a call that has no effect in memory, as `fd_sync`.
    pub fn check_open(&mut self, handle: &mut Handle, needed: Rights) -> Result<(), Errno> {
        let vfs = self.vfs.clone();
        let tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[needed])
    }

    /// Turns writing at the end on or off.
    pub fn set_append(&mut self, handle: &mut Handle, append: bool) -> Result<(), Errno> {
        self.check_open(handle, Rights::FD_FDSTAT_SET_FLAGS)?;
        handle.append = append;
        Ok(())
    }

    /// Makes the file at least so long.
    pub fn allocate(&mut self, handle: &mut Handle, len: u64) -> Result<(), Errno> {
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[Rights::FD_ALLOCATE])?;
        if len > tree.content(handle.node)?.len() { tree.set_len(handle.node, len) } else { Ok(()) }
    }

    /// Cuts the file, or lets it grow by a hole.
    pub fn set_len(&mut self, handle: &mut Handle, len: u64) -> Result<(), Errno> {
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[Rights::FD_FILESTAT_SET_SIZE])?;
        tree.set_len(handle.node, len)
    }

    /// What can be learnt about the file.
    pub fn stat(&mut self, handle: &mut Handle) -> Result<NodeStat, Errno> {
        let vfs = self.vfs.clone();
        let tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[Rights::FD_FILESTAT_GET])?;
        stat(&tree, handle.node)
    }

    /// The number of what is open, which also tells who may list the directory.
    pub fn inode(&mut self, handle: &mut Handle) -> Result<u64, Errno> {
        let vfs = self.vfs.clone();
        let tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[Rights::FD_FILESTAT_GET, Rights::FD_READDIR])?;
        Ok(handle.node)
    }

    /// Sets the file's times.
    pub fn set_times(&mut self, handle: &mut Handle, change: TimeChange) -> Result<(), Errno> {
        let vfs = self.vfs.clone();
        let mut tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[Rights::FD_FILESTAT_SET_TIMES])?;
        set_times(&mut tree, handle.node, change)
    }

    /// The entries of a directory that the principal may know of, in the order of their names.
    pub fn read_directory(&mut self, handle: &mut Handle) -> Result<Vec<DirectoryEntry>, Errno> {
        let vfs = self.vfs.clone();
        let tree = Self::lock(&vfs);
        self.require_open(&tree, handle, &[Rights::FD_READDIR])?;
        let directory = tree.path(handle.node)?;
        let mut entries = Vec::new();
        for (name, &inode) in tree.entries(handle.node)? {
            let path = directory.join(name)?;
            if !self.grants.may_know(&path) {
                continue;
            }
            let kind = match tree.node(inode)?.body {
                NodeBody::Directory(_) => NodeKind::Directory,
                NodeBody::File(_) => NodeKind::File,
                NodeBody::Symlink(_) => NodeKind::Symlink,
            };
            entries.push(DirectoryEntry { name: name.clone(), inode, kind });
        }
        Ok(entries)
    }
}
