//! Routers of nodes that form a network: which peers there are, and how many replicas may be asked for.

use std::time::Instant;

use cm_e2e::{NETWORK_DEADLINE, Network};
use serde_json::{Value, json};

use super::{Face, announcement};

async fn announce(router: &Face, bucket: &str, replicas: u8, headers: &[(&str, &str)]) -> super::Reply {
    let mut body = announcement(bucket, "k", "k", b"some bytes");
    body["replication_factor"] = json!(replicas);
    router.post_with(&format!("/api/v4/buckets/{bucket}/metadata"), headers, &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_are_the_nodes_of_the_network_and_replicas_what_buckets_keep() {
    let dir = tempfile::tempdir().unwrap();
    let mut network = Network::founded(dir.path(), 3);
    let router = |network: &Network, n: usize| {
        let node = network.peers[n].node.as_ref().expect("the node runs");
        Face::of(node, "router", Some(network.token.clone()))
    };
    announce(&router(&network, 0), "alone", 2, &[]).await.demand(500);
    network.join_others();
    network.wait(0, "three nodes", |status| network.is_settled(status));
    let first = router(&network, 0);
    let peers = first.get("/api/v4/peers").await.demand(200).json();
    let available: Vec<&str> =
        peers["available"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
    assert_eq!((available.len(), &peers["unavailable"]), (3, &json!([])), "{peers}");
    let stats = first.get("/api/v4/peers/stats").await.demand(200).json();
    for id in &available {
        let mut fields = super::fields(&stats[id]);
        fields.sort();
        assert_eq!(
            fields,
            ["available_disk", "balls", "disk_uf", "peer_id", "peers", "total_disk", "used_disk"],
            "{stats}"
        );
        assert_eq!(stats[id]["peer_id"], *id);
    }

    // Three copies are kept of everything: as many may be asked for, and no more.
    let announced = announce(&first, "films", 3, &[]).await.demand(200).json();
    assert_eq!(announced["replicas"].as_array().unwrap().len(), 3, "{announced}");
    let task = announced["tasks_ids"][0].as_str().unwrap();
    first.chunked(task, b"some bytes", &[]).await.demand(200);
    for n in 0..3 {
        let read = router(&network, n).get("/api/v4/buckets/films/k").await.demand(200);
        assert_eq!(read.bytes, b"some bytes", "at {n}");
    }
    let one = announce(&first, "films", 1, &[]).await.demand(200).json();
    assert_eq!(one["replicas"].as_array().unwrap().len(), 1, "{one}");
    announce(&first, "films", 4, &[]).await.demand(500);
    let pinned = first.request("GET", "/api/v4/buckets/films/k").header("peer-id", available[2]);
    first.send(pinned).await.demand(200);
    let nobody = first.request("GET", "/api/v4/buckets/films/k").header("peer-id", "nobody");
    first.send(nobody).await.demand(404);
    let wanted = |rf: u8| json!({ "rf": rf, "bucket_id": "films", "key": "k", "strategy": "ACTIVE" });
    first.post("/api/v4/replicate", &wanted(3)).await.demand(200);
    // A bucket that keeps fewer says how that is changed.
    network.run(0, &["storage", "redundancy", "films", "2"]);
    let refused = first.post("/api/v4/replicate", &wanted(3)).await.demand(500);
    assert!(String::from_utf8_lossy(&refused.bytes).contains("storage redundancy films 3"), "{refused:?}");
    announce(&first, "films", 3, &[("Update", "1")]).await.demand(500);
    announce(&first, "films", 2, &[("Update", "1")]).await.demand(200);

    // Who has gone is told, and is served for.
    network.peers[2].kill();
    let began = Instant::now();
    loop {
        let peers = first.get("/api/v4/peers").await.demand(200).json();
        if peers["unavailable"].as_array().unwrap().len() == 1 {
            break;
        }
        assert!(began.elapsed() < NETWORK_DEADLINE, "nobody is told to be away: {peers}");
    }
    let read = first.get("/api/v4/buckets/films/k").await.demand(200);
    assert_eq!(read.bytes, b"some bytes");
    for peer in &mut network.peers[..2] {
        peer.kill();
    }
}
