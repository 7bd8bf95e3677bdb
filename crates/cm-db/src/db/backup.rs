//! Backups that no engine knows of: what one wrote, every other restores.
//!
//! A backup is a header (`CMBACKUP`, the format's version, the data's versions), then tables in the order of their
//! names, each a name followed by its rows in the order of their keys, and an end mark with the numbers of tables and
//! rows and the SHA-256 of everything before it. All lengths come first, big-endian. The digest finds damage; it
//! keeps nobody from writing another backup.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use aws_lc_rs::digest;

use super::{Db, writer};
use crate::engine::{Pace, Pair, ReadStore, WriteStore};
use crate::tx::{Hook, KEY_LEN_MAX, ROW_LEN_MAX};
use crate::{DbError, Direction, KeyRange, Schema, Versions};

const MAGIC: &[u8; 8] = b"CMBACKUP";
const FORMAT: u8 = 1;
const TAG_TABLE: u8 = b'T';
const TAG_ROW: u8 = b'R';
const TAG_END: u8 = b'E';
const DIGEST_LEN: usize = 32;
/// Longest name of a table, in bytes: what PostgreSQL keeps of a name, less our prefix.
const NAME_LEN_MAX: usize = 61;
/// About how many bytes of rows are in memory at once.
const CHUNK_BYTES: usize = 4 << 20;
/// Most rows read at once.
const CHUNK_ROWS_MAX: usize = 1024;
/// Rows of the first chunk of a table, of which nothing is known.
const CHUNK_ROWS_FIRST: usize = 16;
/// Small writes and reads are gathered.
const BUFFER_BYTES: usize = 64 << 10;

/// Why a backup was not written or not restored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackupError {
    /// It is something else.
    #[error("this is no backup of this program")]
    Foreign,
    /// It was written by a newer version of the program.
    #[error("the backup has format {found}, known are formats up to {}", FORMAT)]
    Format {
        /// The format's version.
        found: u8,
    },
    /// It ends too early.
    #[error("the backup is cut short")]
    Truncated,
    /// It is not as it was written.
    #[error("the backup is altered: {0}")]
    Altered(&'static str),
    /// It cannot be read or written.
    #[error("the backup cannot be read or written")]
    Io(#[source] Arc<std::io::Error>),
}

/// What is in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// The versions of the data in it.
    pub versions: Versions,
    /// How many tables, empty ones included.
    pub tables: u32,
    /// How many rows.
    pub rows: u64,
}

impl Db {
    /// Writes all tables, as of one moment, and hands the flushed writer back. Memory stays bounded and writers go
    /// on meanwhile, but one reader is busy until `out` has taken everything.
    ///
    /// [`DbError::Backup`] if `out` fails; what it got by then is no backup.
    pub async fn export<W: Write + Send + 'static>(&self, out: W) -> Result<(W, BackupSummary), DbError> {
        self.read_at(Pace::Long, move |tx| {
            let mut out = Hashing::new(std::io::BufWriter::with_capacity(BUFFER_BYTES, out));
            let summary = export(tx.store(), &mut out)?;
            let out = out.inner.into_inner().map_err(|error| io_error(error.into_error()))?;
            Ok((out, summary))
        })
        .await
    }

    /// Fills an empty database from a backup and brings the data to this program's version. All or nothing, in one
    /// transaction, during which nobody else writes.
    ///
    /// [`DbError::NotEmpty`] if there are rows; [`DbError::NewerData`] if the data is for newer programs;
    /// [`DbError::Backup`] if the backup is not whole.
    pub async fn import<R: Read + Send + 'static>(&self, input: R) -> Result<BackupSummary, DbError> {
        let schema = self.schema.clone();
        self.alone(move |db| {
            let mut input = Some(input);
            let mut done = None;
            db.transaction(Pace::Long, &mut |store| {
                let input =
                    std::io::BufReader::with_capacity(BUFFER_BYTES, input.take().ok_or(DbError::Closed)?);
                // A reader that panics shall not take the writer thread along.
                let imported = catch_unwind(AssertUnwindSafe(|| import(store, &schema, Hashing::new(input))));
                done = Some(imported.unwrap_or(Err(DbError::Panicked))?);
                Ok(())
            })?;
            let (summary, hooks) = done.ok_or(DbError::Closed)?;
            writer::run_hooks(hooks);
            Ok(summary)
        })
        .await
    }
}

