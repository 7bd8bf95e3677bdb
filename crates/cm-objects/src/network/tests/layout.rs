use cm_placement::{Change, HistoryError, LayoutError};

use super::*;
use crate::LayoutChange;
use crate::tests::sample;

async fn change(cluster: &Cluster, change: Change) -> Result<(), ObjectError> {
    let objects = cluster.peers[0].objects().clone();
    cluster.db.write(move |tx| objects.change_layout(tx, &[change]).map(drop)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_peer_hands_everything_over_before_it_may_leave() {
    let cluster = Cluster::start(4).await;
    let objects: Vec<(String, Vec<u8>)> =
        (0..12).map(|n| (format!("object {n}"), sample(200_000, 100 + n))).collect();
    for (name, bytes) in &objects {
        cluster.put_patiently(0, name, bytes).await;
    }
    cluster.wait_settled(0).await;
    assert!(!cluster.peers[0].objects().may_leave(&id(3)).await.unwrap());
    change(&cluster, Change::Drain(id(3))).await.unwrap();
    let early = change(&cluster, Change::Remove(id(3))).await;
    assert!(
        matches!(&early, Err(ObjectError::Layout(LayoutChange::History(HistoryError::StillMoving(_))))),
        "{early:?}"
    );
    cluster.wait_settled(0).await;
    assert_eq!(cluster.peers[3].files().len(), 0);
    assert!(cluster.peers[0].objects().may_leave(&id(3)).await.unwrap());
    assert_eq!(cluster.parts(), 36, "three copies of each, on three peers");
    let engine = cluster.peers[0].objects().clone();
    cluster.db.write(move |tx| engine.forget_peer(tx, &id(3))).await.unwrap();
    cluster.wait_settled(0).await;
    assert!(cluster.peers[0].objects().may_leave(&id(3)).await.unwrap());
    for (name, bytes) in &objects {
        assert_eq!(cluster.read(3, name).await.unwrap(), *bytes, "also by who keeps nothing any more");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_left_who_takes_data() {
    let cluster = Cluster::start(2).await;
    change(&cluster, Change::Drain(id(0))).await.unwrap();
    for last in [Change::Drain(id(1)), Change::DeclareGone(id(1))] {
        let refused = change(&cluster, last).await;
        let expected = LayoutChange::Layout(LayoutError::LastActive(id(1)));
        assert!(matches!(&refused, Err(ObjectError::Layout(found)) if *found == expected), "{refused:?}");
    }
    cluster.stop().await;
}

/// A collector that runs before its node is a peer again leaves alone what was promised to others.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_no_peer_yet_collects_nothing() {
    // Whoever is slow is waited for, since no row knows the chunk and nobody would make the third part later.
    let pace = Pace { part_timeout: LONG, straggler_timeout: LONG, suspect_for: Duration::ZERO, ..pace() };
    let mut cluster = Cluster::with_grace(3, pace, LONG * 60).await;
    let bytes = sample(700_000, 6);
    let digest = cm_crypto::digest::sha256(&bytes);
    let network = cluster.peers[0].network();
    network.store(digest, bytes.into(), None).await.unwrap();
    drop(network);
    assert!(eventually(async || cluster.parts() == 3).await);
    cluster.kill(1).await;
    let (dir, clock, tasks) =
        (cluster.peers[1].dir.path().join("objects"), Arc::new(SystemClock), Tasks::new());
    let config = Config { collect_every: None, ..cluster.config.clone() };
    let alone = crate::tests::open(&dir, &cluster.db, &cluster.events, clock, &tasks, config).await.unwrap();
    assert_eq!(alone.collect_garbage().await.unwrap(), crate::Collected::default());
    assert_eq!(cluster.peers[1].files().len(), 1);
    drop(alone);
    assert_eq!(tasks.drain(LONG).await, Drained::All);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_had_alone_spreads_when_others_join() {
    let mut cluster = Cluster::start(1).await;
    let bytes = sample(1_500_000, 5);
    cluster.put_patiently(0, "film", &bytes).await;
    assert_eq!(cluster.parts(), 2);
    for n in 1..3 {
        cluster.add(n).await;
    }
    cluster.meet();
    for n in 1..3 {
        cluster.run(n).await;
    }
    for n in 0..3 {
        cluster.wait_connected(n).await;
    }
    assert!(eventually(async || cluster.parts() == 6).await, "{} parts", cluster.parts());
    cluster.wait_settled(0).await;
    cluster.kill(0).await;
    assert_eq!(cluster.read(2, "film").await.unwrap(), bytes);
    cluster.stop().await;
}
