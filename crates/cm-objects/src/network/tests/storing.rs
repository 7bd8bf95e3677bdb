use cm_crypto::digest::sha256;
use cm_runtime::ManualClock;

use crate::chunks::Part;
use crate::network::sweep::Orphans;
use crate::network::wire::PutHead;
use crate::tests::sample;
use crate::{Compression, Cutting, ObjectError, Packing};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_object_written_at_one_peer_is_read_at_any() {
    let cluster = Cluster::start(5).await;
    let bytes = sample(2_500_000, 1);
    cluster.put_patiently(0, "film", &bytes).await;
    cluster.put_patiently(1, "empty", b"").await;
    for at in 0..5 {
        assert_eq!(cluster.read(at, "film").await.unwrap(), bytes, "at {at}");
        assert_eq!(cluster.read(at, "empty").await.unwrap(), b"");
    }
    // Three copies of three chunks.
    assert!(eventually(async || cluster.parts() == 9).await, "{} parts", cluster.parts());
    // The same bytes again cost nothing.
    cluster.put_patiently(3, "again", &bytes).await;
    assert!(eventually(async || cluster.parts() == 9).await, "{} parts", cluster.parts());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_spread_and_joined() {
    let mut cluster = Cluster::start(5).await;
    cluster.keep("3+2").await;
    let bytes = sample(2_500_000, 2);
    cluster.put_patiently(4, "film", &bytes).await;
    assert!(eventually(async || cluster.parts() == 15).await, "{} parts", cluster.parts());
    assert!(cluster.peers.iter().all(|peer| peer.files().len() == 3), "one shard of each chunk each");
    cluster.kill(1).await;
    cluster.kill(2).await;
    for at in [0, 3, 4] {
        assert_eq!(cluster.read(at, "film").await.unwrap(), bytes, "at {at}");
    }
    // With three of five peers writing goes on, too: shards share peers.
    let later = sample(1_500_000, 22);
    cluster.put_patiently(0, "later", &later).await;
    cluster.kill(3).await;
    let refused = cluster.put(0, "too late", &bytes[..10]).await.unwrap_err();
    assert!(matches!(refused, ObjectError::NotEnoughPeers { width: 5, .. }), "{refused:?}");
    assert!(refused.retryable());
    let unreachable = cluster.read(0, "film").await.unwrap_err();
    assert!(matches!(unreachable, ObjectError::Unreachable { .. }), "{unreachable:?}");
    for n in [1, 2, 3] {
        cluster.run(n).await;
    }
    for n in 0..5 {
        cluster.wait_connected(n).await;
    }
    cluster.wait_settled(0).await;
    assert_eq!(cluster.read(1, "later").await.unwrap(), later);
    // What was refused is gone, what shared a peer is at home.
    assert!(eventually(async || cluster.parts() == 25).await, "{} parts", cluster.parts());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_is_copied_and_cut_into_shards_as_it_is_stored() {
    let mut cluster = Cluster::start(5).await;
    let packing = Packing { cutting: Cutting::Content, compression: Compression::Zstd };
    let update = permit_for::<Update>(ResourceKind::Bucket, Some(cluster.bucket.as_str()));
    let objects = cluster.peers[0].objects().clone();
    objects.set_packing(&update, &cluster.bucket, packing, None).await.unwrap();
    let bytes = |name: &str| -> Vec<u8> {
        let lines = (0..60_000).map(|n| format!("{n} of {name}, {}\n", n % 97));
        lines.collect::<String>().into_bytes()
    };
    for name in ["3", "3+2"] {
        cluster.keep(name).await;
        cluster.put_patiently(1, name, &bytes(name)).await;
    }
    cluster.wait_settled(0).await;
    let files = cluster.peers.iter().flat_map(Peer::files);
    let stored: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(stored < bytes("3").len() as u64, "{stored} bytes are stored");
    cluster.kill(2).await;
    cluster.kill(4).await;
    for (at, name) in [(0, "3"), (1, "3+2"), (3, "3"), (3, "3+2")] {
        assert!(cluster.read(at, name).await.unwrap() == bytes(name), "{name} at {at}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_chunks_of_one_object_are_noted_as_they_are_kept() {
    let cluster = Cluster::start(5).await;
    cluster.keep("3+2").await;
    let bytes = vec![7; 2 * crate::CHUNK_BYTES];
    cluster.put_patiently(0, "zeros", &bytes).await;
    assert_eq!(cluster.read(1, "zeros").await.unwrap(), bytes);
    let kept = cluster.db.read(|tx| {
        let all = tx.range::<crate::tables::Chunks>(cm_db::KeyRange::all(), cm_db::Direction::Forward, 10)?;
        Ok::<_, ObjectError>(all.into_iter().map(|(_, row)| row.kept).collect::<Vec<_>>())
    });
    assert_eq!(kept.await.unwrap(), [Some("3+2".parse().unwrap())]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_goes_everywhere_and_may_come_back_meanwhile() {
    let clock = ManualClock::new();
    let shared = Arc::new(clock.clone());
    let mut cluster = Cluster::with_clock(3, pace(), Duration::from_millis(500), shared).await;
    let bytes = sample(1_200_000, 3);
    cluster.put_patiently(0, "film", &bytes).await;
    cluster.delete(1, "film").await;
    let is_gone = async || {
        clock.advance(Duration::from_secs(1));
        cluster.parts() == 0
    };
    assert!(eventually(is_gone).await, "{} parts are left", cluster.parts());
    // A peer that sleeps through the deletion of what it has, and through its return, keeps what is there again.
    cluster.put_patiently(0, "film", &bytes).await;
    cluster.kill(2).await;
    cluster.delete(1, "film").await;
    // It might read what is deleted: that waits for it, but not for ever.
    let is_condemned = async || {
        clock.advance(Duration::from_secs(3600));
        cluster.status(0).await.condemned_chunks > 1
    };
    assert!(eventually(is_condemned).await);
    let again = cluster.put_patiently(0, "film", &bytes).await;
    cluster.run(2).await;
    cluster.wait_connected(2).await;
    cluster.wait_settled(0).await;
    assert_eq!(cluster.parts(), 6);
    for at in 0..3 {
        assert_eq!(cluster.read(at, "film").await.unwrap(), bytes);
    }
    assert_eq!(again.size, 1_200_000);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_comes_to_nothing_leaves_nothing() {
    let cluster = Cluster::start(3).await;
    let bytes = sample(1_200_000, 4);
    let permit = permit::<Update>("scans", "film");
    let new = NewObject { expected_sha256: Some(cm_crypto::digest::sha256(b"else")), ..NewObject::default() };
    let (name, body) = (key("film"), pieces(&bytes, 300_000));
    let put = cluster.peers[0].objects().put(&permit, &cluster.bucket, &name, new, body);
    assert!(matches!(put.await.unwrap_err(), ObjectError::DigestMismatch { .. }));
    assert!(eventually(async || cluster.parts() == 0).await, "{} parts are left", cluster.parts());
    cluster.stop().await;
}

/// What comes while a peer looks through all that it has is counted all the same, and once.
#[tokio::test(flavor = "multi_thread")]
async fn parts_that_come_during_a_count_are_counted() {
    // Nothing counts them once more behind this test's back.
    let cluster = Cluster::with_grace(1, Pace { look_every: LONG, tidy_every: LONG, ..pace() }, LONG).await;
    let network = cluster.peers[0].network();
    let put = async |n: u64| {
        let bytes: Bytes = format!("{n:0100}").into();
        let head = PutHead { digest: sha256(&bytes), part: Part::Whole, round: 0 };
        network.serve_put(head, bytes).await.unwrap();
    };
    for n in 0..100 {
        put(n).await;
    }
    let puts = async {
        for n in 100..300 {
            put(n).await;
        }
    };
    let mut orphans = Orphans::default();
    let (tidied, ()) = tokio::join!(network.tidy(&mut orphans), puts);
    tidied.unwrap();
    let told = network.statistics();
    assert_eq!((told.parts, told.bytes), (300, 30_000));
    assert_eq!(cluster.peers[0].files().len(), 300);
    cluster.stop().await;
}
