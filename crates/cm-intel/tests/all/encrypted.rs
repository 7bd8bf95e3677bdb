//! Version 2: known keys, and learning what was missed.

use cm_intel::{NewThreat, PeerState, Tlp};

use crate::support::{Node, Peer, Reporter, until};

fn threat(number: usize) -> NewThreat {
    NewThreat {
        source_ip: format!("203.0.113.{}", number % 250),
        threat_type: format!("scan {number}"),
        severity: "low".into(),
        tlp: Tlp::Green,
    }
}

async fn report(node: &Node, number: usize) {
    node.intel.report(&node.op(), &node.create().await, threat(number)).await.unwrap();
}

async fn is_linked(node: &Node) -> bool {
    let links = node.intel.peers(&node.list().await);
    links.iter().any(|peer| peer.state == PeerState::Up && peer.version == 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_know_each_other_share_and_learn_what_they_missed() {
    let (one, two) = (Node::start(|_| {}).await, Node::start(|_| {}).await);
    for number in 0..120 {
        report(&one, number).await;
    }
    // Both dial: one link stays.
    one.add_peer("two", two.address, Some(&two.key)).await;
    two.add_peer("one", one.address, Some(&one.key)).await;
    until("they are linked", || async { is_linked(&one).await && is_linked(&two).await }).await;
    two.until_events(120).await;
    report(&two, 1000).await;
    one.until_events(121).await;
    until("one link is left", || async {
        let links = one.intel.peers(&one.list().await);
        links.iter().filter(|peer| peer.state == PeerState::Up).count() == 1
    })
    .await;
    report(&one, 1001).await;
    two.until_events(122).await;
    let status = two.intel.peers(&two.list().await);
    assert_eq!(status[0].key.as_deref(), Some(one.key.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixed_network_reaches_everybody() {
    let (one, two) = (Node::start(|_| {}).await, Node::start(|_| {}).await);
    one.add_peer("two", two.address, Some(&two.key)).await;
    two.add_peer("one", one.address, Some(&one.key)).await;
    until("they are linked", || async { is_linked(&one).await }).await;
    let (mut old, mut other_old) = (Peer::connect(one.address).await, Peer::connect(two.address).await);
    assert_eq!(other_old.next().await.unwrap()["type"], "HELLO");
    let event = Reporter::new().report("198.51.100.9");
    old.event(&event).await;
    assert_eq!(other_old.next_event().await, event, "from clear to encrypted to clear, every byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_not_let_in_and_a_wrong_one_not_spoken_to() {
    let (node, stranger) = (Node::start(|_| {}).await, Node::start(|_| {}).await);
    report(&node, 1).await;
    stranger.add_peer("node", node.address, Some(&node.key)).await;
    let wrong = "ab".repeat(32);
    node.add_peer("stranger", stranger.address, Some(&wrong)).await;
    until("both say why not", || async {
        let down = |node: &Node, links: Vec<cm_intel::PeerStatus>| {
            let _ = node;
            links.iter().any(|peer| peer.state == PeerState::Down && peer.ignored.is_some())
        };
        down(&node, node.intel.peers(&node.list().await))
            && down(&stranger, stranger.intel.peers(&stranger.list().await))
    })
    .await;
    assert!(stranger.events().await.is_empty());
}
