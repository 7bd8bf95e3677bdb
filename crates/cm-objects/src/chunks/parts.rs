//! Parts of chunks as a peer of a storage network keeps them: whole copies and shards, each with the round that it was last
//! promised in.
//!
//! The **round** of a part is the time of its file's last change, in seconds after 1970: a small number that is stored with the file, is made durable by
//! the same flush, and leaves whole copies what they are in a directory without a network. Files whose time is that of a
//! clock are of round 0. Nothing but [`ChunkStore::remove_before`] looks at it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cm_crypto::digest::sha256;
use cm_erasure::{ErasureError, HEADER_LEN, Shard};
use cm_placement::{Redundancy, may_delete};
use cm_types::Sha256Digest;
use serde::{Deserialize, Serialize};

use super::{
    CHUNK_BYTES, ChunkStore, Count, TemporaryFile, Verified, hex_byte, read_at_most, shard_of, sync_dir,
};
use crate::{Flaw, ObjectError};

/// Times from here on, September 2001, are those of clocks.
const ROUND_MAX: u64 = 1_000_000_000;
/// Longest part: a shard of a chunk, with its header and padding, is no longer than that.
pub(crate) const PART_LEN_MAX: usize = CHUNK_BYTES + HEADER_LEN + 2;

/// What of a chunk a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// A shard of it, by the numbers of data and parity shards and its own.
    Shard { data: u8, parity: u8, number: u8 },
}

impl Part {
    /// The part with this number.
    pub(crate) fn of(redundancy: Redundancy, number: usize) -> Self {
        let byte = |count: usize| u8::try_from(count).expect("a redundancy has at most 64 holders");
        match redundancy.shards() {
            None => Self::Whole,
            Some((data, parity)) => {
                Self::Shard { data: byte(data), parity: byte(parity), number: byte(number) }
            }
        }
    }

    /// All parts of a chunk that is kept like this.
    pub(crate) fn all(redundancy: Redundancy) -> impl Iterator<Item = Self> {
        let count = redundancy.shards().map_or(1, |_| redundancy.width());
        (0..count).map(move |number| Self::of(redundancy, number))
    }

    /// Its number; 0 of copies.
    pub(crate) fn number(self) -> usize {
        match self {
            Self::Whole => 0,
            Self::Shard { number, .. } => number.into(),
        }
    }

    fn file_name(self, digest: &Sha256Digest) -> String {
        match self {
            Self::Whole => digest.to_string(),
            Self::Shard { data, parity, number } => format!("{digest}.{data}-{parity}-{number}"),
        }
    }

    fn parse(name: &str) -> Option<(Sha256Digest, Self)> {
        let Some((digest, shard)) = name.split_once('.') else {
            return Some((name.parse().ok()?, Self::Whole));
        };
        let mut numbers = shard.split('-').map(|text| text.parse::<u8>().ok());
        let part = Self::Shard { data: numbers.next()??, parity: numbers.next()??, number: numbers.next()?? };
        let digest = digest.parse().ok()?;
        (part.file_name(&digest) == name).then_some((digest, part))
    }

    /// Whether the bytes are this part of the chunk.
    fn verify(self, verified: &Verified, digest: &Sha256Digest, bytes: &[u8]) -> Result<(), Flaw> {
        match self {
            Self::Whole => verified.check(digest, bytes),
            Self::Shard { data, parity, number } => match Shard::decode(bytes) {
                Ok(shard)
                    if shard.chunk() == digest
                        && shard.shards() == (data.into(), parity.into())
                        && shard.number() == usize::from(number) =>
                {
                    Ok(())
                }
                Ok(_) | Err(ErasureError::NoShard | ErasureError::Damaged { .. }) | Err(_) => {
                    Err(Flaw::Altered { found: sha256(bytes) })
                }
            },
        }
    }
}

impl ChunkStore {
    pub(crate) fn part_path(&self, digest: &Sha256Digest, part: Part) -> PathBuf {
        self.chunks.join(hex_byte(shard_of(digest))).join(part.file_name(digest))
    }

