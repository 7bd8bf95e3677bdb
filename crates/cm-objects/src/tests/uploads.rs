//! Uploads in parts: all of it becomes visible at once, and what ends leaves nothing behind.

use uuid::Uuid;

use super::*;
use crate::uploads::UploadRef;

/// An engine that takes parts of any size.
async fn bench() -> Bench {
    Bench::with(Config { part_bytes_min: 10, ..in_chunks() }).await
}

impl Bench {
    pub(super) async fn begin(&self, name: &str) -> UploadRef {
        let metadata = [("colour".to_owned(), "blue".to_owned())].into();
        let headers = [("content-encoding".to_owned(), "br".to_owned())].into();
        let new =
            NewUpload { content_type: Some("text/csv".into()), metadata, headers, ..NewUpload::default() };
        let permit = permit::<Update>("scans", name);
        self.objects.begin_upload(&permit, &self.bucket, &key(name), new).await.unwrap().upload
    }

    pub(super) async fn part(
        &self,
        upload: &UploadRef,
        number: u16,
        bytes: &[u8],
    ) -> Result<PartInfo, ObjectError> {
        let permit = permit::<Update>("scans", upload.key.as_str());
        self.objects.put_part(&permit, upload, number, NewPart::default(), pieces(bytes, 300_000)).await
    }

    pub(super) async fn complete(
        &self,
        upload: &UploadRef,
        parts: &[&PartInfo],
    ) -> Result<ObjectInfo, ObjectError> {
        let parts = parts.iter().map(|part| (part.number, part.tag.clone())).collect();
        self.complete_if(upload, parts, Vec::new()).await
    }

    async fn complete_if(
        &self,
        upload: &UploadRef,
        parts: Vec<(u16, String)>,
        conditions: Vec<Condition>,
    ) -> Result<ObjectInfo, ObjectError> {
        let permit = permit::<Update>("scans", upload.key.as_str());
        let completion = Completion { parts, conditions, ..Completion::default() };
        self.objects.complete_upload(&permit, upload, completion, |contents| contents).await
    }

    async fn uploads(&self, after: Option<(String, Option<Uuid>)>) -> UploadPage {
        let permit = permit_for(ResourceKind::Bucket, Some("scans"));
        let limit = cm_types::PageLimit::clamped(2);
        self.objects.list_uploads(&permit, &self.bucket, String::new(), after, limit).await.unwrap()
    }
}

#[tokio::test]
async fn parts_of_any_length_and_order_become_one_object() {
    let bench = bench().await;
    let upload = bench.begin("big").await;
    let (one, two, three) = (sample(CHUNK_BYTES + 17, 1), sample(4 * CHUNK_BYTES, 2), sample(5, 3));
    let third = bench.part(&upload, 7, &three).await.unwrap();
    let first = bench.part(&upload, 1, b"replaced below").await.unwrap();
    let second = bench.part(&upload, 2, &two).await.unwrap();
    let again = bench.part(&upload, 1, &one).await.unwrap();
    assert_ne!(first.tag, again.tag);
    assert!(matches!(bench.read("big", None).await, Err(ObjectError::NotFound { .. })));
    let info = bench.complete(&upload, &[&again, &second, &third]).await.unwrap();
    let whole = [one, two, three].concat();
    assert_eq!((info.size, info.sha256), (whole.len() as u64, cm_crypto::digest::sha256(&whole)));
    assert!(info.etag().ends_with("-3") && info.etag().len() == 34, "{}", info.etag());
    assert_eq!((info.content_type.as_deref(), &info.metadata["colour"][..]), (Some("text/csv"), "blue"));
    assert_eq!(info.headers["content-encoding"], "br");
    assert!(bench.read("big", None).await.unwrap() == whole);
    // The parts go, and with them what only they needed; the object stays.
    assert!(bench.collect_all().await.versions >= 4);
    assert!(bench.read("big", None).await.unwrap() == whole);
    assert_eq!(bench.damages().await.1.damaged, 0);
    assert_eq!(bench.files().len(), 6, "the chunks of the whole are other ones than those of the parts");
    assert!(matches!(bench.part(&upload, 1, b"late").await, Err(ObjectError::UploadNotFound { .. })));
    let again = bench.complete(&upload, &[&second]).await;
    assert!(matches!(again, Err(ObjectError::UploadNotFound { .. })));
}

