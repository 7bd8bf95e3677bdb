//! A file that has to stay what it is while it is sent.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::ClientError;

/// What tells a file apart from another of the same name, and from itself when it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    pub(crate) size: u64,
    modified: (i64, i64),
}

impl Identity {
    pub(crate) fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    }
}

/// Reads a file. One that is written to meanwhile ends in an error, before its last bytes: what was read at different moments may
/// never have been one file. Pipes and devices, which have no state to compare, are read as they come.
#[derive(Debug)]
pub struct SteadyFile {
    file: File,
    name: String,
    identity: Option<Identity>,
    position: u64,
}

impl SteadyFile {
    /// Opens a file as it is now.
    ///
    /// # Errors
    /// [`ClientError::File`].
    pub fn open(path: &Path) -> Result<SteadyFile, ClientError> {
        let name = path.display().to_string();
        let failed = |source| ClientError::File { path: name.clone(), source };
        let file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        let identity = found.is_file().then(|| Identity::of(&found));
        Ok(SteadyFile { file, name, identity, position: 0 })
    }

    /// Its length, if it is known before it is read.
    pub fn size(&self) -> Option<u64> {
        self.identity.map(|identity| identity.size)
    }
}

impl Read for SteadyFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(identity) = self.identity else { return self.file.read(buffer) };
        if buffer.is_empty() {
            return Ok(0);
        }
        let left = usize::try_from(identity.size - self.position).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let read = self.file.read(&mut buffer[..wanted])?;
        self.position += read as u64;
        let is_cut = read == 0 && left > 0;
        // Whoever has announced the length does not ask for more once it has it.
        let is_end = self.position == identity.size;
        if is_cut || is_end && Identity::of(&self.file.metadata()?) != identity {
            return Err(std::io::Error::other(ClientError::FileChanged(self.name.clone())));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &[u8] = b"what is in it";

    /// Reads a file of which something is done after the first byte: all of it, or why not.
    fn read(meanwhile: impl FnOnce(&Path)) -> std::io::Result<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, CONTENT).unwrap();
        // Older than whatever happens to it, however coarse the clock of the file system is.
        File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        let mut file = SteadyFile::open(&path).unwrap();
        assert_eq!(file.size(), Some(CONTENT.len() as u64));
        let mut all = vec![0];
        file.read_exact(&mut all)?;
        meanwhile(&path);
        file.read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn a_file_that_is_written_to_is_not_read_to_its_end() {
        assert_eq!(read(|_| ()).unwrap(), CONTENT);
        // What takes its name is another file.
        assert_eq!(read(|path| std::fs::remove_file(path).unwrap()).unwrap(), CONTENT);
        let append = |path: &Path| {
            use std::io::Write;
            File::options().append(true).open(path).unwrap().write_all(b"!").unwrap();
        };
        let cut = |path: &Path| File::options().write(true).open(path).unwrap().set_len(3).unwrap();
        let alter = |path: &Path| std::fs::write(path, [b'x'; CONTENT.len()]).unwrap();
        for meanwhile in [&append as &dyn Fn(&Path), &cut, &alter] {
            let error = read(meanwhile).unwrap_err().downcast::<ClientError>().unwrap();
            assert!(matches!(error, ClientError::FileChanged(_)), "{error:?}");
        }
    }

    #[test]
    fn a_device_is_read_as_it_comes() {
        let mut file = SteadyFile::open(Path::new("/dev/zero")).unwrap();
        assert_eq!(file.size(), None);
        assert_eq!(file.read(&mut [1; 8]).unwrap(), 8);
    }
}
