//! A file that nobody sees until it is whole.

use cm_instance::GuestPath;

use super::tree::NodeId;
use super::{Errno, Vfs};

/// Bytes on their way into a file: they count, and are in no directory. Dropped, they are gone.
#[derive(Debug)]
pub struct Staged {
    vfs: Vfs,
    node: Option<NodeId>,
    length: u64,
}

impl Vfs {
    /// Begins a file of about `length` bytes. Fails at once if there will be no room for it.
    pub fn stage(&self, length: u64) -> Result<Staged, Errno> {
        let node = self.lock().stage(length)?;
        Ok(Staged { vfs: self.clone(), node: Some(node), length: 0 })
    }
}

impl Staged {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let node = self.node.ok_or(Errno::Badf)?;
        let written = self.vfs.lock().write(node, self.length, bytes)?;
        self.length += written as u64;
        if written < bytes.len() { Err(Errno::Fbig) } else { Ok(()) }
    }

    /// Makes the bytes the file's whole content, or adds them to its end, in one step. Missing directories are made. On an
    /// error the file is as it was, and the bytes are gone.
    pub fn commit(mut self, path: &GuestPath, append: bool) -> Result<(), Errno> {
        let node = self.node.ok_or(Errno::Badf)?;
        let mut tree = self.vfs.lock();
        let parent = tree.make_directories(&path.parent().ok_or(Errno::Isdir)?)?;
        let name = path.file_name().ok_or(Errno::Isdir)?;
        tree.take_over(node, parent, name, append)?;
        drop(tree);
        self.node = None;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            self.vfs.lock().closed(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use cm_instance::RightsTable;

    use super::*;
    use crate::vfs::VfsLimits;

    const LIMITS: VfsLimits = VfsLimits { storage_bytes: 1_000_000, file_bytes: 600_000, nodes: 100 };

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    fn vfs() -> Vfs {
        Vfs::new(LIMITS, &RightsTable::default())
    }

    fn staged(vfs: &Vfs, byte: u8, length: usize) -> Staged {
        let mut staged = vfs.stage(length as u64).unwrap();
        for piece in vec![byte; length].chunks(70_001) {
            staged.push(piece).unwrap();
        }
        staged
    }

    #[test]
    fn a_file_appears_whole_and_is_counted_once() {
        let vfs = vfs();
        let first = staged(&vfs, 1, 200_000);
        assert_eq!((vfs.files().len(), vfs.used_bytes()), (0, 200_000));
        first.commit(&path("/in/video"), false).unwrap();
        assert_eq!((vfs.file_len(&path("/in/video")), vfs.used_bytes()), (Some(200_000), 200_000));
        staged(&vfs, 2, 300_000).commit(&path("/in/video"), true).unwrap();
        assert_eq!((vfs.file_len(&path("/in/video")), vfs.used_bytes()), (Some(500_000), 500_000));
        let bytes = vfs.load(&path("/in/video")).unwrap();
        assert!(
            bytes[..200_000].iter().all(|byte| *byte == 1) && bytes[200_000..].iter().all(|byte| *byte == 2)
        );
        staged(&vfs, 3, 100_000).commit(&path("/in/video"), false).unwrap();
        assert_eq!((vfs.file_len(&path("/in/video")), vfs.used_bytes()), (Some(100_000), 100_000));
    }

    #[test]
    fn what_is_given_up_or_refused_leaves_nothing() {
        let vfs = vfs();
        drop(staged(&vfs, 1, 400_000));
        assert_eq!(vfs.used_bytes(), 0);
        assert_eq!(vfs.stage(600_001).unwrap_err(), Errno::Fbig);
        staged(&vfs, 1, 500_000).commit(&path("/x"), false).unwrap();
        assert_eq!(vfs.stage(500_001).unwrap_err(), Errno::Nospc);
        assert_eq!(staged(&vfs, 2, 200_000).commit(&path("/x"), true).unwrap_err(), Errno::Fbig);
        assert_eq!(staged(&vfs, 2, 200_000).commit(&path("/x/y"), false).unwrap_err(), Errno::Notdir);
        assert_eq!(staged(&vfs, 2, 200_000).commit(&path("/"), false).unwrap_err(), Errno::Isdir);
        assert_eq!((vfs.file_len(&path("/x")), vfs.used_bytes()), (Some(500_000), 500_000));
        let mut over = vfs.stage(1).unwrap();
        assert_eq!(over.push(&vec![0; 600_000]).unwrap_err(), Errno::Nospc);
    }
}
