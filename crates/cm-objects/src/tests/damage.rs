//! What is not what was written is found, named, and never released.

use cm_types::Timestamp;

use super::*;
use crate::scrub::turn::Turn;

#[tokio::test]
async fn any_flipped_byte_of_a_chunk_is_named() {
    let bench = Bench::new().await;
    let bytes = sample(150, 1);
    bench.put("small", &bytes).await.unwrap();
    let path = bench.chunk_file(&bytes);
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 0x10;
        std::fs::write(&path, altered).unwrap();
        let Err(ObjectError::Damaged(damage)) = bench.read("small", None).await else {
            panic!("flipped byte {at} was released");
        };
        assert_eq!((damage.key.as_str(), damage.chunk), ("small", Some(0)));
        assert!(matches!(damage.flaw, Flaw::Altered { .. }));
    }
}

#[tokio::test]
async fn damage_in_one_chunk_is_named_and_the_rest_can_be_read() {
    let bench = Bench::new().await;
    let bytes = sample(3 * CHUNK_BYTES + 10, 2);
    bench.put("a", &bytes).await.unwrap();
    bench.put("b", &bytes[CHUNK_BYTES..2 * CHUNK_BYTES]).await.unwrap();
    let chunk = |index: usize| {
        let end = bytes.len().min((index + 1) * CHUNK_BYTES);
        bench.chunk_file(&bytes[index * CHUNK_BYTES..end])
    };
    let mut altered = std::fs::read(chunk(1)).unwrap();
    altered[4711] ^= 1;
    std::fs::write(chunk(1), altered).unwrap();
    std::fs::remove_file(chunk(2)).unwrap();
    std::fs::write(chunk(3), &bytes[3 * CHUNK_BYTES..][..4]).unwrap();

    let (damages, totals) = bench.damages().await;
    let mut found: Vec<_> =
        damages.iter().map(|damage| (damage.key.as_str(), damage.chunk, flaw_name(&damage.flaw))).collect();
    found.sort();
    let expected = [
        ("a", Some(1), "altered"),
        ("a", Some(2), "missing"),
        ("a", Some(3), "truncated"),
        ("b", Some(0), "altered"),
    ];
    assert_eq!(found, expected);
    assert_eq!((totals.objects, totals.chunks, totals.damaged), (2, 5, 4));

    let good = bench.read("a", Some(ByteRange::Inclusive(0, CHUNK_BYTES as u64 - 1))).await.unwrap();
    assert!(good == bytes[..CHUNK_BYTES]);
    let read =
        bench.objects.get(&permit::<Read>("scans", "a"), &bench.bucket, &key("a"), None).await.unwrap();
    let items: Vec<_> = read.body.collect().await;
    assert!(matches!(items.as_slice(), [Ok(_), Err(ObjectError::Damaged(_))]), "{items:?}");

    // The same bytes again repair what they share.
    bench.put("c", &bytes).await.unwrap();
    assert_eq!(bench.damages().await.0, []);
    assert!(bench.read("a", None).await.unwrap() == bytes);
}

#[tokio::test]
async fn everything_is_read_in_turns_that_outlive_restarts() {
    let bench = Bench::new().await;
    let bytes = sample(2 * CHUNK_BYTES, 4);
    bench.put("a", &bytes).await.unwrap();
    let path = bench.chunk_file(&bytes[..CHUNK_BYTES]);
    let mut altered = std::fs::read(&path).unwrap();
    altered[4711] ^= 1;
    std::fs::write(path, altered).unwrap();
    let engine = &bench.objects.0;
    let (mut damaged, mut turns, week) = (0, 0, Duration::from_secs(7 * 24 * 3600));
    let due = |after: Duration| {
        let now = Timestamp::from(engine.clock.now() + after);
        Turn::due(&engine.db, String::new(), now, week)
    };
    while let Some(turn) = due(Duration::ZERO).await.unwrap() {
        for directory in turn.directories() {
            damaged += engine.scrub_directory(directory, u64::MAX).await.unwrap();
        }
        // Whoever is ended before that reads the same once more.
        turn.end(&engine.db, String::new()).await.unwrap();
        turns += 1;
    }
    assert_eq!((damaged, turns), (1, 16));
    assert!(due(week / 2).await.unwrap().is_none());
    assert!(due(week).await.unwrap().is_some());
}

fn flaw_name(flaw: &Flaw) -> &'static str {
    match flaw {
        Flaw::Missing => "missing",
        Flaw::Truncated { .. } => "truncated",
        Flaw::Altered { .. } => "altered",
        Flaw::Sealed => "sealed",
        Flaw::Packed => "packed",
        Flaw::Unreadable(_) => "unreadable",
    }
}

#[tokio::test]
async fn a_manifest_that_names_other_chunks_is_found_by_the_scrub() {
    let bench = Bench::new().await;
    let info = bench.put("real", b"what was written").await.unwrap();
    bench.put("other", b"something elsewhere").await.unwrap();
    let digests = vec![cm_crypto::digest::sha256(b"something elsewhere")];
    let key = (tables::VersionKey(info.version), 0);
    let forged = bench.db.write(move |tx| {
        // Same digest and a real chunk, but of other content; as long as the row says.
        tx.put::<tables::Manifests>(&key, &tables::SegmentRow::new(digests, &[]))
    });
    forged.await.unwrap();
    let (damages, _) = bench.damages().await;
    assert_eq!(damages.len(), 1);
    assert_eq!(damages[0].key.as_str(), "real");
}

#[tokio::test]
async fn a_manifest_that_is_missing_is_named() {
    let bench = Bench::new().await;
    let info = bench.put("k", b"x").await.unwrap();
    let key = (tables::VersionKey(info.version), 0);
    bench.db.write(move |tx| tx.delete::<tables::Manifests>(&key)).await.unwrap();
    let Err(ObjectError::Damaged(damage)) = bench.read("k", None).await else { panic!("it was read") };
    assert_eq!((damage.chunk, damage.flaw), (None, Flaw::Missing));
}
