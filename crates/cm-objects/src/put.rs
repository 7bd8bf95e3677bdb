//! Writing an object.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cm_crypto::digest::{Md5, Sha256, sha256};
use cm_db::WriteTx;
use cm_policy::Permit;
use cm_types::{BucketName, ObjectKey, Sha256Digest};
use futures::{Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::abandoned::Uncounted;
use crate::chunks::shard_of;
use crate::claims::Shared;
use crate::encryption::{self, ContentKey, Encryption};
use crate::network::keeping::Keeping;
use crate::network::{Network, Promise};
use crate::objects::{Engine, bucket_row, check_conditions, info, require_object};
use crate::protection::Locking;
use crate::quota::{self, Room};
use crate::rows::{BucketRow, FinishedPartRow, ObjectRow};
use crate::tables::{Doomed, FinishedParts, ObjectRows, SEGMENT_CHUNKS, VersionKey, insert_segment};
use crate::trail::{self, Origin};
use crate::versions::{self, Succession};
use crate::{CHUNK_BYTES, Condition, NewObject, ObjectError, ObjectInfo, Objects, PutAction, Tagging, Usage};

/// How many chunks of one put are on their way to peers at once, each with its shards.
const PLACING_MAX: usize = 3;

impl Objects {
    /// Writes an object: all of it becomes visible at once, when it is durable, or nothing does. What
    /// it replaces stays visible until then.
    ///
    /// A permit to create refuses to replace; one to update does both. The digest and the preconditions
    /// are checked in the transaction that makes the object visible, the preconditions before the first byte
    /// is taken too. At most 3 MiB are held at a time, and in a storage network up to three chunks with their shards.
    ///
    /// Dropping the future abandons the put, unless the whole body has arrived: then it may finish. The
    /// chunks of a put that comes to nothing are handed to the collector.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::AlreadyExists`], [`ObjectError::PreconditionFailed`],
    /// [`ObjectError::DigestMismatch`], [`ObjectError::TooLarge`], [`ObjectError::QuotaExceeded`], [`ObjectError::Body`],
    /// [`ObjectError::Busy`], [`ObjectError::NotPermitted`], [`ObjectError::DescriptionTooLong`], and those
    /// of the storage.
    pub async fn put<A: PutAction>(
        &self,
        permit: &Permit<A>,
        bucket: &BucketName,
        key: &ObjectKey,
        new: NewObject,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<ObjectInfo, ObjectError> {
        self.put_if(permit, bucket, key, new, Vec::new(), body).await
    }

    /// As [`Objects::put`], under further conditions: each must hold, as well as those of the [`NewObject`],
    /// both before the first byte is taken and in the transaction that makes the object visible.
    ///
    /// # Errors
    /// Those of [`Objects::put`].
    pub async fn put_if<A: PutAction>(
        &self,
        permit: &Permit<A>,
        bucket: &BucketName,
        key: &ObjectKey,
        new: NewObject,
        mut conditions: Vec<Condition>,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<ObjectInfo, ObjectError> {
        require_object(permit, bucket, key)?;
        new.check()?;
        conditions.extend(new.if_match.clone().map(Condition::one_of));
        conditions.extend((new.if_none_match || !A::MAY_REPLACE).then_some(Condition::Absent));
        let place = self.0.puts.clone().try_acquire_owned().map_err(|_| ObjectError::Busy)?;
        let target = Target {
            origin: Origin {
                tenant: permit.tenant().clone(),
                actor: permit.principal().cloned(),
                request: new.request.clone(),
            },
            bucket: bucket.clone(),
            key: key.clone(),
            conditions,
        };
        let early = target.clone();
        let (by_default, keeping, room) = self
            .0
            .db
            .read(move |tx| {
                let (settings, old) = early.check(tx)?;
                let (tenant, bucket) = (&early.origin.tenant, &early.bucket);
                let by_default = encryption::by_default(tx, tenant, bucket)?;
                let name = (tenant.clone(), bucket.clone(), early.key.clone());
                let goes = versions::gives_way(tx, &name, &settings, old.as_ref())?;
                Ok::<_, ObjectError>((
                    by_default,
                    settings.keeping,
                    quota::room(tx, tenant, bucket, 1, goes)?,
                ))
            })
            .await?;
        let digests = Digests {
            sha256: new.expected_sha256,
            md5: new.expected_md5,
            wants_md5: new.tagging == Tagging::Md5,
            keeping,
            room,
        };
        let asked = new.encryption.clone().or(by_default);
        let content_key = asked.map(|asked| ContentKey::new(&self.0, &asked));
        let body = body.map(|piece| piece.map_err(ObjectError::Body));
        let (upload, described) = encryption::fill(self.0.clone(), place, content_key, digests, body).await?;
        upload
            .commit(move |engine, tx, stored, digests| {
                target.show(engine, tx, new, Vec::new(), described(stored), digests)
            })
            .await
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
            let taken = piece.len().min(CHUNK_BYTES - pending.len());
            pending.extend_from_slice(&piece.split_to(taken));
            if pending.len() == CHUNK_BYTES {
                upload.submit(std::mem::take(&mut pending).freeze()).await?;
            }
        }
    }
    if !pending.is_empty() {
        upload.submit(pending.freeze()).await?;
    }
    Ok(())
}

/// Where the object goes, and under which conditions.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) origin: Origin,
    pub(crate) bucket: BucketName,
    pub(crate) key: ObjectKey,
    pub(crate) conditions: Vec<Condition>,
}

impl Target {
    /// How the bucket is, and the object that would be replaced.
    pub(crate) fn check(
        &self,
        tx: &cm_db::ReadTx<'_>,
    ) -> Result<(BucketRow, Option<ObjectRow>), ObjectError> {
        let settings = bucket_row(tx, &self.origin.tenant, &self.bucket)?;
        let id = (self.origin.tenant.clone(), self.bucket.clone(), self.key.clone());
        let old = tx.get::<ObjectRows>(&id)?;
        check_conditions(&self.bucket, &self.key, &self.conditions, old.as_ref())?;
        Ok((settings, old))
    }
}

/// What the bytes of a version must be, and what is to be found out about them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digests {
    pub(crate) sha256: Option<Sha256Digest>,
    pub(crate) md5: Option<[u8; 16]>,
    /// Whether their MD5 is wanted.
    pub(crate) wants_md5: bool,
    /// How its chunks are to be kept in a storage network.
    pub(crate) keeping: Option<Keeping>,
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
    /// How it is encrypted, if it is.
    pub(crate) encryption: Option<Encryption>,
}

