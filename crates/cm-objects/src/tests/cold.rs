//! Chunks that go to another service and come back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A service in memory that can be told to be down, to forget what it is given, and to alter what it gives.
#[derive(Debug, Default)]
pub(crate) struct Service {
    pub(crate) kept: InMemory,
    pub(crate) is_down: AtomicBool,
    pub(crate) forgets: AtomicBool,
    pub(crate) alters: AtomicBool,
    pub(crate) reads: AtomicUsize,
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("service of a test")
    }
}

impl Service {
    fn answer(&self) -> object_store::Result<()> {
        match self.is_down.load(Ordering::SeqCst) {
            true => Err(object_store::Error::Generic { store: "test", source: "down".into() }),
            false => Ok(()),
        }
    }

    pub(crate) async fn names(&self) -> Vec<Path> {
        let all: Vec<ObjectMeta> = self.kept.list(None).try_collect().await.unwrap();
        all.into_iter().map(|found| found.location).collect()
    }
}

#[async_trait::async_trait]
impl ObjectStore for Service {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.answer()?;
        let payload = if self.forgets.load(Ordering::SeqCst) { PutPayload::default() } else { payload };
        self.kept.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.kept.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.answer()?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.alters.load(Ordering::SeqCst) {
            let mut bytes = self.kept.get(location).await?.bytes().await?.to_vec();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            self.kept.put(location, bytes.into()).await?;
        }
        self.kept.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        match self.answer() {
            Ok(()) => self.kept.delete_stream(locations),
            Err(error) => stream::once(std::future::ready(Err(error))).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.kept.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.kept.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.kept.copy_opts(from, to, options).await
    }
}

/// The tier of a test, which does nothing by itself.
pub(crate) fn tier(service: &Arc<Service>) -> ColdTier {
    let pace =
        ColdPace { look_every: DAY * 365, bytes_per_second: u64::MAX, timeout: Duration::from_secs(20) };
    ColdTier { store: service.clone(), place: "test".to_owned(), prefix: "mesh/".to_owned(), pace }
}

fn on_bucket<A: ActionKind>(name: &str) -> Permit<A> {
    permit_for(ResourceKind::Bucket, Some(name))
}

impl Bench {
    async fn with_cold(days: u32) -> (Self, Arc<Service>) {
        let (bench, service) = (Self::new().await, Arc::new(Service::default()));
        let refused = bench.set_cold(Some(days)).await.unwrap_err();
        assert!(matches!(refused, ObjectError::NoColdTier), "{refused:?}");
        bench.objects.use_cold_tier(tier(&service)).unwrap();
        assert!(matches!(bench.objects.use_cold_tier(tier(&service)), Err(ObjectError::ColdAlready)));
        bench.set_cold(Some(days)).await.unwrap();
        (bench, service)
    }

    async fn set_cold(&self, days: Option<u32>) -> Result<(), ObjectError> {
        self.objects.set_cold_after(&on_bucket("scans"), &self.bucket, days, None).await
    }

    async fn tend(&self) -> Tended {
        self.objects.tend_cold_tier().await.unwrap()
    }

    async fn moved(&self) -> u64 {
        self.tend().await.moved
    }

    async fn cold_chunks(&self) -> (u64, u64) {
        let status = self.objects.cold_status().await.unwrap();
        (status.chunks, status.bytes)
    }

    /// Waits until a chunk that was read is back.
    async fn wait_hot(&self) {
        let mut interval = tokio::time::interval(Duration::from_millis(5));
        let back = async {
            while self.cold_chunks().await.0 > 0 {
                interval.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), back).await.expect("the chunk stays cold");
    }
}

