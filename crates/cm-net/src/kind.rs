//! What an exchange is about.

/// The name of a kind of requests or streams: 1 to 32 bytes of `a-z`, `0-9`, `-` and `.`. Names that begin with `link.` are
/// the links' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(&'static str);

/// Longest name, in bytes.
pub(crate) const KIND_LEN_MAX: usize = 32;

impl Kind {
    /// How links ask whether the other end is there.
    pub(crate) const PROBE: Kind = Kind("link.probe");

    /// A kind by its name.
    ///
    /// # Panics
    /// If it is no name; in a constant, that is an error of the compiler.
    pub const fn new(name: &'static str) -> Self {
        assert!(is_name(name.as_bytes()), "a kind is 1 to 32 of a-z, 0-9, - and .");
        Self(name)
    }

    /// The name.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

pub(crate) const fn is_name(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        if !matches!(name[at], b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.') {
            return false;
        }
        at += 1;
    }
    !name.is_empty() && name.len() <= KIND_LEN_MAX
}