/// A version on its way. Dropping it gives up its claims and tells the collector, which takes back whatever
/// it left: chunks that nothing counts, and segments of a version that is doomed.
pub(crate) struct Upload {
    engine: Arc<Engine>,
    version: Uuid,
    lease: Shared<Uuid>,
    place: OwnedSemaphorePermit,
    writer: Writer,
    segments: u64,
    expected: Digests,
}

/// Either at hand, or at work on a blocking thread.
enum Writer {
    Idle(Box<ChunkWriter>),
    Busy(JoinHandle<Result<Box<ChunkWriter>, ObjectError>>),
    Failed,
}

/// Hashes chunks and makes them durable. What it does blocks.
struct ChunkWriter {
    engine: Arc<Engine>,
    whole: Sha256,
    md5: Option<Md5>,
    size: u64,
    /// The chunks of the segment being filled.
    uncounted: Uncounted,
    keeping: Option<Keeping>,
    /// Those of them that are on their way to peers.
    placing: VecDeque<JoinHandle<Result<(Sha256Digest, Promise), ObjectError>>>,
}

impl ChunkWriter {
    fn new(engine: Arc<Engine>, expected: &Digests) -> Self {
        let uncounted = Uncounted::new(engine.abandoned.clone(), engine.pins.clone());
        let md5 = (expected.wants_md5 || expected.md5.is_some()).then(Md5::new);
        let (keeping, placing) = (expected.keeping, VecDeque::new());
        Self { engine, whole: Sha256::new(), md5, size: 0, uncounted, keeping, placing }
    }