    fn settle(&self, digest: &Sha256Digest) -> MutexGuard<'_, ()> {
        self.settling[usize::from(shard_of(digest))].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Verifies the bytes and makes them durable as a part that is promised in this round. Answers with how many bytes the directory has
    /// more than before.
    pub(crate) fn keep(
        &self,
        digest: &Sha256Digest,
        part: Part,
        bytes: &[u8],
        round: u64,
    ) -> Result<u64, KeepError> {
        if bytes.len() > PART_LEN_MAX {
            return Err(KeepError::Damaged);
        }
        part.verify(&self.verified, digest, bytes).map_err(|_| KeepError::Damaged)?;
        let path = self.part_path(digest, part);
        if matches!(read_at_most(&path, bytes.len()), Ok(found) if found == bytes)
            && self.hold(digest, part, Some(round))?
        {
            return Ok(0);
        }
        let mut temporary = TemporaryFile::create(&self.temporary)?;
        let failed = ObjectError::storage(&temporary.path);
        io::Write::write_all(&mut temporary.file, bytes)
            .and_then(|()| temporary.file.set_modified(time_of(round)))
            .and_then(|()| temporary.file.sync_all())
            .map_err(failed)?;
        let _settling = self.settle(digest);
        let before = fs::metadata(&path).ok();
        if let Some(promised) = before.as_ref().map(round_of).filter(|promised| *promised > round) {
            let failed = ObjectError::storage(&path);
            let raised = temporary.file.set_modified(time_of(promised));
            raised.and_then(|()| temporary.file.sync_all()).map_err(failed)?;
        }
        temporary.rename(&path)?;
        let (len, before) = (bytes.len() as u64, before.map(|before| before.len()));
        let count = &self.counts[usize::from(shard_of(digest))];
        change(&count.parts, |parts| parts + u64::from(before.is_none()));
        change(&count.bytes, |bytes| bytes.saturating_sub(before.unwrap_or_default()) + len);
        sync_dir(&self.chunks.join(hex_byte(shard_of(digest))))?;
        Ok(len.saturating_sub(before.unwrap_or_default()))
    }

    /// Whether the part is there, unverified. With a round it is durable then, and promised in it.
    pub(crate) fn hold(
        &self,
        digest: &Sha256Digest,
        part: Part,
        round: Option<u64>,
    ) -> Result<bool, ObjectError> {
        let path = self.part_path(digest, part);
        let Some(round) = round else { return Ok(path.exists()) };
        let held = || {
            let _settling = self.settle(digest);
            let file = File::options().write(true).open(&path)?;
            if round_of(&file.metadata()?) < round {
                file.set_modified(time_of(round))?;
            }
            file.sync_all()
        };
        match held() {
            Ok(()) => sync_dir(&self.chunks.join(hex_byte(shard_of(digest)))).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(ObjectError::Storage { path, source }),
        }
    }

    /// The bytes of a part, if they are what they should be.
    pub(crate) fn read_part(&self, digest: &Sha256Digest, part: Part) -> Result<Bytes, Flaw> {
        let bytes = read_at_most(&self.part_path(digest, part), PART_LEN_MAX).map_err(|error| match error
            .kind()
        {
            io::ErrorKind::NotFound => Flaw::Missing,
            kind => Flaw::Unreadable(kind),
        })?;
        part.verify(&self.verified, digest, &bytes)?;
        Ok(bytes.into())
    }

    /// Deletes a part that is not what it should be, found so twice. Whether it was.
    pub(crate) fn remove_damaged(&self, digest: &Sha256Digest, part: Part) -> Result<bool, ObjectError> {
        let _settling = self.settle(digest);
        match self.read_part(digest, part) {
            Err(Flaw::Altered { .. } | Flaw::Truncated { .. }) => {
                self.remove_counted(digest, part).map(|freed| freed.is_some())
            }
            Ok(_) | Err(_) => Ok(false),
        }
    }

