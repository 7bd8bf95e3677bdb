//! The engine: opening it, buckets, and the operations that need one transaction only.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cm_crypto::Secret;
use cm_db::{Db, DbError, Effect, KeyPrefix, ReadTx, WriteTx};
use cm_events::EventLog;
use cm_policy::{ActionKind, Create, Delete, Permit, Read};
use cm_runtime::{Backoff, Clock, Tasks, spawn_worker};
use cm_types::{BucketName, ObjectKey, ResourceKind, ResourceRef, Sha256Digest, TenantId, Timestamp};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::abandoned::{Abandoned, Uncounted};
use crate::access::look_judged;
use crate::chunks::ChunkStore;
use crate::claims::Claims;
use crate::cold::Cold;
use crate::garbage::Collector;
use crate::lifecycle::settings::KnownRules;
use crate::lifecycle::worker::{Expirer, LifecyclePace};
use crate::network::{Network, admit};
use crate::object::object_ref;
use crate::places::Places;
use crate::rows::{BucketRow, Lineage, ObjectRow};
use crate::scrub::alone::Scrubber;
use crate::tables::{BucketTags, Buckets, Doomed, DoomedRow, Lifecycles, ObjectRows, VersionKey, Versions};
use crate::versions::look;
use crate::{Condition, Config, ObjectError, ObjectInfo, VersionName, quota};

/// The objects of all tenants. Clones share the same engine.
#[derive(Clone)]
pub struct Objects(pub(crate) Arc<Engine>);

pub(crate) struct Engine {
    pub(crate) chunks: Arc<ChunkStore>,
    pub(crate) db: Db,
    pub(crate) events: EventLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: Tasks,
    pub(crate) config: Config,
    /// The oldest version whose programs may work with the data, as far as is known.
    pub(crate) oldest: AtomicU32,
    /// Chunks that a put has made durable and not yet counted.
    pub(crate) pins: Claims<Sha256Digest>,
    /// Versions being written or read.
    pub(crate) leases: Claims<Uuid>,
    pub(crate) puts: Places,
    /// Chunks whose put came to nothing.
    pub(crate) abandoned: Arc<Abandoned>,
    /// Rules of buckets as they were a moment ago.
    pub(crate) rules: KnownRules,
    /// Tells the collector that there is something to look at.
    pub(crate) garbage: Arc<Notify>,
    /// The other peers, if there are any.
    pub(crate) network: OnceLock<Arc<Network>>,
    /// How the rules of buckets are followed.
    pub(crate) lifecycle: watch::Sender<LifecyclePace>,
    /// Where cold chunks go, if they go anywhere.
    pub(crate) cold: OnceLock<Arc<Cold>>,
    /// What the keys of encrypted objects are kept under.
    pub(crate) encryption_key: Secret<[u8; 32]>,
}

impl Objects {
    /// Opens the directory, which no other process may have open, removes what a crash left behind, and
    /// starts the workers that the configuration asks for. The tables are [`TABLES`](crate::TABLES). Objects whose writers ask for
    /// encryption are kept under `encryption_key`; without it they are lost.
    ///
    /// # Errors
    /// [`ObjectError::InUse`], [`ObjectError::Storage`].
    pub async fn open(
        dir: &Path,
        db: Db,
        events: EventLog,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        config: Config,
        encryption_key: Secret<[u8; 32]>,
    ) -> Result<Self, ObjectError> {
        let path = dir.to_owned();
        let opened = tasks.spawn_blocking("objects-open", move || ChunkStore::open(&path));
        let (chunks, swept) = opened.await.map_err(|_| ObjectError::Lost)??;
        if swept > 0 {
            tracing::info!(files = swept, "unfinished chunks of an earlier run removed");
        }
        let garbage = Arc::new(Notify::new());
        let every = config.expire_every.unwrap_or(Duration::MAX);
        let lifecycle = LifecyclePace { every, day: config.lifecycle_day };
        let engine = Engine {
            chunks: Arc::new(chunks),
            db,
            events,
            clock,
            tasks: tasks.clone(),
            pins: Claims::new(),
            leases: Claims::new(),
            puts: Places::new(config.concurrent_puts_max),
            abandoned: Arc::new(Abandoned::new(garbage.clone())),
            rules: KnownRules::default(),
            garbage,
            network: OnceLock::new(),
            cold: OnceLock::new(),
            lifecycle: watch::Sender::new(lifecycle),
            oldest: AtomicU32::new(0),
            config,
            encryption_key,
        };
        engine.learn_versions().await?;
        let objects = Self(Arc::new(engine));
        if let Some(every) = objects.0.config.collect_every {
            spawn_worker(tasks, Collector::new(objects.clone(), every), Backoff::default());
        }
        if objects.0.config.expire_every.is_some() {
            spawn_worker(tasks, Expirer::new(objects.clone()), Backoff::default());
        }
        if let Some(every) = objects.0.config.scrub_every {
            spawn_worker(tasks, Scrubber::new(objects.0.clone(), every), Backoff::default());
        }
        Ok(objects)
    }

