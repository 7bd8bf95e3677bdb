//! Reading an object, whole or in part.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use cm_db::ReadTx;
use cm_policy::{Basis, Permit, Read};
use cm_types::{BucketName, ObjectKey, Sha256Digest, TenantId};
use futures::future::Either;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::time::Instant;
use uuid::Uuid;

use crate::access::look_judged;
use crate::claims::Shared;
use crate::cold::reading::Purpose;
use crate::encryption::{ContentKey, CustomerKey, frames_of, opened};
use crate::finished_parts::bytes_of;
use crate::inline;
use crate::network::{BucketId, Found};
use crate::objects::{Engine, info, require_object};
use crate::packing::{Placed, unpack};
use crate::scrub::alone;
use crate::tables::{Manifests, SEGMENT_BYTES, VersionKey};
use crate::versions::{Name, VersionName};
use crate::{ByteRange, CHUNK_BYTES, Damage, Flaw, ObjectError, ObjectInfo, Objects};

/// How many chunks are read and verified ahead of the reader; bounds the memory of one read to so many MiB.
const READ_AHEAD: usize = 2;
/// How often opening is tried again because the version went between finding and leasing it.
pub(crate) const OPEN_ATTEMPTS_MAX: usize = 16;

/// How often a chunk may come back or go while it is read.
const MOVES_MAX: usize = 4;

/// Which bytes of an object are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These.
    Range(ByteRange),
    /// Those of a part that it was completed of, by its number.
    Part(u16),
}

/// What of an object is to be read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Which version; `None` is what its name shows.
    pub version: Option<VersionName>,
    /// Which of its bytes; `None` is all.
    pub piece: Option<Piece>,
    /// The key of its writer, if it is encrypted with one.
    pub key: Option<CustomerKey>,
}

/// An object that is being read.
#[derive(Debug)]
pub struct ObjectRead {
    /// The version that is read, whatever happens to the name meanwhile.
    pub info: ObjectInfo,
    /// Which bytes of it the body yields; `0..size` without a range.
    pub range: Range<u64>,
    /// The bytes.
    pub body: ObjectBody,
}

/// The bytes of an object, in pieces of at most 1 MiB. No byte comes out before the chunk that holds it
/// was verified. The first error is the last item. Dropping it ends the read.
pub struct ObjectBody {
    stream: Option<BoxStream<'static, Result<Bytes, ObjectError>>>,
}

impl Objects {
    /// Opens an object for reading. The version found stays readable until the body is dropped.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`], [`ObjectError::RangeNotSatisfiable`], [`ObjectError::NotPermitted`],
    /// [`ObjectError::KeyRequired`], [`ObjectError::Busy`]; the body yields [`ObjectError::Damaged`].
    pub async fn get(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
        key: &ObjectKey,
        range: Option<ByteRange>,
    ) -> Result<ObjectRead, ObjectError> {
        self.get_version(permit, bucket, key, None, range.map(Piece::Range)).await
    }

    /// As [`Objects::get`], of a version, and of a piece of it.
    ///
    /// # Errors
    /// Those of [`Objects::get`] and [`Objects::head_version`]; [`ObjectError::PartNotFound`].
    pub async fn get_version(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
        piece: Option<Piece>,
    ) -> Result<ObjectRead, ObjectError> {
        self.get_opened(permit, bucket, key, Reading { version, piece, key: None }).await
    }

    /// As [`Objects::get_version`], of an object that may be encrypted with a key of its writer.
    ///
    /// # Errors
    /// Those of [`Objects::get_version`]; [`ObjectError::WrongKey`], also if a key came for an object that none belongs to.
    pub async fn get_opened(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
        key: &ObjectKey,
        reading: Reading,
    ) -> Result<ObjectRead, ObjectError> {
        require_object(permit, bucket, key)?;
        let Reading { version, piece, key: customer } = reading;
        for _ in 0..OPEN_ATTEMPTS_MAX {
            let (info, wanted, inline) = self.0.find_content(permit, bucket, key, version, piece).await?;
            let lease = match &inline {
                // Nothing of it can go any more.
                Some(_) => None,
                None => match self.0.lease(permit.tenant(), &info).await? {
                    Some(lease) => Some(lease),
                    None => continue,
                },
            };
            if let Some(network) = self.0.network.get() {
                let name = (permit.tenant().clone(), bucket.clone(), key.clone());
                network.reads.object(name, self.0.now());
            }
            let is_read = inline.is_none() && !wanted.is_empty();
            let content_key = ContentKey::of(&self.0, &info, customer.as_ref())?;
            let source = Source { tenant: permit.tenant().clone(), info: info.clone(), inline };
            let chunks = content(self.0.clone(), source, content_key.as_ref(), wanted.clone());
            let body = chunks.map(move |chunk| {
                let _held = &lease;
                chunk?.map_err(ObjectError::Damaged)
            });
            let body = match is_read {
                true => begun(body.boxed()).await?,
                false => body.boxed(),
            };
            return Ok(ObjectRead { info, range: wanted, body: ObjectBody { stream: Some(body) } });
        }
        Err(ObjectError::Busy)
    }

