//! How files inside an instance are named.

use serde::{Deserialize, Serialize};

/// Longest path, in bytes.
pub const PATH_LEN_MAX: usize = 1024;
/// Longest name of one entry, in bytes: what every file system's programs expect.
pub const NAME_LEN_MAX: usize = 255;
/// Most names in one path.
pub const PATH_DEPTH_MAX: usize = 32;

/// Why a text is no path inside an instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// Nothing was given.
    #[error("a file name is empty")]
    Empty,
    /// More bytes than [`PATH_LEN_MAX`].
    #[error("a file name is longer than {PATH_LEN_MAX} bytes")]
    TooLong,
    /// One name has more bytes than [`NAME_LEN_MAX`].
    #[error("a part of `{0}` is longer than {NAME_LEN_MAX} bytes")]
    NameTooLong(String),
    /// More names than [`PATH_DEPTH_MAX`].
    #[error("`{0}` has more than {PATH_DEPTH_MAX} parts")]
    TooDeep(String),
    /// It contains `..`, which a policy has no use for.
    #[error("`{0}` contains `..`")]
    Parent(String),
    /// It contains a control character.
    #[error("`{0}` contains a control character")]
    Control(String),
}

/// An absolute path inside an instance, in its one normal form: it begins with `/`, has neither empty names
/// nor `.` nor `..`, and no slash at its end (but for the root, which is `/`).
///
/// Nothing about symbolic links is said here; the file system resolves those before it asks for rights.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GuestPath(String);

impl GuestPath {
    /// Reads a path, absolute or bare: `input-0` and `/input-0` name the same file.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        if text.is_empty() {
            return Err(InvalidPath::Empty);
        }
        if text.len() > PATH_LEN_MAX {
            return Err(InvalidPath::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidPath::Control(text.escape_debug().to_string()));
        }
        let mut normal = String::with_capacity(text.len() + 1);
        let mut depth = 0;
        for name in text.split('/').filter(|name| !name.is_empty() && *name != ".") {
            if name == ".." {
                return Err(InvalidPath::Parent(text.to_owned()));
            }
            if name.len() > NAME_LEN_MAX {
                return Err(InvalidPath::NameTooLong(text.to_owned()));
            }
            depth += 1;
            normal.push('/');
            normal.push_str(name);
        }
        if depth > PATH_DEPTH_MAX {
            return Err(InvalidPath::TooDeep(text.to_owned()));
        }
        if normal.len() > PATH_LEN_MAX {
            return Err(InvalidPath::TooLong);
        }
        Ok(if normal.is_empty() { Self::root() } else { Self(normal) })
    }

    /// The root directory.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Whether this is the root directory.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// The text, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names from the root on.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The last name; `None` for the root.
    pub fn file_name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// The directory that this stands in; `None` for the root.
    pub fn parent(&self) -> Option<GuestPath> {
        if self.is_root() {
            return None;
        }
        let end = self.0.rfind('/').unwrap_or(0);
        Some(if end == 0 { Self::root() } else { Self(self.0[..end].to_owned()) })
    }

    /// The path of an entry of this directory. The name must be one name: neither empty, `.` nor `..`,
    /// without a slash; anything else is refused.
    pub fn join(&self, name: &str) -> Result<GuestPath, InvalidPath> {
        if name.is_empty() || name == "." {
            return Err(InvalidPath::Empty);
        }
        if name == ".." || name.contains('/') {
            return Err(InvalidPath::Parent(name.to_owned()));
        }
        let prefix = if self.is_root() { "" } else { self.as_str() };
        Self::parse(&format!("{prefix}/{name}"))
    }

    /// Whether `other` is this path or lies below it.
    pub fn covers(&self, other: &GuestPath) -> bool {
        self.is_root()
            || other.0.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl std::fmt::Display for GuestPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for GuestPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GuestPath({})", self.0)
    }
}

impl std::str::FromStr for GuestPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        Self::parse(text)
    }
}

impl TryFrom<String> for GuestPath {
    type Error = InvalidPath;

    fn try_from(text: String) -> Result<Self, InvalidPath> {
        Self::parse(&text)
    }
}

impl From<GuestPath> for String {
    fn from(path: GuestPath) -> String {
        path.0
    }
}

/// A file name as a policy writes it: bare or absolute; with a slash at its end it means the directory and
/// everything below. The text is kept as written, because a policy's hash is over its text.
///
/// Two names are equal when they mean the same files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName {
    text: String,
    path: GuestPath,
    subtree: bool,
}

impl FileName {
    /// Reads a name.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidPath> {
        let text = text.into();
        let path = GuestPath::parse(&text)?;
        let subtree = text.ends_with('/');
        Ok(Self { text, path, subtree })
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path that is meant.
    pub fn path(&self) -> &GuestPath {
        &self.path
    }

    /// Whether everything below the path is meant too.
    pub fn is_subtree(&self) -> bool {
        self.subtree
    }

    /// Whether some path is meant by both names.
    pub fn overlaps(&self, other: &FileName) -> bool {
        self.path == other.path
            || (self.subtree && self.path.covers(&other.path))
            || (other.subtree && other.path.covers(&self.path))
    }
}

impl PartialEq for FileName {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.subtree == other.subtree
    }
}

impl Eq for FileName {}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for FileName {
    type Error = InvalidPath;

    fn try_from(text: String) -> Result<Self, InvalidPath> {
        Self::parse(text)
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> String {
        name.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bare_and_absolute_names_mean_the_same() {
        for text in ["input-0", "/input-0", "./input-0", "//input-0/", "/./input-0"] {
            assert_eq!(GuestPath::parse(text).unwrap().as_str(), "/input-0", "{text}");
        }
        assert!(GuestPath::parse("/").unwrap().is_root());
        assert!(FileName::parse("/input/").unwrap().is_subtree());
    }

    #[test]
    fn what_could_leave_its_place_is_refused() {
        for text in
            ["", "..", "/a/../b", "a\0b", "a\nb", &"x".repeat(1025), &"x".repeat(256), &"a/".repeat(33)]
        {
            assert!(GuestPath::parse(text).is_err(), "{text:?}");
        }
        let root = GuestPath::root();
        for name in ["", ".", "..", "a/b"] {
            assert!(root.join(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_directory_covers_whole_names_only() {
        let path = |text: &str| GuestPath::parse(text).unwrap();
        assert!(path("/a").covers(&path("/a/b")));
        assert!(path("/a").covers(&path("/a")));
        assert!(!path("/a").covers(&path("/ab")));
        assert!(path("/").covers(&path("/ab")));
    }

    proptest! {
        #[test]
        fn a_path_is_in_normal_form_whatever_it_was_read_from(text in ".{0,40}") {
            if let Ok(path) = GuestPath::parse(&text) {
                prop_assert!(path.as_str().starts_with('/'));
                prop_assert!(path.names().all(|name| name != "." && name != ".."));
                let again = GuestPath::parse(path.as_str());
                prop_assert_eq!(again.as_ref(), Ok(&path));
                if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                    prop_assert!(parent.covers(&path));
                    prop_assert_eq!(parent.join(name), Ok(path));
                }
            }
        }
    }
}
