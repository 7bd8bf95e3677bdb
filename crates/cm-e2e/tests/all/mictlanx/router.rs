//! Today's clients: objects, balls, peers, what is kept in memory.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_announced_and_sent_is_read_back() {
    let root = tempfile::tempdir().unwrap();
    let node = open(root.path());
    let router = Face::of(&node, "router", None);
    let bytes = sample(2_500_000);

    let missing = router.get("/api/v4/buckets/b-1/metadata/k").await.demand(500);
    assert!(missing.json()["detail"].as_str().unwrap().contains("No available peers"), "{missing:?}");
    router.get("/api/v4/buckets/b-1/k").await.demand(404);
    let announced = router.post("/api/v4/buckets/b-1/metadata", &announcement("b-1", "k", "k", &bytes)).await;
    let announced = announced.demand(200).json();
    assert_eq!(announced["replicas"], json!(["peer-0"]));
    assert_eq!((&announced["key"], &announced["bucket_id"]), (&json!("k"), &json!("b-1")));
    assert_eq!(
        (announced["extra"].clone(), announced["tasks_ids"].as_array().unwrap().len()),
        (json!({}), 1)
    );
    let task = announced["tasks_ids"][0].as_str().unwrap();
    assert_eq!(task.len(), 21);
    // Nothing is there before the bytes are.
    router.get("/api/v4/buckets/b-1/metadata/k").await.demand(500);
    assert_eq!(router.get("/api/v4/buckets/b-1/metadata").await.demand(200).json()["balls"], json!([]));
    let sent = router.chunked(task, &bytes, &[("chunk-size", "10mb")]).await.demand(200).json();
    assert_eq!((&sent["combined_key"], &sent["peer_ids"]), (&json!("b-1@k"), &json!(["peer-0"])));
    assert_eq!((&sent["size"], &sent["node_id"]), (&json!(bytes.len()), &json!("peer-0")));
    router.chunked(task, &bytes, &[]).await.demand(404);

    let found = router.get("/api/v4/buckets/b-1/metadata/k").await.demand(200);
    assert_eq!(found.fields(), ["local_peer_id", "metadata", "peer_id", "service_time"]);
    let expected = json!({
        "key": "k", "size": bytes.len(), "checksum": sha256(&bytes).to_string(), "tags": { "kind": "test" },
        "content_type": "text/plain", "producer_id": "e2e", "ball_id": "k", "bucket_id": "b-1", "is_disabled": false,
    });
    assert_eq!(found.json()["metadata"], expected);
    let listed = router.get("/api/v4/buckets/b-1/metadata").await.demand(200).json();
    assert_eq!((&listed["balls"], &listed["peer_ids"]), (&json!([expected]), &json!(["peer-0"])));
    assert_eq!(listed["peers_ids"], listed["peer_ids"]);
    let data = router.get("/api/v4/buckets/b-1/k").await.demand(200);
    assert!(data.bytes == bytes);
    assert_eq!((data.header("content-type"), data.header("content-length")), ("text/plain", "2500000"));
    let ranged =
        router.send(router.request("GET", "/api/v4/buckets/b-1/k").header("range", "bytes=10-19")).await;
    assert_eq!(ranged.demand(206).bytes, bytes[10..20]);
    let beyond =
        router.send(router.request("GET", "/api/v4/buckets/b-1/k").header("range", "bytes=9999999-")).await;
    assert_eq!(beyond.demand(416).header("content-range"), "bytes */2500000");
    let shown = router.get("/api/v4/buckets/b-1/k?attachment=true&content_type=image/png").await.demand(200);
    assert_eq!(shown.header("content-disposition"), "attachment; filename=b-1_k");
    assert_eq!(shown.header("content-type"), "image/png");
    let named = router.get("/api/v4/buckets/b-1/k?attachment=1&filename=my%20file.png").await.demand(200);
    let disposition = named.header("content-disposition").to_owned();
    assert_eq!(disposition, "attachment; filename=\"my file.png\"; filename*=UTF-8''my%20file.png");
    let digest = sha256(&bytes);
    assert!(router.get(&format!("/api/v4/buckets/checksum/{digest}")).await.demand(200).bytes == bytes);
    let sizes = router.get("/api/v4/buckets/b-1/k/size").await.demand(200).json();
    assert_eq!(sizes, json!([{ "bucket_id": "b-1", "key": "k", "peer_id": "peer-0", "size": bytes.len() }]));
    let replicas = router.get("/api/v4/rm/b-1/k").await.demand(200).json();
    assert_eq!((&replicas["replicas"], &replicas["available"]), (&json!(["peer-0"]), &json!([])));
    // What is written here, the native API reads.
    let mut object = node.api(None).get_object(&"b-1".parse().unwrap(), &"k".parse().unwrap()).await.unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = object.next().await.unwrap() {
        pieces.extend_from_slice(&piece);
    }
    assert!(pieces == bytes);

    router.post("/api/v4/buckets/b-1/k/disable", &json!({})).await.demand(204);
    let disabled = router.get("/api/v4/buckets/b-1/metadata/k").await.demand(200).json();
    assert_eq!(disabled["metadata"]["is_disabled"], json!(true));
    let mut changed = disabled["metadata"].clone();
    changed["tags"] = json!({ "a": "line\nfeed", "b": "x".repeat(3000) });
    changed["is_disabled"] = json!(false);
    router.post("/api/v4/u/buckets/b-1/k", &changed).await.demand(204);
    assert_eq!(router.get("/api/v4/buckets/b-1/metadata/k").await.demand(200).json()["metadata"], changed);
    changed["size"] = json!(1);
    router.post("/api/v4/u/buckets/b-1/k", &changed).await.demand(409);

    let gone = router.delete("/api/v4/buckets/b-1/k").await.demand(200);
    assert_eq!(gone.json(), json!({ "n_deletes": 1, "key": "k" }));
    router.delete("/api/v4/buckets/b-1/k").await.demand(404);
    router.get("/api/v4/buckets/b-1/k").await.demand(404);
    let sizes = router.get("/api/v4/buckets/b-1/k/size").await.demand(200).json();
    assert_eq!(sizes[0]["size"], json!(0));
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pieces_of_a_ball_are_found_merged_and_deleted() {
    let root = tempfile::tempdir().unwrap();
    let node = open(root.path());
    let router = Face::of(&node, "router", None);
    let whole = sample(1_000_000);
    let pieces: Vec<&[u8]> = whole.chunks(90_000).collect();
    for (index, piece) in pieces.iter().enumerate() {
        let mut body = announcement("MICTLANX", &format!("film_{index}"), "film", piece);
        body["tags"] = json!({
            "index": index.to_string(), "num_chunks": pieces.len().to_string(),
            "full_checksum": sha256(&whole).to_string(), "fullname": "film.mp4",
        });
        let announced = router.post("/api/v4/buckets/MICTLANX/metadata", &body).await.demand(200).json();
        router.chunked(announced["tasks_ids"][0].as_str().unwrap(), piece, &[]).await.demand(200);
        if index == 3 {
            let partial = router.get("/api/v4/buckets/MICTLANX/film/merge").await.demand(404);
            assert_eq!(partial.code(), 503, "pieces are missing");
        }
    }
    // Another ball whose keys begin alike, and one whose keys are unlike its id.
    router.put("MICTLANX", "film_2_0", "film_2", b"other").await.demand(200);
    router.put("MICTLANX", "unlike", "apart", b"other").await.demand(200);
    let ball = router.get("/api/v4/buckets/MICTLANX/metadata/film/chunks").await.demand(200);
    assert_eq!(ball.fields(), ["ball_id", "bucket_id", "checksum", "chunks", "size", "size_bytes"]);
    let ball = ball.json();
    assert_eq!((&ball["size"], &ball["size_bytes"]), (&json!("1 MB"), &json!(1_000_000)));
    assert_eq!(ball["checksum"], json!(sha256(&whole).to_string()));
    let keys: Vec<_> = ball["chunks"].as_array().unwrap().iter().map(|chunk| chunk["key"].clone()).collect();
    assert_eq!(keys, (0..pieces.len()).map(|index| json!(format!("film_{index}"))).collect::<Vec<_>>());
    let merged = router.get("/api/v4/buckets/MICTLANX/film/merge?attachment=true").await.demand(200);
    assert!(merged.bytes == whole);
    assert_eq!(merged.header("content-disposition"), "attachment; filename=film.mp4");
    let request =
        router.request("GET", "/api/v4/buckets/MICTLANX/film/merge").header("range", "bytes=89990-180010");
    assert!(router.send(request).await.demand(206).bytes == whole[89_990..=180_010]);
    router.get("/api/v4/buckets/MICTLANX/metadata/none/chunks").await.demand(404);
    let unlike = router.get("/api/v4/buckets/MICTLANX/metadata/apart/chunks").await.demand(200).json();
    assert_eq!(unlike["chunks"][0]["key"], json!("unlike"));
    let deleted = router.delete("/api/v4/buckets/MICTLANX/bid/film").await.demand(200).json();
    assert_eq!(deleted, json!({ "n_deletes": pieces.len(), "ball_id": "film" }));
    let nothing = router.delete("/api/v4/buckets/MICTLANX/bid/film").await.demand(200).json();
    assert_eq!(nothing["n_deletes"], json!(0));
    router.delete("/api/v4/buckets/nowhere/bid/film").await.demand(200);
    router.get("/api/v4/buckets/MICTLANX/film_2_0").await.demand(200);
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_may_be_any_text_and_objects_may_be_empty() {
    let root = tempfile::tempdir().unwrap();
    let node = open(root.path());
    let router = Face::of(&node, "router", None);
    for (key, path) in [
        ("a.b", "a.b"),
        ("dir/sub/file.txt", "dir/sub/file.txt"),
        ("dir/size", "dir%2Fsize"),
        ("metadata", "%6Detadata"),
        ("bid", "bid"),
        ("ñandú 日本.txt", "%C3%B1and%C3%BA%20%E6%97%A5%E6%9C%AC.txt"),
        ("100%", "100%25"),
    ] {
        for bytes in [format!("bytes of {key}").into_bytes(), Vec::new()] {
            // Every other object is empty; the second announcement replaces the first.
            let body = announcement("data", key, key, &bytes);
            let update = [("Update", "1")];
            let task =
                router.post_with("/api/v4/buckets/data/metadata", &update, &body).await.demand(200).json();
            let path_of_task = format!("/api/v4/buckets/data/{}", task["tasks_ids"][0].as_str().unwrap());
            let sent = router.form(&path_of_task, "data", &bytes).await.demand(201);
            assert!(sent.bytes.is_empty());
            let found = router.get(&format!("/api/v4/buckets/data/{path}")).await.demand(200);
            assert_eq!(found.bytes, bytes, "{key}");
            let metadata =
                router.get(&format!("/api/v4/buckets/data/metadata/{path}")).await.demand(200).json();
            assert_eq!(
                (&metadata["metadata"]["key"], &metadata["metadata"]["size"]),
                (&json!(key), &json!(bytes.len()))
            );
        }
    }
    let listed = router.get("/api/v4/buckets/data/metadata").await.demand(200).json();
    assert_eq!(listed["balls"].as_array().unwrap().len(), 7);
    router.delete("/api/v4/buckets/data/dir/sub/file.txt").await.demand(200);
    let empty = router.get("/api/v4/buckets/never-written/metadata").await.demand(200).json();
    assert_eq!(empty["balls"], json!([]));
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_and_memory_are_what_they_are() {
    let root = tempfile::tempdir().unwrap();
    let node = open(root.path());
    let router = Face::of(&node, "router", None);
    let none = router.get("/api/v4/peers").await.demand(200).json();
    assert_eq!(none, json!({ "available": ["peer-0"], "unavailable": [] }));
    let peer = |id: &str| json!({ "protocol": "http", "hostname": "localhost", "port": 6000, "peer_id": id });
    router.post("/api/v4/peers", &peer("one")).await.demand(204);
    router.post("/api/v4/xpeers", &json!([peer("two"), peer("three"), peer("four")])).await.demand(204);
    router.post("/api/v4/xpeers", &json!([])).await.demand(204);
    let wrong =
        router.post("/api/v4/peers", &json!({ "protocol": "http", "hostname": "h", "port": 1 })).await;
    assert!(wrong.demand(422).json()["detail"][0]["msg"].as_str().unwrap().contains("peer_id"));
    let some = router.get("/api/v4/peers").await.demand(200).json();
    assert_eq!(some["unavailable"], json!(["four", "one", "three", "two"]));
    router.delete("/api/v4/peers/one").await.demand(204);
    router.delete("/api/v4/xpeers?peers=two&peers=three").await.demand(204);
    router.send(router.request("DELETE", "/api/v4/xpeers").json(&json!(["four"]))).await.demand(204);
    router.delete("/api/v4/xpeers").await.demand(204);
    assert_eq!(router.get("/api/v4/peers").await.demand(200).json(), none);

    router.put("kept", "k", "k", b"small").await.demand(200);
    let stats = router.get("/api/v4/peers/stats?start=0&end=10").await.demand(200).json();
    let known = ["available_disk", "balls", "disk_uf", "peer_id", "peers", "total_disk", "used_disk"];
    assert_eq!(fields(&stats["peer-0"]), known);
    let stats = &stats["peer-0"];
    let number = |name: &str| stats[name].as_u64().unwrap();
    assert_eq!(number("total_disk"), number("used_disk") + number("available_disk"));
    assert!((0.0..=1.0).contains(&stats["disk_uf"].as_f64().unwrap()) && number("total_disk") > 0);
    assert_eq!(stats["balls"][0]["key"], json!("k"));
    router.post("/api/v4/peers/stats", &json!({})).await.demand(405);

    router.delete("/api/v4/cache/reset").await.demand(204);
    assert_eq!(router.get("/api/v4/cache").await.demand(200).json(), json!({ "keys": [] }));
    for _ in 0..2 {
        let pinned = router.request("GET", "/api/v4/buckets/kept/k").header("Peer-Id", "peer-0");
        assert_eq!(router.send(pinned).await.demand(200).bytes, b"small");
    }
    let elsewhere = router.request("GET", "/api/v4/buckets/kept/k").header("Peer-Id", "nobody");
    router.send(elsewhere).await.demand(404);
    assert_eq!(router.get("/api/v4/cache").await.demand(200).json(), json!({ "keys": ["kept@k"] }));
    let memory = router.get("/api/v4/cache/stats").await.demand(200).json();
    let number = |name: &str| memory[name].as_u64().unwrap();
    assert!(number("used") > 0 && number("available") == number("total") - number("used"), "{memory}");
    // Other bytes under the key are never those that are kept.
    let body = announcement("kept", "k", "k", b"other");
    let task =
        router.post_with("/api/v4/buckets/kept/metadata", &[("Update", "1")], &body).await.demand(200).json();
    router.chunked(task["tasks_ids"][0].as_str().unwrap(), b"other", &[]).await.demand(200);
    assert_eq!(router.get("/api/v4/buckets/kept/k").await.demand(200).bytes, b"other");
    router.delete("/api/v4/cache/reset").await.demand(204);
    assert_eq!(router.get("/api/v4/cache/stats").await.demand(200).json()["used"], json!(0));

    router.get("/health").await.demand(200);
    assert!(router.get("/metrics").await.demand(200).header("content-type").starts_with("text/plain"));
    let replication = json!({ "rf": 1, "bucket_id": "kept", "key": "k", "strategy": "ACTIVE" });
    let replicated = router.post("/api/v4/replicate", &replication).await.demand(200);
    assert_eq!(replicated.fields(), ["replication_event_id", "response_time"]);
    router.post("/api/v4/replicate", &json!({ "rf": 2, "bucket_id": "kept", "key": "k" })).await.demand(500);
    router.post("/api/v4/elastic", &json!({ "rf": 3 })).await.demand(500);
    router.get("/api/v4/this-route-does-not-exist").await.demand(404);
    assert!(node.stop().success());
}