    /// What is known about an object, and where a part lies in it.
    ///
    /// # Errors
    /// Those of [`Objects::head_version`]; [`ObjectError::PartNotFound`].
    pub async fn head_part(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
        number: u16,
    ) -> Result<(ObjectInfo, Range<u64>), ObjectError> {
        require_object(permit, bucket, key)?;
        let (name, basis) = ((permit.tenant().clone(), bucket.clone(), key.clone()), permit.basis().cloned());
        let piece = Some(Piece::Part(number));
        self.0.db.look_up(move |tx| look_piece(tx, name, version, basis.as_ref(), piece)).await
    }
}

/// A version, and where a piece of it lies.
fn look_piece(
    tx: &ReadTx<'_>,
    name: Name,
    version: Option<VersionName>,
    basis: Option<&Basis>,
    piece: Option<Piece>,
) -> Result<(ObjectInfo, Range<u64>), ObjectError> {
    let row = look_judged(tx, &name, version, basis)?;
    let wanted = match piece {
        None => 0..row.size,
        Some(Piece::Range(range)) => range.resolve(row.size)?,
        Some(Piece::Part(number)) => bytes_of(tx, &row, number)?,
    };
    let (_, bucket, key) = name;
    Ok((info(bucket, key, row), wanted))
}

impl Engine {
    /// A version, where a piece of it lies, and what is stored of it if that is a row.
    async fn find_content(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
        piece: Option<Piece>,
    ) -> Result<(ObjectInfo, Range<u64>, Option<Bytes>), ObjectError> {
        let (name, basis) = ((permit.tenant().clone(), bucket.clone(), key.clone()), permit.basis().cloned());
        self.db
            .look_up(move |tx| {
                let (info, wanted) = look_piece(tx, name, version, basis.as_ref(), piece)?;
                let inline = inline::look(tx, &info)?;
                Ok((info, wanted, inline))
            })
            .await
    }

