//! The program that instances run, measured once.
//!
//! The node copies its own executable into a sealed anonymous file, hashes that file and starts every
//! instance from it. Nobody can change the bytes between the measurement and the run: not by replacing
//! the file on disk, not by writing to the copy, whose seals the kernel enforces and which cannot be removed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use cm_crypto::digest::Sha256;
use cm_types::Sha256Digest;
use rustix::fs::{MemfdFlags, SealFlags};

/// Bytes copied at once.
const BUFFER_LEN: usize = 256 * 1024;

/// An executable whose bytes can no longer change.
#[derive(Debug)]
pub struct MeasuredExecutable {
    sealed: OwnedFd,
    measurement: Sha256Digest,
}

impl MeasuredExecutable {
    /// Copies, seals and hashes the program that is running now. Blocks for the reading of a file.
    pub fn of_this_process() -> io::Result<Self> {
        Self::of(Path::new("/proc/self/exe"))
    }

    /// Copies, seals and hashes another program.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut source = File::open(path)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Newer kernels want to hear that this memory will be executed, older ones do not know the flag.
        let copy = rustix::fs::memfd_create(c"cryptomesh", flags | MemfdFlags::EXEC)
            .or_else(|_| rustix::fs::memfd_create(c"cryptomesh", flags))?;
        let mut copy = File::from(copy);
        let mut hash = Sha256::new();
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            match source.read(&mut buffer)? {
                0 => break,
                read => {
                    hash.update(&buffer[..read]);
                    copy.write_all(&buffer[..read])?;
                }
            }
        }
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&copy, seals)?;
        // A file that is open for writing anywhere cannot be executed: keep a read-only view only.
        let sealed = File::open(path_of(&copy))?.into();
        Ok(Self { sealed, measurement: hash.finish() })
    }

    /// SHA-256 of the bytes that every instance runs.
    pub fn measurement(&self) -> Sha256Digest {
        self.measurement
    }

    /// The name under which a child of this process executes the sealed copy.
    pub(crate) fn path(&self) -> PathBuf {
        path_of(&self.sealed)
    }
}

fn path_of(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_bytes_cannot_be_changed() {
        let executable = MeasuredExecutable::of(Path::new("/proc/self/exe")).unwrap();
        let bytes = std::fs::read(executable.path()).unwrap();
        assert_eq!(cm_crypto::digest::sha256(&bytes), executable.measurement());
        let write =
            File::options().write(true).open(executable.path()).and_then(|mut file| file.write_all(b"x"));
        assert!(write.is_err(), "the sealed copy was written to");
        let truncate = File::options().write(true).truncate(true).open(executable.path());
        assert!(truncate.is_err(), "the sealed copy was truncated");
    }

    #[test]
    fn the_measured_program_runs() {
        let executable = MeasuredExecutable::of(Path::new("/bin/sh")).unwrap();
        let status = std::process::Command::new(executable.path()).args(["-c", "exit 7"]).status().unwrap();
        assert_eq!(status.code(), Some(7));
    }
}