    /// Lets a bucket take objects, within the transaction that brings its record into being.
    ///
    /// # Errors
    /// [`ObjectError::BucketExists`]; [`ObjectError::NotPermitted`] unless the permit is for creating buckets
    /// or this bucket.
    pub fn create_bucket(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Create>,
        bucket: &BucketName,
    ) -> Result<(), ObjectError> {
        let tenant = permit.tenant();
        if !permit.covers_collection(tenant, ResourceKind::Bucket) {
            require_bucket(permit, bucket)?;
        }
        let row = BucketRow {
            created_at: self.0.now(),
            versioning: None,
            locking: None,
            keeping: None,
            packing: None,
            cold_after_days: None,
        };
        match tx.insert::<Buckets>(&(tenant.clone(), bucket.clone()), &row) {
            Err(DbError::Exists { .. }) => Err(ObjectError::BucketExists { bucket: bucket.clone() }),
            other => {
                other?;
                quota::begin(tx, tenant, bucket)
            }
        }
    }

    /// Removes an empty bucket, within the transaction that removes its record. A put that is under way
    /// will find the bucket gone; uploads in parts end.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotEmpty`], [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub fn delete_bucket(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Delete>,
        bucket: &BucketName,
    ) -> Result<(), ObjectError> {
        require_bucket(permit, bucket)?;
        let tenant = permit.tenant();
        self.refuse_unless_empty(tx, tenant, bucket)?;
        self.0.end_uploads_of(tx, tenant, bucket)?;
        self.forget_settings(tx, tenant, bucket)?;
        let id = (tenant.clone(), bucket.clone());
        tx.delete::<Lifecycles>(&id)?;
        tx.delete::<BucketTags>(&id)?;
        quota::end(tx, tenant, bucket)?;
        let engine = self.0.clone();
        let gone = id.clone();
        tx.on_commit(Box::new(move || engine.rules.forget(&gone)));
        match tx.delete::<Buckets>(&id)? {
            true => Ok(()),
            false => Err(ObjectError::BucketNotFound { bucket: bucket.clone() }),
        }
    }

    /// Whether the bucket could be deleted, as far as it depends on what is in it.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotEmpty`].
    pub fn refuse_unless_empty(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        bucket: &BucketName,
    ) -> Result<(), ObjectError> {
        let objects = KeyPrefix::new().part(tenant).part(bucket);
        let is_empty = tx.prefix::<ObjectRows>(&objects, None, 1)?.is_empty()
            && tx.prefix::<Versions>(&objects, None, 1)?.is_empty();
        match is_empty {
            true => Ok(()),
            false => Err(ObjectError::BucketNotEmpty { bucket: bucket.clone() }),
        }
    }

    /// What is known about an object without reading it.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`], also if there is no such bucket; [`ObjectError::NotPermitted`]; [`ObjectError::Busy`] if it
    /// has been given to others since that was decided.
    pub async fn head(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<ObjectInfo, ObjectError> {
        self.head_version(permit, bucket, key, None).await
    }

    /// As [`Objects::head`], of a version.
    ///
    /// # Errors
    /// Those of [`Objects::head`]; [`ObjectError::VersionNotFound`], [`ObjectError::IsMarker`].
    pub async fn head_version(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
    ) -> Result<ObjectInfo, ObjectError> {
        require_object(permit, bucket, key)?;
        let (name, basis) = ((permit.tenant().clone(), bucket.clone(), key.clone()), permit.basis().cloned());
        let row = self.0.db.look_up(move |tx| look_judged(tx, &name, version, basis.as_ref())).await?;
        Ok(info(bucket.clone(), key.clone(), row))
    }
}