fn export(store: &dyn ReadStore, out: &mut Hashing<impl Write>) -> Result<BackupSummary, DbError> {
    let versions = store.versions()?;
    let mut summary = BackupSummary { versions, tables: 0, rows: 0 };
    out.write(MAGIC)?;
    out.write(&[FORMAT])?;
    out.write(&versions.data.to_be_bytes())?;
    out.write(&versions.compatible_from.to_be_bytes())?;
    for table in store.tables()? {
        out.write(&[TAG_TABLE, u8::try_from(table.len()).unwrap_or(u8::MAX)])?;
        out.write(table.as_bytes())?;
        summary.tables += 1;
        let mut range = KeyRange::all();
        let mut limit = CHUNK_ROWS_FIRST;
        loop {
            let chunk = store.scan(&table, &range, Direction::Forward, limit)?;
            for (key, row) in &chunk {
                out.write(&[TAG_ROW])?;
                out.write(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes())?;
                out.write(&u32::try_from(row.len()).unwrap_or(u32::MAX).to_be_bytes())?;
                out.write(key)?;
                out.write(row)?;
            }
            summary.rows += chunk.len() as u64;
            match chunk.last() {
                Some((last, _)) if chunk.len() == limit => range = range.after_encoded(last),
                _ => break,
            }
            limit = next_limit(limit, &chunk);
        }
    }
    out.write(&[TAG_END])?;
    out.write(&summary.tables.to_be_bytes())?;
    out.write(&summary.rows.to_be_bytes())?;
    let digest = out.digest();
    out.write(&digest)?;
    Ok(summary)
}

/// As many rows as fit if they are like the largest of the last chunk, growing slowly.
fn next_limit(limit: usize, chunk: &[Pair]) -> usize {
    let largest = chunk.iter().map(|(key, row)| key.len() + row.len()).max().unwrap_or(0).max(1);
    (CHUNK_BYTES / largest).clamp(1, limit * 2).min(CHUNK_ROWS_MAX)
}

fn import(
    store: &dyn WriteStore,
    schema: &Schema,
    mut input: Hashing<impl Read>,
) -> Result<(BackupSummary, Vec<Hook>), DbError> {
    for table in store.tables()? {
        if !store.scan(&table, &KeyRange::all(), Direction::Forward, 1)?.is_empty() {
            return Err(DbError::NotEmpty { table });
        }
    }
    let versions = read_header(&mut input)?;
    let Versions { data, compatible_from } = versions;
    if compatible_from > schema.version() {
        return Err(DbError::NewerData { found: data, compatible_from, known: schema.version() });
    }
    let mut summary = BackupSummary { versions, tables: 0, rows: 0 };
    let mut table = String::new();
    let mut last_key: Option<Vec<u8>> = None;
    loop {
        match input.array::<1>()? {
            [TAG_TABLE] => {
                let name = read_name(&mut input)?;
                if name <= table {
                    return Err(BackupError::Altered("its tables are not in order").into());
                }
                store.create_table(&name)?;
                (table, last_key) = (name, None);
                summary.tables += 1;
            }
            [TAG_ROW] if !table.is_empty() => {
                let key_len = input.len(KEY_LEN_MAX)?;
                let row_len = input.len(ROW_LEN_MAX)?;
                let (key, row) = (input.bytes(key_len)?, input.bytes(row_len)?);
                if last_key.as_ref().is_some_and(|last| *last >= key) {
                    return Err(BackupError::Altered("its rows are not in order").into());
                }
                store.put(&table, &key, &row)?;
                last_key = Some(key);
                summary.rows += 1;
            }
            [TAG_END] => break,
            _ => return Err(BackupError::Altered("it has parts that no backup has").into()),
        }
    }
    check_end(&mut input, &summary)?;
    let found = if data == 0 { Versions::default() } else { versions };
    store.set_versions(found)?;
    let hooks = writer::expand(store, schema, found)?;
    Ok((summary, hooks))
}

