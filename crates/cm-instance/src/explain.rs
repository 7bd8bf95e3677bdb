//! Rights in words, for people who read a policy.

use crate::Rights;

/// What each right lets its holder do, in the order of the bits.
const WORDS: [(Rights, &str); 30] = [
    (Rights::FD_DATASYNC, "force its data to storage"),
    (Rights::FD_READ, "read it"),
    (Rights::FD_SEEK, "choose where in it to read or write"),
    (Rights::FD_FDSTAT_SET_FLAGS, "change how it was opened"),
    (Rights::FD_SYNC, "force it to storage"),
    (Rights::FD_TELL, "learn the place in it"),
    (Rights::FD_WRITE, "write it"),
    (Rights::FD_ADVISE, "announce how it will be used"),
    (Rights::FD_ALLOCATE, "reserve room for it"),
    (Rights::PATH_CREATE_DIRECTORY, "make directories"),
    (Rights::PATH_CREATE_FILE, "create it"),
    (Rights::PATH_LINK_SOURCE, "give it further names"),
    (Rights::PATH_LINK_TARGET, "put further names of other files there"),
    (Rights::PATH_OPEN, "open it"),
    (Rights::FD_READDIR, "list it"),
    (Rights::PATH_READLINK, "learn where a symbolic link leads"),
    (Rights::PATH_RENAME_SOURCE, "move it away"),
    (Rights::PATH_RENAME_TARGET, "move others to its place"),
    (Rights::PATH_FILESTAT_GET, "learn its size by name"),
    (Rights::PATH_FILESTAT_SET_SIZE, "empty it while opening or replacing it"),
    (Rights::PATH_FILESTAT_SET_TIMES, "set its times by name"),
    (Rights::FD_FILESTAT_GET, "learn its size"),
    (Rights::FD_FILESTAT_SET_SIZE, "set its size"),
    (Rights::FD_FILESTAT_SET_TIMES, "set its times"),
    (Rights::PATH_SYMLINK, "make symbolic links"),
    (Rights::PATH_REMOVE_DIRECTORY, "remove directories"),
    (Rights::PATH_UNLINK_FILE, "remove it"),
    (Rights::POLL_FD_READWRITE, "wait for it"),
    (Rights::SOCK_SHUTDOWN, "close sockets"),
    (Rights::FILE_EXECUTE, "execute it"),
];

/// Sets that published policies use, with the words for them.
const SETS: [(u64, &str); 8] = [
    (8198, "a reader, as in the first published policies"),
    (533_572, "a writer, as in the first published policies"),
    (24_582, "`r` of the published generator of policies"),
    (534_084, "`w` of the published generator of policies"),
    (550_470, "`rw` of the published generator of policies"),
    (536_879_108, "`x` of the published generator of policies"),
    (536_879_104, "`x` without the right to seek, as in some published policies"),
    ((1 << 30) - 1, "every right"),
];

/// Each right of a set with its name in policies and what it lets one do.
pub fn each(rights: Rights) -> impl Iterator<Item = (Rights, &'static str, &'static str)> {
    let named = Rights::NAMED.into_iter().zip(WORDS);
    let held = named.filter(move |((right, _), _)| rights.contains(*right));
    held.map(|((right, name), (_, words))| (right, name, words))
}

/// What one may do with a set, in one line: the rights that count first.
pub fn in_words(rights: Rights) -> String {
    if rights.is_empty() {
        return "nothing".to_owned();
    }
    // What a file is about comes first; the rest serves it.
    let first = [Rights::FILE_EXECUTE, Rights::FD_READ, Rights::FD_WRITE];
    let mut words: Vec<&str> = Vec::new();
    for right in first {
        words.extend(each(rights & right).map(|(_, _, words)| words));
    }
    let rest = first.into_iter().fold(rights, Rights::difference);
    words.extend(each(rest).map(|(_, _, words)| words));
    words.join(", ")
}

/// How a set is known, if published policies use it.
pub fn known_as(rights: Rights) -> Option<&'static str> {
    let bits = u64::from(rights);
    SETS.into_iter().find(|(known, _)| *known == bits).map(|(_, words)| words)
}

/// The power of two that a single right is.
pub fn bit(right: Rights) -> u32 {
    right.bits().trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_right_has_words_in_its_place() {
        for ((right, name), (worded, words)) in Rights::NAMED.into_iter().zip(WORDS) {
            assert_eq!(right, worded, "{name}");
            assert!(!words.is_empty());
        }
        assert_eq!(each(Rights::ALL).count(), 30);
    }

    #[test]
    fn sets_are_told_with_what_counts_first() {
        assert_eq!(in_words(Rights::READER), "read it, choose where in it to read or write, open it");
        assert!(in_words(Rights::WRITER).starts_with("write it, "));
        assert_eq!(in_words(Rights::NONE), "nothing");
        assert!(known_as(Rights::WRITER).is_some() && known_as(Rights::FD_READ).is_none());
        assert_eq!(bit(Rights::FILE_EXECUTE), 29);
    }
}