/// RFC 1321 gives the MD5 of the parts; the tag is that of both digests, which any S3 gives.
#[tokio::test]
async fn the_tag_is_the_one_that_clients_compute() {
    let bench = bench().await;
    let upload = bench.begin("k").await;
    let one = bench.part(&upload, 1, b"message digest").await.unwrap();
    assert_eq!(one.tag, "f96b697d7cb7938d525a2f31aaf161d0");
    let info = bench.complete(&upload, &[&one]).await.unwrap();
    let mut digest = cm_crypto::digest::Md5::new();
    digest.update(&[
        0xf9, 0x6b, 0x69, 0x7d, 0x7c, 0xb7, 0x93, 0x8d, 0x52, 0x5a, 0x2f, 0x31, 0xaa, 0xf1, 0x61, 0xd0,
    ]);
    let expected: String = digest.finish().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(info.etag(), format!("{expected}-1"));
    let tagged = NewObject { tagging: Tagging::Md5, ..NewObject::default() };
    let info = bench.put_with("single", tagged, pieces(b"message digest", 3)).await.unwrap();
    assert_eq!(info.etag(), "f96b697d7cb7938d525a2f31aaf161d0");
    let matching = NewObject { if_match: Some(info.etag()), ..NewObject::default() };
    bench.put_with("single", matching, pieces(b"x", 1)).await.unwrap();
    let wrong = NewObject { expected_md5: Some([7; 16]), ..NewObject::default() };
    let refused = bench.put_with("single", wrong, pieces(b"y", 1)).await;
    assert!(matches!(refused, Err(ObjectError::Md5Mismatch)));
    assert_eq!(bench.read("single", None).await.unwrap(), b"x");
}

#[tokio::test]
async fn parts_that_do_not_fit_are_refused_and_the_upload_goes_on() {
    let bench = bench().await;
    let upload = bench.begin("k").await;
    let small = bench.part(&upload, 1, b"small").await.unwrap();
    let last = bench.part(&upload, 2, b"last").await.unwrap();
    let refused = bench.complete(&upload, &[&small, &last]).await;
    assert!(matches!(refused, Err(ObjectError::PartTooSmall { number: 1, size: 5, min: 10 })));
    assert!(matches!(bench.complete(&upload, &[&last, &small]).await, Err(ObjectError::PartOrder)));
    assert!(matches!(bench.complete(&upload, &[]).await, Err(ObjectError::PartNotFound { .. })));
    let other = PartInfo { tag: last.tag.clone(), ..small.clone() };
    let refused = bench.complete(&upload, &[&other]).await;
    assert!(matches!(refused, Err(ObjectError::PartNotFound { number: 1 })));
    for number in [0, PART_NUMBER_MAX + 1] {
        assert!(matches!(bench.part(&upload, number, b"x").await, Err(ObjectError::PartNotFound { .. })));
    }
    bench.put("k", b"meanwhile").await.unwrap();
    let refused = bench.complete_if(&upload, vec![(2, last.tag.clone())], vec![Condition::Absent]).await;
    assert!(matches!(refused, Err(ObjectError::AlreadyExists { .. })));
    bench.complete(&upload, &[&last]).await.unwrap();
    assert_eq!(bench.read("k", None).await.unwrap(), b"last");
}

#[tokio::test]
async fn what_is_aborted_forgotten_or_loses_its_bucket_leaves_nothing() {
    let bench = bench().await;
    let (aborted, forgotten) = (bench.begin("aborted").await, bench.begin("forgotten").await);
    for (upload, seed) in [(&aborted, 1), (&forgotten, 2)] {
        bench.part(upload, 1, &sample(5 * CHUNK_BYTES, seed)).await.unwrap();
    }
    assert_eq!(bench.collect_all().await, Collected::default(), "an upload that is under way lost its parts");
    let permit = permit::<Update>("scans", "aborted");
    bench.objects.abort_upload(&permit, &aborted).await.unwrap();
    let again = bench.objects.abort_upload(&permit, &aborted).await;
    assert!(matches!(again, Err(ObjectError::UploadNotFound { .. })));
    bench.collect_all().await;
    assert_eq!(bench.files().len(), 5);
    bench.clock.advance(Config::default().upload_lifetime);
    bench.collect_all().await;
    assert!(bench.files().is_empty() && bench.uploads(None).await.items.is_empty());
    let orphaned = bench.begin("orphaned").await;
    bench.part(&orphaned, 1, &sample(100, 3)).await.unwrap();
    let (objects, bucket) = (bench.objects.clone(), bench.bucket.clone());
    let delete = permit_for::<Delete>(ResourceKind::Bucket, Some("scans"));
    bench.db.write(move |tx| objects.delete_bucket(tx, &delete, &bucket)).await.unwrap();
    bench.collect_all().await;
    assert!(bench.files().is_empty());
    bench.create_bucket("scans").await;
    assert!(bench.uploads(None).await.items.is_empty());
}