fn read_header(input: &mut Hashing<impl Read>) -> Result<Versions, DbError> {
    match input.array::<8>() {
        Ok(magic) if magic == *MAGIC => {}
        Err(BackupError::Io(source)) => return Err(BackupError::Io(source).into()),
        _ => return Err(BackupError::Foreign.into()),
    }
    let [found] = input.array()?;
    if found != FORMAT {
        return Err(BackupError::Format { found }.into());
    }
    let data = u32::from_be_bytes(input.array()?);
    let compatible_from = u32::from_be_bytes(input.array()?);
    Ok(Versions { data, compatible_from })
}

/// A name that becomes a part of SQL text, hence nothing but lower-case letters, digits and `_`.
fn read_name(input: &mut Hashing<impl Read>) -> Result<String, BackupError> {
    let [len] = input.array()?;
    let valid = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'_';
    let name = input.bytes(usize::from(len))?;
    if name.is_empty() || name.len() > NAME_LEN_MAX || !name.iter().all(valid) {
        return Err(BackupError::Altered("a table's name is none"));
    }
    String::from_utf8(name).map_err(|_| BackupError::Altered("a table's name is none"))
}

fn check_end(input: &mut Hashing<impl Read>, summary: &BackupSummary) -> Result<(), BackupError> {
    let (tables, rows) = (u32::from_be_bytes(input.array()?), u64::from_be_bytes(input.array()?));
    let digest = input.digest();
    if input.array::<DIGEST_LEN>()? != digest {
        return Err(BackupError::Altered("its digest is another"));
    }
    if (tables, rows) != (summary.tables, summary.rows) {
        return Err(BackupError::Altered("it has lost rows"));
    }
    match input.array::<1>() {
        Err(BackupError::Truncated) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(BackupError::Altered("something follows its end")),
    }
}

/// A stream and the digest of what went through it.
struct Hashing<S> {
    inner: S,
    digest: digest::Context,
}

impl<S> Hashing<S> {
    fn new(inner: S) -> Self {
        Self { inner, digest: digest::Context::new(&digest::SHA256) }
    }

    fn digest(&self) -> [u8; DIGEST_LEN] {
        let digest = self.digest.clone().finish();
        digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl<W: Write> Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.digest.update(bytes);
        self.inner.write_all(bytes).map_err(io_error)
    }
}

impl<R: Read> Hashing<R> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).map_err(io_error)?;
        self.digest.update(&bytes);
        Ok(bytes)
    }

    fn len(&mut self, max: usize) -> Result<usize, BackupError> {
        let len = usize::try_from(u32::from_be_bytes(self.array()?)).unwrap_or(usize::MAX);
        if len > max { Err(BackupError::Altered("a key or row is too long")) } else { Ok(len) }
    }

    fn bytes(&mut self, len: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::new();
        // Not `read_exact`: a length that was tampered with must not reserve memory that no bytes fill.
        let limit = u64::try_from(len).unwrap_or(u64::MAX);
        self.inner.by_ref().take(limit).read_to_end(&mut bytes).map_err(io_error)?;
        if bytes.len() < len {
            return Err(BackupError::Truncated);
        }
        self.digest.update(&bytes);
        Ok(bytes)
    }
}

fn io_error(error: std::io::Error) -> BackupError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => BackupError::Truncated,
        _ => BackupError::Io(Arc::new(error)),
    }
}

#[cfg(test)]
mod tests;
