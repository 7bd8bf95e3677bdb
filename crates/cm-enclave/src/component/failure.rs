//! How a call of a component ends that does not succeed.

use wasmtime::component::ResourceTableError;

use super::bindings::wasi::filesystem::types::ErrorCode;
use crate::vfs::Errno;
use crate::wasi::{End, Stop};

/// The end of a call on files: a code for the program, or the run's end.
#[derive(Debug)]
pub enum FileFailure {
    /// The program gets a code.
    Code(Errno),
    /// The run ends.
    End(wasmtime::Error),
}

/// The end of a call on a stream.
#[derive(Debug)]
pub enum StreamFailure {
    /// There is no more.
    Closed,
    /// The program gets an error that it can ask about.
    Failed(Errno),
    /// The run ends.
    End(wasmtime::Error),
}

impl From<Errno> for FileFailure {
    fn from(errno: Errno) -> Self {
        Self::Code(errno)
    }
}

impl From<Stop> for FileFailure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Errno(errno) => Self::Code(errno),
            Stop::End(end) => Self::End(wasmtime::Error::new(end)),
        }
    }
}

impl From<ResourceTableError> for FileFailure {
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => Self::Code(Errno::Mfile),
            other => Self::End(wasmtime::Error::new(other)),
        }
    }
}

impl From<Errno> for StreamFailure {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

impl From<Stop> for StreamFailure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Errno(errno) => Self::Failed(errno),
            Stop::End(end) => Self::End(wasmtime::Error::new(end)),
        }
    }
}

impl From<End> for StreamFailure {
    fn from(end: End) -> Self {
        Self::End(wasmtime::Error::new(end))
    }
}

impl From<ResourceTableError> for StreamFailure {
    fn from(error: ResourceTableError) -> Self {
        Self::End(wasmtime::Error::new(error))
    }
}

/// The code that stands for a number of preview 1.
pub(super) fn code(errno: Errno) -> ErrorCode {
    match errno {
        Errno::Acces => ErrorCode::Access,
        Errno::Badf | Errno::Notsock => ErrorCode::BadDescriptor,
        Errno::Exist => ErrorCode::Exist,
        Errno::Fbig => ErrorCode::FileTooLarge,
        Errno::Ilseq => ErrorCode::IllegalByteSequence,
        Errno::Fault | Errno::Inval => ErrorCode::Invalid,
        Errno::Isdir => ErrorCode::IsDirectory,
        Errno::Loop => ErrorCode::Loop,
        Errno::Mfile => ErrorCode::InsufficientMemory,
        Errno::Nametoolong => ErrorCode::NameTooLong,
        Errno::Noent => ErrorCode::NoEntry,
        Errno::Nospc => ErrorCode::InsufficientSpace,
        Errno::Nosys | Errno::Notsup => ErrorCode::Unsupported,
        Errno::Notdir => ErrorCode::NotDirectory,
        Errno::Notempty => ErrorCode::NotEmpty,
        Errno::Overflow => ErrorCode::Overflow,
        Errno::Spipe => ErrorCode::InvalidSeek,
        Errno::Notcapable => ErrorCode::NotPermitted,
    }
}
