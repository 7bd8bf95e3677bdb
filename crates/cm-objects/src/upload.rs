//! A version on its way from the body of a request to durable chunks.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cm_crypto::digest::{Md5, Sha256};
use cm_db::WriteTx;
use cm_runtime::Tasks;
use cm_types::{Sha256Digest, Timestamp};
use futures::{Stream, StreamExt};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::abandoned::Uncounted;
use crate::chunks::shard_of;
use crate::claims::Shared;
use crate::encryption::Encryption;
use crate::hashing::Hashing;
use crate::inline::{INLINE_BYTES_CEILING, InlineBytes, InlineRow};
use crate::network::Network;
use crate::network::keeping::Keeping;
use crate::objects::Engine;
use crate::packing::{Compression, Cutting, Packing, Shape};
use crate::places::Place;
use crate::quota::Room;
use crate::tables::{Doomed, SEGMENT_BYTES, SegmentRow, VersionKey, insert_segment};
use crate::{CHUNK_BYTES, ObjectError};

/// How many chunks of one put are on their way to the disk at once. The device makes what several threads wait for durable
/// in one go, so that this is what a put's rate multiplies by.
const WRITING_MAX: usize = 4;
/// How many chunks of one put are on their way to peers at once, each with its shards.
const PLACING_MAX: usize = 3;
/// How many directories one put flushes at once.
const FLUSHING_MAX: usize = 16;
/// Up to how many bytes are hashed where they are: that takes about as long as to hand them to another thread.
const HASHED_AT_ONCE_MAX: usize = INLINE_BYTES_CEILING;

/// Up to how many bytes a body may be until room for a whole chunk is made.
const GROWING_MAX: u64 = 64 << 10;

/// What the bytes of a version must be, and what is to be found out about them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digests {
    pub(crate) sha256: Option<Sha256Digest>,
    pub(crate) md5: Option<[u8; 16]>,
    /// Whether their MD5 is wanted.
    pub(crate) wants_md5: bool,
    /// How its chunks are to be kept in a storage network.
    pub(crate) keeping: Option<Keeping>,
    /// How they become chunks.
    pub(crate) packing: Packing,
    /// How much there is room for by a quota.
    pub(crate) room: Option<Room>,
}

impl Digests {
    /// Compares what was found with what must be.
    ///
    /// # Errors
    /// [`ObjectError::DigestMismatch`], [`ObjectError::Md5Mismatch`].
    pub(crate) fn check(&self, sha256: Sha256Digest, md5: Option<[u8; 16]>) -> Result<(), ObjectError> {
        if let Some(expected) = self.sha256.filter(|expected| *expected != sha256) {
            return Err(ObjectError::DigestMismatch { expected, found: sha256 });
        }
        if self.md5.is_some() && self.md5 != md5 {
            return Err(ObjectError::Md5Mismatch);
        }
        Ok(())
    }
}

/// A version whose bytes are durable, but for the counting of the last chunks.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) version: Uuid,
    pub(crate) size: u64,
    pub(crate) sha256: Sha256Digest,
    /// In hexadecimal, if it was wanted.
    pub(crate) md5: Option<String>,
    /// The number of the segment that the last chunks make up.
    pub(crate) segment: u64,
    /// What the manifest says of these.
    pub(crate) shapes: Vec<Shape>,
    /// How it is encrypted, if it is.
    pub(crate) encryption: Option<Encryption>,
    /// Its bytes, if it is so small that it has no chunks.
    pub(crate) inline: Option<Bytes>,
}

/// A version on its way. Dropping it gives up its claims and tells the collector, which takes back whatever
/// it left: chunks that nothing counts, and segments of a version that is doomed.
pub(crate) struct Upload {
    engine: Arc<Engine>,
    version: Uuid,
    lease: Shared<Uuid>,
    place: Place,
    writer: Writer,
    segments: u64,
    /// How much content the segment has that is being filled.
    filled: u64,
    /// All of it, if it is small.
    inline: Option<Bytes>,
    expected: Digests,
}

/// Either at hand, or at work.
enum Writer {
    Idle(Box<ChunkWriter>),
    Busy(JoinHandle<Result<ChunkWriter, ObjectError>>),
    Failed,
}

/// Hashes chunks and makes them durable.
struct ChunkWriter {
    engine: Arc<Engine>,
    whole: Whole,
    /// The chunks of the segment being filled that are durable.
    uncounted: Uncounted,
    /// What the manifest says of them.
    shapes: Vec<Shape>,
    keeping: Option<Keeping>,
    compression: Compression,
    /// Those that are on their way to the disk or to peers, in the order of the object.
    placing: VecDeque<JoinHandle<Result<(Uncounted, Shape), ObjectError>>>,
}

