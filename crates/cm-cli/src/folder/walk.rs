//! Files below a directory: which there are, and which there are to be.

use std::path::{Component, Path, PathBuf};

use cm_client::is_unfinished;

/// A regular file below a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// What its key has behind the name of the folder.
    pub(super) rest: String,
    pub(super) path: PathBuf,
    pub(super) size: u64,
}

/// What there is below a directory.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) found: Vec<Found>,
    /// What is not to be stored, and what it is.
    pub(super) left_out: Vec<(PathBuf, &'static str)>,
    pub(super) failed: Vec<(PathBuf, anyhow::Error)>,
}

impl Walk {
    /// Finds the regular files. Links to files are followed, those to directories, which may lead in circles, are not.
    pub(super) fn read(&mut self, entries: std::fs::ReadDir, dir: &Path, rest: &str) {
        for entry in entries {
            match entry {
                Ok(entry) => self.look(&entry, rest).unwrap_or_else(|error| {
                    self.failed.push((entry.path(), error));
                }),
                Err(error) => self.failed.push((dir.to_owned(), error.into())),
            }
        }
    }

    fn look(&mut self, entry: &std::fs::DirEntry, rest: &str) -> anyhow::Result<()> {
        let path = entry.path();
        let is_link = entry.file_type()?.is_symlink();
        let there = match std::fs::metadata(&path) {
            Err(_) if is_link => {
                self.left_out.push((path, "a link to nothing"));
                return Ok(());
            }
            there => there?,
        };
        let name = entry.file_name();
        let Some(name) = name.to_str() else { anyhow::bail!("the name is no UTF-8, as keys are") };
        let own = format!("{rest}{name}");
        match there.is_dir() {
            true if is_link => self.left_out.push((path, "a link to a directory")),
            true => self.read(std::fs::read_dir(&path)?, &path, &format!("{own}/")),
            false if is_unfinished(name) => self.left_out.push((path, "of an unfinished download")),
            false if there.is_file() => self.found.push(Found { rest: own, path, size: there.len() }),
            false => self.left_out.push((path, "no regular file")),
        }
        Ok(())
    }
}

/// Where an object of a folder belongs below a directory. A key is a stranger's text, and leads nowhere else.
pub(super) fn place(dir: &Path, rest: &str, size: u64) -> anyhow::Result<PathBuf> {
    let name = rest.strip_suffix('/');
    if name.is_some() && size > 0 {
        anyhow::bail!("it has content, but a name like a directory's; get the object by itself");
    }
    let mut place = dir.to_owned();
    for part in name.unwrap_or(rest).split('/') {
        let mut components = Path::new(part).components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(name)), None) if name == part && !is_unfinished(part) => place.push(name),
            _ => anyhow::bail!("its key is no name of a file; get the object by itself"),
        }
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn no_key_leads_out_of_the_directory() {
        let place = |rest: &str| place(Path::new("to"), rest, 0).ok();
        assert_eq!(place("a"), Some("to/a".into()));
        assert_eq!(place("a/b c/d"), Some("to/a/b c/d".into()));
        assert_eq!(place("a/"), Some("to/a".into()));
        for wrong in ["", "/", "..", "../a", "a/../b", "a/./b", "./a", "/etc/passwd", "a//b", "a/.."] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
        let helper = cm_client::unfinished(Path::new("x")).unwrap();
        assert_eq!(place(helper.to_str().unwrap()), None);
        assert!(super::place(Path::new("to"), "a/", 1).is_err());
    }

    #[test]
    fn files_are_found_once_whatever_links_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/deep"), "12").unwrap();
        std::fs::write(root.join("top"), "1").unwrap();
        std::os::unix::fs::symlink("top", root.join("link")).unwrap();
        std::os::unix::fs::symlink(root, root.join("a/circle")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("lost")).unwrap();
        let helper = cm_client::unfinished(&root.join("top")).unwrap();
        std::fs::write(&helper, "1").unwrap();
        let nameless = root.join(OsStr::from_bytes(b"\xff"));
        std::fs::write(&nameless, "1").unwrap();
        let mut walk = Walk::default();
        walk.read(std::fs::read_dir(root).unwrap(), root, "");
        walk.found.sort_unstable();
        walk.left_out.sort_unstable();
        let left_out: Vec<_> = walk.left_out.into_iter().map(|(path, _)| path).collect();
        assert_eq!(left_out, [helper, root.join("a/circle"), root.join("lost")]);
        let failed: Vec<_> = walk.failed.into_iter().map(|(path, _)| path).collect();
        assert_eq!(failed, [nameless]);
        let found: Vec<_> = walk.found.iter().map(|file| (file.rest.as_str(), file.size)).collect();
        assert_eq!(found, [("a/b/deep", 2), ("link", 1), ("top", 1)]);
    }
}
