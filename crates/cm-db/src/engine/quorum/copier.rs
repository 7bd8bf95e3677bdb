//! Copies of the data's file, on their way out and in.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use cm_quorum::{Applied, PIECE_LEN_MAX, SnapshotMeta};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::beside;
use super::data::{is_replicated, read_applied};
use super::journal::damaged;
use crate::DbError;
use crate::engine::sqlite::{io_error, storage_error};

/// The files of copies beside the data's, and the one that is being sent.
#[derive(Clone, Debug)]
pub(super) struct Files {
    out: PathBuf,
    coming: PathBuf,
    sent: Arc<Mutex<Option<(SnapshotMeta, File)>>>,
}

impl Files {
    /// What an earlier run left is removed.
    pub(super) fn new(data: &Path) -> Result<Self, DbError> {
        let files = Self {
            out: beside(data, "-copy-out"),
            coming: beside(data, "-copy-in"),
            sent: Arc::new(Mutex::new(None)),
        };
        remove(&files.out)?;
        remove(&files.coming)?;
        Ok(files)
    }

    /// Makes a copy to send. Takes as long as reading all of the data.
    pub(super) fn make(&self, data: &Path, id: u64) -> Result<SnapshotMeta, DbError> {
        self.drop_made();
        create(&self.out).map_err(io_error)?;
        let applied = copy(data, &self.out)?;
        let mut file = File::open(&self.out).map_err(io_error)?;
        let (digest, len) = digest_of(&mut file)?;
        let Applied { at, version, members } = applied;
        let meta = SnapshotMeta { id, at, version, members, len, digest };
        *self.sent() = Some((meta.clone(), file));
        Ok(meta)
    }

    /// The copy is not needed any more.
    pub(super) fn drop_made(&self) {
        *self.sent() = None;
        if let Err(error) = remove(&self.out) {
            tracing::warn!(error = &error as &dyn std::error::Error, "copy not removed");
        }
    }

    /// A piece of the copy; `None` if it is another one by now.
    pub(super) fn piece(&self, id: u64, offset: u64) -> Result<Option<Vec<u8>>, DbError> {
        let sent = self.sent();
        let Some((meta, file)) = sent.as_ref().filter(|(meta, _)| meta.id == id) else { return Ok(None) };
        let len = usize::try_from(meta.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(PIECE_LEN_MAX);
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset).map_err(io_error)?;
        Ok(Some(bytes))
    }

    /// Keeps a piece of a copy that comes.
    pub(super) fn keep(&self, offset: u64, bytes: &[u8]) -> Result<(), DbError> {
        if offset == 0 {
            remove(&self.coming)?;
            create(&self.coming).map_err(io_error)?;
        }
        let file = File::options().write(true).open(&self.coming).map_err(io_error)?;
        file.write_all_at(bytes, offset).map_err(io_error)
    }

    /// The copy that came, if it is whole and what it says it is.
    pub(super) fn came(&self, meta: &SnapshotMeta) -> Result<Connection, DbError> {
        let mut file = File::open(&self.coming).map_err(io_error)?;
        if digest_of(&mut file)? != (meta.digest, meta.len) {
            return Err(damaged("a copy of the data came altered"));
        }
        drop(file);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.coming, flags).map_err(storage_error)?;
        let expected = Applied { at: meta.at, version: meta.version, members: meta.members.clone() };
        if !is_replicated(&connection)? || read_applied(&connection)? != expected {
            return Err(damaged("a copy of the data is not what it was said to be"));
        }
        Ok(connection)
    }

    /// The copy that came is not needed any more.
    pub(super) fn drop_came(&self) {
        if let Err(error) = remove(&self.coming) {
            tracing::warn!(error = &error as &dyn std::error::Error, "copy not removed");
        }
    }

    fn sent(&self) -> std::sync::MutexGuard<'_, Option<(SnapshotMeta, File)>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For its owner only, as the data's file.
fn create(path: &Path) -> std::io::Result<()> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path).map(drop)
}

/// With the files that SQLite puts beside it.
fn remove(path: &Path) -> Result<(), DbError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_error(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Copies a database as of one moment; how far it is.
fn copy(from: &Path, to: &Path) -> Result<Applied, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |path| Connection::open_with_flags(path, flags).map_err(storage_error);
    let (source, mut target) = (open(from)?, open(to)?);
    // It is made again if it is lost.
    target.pragma_update(None, "synchronous", "off").map_err(storage_error)?;
    let backup = Backup::new(&source, &mut target).map_err(storage_error)?;
    if !matches!(backup.step(-1).map_err(storage_error)?, StepResult::Done) {
        return Err(damaged("the file is in use and cannot be copied"));
    }
    drop(backup);
    let applied = read_applied(&target)?;
    target.close().map_err(|(_, error)| storage_error(error))?;
    Ok(applied)
}

fn digest_of(file: &mut File) -> Result<([u8; 32], u64), DbError> {
    let mut context = digest::Context::new(&digest::SHA256);
    let (mut buffer, mut len) = (vec![0; 256 << 10], 0);
    loop {
        let read = file.read(&mut buffer).map_err(io_error)?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
        len += read as u64;
    }
    let digest = context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
    Ok((digest, len))
}
