//! Nothing that is needed goes, and everything else does.

use super::*;

#[tokio::test]
async fn what_nothing_names_goes_after_the_grace_period() {
    let bench = Bench::new().await;
    let shared = sample(CHUNK_BYTES, 1);
    let long = [shared.clone(), sample(100, 2)].concat();
    bench.put("long", &long).await.unwrap();
    bench.put("short", &shared).await.unwrap();
    assert_eq!(bench.files().len(), 2, "equal chunks are kept once");
    bench.delete("long").await.unwrap();
    let first = bench.objects.collect_garbage().await.unwrap();
    assert_eq!((first.versions, first.chunks), (1, 0), "the grace period was not kept");
    assert_eq!(bench.collect_all().await.chunks, 1);
    assert!(bench.read("short", None).await.unwrap() == shared);
    bench.put("short", b"new").await.unwrap();
    bench.collect_all().await;
    assert_eq!(bench.files(), [bench.chunk_file(b"new")]);
    assert_eq!(bench.collect_all().await, Collected::default());
}

/// The collector saw it on its list while it was written, and comes to it when it is there.
#[tokio::test]
async fn a_version_that_was_finished_meanwhile_is_not_taken_apart() {
    let bench = Bench::new().await;
    let bytes = sample(7 * CHUNK_BYTES, 9);
    let version = bench.put("k", &bytes).await.unwrap().version;
    let engine = bench.objects.0.clone();
    let now = engine.now();
    assert!(!engine.write(move |tx| Ok(tables::dismantle(tx, version, now)?)).await.unwrap());
    assert!(bench.read("k", None).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_chunk_that_is_used_again_within_the_grace_period_stays() {
    let bench = Bench::new().await;
    bench.put("a", b"content").await.unwrap();
    bench.delete("a").await.unwrap();
    bench.objects.collect_garbage().await.unwrap();
    bench.put("b", b"content").await.unwrap();
    assert_eq!(bench.collect_all().await.chunks, 0);
    assert_eq!(bench.read("b", None).await.unwrap(), b"content");
}

#[tokio::test]
async fn a_version_that_is_read_stays_until_the_reader_is_done() {
    let bench = Bench::new().await;
    let bytes = sample(6 * CHUNK_BYTES, 5);
    bench.put("k", &bytes).await.unwrap();
    let permit = permit::<Read>("scans", "k");
    let mut read = bench.objects.get(&permit, &bench.bucket, &key("k"), None).await.unwrap();
    let mut found = read.body.next().await.unwrap().unwrap().to_vec();
    bench.put("k", b"replaced").await.unwrap();
    assert_eq!(bench.collect_all().await.versions, 0);
    while let Some(piece) = read.body.next().await {
        found.extend_from_slice(&piece.unwrap());
    }
    assert!(found == bytes);
    drop(read);
    let collected = bench.collect_all().await;
    assert_eq!((collected.versions, collected.chunks), (1, 6));
}

#[tokio::test]
async fn what_a_crash_left_is_removed_at_the_next_start() {
    let mut bench = Bench::new().await;
    bench.put("k", b"kept").await.unwrap();
    let root = bench.dir.path().join("objects");
    std::fs::write(root.join("tmp/half-written"), b"ha").unwrap();
    let orphan = bench.chunk_file(b"renamed but never committed");
    std::fs::write(&orphan, b"renamed but never committed").unwrap();
    // A version whose first segment was committed, and whose put then ended with the process.
    let version = uuid::Uuid::new_v4();
    let engine = bench.objects.0.clone();
    let digest = cm_crypto::digest::sha256(b"kept");
    bench
        .db
        .write(move |tx| {
            engine.doom(tx, version)?;
            let row = tables::SegmentRow::new(vec![digest; 3], &[]);
            tables::insert_segment(tx, version, 0, &row, engine.now()).map_err(ObjectError::from)
        })
        .await
        .unwrap();
    bench.reopen().await;
    assert!(!root.join("tmp/half-written").exists());
    let collected = bench.collect_all().await;
    assert_eq!((collected.versions, collected.orphans, collected.chunks), (1, 1, 0));
    assert_eq!(bench.files(), [bench.chunk_file(b"kept")]);
    assert_eq!(bench.read("k", None).await.unwrap(), b"kept");
}

#[tokio::test]
async fn a_directory_is_open_in_one_place_only() {
    let bench = Bench::new().await;
    let again = bench.open(&bench.dir.path().join("objects")).await;
    assert!(matches!(again, Err(ObjectError::InUse { .. })));
}

/// Writers put and delete the same few contents under their own names while two collectors run without a
/// grace period. Whatever a writer has put and not deleted must be readable at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_counted_chunk_is_never_collected() {
    let bench = Arc::new(Bench::with(Config { garbage_grace: Duration::ZERO, ..in_chunks() }).await);
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let bench = bench.clone();
            bench.clone().tasks.spawn("test-writer", async move {
                let name = format!("writer-{writer}");
                for round in 0..60u64 {
                    let content = sample(2000, (round * 3 + writer) % 5);
                    bench.put(&name, &content).await.unwrap();
                    assert!(bench.read(&name, None).await.unwrap() == content, "lost in round {round}");
                    if round % 4 != 0 {
                        bench.delete(&name).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let collecting = bench.tasks.spawn("test-collector", {
        let bench = bench.clone();
        async move {
            while !writers.iter().all(|writer| writer.is_finished()) {
                bench.clock.advance(Duration::from_millis(1));
                // What one step takes off a manifest the next one may delete: the tightest interleaving.
                let mut collected = Collected::default();
                bench.objects.0.dismantle_doomed(&mut collected).await.unwrap();
                bench.clock.advance(Duration::from_millis(1));
                bench.objects.0.delete_idle(&mut collected).await.unwrap();
            }
            for writer in writers {
                writer.await.unwrap();
            }
        }
    });
    let sweeping = bench.tasks.spawn("test-sweeper", {
        let (bench, collecting) = (bench.clone(), collecting.abort_handle());
        async move {
            while !collecting.is_finished() {
                bench.objects.0.abandoned.search_everywhere();
                bench.objects.collect_garbage().await.unwrap();
            }
        }
    });
    // Which of the two collectors removes what depends on the machine; that everything goes is shown below.
    collecting.await.unwrap();
    sweeping.await.unwrap();
    let (damages, _) = bench.damages().await;
    assert_eq!(damages, []);
    for writer in 0..4 {
        bench.delete(&format!("writer-{writer}")).await.ok();
    }
    bench.clock.advance(Duration::from_secs(1));
    bench.objects.collect_garbage().await.unwrap();
    bench.clock.advance(Duration::from_secs(1));
    bench.objects.collect_garbage().await.unwrap();
    assert_eq!(bench.files(), Vec::<PathBuf>::new());
    assert!(bench.objects.0.pins.is_empty() && bench.objects.0.leases.is_empty());
}
