use cm_placement::elastic::PlannerConfig;
use cm_runtime::ManualClock;

use super::*;
use crate::tests::sample;
use crate::{Elastic, ElasticError, Extra};

/// A day: nothing that was read before is warm then.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whatever is read at all gets all copies that it may have, and loses them when it has cooled.
fn eager() -> Pace {
    let planner = PlannerConfig {
        utilisation: 1e-9,
        grow_cooldown: Duration::ZERO,
        shrink_cooldown: Duration::from_secs(60),
        ..PlannerConfig::default()
    };
    let every = Duration::from_millis(50);
    Pace { elastic: ElasticPace { every, bytes_per_second: u64::MAX, planner }, ..pace() }
}

async fn start(count: usize, pace: Pace) -> (Cluster, ManualClock) {
    let clock = ManualClock::new();
    let shared = Arc::new(clock.clone());
    (Cluster::with_clock(count, pace, Duration::from_millis(500), shared).await, clock)
}

async fn set(cluster: &Cluster, elastic: Option<Elastic>) -> Result<(), ObjectError> {
    let permit = permit_for::<Update>(ResourceKind::Bucket, Some(cluster.bucket.as_str()));
    cluster.peers[0].objects().set_elastic(&permit, &cluster.bucket, elastic, None).await
}