#[tokio::test]
async fn what_nobody_reads_goes_and_the_first_read_brings_it_back() {
    let (bench, service) = Bench::with_cold(3).await;
    let bytes = sample(2_500_000, 1);
    bench.put("film", &bytes).await.unwrap();
    assert_eq!(bench.moved().await, 0, "it is new");
    bench.clock.advance(DAY * 3);
    let tended = bench.tend().await;
    assert_eq!((tended.moved, tended.bytes), (3, 2_500_000));
    assert!(bench.files().is_empty(), "it is nowhere else");
    assert_eq!(bench.cold_chunks().await, (3, 2_500_000));
    // Nothing of it can be read there, not even its digests.
    let names = service.names().await;
    assert_eq!(names.len(), 3);
    for name in &names {
        assert!(name.as_ref().starts_with("mesh/"), "{name}");
        let there = service.kept.get(name).await.unwrap().bytes().await.unwrap();
        for chunk in bytes.chunks(CHUNK_BYTES) {
            assert!(!there.windows(64).any(|window| window == &chunk[..64]));
            assert!(!name.as_ref().contains(&cm_crypto::digest::sha256(chunk).to_string()));
        }
    }
    // A check of everything reads it and leaves it there.
    let (damages, totals) = bench.damages().await;
    assert!(damages.is_empty() && totals.bytes == 2_500_000, "{damages:?} {totals:?}");
    assert_eq!(bench.cold_chunks().await.0, 3);
    assert_eq!(bench.read("film", None).await.unwrap(), bytes);
    bench.wait_hot().await;
    assert_eq!(bench.files().len(), 3);
    let before = service.reads.load(Ordering::SeqCst);
    assert_eq!(bench.read("film", None).await.unwrap(), bytes);
    assert_eq!(service.reads.load(Ordering::SeqCst), before, "it is here again");
    // What was read is not cold for as long again, and what it had there goes.
    bench.clock.advance(DAY * 2);
    assert_eq!(bench.tend().await, Tended { deleted: 3, ..Tended::default() });
    assert!(service.names().await.is_empty());
    bench.clock.advance(DAY * 2);
    assert_eq!(bench.moved().await, 3);
}

#[tokio::test]
async fn only_what_every_mention_lets_go_goes() {
    let (bench, _service) = Bench::with_cold(3).await;
    bench.create_bucket("other").await;
    let (shared, own) = (sample(1000, 1), sample(1000, 2));
    bench.put("shared", &shared).await.unwrap();
    bench.put("own", &own).await.unwrap();
    bench.put("twice", &own).await.unwrap();
    let other = BucketName::parse("other").unwrap();
    let (may, name, body) = (permit::<Update>("other", "k"), key("k"), pieces(&shared, 100));
    bench.objects.put(&may, &other, &name, NewObject::default(), body).await.unwrap();
    bench.clock.advance(DAY * 4);
    bench.put("young", &own).await.unwrap();
    assert_eq!(bench.moved().await, 0, "one is of another bucket, one has a young mention");
    bench.delete("young").await.unwrap();
    bench.collect_all().await;
    assert_eq!(bench.moved().await, 1);
    bench.objects.set_cold_after(&on_bucket("other"), &other, Some(5), None).await.unwrap();
    assert_eq!(bench.moved().await, 0, "not for as long as the other bucket says");
    bench.clock.advance(DAY * 2);
    assert_eq!(bench.moved().await, 1);
    let far = bench.objects.set_cold_after(&on_bucket("other"), &other, Some(COLD_DAYS_MAX + 1), None).await;
    assert!(matches!(far, Err(ObjectError::ColdDays { .. })));
}

#[tokio::test]
async fn more_chunks_than_are_looked_at_at_once_all_go() {
    let (bench, service) = Bench::with_cold(0).await;
    let bytes = sample(9 * CHUNK_BYTES + 17, 3);
    bench.put("film", &bytes).await.unwrap();
    assert_eq!(bench.moved().await, 10);
    assert_eq!(service.names().await.len(), 10);
    assert_eq!(bench.read("film", Some(ByteRange::Suffix(20))).await.unwrap(), bytes[bytes.len() - 20..]);
}

