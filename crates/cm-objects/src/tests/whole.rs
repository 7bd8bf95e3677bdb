//! Putting, reading, replacing, deleting.

use super::*;

#[tokio::test]
async fn every_size_reads_back_verified_and_described() {
    let bench = Bench::new().await;
    for len in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 77] {
        let bytes = sample(len, len as u64 + 1);
        let metadata = [("origin".to_owned(), "lab 4".to_owned())].into();
        let new = NewObject { content_type: Some("text/csv".into()), metadata, ..NewObject::default() };
        let name = format!("size/{len}");
        let put = bench.put_with(&name, new, pieces(&bytes, 123_457)).await.unwrap();
        assert_eq!((put.size, put.sha256), (len as u64, cm_crypto::digest::sha256(&bytes)));
        let head =
            bench.objects.head(&permit::<Read>("scans", &name), &bench.bucket, &key(&name)).await.unwrap();
        assert_eq!(head, put);
        assert_eq!(head.metadata["origin"], "lab 4");
        assert!(bench.read(&name, None).await.unwrap() == bytes, "{len} bytes differ");
    }
    let (damages, totals) = bench.damages().await;
    assert_eq!((damages.len(), totals.objects), (0, 6));
}

#[tokio::test]
async fn a_range_is_what_the_slice_has() {
    let bench = Bench::new().await;
    let size = 3 * CHUNK_BYTES + 1000;
    let bytes = sample(size, 3);
    bench.put("ranged", &bytes).await.unwrap();
    let edges =
        [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, size - 1, size, size + 9];
    for start in edges {
        for end in edges {
            check_range(&bench, &bytes, ByteRange::Inclusive(start as u64, end as u64)).await;
        }
        check_range(&bench, &bytes, ByteRange::From(start as u64)).await;
        check_range(&bench, &bytes, ByteRange::Suffix(start as u64)).await;
    }
    let mut state = 7u64;
    for _ in 0..60 {
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % (size as u64 + 100)
        };
        check_range(&bench, &bytes, ByteRange::Inclusive(random(), random())).await;
    }
    check_range(&bench, &bytes, ByteRange::Inclusive(5, u64::MAX)).await;
    bench.put("empty", b"").await.unwrap();
    let nothing = bench.read("empty", Some(ByteRange::From(0))).await;
    assert!(matches!(nothing, Err(ObjectError::RangeNotSatisfiable { size: 0 })));
}

