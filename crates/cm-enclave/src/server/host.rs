//! What the server needs of the instance's inside: files and programs, without any question of rights.
//!
//! The engine over its file system is one implementation; the server's tests have another, which holds
//! plain bytes and runs nothing.

use std::time::Duration;

use bytes::Bytes;
use cm_instance::{ExecutionReport, GuestPath};
use tokio_util::sync::CancellationToken;

/// Why a file could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileError {
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// There is something of that name, or on the way to it, that is no file or directory as needed.
    #[error("not a regular file")]
    NotAFile,
    /// The file or all files together would become too large.
    #[error("the instance has no room for it")]
    Full,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The bytes.
    pub(crate) bytes: Bytes,
    /// The length of the whole file.
    pub(crate) file_len: u64,
}

/// Bytes on their way into a file, which nobody sees until they are all there. Dropped, they are gone.
pub(crate) trait Staged: Send {
    /// Adds bytes.
    fn push(&mut self, bytes: &[u8]) -> Result<(), FileError>;

    /// Makes the bytes the file's whole content, or adds them to its end, in one step. Missing directories on the way are
    /// made. On an error the file is as it was.
    fn commit(self: Box<Self>, path: &GuestPath, append: bool) -> Result<(), FileError>;
}

/// Files and programs. Paths never lead through symbolic links here: a program could otherwise lend its
/// callers a name for a file on which they have no right.
pub(crate) trait Host: Send + Sync + 'static {
    /// The length of a file, `None` if there is none.
    fn file_len(&self, path: &GuestPath) -> Option<u64>;

    /// Whether there is anything of this name.
    fn exists(&self, path: &GuestPath) -> bool;

    /// At most `len` bytes from `offset` on; none behind the end.
    fn read(&self, path: &GuestPath, offset: u64, len: usize) -> Result<Part, FileError>;

    /// Replaces a file's content, or adds to its end. Missing directories on the way are made. On an error
    /// the file is as it was.
    fn write(&self, path: &GuestPath, bytes: &[u8], append: bool) -> Result<(), FileError>;

    /// Begins a file of about `length` bytes. Fails at once if there will be no room for it.
    fn stage(&self, length: u64) -> Result<Box<dyn Staged>, FileError>;

    /// Every file with its length, in the order of the paths.
    fn list(&self) -> Vec<(GuestPath, u64)>;

    /// Executes a program with arguments until it ends, time is up or the token is cancelled. Blocks.
    fn execute(
        &self,
        program: &GuestPath,
        arguments: &[String],
        time_max: Duration,
        cancel: &CancellationToken,
    ) -> ExecutionReport;
}
