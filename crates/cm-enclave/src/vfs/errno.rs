//! Error numbers, as WASI preview 1 numbers them.

/// Why a call was refused or failed. The discriminants are the numbers of WASI preview 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u16)]
pub enum Errno {
    /// Permission denied: a thing that the policy switches off as a whole, as the clock.
    #[error("permission denied")]
    Acces = 2,
    /// The descriptor is not open.
    #[error("bad file descriptor")]
    Badf = 8,
    /// Something of that name exists.
    #[error("file exists")]
    Exist = 20,
    /// A pointer leads out of the program's memory.
    #[error("bad address")]
    Fault = 21,
    /// The file would grow over its limit.
    #[error("file too large")]
    Fbig = 22,
    /// A name is not UTF-8.
    #[error("illegal byte sequence")]
    Ilseq = 25,
    /// An argument makes no sense.
    #[error("invalid argument")]
    Inval = 28,
    /// A directory, where none may be.
    #[error("is a directory")]
    Isdir = 31,
    /// Too many symbolic links.
    #[error("too many levels of symbolic links")]
    Loop = 32,
    /// Too many open files.
    #[error("too many open files")]
    Mfile = 33,
    /// A name is too long.
    #[error("file name too long")]
    Nametoolong = 37,
    /// There is no such thing.
    #[error("no such file or directory")]
    Noent = 44,
    /// The storage limit is reached.
    #[error("no space left")]
    Nospc = 51,
    /// The call is not served.
    #[error("function not supported")]
    Nosys = 52,
    /// No directory, where one must be.
    #[error("not a directory")]
    Notdir = 54,
    /// The directory has entries.
    #[error("directory not empty")]
    Notempty = 55,
    /// Not a socket.
    #[error("not a socket")]
    Notsock = 57,
    /// The operation is not supported.
    #[error("not supported")]
    Notsup = 58,
    /// A number does not fit.
    #[error("value too large")]
    Overflow = 61,
    /// Not a stream that can be positioned.
    #[error("invalid seek")]
    Spipe = 70,
    /// The principal lacks a right.
    #[error("capabilities insufficient")]
    Notcapable = 76,
}

impl From<cm_instance::InvalidPath> for Errno {
    fn from(error: cm_instance::InvalidPath) -> Self {
        use cm_instance::InvalidPath;
        match error {
            InvalidPath::Empty => Self::Noent,
            InvalidPath::TooLong | InvalidPath::NameTooLong(_) | InvalidPath::TooDeep(_) => Self::Nametoolong,
            InvalidPath::Parent(_) | InvalidPath::Control(_) => Self::Inval,
        }
    }
}
