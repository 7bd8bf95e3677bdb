//! The cold tier of several peers.

use std::sync::atomic::Ordering;

use crate::tests::cold::{Service, tier};
use crate::tests::sample;

use super::*;

async fn cold(cluster: &Cluster, service: &Arc<Service>) {
    for peer in &cluster.peers {
        peer.objects().use_cold_tier(tier(service)).unwrap();
    }
    let permit = permit_for::<Update>(ResourceKind::Bucket, Some(cluster.bucket.as_str()));
    cluster.peers[0].objects().set_cold_after(&permit, &cluster.bucket, Some(0), None).await.unwrap();
}

async fn cold_chunks(cluster: &Cluster) -> u64 {
    cluster.peers[0].objects().cold_status().await.unwrap().chunks
}

/// Moves until so many chunks are there: what is noted as short is mended first.
async fn wait_cold(cluster: &Cluster, at: usize, chunks: u64) {
    let all_there = async || {
        cluster.peers[at].objects().tend_cold_tier().await.unwrap();
        cold_chunks(cluster).await == chunks
    };
    assert!(eventually(all_there).await, "{} are there", cold_chunks(cluster).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn cold_chunks_leave_all_peers_and_any_peer_reads_them() {
    let cluster = Cluster::start(3).await;
    let service = Arc::new(Service::default());
    cold(&cluster, &service).await;
    let bytes = sample(2_500_000, 1);
    cluster.put_patiently(0, "film", &bytes).await;
    wait_cold(&cluster, 1, 3).await;
    assert!(eventually(async || cluster.parts() == 0).await, "{} parts", cluster.parts());
    // Nobody takes them for lost or short.
    cluster.peers[0].objects().survey_now().await.unwrap();
    cluster.wait_settled(0).await;
    let status = cluster.status(0).await;
    assert_eq!((status.lost_chunks, status.short_chunks), (0, 0), "{status:?}");
    service.is_down.store(true, Ordering::SeqCst);
    let refused = cluster.read(2, "film").await.unwrap_err();
    assert!(matches!(refused, ObjectError::ColdUnavailable { .. }), "{refused:?}");
    service.is_down.store(false, Ordering::SeqCst);
    assert_eq!(cluster.read(2, "film").await.unwrap(), bytes);
    // Some may wait for the next reader, all come back, as many copies of each as before.
    let back = async || {
        assert_eq!(cluster.read(0, "film").await.unwrap(), bytes);
        cold_chunks(&cluster).await == 0 && cluster.parts() == 9
    };
    assert!(eventually(back).await, "{} parts", cluster.parts());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_movers_and_readers_at_once_lose_nothing() {
    let cluster = Cluster::start(3).await;
    let service = Arc::new(Service::default());
    cold(&cluster, &service).await;
    let bytes = sample(1_100_000, 7);
    cluster.put_patiently(0, "film", &bytes).await;
    let done = AtomicBool::new(false);
    let moving = async {
        while !done.load(Ordering::SeqCst) {
            // Two at once, as when one was paused.
            let (first, second) = (cluster.peers[0].objects(), cluster.peers[1].objects());
            let (first, second) = tokio::join!(first.tend_cold_tier(), second.tend_cold_tier());
            first.unwrap();
            second.unwrap();
        }
    };
    let using = async {
        for n in 0..12 {
            let name = format!("copy {n}");
            cluster.put_patiently(n % 3, &name, &bytes).await;
            assert_eq!(cluster.read((n + 1) % 3, &name).await.unwrap(), bytes, "{name}");
            assert_eq!(cluster.read((n + 2) % 3, "film").await.unwrap(), bytes, "{name}");
            cluster.delete(n % 3, &name).await;
        }
        done.store(true, Ordering::SeqCst);
    };
    tokio::join!(moving, using);
    wait_cold(&cluster, 0, 2).await;
    assert!(eventually(async || cluster.parts() == 0).await, "{} parts", cluster.parts());
    assert_eq!(cluster.read(1, "film").await.unwrap(), bytes);
    cluster.stop().await;
}