async fn check_range(bench: &Bench, bytes: &[u8], range: ByteRange) {
    let size = bytes.len() as u64;
    let expected = match range {
        ByteRange::From(start) => start.min(size)..size,
        ByteRange::Inclusive(start, end) if start <= end => start.min(size)..end.saturating_add(1).min(size),
        ByteRange::Inclusive(..) => 0..0,
        ByteRange::Suffix(count) => size - count.min(size)..size,
    };
    match bench.read("ranged", Some(range)).await {
        Ok(found) => {
            let slice = &bytes[expected.start as usize..expected.end as usize];
            assert!(!slice.is_empty() && found == slice, "{range:?} differs");
        }
        Err(ObjectError::RangeNotSatisfiable { .. }) => assert!(expected.is_empty(), "{range:?} was refused"),
        Err(error) => panic!("{range:?}: {error}"),
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let bench = Bench::new().await;
    bench.put("kept", b"the old version").await.unwrap();
    for name in ["kept", "fresh"] {
        let broken = pieces(&sample(2 * CHUNK_BYTES + 5, 9), 400_000)
            .chain(stream::iter([Err(io::Error::from(io::ErrorKind::ConnectionReset))]));
        let error = bench.put_with(name, NewObject::default(), broken).await.unwrap_err();
        assert!(matches!(error, ObjectError::Body(_)), "{error}");
    }
    assert_eq!(bench.read("kept", None).await.unwrap(), b"the old version");
    assert!(matches!(bench.read("fresh", None).await, Err(ObjectError::NotFound { .. })));
    assert_eq!(bench.collect_all().await.orphans, 2);
    assert_eq!(bench.files(), [bench.chunk_file(b"the old version")]);
    assert!(bench.objects.0.pins.is_empty() && bench.objects.0.leases.is_empty());
}

#[tokio::test]
async fn a_put_whose_future_is_dropped_leaves_nothing() {
    let bench = Bench::new().await;
    let (arrived, mut waiting) = tokio::sync::mpsc::channel(1);
    let first = pieces(&sample(CHUNK_BYTES + 1, 4), CHUNK_BYTES + 1);
    let silent = stream::once(async move {
        arrived.send(()).await.unwrap();
        std::future::pending().await
    });
    tokio::select! {
        _ = bench.put_with("stuck", NewObject::default(), first.chain(silent)) => panic!("it finished"),
        _ = waiting.recv() => {}
    }
    // A chunk that was on its way to the disk is let finish, and gives its pin up then.
    let released = async {
        while !(bench.objects.0.pins.is_empty() && bench.objects.0.leases.is_empty()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), released).await.expect("a claim was never given up");
    assert!(matches!(bench.read("stuck", None).await, Err(ObjectError::NotFound { .. })));
}

#[tokio::test]
async fn a_long_body_that_breaks_off_leaves_nothing_either() {
    let bench = Bench::new().await;
    let chunks = 2 * crate::tables::SEGMENT_BYTES as usize / CHUNK_BYTES + 2;
    let broken = pieces(&sample(chunks * CHUNK_BYTES + 1, 9), CHUNK_BYTES)
        .chain(stream::iter([Err(io::Error::from(io::ErrorKind::ConnectionReset))]));
    let error = bench.put_with("long", NewObject::default(), broken).await.unwrap_err();
    assert!(matches!(error, ObjectError::Body(_)), "{error}");
    let collected = bench.collect_all().await;
    assert_eq!((collected.versions, collected.chunks + collected.orphans), (1, chunks as u64));
    assert_eq!(bench.files(), Vec::<PathBuf>::new());
    assert_eq!(bench.collect_all().await, Collected::default());
}

#[tokio::test]
async fn conditions_are_kept() {
    let bench = Bench::new().await;
    let absent = NewObject { if_none_match: true, ..NewObject::default() };
    let first = bench.put_with("k", absent.clone(), pieces(b"one", 9)).await.unwrap();
    let again = bench.put_with("k", absent, pieces(b"two", 9)).await;
    assert!(matches!(again, Err(ObjectError::AlreadyExists { .. })));
    let matching = |etag: String| NewObject { if_match: Some(etag), ..NewObject::default() };
    let second = bench.put_with("k", matching(first.etag()), pieces(b"two", 9)).await.unwrap();
    assert_ne!(first.version, second.version);
    let stale = bench.put_with("k", matching(first.etag()), pieces(b"three", 9)).await;
    assert!(matches!(stale, Err(ObjectError::PreconditionFailed { .. })));
    let nothing = bench.put_with("other", matching(first.etag()), pieces(b"x", 9)).await;
    assert!(matches!(nothing, Err(ObjectError::PreconditionFailed { found: None, .. })));
    let expected = cm_crypto::digest::sha256(b"announced");
    let new = NewObject { expected_sha256: Some(expected), ..NewObject::default() };
    let mismatch = bench.put_with("k", new, pieces(b"sent", 9)).await;
    assert!(matches!(mismatch, Err(ObjectError::DigestMismatch { .. })));
    assert_eq!(bench.read("k", None).await.unwrap(), b"two");
    let deletion = DeleteObject { if_match: Some(first.etag()), request: None };
    let permit = permit::<Delete>("scans", "k");
    let refused = bench.objects.delete(&permit, &bench.bucket, &key("k"), deletion).await;
    assert!(matches!(refused, Err(ObjectError::PreconditionFailed { .. })));
    assert_eq!(bench.delete("k").await.unwrap(), second);
    assert!(matches!(bench.delete("k").await, Err(ObjectError::NotFound { .. })));
}

#[tokio::test]
async fn every_change_leaves_one_event_and_a_refused_one_none() {
    let bench = Bench::new().await;
    let request = Some(cm_types::RequestId::parse("r-1").unwrap());
    let new = NewObject { request: request.clone(), ..NewObject::default() };
    let first = bench.put_with("k", new, pieces(b"one", 9)).await.unwrap();
    bench.put("k", b"two").await.unwrap();
    let refused = NewObject { if_none_match: true, ..NewObject::default() };
    bench.put_with("k", refused, pieces(b"three", 9)).await.unwrap_err();
    bench.delete("k").await.unwrap();
    let events = bench.events.clone();
    let limit = cm_types::PageLimit::MAX;
    let page = bench.db.read(move |tx| events.page(tx, 0, limit, &cm_events::EventFilter::default()));
    let events = page.await.unwrap().items;
    let verbs: Vec<_> = events.iter().map(|event| event.verb.as_str()).collect();
    assert_eq!(verbs, ["object.created", "object.replaced", "object.deleted"]);
    assert_eq!(events[0].resource.as_ref().unwrap().to_string(), "object/scans/k");
    assert_eq!((&events[0].actor, &events[0].request), (&Some(PrincipalId::admin()), &request));
    assert_eq!(events[0].facts["sha256"], first.sha256.to_string());
}

#[tokio::test]
async fn limits_are_kept() {
    let bench = Bench::with(Config { object_bytes_max: 10, concurrent_puts_max: 1, ..in_chunks() }).await;
    bench.put("exactly", b"0123456789").await.unwrap();
    assert!(matches!(bench.put("more", b"0123456789a").await, Err(ObjectError::TooLarge { max: 10 })));
    let metadata = [("name".to_owned(), "x".repeat(METADATA_BYTES_MAX - 3))].into();
    let new = NewObject { metadata, ..NewObject::default() };
    let long = bench.put_with("long", new, pieces(b"", 1)).await;
    assert!(matches!(long, Err(ObjectError::DescriptionTooLong { what: "metadata", .. })));
    let new = NewObject { content_type: Some("a\r\nb".into()), ..NewObject::default() };
    let split = bench.put_with("split", new, pieces(b"", 1)).await;
    assert!(matches!(split, Err(ObjectError::DescriptionCharacter { .. })));
    let place = bench.objects.0.puts.take(&permit::<Update>("scans", "busy")).unwrap();
    let busy = bench.put("busy", b"").await.unwrap_err();
    assert!(matches!(busy, ObjectError::Busy) && busy.retryable());
    drop(place);
    bench.put("busy", b"").await.unwrap();
}

#[tokio::test]
async fn a_permit_serves_for_its_object_only() {
    let bench = Bench::new().await;
    bench.put("mine", b"x").await.unwrap();
    let other = permit::<Read>("scans", "other");
    let read = bench.objects.get(&other, &bench.bucket, &key("mine"), None).await;
    assert!(matches!(read, Err(ObjectError::NotPermitted { .. })));
    let create = permit::<Create>("scans", "mine");
    let body = pieces(b"y", 1);
    let replaced = bench.objects.put(&create, &bench.bucket, &key("mine"), NewObject::default(), body).await;
    assert!(matches!(replaced, Err(ObjectError::AlreadyExists { .. })));
    assert_eq!(bench.read("mine", None).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_bucket_takes_objects_while_it_exists_and_goes_when_empty() {
    let bench = Bench::new().await;
    let (objects, bucket) = (bench.objects.clone(), bench.bucket.clone());
    let remove = || {
        let (objects, bucket) = (objects.clone(), bucket.clone());
        bench.db.write(move |tx| {
            let permit = permit_for::<Delete>(ResourceKind::Bucket, Some("scans"));
            objects.delete_bucket(tx, &permit, &bucket)
        })
    };
    bench.put("a", b"1").await.unwrap();
    assert!(matches!(remove().await, Err(ObjectError::BucketNotEmpty { .. })));
    bench.delete("a").await.unwrap();
    remove().await.unwrap();
    assert!(matches!(remove().await, Err(ObjectError::BucketNotFound { .. })));
    assert!(matches!(bench.put("a", b"1").await, Err(ObjectError::BucketNotFound { .. })));
    assert!(matches!(bench.list(ListQuery::default()).await, Err(ObjectError::BucketNotFound { .. })));
}
