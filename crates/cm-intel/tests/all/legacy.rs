//! Version 1, both ways.

use cm_intel::{Mode, NewThreat, PeerState, Standing, Tlp};

use crate::support::{Node, Peer, Reporter, until};

const FRAME: &[u8] = include_bytes!("../vectors/event_frame.bin");
const HELLO: &[u8] = include_bytes!("../vectors/hello_frame.bin");

fn threat(source: &str, tlp: Tlp) -> NewThreat {
    NewThreat {
        source_ip: source.into(),
        threat_type: "brute force — 🔒".into(),
        severity: "high".into(),
        tlp,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_both_ways_and_never_back_to_who_brought_them() {
    use tokio::io::AsyncWriteExt as _;
    let node = Node::start(|_| {}).await;
    let (mut one, mut other) = (Peer::connect(node.address).await, Peer::connect(node.address).await);
    assert_eq!(one.next().await.unwrap()["type"], "HELLO", "a peer that is silent is greeted");
    assert_eq!(other.next().await.unwrap()["type"], "HELLO");
    // What a published node sent, byte for byte, in two pieces and with a greeting before.
    one.stream.write_all(HELLO).await.unwrap();
    one.stream.write_all(&FRAME[..100]).await.unwrap();
    one.stream.flush().await.unwrap();
    one.stream.write_all(&FRAME[100..]).await.unwrap();
    let passed_on = other.next_event().await;
    // Passed on before the disk has it.
    node.until_events(1).await;
    let kept = node.events().await;
    assert_eq!(*kept[0].event, passed_on);
    assert_eq!(kept[0].standing, Standing::Probation);
    // And one of the node's own, to both; nobody gets the other one again.
    let op = node.op();
    let own = node.intel.report(&op, &node.create().await, threat("203.0.113.5", Tlp::Clear)).await.unwrap();
    assert_eq!(own.event.computed_id(), own.event.id);
    assert_eq!(one.next_event().await, *own.event);
    assert_eq!(other.next_event().await, *own.event);
    // What is not for peers stays.
    for (source, tlp) in [("203.0.113.61", Tlp::Amber), ("203.0.113.62", Tlp::Red)] {
        node.intel.report(&op, &node.create().await, threat(source, tlp)).await.unwrap();
    }
    // Nor does what is for a community go to whoever connected.
    node.intel.report(&op, &node.create().await, threat("203.0.113.63", Tlp::Green)).await.unwrap();
    let last = node.intel.report(&op, &node.create().await, threat("203.0.113.7", Tlp::Clear)).await.unwrap();
    assert_eq!(one.next_event().await, *last.event);
    node.until_events(6).await;
    assert_eq!(node.events().await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_an_operator_adds_is_dialled_and_left_when_removed() {
    let (node, other) = (Node::start(|_| {}).await, Node::start(|_| {}).await);
    node.add_peer("other", other.address, None).await;
    until("it is connected", || async {
        node.intel.peers(&node.list().await).iter().any(|peer| peer.state == PeerState::Up && peer.outgoing)
    })
    .await;
    let op = other.op();
    other.intel.report(&op, &other.create().await, threat("203.0.113.5", Tlp::Clear)).await.unwrap();
    node.until_events(1).await;
    // It is one that the operator named: what is for a community is for it.
    let op = node.op();
    node.intel.report(&op, &node.create().await, threat("203.0.113.6", Tlp::Green)).await.unwrap();
    other.until_events(2).await;
    let (_, permit) = node.kernel.look_up(&op, cm_types::ResourceKind::IntelPeer, "other").await.unwrap();
    let id = cm_types::ResourceId::parse("other").unwrap();
    let dependents = node.kernel.dependents_default();
    node.kernel.delete_record(&op, &permit, &id, None, dependents).await.unwrap();
    until("it is left", || async { node.intel.peers(&node.list().await).is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_mode_counts_and_bans_as_the_published_node_does() {
    let node = Node::start(|config| config.mode = Mode::Seed).await;
    let (reporter, mut peer) = (Reporter::new(), Peer::connect(node.address).await);
    let mut watcher = Peer::connect(node.address).await;
    assert_eq!(watcher.next().await.unwrap()["type"], "HELLO");
    let first = reporter.report("198.51.100.1");
    peer.event(&first).await;
    assert_eq!(watcher.next_event().await, first);
    node.until_events(1).await;
    let mut scores = vec![node.reputation(reporter.id()).await.unwrap().score];
    for number in 2..6 {
        let mut forged = reporter.report(&format!("198.51.100.{number}"));
        forged.severity = "low".into();
        peer.event(&forged).await;
        let expected = scores.last().unwrap() - 3.0;
        until("it counts", || async { node.reputation(reporter.id()).await.unwrap().score == expected })
            .await;
        scores.push(expected);
    }
    assert_eq!(scores, [1.0, -2.0, -5.0, -8.0, -11.0]);
    assert_eq!(node.reputation(reporter.id()).await.unwrap().standing, Standing::Banned);
    peer.event(&reporter.report("198.51.100.77")).await;
    let other = Reporter::new();
    peer.event(&other.report("198.51.100.78")).await;
    assert_eq!(
        watcher.next_event().await.source_ip,
        "198.51.100.78",
        "the connection is kept, the key ignored"
    );
    node.until_events(2).await;
    assert_eq!(node.events().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_published_nodes_take_is_not_held_against_who_passes_it_on() {
    let node = Node::start(|_| {}).await;
    let (reporter, mut peer) = (Reporter::new(), Peer::connect(node.address).await);
    let event = reporter.report("198.51.100.1");
    for number in 0..20 {
        let mut numbered = serde_json::to_value(&event).unwrap();
        numbered["severity"] = number.into();
        peer.send(&serde_json::json!({ "type": "event", "payload": numbered }).to_string()).await;
        let mut other = event.clone();
        other.reporter_pubkey = format!("-----BEGIN PUBLIC KEY-----\n{number}\n-----END PUBLIC KEY-----\n");
        peer.event(&other).await;
        other.reporter_pubkey.clone_from(&event.reporter_pubkey);
        other.threat_type = format!("{number}{}", "x".repeat(70_000));
        peer.event(&other).await;
    }
    peer.event(&event).await;
    node.until_events(1).await;
    let links = node.intel.peers(&node.list().await);
    assert!(links.iter().all(|link| link.score >= 0.0 && link.ignored.is_none()), "{links:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn measures_follow_from_indicators_where_the_operator_wants_that() {
    use cm_intel::Automatic;
    use cm_kernel::catalog::kinds::Effect;
    let node = Node::start(|config| {
        config.automatic = Some(Automatic { effect: Effect::Deny, confidence_min: 80 });
    })
    .await;
    let admitted = |address: &str| node.kernel.admit_source(address.parse().ok(), false).is_ok();
    let (op, create) = (node.op(), node.create().await);
    let stranger = Reporter::new();
    Peer::connect(node.address).await.event(&stranger.report("203.0.113.1")).await;
    node.until_events(1).await;
    for source in ["198.51.100.1", "198.51.100.2", "127.0.0.1"] {
        node.intel.report(&op, &create, threat(source, Tlp::Clear)).await.unwrap();
    }
    until("what the node reports is refused", || async {
        !admitted("198.51.100.1") && !admitted("198.51.100.2")
    })
    .await;
    assert!(admitted("203.0.113.1") && admitted("127.0.0.1"), "nobody sure said so; its own machine");
    // An operator finds one of them to be false.
    let found = node.events().await.into_iter().find(|stored| stored.event.source_ip == "198.51.100.1");
    node.intel.dismiss(&op, &create, found.unwrap().seq).await.unwrap();
    // Something has to come for the node to look at once.
    node.intel.report(&op, &create, threat("198.51.100.3", Tlp::Clear)).await.unwrap();
    until("it is not refused any more", || async { admitted("198.51.100.1") }).await;
    assert!(!admitted("198.51.100.2"));
}
