use std::collections::BTreeMap;

use cm_placement::Change;

use super::*;
use crate::tests::sample;

#[tokio::test(flavor = "multi_thread")]
async fn rot_is_found_by_readers_and_scrubs_and_mended_from_others() {
    let cluster = Cluster::start(5).await;
    let bytes = sample(1_500_000, 6);
    cluster.put_patiently(0, "film", &bytes).await;
    cluster.wait_settled(0).await;
    let holders: Vec<usize> = (0..5).filter(|n| !cluster.peers[*n].files().is_empty()).collect();
    // All copies but one of each chunk.
    let mut seen = BTreeMap::new();
    for file in holders.iter().flat_map(|n| cluster.peers[*n].files()) {
        let copies: &mut usize = seen.entry(file.file_name().unwrap().to_owned()).or_default();
        *copies += 1;
        if *copies < 3 {
            std::fs::write(&file, sample(500_000, 7)).unwrap();
        }
    }
    for at in 0..5 {
        assert_eq!(cluster.read(at, "film").await.unwrap(), bytes, "at {at}");
    }
    for peer in &cluster.peers {
        for directory in 0..=u8::MAX {
            peer.network().scrub_directory(directory).await.unwrap();
        }
    }
    assert!(eventually(async || cluster.parts() == 6).await);
    cluster.wait_settled(0).await;
    for file in cluster.peers.iter().flat_map(Peer::files) {
        let digest = cm_crypto::digest::sha256(&std::fs::read(&file).unwrap());
        assert_eq!(file.file_name().unwrap().to_str().unwrap(), digest.to_string());
    }
    let damaged: u64 = cluster.status(0).await.peers.iter().map(|peer| peer.kept.unwrap().damaged).sum();
    assert_eq!(damaged, 4);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stands_still_holds_nobody_up() {
    // Whoever waited for an answer would wait beyond the end of the test.
    let patient = Pace { part_timeout: LONG * 100, ..pace() };
    let cluster = Cluster::with(4, patient).await;
    let bytes = sample(6_000_000, 11);
    let still = cluster.peers[3].network().chunks.clone().stand_still();
    let puts = async {
        cluster.put_patiently(0, "film", &bytes).await;
        // Bytes that are there already are promised, and not sent.
        cluster.put_patiently(1, "again", &bytes).await;
        assert_eq!(cluster.read(2, "again").await.unwrap(), bytes);
    };
    tokio::time::timeout(LONG, puts).await.expect("nobody waits for the peer that stands still");
    drop(still);
    // What went to another peer instead goes once the one that stood still has its own.
    assert!(eventually(async || cluster.parts() == 18).await, "{}", cluster.parts());
    cluster.wait_settled(0).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_everything_can_be_asked_for() {
    let cluster = Cluster::start(3).await;
    let bytes = sample(400_000, 12);
    cluster.put_patiently(0, "film", &bytes).await;
    cluster.wait_settled(0).await;
    let has_read = async |since: Option<Timestamp>| {
        let is_read = |peer: &status::PeerStatus| {
            peer.scrub.is_some_and(|scrub| scrub.percent == 100 && Some(scrub.begun_at) > since)
        };
        cluster.status(0).await.peers.iter().all(is_read)
    };
    assert!(eventually(async || has_read(None).await).await);
    let file = cluster.peers[1].files().pop().unwrap();
    std::fs::write(&file, b"rot").unwrap();
    let before =
        cluster.status(0).await.peers.iter().filter_map(|peer| peer.scrub).map(|scrub| scrub.begun_at).max();
    cluster.peers[2].objects().scrub_now().await.unwrap();
    assert!(eventually(async || has_read(before).await).await);
    cluster.wait_settled(0).await;
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_had_that_stays_away_is_made_anew_elsewhere() {
    let mut cluster = Cluster::with(5, Pace { repair_delay: Duration::from_millis(300), ..pace() }).await;
    let bytes = sample(1_500_000, 8);
    for text in ["3", "2+1"] {
        cluster.keep(text).await;
        cluster.put_patiently(0, text, &[text.as_bytes(), &bytes].concat()).await;
    }
    cluster.wait_settled(0).await;
    // With its disk.
    let lost = cluster.peers[4].files().len() + cluster.peers[3].files().len();
    assert!(lost > 0);
    cluster.kill(4).await;
    assert!(eventually(async || cluster.parts() - cluster.peers[4].files().len() == 12).await);
    cluster.kill(3).await;
    let left = |cluster: &Cluster| (0..3).map(|n| cluster.peers[n].files().len()).sum::<usize>();
    assert!(eventually(async || left(&cluster) == 12).await, "{}", left(&cluster));
    cluster.kill(2).await;
    assert_eq!(cluster.read(0, "3").await.unwrap(), [b"3", &bytes[..]].concat());
    assert_eq!(cluster.read(1, "2+1").await.unwrap(), [b"2+1", &bytes[..]].concat());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_reached_when_everything_was_looked_at_is_looked_for_again() {
    let mut cluster = Cluster::start(5).await;
    let bytes = sample(400_000, 10);
    cluster.put_patiently(0, "film", &bytes).await;
    cluster.wait_settled(0).await;
    let (holders, others): (Vec<usize>, Vec<usize>) =
        (0..5).partition(|n| !cluster.peers[*n].files().is_empty());
    for n in &holders {
        cluster.kill(*n).await;
    }
    let at = others[0];
    let objects = cluster.peers[at].objects().clone();
    let changed = [Change::Resize { peer: id(at), capacity_bytes: 1 << 29 }];
    cluster.db.write(move |tx| objects.change_layout(tx, &changed)).await.unwrap();
    assert!(eventually(async || cluster.status(at).await.lost_chunks == 1).await);
    for n in holders {
        cluster.run(n).await;
    }
    cluster.wait_settled(at).await;
    assert_eq!(cluster.status(at).await.lost_chunks, 0);
    assert_eq!(cluster.read(at, "film").await.unwrap(), bytes);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nowhere_keeps_nobody_from_leaving() {
    let cluster = Cluster::start(3).await;
    cluster.keep("1").await;
    cluster.put_patiently(0, "film", &sample(400_000, 11)).await;
    cluster.put_patiently(0, "other", &sample(400_000, 12)).await;
    cluster.wait_settled(0).await;
    let files: Vec<PathBuf> = cluster.peers.iter().flat_map(Peer::files).collect();
    std::fs::remove_file(&files[0]).unwrap();
    let objects = cluster.peers[0].objects().clone();
    let changed = [Change::Resize { peer: id(0), capacity_bytes: 1 << 29 }];
    cluster.db.write(move |tx| objects.change_layout(tx, &changed)).await.unwrap();
    cluster.wait_settled(0).await;
    assert_eq!(cluster.status(0).await.lost_chunks, 1);
    let unreachable = [cluster.read(0, "film").await, cluster.read(0, "other").await];
    assert_eq!(unreachable.iter().filter(|read| read.is_err()).count(), 1);
    cluster.stop().await;
}

/// Whoever uploads again what cannot be read expects that it can be read then.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_come_again_take_the_place_of_rotten_ones() {
    for text in ["3", "2+1"] {
        let cluster = Cluster::start(3).await;
        cluster.keep(text).await;
        let bytes = sample(1_500_000, 13);
        cluster.put_patiently(0, "film", &bytes).await;
        cluster.wait_settled(0).await;
        for file in cluster.peers.iter().flat_map(Peer::files) {
            let mut damaged = std::fs::read(&file).unwrap();
            damaged[1000] ^= 1;
            std::fs::write(&file, damaged).unwrap();
        }
        cluster.put_patiently(1, "again", &bytes).await;
        for at in 0..3 {
            assert_eq!(cluster.read(at, "film").await.unwrap(), bytes, "{text} at {at}");
        }
        cluster.stop().await;
    }
}

/// A copy that somebody is slow to take is given to somebody else before the write is acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_slow_is_made_up_for() {
    let cluster = Cluster::with_grace(4, Pace { part_timeout: LONG, ..pace() }, LONG * 60).await;
    let bytes = sample(700_000, 14);
    let digest = cm_crypto::digest::sha256(&bytes);
    let network = cluster.peers[0].network();
    let order = network.known().order(&digest);
    let slow = order.iter().take(3).find(|peer| !network.is_own(peer)).unwrap();
    let slots = lock(&network.slots).entry(slow.clone()).or_insert_with(call::slots).clone();
    let held = slots.acquire_many_owned(EXCHANGES_PER_PEER_MAX as u32).await.unwrap();
    network.store(digest, bytes.into(), None).await.unwrap();
    assert_eq!(cluster.parts(), 3);
    drop(held);
    drop(network);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_room_is_passed_over() {
    let cluster = Cluster::start(5).await;
    let objects = cluster.peers[0].objects().clone();
    let small = [1, 2].map(|n| Change::Resize { peer: id(n), capacity_bytes: 1 });
    cluster.db.write(move |tx| objects.change_layout(tx, &small)).await.unwrap();
    for peer in &cluster.peers {
        peer.network().learn().await.unwrap();
    }
    let bytes = sample(1_500_000, 9);
    for at in 0..5 {
        cluster.put_patiently(at, &format!("film {at}"), &bytes[at..]).await;
    }
    assert_eq!(cluster.peers[1].files().len() + cluster.peers[2].files().len(), 0);
    let objects = cluster.peers[0].objects().clone();
    let all = [0, 3, 4].map(|n| Change::Resize { peer: id(n), capacity_bytes: 1 });
    cluster.db.write(move |tx| objects.change_layout(tx, &all)).await.unwrap();
    for peer in &cluster.peers {
        peer.network().learn().await.unwrap();
    }
    let refused = cluster.put(0, "one more", &bytes[100..]).await.unwrap_err();
    assert!(refused.is_full(), "{refused:?}");
    assert_eq!(cluster.read(2, "film 3").await.unwrap(), bytes[3..]);
    cluster.stop().await;
}

/// Peers stop, are cut off and join while others write, replace, delete and read: whatever was acknowledged is there, and right.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_while_two_of_five_are_away() {
    for text in ["3", "3+2"] {
        chaos(text).await;
    }
}

async fn chaos(text: &str) {
    let mut cluster = Cluster::start(5).await;
    cluster.keep(text).await;
    let mut state = 0x5eed_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut expected: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let (mut refused, mut acknowledged) = (0, 0);
    for step in 0..12 {
        let away = [1 + random(4), 1 + random(4)];
        match random(3) {
            0 => cluster.cut_off(&away),
            1 => {
                for n in away {
                    if cluster.peers[n].running.is_some() {
                        cluster.kill(n).await;
                    }
                }
            }
            _ => {
                let (objects, n) = (cluster.peers[0].objects().clone(), 1 + random(4));
                let capacity_bytes = (1 << 30) + random(1 << 20) as u64;
                let resize = Change::Resize { peer: id(n), capacity_bytes };
                // There may be as many epochs under way as there can be.
                let _ = cluster.db.write(move |tx| objects.change_layout(tx, &[resize])).await;
            }
        }
        for n in 0..6 {
            let name = format!("object {}", random(8));
            let up: Vec<usize> = (0..5).filter(|n| cluster.peers[*n].running.is_some()).collect();
            let reachable: Vec<usize> = up.into_iter().filter(|n| !away.contains(n)).collect();
            let at = reachable[random(reachable.len())];
            if random(5) == 0 && expected.remove(&name).is_some() {
                cluster.delete(at, &name).await;
                continue;
            }
            // Few different contents, so that chunks are shared, given up and counted again.
            let bytes = sample(1_000 + random(3) * 700_000, (step * n) as u64 % 7);
            match cluster.put(at, &name, &bytes).await {
                Ok(_) => {
                    acknowledged += 1;
                    expected.insert(name, bytes);
                }
                Err(error) if error.retryable() => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        for (name, bytes) in &expected {
            assert!(cluster.read(0, name).await.unwrap() == *bytes, "step {step}, {name}");
        }
        if random(2) == 0 {
            cluster.meet();
            for n in 0..5 {
                if cluster.peers[n].running.is_none() {
                    cluster.run(n).await;
                }
            }
        } else {
            // No more than two at once, and those come back before others go.
            cluster.meet();
            for n in away {
                if cluster.peers[n].running.is_none() {
                    cluster.run(n).await;
                }
            }
        }
        for n in 0..5 {
            cluster.wait_connected(n).await;
        }
    }
    assert!(acknowledged > refused, "{acknowledged} acknowledged, {refused} refused");
    cluster.wait_settled(0).await;
    for at in 0..5 {
        for (name, bytes) in &expected {
            assert!(cluster.read(at, name).await.unwrap() == *bytes, "{text}: {name} at {at}");
        }
    }
    for (name, _) in expected {
        cluster.delete(0, &name).await;
    }
    assert!(eventually(async || cluster.parts() == 0).await, "{text}: {} parts are left", cluster.parts());
    cluster.stop().await;
}
