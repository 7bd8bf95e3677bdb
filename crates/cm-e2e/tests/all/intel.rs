//! Threat intelligence between the real binary and a peer in Python that somebody else could have written.

mod feeds;
mod peer;

use cm_e2e::{Node, NodeOptions};
use peer::{DATAGRAMS, PythonPeer, until};
use serde_json::{Value, json};

fn node(root: &tempfile::TempDir, set: &[&str]) -> Node {
    let set = set.iter().map(|text| (*text).to_owned()).collect();
    Node::start(root.path(), &NodeOptions { set, ..NodeOptions::default() })
}

/// What a command answers, as JSON.
fn asked(node: &Node, arguments: &[&str]) -> Value {
    let output = node.command(&[arguments, &["--output", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

fn events(node: &Node) -> Vec<Value> {
    asked(node, &["intel", "events", "--limit", "100"]).as_array().unwrap().clone()
}

fn sources(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["source_ip"].as_str().unwrap()).collect()
}

fn report(node: &Node, source: &str, kind: &str) {
    asked(node, &["intel", "report", source, "--type", kind, "--tlp", "clear"]);
}

#[test]
fn events_go_both_ways_are_passed_on_and_never_echoed() {
    let root = tempfile::tempdir().unwrap();
    let node = node(&root, &[]);
    let (mut one, mut other) = (PythonPeer::start(&[]), PythonPeer::start(&[]));
    one.dial(node.address("intel"));
    other.dial(node.address("intel"));
    until("both were greeted", || one.state()["hellos"] == 1 && other.state()["hellos"] == 1);
    let sent = one.report("198.51.100.23", "Accès “brute-force” \u{1f512} / \u{7f}");
    until("it is passed on", || other.state()["events"][0]["id"] == sent["id"]);
    let passed_on = &other.state()["events"][0];
    assert_eq!(passed_on["valid"], true);
    assert_eq!(passed_on["signature"], sent["signature"], "unchanged");
    // Forged: in its own name, then in that of the other.
    let victim = other.state()["pem"].clone();
    one.ask(&json!({ "do": "forge", "source": "198.51.100.24", "kind": "forged" }));
    one.ask(&json!({ "do": "forge", "source": "198.51.100.25", "kind": "framed", "victim": victim }));
    report(&node, "203.0.113.9", "scan — ünïcode \u{1f50d}");
    for peer in [&mut one, &mut other] {
        until("the node's own report comes", || peer.has("203.0.113.9"));
    }
    // What comes later on the same connection came after whatever there was to come.
    let (one, other) = (one.state(), other.state());
    assert_eq!(
        (&one["frames"], &other["frames"]),
        (&json!(1), &json!(2)),
        "no echo and no forgery: {one} {other}"
    );
    assert_eq!((&one["odd"], &other["odd"]), (&json!([]), &json!([])), "byte for byte");
    let all = |state: &Value| state["events"].as_array().unwrap().iter().all(|event| event["valid"] == true);
    assert!(all(&one) && all(&other), "what the node signs verifies in Python");
    assert_eq!(sources(&events(&node)), ["198.51.100.23", "203.0.113.9"]);
}

#[test]
fn python_between_two_nodes_passes_events_on() {
    let roots = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (node(&roots.0, &[]), node(&roots.1, &[]));
    let mut between = PythonPeer::start(&[]);
    between.dial(a.address("intel"));
    between.dial(b.address("intel"));
    until("both greeted it", || between.state()["hellos"] == 2);
    report(&a, "203.0.113.1", "from a");
    until("b has it", || sources(&events(&b)) == ["203.0.113.1"]);
    report(&b, "203.0.113.2", "from b");
    until("a has it", || sources(&events(&a)) == ["203.0.113.1", "203.0.113.2"]);
    assert_eq!(between.state()["frames"], 2, "neither sends back what it was sent");
}

#[test]
fn a_key_is_banned_as_the_published_node_bans_it() {
    let root = tempfile::tempdir().unwrap();
    let node = node(&root, &["intel.mode=seed"]);
    let (mut bad, mut watcher) = (PythonPeer::start(&[]), PythonPeer::start(&[]));
    bad.dial(node.address("intel"));
    watcher.dial(node.address("intel"));
    until("both were greeted", || bad.state()["hellos"] == 1 && watcher.state()["hellos"] == 1);
    bad.report("198.51.100.1", "true");
    let score = || asked(&node, &["intel", "reporters"])[0]["score"].as_f64();
    until("it counts one", || score() == Some(1.0));
    for (number, expected) in [(2, -2.0), (3, -5.0), (4, -8.0), (5, -11.0)] {
        bad.ask(&json!({ "do": "forge", "source": format!("198.51.100.{number}"), "kind": "forged" }));
        until("it costs three", || score() == Some(expected));
    }
    bad.report("198.51.100.6", "true, of who is not listened to");
    let mut third = PythonPeer::start(&[]);
    third.dial(node.address("intel"));
    until("it was greeted", || third.state()["hellos"] == 1);
    third.report("198.51.100.7", "of somebody else");
    until("others are listened to", || watcher.has("198.51.100.7"));
    assert!(!watcher.has("198.51.100.6"));
    assert_eq!(sources(&events(&node)), ["198.51.100.1", "198.51.100.7"]);
    assert_eq!(bad.state()["sockets"], 1, "the connection is kept, the key ignored");
}

#[test]
fn signatures_with_another_salt_are_held_against_nobody() {
    let root = tempfile::tempdir().unwrap();
    let node = node(&root, &[]);
    let mut peer = PythonPeer::start(&[]);
    peer.dial(node.address("intel"));
    // Published nodes take them, or do not, by the library that they have.
    for number in 0..8 {
        let source = format!("198.51.100.{number}");
        peer.ask(&json!({ "do": "report", "source": source, "kind": "salted", "salt": 32 }));
    }
    peer.report("203.0.113.1", "with the right one");
    until("the node has it", || sources(&events(&node)) == ["203.0.113.1"]);
    let links = asked(&node, &["intel", "peers"]);
    assert!(links[0]["score"].as_f64() >= Some(0.0) && links[0]["ignored"].is_null(), "{links}");
    assert_eq!(asked(&node, &["intel", "reporters"])[0]["invalid"], 0);
}

#[test]
fn an_added_peer_is_really_dialled_and_a_removed_one_left() {
    let root = tempfile::tempdir().unwrap();
    let node = node(&root, &[]);
    let mut peer = PythonPeer::start(&[]);
    let address = format!("127.0.0.1:{}", peer.state()["port"]);
    asked(&node, &["intel", "peer", "add", &address, "--id", "snake"]);
    until("the node connects", || peer.state()["hellos"] == 1);
    let links = asked(&node, &["intel", "peers"]);
    assert_eq!((&links[0]["state"], &links[0]["name"]), (&json!("up"), &json!("snake")), "{links}");
    peer.report("198.51.100.1", "from Python");
    until("the node has it", || sources(&events(&node)) == ["198.51.100.1"]);
    report(&node, "203.0.113.9", "from the node");
    until("the peer has it", || peer.has("203.0.113.9"));
    asked(&node, &["intel", "peer", "remove", "snake"]);
    until("it is left", || peer.state()["sockets"] == 0);
}

#[test]
fn who_asks_by_datagram_is_dialled() {
    let root = tempfile::tempdir().unwrap();
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let node = node(&root, &[&format!("listen.intel_discovery=127.0.0.1:{free}")]);
    let mut peer = PythonPeer::start(&["--discovery", "127.0.0.1", &free]);
    until("the node hears it and connects", || {
        peer.ask(&json!({ "do": "ping" }));
        peer.state()["hellos"].as_u64() >= Some(1)
    });
    peer.report("198.51.100.1", "from who was found");
    until("the node has it", || sources(&events(&node)) == ["198.51.100.1"]);
}

/// As on two machines of one network, where the kernel permits that; that datagrams find a peer at all is the test above.
#[test]
fn nodes_of_one_network_find_each_other_unasked() {
    let Some(network) = peer::Network::between_two_namespaces() else {
        eprintln!(
            "namespaces of networks are not permitted here (they need root and `ip`): loopback alone was looked at"
        );
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let set = ["listen.intel=0.0.0.0:9001".to_owned(), format!("listen.intel_discovery=0.0.0.0:{DATAGRAMS}")];
    let node = Node::start(
        root.path(),
        &NodeOptions { set: set.into(), wrapper: network.left(), ..NodeOptions::default() },
    );
    let broadcast = ["--discovery", "255.255.255.255", &DATAGRAMS.to_string()];
    let mut peer = PythonPeer::start_within(&network.right(), &broadcast);
    // The node asks by itself; both then know where the other is.
    until("the node asked, and they are connected", || {
        let state = peer.state();
        state["calls"].as_u64() >= Some(1) && state["hellos"].as_u64() >= Some(1)
    });
    peer.report("198.51.100.1", "from the other side");
    until("the node has it", || sources(&events(&node)) == ["198.51.100.1"]);
    report(&node, "203.0.113.9", "from the node");
    until("the peer has it", || peer.has("203.0.113.9"));
    assert_eq!(peer.state()["odd"], json!([]));
}
