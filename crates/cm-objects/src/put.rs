//! Writing an object.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cm_crypto::digest::{Sha256, sha256};
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
use crate::objects::{Engine, check_conditions, info, require_bucket_exists, require_object};
use crate::tables::{Doomed, ObjectRow, ObjectRows, SEGMENT_CHUNKS, VersionKey, insert_segment};
use crate::trail::{self, Origin};
use crate::{CHUNK_BYTES, Condition, NewObject, ObjectError, ObjectInfo, Objects, PutAction};

impl Objects {
    /// Writes an object: all of it becomes visible at once, when it is durable, or nothing does. What
    /// it replaces stays visible until then.
    ///
    /// A permit to create refuses to replace; one to update does both. The digest and the preconditions
    /// are checked in the transaction that makes the object visible, the preconditions before the first byte
    /// is taken too. At most 3 MiB are held at a time.
    ///
    /// Dropping the future abandons the put, unless the whole body has arrived: then it may finish. The
    /// chunks of a put that comes to nothing are handed to the collector.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::AlreadyExists`], [`ObjectError::PreconditionFailed`],
    /// [`ObjectError::DigestMismatch`], [`ObjectError::TooLarge`], [`ObjectError::Body`],
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
        self.0.db.read(move |tx| early.check(tx).map(drop)).await?;
        let mut upload = Upload::new(self.0.clone(), place);
        if let Err(error) = receive(&mut upload, body).await {
            // Let the last chunk finish, so that nothing is at work once the caller knows. Its own error
            // would say less than this one.
            let settled = upload.settle().await;
            // The lease before the chunks, which wake the collector.
            drop(upload);
            drop(settled);
            return Err(error);
        }
        upload.commit(target, new).await
    }
}