/// What is found out about the bytes as a whole.
struct Whole {
    /// Not fed if all is one chunk as it is stored, whose digest is that of the whole.
    sha256: Hashing<Sha256>,
    is_one_chunk: bool,
    md5: Option<Hashing<Md5>>,
    size: u64,
}

impl Whole {
    fn new(expected: &Digests) -> Self {
        let md5 = (expected.wants_md5 || expected.md5.is_some()).then(|| Hashing::new(Md5::new()));
        Self { sha256: Hashing::new(Sha256::new()), is_one_chunk: false, md5, size: 0 }
    }

    /// Takes a chunk in, each digest on a thread of its own unless the chunk is small.
    async fn take(&mut self, tasks: &Tasks, chunk: &Bytes) -> Result<(), ObjectError> {
        let is_small = chunk.len() <= HASHED_AT_ONCE_MAX;
        if let Some(md5) = &mut self.md5 {
            if is_small { md5.take(chunk).await? } else { md5.queue(tasks, chunk.clone()).await? }
        }
        if !self.is_one_chunk {
            let sha256 = &mut self.sha256;
            if is_small { sha256.take(chunk).await? } else { sha256.queue(tasks, chunk.clone()).await? }
        }
        self.size += chunk.len() as u64;
        Ok(())
    }
}

impl ChunkWriter {
    fn new(engine: Arc<Engine>, expected: &Digests) -> Self {
        let uncounted = Uncounted::new(engine.abandoned.clone(), engine.pins.clone());
        Self {
            engine,
            whole: Whole::new(expected),
            uncounted,
            shapes: Vec::new(),
            keeping: expected.keeping,
            compression: expected.packing.compression,
            placing: VecDeque::new(),
        }
    }

    /// Sends the chunk on its way, waiting if enough of them are, and has it taken into the digests of the whole, which it may be.
    async fn place(mut self, chunk: Bytes, is_whole: bool) -> Result<Self, ObjectError> {
        match self.engine.network.get().cloned() {
            Some(network) => self.send(network, chunk.clone()).await?,
            None => self.write(chunk.clone()).await?,
        }
        self.whole.is_one_chunk = is_whole && self.compression == Compression::None;
        self.whole.take(&self.engine.tasks, &chunk).await?;
        Ok(self)
    }

    /// Writes the chunk to the own disk.
    async fn write(&mut self, chunk: Bytes) -> Result<(), ObjectError> {
        while self.placing.len() >= WRITING_MAX {
            self.placed().await?;
        }
        let (engine, mut pinned) = (self.engine.clone(), self.uncounted.none());
        let compression = self.compression;
        self.placing.push_back(self.engine.tasks.spawn_blocking("object-chunk", move || {
            let (stored, shape) = compression.pack(chunk);
            let digest = pinned.hash(&stored);
            engine.chunks.write(&digest, &stored)?;
            Ok((pinned, shape))
        }));
        Ok(())
    }

    /// Sends the chunk to peers.
    async fn send(&mut self, network: Arc<Network>, chunk: Bytes) -> Result<(), ObjectError> {
        let (mut pinned, compression) = (self.uncounted.none(), self.compression);
        let hashed = self.engine.tasks.spawn_blocking("object-hash", move || {
            let (stored, shape) = compression.pack(chunk);
            let digest = pinned.hash(&stored);
            (pinned, digest, stored, shape)
        });
        let (mut pinned, digest, stored, shape) = hashed.await.map_err(|_| ObjectError::Lost)?;
        while self.placing.len() >= PLACING_MAX {
            self.placed().await?;
        }
        let (is_promised, keeping) = (self.uncounted.is_promised(&digest), self.keeping);
        self.placing.push_back(self.engine.tasks.spawn("object-place", async move {
            if !is_promised {
                pinned.promise(digest, network.store(digest, stored, keeping).await?);
            }
            Ok((pinned, shape))
        }));
        Ok(())
    }

    /// Waits for the chunk that has been on its way for the longest; whether there was one. When it failed, nothing is at
    /// work any more.
    async fn placed(&mut self) -> Result<bool, ObjectError> {
        let Some(placing) = self.placing.pop_front() else { return Ok(false) };
        match placing.await.map_err(|_| ObjectError::Lost).flatten() {
            Ok((pinned, shape)) => {
                self.uncounted.append(pinned);
                self.shapes.push(shape);
            }
            Err(error) => {
                self.rest().await;
                return Err(error);
            }
        }
        Ok(true)
    }

    /// Waits until nothing is on its way, whatever comes of it.
    async fn rest(&mut self) {
        while let Some(placing) = self.placing.pop_front() {
            if let Ok(Ok((pinned, shape))) = placing.await {
                self.uncounted.append(pinned);
                self.shapes.push(shape);
            }
        }
    }

