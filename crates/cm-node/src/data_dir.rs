//! The data directory: private to its owner, used by one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cm_kernel::kernel::KEYS_DIR;

use crate::NodeError;
use crate::link_key::LINK_KEY_FILE;

const LOCK_FILE: &str = "lock";
const MODE_DIR: u32 = 0o700;
const MODE_SECRET: u32 = 0o600;

/// A data directory that this process holds. The hold ends when this is dropped or the process dies.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes hold of the directory, making it if it does not exist.
    ///
    /// # Errors
    /// [`NodeError::Held`], naming the process, when another one holds it; [`NodeError::NotOurs`] for a directory with
    /// other files in it, whose mode must not change.
    pub fn hold(path: &Path) -> Result<DataDir, NodeError> {
        let failed = |source| NodeError::DataDir { path: path.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(MODE_DIR).create(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        if !path.join(LOCK_FILE).exists() && holds_other_files(&path).map_err(failed)? {
            return Err(NodeError::NotOurs(path));
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(MODE_DIR)).map_err(failed)?;
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(MODE_SECRET)
            .open(path.join(LOCK_FILE))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                return Err(NodeError::Held { path, holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let note = |lock: &mut File| -> std::io::Result<()> {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "process {}", std::process::id())
        };
        note(&mut lock).map_err(failed)?;
        Ok(DataDir { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only its owner can read, whole or not at all.
    pub fn write_private(&self, name: &str, text: &str) -> Result<PathBuf, NodeError> {
        let target = self.path.join(name);
        write_private(&target, text).map_err(|source| NodeError::DataDir { path: target.clone(), source })?;
        Ok(target)
    }

    /// Removes a file if it is there.
    pub fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.path.join(name));
    }
}

/// Whether there is anything but keys, which a node that joins others is given, or has made, before its first start.
fn holds_other_files(path: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != KEYS_DIR && name != LINK_KEY_FILE {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes beside the target, makes it durable, then renames it into place.
pub(crate) fn write_private(target: &Path, text: &str) -> std::io::Result<()> {
    let temporary = target.with_extension("tmp");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(MODE_SECRET).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, target)?;
    match target.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let held = DataDir::hold(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE_DIR);
        let error = DataDir::hold(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        DataDir::hold(&path).unwrap();
    }

    #[test]
    fn a_directory_with_other_files_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("letter"), "dear").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(DataDir::hold(dir.path()), Err(NodeError::NotOurs(_))));
        let joining = tempfile::tempdir().unwrap();
        std::fs::create_dir(joining.path().join(KEYS_DIR)).unwrap();
        assert!(DataDir::hold(joining.path()).is_ok(), "keys alone are no other files");
        let mode = std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o755);
    }

    #[test]
    fn secrets_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::hold(dir.path()).unwrap();
        let path = held.write_private("token", "secret\n").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE_SECRET);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "secret\n");
    }
}