async fn extra(cluster: &Cluster) -> Extra {
    cluster.status(0).await.extra
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_much_gets_copies_and_loses_them_when_it_cools() {
    let (mut cluster, clock) = start(6, eager()).await;
    let (hot, cold) = (sample(1_500_000, 11), sample(1_500_000, 12));
    cluster.put_patiently(0, "hot", &hot).await;
    cluster.put_patiently(0, "cold", &cold).await;
    cluster.wait_settled(0).await;
    for at in 0..6 {
        assert_eq!(cluster.read(at, "hot").await.unwrap(), hot);
    }
    assert_eq!(cluster.parts(), 12);
    assert_eq!(extra(&cluster).await, Extra::default(), "nobody has asked for it");
    set(&cluster, Some(Elastic { copies_max: 5, policy: None })).await.unwrap();
    let grown = async || extra(&cluster).await.copies == 4 && cluster.parts() == 16;
    assert!(eventually(grown).await, "{:?}, {} parts", extra(&cluster).await, cluster.parts());
    let counted = extra(&cluster).await;
    assert_eq!((counted.buckets, counted.chunks, counted.bytes), (1, 2, 3_000_000));
    // Whoever looks through what it has takes them for what they are.
    for peer in &cluster.peers {
        let tidied = peer.network().tidy(&mut Default::default()).await.unwrap();
        assert_eq!((tidied.dropped, tidied.misplaced), (0, 0));
    }
    // The promised copies are not needed for reading.
    let digest = cm_crypto::digest::sha256(&hot[..crate::CHUNK_BYTES]);
    let homes = cluster.peers[0].network().known().order(&digest);
    let homes: Vec<usize> = (0..6).filter(|n| homes[..3].contains(&id(*n))).collect();
    let path = |n: usize| {
        let name = digest.to_string();
        cluster.peers[n].files().into_iter().find(|path| path.file_name().unwrap() == name.as_str())
    };
    assert_eq!((0..6).filter(|n| path(*n).is_some()).count(), 5);
    for n in &homes {
        std::fs::remove_file(path(*n).unwrap()).unwrap();
    }
    for at in 0..6 {
        assert_eq!(cluster.read(at, "hot").await.unwrap(), hot, "at {at}");
    }
    // A peer that lost its copies is not believed to have them.
    let lost = (0..6).find(|n| path(*n).is_some()).unwrap();
    cluster.kill(lost).await;
    for path in cluster.peers[lost].files() {
        std::fs::remove_file(path).unwrap();
    }
    cluster.run(lost).await;
    cluster.wait_connected(lost).await;
    cluster.peers[0].objects().survey_now().await.unwrap();
    assert!(eventually(async || cluster.parts() == 16).await, "{} parts", cluster.parts());
    clock.advance(DAY);
    let shrunk = async || extra(&cluster).await.copies == 0 && cluster.parts() == 12;
    assert!(eventually(shrunk).await, "{:?}, {} parts", extra(&cluster).await, cluster.parts());
    cluster.wait_settled(0).await;
    assert_eq!(cluster.read(5, "hot").await.unwrap(), hot);
    assert_eq!(cluster.read(5, "cold").await.unwrap(), cold);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_shards_get_whole_copies_that_go_with_the_object() {
    let (cluster, clock) = start(5, eager()).await;
    cluster.keep("2+1").await;
    let bytes = sample(900_000, 13);
    cluster.put_patiently(0, "film", &bytes).await;
    cluster.wait_settled(0).await;
    set(&cluster, Some(Elastic { copies_max: 5, policy: None })).await.unwrap();
    assert_eq!(cluster.read(1, "film").await.unwrap(), bytes);
    let grown = async || extra(&cluster).await.copies == 2 && cluster.parts() == 5;
    assert!(eventually(grown).await, "{:?}, {} parts", extra(&cluster).await, cluster.parts());
    for at in 0..5 {
        assert_eq!(cluster.read(at, "film").await.unwrap(), bytes, "at {at}");
    }
    // Not wanted any more: they go at once, the shards stay.
    set(&cluster, None).await.unwrap();
    let gone = async || extra(&cluster).await == Extra::default() && cluster.parts() == 3;
    assert!(eventually(gone).await, "{:?}, {} parts", extra(&cluster).await, cluster.parts());
    set(&cluster, Some(Elastic { copies_max: 5, policy: None })).await.unwrap();
    assert!(eventually(grown).await, "{:?}, {} parts", extra(&cluster).await, cluster.parts());
    cluster.delete(2, "film").await;
    let deleted = async || {
        // The grace of what was deleted begins when somebody has seen that.
        clock.advance(DAY);
        extra(&cluster).await.copies == 0 && cluster.parts() == 0
    };
    assert!(eventually(deleted).await, "{:?}, {} parts", extra(&cluster).await, cluster.parts());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_followed_when_its_counter_says_so() {
    // The load alone asks for nothing.
    let pace = eager();
    let planner = PlannerConfig { utilisation: 1e9, ..pace.elastic.planner.clone() };
    let pace = Pace { elastic: ElasticPace { planner, ..pace.elastic.clone() }, ..pace };
    let (cluster, clock) = start(5, pace).await;
    let bytes = sample(700_000, 14);
    cluster.put_patiently(0, "read", &bytes).await;
    cluster.put_patiently(0, "left alone", &sample(700_000, 15)).await;
    cluster.wait_settled(0).await;
    let policy = |when: &str| {
        let text = format!(
            "apac: v1\navailable-resources: {{all: [peer-0, peer-1, peer-2, peer-3, peer-4]}}\n\
             what: [scans]\nwhere: [all]\nwhen:\n  - popular: {when}\n"
        );
        Some(Elastic { copies_max: 3, policy: Some(text) })
    };
    set(&cluster, policy("$GET_COUNTER > 4")).await.unwrap();
    for at in 0..4 {
        cluster.read(at, "read").await.unwrap();
    }
    assert_eq!(extra(&cluster).await.copies, 0);
    cluster.read(4, "read").await.unwrap();
    let followed = async || extra(&cluster).await.copies == 2 && cluster.parts() == 8;
    assert!(eventually(followed).await, "{:?}, {} parts", extra(&cluster).await, cluster.parts());
    for peer in &cluster.peers {
        assert!(!peer.files().is_empty(), "everybody has the object that was read");
    }
    set(&cluster, policy("$GET_COUNTER > 400")).await.unwrap();
    clock.advance(DAY);
    let dropped = async || extra(&cluster).await.copies == 0 && cluster.parts() == 6;
    assert!(eventually(dropped).await, "{:?}, {} parts", extra(&cluster).await, cluster.parts());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_mean_nothing_are_refused() {
    let cluster = Cluster::start(1).await;
    let with =
        |copies_max, policy: Option<&str>| Some(Elastic { copies_max, policy: policy.map(str::to_owned) });
    let refused = async |elastic| match set(&cluster, elastic).await {
        Err(ObjectError::Elastic(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(with(0, None)).await, ElasticError::Copies(_)));
    assert!(matches!(refused(with(65, None)).await, ElasticError::Copies(_)));
    assert!(matches!(refused(with(5, Some("apac: v2"))).await, ElasticError::Policy(_)));
    let other = "apac: v1\navailable-resources: {all: [p]}\nwhat: films\nwhere: all\n";
    assert!(matches!(refused(with(5, Some(other))).await, ElasticError::OtherBucket { .. }));
    let permit = permit_for::<Read>(ResourceKind::Bucket, Some("scans"));
    let (objects, bucket) = (cluster.peers[0].objects(), &cluster.bucket);
    assert_eq!(objects.elastic(&permit, bucket).await.unwrap(), None);
    set(&cluster, with(5, None)).await.unwrap();
    assert_eq!(objects.elastic(&permit, bucket).await.unwrap(), with(5, None));
    cluster.stop().await;
}
