//! Comparing everything that is stored with what was written.

pub(crate) mod alone;
pub(crate) mod turn;

use std::sync::Arc;

use cm_crypto::digest::Sha256;
use cm_db::{Direction, KeyPrefix, KeyRange};
use cm_types::TenantId;
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use crate::cold::reading::Purpose;
use crate::objects::Engine;
use crate::read::{OPEN_ATTEMPTS_MAX, Source, verified};
use crate::rows::VersionRow;
use crate::tables::{ObjectRows, Versions};
use crate::versions::{Name, VersionName};
use crate::{Damage, Flaw, ObjectError, ObjectInfo, Objects};

/// How many objects are looked up at a time.
const PAGE: usize = 64;
/// How many findings wait for a slow reader before the scrub pauses.
const FINDINGS_QUEUED_MAX: usize = 16;

/// What a scrub says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScrubItem {
    /// An object is not what was written. Every object that uses a damaged chunk is named.
    Damaged(Damage),
    /// The last item: everything was looked at.
    Finished(ScrubTotals),
}

/// What a scrub looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubTotals {
    /// Objects and their versions. One that went meanwhile does not count.
    pub objects: u64,
    /// Chunks, as often as objects use them.
    pub chunks: u64,
    /// Bytes found good.
    pub bytes: u64,
    /// Places of damage.
    pub damaged: u64,
}

type Findings = mpsc::Sender<Result<ScrubItem, ObjectError>>;

impl Objects {
    /// Reads and verifies every object of every tenant: each chunk against its digest, and the whole against
    /// the digest of the object. Findings come as they are made; dropping the stream ends the scrub.
    ///
    /// This concerns the node and not a tenant: the caller decides who may ask for it.
    pub fn verify_all(&self) -> impl Stream<Item = Result<ScrubItem, ObjectError>> + Send + Unpin + use<> {
        self.verify(KeyRange::all())
    }

    /// As [`Objects::verify_all`], of one tenant's objects alone.
    pub fn verify_of(
        &self,
        tenant: &TenantId,
    ) -> impl Stream<Item = Result<ScrubItem, ObjectError>> + Send + Unpin + use<> {
        self.verify(KeyRange::prefix(KeyPrefix::new().part(tenant)))
    }

    fn verify(
        &self,
        names: KeyRange,
    ) -> impl Stream<Item = Result<ScrubItem, ObjectError>> + Send + Unpin + use<> {
        let (findings, receiver) = mpsc::channel(FINDINGS_QUEUED_MAX);
        let engine = self.0.clone();
        self.0.tasks.spawn("objects-scrub", async move {
            let last = scrub(engine, names, &findings).await;
            // Nobody listens any more: nothing left to say.
            let _ = match last {
                Ok(Some(totals)) => findings.send(Ok(ScrubItem::Finished(totals))).await,
                Ok(None) => Ok(()),
                Err(error) => findings.send(Err(error)).await,
            };
        });
        stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
            .boxed()
    }
}

/// The totals of what is within the range, or `None` if the scrub was told to stop.
async fn scrub(
    engine: Arc<Engine>,
    names: KeyRange,
    findings: &Findings,
) -> Result<Option<ScrubTotals>, ObjectError> {
    let mut totals = ScrubTotals::default();
    let mut range = names.clone();
    loop {
        let page = range.clone();
        let rows = engine
            .db
            .read(move |tx| Ok::<_, ObjectError>(tx.range::<ObjectRows>(page, Direction::Forward, PAGE)?))
            .await?;
        let Some((last, _)) = rows.last() else { break };
        range = range.after(last);
        for (name, _) in rows {
            if findings.is_closed() || engine.tasks.token().is_cancelled() {
                return Ok(None);
            }
            scrub_object(&engine, name, None, &mut totals, findings).await?;
        }
    }
    let mut range = names;
    loop {
        let page = range.clone();
        let rows = engine
            .db
            .read(move |tx| Ok::<_, ObjectError>(tx.range::<Versions>(page, Direction::Forward, PAGE)?))
            .await?;
        let Some((last, _)) = rows.last() else { return Ok(Some(totals)) };
        range = range.after(last);
        for ((tenant, bucket, key, _), row) in rows {
            if findings.is_closed() || engine.tasks.token().is_cancelled() {
                return Ok(None);
            }
            if let VersionRow::Object(row) = row {
                scrub_object(&engine, (tenant, bucket, key), Some(row.name()), &mut totals, findings).await?;
            }
        }
    }
}

async fn scrub_object(
    engine: &Arc<Engine>,
    (tenant, bucket, key): Name,
    version: Option<VersionName>,
    totals: &mut ScrubTotals,
    findings: &Findings,
) -> Result<(), ObjectError> {
    for _ in 0..OPEN_ATTEMPTS_MAX {
        let info = match engine.find(&tenant, &bucket, &key, version).await {
            Ok(info) => info,
            Err(
                ObjectError::NotFound { .. }
                | ObjectError::VersionNotFound { .. }
                | ObjectError::IsMarker { .. },
            ) => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(_lease) = engine.lease(&tenant, &info).await? {
            totals.objects += 1;
            return scrub_version(engine, tenant, info, totals, findings).await;
        }
    }
    Err(ObjectError::Busy)
}

async fn scrub_version(
    engine: &Arc<Engine>,
    tenant: TenantId,
    info: ObjectInfo,
    totals: &mut ScrubTotals,
    findings: &Findings,
) -> Result<(), ObjectError> {
    let (length, digest) = info.stored();
    let inline = engine.inline_bytes(&info).await?;
    let source = Source { tenant: tenant.clone(), info: info.clone(), inline };
    let mut whole = Some(Sha256::new());
    let mut chunks = std::pin::pin!(verified(engine.clone(), source, 0..length, Purpose::Check));
    while let Some(chunk) = chunks.next().await {
        totals.chunks += 1;
        match chunk? {
            Ok(bytes) => {
                totals.bytes += bytes.len() as u64;
                whole = hash_on(engine, whole, bytes).await?;
            }
            Err(damage) => {
                whole = None;
                totals.damaged += 1;
                if findings.send(Ok(ScrubItem::Damaged(*damage))).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    let found = whole.map(Sha256::finish).filter(|found| *found != digest);
    if let Some(found) = found {
        let ObjectInfo { bucket, key, .. } = info;
        totals.damaged += 1;
        let flaw = Flaw::Altered { found };
        let damage = Damage { tenant, bucket, key, chunk: None, digest, flaw };
        // Whether somebody listens is looked at before the next object.
        let _ = findings.send(Ok(ScrubItem::Damaged(damage))).await;
    }
    Ok(())
}

async fn hash_on(
    engine: &Engine,
    whole: Option<Sha256>,
    bytes: bytes::Bytes,
) -> Result<Option<Sha256>, ObjectError> {
    let Some(mut whole) = whole else { return Ok(None) };
    let hashed = engine.tasks.spawn_blocking("object-hash", move || {
        whole.update(&bytes);
        whole
    });
    hashed.await.map(Some).map_err(|_| ObjectError::Lost)
}