    /// Makes all chunks of the segment durable with their names.
    async fn sync(&mut self) -> Result<(), ObjectError> {
        while self.placed().await? {}
        if self.engine.network.get().is_some() {
            // Peers answer when a chunk is durable with its name.
            return Ok(());
        }
        // Another put may have renamed a chunk that this one merely found, so every directory is flushed.
        let shards: BTreeSet<u8> = self.uncounted.digests().iter().map(shard_of).collect();
        let flushed = futures::stream::iter(shards).map(|shard| {
            let engine = self.engine.clone();
            self.engine.tasks.spawn_blocking("object-sync", move || engine.chunks.sync_shard(shard))
        });
        let mut flushed = flushed.buffer_unordered(FLUSHING_MAX);
        while let Some(flushed) = flushed.next().await {
            flushed.map_err(|_| ObjectError::Lost)??;
        }
        Ok(())
    }
}

impl Upload {
    pub(crate) fn new(engine: Arc<Engine>, place: Place, expected: Digests) -> Self {
        let version = Uuid::new_v4();
        let lease = engine.leases.try_share(version).expect("nobody knows the random version yet");
        let writer = Writer::Idle(Box::new(ChunkWriter::new(engine.clone(), &expected)));
        Self { engine, version, lease, place, writer, segments: 0, filled: 0, inline: None, expected }
    }

    /// What the version is called.
    pub(crate) fn version(&self) -> Uuid {
        self.version
    }

    /// Takes the whole body in.
    pub(crate) async fn fill(
        mut self,
        body: impl Stream<Item = Result<Bytes, ObjectError>> + Send,
    ) -> Result<Self, ObjectError> {
        if let Err(error) = receive(&mut self, body).await {
            // Let the chunks finish, so that nothing is at work once the caller knows. Its own error
            // would say less than this one.
            let mut settled = self.settle().await;
            if let Ok(writer) = &mut settled {
                writer.rest().await;
            }
            // The lease before the chunks, which wake the collector.
            drop(self);
            drop(settled);
            return Err(error);
        }
        Ok(self)
    }

    /// Cuts the next chunk off the content and sends it on its way, after the one before it was sent; `size` is how much content there is in
    /// all, if that is known.
    async fn submit(&mut self, content: &mut BytesMut, size: Option<u64>) -> Result<(), ObjectError> {
        let chunk = self.cut(content).await?;
        let is_whole = size == Some(chunk.len() as u64);
        let mut writer = self.settle().await?;
        if self.filled == SEGMENT_BYTES {
            writer = self.spill(writer).await?;
        }
        self.filled += chunk.len() as u64;
        self.writer = Writer::Busy(self.engine.tasks.spawn("object-chunk", writer.place(chunk, is_whole)));
        Ok(())
    }

    async fn cut(&self, content: &mut BytesMut) -> Result<Bytes, ObjectError> {
        let (packing, filled) = (self.expected.packing, self.filled % SEGMENT_BYTES);
        if packing.cutting == Cutting::Fixed {
            return Ok(content.split_to(packing.next_len(content, filled)).freeze());
        }
        let looked_at = std::mem::take(content);
        let cut = self.engine.tasks.spawn_blocking("object-cut", move || {
            let len = packing.next_len(&looked_at, filled);
            (looked_at, len)
        });
        let (looked_at, len) = cut.await.map_err(|_| ObjectError::Lost)?;
        *content = looked_at;
        Ok(content.split_to(len).freeze())
    }

    async fn settle(&mut self) -> Result<ChunkWriter, ObjectError> {
        match std::mem::replace(&mut self.writer, Writer::Failed) {
            Writer::Idle(writer) => Ok(*writer),
            Writer::Busy(job) => job.await.map_err(|_| ObjectError::Lost)?,
            Writer::Failed => Err(ObjectError::Lost),
        }
    }