    /// Keeps a version from being taken apart; `None` if that has begun or may have.
    pub(crate) async fn lease(
        &self,
        tenant: &TenantId,
        info: &ObjectInfo,
    ) -> Result<Option<Shared<Uuid>>, ObjectError> {
        let Some(lease) = self.leases.try_share(info.version) else { return Ok(None) };
        // Whatever its name or its place among the versions leads to was not doomed before, and cannot be taken apart while
        // leased.
        match self.find(tenant, &info.bucket, &info.key, Some(info.version_name())).await {
            Ok(now) => Ok((now.version == info.version).then_some(lease)),
            Err(ObjectError::VersionNotFound { .. } | ObjectError::IsMarker { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The bytes of a chunk, verified, or what is wrong with it.
    async fn read_chunk(
        self: &Arc<Self>,
        digest: Sha256Digest,
        len: usize,
        bucket: &Arc<BucketId>,
        purpose: Purpose,
    ) -> Result<Result<Bytes, Flaw>, ObjectError> {
        for _ in 0..MOVES_MAX {
            let found = self.find_chunk(digest, len, bucket).await?;
            let mark = match &found {
                Found::Bytes(_) => None,
                Found::Cold(mark) => Some(mark.clone()),
                // It may have gone to the cold tier since this node last heard of it.
                Found::Flaw(_) | Found::Unreachable => self.cold_mark(digest, true).await?,
            };
            let (bytes, came_from) = match (found, mark) {
                (Found::Bytes(bytes), _) => (bytes, None),
                (_, Some(mark)) => match self.read_cold(digest, &mark).await? {
                    Some(Ok(bytes)) => (bytes, Some(mark)),
                    Some(Err(flaw)) => return Ok(Err(flaw)),
                    // It came back meanwhile.
                    None => continue,
                },
                (Found::Flaw(flaw), None) => {
                    if self.network.get().is_none() {
                        alone::tell_damaged(&digest, &flaw);
                    }
                    return Ok(Err(flaw));
                }
                (Found::Unreachable | Found::Cold(_), None) => {
                    return Err(ObjectError::Unreachable { digest });
                }
            };
            // What has the digest has the length, unless the manifest is wrong.
            if bytes.len() < len {
                return Ok(Err(Flaw::Truncated { expected: len as u64, found: bytes.len() as u64 }));
            }
            if purpose == Purpose::Use {
                self.note_use(digest, bucket);
                if let Some(mark) = came_from {
                    self.promote_soon(digest, mark, bytes.clone());
                }
            }
            return Ok(Ok(bytes));
        }
        Err(ObjectError::Busy)
    }

    /// A chunk where hot ones are.
    async fn find_chunk(
        &self,
        digest: Sha256Digest,
        len: usize,
        bucket: &Arc<BucketId>,
    ) -> Result<Found, ObjectError> {
        let Some(network) = self.network.get() else {
            let chunks = self.chunks.clone();
            let read = self.tasks.spawn_blocking("object-read", move || chunks.read(&digest, len));
            let read = read.await.map_err(|_| ObjectError::Lost)?;
            return Ok(read.map_or_else(Found::Flaw, Found::Bytes));
        };
        let begun = Instant::now();
        let found = network.fetch(digest).await?;
        if matches!(found, Found::Bytes(_)) {
            network.reads.chunk(digest, len, bucket, begun.elapsed(), self.now());
        }
        Ok(found)
    }

    /// The content of a chunk of which this is stored, or what is wrong with it.
    async fn content_of(&self, chunk: Placed, stored: Bytes) -> Result<Result<Bytes, Flaw>, ObjectError> {
        if chunk.packed.is_none() {
            return Ok(Ok(stored));
        }
        let unpacked = self.tasks.spawn_blocking("object-unpack", move || unpack(&stored, chunk.len));
        unpacked.await.map_err(|_| ObjectError::Lost)
    }

    /// The chunks of a segment of a version whose content is so long; none if there is no such segment.
    async fn segment(&self, version: Uuid, segment: u64, size: u64) -> Result<Vec<Placed>, ObjectError> {
        let key = (VersionKey(version), segment);
        let row = self.db.look_up(move |tx| Ok::<_, ObjectError>(tx.get::<Manifests>(&key)?)).await?;
        Ok(row.map_or_else(Vec::new, |row| row.placed(segment, size)))
    }
}

/// The same body once its first piece is there: what cannot be read at all is then told of before anything is sent.
async fn begun(
    mut body: BoxStream<'static, Result<Bytes, ObjectError>>,
) -> Result<BoxStream<'static, Result<Bytes, ObjectError>>, ObjectError> {
    match body.next().await {
        Some(Err(error)) => Err(error),
        Some(first) => Ok(stream::once(std::future::ready(first)).chain(body).boxed()),
        None => Ok(body),
    }
}

/// One chunk to be read, and which bytes of its content are wanted.
struct Job {
    chunk: Placed,
    wanted: Range<usize>,
}

struct Walk {
    engine: Arc<Engine>,
    version: Uuid,
    size: u64,
    next: u64,
    end: u64,
    segment: Option<(u64, Vec<Placed>)>,
}

impl Walk {
    /// The next chunk, if there is one; within it `None` if the manifest does not name it.
    async fn step(&mut self) -> Result<Option<Option<Job>>, ObjectError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let number = self.next / SEGMENT_BYTES;
        if self.segment.as_ref().is_none_or(|(loaded, _)| *loaded != number) {
            self.segment = Some((number, self.engine.segment(self.version, number, self.size).await?));
        }
        let chunks = self.segment.as_ref().map_or(&[][..], |(_, chunks)| chunks);
        let at = chunks.partition_point(|chunk| chunk.end() <= self.next);
        let Some(chunk) = chunks.get(at).copied() else {
            // On to the next of those that are as long as most.
            self.next = (self.next / CHUNK_BYTES as u64 + 1) * CHUNK_BYTES as u64;
            return Ok(Some(None));
        };
        let wanted = (self.next - chunk.start) as usize..(self.end.min(chunk.end()) - chunk.start) as usize;
        self.next = chunk.end();
        Ok(Some(Some(Job { chunk, wanted })))
    }
}

/// A version, and where its bytes are.
pub(crate) struct Source {
    pub(crate) tenant: TenantId,
    pub(crate) info: ObjectInfo,
    /// They, unverified, if they are a row; else they are in chunks, and whoever reads them holds the lease.
    pub(crate) inline: Option<Bytes>,
}

/// The bytes of a part of an object as it was written, in order. The caller has the key if there is one.
pub(crate) fn content(
    engine: Arc<Engine>,
    source: Source,
    key: Option<&ContentKey>,
    range: Range<u64>,
) -> impl Stream<Item = Result<Result<Bytes, Box<Damage>>, ObjectError>> + Send + use<> {
    let Some(key) = key else {
        return Either::Left(verified(engine, source, range, Purpose::Use));
    };
    let frames = frames_of(&range, source.info.size);
    let (tenant, info) = (source.tenant.clone(), source.info.clone());
    let frames = verified(engine.clone(), source, frames, Purpose::Use);
    Either::Right(opened(engine, tenant, &info, key, range, frames))
}

/// What is stored of a part of an object, in order, each verified or the damage that was found instead. The range is one of what is stored.
pub(crate) fn verified(
    engine: Arc<Engine>,
    source: Source,
    range: Range<u64>,
    purpose: Purpose,
) -> impl Stream<Item = Result<Result<Bytes, Box<Damage>>, ObjectError>> + Send + use<> {
    match &source.inline {
        Some(bytes) => Either::Left(stream::iter(source.verified_row(bytes, range))),
        None => Either::Right(verified_chunks(engine, source.tenant, source.info, range, purpose)),
    }
}

impl Source {
    fn verified_row(
        &self,
        bytes: &Bytes,
        range: Range<u64>,
    ) -> Option<Result<Result<Bytes, Box<Damage>>, ObjectError>> {
        let checked = inline::verify(&self.info, bytes);
        // No longer than a row may be.
        let wanted = range.start as usize..range.end as usize;
        (!range.is_empty())
            .then(|| Ok(checked.map(|()| bytes.slice(wanted)).map_err(|flaw| self.damage(flaw))))
    }

    fn damage(&self, flaw: Flaw) -> Box<Damage> {
        let ObjectInfo { bucket, key, .. } = self.info.clone();
        let digest = self.info.stored().1;
        Box::new(Damage { tenant: self.tenant.clone(), bucket, key, chunk: None, digest, flaw })
    }
}

fn verified_chunks(
    engine: Arc<Engine>,
    tenant: TenantId,
    info: ObjectInfo,
    range: Range<u64>,
    purpose: Purpose,
) -> impl Stream<Item = Result<Result<Bytes, Box<Damage>>, ObjectError>> + Send + use<> {
    let walk = Walk {
        engine: engine.clone(),
        version: info.version,
        size: info.stored().0,
        next: range.start,
        end: range.end,
        segment: None,
    };
    let jobs = stream::try_unfold(walk, |mut walk| async move {
        Ok::<_, ObjectError>(walk.step().await?.map(|step| (step, walk)))
    });
    let id = Arc::new((tenant.clone(), info.bucket.clone()));
    jobs.map_ok(move |step| {
        let (engine, tenant, info, id) = (engine.clone(), tenant.clone(), info.clone(), id.clone());
        async move {
            let damaged = |chunk, digest, flaw| {
                let (bucket, key) = (info.bucket.clone(), info.key.clone());
                Err(Box::new(Damage { tenant, bucket, key, chunk, digest, flaw }))
            };
            let Some(job) = step else { return Ok(damaged(None, info.sha256, Flaw::Missing)) };
            let Job { chunk, wanted } = job;
            let read = match engine.read_chunk(chunk.digest, chunk.stored(), &id, purpose).await? {
                Ok(stored) => engine.content_of(chunk, stored).await?,
                Err(flaw) => Err(flaw),
            };
            let within = Some(chunk.start / CHUNK_BYTES as u64);
            Ok(read.map(|bytes| bytes.slice(wanted)).or_else(|flaw| damaged(within, chunk.digest, flaw)))
        }
    })
    .try_buffered(READ_AHEAD)
}

impl Stream for ObjectBody {
    type Item = Result<Bytes, ObjectError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let polled = stream.as_mut().poll_next(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.stream = None;
        }
        polled
    }
}

impl std::fmt::Debug for ObjectBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectBody").field("finished", &self.stream.is_none()).finish()
    }
}
