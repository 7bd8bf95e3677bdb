//! What attackers try.

use std::time::Duration;

use cm_intel::{IntelConfig, PeerState, Standing, ThreatEvent};
use cm_types::PageLimit;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Node, PATIENCE, Peer, Reporter, until};

#[tokio::test(flavor = "multi_thread")]
async fn framing_a_victim_charges_who_delivers() {
    let node = Node::start(|_| {}).await;
    let (victim, mut attacker) = (Reporter::new(), Peer::connect(node.address).await);
    let mut honest = victim.report("198.51.100.1");
    attacker.event(&honest).await;
    node.until_events(1).await;
    for number in 0..8 {
        honest.source_ip = format!("198.51.100.{}", number + 2);
        attacker.event(&honest).await;
    }
    attacker.closed().await;
    let held = node.reputation(victim.id()).await.unwrap();
    assert_ne!(held.standing, Standing::Banned);
    assert_eq!((held.score, held.valid), (0.0, 1));
    let forged = node.intel.forged(&node.list().await, PageLimit::MAX).await.unwrap();
    assert!((5..=8).contains(&forged.len()), "{}", forged.len());
    assert!(forged.iter().all(|forged| forged.link == "127.0.0.1" && forged.claimed == Some(victim.id())));
    // Who was cut is not let in again.
    let mut again = Peer::connect(node.address).await;
    again.closed().await;
    assert_eq!(node.events().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_validity_and_an_empty_signature_are_worth_nothing() {
    let node = Node::start(|_| {}).await;
    let (reporter, mut peer) = (Reporter::new(), Peer::connect(node.address).await);
    let mut payload = serde_json::to_value(reporter.report("198.51.100.1")).unwrap();
    payload["signature"] = "".into();
    payload["valid_signature"] = true.into();
    peer.send(&json!({ "type": "event", "payload": payload }).to_string()).await;
    peer.event(&reporter.report("198.51.100.2")).await;
    node.until_events(1).await;
    let kept = node.events().await;
    assert_eq!((kept.len(), kept[0].event.source_ip.as_str()), (1, "198.51.100.2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_squatter_hides_nothing_and_takes_no_name() {
    let node = Node::start(|_| {}).await;
    let (victim, squatter) = (Reporter::new(), Reporter::new());
    let (mut attacker, mut honest) = (Peer::connect(node.address).await, Peer::connect(node.address).await);
    let real = victim.report("198.51.100.1");
    // The name that is to come, before it comes: with a broken signature, then properly signed by somebody else.
    let broken = ThreatEvent { signature: squatter.report("198.51.100.1").signature, ..real.clone() };
    attacker.event(&broken).await;
    attacker.event(&squatter.sign_as(&real.id, "203.0.113.66")).await;
    node.until_events(1).await;
    honest.event(&real).await;
    node.until_events(2).await;
    let kept = node.events().await;
    assert_eq!((kept[0].key, kept[1].key), (squatter.id(), victim.id()));
    assert_eq!(*kept[1].event, real, "the real one is there, as it was signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_no_news_not_even_after_it_was_forgotten() {
    let node = Node::start(|config| config.events_max = 4).await;
    let (reporter, mut peer) = (Reporter::new(), Peer::connect(node.address).await);
    let old = reporter.sign_at("198.51.100.1", "2020-01-01 00:00:00");
    for _ in 0..5 {
        peer.event(&old).await;
        Peer::connect(node.address).await.event(&old).await;
    }
    node.until_events(1).await;
    // It is pushed out, and comes again from elsewhere with a mark that makes other bytes of it.
    for number in 2..5 {
        peer.event(&reporter.report(&format!("198.51.100.{number}"))).await;
    }
    // The last one must have come as well: it would push out what comes again.
    until("it is forgotten", || async {
        let kept = node.events().await;
        kept.iter().any(|kept| kept.event.source_ip == "198.51.100.4")
            && kept.iter().all(|kept| *kept.event != old)
    })
    .await;
    let mut payload = serde_json::to_value(&old).unwrap();
    payload["again"] = true.into();
    let mut other = Peer::connect(node.address).await;
    other.send(&json!({ "type": "event", "payload": payload }).to_string()).await;
    until("it is taken for what it is", || async {
        node.events().await.iter().any(|kept| *kept.event == old)
    })
    .await;
    let found = node.intel.indicators(&node.list().await, None, PageLimit::MAX).await.unwrap().items;
    assert!(found.iter().all(|found| found.value != "198.51.100.1"), "nobody saw it again: {found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_counts_once_however_many_bring_it_at_once() {
    let node = Node::start(|_| {}).await;
    let reporter = Reporter::new();
    let events: Vec<ThreatEvent> =
        (0..10).map(|number| reporter.report(&format!("198.51.100.{number}"))).collect();
    let mut sending = Vec::new();
    for _ in 0..8 {
        let (events, address) = (events.clone(), node.address);
        sending.push(async move {
            let mut peer = Peer::connect(address).await;
            for event in &events {
                peer.event(event).await;
                // Again, with a space more: other bytes, the same event.
                let wrapper = json!({ "type": "event", "payload": event }).to_string();
                peer.send(&wrapper.replacen("{\"type\"", "{ \"type\"", 1).replace("\":\"", "\": \"")).await;
            }
            peer
        });
    }
    let _peers = futures::future::join_all(sending).await;
    node.until_events(10).await;
    until("all came", || async {
        let status = node.intel.status(&node.list().await).await.unwrap();
        status.counts.accepted + status.counts.duplicates == 160
    })
    .await;
    assert_eq!(node.reputation(reporter.id()).await.unwrap().valid, 10);
    assert_eq!(node.events().await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_depths_and_junk_take_neither_memory_nor_the_node() {
    let node = Node::start(|_| {}).await;
    let deep = format!(
        "{{\"type\": \"event\", \"payload\": {{\"x\": {}{}}}}}",
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let framed = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
    for bytes in [
        vec![0xff; 4],
        [0x00, 0x10, 0x00, 0x01].to_vec(),
        framed(b"junk"),
        framed(b"[]"),
        framed(b"\xff\xff"),
        framed(b""),
        framed(b"\xef\xbb\xbf{}"),
    ] {
        let mut peer = TcpStream::connect(node.address).await.unwrap();
        peer.write_all(&bytes).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, peer.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{bytes:?} keeps the connection");
    }
    let mut peer = TcpStream::connect(node.address).await.unwrap();
    peer.write_all(&framed(deep.as_bytes())).await.unwrap();
    let reporter = Reporter::new();
    // From another address: what was junk is held against the one it came from.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut good = Peer { stream: socket.connect(node.address).await.unwrap() };
    good.event(&reporter.report("198.51.100.1")).await;
    node.until_events(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_up_nobody() {
    let node = Node::start(|config| config.new_key_rate = 1_000_000).await;
    // It never reads.
    let _slow = TcpStream::connect(node.address).await.unwrap();
    let (reporter, mut peer) = (Reporter::new(), Peer::connect(node.address).await);
    let mut reader = Peer::connect(node.address).await;
    assert_eq!(reader.next().await.unwrap()["type"], "HELLO");
    // More than the buffers of a connection hold, of which one reader takes everything.
    let sending = async {
        for number in 0..250 {
            let mut event = reporter.report(&format!("198.51.100.{number}"));
            event.threat_type = "x".repeat(60_000);
            event.id = event.computed_id();
            event.signature = {
                use base64::Engine as _;
                let signature = reporter.0.sign(event.canonical().as_bytes());
                base64::engine::general_purpose::STANDARD.encode(signature)
            };
            peer.event(&event).await;
            assert_eq!(reader.next_event().await.id, event.id);
        }
    };
    tokio::time::timeout(PATIENCE * 4, sending).await.expect("held up");
    until("what the slow one missed is counted", || async {
        node.intel.peers(&node.list().await).iter().any(|peer| peer.dropped > 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_leave_room_for_a_peer_from_elsewhere() {
    let node = Node::start(|config: &mut IntelConfig| config.connections_max = 64).await;
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..10_000 {
        let Ok(stream) = TcpStream::connect(node.address).await else { continue };
        // So many of one address are taken.
        if held.len() < 32 {
            held.push(stream);
            continue;
        }
        // What is refused is closed at once; what is kept would say nothing for two seconds.
        let mut byte = [0];
        match tokio::time::timeout(Duration::from_secs(2), stream.peek(&mut byte)).await {
            Ok(Ok(0) | Err(_)) => refused += 1,
            _ => held.push(stream),
        }
        if held.len() > 40 {
            break;
        }
    }
    assert!(held.len() <= 32, "{} connections of one address", held.len());
    assert!(refused >= 9_000, "{refused}");
    let links = node.intel.peers(&node.list().await);
    assert!(links.iter().filter(|peer| peer.state == PeerState::Up).count() <= 32);
    drop(held);
    let reporter = Reporter::new();
    until("there is room again", || async {
        let mut peer = Peer::connect(node.address).await;
        let body = json!({ "type": "event", "payload": reporter.report("198.51.100.1") }).to_string();
        let framed = [&u32::try_from(body.len()).unwrap().to_be_bytes(), body.as_bytes()].concat();
        let _ = peer.stream.write_all(&framed).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        node.events().await.len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_of_keys_neither_convinces_nor_is_exported() {
    use cm_intel::effects::{Format, export};
    let node = Node::start(|_| {}).await;
    let mut peer = Peer::connect(node.address).await;
    let farm: Vec<Reporter> = (0..20).map(|_| Reporter::new()).collect();
    for round in 0..3 {
        for reporter in &farm {
            peer.event(&reporter.report(&format!("198.51.100.{round}"))).await;
        }
    }
    node.until_events(60).await;
    let permit = node.list().await;
    let held = node.intel.reputations(&permit, None, PageLimit::MAX).await.unwrap().items;
    assert!(held.iter().all(|held| held.score == 0.0 && held.standing == Standing::Probation));
    let indicators = node.intel.indicators(&permit, None, PageLimit::MAX).await.unwrap().items;
    assert_eq!(indicators.len(), 3);
    assert!(indicators.iter().all(|indicator| indicator.confidence <= 10 && indicator.organisations == 0));
    assert_eq!(export(&node.intel, &permit, Format::Plain, 50).await.unwrap(), "");
    // One report of the node itself counts for more than all of them.
    let new = cm_intel::NewThreat {
        source_ip: "198.51.100.1".into(),
        threat_type: "scan".into(),
        severity: "high".into(),
        tlp: cm_intel::Tlp::Clear,
    };
    node.intel.report(&node.op(), &node.create().await, new).await.unwrap();
    assert_eq!(export(&node.intel, &permit, Format::Plain, 50).await.unwrap(), "198.51.100.1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_are_not_made_many() {
    use tokio::net::{TcpListener, UdpSocket};
    let node = Node::start(|_| {}).await;
    // A second face of the same engine, with datagrams.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    node.intel.serve(Some(listener), Some(socket)).await.unwrap();
    let caller = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for number in 0..500 {
        let ping = json!({ "type": "PING", "node_id": format!("n{number}"), "tcp_port": 1 }).to_string();
        caller.send_to(ping.as_bytes(), address).await.unwrap();
    }
    // Answers go to everybody and never to whoever asked, who may be somebody else than it says.
    let mut buffer = [0; 2048];
    let heard = tokio::time::timeout(Duration::from_secs(1), caller.recv_from(&mut buffer)).await;
    assert!(heard.is_err(), "an answer to one address");
    until("one place is dialled once, however many names it has", || async {
        let links = node.intel.peers(&node.list().await);
        links.iter().filter(|peer| peer.outgoing).count() == 1
    })
    .await;
}