    fn store(&mut self, chunk: &Bytes) -> Result<(), ObjectError> {
        let digest = self.hash(chunk);
        self.engine.chunks.write(&digest, chunk)
    }

    /// Takes the chunk into the digests, and pins it: before anybody looks whether it exists, see the story of the crate.
    fn hash(&mut self, chunk: &Bytes) -> Sha256Digest {
        let digest = sha256(chunk);
        self.uncounted.pin(digest);
        self.whole.update(chunk);
        if let Some(md5) = &mut self.md5 {
            md5.update(chunk);
        }
        self.size += chunk.len() as u64;
        digest
    }

    /// Sends the chunk on its way to peers, and waits if enough of them are under way.
    async fn place(
        mut self: Box<Self>,
        network: Arc<Network>,
        chunk: Bytes,
    ) -> Result<Box<Self>, ObjectError> {
        let tasks = self.engine.tasks.clone();
        let hashed = tasks.spawn_blocking("object-hash", move || {
            let digest = self.hash(&chunk);
            (self, digest, chunk)
        });
        let (mut writer, digest, chunk) = hashed.await.map_err(|_| ObjectError::Lost)?;
        while writer.placing.len() >= PLACING_MAX {
            writer.placed().await?;
        }
        if writer.uncounted.is_promised(&digest) {
            return Ok(writer);
        }
        let keeping = writer.keeping;
        writer.placing.push_back(tasks.spawn("object-place", async move {
            Ok((digest, network.store(digest, chunk, keeping).await?))
        }));
        Ok(writer)
    }

    /// Waits for the chunk that has been on its way for the longest; whether there was one.
    async fn placed(&mut self) -> Result<bool, ObjectError> {
        let Some(placing) = self.placing.pop_front() else { return Ok(false) };
        let (digest, promise) = placing.await.map_err(|_| ObjectError::Lost)??;
        self.uncounted.promise(digest, promise);
        Ok(true)
    }

    /// Makes the names of the segment's chunks durable too. Another put may have renamed a chunk that this
    /// one merely found, so every directory is flushed.
    fn sync(&self) -> Result<(), ObjectError> {
        let shards: BTreeSet<u8> = self.uncounted.digests().iter().map(shard_of).collect();
        self.engine.chunks.sync_shards(&shards)
    }
}

impl Upload {
    pub(crate) fn new(engine: Arc<Engine>, place: OwnedSemaphorePermit, expected: Digests) -> Self {
        let version = Uuid::new_v4();
        let lease = engine.leases.try_share(version).expect("nobody knows the random version yet");
        let writer = Writer::Idle(Box::new(ChunkWriter::new(engine.clone(), &expected)));
        Self { engine, version, lease, place, writer, segments: 0, expected }
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
            // Let the last chunk finish, so that nothing is at work once the caller knows. Its own error
            // would say less than this one.
            let settled = self.settle().await;
            // The lease before the chunks, which wake the collector.
            drop(self);
            drop(settled);
            return Err(error);
        }
        Ok(self)
    }

    /// Hands a chunk to a blocking thread, after the one before it is durable.
    async fn submit(&mut self, chunk: Bytes) -> Result<(), ObjectError> {
        let mut writer = self.settle().await?;
        if writer.uncounted.len() == SEGMENT_CHUNKS {
            writer = self.spill(writer).await?;
        }
        let tasks = &self.engine.tasks;
        self.writer = Writer::Busy(match self.engine.network.get().cloned() {
            Some(network) => tasks.spawn("object-chunk", writer.place(network, chunk)),
            None => tasks.spawn_blocking("object-chunk", move || {
                writer.store(&chunk)?;
                Ok(writer)
            }),
        });
        Ok(())
    }

    async fn settle(&mut self) -> Result<Box<ChunkWriter>, ObjectError> {
        match std::mem::replace(&mut self.writer, Writer::Failed) {
            Writer::Idle(writer) => Ok(writer),
            Writer::Busy(job) => job.await.map_err(|_| ObjectError::Lost)?,
            Writer::Failed => Err(ObjectError::Lost),
        }
    }

    async fn synced(&self, mut writer: Box<ChunkWriter>) -> Result<Box<ChunkWriter>, ObjectError> {
        if self.engine.network.get().is_some() {
            // Peers answer when a chunk is durable with its name.
            while writer.placed().await? {}
            return Ok(writer);
        }
        let job = self.engine.tasks.spawn_blocking("object-sync", move || {
            writer.sync()?;
            Ok(writer)
        });
        job.await.map_err(|_| ObjectError::Lost)?
    }

    /// Commits a full segment under the version, which is doomed until [`Upload::commit`] spares it.
    async fn spill(&mut self, writer: Box<ChunkWriter>) -> Result<Box<ChunkWriter>, ObjectError> {
        let mut writer = self.synced(writer).await?;
        let (engine, version, segment) = (self.engine.clone(), self.version, self.segments);
        let count = move |tx: &mut WriteTx<'_>, digests| {
            if segment == 0 {
                engine.doom(tx, version)?;
            } else {
                require_untouched(tx, version)?;
            }
            Ok(insert_segment(tx, version, segment, digests)?)
        };
        self.engine.write_counting(writer.uncounted.take(), count).await?;
        self.segments += 1;
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
        let writer = self.settle().await?;
        let ChunkWriter { engine, whole, md5, size, uncounted, .. } = *self.synced(writer).await?;
        let (sha256, md5) = (whole.finish(), md5.map(Md5::finish));
        self.expected.check(sha256, md5)?;
        let (version, segment) = (self.version, self.segments);
        let stored = Stored { version, size, sha256, md5: md5.map(hex_text), segment, encryption: None };
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
) -> Result<(), ObjectError> {
    if stored.segment > 0 {
        require_untouched(tx, stored.version)?;
    }
    if !digests.is_empty() {
        insert_segment(tx, stored.version, stored.segment, digests)?;
    }
    tx.delete::<Doomed>(&VersionKey(stored.version))?;
    Ok(())
}

