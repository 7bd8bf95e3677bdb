//! The engine against a slice of bytes, against a fallible sender, and against itself.

mod abandoned;
pub(crate) mod cold;
mod conditions;
mod damage;
mod encryption;
mod garbage;
mod inline;
mod lifecycle;
mod listing;
mod packing;
mod quota;
mod uploads;
mod versions;
mod whole;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cm_crypto::Secret;
use cm_crypto::sign::SigningKey;
use cm_db::{Db, Schema, open_memory};
use cm_events::EventLog;
use cm_policy::{ActionKind, Create, Delete, List, Permit, Read, RoleFacts, Subject, Target, Update, decide};
use cm_runtime::{ManualClock, Tasks};
use cm_types::{BucketName, Labels, ObjectKey, PrincipalId, ResourceKind, TenantId};
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::*;

/// One engine on a temporary directory, with tables in memory.
struct Bench {
    dir: tempfile::TempDir,
    db: Db,
    clock: ManualClock,
    tasks: Tasks,
    events: EventLog,
    objects: Objects,
    bucket: BucketName,
}

/// What is as small as in tests lies in chunks too, since most of them are about chunks.
pub(crate) fn in_chunks() -> Config {
    Config { inline_bytes_max: 0, ..Config::default() }
}

fn manual(config: Config) -> Config {
    Config { collect_every: None, expire_every: None, scrub_every: None, ..config }
}

impl Bench {
    async fn new() -> Self {
        Self::with(in_chunks()).await
    }

    async fn with(config: Config) -> Self {
        Self::with_collector(manual(config)).await
    }

    async fn with_collector(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = open_memory(&Schema::new(1).with_tables(TABLES).with_tables(cm_events::TABLES));
        let (clock, tasks) = (ManualClock::new(), Tasks::new());
        let signer = SigningKey::generate();
        let events = EventLog::open(&db, Arc::new(clock.clone()), signer).await.unwrap();
        let (path, time) = (dir.path().join("objects"), Arc::new(clock.clone()));
        let opened =
            Objects::open(&path, db.clone(), events.clone(), time, &tasks, config, Secret::new([9; 32]));
        let objects = opened.await.unwrap();
        let bench =
            Self { dir, db, clock, tasks, events, objects, bucket: BucketName::parse("scans").unwrap() };
        bench.create_bucket("scans").await;
        bench
    }

    async fn create_bucket(&self, name: &str) {
        let (objects, name) = (self.objects.clone(), BucketName::parse(name).unwrap());
        let created = self.db.write(move |tx| objects.create_bucket(tx, &collection::<Create>(), &name));
        created.await.unwrap();
    }

    async fn open(&self, dir: &std::path::Path) -> Result<Objects, ObjectError> {
        let (events, clock) = (self.events.clone(), Arc::new(self.clock.clone()));
        let (config, key) = (manual(in_chunks()), Secret::new([9; 32]));
        Objects::open(dir, self.db.clone(), events, clock, &self.tasks, config, key).await
    }

