//! Files that are there as a whole, or not at all.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use cm_client::transfer::followed;

use crate::UsageError;

/// Permissions of a new file, less what the user takes away from all.
const NEW_FILE_MODE: u32 = 0o666;

/// Opens what is no file to be written to: pipes and devices are not replaced, they take what comes.
pub(crate) fn stream(path: &Path) -> anyhow::Result<Option<File>> {
    if std::fs::metadata(path).map_or(true, |found| found.is_file()) {
        return Ok(None);
    }
    let opened = OpenOptions::new().write(true).open(path);
    opened.map(Some).with_context(|| format!("cannot write {}", path.display()))
}

/// A file that is written beside its destination and takes its place once it is complete and durable. Dropped before, it
/// is removed, and the destination is as it was.
pub(crate) struct Destination {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
    replaces: bool,
}

impl Destination {
    /// Begins a file that nobody but its owner reads, unless `mode` says more. What is there already stays unless it is to be
    /// replaced.
    pub(crate) fn create(path: &Path, mode: u32, replaces: bool) -> anyhow::Result<Self> {
        if path.file_name().is_none() || path == Path::new("-") {
            return Err(UsageError(format!("`{}` is no name of a file to write", path.display())).into());
        }
        if !replaces && path.symlink_metadata().is_ok() {
            let message = format!("{} exists already", path.display());
            return Err(UsageError(message).into());
        }
        let unique = hex::encode(cm_crypto::secret::random_bytes::<8>());
        // The name of the file may be as long as names can be.
        let temporary = path.with_file_name(format!(".cryptomesh-{unique}.part"));
        let file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&temporary);
        let file = file.with_context(|| format!("cannot write beside {}", path.display()))?;
        Ok(Self { path: path.to_owned(), temporary, file: Some(file), replaces })
    }

    /// Begins a file that replaces what is there, where links lead to, and keeps its permissions.
    pub(crate) fn in_place_of(path: &Path) -> anyhow::Result<Self> {
        let place = followed(path).with_context(|| format!("cannot write {}", path.display()))?;
        let found = std::fs::metadata(&place).ok().map(|found| found.permissions());
        let mode = found.as_ref().map_or(NEW_FILE_MODE, |found| found.mode() & 0o777);
        let begun = Self::create(&place, mode, true)?;
        if let (Some(found), Some(file)) = (found, &begun.file) {
            file.set_permissions(found).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(begun)
    }

    /// The file, for who writes to it elsewhere.
    pub(crate) fn handle(&self) -> std::io::Result<File> {
        self.file.as_ref().expect("it is written to before it is finished").try_clone()
    }

    /// Makes the file durable and puts it in its place.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let file = self.file.take().expect("it is taken here only, once");
        self.settle(file).with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn settle(&self, file: File) -> std::io::Result<()> {
        file.sync_all()?;
        match self.replaces {
            true => std::fs::rename(&self.temporary, &self.path)?,
            // A link is refused where something came to be meanwhile. The other name goes when this is dropped.
            false => match std::fs::hard_link(&self.temporary, &self.path) {
                // A file system without links.
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists && !self.path.exists() => {
                    std::fs::rename(&self.temporary, &self.path)?;
                }
                linked => linked?,
            },
        }
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.as_mut().expect("it is written to before it is finished").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().expect("it is written to before it is finished").flush()
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        // Gone already where it took the destination's place.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_file_is_there_as_a_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut half = Destination::create(&path, 0o600, false).unwrap();
        half.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(half);
        assert!(names(dir.path()).is_empty());
        let mut whole = Destination::create(&path, 0o600, false).unwrap();
        whole.write_all(b"whole").unwrap();
        whole.finish().unwrap();
        assert_eq!(names(dir.path()), ["out"]);
        assert!(Destination::create(&path, 0o600, false).is_err());
        let mut other = Destination::create(&path, 0o600, true).unwrap();
        other.write_all(b"other").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        other.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"other");
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn what_is_replaced_keeps_its_links_and_its_permissions() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("out"), dir.path().join("link"));
        std::os::unix::fs::symlink("out", &link).unwrap();
        for content in ["new", "other"] {
            let mut begun = Destination::in_place_of(&link).unwrap();
            begun.handle().unwrap().write_all(content.as_bytes()).unwrap();
            begun.flush().unwrap();
            begun.finish().unwrap();
            assert!(link.is_symlink());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        }
        Destination::in_place_of(&path).unwrap().finish().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn what_is_no_file_takes_what_comes() {
        let dir = tempfile::tempdir().unwrap();
        assert!(stream(Path::new("/dev/null")).unwrap().is_some());
        assert!(stream(&dir.path().join("absent")).unwrap().is_none());
        assert!(stream(dir.path()).is_err());
    }

    #[test]
    fn what_came_to_be_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let late = Destination::create(&path, 0o600, false).unwrap();
        std::fs::write(&path, b"first").unwrap();
        assert!(late.finish().is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(names(dir.path()), ["out"]);
    }
}