impl Engine {
    /// Finds out which programs may still work with the data: older ones would take for damaged what they do not know.
    pub(crate) async fn learn_versions(&self) -> Result<(), ObjectError> {
        let wanted = self.config.inline_from.max(self.config.packing_from);
        if self.oldest.load(Ordering::Relaxed) < wanted.max(1) {
            self.oldest.store(self.db.versions().await?.compatible_from, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().into()
    }

    /// A transaction that goes on even if its caller goes away.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, ObjectError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, ObjectError> + Send + 'static,
    {
        let db = self.db.clone();
        let written = self.tasks.spawn("objects-write", async move { db.write(work).await });
        written.await.map_err(|_| ObjectError::Lost)?
    }

    /// A transaction that counts chunks, which stay pinned until it has ended. As [`Engine::write`], it goes
    /// on even if its caller goes away.
    pub(crate) async fn write_counting<T, F>(&self, uncounted: Uncounted, work: F) -> Result<T, ObjectError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTx<'_>, Vec<Sha256Digest>) -> Result<T, ObjectError> + Send + 'static,
    {
        let (db, network, now) = (self.db.clone(), self.network.get().cloned(), self.now());
        let written = self.tasks.spawn("objects-count", async move {
            let digests = uncounted.digests();
            let mut uncounted = uncounted;
            let written = match &network {
                None => db.write(move |tx| work(tx, digests)).await,
                Some(network) => {
                    network.keep_promises(uncounted.promises()).await?;
                    let promises = uncounted.promises().clone();
                    let default = network.known().default_redundancy();
                    let admitted = move |tx: &mut WriteTx<'_>| {
                        if !admit::overtaken(tx, &promises)?.is_empty() {
                            return Err(ObjectError::Overtaken);
                        }
                        let before = admit::counted_before(tx, &promises)?;
                        let done = work(tx, digests)?;
                        admit::note(tx, &promises, &before, default, now)?;
                        Ok(done)
                    };
                    db.write(admitted).await
                }
            };
            match &written {
                Ok(_) => uncounted.counted(),
                Err(ObjectError::Db(error)) if error.effect() == Effect::Unknown => uncounted.uncertain(),
                Err(_) => drop(uncounted),
            }
            written
        });
        written.await.map_err(|_| ObjectError::Lost)?
    }

    pub(crate) async fn find(
        &self,
        tenant: &TenantId,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
    ) -> Result<ObjectInfo, ObjectError> {
        let name = (tenant.clone(), bucket.clone(), key.clone());
        let row = self.db.look_up(move |tx| look(tx, &name, version)).await?;
        Ok(info(bucket.clone(), key.clone(), row))
    }

    /// Puts a version on the collector's list.
    pub(crate) fn doom(&self, tx: &mut WriteTx<'_>, version: Uuid) -> Result<(), ObjectError> {
        tx.put::<Doomed>(&VersionKey(version), &DoomedRow { since: self.now(), begun: false })?;
        let garbage = self.garbage.clone();
        tx.on_commit(Box::new(move || garbage.notify_one()));
        Ok(())
    }
}

pub(crate) fn info(bucket: BucketName, key: ObjectKey, row: ObjectRow) -> ObjectInfo {
    let shown_version = (row.lineage != Lineage::Unversioned).then(|| row.name());
    ObjectInfo {
        bucket,
        key,
        size: row.size,
        sha256: row.sha256,
        version: row.version,
        shown_version,
        content_type: row.content_type,
        metadata: row.metadata,
        headers: row.headers,
        own_tag: row.tag,
        tags: row.tags,
        protection: row.protection,
        parts: row.parts,
        writer: row.writer,
        created_at: row.created_at,
        encryption: row.encryption,
    }
}

pub(crate) fn require_object<A: ActionKind>(
    permit: &Permit<A>,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<(), ObjectError> {
    require(permit, object_ref(bucket, key))
}

pub(crate) fn require_bucket<A: ActionKind>(
    permit: &Permit<A>,
    bucket: &BucketName,
) -> Result<(), ObjectError> {
    require(permit, ResourceRef::new(ResourceKind::Bucket, bucket.as_str()))
}

fn require<A: ActionKind>(permit: &Permit<A>, wanted: ResourceRef) -> Result<(), ObjectError> {
    match permit.covers(permit.tenant(), wanted.kind, &wanted.id) {
        true => Ok(()),
        false => Err(ObjectError::NotPermitted { wanted }),
    }
}

pub(crate) fn require_bucket_exists(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    bucket: &BucketName,
) -> Result<(), ObjectError> {
    bucket_row(tx, tenant, bucket).map(drop)
}

pub(crate) fn bucket_row(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    bucket: &BucketName,
) -> Result<BucketRow, ObjectError> {
    tx.get::<Buckets>(&(tenant.clone(), bucket.clone()))?
        .ok_or_else(|| ObjectError::BucketNotFound { bucket: bucket.clone() })
}

/// Whether the visible version, if there is one, is as the caller wants it.
pub(crate) fn check_conditions(
    bucket: &BucketName,
    key: &ObjectKey,
    conditions: &[Condition],
    found: Option<&ObjectRow>,
) -> Result<(), ObjectError> {
    let found = found.map(ObjectRow::etag);
    let Some(failed) = conditions.iter().find(|condition| !condition.holds(found.as_deref())) else {
        return Ok(());
    };
    let (bucket, key) = (bucket.clone(), key.clone());
    Err(match failed {
        Condition::Absent => ObjectError::AlreadyExists { bucket, key },
        expected => ObjectError::PreconditionFailed { bucket, key, expected: expected.clone(), found },
    })
}