#[tokio::test]
async fn a_service_that_is_down_takes_nothing_and_loses_nothing() {
    let (bench, service) = Bench::with_cold(1).await;
    let bytes = sample(1_200_000, 4);
    bench.put("film", &bytes).await.unwrap();
    bench.clock.advance(DAY * 2);
    service.is_down.store(true, Ordering::SeqCst);
    let refused = bench.objects.tend_cold_tier().await.unwrap_err();
    assert!(matches!(refused, ObjectError::ColdUnavailable { .. }) && refused.retryable(), "{refused:?}");
    assert!(bench.objects.cold_status().await.unwrap().failure.is_some());
    assert_eq!((bench.files().len(), bench.cold_chunks().await.0), (2, 0));
    assert_eq!(bench.read("film", None).await.unwrap(), bytes);
    service.is_down.store(false, Ordering::SeqCst);
    bench.clock.advance(DAY * 2);
    assert_eq!(bench.moved().await, 2);
    assert_eq!(bench.objects.cold_status().await.unwrap().failure, None);
    service.is_down.store(true, Ordering::SeqCst);
    // Told before a byte is sent.
    let permit = permit::<Read>("scans", "film");
    let refused = bench.objects.get(&permit, &bench.bucket, &key("film"), None).await.unwrap_err();
    assert!(matches!(refused, ObjectError::ColdUnavailable { .. }), "{refused:?}");
    // Whatever is deleted meanwhile is remembered until it can be.
    bench.delete("film").await.unwrap();
    bench.collect_all().await;
    assert_eq!(bench.cold_chunks().await, (0, 0));
    bench.clock.advance(DAY);
    assert!(bench.objects.tend_cold_tier().await.is_err());
    service.is_down.store(false, Ordering::SeqCst);
    let tended = bench.tend().await;
    assert!(tended.deleted >= 2, "{tended:?}");
    assert!(service.names().await.is_empty());
    assert_eq!(bench.objects.cold_status().await.unwrap().waiting, 0);
}

#[tokio::test]
async fn a_service_that_keeps_something_else_is_given_nothing_and_believed_nothing() {
    let (bench, service) = Bench::with_cold(0).await;
    let bytes = sample(500_000, 5);
    bench.put("film", &bytes).await.unwrap();
    service.forgets.store(true, Ordering::SeqCst);
    assert_eq!(bench.moved().await, 0, "it was not read back as it was");
    assert_eq!(bench.read("film", None).await.unwrap(), bytes);
    service.forgets.store(false, Ordering::SeqCst);
    bench.clock.advance(DAY);
    assert_eq!(bench.moved().await, 1);
    service.alters.store(true, Ordering::SeqCst);
    let damaged = bench.read("film", None).await.unwrap_err();
    assert!(matches!(damaged, ObjectError::Damaged(_)), "{damaged:?}");
    service.alters.store(false, Ordering::SeqCst);
    assert_eq!(bench.damages().await.0.len(), 1);
    // Writing the same bytes again mends it.
    bench.put("again", &bytes).await.unwrap();
    assert_eq!(bench.cold_chunks().await.0, 0);
    assert_eq!(bench.read("film", None).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_name_that_is_being_deleted_is_given_to_no_chunk() {
    let (bench, service) = Bench::with_cold(0).await;
    let bytes = sample(1000, 6);
    bench.put("film", &bytes).await.unwrap();
    assert_eq!(bench.moved().await, 1);
    // As another node would that was slow: it finds the name written and not taken, and its time over.
    let name = service.names().await.remove(0).to_string();
    let digest = cm_crypto::digest::sha256(&bytes);
    let taken = bench.objects.0.cold_mark(digest, true).await.unwrap().unwrap();
    assert_eq!(taken.name, name);
    assert_eq!(bench.objects.cold_status().await.unwrap().waiting, 0, "a chunk's name is not among them");
    bench.clock.advance(DAY);
    assert_eq!(bench.tend().await, Tended::default());
    assert_eq!(service.names().await.len(), 1);
    assert_eq!(bench.read("film", None).await.unwrap(), bytes);
}