    /// Commits a full segment under the version, which is doomed until [`Upload::commit`] spares it.
    async fn spill(&mut self, mut writer: ChunkWriter) -> Result<ChunkWriter, ObjectError> {
        writer.sync().await?;
        let (engine, version, segment) = (self.engine.clone(), self.version, self.segments);
        let shapes = std::mem::take(&mut writer.shapes);
        let count = move |tx: &mut WriteTx<'_>, digests| {
            if segment == 0 {
                engine.doom(tx, version)?;
            } else {
                require_untouched(tx, version)?;
            }
            Ok(insert_segment(tx, version, segment, &SegmentRow::new(digests, &shapes), engine.now())?)
        };
        self.engine.write_counting(writer.uncounted.take(), count).await?;
        self.segments += 1;
        self.filled = 0;
        Ok(writer)
    }

    /// Compares the bytes with what they must be, and does `work` in the transaction that counts the last chunks.
    /// `work` gives the version a place; it is given those chunks for [`insert_last_segment`].
    pub(crate) async fn commit<T, F>(mut self, work: F) -> Result<T, ObjectError>
    where
        T: Send + 'static,
        F: FnOnce(&Engine, &mut WriteTx<'_>, Stored, Vec<Sha256Digest>) -> Result<T, ObjectError>
            + Send
            + 'static,
    {
        let mut writer = self.settle().await?;
        writer.sync().await?;
        let ChunkWriter { engine, mut whole, uncounted, shapes, .. } = writer;
        if let Some(bytes) = &self.inline {
            whole.take(&engine.tasks, bytes).await?;
        }
        let Whole { sha256, is_one_chunk, md5, size } = whole;
        let sha256 = sha256.finish().await?;
        let md5 = match md5 {
            Some(md5) => Some(md5.finish().await?),
            None => None,
        };
        let one_chunk = uncounted.digests().first().copied().filter(|_| is_one_chunk);
        let (sha256, md5) = (one_chunk.unwrap_or_else(|| sha256.finish()), md5.map(Md5::finish));
        self.expected.check(sha256, md5)?;
        let (version, segment) = (self.version, self.segments);
        let (md5, inline) = (md5.map(hex_text), self.inline);
        let stored = Stored { version, size, sha256, md5, segment, shapes, encryption: None, inline };
        let claims = (self.lease, self.place);
        let commit = move |tx: &mut WriteTx<'_>, digests| {
            let done = work(&engine, tx, stored, digests)?;
            // The claims end with the transaction, not before.
            tx.on_commit(Box::new(move || drop(claims)));
            Ok(done)
        };
        let engine = self.engine.clone();
        engine.write_counting(uncounted, commit).await
    }
}

async fn receive(
    upload: &mut Upload,
    body: impl Stream<Item = Result<Bytes, ObjectError>> + Send,
) -> Result<(), ObjectError> {
    let max = upload.engine.config.object_bytes_max;
    let room = upload.expected.room.clone();
    let mut body = Box::pin(body);
    let mut size = 0u64;
    let mut pending = BytesMut::new();
    while let Some(piece) = body.next().await {
        let mut piece = piece?;
        size = size.saturating_add(piece.len() as u64);
        if size > max {
            return Err(ObjectError::TooLarge { max });
        }
        if let Some(room) = room.as_ref().filter(|room| size > room.bytes) {
            return Err(room.exceeded());
        }
        while !piece.is_empty() {
            if pending.len() == CHUNK_BYTES {
                // There is more, so it is not all.
                upload.submit(&mut pending, None).await?;
            }
            if pending.len() < CHUNK_BYTES && size > GROWING_MAX {
                // At once: a buffer that doubles copies everything it has each time.
                pending.reserve(CHUNK_BYTES - pending.len());
            }
            let taken = piece.len().min(CHUNK_BYTES - pending.len());
            pending.extend_from_slice(&piece.split_to(taken));
        }
    }
    let inline_max = upload.engine.inline_bytes_max();
    if size <= inline_max as u64 {
        upload.inline = Some(pending.freeze()).filter(|all| !all.is_empty());
        return Ok(());
    }
    while !pending.is_empty() {
        upload.submit(&mut pending, Some(size)).await?;
    }
    Ok(())
}

/// Refuses unless nobody has begun to take the unfinished version apart: another node may, when this one was away for long.
fn require_untouched(tx: &WriteTx<'_>, version: Uuid) -> Result<(), ObjectError> {
    match tx.get::<Doomed>(&VersionKey(version))? {
        Some(doomed) if !doomed.begun => Ok(()),
        Some(_) | None => Err(ObjectError::Overtaken),
    }
}

/// Counts the last chunks of a version, which is spared from then on.
pub(crate) fn insert_last_segment(
    tx: &mut WriteTx<'_>,
    stored: &Stored,
    digests: Vec<Sha256Digest>,
    now: Timestamp,
) -> Result<(), ObjectError> {
    let version = VersionKey(stored.version);
    if stored.segment > 0 {
        require_untouched(tx, stored.version)?;
        tx.delete::<Doomed>(&version)?;
    }
    if let Some(bytes) = &stored.inline {
        tx.insert::<InlineBytes>(&version, &InlineRow { bytes: bytes.clone() })?;
    }
    if !digests.is_empty() {
        let row = SegmentRow::new(digests, &stored.shapes);
        insert_segment(tx, stored.version, stored.segment, &row, now)?;
    }
    Ok(())
}

pub(crate) fn hex_text(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