#[tokio::test]
async fn uploads_and_parts_are_listed_in_pages() {
    let bench = bench().await;
    let mut begun = Vec::new();
    for name in ["a", "a", "b"] {
        begun.push(bench.begin(name).await);
    }
    let new = NewUpload::default();
    let refused =
        bench.objects.begin_upload(&permit::<Update>("scans", "c"), &bench.bucket, &key("c"), new).await;
    assert!(matches!(refused, Err(ObjectError::TooManyUploads { .. })));
    let first = bench.uploads(None).await;
    let last = &first.items[1].upload;
    let second = bench.uploads(Some((last.key.to_string(), Some(last.id)))).await;
    let found: Vec<_> = first.items.iter().chain(&second.items).map(|info| info.upload.clone()).collect();
    assert_eq!((found, first.more, second.more), (begun.clone(), true, false));
    assert_eq!(bench.uploads(Some(("a".into(), None))).await.items.len(), 1);
    for number in [3, 1, 2] {
        bench.part(&begun[2], number, b"x").await.unwrap();
    }
    let permit = permit::<Update>("scans", "b");
    let limit = cm_types::PageLimit::clamped(2);
    let (_, parts, more) = bench.objects.list_parts(&permit, &begun[2], 0, limit).await.unwrap();
    assert_eq!((parts.iter().map(|part| part.number).collect::<Vec<_>>(), more), (vec![1, 2], true));
    let (_, parts, more) = bench.objects.list_parts(&permit, &begun[2], 2, limit).await.unwrap();
    assert_eq!((parts.len(), more), (1, false));
}

#[tokio::test]
async fn whoever_looks_at_the_contents_may_refuse_them() {
    let bench = bench().await;
    let upload = bench.begin("k").await;
    let part = bench.part(&upload, 1, b"content").await.unwrap();
    let permit = permit::<Update>("scans", "k");
    let parts = vec![(1, part.tag.clone())];
    let completion = Completion { parts, ..Completion::default() };
    let refuse = |contents: Contents| {
        contents.chain(stream::once(async { Err(io::Error::other("not these")) })).boxed()
    };
    let refused = bench.objects.complete_upload(&permit, &upload, completion, refuse).await;
    assert!(matches!(refused, Err(ObjectError::Body(_))));
    assert!(matches!(bench.read("k", None).await, Err(ObjectError::NotFound { .. })));
    bench.complete(&upload, &[&part]).await.unwrap();
}

/// A client that missed the answer asks again.
#[tokio::test]
async fn what_was_completed_is_answered_again() {
    let bench = bench().await;
    let upload = bench.begin("k").await;
    let (one, two) = (b"ten bytes at least".as_slice(), b"rest".as_slice());
    let first = bench.part(&upload, 1, one).await.unwrap();
    let second = bench.part(&upload, 2, two).await.unwrap();
    let info = bench.complete(&upload, &[&first, &second]).await.unwrap();
    assert_eq!(bench.complete(&upload, &[&first, &second]).await.unwrap(), info);
    let parts = || vec![(1, first.tag.clone()), (2, second.tag.clone())];
    let absent = bench.complete_if(&upload, parts(), vec![Condition::Absent]).await;
    assert_eq!(absent.unwrap(), info, "the condition held when it was done");
    // Of other parts it was not made, nor to another digest, nor by another upload.
    let other = bench.complete(&upload, &[&first]).await;
    assert!(matches!(other, Err(ObjectError::UploadNotFound { .. })), "{other:?}");
    let permit = permit::<Update>("scans", "k");
    let completion = Completion {
        parts: parts(),
        expected_sha256: Some(cm_crypto::digest::sha256(b"other")),
        ..Completion::default()
    };
    let other = bench.objects.complete_upload(&permit, &upload, completion, |contents| contents).await;
    assert!(matches!(other, Err(ObjectError::UploadNotFound { .. })), "{other:?}");
    let another = UploadRef { id: Uuid::new_v4(), ..upload.clone() };
    let other = bench.complete(&another, &[&first, &second]).await;
    assert!(matches!(other, Err(ObjectError::UploadNotFound { .. })), "{other:?}");
    // What is no longer shown is no answer.
    bench.put("k", b"newer").await.unwrap();
    let gone = bench.complete(&upload, &[&first, &second]).await;
    assert!(matches!(gone, Err(ObjectError::UploadNotFound { .. })), "{gone:?}");
}