    /// Deletes a part that nobody was promised in this round or later; the number of bytes that this freed.
    pub(crate) fn remove_before(
        &self,
        digest: &Sha256Digest,
        part: Part,
        round: u64,
    ) -> Result<Option<u64>, ObjectError> {
        let path = self.part_path(digest, part);
        let _settling = self.settle(digest);
        match fs::metadata(&path) {
            Ok(metadata) if may_delete(round_of(&metadata), round) => self.remove_counted(digest, part),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Deletes a part; for whoever settles in its directory.
    fn remove_counted(&self, digest: &Sha256Digest, part: Part) -> Result<Option<u64>, ObjectError> {
        let freed = remove(&self.part_path(digest, part))?;
        if let Some(len) = freed {
            let count = &self.counts[usize::from(shard_of(digest))];
            change(&count.parts, |parts| parts.saturating_sub(1));
            change(&count.bytes, |bytes| bytes.saturating_sub(len));
        }
        Ok(freed)
    }

    /// How many parts there are and their bytes, as far as the directories were counted since the store was opened; what was kept or
    /// deleted meanwhile is in it.
    pub(crate) fn counted(&self) -> (u64, u64) {
        let all = |of: fn(&Count) -> &AtomicU64| {
            self.counts.iter().map(|count| of(count).load(Ordering::Relaxed)).sum()
        };
        (all(|count| &count.parts), all(|count| &count.bytes))
    }

    /// As [`ChunkStore::list_parts`], and counts them. Nothing gets there or goes meanwhile.
    pub(crate) fn count_parts(&self, directory: u8) -> Result<Vec<(Sha256Digest, Part, u64)>, ObjectError> {
        let at = usize::from(directory);
        let _settling = self.settling[at].lock().unwrap_or_else(PoisonError::into_inner);
        let listed = self.list_parts(directory)?;
        self.counts[at].parts.store(listed.len() as u64, Ordering::Relaxed);
        self.counts[at].bytes.store(listed.iter().map(|(_, _, len)| len).sum(), Ordering::Relaxed);
        Ok(listed)
    }

    /// The parts in one of the 256 directories with their lengths. Files with other names are not ours.
    pub(crate) fn list_parts(&self, directory: u8) -> Result<Vec<(Sha256Digest, Part, u64)>, ObjectError> {
        self.each_part(directory, |(digest, part), entry| {
            (digest, part, entry.metadata().map_or(0, |metadata| metadata.len()))
        })
    }

    /// As [`ChunkStore::list_parts`], without looking at each file.
    pub(crate) fn part_names(&self, directory: u8) -> Result<Vec<(Sha256Digest, Part)>, ObjectError> {
        self.each_part(directory, |part, _| part)
    }

    fn each_part<T>(
        &self,
        directory: u8,
        take: impl Fn((Sha256Digest, Part), &fs::DirEntry) -> T,
    ) -> Result<Vec<T>, ObjectError> {
        let path = self.chunks.join(hex_byte(directory));
        let entries = fs::read_dir(&path).map_err(ObjectError::storage(&path))?;
        let mut parts = Vec::new();
        for entry in entries {
            let entry = entry.map_err(ObjectError::storage(&path))?;
            let found = entry.file_name().to_str().and_then(Part::parse);
            if let Some(part) = found.filter(|(digest, _)| shard_of(digest) == directory) {
                parts.push(take(part, &entry));
            }
        }
        Ok(parts)
    }
}

/// Why a part was not kept.
#[derive(Debug)]
pub(crate) enum KeepError {
    /// It is not what it says.
    Damaged,
    /// The file system failed.
    Storage(ObjectError),
}

impl From<ObjectError> for KeepError {
    fn from(error: ObjectError) -> Self {
        Self::Storage(error)
    }
}

/// Changes a count; whoever does it settles in its directory, so that nobody else does.
fn change(count: &AtomicU64, to: impl FnOnce(u64) -> u64) {
    count.store(to(count.load(Ordering::Relaxed)), Ordering::Relaxed);
}

fn time_of(round: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(round.min(ROUND_MAX - 1))
}

fn round_of(metadata: &fs::Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map(|since| since.as_secs()).filter(|secs| *secs < ROUND_MAX).unwrap_or(0)
}

fn remove(path: &Path) -> Result<Option<u64>, ObjectError> {
    let len = fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default();
    match fs::remove_file(path) {
        Ok(()) => Ok(Some(len)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ObjectError::Storage { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stays_while_it_is_promised_and_goes_in_a_later_round() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = ChunkStore::open(dir.path()).unwrap();
        let (bytes, part) = (b"some bytes".as_slice(), Part::Whole);
        let digest = sha256(bytes);
        assert_eq!(store.keep(&digest, part, bytes, 5).unwrap(), 10);
        assert_eq!(store.keep(&digest, part, bytes, 3).unwrap(), 0, "an older promise lowers nothing");
        assert_eq!(store.remove_before(&digest, part, 5).unwrap(), None);
        assert!(store.hold(&digest, part, Some(7)).unwrap());
        assert_eq!(store.remove_before(&digest, part, 6).unwrap(), None, "it was promised again");
        // Rewritten with what is right, it keeps the later promise.
        fs::write(store.part_path(&digest, part), b"rot").unwrap();
        let rot = File::options().write(true).open(store.part_path(&digest, part)).unwrap();
        rot.set_modified(time_of(7)).unwrap();
        assert_eq!(store.keep(&digest, part, bytes, 1).unwrap(), 7);
        assert_eq!(store.remove_before(&digest, part, 7).unwrap(), None);
        assert_eq!(store.remove_before(&digest, part, 8).unwrap(), Some(10));
        assert!(!store.hold(&digest, part, Some(9)).unwrap());
        // What a store without a network wrote is of no round.
        store.write(&digest, bytes).unwrap();
        assert_eq!(store.remove_before(&digest, part, 1).unwrap(), Some(10));
    }

    #[test]
    fn what_is_kept_and_deleted_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = ChunkStore::open(dir.path()).unwrap();
        let (bytes, part) = (b"some bytes".as_slice(), Part::Whole);
        let digest = sha256(bytes);
        let rot = || fs::write(store.part_path(&digest, part), b"rot").unwrap();
        store.keep(&digest, part, bytes, 1).unwrap();
        assert_eq!(store.keep(&digest, part, bytes, 2).unwrap(), 0);
        assert_eq!(store.counted(), (1, 10), "once");
        rot();
        assert_eq!(store.count_parts(shard_of(&digest)).unwrap().len(), 1);
        assert_eq!(store.counted(), (1, 3));
        store.keep(&digest, part, bytes, 3).unwrap();
        assert_eq!(store.counted(), (1, 10), "in place of the damaged one");
        rot();
        store.count_parts(shard_of(&digest)).unwrap();
        assert!(store.remove_damaged(&digest, part).unwrap());
        assert_eq!(store.counted(), (0, 0));
        store.keep(&digest, part, bytes, 4).unwrap();
        store.remove_before(&digest, part, u64::MAX).unwrap();
        assert_eq!(store.counted(), (0, 0));
        // What was there before it was opened is counted when it is looked through, and may go before that.
        store.keep(&digest, part, bytes, 5).unwrap();
        drop(store);
        let (store, _) = ChunkStore::open(dir.path()).unwrap();
        assert_eq!(store.counted(), (0, 0));
        store.remove_before(&digest, part, u64::MAX).unwrap();
        assert_eq!(store.counted(), (0, 0));
    }

    #[test]
    fn only_what_is_the_part_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = ChunkStore::open(dir.path()).unwrap();
        let bytes = b"some other bytes".as_slice();
        let digest = sha256(bytes);
        let coded = Redundancy::erasure(2, 1).unwrap();
        let shards = cm_erasure::Code::new(coded).unwrap().encode(digest, bytes).unwrap();
        let (second, third) = (Part::of(coded, 1), Part::of(coded, 2));
        store.keep(&digest, second, &shards[1].encode(), 1).unwrap();
        for (part, bytes) in [(third, shards[1].encode()), (Part::Whole, b"x".to_vec()), (third, vec![1; 90])]
        {
            assert!(matches!(store.keep(&digest, part, &bytes, 1), Err(KeepError::Damaged)), "{part:?}");
        }
        assert_eq!(store.read_part(&digest, second).unwrap(), shards[1].encode());
        let listed = store.list_parts(shard_of(&digest)).unwrap();
        assert_eq!(listed, [(digest, second, shards[1].encode().len() as u64)]);
        fs::write(store.part_path(&digest, second), b"rot").unwrap();
        assert!(matches!(store.read_part(&digest, second), Err(Flaw::Altered { .. })));
        assert!(store.remove_damaged(&digest, second).unwrap());
        assert_eq!(store.read_part(&digest, second), Err(Flaw::Missing));
        for name in ["x", "ab.1-2", "ab.1-2-3-4"] {
            assert_eq!(Part::parse(name), None);
        }
        assert_eq!(Part::parse(&format!("{digest}.02-1-1")), None, "another spelling is another file");
    }
}