impl Target {
    /// Makes a version visible under the name, completed of these parts if there are any.
    pub(crate) fn show(
        self,
        engine: &Engine,
        tx: &mut WriteTx<'_>,
        new: NewObject,
        parts: Vec<(u16, FinishedPartRow)>,
        stored: Stored,
        digests: Vec<Sha256Digest>,
    ) -> Result<ObjectInfo, ObjectError> {
        let (settings, old) = self.check(tx)?;
        if settings.locking.is_none() && !new.protection.is_none() {
            return Err(ObjectError::NotLockable { bucket: self.bucket });
        }
        insert_last_segment(tx, &stored, digests)?;
        let verb = if old.is_some() { "object.replaced" } else { "object.created" };
        let Target { origin, bucket, key, .. } = self;
        let name = (origin.tenant.clone(), bucket, key);
        let Succession { lineage, order } = engine.succeed(tx, &name, &settings, old)?;
        // After what goes for it.
        quota::charge(tx, &name.0, &name.1, Usage { bytes: stored.size, objects: 1 })?;
        let mut headers = new.headers;
        headers.extend(new.late_headers.get().cloned().unwrap_or_default());
        let row = ObjectRow {
            size: stored.size,
            sha256: stored.sha256,
            version: stored.version,
            content_type: new.content_type,
            metadata: new.metadata,
            headers,
            tag: match new.tagging {
                Tagging::Sha256 => None,
                Tagging::Md5 => stored.md5,
                Tagging::Given(tag) => Some(tag),
            },
            created_at: engine.now(),
            lineage,
            order,
            tags: new.tags,
            protection: Locking::protect(settings.locking, new.protection, engine.now()),
            parts: u16::try_from(parts.len()).unwrap_or(u16::MAX),
            writer: new.owner.or_else(|| origin.actor.clone()),
            acl: new.acl,
            encryption: stored.encryption,
        };
        for (number, part) in parts {
            tx.put::<FinishedParts>(&(VersionKey(stored.version), number), &part)?;
        }
        tx.put::<ObjectRows>(&name, &row)?;
        let (_, bucket, key) = name;
        trail::record(&engine.events, tx, &origin, verb, (&bucket, &key), &row)?;
        Ok(info(bucket, key, row))
    }
}

pub(crate) fn hex_text(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
