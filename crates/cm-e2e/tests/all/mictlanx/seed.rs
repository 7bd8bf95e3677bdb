//! Peers, as today's clients and the first ones speak to them.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_clients_are_answered_with_the_fields_they_know() {
    let root = tempfile::tempdir().unwrap();
    let node = open(root.path());
    for (listener, content) in [("mictlanx_peer", b"first".as_slice()), ("router", b"second")] {
        let peer = Face::of(&node, listener, None);
        let checksum = sha256(content).to_string();
        let body = json!({
            "key": checksum, "size": content.len(), "checksum": checksum, "tags": {}, "producer_id": "worker-0",
            "content_type": "application/pdf", "ball_id": "b", "bucket_id": "MICTLANX",
        });
        let announced = peer.post("/api/v4/metadata", &body).await.demand(200);
        assert_eq!(announced.fields(), ["key", "node_id", "service_time", "task_id"]);
        let announced = announced.json();
        assert_eq!((&announced["node_id"], announced["service_time"].is_u64()), (&json!("peer-0"), true));
        let task = announced["task_id"].as_str().unwrap();
        let wrong = peer.form(&format!("/api/v4/data/{task}"), "data", content).await.demand(422);
        assert!(wrong.header("error-message").contains("upload"), "{wrong:?}");
        peer.form(&format!("/api/v4/data/{task}"), "upload", content).await.demand(201);
        let found = peer.get(&format!("/api/v4/metadata/{checksum}")).await.demand(200);
        assert_eq!(found.fields(), ["metadata", "node_id", "service_time"]);
        let known =
            ["ball_id", "bucket_id", "checksum", "content_type", "key", "producer_id", "size", "tags"];
        assert_eq!(fields(&found.json()["metadata"]), known);
        // The address that its readers are told.
        let data = peer.get(&format!("/api/v4/{checksum}")).await.demand(200);
        assert_eq!((data.bytes.as_slice(), data.header("content-type")), (content, "application/pdf"));
        let pieces = peer.get("/api/v4/metadata/b/chunks").await.demand(200).json();
        assert!(pieces.as_array().unwrap().iter().all(|piece| fields(piece) == known), "{pieces}");
        assert_eq!(
            peer.get("/api/v4/stats/ufs").await.demand(200).fields(),
            ["disk_uf", "total_disk", "used_disk"]
        );
        let missing = peer.get("/api/v4/nothing").await.demand(404);
        assert!(missing.header("error-message").contains("nothing"), "{missing:?}");
        // The same object, as today's clients name it.
        let today = peer.get(&format!("/api/v4/buckets/MICTLANX/{checksum}")).await.demand(200);
        assert_eq!(today.bytes, content);
        assert_eq!(peer.delete(&format!("/api/v4/{checksum}")).await.demand(204).header("n-deletes"), "1");
        assert_eq!(peer.delete(&format!("/api/v4/{checksum}")).await.demand(204).header("n-deletes"), "0");
    }
    // Without a bucket, the object of a key that was written last.
    let router = Face::of(&node, "router", None);
    router.put("older", "same", "same", b"older").await.demand(200);
    router.put("newer", "same", "same", b"newer").await.demand(200);
    assert_eq!(router.get("/api/v4/same").await.demand(200).bytes, b"newer");
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_are_asked_and_told_as_today() {
    let root = tempfile::tempdir().unwrap();
    let node = open(root.path());
    let peer = Face::of(&node, "mictlanx_peer", None);
    let content = b"replica";
    let mut body = announcement("b-1", "k", "ball", content);
    body["is_disable"] = body.as_object_mut().unwrap().remove("is_disabled").unwrap();
    body.as_object_mut().unwrap().remove("replication_factor");
    let headers = [("Update", "0"), ("Task-Id", "group-of_replicas")];
    let announced = peer.post_with("/api/v4/buckets/b-1/metadata", &headers, &body).await.demand(200);
    assert_eq!(announced.fields(), ["key", "node_id", "service_time", "task_id"]);
    assert_eq!(announced.json()["task_id"], json!("group-of_replicas"));
    let sent = peer.chunked("group-of_replicas", content, &[("Peer-Id", "peer-0")]).await.demand(200);
    let known = ["bucket_id", "combined_key", "key", "node_id", "service_time", "size", "throughput"];
    assert_eq!(sent.fields(), known);
    let found = peer.get("/api/v4/buckets/b-1/metadata/k").await.demand(200);
    assert_eq!(found.fields(), ["local_peer_id", "metadata", "peer_id", "service_time"]);
    assert!(found.json()["service_time"].is_u64());
    peer.get("/api/v4/buckets/b-1/metadata/none").await.demand(404);
    assert_eq!(peer.get("/api/v4/buckets/b-1/k").await.demand(200).bytes, content);
    assert_eq!(peer.get("/api/v4/buckets/b-1/metadata").await.demand(200).fields(), ["balls", "peer_id"]);
    let group = peer.get("/api/v4/buckets/b-1/metadata/ball/group").await.demand(200);
    assert_eq!(group.fields(), ["ball_id", "balls", "bucket_id", "size"]);
    let chunks = peer.get("/api/v4/buckets/b-1/metadata/ball/chunks").await.demand(200).json();
    assert_eq!(chunks.as_array().unwrap().len(), 1);
    let size = json!({ "bucket_id": "b-1", "key": "k", "peer_id": "peer-0", "size": content.len() });
    assert_eq!(peer.get("/api/v4/buckets/b-1/k/size").await.demand(200).json(), size);
    let absent = peer.get("/api/v4/buckets/b-1/none/size").await.demand(200).json();
    assert_eq!(absent["size"], json!(0));
    let replicated = peer.post("/api/v4/buckets/b-1/k/replicate", &json!({})).await.demand(200);
    let known = ["bucket_id", "key", "ok", "peer_id", "replica_peer_id", "response_time", "size"];
    assert_eq!(replicated.fields(), known);
    assert_eq!(peer.get("/api/v4/balls/len").await.demand(200).json(), json!({ "len": 1 }));
    let basic = json!([{ "bucket_id": "b-1", "key": "k", "size": content.len() }]);
    assert_eq!(peer.get("/api/v4/xballs?start=0&end=10").await.demand(200).json(), basic);
    assert_eq!(peer.get("/api/v4/xballs?start=1").await.demand(200).json(), json!([]));
    let sizes = json!([["b-1", "k", content.len()]]);
    assert_eq!(peer.get("/api/v4/xballs/size?start=0").await.demand(200).json(), sizes);
    let state = peer.get("/api/v4/peers/state?start=0").await.demand(200).json();
    assert_eq!(fields(&state["nodes"][0]), ["ip_addr", "node_id", "port"]);
    assert_eq!(state["balls"]["b-1@k"], json!({ "locations": ["peer-0"], "size": content.len() }));
    let known = ["available_disk", "balls", "disk_uf", "peer_id", "peers", "total_disk", "used_disk"];
    assert_eq!(peer.get("/api/v4/stats?start=0").await.demand(200).fields(), known);
    let node_payload = json!({
        "id": "p1", "disk": 1, "memory": 2, "ip_addr": "h", "port": 3, "weight": 1.0, "used_disk": 0, "used_memory": 0,
    });
    assert_eq!(peer.post("/api/v4/nodes", &node_payload).await.demand(200).json(), node_payload);
    peer.post("/api/v4/buckets/b-1/metadata", &announcement("b-1", "later", "later", b"x")).await.demand(200);
    peer.delete("/api/v4/tasks").await.demand(204);
    let router = Face::of(&node, "router", None);
    assert_eq!(router.get("/api/v4/tasks").await.demand(200).json(), json!({}));
    assert_eq!(peer.delete("/api/v4/buckets/b-1/bid/ball").await.demand(204).header("n-deletes"), "1");
    assert_eq!(peer.delete("/api/v4/buckets/b-1/k").await.demand(204).header("n-deletes"), "0");
    peer.get("/health").await.demand(200);
    assert!(node.stop().success());
}