async fn receive(
    upload: &mut Upload,
    body: impl Stream<Item = io::Result<Bytes>> + Send,
) -> Result<(), ObjectError> {
    let max = upload.engine.config.object_bytes_max;
    let mut body = Box::pin(body);
    let mut size = 0u64;
    let mut pending = BytesMut::new();
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(ObjectError::Body)?;
        size = size.saturating_add(piece.len() as u64);
        if size > max {
            return Err(ObjectError::TooLarge { max });
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
struct Target {
    origin: Origin,
    bucket: BucketName,
    key: ObjectKey,
    conditions: Vec<Condition>,
}

impl Target {
    /// The version that would be replaced.
    fn check(&self, tx: &cm_db::ReadTx<'_>) -> Result<Option<ObjectRow>, ObjectError> {
        require_bucket_exists(tx, &self.origin.tenant, &self.bucket)?;
        let id = (self.origin.tenant.clone(), self.bucket.clone(), self.key.clone());
        let old = tx.get::<ObjectRows>(&id)?;
        check_conditions(&self.bucket, &self.key, &self.conditions, old.as_ref())?;
        Ok(old)
    }
}

/// A version on its way. Dropping it gives up its claims and tells the collector, which takes back whatever
/// it left: chunks that nothing counts, and segments of a version that is doomed.
struct Upload {
    engine: Arc<Engine>,
    version: Uuid,
    lease: Shared<Uuid>,
    place: OwnedSemaphorePermit,
    writer: Writer,
    segments: u64,
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
    size: u64,
    /// The chunks of the segment being filled.
    uncounted: Uncounted,
}

impl ChunkWriter {
    fn new(engine: Arc<Engine>) -> Self {
        let uncounted = Uncounted::new(engine.abandoned.clone(), engine.pins.clone());
        Self { engine, whole: Sha256::new(), size: 0, uncounted }
    }

    fn store(&mut self, chunk: &Bytes) -> Result<(), ObjectError> {
        let digest = sha256(chunk);
        // Before looking whether the file exists: see the story of the crate.
        self.uncounted.pin(digest);
        self.engine.chunks.write(&digest, chunk)?;
        self.whole.update(chunk);
        self.size += chunk.len() as u64;
        Ok(())
    }

    /// Makes the names of the segment's chunks durable too. Another put may have renamed a chunk that this
    /// one merely found, so every directory is flushed.
    fn sync(&self) -> Result<(), ObjectError> {
        let shards: BTreeSet<u8> = self.uncounted.digests().iter().map(shard_of).collect();
        self.engine.chunks.sync_shards(&shards)
    }
}

impl Upload {
    fn new(engine: Arc<Engine>, place: OwnedSemaphorePermit) -> Self {
        let version = Uuid::new_v4();
        let lease = engine.leases.try_share(version).expect("nobody knows the random version yet");
        let writer = Writer::Idle(Box::new(ChunkWriter::new(engine.clone())));
        Self { engine, version, lease, place, writer, segments: 0 }
    }

    /// Hands a chunk to a blocking thread, after the one before it is durable.
    async fn submit(&mut self, chunk: Bytes) -> Result<(), ObjectError> {
        let mut writer = self.settle().await?;
        if writer.uncounted.len() == SEGMENT_CHUNKS {
            writer = self.spill(writer).await?;
        }
        self.writer = Writer::Busy(self.engine.tasks.spawn_blocking("object-chunk", move || {
            writer.store(&chunk)?;
            Ok(writer)
        }));
        Ok(())
    }

    async fn settle(&mut self) -> Result<Box<ChunkWriter>, ObjectError> {
        match std::mem::replace(&mut self.writer, Writer::Failed) {
            Writer::Idle(writer) => Ok(writer),
            Writer::Busy(job) => job.await.map_err(|_| ObjectError::Lost)?,
            Writer::Failed => Err(ObjectError::Lost),
        }
    }

    async fn synced(&self, writer: Box<ChunkWriter>) -> Result<Box<ChunkWriter>, ObjectError> {
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
            engine.doom(tx, version)?;
            Ok(insert_segment(tx, version, segment, digests)?)
        };
        self.engine.write_counting(writer.uncounted.take(), count).await?;
        self.segments += 1;
        Ok(writer)
    }

    async fn commit(mut self, target: Target, new: NewObject) -> Result<ObjectInfo, ObjectError> {
        let writer = self.settle().await?;
        let ChunkWriter { engine, whole, size, uncounted } = *self.synced(writer).await?;
        let sha256 = whole.finish();
        if let Some(expected) = new.expected_sha256.filter(|expected| *expected != sha256) {
            return Err(ObjectError::DigestMismatch { expected, found: sha256 });
        }
        let row = ObjectRow {
            size,
            sha256,
            version: self.version,
            content_type: new.content_type,
            metadata: new.metadata,
            created_at: engine.now(),
        };
        let claims = (self.lease, self.place);
        let segment = self.segments;
        let commit = move |tx: &mut WriteTx<'_>, digests| {
            let info = make_visible(&engine, tx, target, row, segment, digests)?;
            // The claims end with the transaction, not before.
            tx.on_commit(Box::new(move || drop(claims)));
            Ok(info)
        };
        self.engine.write_counting(uncounted, commit).await
    }
}

fn make_visible(
    engine: &Engine,
    tx: &mut WriteTx<'_>,
    target: Target,
    row: ObjectRow,
    segment: u64,
    digests: Vec<Sha256Digest>,
) -> Result<ObjectInfo, ObjectError> {
    let old = target.check(tx)?;
    if !digests.is_empty() {
        insert_segment(tx, row.version, segment, digests)?;
    }
    tx.delete::<Doomed>(&VersionKey(row.version))?;
    let verb = match &old {
        Some(old) => {
            engine.doom(tx, old.version)?;
            "object.replaced"
        }
        None => "object.created",
    };
    let Target { origin, bucket, key, .. } = target;
    tx.put::<ObjectRows>(&(origin.tenant.clone(), bucket.clone(), key.clone()), &row)?;
    trail::record(&engine.events, tx, &origin, verb, (&bucket, &key), &row)?;
    Ok(info(bucket, key, row))
}
