//! Puts that come to nothing leave nothing, while the engine runs.

use super::*;

/// Puts two chunks and a beginning under the name, and goes away before the end.
async fn abort(bench: &Bench, name: &str, seed: u64) {
    let (arrived, mut waiting) = tokio::sync::mpsc::channel(1);
    let first = pieces(&sample(2 * CHUNK_BYTES + 9, seed), 400_000);
    let silent = stream::once(async move {
        arrived.send(()).await.unwrap();
        std::future::pending().await
    });
    tokio::select! {
        _ = bench.put_with(name, NewObject::default(), first.chain(silent)) => panic!("it finished"),
        _ = waiting.recv() => {}
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect(what);
}

/// A chunk that is on its way to the disk is let finish.
async fn until_released(bench: &Bench) {
    let engine = &bench.objects.0;
    until("a claim was never given up", || {
        engine.pins.is_empty() && engine.leases.is_empty() && engine.puts.free() == 64
    })
    .await;
}

/// A put that arrives whole, and turns out to be something else than announced.
async fn refuse(bench: &Bench, name: &str, bytes: &[u8]) {
    let expected_sha256 = Some(cm_crypto::digest::sha256(b"something else"));
    let new = NewObject { expected_sha256, ..NewObject::default() };
    let error = bench.put_with(name, new, pieces(bytes, 300_000)).await.unwrap_err();
    assert!(matches!(error, ObjectError::DigestMismatch { .. }), "{error}");
}

#[tokio::test]
async fn aborted_uploads_leave_no_files_while_the_store_runs() {
    let bench = Bench::new().await;
    // The search of the start is over: whatever is found from here on was handed over.
    assert_eq!(bench.objects.collect_garbage().await.unwrap(), Collected::default());
    bench.put("kept", b"kept").await.unwrap();
    // As many as can be named one by one, then so many that the directories are searched.
    for (uploads, handed_over) in [(3, (6, false)), (6, (0, true))] {
        for upload in 0..uploads {
            abort(&bench, &format!("aborted-{upload}"), upload).await;
        }
        until("the uploads never reached the disk", || bench.files().len() as u64 == 2 * uploads + 1).await;
        until_released(&bench).await;
        until("they were not handed over", || bench.objects.0.abandoned.waiting() == handed_over).await;
        let collected = bench.objects.collect_garbage().await.unwrap();
        assert_eq!((collected.orphans, collected.bytes), (2 * uploads, 2 * uploads * CHUNK_BYTES as u64));
        assert_eq!(bench.files(), [bench.chunk_file(b"kept")]);
        assert_eq!(bench.objects.collect_garbage().await.unwrap(), Collected::default());
    }
    assert_eq!(bench.read("kept", None).await.unwrap(), b"kept");
}

#[tokio::test]
async fn the_collector_is_woken_by_an_aborted_upload() {
    let never = Config { collect_every: Some(Duration::from_secs(86_400)), ..in_chunks() };
    let bench = Bench::with_collector(never).await;
    bench.put("kept", b"kept").await.unwrap();
    until("the search of the start", || !bench.objects.0.abandoned.waiting().1).await;
    for upload in 0..5 {
        abort(&bench, &format!("aborted-{upload}"), upload).await;
        refuse(&bench, &format!("refused-{upload}"), format!("refused {upload}").as_bytes()).await;
    }
    until("the files of aborted uploads stayed", || bench.files() == [bench.chunk_file(b"kept")]).await;
}

#[tokio::test]
async fn what_a_refused_commit_made_durable_goes_and_what_others_count_stays() {
    let bench = Bench::new().await;
    bench.objects.collect_garbage().await.unwrap();
    let shared = sample(CHUNK_BYTES, 1);
    bench.put("kept", &shared).await.unwrap();
    let long = [shared.clone(), sample(100, 2)].concat();
    refuse(&bench, "refused", &long).await;
    assert_eq!(bench.objects.collect_garbage().await.unwrap().orphans, 1);
    assert_eq!(bench.files(), [bench.chunk_file(&shared)]);
    assert!(bench.read("kept", None).await.unwrap() == shared);
}

#[tokio::test]
async fn a_commit_that_loses_a_race_hands_its_chunks_over() {
    let bench = Bench::new().await;
    bench.objects.collect_garbage().await.unwrap();
    let absent = NewObject { if_none_match: true, ..NewObject::default() };
    // The winner comes in between the two looks at the condition.
    let body = stream::once(async {
        bench.put("k", b"winner").await.unwrap();
        Ok(Bytes::from_static(b"loser"))
    });
    let lost = bench.put_with("k", absent, body).await;
    assert!(matches!(lost, Err(ObjectError::AlreadyExists { .. })));
    assert_eq!(bench.files().len(), 2);
    assert_eq!(bench.objects.collect_garbage().await.unwrap().orphans, 1);
    assert_eq!(bench.files(), [bench.chunk_file(b"winner")]);
}

#[tokio::test]
async fn a_chunk_that_another_put_has_pinned_is_left_to_it() {
    let bench = Bench::new().await;
    bench.objects.collect_garbage().await.unwrap();
    let bytes = sample(2 * CHUNK_BYTES + 9, 3);
    // While one put has sent its first chunks, another one of the same bytes is aborted and collected.
    let (first, rest) = bytes.split_at(2 * CHUNK_BYTES + 1);
    let between = stream::once(async {
        abort(&bench, "aborted", 3).await;
        until("the aborted put was not handed over", || bench.objects.0.abandoned.waiting().0 == 2).await;
        assert_eq!(bench.objects.collect_garbage().await.unwrap(), Collected::default());
        Ok(Bytes::copy_from_slice(rest))
    });
    let body = pieces(first, CHUNK_BYTES).chain(between);
    bench.put_with("k", NewObject::default(), Box::pin(body)).await.unwrap();
    assert!(bench.read("k", None).await.unwrap() == bytes);
    assert_eq!(bench.collect_all().await, Collected::default());
}

#[tokio::test]
async fn a_search_that_fails_is_made_again() {
    let bench = Bench::new().await;
    bench.objects.collect_garbage().await.unwrap();
    refuse(&bench, "refused", b"refused").await;
    // A directory in the place of the file cannot be removed as one.
    let file = bench.chunk_file(b"refused");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    bench.objects.collect_garbage().await.unwrap_err();
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, b"refused").unwrap();
    assert_eq!(bench.objects.collect_garbage().await.unwrap().orphans, 1);
    assert_eq!(bench.files(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn nothing_is_taken_for_an_orphan_after_a_commit_of_unknown_effect() {
    let bench = Bench::new().await;
    let engine = bench.objects.0.clone();
    let mut uncounted = crate::abandoned::Uncounted::new(engine.abandoned.clone(), engine.pins.clone());
    let uncounted = tokio::task::spawn_blocking(move || {
        uncounted.hash(b"perhaps");
        uncounted
    });
    std::fs::write(bench.chunk_file(b"perhaps"), b"perhaps").unwrap();
    uncounted.await.unwrap().uncertain();
    assert_eq!(bench.objects.collect_garbage().await.unwrap(), Collected::default());
    assert_eq!(bench.files(), [bench.chunk_file(b"perhaps")]);
}

/// Puts of the same bytes, half of them refused after their chunks are durable, meet a collector that
/// never rests. What was put must be readable, and in the end nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_put_survives_the_collection_of_what_others_abandoned() {
    let bench = Arc::new(Bench::with(Config { garbage_grace: Duration::ZERO, ..in_chunks() }).await);
    let mut putting = Vec::new();
    for task in 0..4u64 {
        let bench = bench.clone();
        putting.push(bench.clone().tasks.spawn("test-writer", async move {
            let name = format!("name-{task}");
            for round in 0..60u64 {
                // The same for all tasks that are in this round, and never again.
                let content = sample(2000, round);
                if task % 2 == 0 {
                    refuse(&bench, &name, &content).await;
                    refuse(&bench, &name, format!("{task} alone, round {round}").as_bytes()).await;
                } else {
                    bench.put(&name, &content).await.unwrap();
                    assert!(bench.read(&name, None).await.unwrap() == content, "lost in round {round}");
                    bench.delete(&name).await.unwrap();
                }
            }
        }));
    }
    let mut orphans = 0;
    while !putting.iter().all(|task| task.is_finished()) {
        bench.clock.advance(Duration::from_millis(1));
        orphans += bench.objects.collect_garbage().await.unwrap().orphans;
    }
    for task in putting {
        task.await.unwrap();
    }
    orphans += bench.collect_all().await.orphans;
    assert!(orphans >= 120, "only {orphans} orphans, but each refused task had 60 of its own");
    assert_eq!(bench.files(), Vec::<PathBuf>::new());
    assert!(bench.objects.0.pins.is_empty() && bench.objects.0.leases.is_empty());
}
