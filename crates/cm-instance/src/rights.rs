//! What can be done to a file: the thirty rights of a policy.

use serde::{Deserialize, Serialize};

/// A set of rights, written in policies as the sum of their powers of two.
///
/// Bits 0 to 28 are those of WASI preview 1 under their own numbers; bit 29 is the right to execute a file
/// as a program, which WASI does not know.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Rights(u32);

/// The number has bits that mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no sum of rights, which end at 2^29")]
pub struct InvalidRights(pub u64);

macro_rules! rights {
    ($($(#[doc = $doc:literal])+ $name:ident = $bit:literal;)+) => {
        impl Rights {
            $($(#[doc = $doc])+ pub const $name: Rights = Rights(1 << $bit);)+

            /// Every single right with its name, in the order of the bits.
            pub const NAMED: [(Rights, &'static str); 30] = [$((Rights::$name, stringify!($name)),)+];
        }
    };
}

rights! {
    /// Force the file's data to storage: `fd_datasync`.
    FD_DATASYNC = 0;
    /// Read the file: `fd_read`, `fd_pread`.
    FD_READ = 1;
    /// Move the position: `fd_seek`, and with it `fd_tell`.
    FD_SEEK = 2;
    /// Change a descriptor's flags: `fd_fdstat_set_flags`.
    FD_FDSTAT_SET_FLAGS = 3;
    /// Force data and metadata to storage: `fd_sync`.
    FD_SYNC = 4;
    /// Learn the position: `fd_tell`.
    FD_TELL = 5;
    /// Write the file: `fd_write`, `fd_pwrite`.
    FD_WRITE = 6;
    /// Announce how the file will be used: `fd_advise`.
    FD_ADVISE = 7;
    /// Reserve space: `fd_allocate`.
    FD_ALLOCATE = 8;
    /// Create a directory: `path_create_directory`.
    PATH_CREATE_DIRECTORY = 9;
    /// Create a file: `path_open` with `O_CREAT`.
    PATH_CREATE_FILE = 10;
    /// Be the existing end of a new hard link: `path_link`.
    PATH_LINK_SOURCE = 11;
    /// Be the new end of a hard link: `path_link`.
    PATH_LINK_TARGET = 12;
    /// Open the file or directory: `path_open`.
    PATH_OPEN = 13;
    /// List the directory: `fd_readdir`.
    FD_READDIR = 14;
    /// Read where a symbolic link leads: `path_readlink`.
    PATH_READLINK = 15;
    /// Be moved away: `path_rename`.
    PATH_RENAME_SOURCE = 16;
    /// Be replaced by something moved here: `path_rename`.
    PATH_RENAME_TARGET = 17;
    /// Learn size and times by name: `path_filestat_get`.
    PATH_FILESTAT_GET = 18;
    /// Truncate while opening: `path_open` with `O_TRUNC`.
    PATH_FILESTAT_SET_SIZE = 19;
    /// Set times by name: `path_filestat_set_times`.
    PATH_FILESTAT_SET_TIMES = 20;
    /// Learn size and times by descriptor: `fd_filestat_get`.
    FD_FILESTAT_GET = 21;
    /// Set the size by descriptor: `fd_filestat_set_size`.
    FD_FILESTAT_SET_SIZE = 22;
    /// Set times by descriptor: `fd_filestat_set_times`.
    FD_FILESTAT_SET_TIMES = 23;
    /// Create a symbolic link: `path_symlink`.
    PATH_SYMLINK = 24;
    /// Remove a directory: `path_remove_directory`.
    PATH_REMOVE_DIRECTORY = 25;
    /// Remove a file: `path_unlink_file`.
    PATH_UNLINK_FILE = 26;
    /// Wait until the file is readable or writable: `poll_oneoff`.
    POLL_FD_READWRITE = 27;
    /// Shut a socket down: `sock_shutdown`.
    SOCK_SHUTDOWN = 28;
    /// Execute the file as a program.
    FILE_EXECUTE = 29;
}

impl Rights {
    /// No right.
    pub const NONE: Rights = Rights(0);
    /// Every right.
    pub const ALL: Rights = Rights((1 << 30) - 1);
    /// What the published policies give a reader of a file: 8198.
    pub const READER: Rights = Rights(8198);
    /// What the published policies give a writer of a file: 533572.
    pub const WRITER: Rights = Rights(533_572);

    /// The set of these bits; refuses bits that mean nothing.
    pub const fn from_bits(bits: u64) -> Result<Rights, InvalidRights> {
        if bits <= Rights::ALL.0 as u64 { Ok(Rights(bits as u32)) } else { Err(InvalidRights(bits)) }
    }

    /// The set of these bits; bits that mean nothing are left out, as when a program asks for all it may get.
    pub const fn from_bits_truncated(bits: u64) -> Rights {
        Rights(bits as u32 & Rights::ALL.0)
    }

    /// The sum that stands in policies.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether there is no right in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every right of `other` is in this set.
    pub const fn contains(self, other: Rights) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any right of `other` is in this set.
    pub const fn intersects(self, other: Rights) -> bool {
        self.0 & other.0 != 0
    }

    /// The rights in either set.
    #[must_use]
    pub const fn union(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    /// The rights in both sets.
    #[must_use]
    pub const fn intersection(self, other: Rights) -> Rights {
        Rights(self.0 & other.0)
    }

    /// The rights in this set that are not in the other.
    #[must_use]
    pub const fn difference(self, other: Rights) -> Rights {
        Rights(self.0 & !other.0)
    }

    /// The names of the rights in the set, in the order of the bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMED.into_iter().filter(move |&(right, _)| self.contains(right)).map(|(_, name)| name)
    }
}

impl std::ops::BitOr for Rights {
    type Output = Rights;

    fn bitor(self, other: Rights) -> Rights {
        self.union(other)
    }
}

impl std::ops::BitAnd for Rights {
    type Output = Rights;

    fn bitand(self, other: Rights) -> Rights {
        self.intersection(other)
    }
}

impl TryFrom<u64> for Rights {
    type Error = InvalidRights;

    fn try_from(bits: u64) -> Result<Self, InvalidRights> {
        Self::from_bits(bits)
    }
}

impl From<Rights> for u64 {
    fn from(rights: Rights) -> u64 {
        rights.0.into()
    }
}

impl std::fmt::Display for Rights {
    /// `FD_READ|FD_SEEK`; `none` for the empty set.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, name) in self.names().enumerate() {
            if index > 0 {
                f.write_str("|")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Rights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rights({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_is_the_power_of_two_of_its_place() {
        for (bit, (right, name)) in Rights::NAMED.into_iter().enumerate() {
            assert_eq!(right.bits(), 1 << bit, "{name}");
            assert_eq!(right.to_string(), name);
        }
    }

    #[test]
    fn the_published_sums_mean_what_they_should() {
        assert_eq!(Rights::READER, Rights::FD_READ | Rights::FD_SEEK | Rights::PATH_OPEN);
        let writer = Rights::FD_SEEK
            | Rights::FD_WRITE
            | Rights::PATH_CREATE_FILE
            | Rights::PATH_OPEN
            | Rights::PATH_FILESTAT_SET_SIZE;
        assert_eq!(Rights::WRITER, writer);
    }

    #[test]
    fn bits_without_a_meaning_are_refused() {
        assert_eq!(Rights::from_bits((1 << 30) - 1), Ok(Rights::ALL));
        assert_eq!(Rights::from_bits(1 << 30), Err(InvalidRights(1 << 30)));
        assert!(serde_json::from_str::<Rights>("-1").is_err());
        assert!(serde_json::from_str::<Rights>("1.5").is_err());
        assert_eq!(serde_json::to_string(&Rights::READER).unwrap(), "8198");
    }
}