    /// Closes the engine and opens its directory and tables again.
    async fn reopen(&mut self) {
        let other = tempfile::tempdir().unwrap();
        // The lock goes with the last handle.
        let idle = self.open(other.path()).await.unwrap();
        drop(std::mem::replace(&mut self.objects, idle));
        self.objects = self.open(&self.dir.path().join("objects")).await.unwrap();
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> Result<ObjectInfo, ObjectError> {
        self.put_with(key, NewObject::default(), pieces(bytes, 300_000)).await
    }

    async fn put_with(
        &self,
        name: &str,
        new: NewObject,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<ObjectInfo, ObjectError> {
        self.objects.put(&permit::<Update>("scans", name), &self.bucket, &key(name), new, body).await
    }

    async fn read(&self, name: &str, range: Option<ByteRange>) -> Result<Vec<u8>, ObjectError> {
        let permit = permit::<Read>("scans", name);
        let read = self.objects.get(&permit, &self.bucket, &key(name), range).await?;
        let expected = (read.range.end - read.range.start) as usize;
        let pieces: Vec<Bytes> = read.body.try_collect().await?;
        let bytes = pieces.concat();
        assert_eq!(bytes.len(), expected, "the body is not as long as the range");
        Ok(bytes)
    }

    async fn delete(&self, name: &str) -> Result<ObjectInfo, ObjectError> {
        let permit = permit::<Delete>("scans", name);
        self.objects.delete(&permit, &self.bucket, &key(name), DeleteObject::default()).await
    }

    async fn list(&self, query: ListQuery) -> Result<Listing, ObjectError> {
        self.objects.list(&collection::<List>(), &self.bucket, query).await
    }

    async fn damages(&self) -> (Vec<Damage>, ScrubTotals) {
        let items: Vec<ScrubItem> = self.objects.verify_all().try_collect().await.unwrap();
        let (mut damages, mut totals) = (Vec::new(), None);
        for item in items {
            match item {
                ScrubItem::Damaged(damage) => damages.push(damage),
                ScrubItem::Finished(finished) => totals = Some(finished),
            }
        }
        (damages, totals.expect("the scrub did not finish"))
    }

    /// Every chunk file, and every temporary one.
    fn files(&self) -> Vec<PathBuf> {
        let root = self.dir.path().join("objects");
        let mut files = Vec::new();
        let mut dirs = vec![root.join("chunks"), root.join("tmp")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { dirs.push(path) } else { files.push(path) }
            }
        }
        files
    }

    fn chunk_file(&self, bytes: &[u8]) -> PathBuf {
        self.objects.0.chunks.path(&cm_crypto::digest::sha256(bytes))
    }

    async fn collect_all(&self) -> Collected {
        let first = self.objects.collect_garbage().await.unwrap();
        self.clock.advance(Config::default().garbage_grace + Duration::from_secs(1));
        let second = self.objects.collect_garbage().await.unwrap();
        Collected {
            versions: first.versions + second.versions,
            chunks: first.chunks + second.chunks,
            orphans: first.orphans + second.orphans,
            bytes: first.bytes + second.bytes,
        }
    }
}

/// An engine, for tests with several.
pub(crate) async fn open(
    dir: &std::path::Path,
    db: &Db,
    events: &EventLog,
    clock: Arc<dyn cm_runtime::Clock>,
    tasks: &Tasks,
    config: Config,
) -> Result<Objects, ObjectError> {
    Objects::open(dir, db.clone(), events.clone(), clock, tasks, config, Secret::new([9; 32])).await
}

pub(crate) fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

pub(crate) fn permit_for<A: ActionKind>(kind: ResourceKind, id: Option<&str>) -> Permit<A> {
    let (admin, tenant, labels) = (PrincipalId::admin(), TenantId::default_tenant(), Labels::new());
    let roles = [RoleFacts::administrator()];
    let target = Target { kind, id, tenant: &tenant, owner: None, labels: &labels, guard: None };
    decide(&Subject::principal(&admin, &tenant, &roles), &target).unwrap()
}

pub(crate) fn permit<A: ActionKind>(bucket: &str, key: &str) -> Permit<A> {
    permit_for(ResourceKind::Object, Some(&format!("{bucket}/{key}")))
}

pub(crate) fn collection<A: ActionKind + Collection>() -> Permit<A> {
    permit_for(A::KIND, None)
}

pub(crate) trait Collection {
    const KIND: ResourceKind;
}

impl Collection for Create {
    const KIND: ResourceKind = ResourceKind::Bucket;
}

impl Collection for List {
    const KIND: ResourceKind = ResourceKind::Object;
}

/// Bytes that differ from chunk to chunk, and with the seed.
pub(crate) fn sample(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64 (Marsaglia 2003): fast in debug builds, and no chunk repeats.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(crate) fn pieces(bytes: &[u8], len: usize) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let pieces: Vec<_> = bytes.chunks(len).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}
