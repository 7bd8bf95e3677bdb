//! What goes wrong is said, and leaves nothing behind; and who may not, does not.

use cm_e2e::enrol;
use cm_types::ResourceKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_is_there_as_it_was_announced_or_not_at_all() {
    let root = tempfile::tempdir().unwrap();
    let node = open(root.path());
    let router = Face::of(&node, "router", None);
    let path = "/api/v4/buckets/b-1/metadata";
    let bytes = sample(300_000);
    let announced = router.post(path, &announcement("b-1", "k", "k", &bytes)).await.demand(200).json();
    let task = announced["tasks_ids"][0].as_str().unwrap().to_owned();
    // Too few, too many, others.
    let fewer = router.chunked(&task, &bytes[..299_999], &[]).await.demand(400);
    assert_eq!(fewer.code(), 400);
    router.chunked(&task, &[&bytes[..], b"x"].concat(), &[]).await.demand(400);
    let mut damaged = bytes.clone();
    damaged[200_000] ^= 1;
    assert_eq!(router.chunked(&task, &damaged, &[]).await.demand(400).code(), 501);
    let form = format!("/api/v4/buckets/data/{task}");
    router.form(&form, "data", &damaged).await.demand(400);
    router.form(&form, "other", &bytes).await.demand(422);
    // A form that breaks off before its end.
    let mut cut = TcpStream::connect(node.address("router")).await.unwrap();
    let body = b"--q\r\nContent-Disposition: form-data; name=\"data\"; filename=\"k\"\r\n\r\n".to_vec();
    let body = [body, bytes.clone(), b"\r\n".to_vec()].concat();
    let head = format!(
        "POST {form} HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=q\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        node.address("router"),
        body.len()
    );
    cut.write_all(head.as_bytes()).await.unwrap();
    cut.write_all(&body).await.unwrap();
    let mut answer = String::new();
    cut.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    router.get("/api/v4/buckets/b-1/k").await.demand(404);
    assert_eq!(router.get(path).await.demand(200).json()["balls"], json!([]));
    // The task still waits for the right ones.
    router.form(&form, "data", &bytes).await.demand(201);
    router.form(&form, "data", &bytes).await.demand(404);
    assert!(router.get("/api/v4/buckets/b-1/k").await.demand(200).bytes == bytes);

    // The same bytes again change nothing; others are refused, with the code that clients know, unless they are wanted.
    let before = router.get("/api/v4/buckets/b-1/metadata/k").await.json();
    let again = router.put("b-1", "k", "k", &bytes).await.demand(200).json();
    assert_eq!(again["size"], json!(bytes.len()));
    assert_eq!(router.get("/api/v4/buckets/b-1/metadata/k").await.json()["metadata"], before["metadata"]);
    let task = router.post(path, &announcement("b-1", "k", "k", &bytes)).await.demand(200).json();
    let task = task["tasks_ids"][0].as_str().unwrap().to_owned();
    assert_eq!(router.chunked(&task, &damaged, &[]).await.demand(400).code(), 501);
    let other = announcement("b-1", "k", "k", b"other");
    let refused = router.post(path, &other).await.demand(404);
    assert_eq!(refused.code(), 666);
    assert_eq!(
        fields(&refused.json()["detail"]),
        ["bucket_id", "code", "key", "msg", "replicas", "suggestion"]
    );
    let mut elsewhere = other.clone();
    elsewhere["bucket_id"] = json!("b-2");
    assert_eq!(router.post(path, &elsewhere).await.demand(404).code(), 666, "before the mismatch");
    elsewhere["key"] = json!("new");
    let mismatch = router.post(path, &elsewhere).await.demand(400).json();
    assert!(mismatch["detail"].as_str().unwrap().contains("Bucket ID mismatch"), "{mismatch}");
    let update = [("Update", "1")];
    let task = router.post_with(path, &update, &other).await.demand(200).json();
    router.chunked(task["tasks_ids"][0].as_str().unwrap(), b"other", &[]).await.demand(200);
    assert_eq!(router.get("/api/v4/buckets/b-1/k").await.demand(200).bytes, b"other");
    // Two announcements of a new key: who sends first wins.
    let one = router.post(path, &announcement("b-1", "race", "race", b"one")).await.demand(200).json();
    let two = router.post(path, &announcement("b-1", "race", "race", b"two")).await.demand(200).json();
    router.chunked(two["tasks_ids"][0].as_str().unwrap(), b"two", &[]).await.demand(200);
    let late = router.chunked(one["tasks_ids"][0].as_str().unwrap(), b"one", &[]).await.demand(404);
    assert_eq!(late.code(), 666);

    for (field, wrong) in [
        ("checksum", json!("0")),
        ("size", json!(-1)),
        ("size", json!(1.5)),
        ("tags", json!({ "a": 1 })),
        ("tags", json!({ "a": "x".repeat(20_000) })),
        ("key", json!("")),
        ("key", json!("a\u{0}b")),
        ("content_type", json!("a\nb")),
        ("replication_factor", json!(0)),
    ] {
        let mut body = announcement("b-1", "wrong", "wrong", b"x");
        body[field] = wrong.clone();
        let refused = router.post(path, &body).await.demand(422);
        assert!(refused.json()["detail"].is_array(), "{field} {wrong}: {refused:?}");
    }
    for field in ["bucket_id", "key", "ball_id", "checksum", "size", "producer_id"] {
        let mut body = announcement("b-1", "wrong", "wrong", b"x");
        body.as_object_mut().unwrap().remove(field);
        let refused = router.post(path, &body).await.demand(422);
        assert!(refused.json().to_string().contains(field), "{field}: {refused:?}");
    }
    let mut more = announcement("b-1", "more", "more", b"x");
    more["replication_factor"] = json!(2);
    router.post(path, &more).await.demand(500);
    router.get("/api/v4/buckets/b-1/more").await.demand(404);
    let log = node.log();
    assert!(!log.contains("ERROR"), "{log}");
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_refused_and_learns_nothing() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let admin = node.admin();
    let role = json!({ "id": "storer", "name": "storer", "permissions": ["bucket:create"] });
    admin.create(ResourceKind::Role, &role).await.unwrap();
    let owner = enrol(&node, "owner", &["storer"]).await;
    let stranger = enrol(&node, "stranger", &["storer"]).await;
    for listener in ["router", "mictlanx_peer"] {
        let face = Face::of(&node, listener, None);
        for path in
            ["/api/v4/buckets/b-1/k", "/api/v4/buckets/b-1/metadata", "/api/v4/k", "/api/v4/stats/ufs"]
        {
            assert_eq!(face.get(path).await.demand(401).code(), 401, "{path}");
        }
        face.post("/api/v4/buckets/b-1/metadata", &announcement("b-1", "k", "k", b"x")).await.demand(401);
        face.delete("/api/v4/buckets/b-1/k").await.demand(401);
        face.get("/health").await.demand(200);
    }
    let mine = Face::of(&node, "router", Some(owner.token.clone()));
    let theirs = mine.as_somebody(Some(&stranger.token));
    mine.put("private", "k", "ball", b"secret").await.demand(200);
    let task =
        mine.post("/api/v4/buckets/private/metadata", &announcement("private", "next", "n", b"x")).await;
    let task = task.demand(200).json()["tasks_ids"][0].as_str().unwrap().to_owned();

    // What is somebody else's is refused as what does not exist is.
    let digest = sha256(b"secret");
    for (method, path) in [
        ("GET", "/api/v4/buckets/private/k".to_owned()),
        ("GET", "/api/v4/buckets/private/metadata".to_owned()),
        ("GET", "/api/v4/buckets/private/metadata/k".to_owned()),
        ("GET", "/api/v4/buckets/private/metadata/ball/chunks".to_owned()),
        ("GET", "/api/v4/buckets/private/ball/merge".to_owned()),
        ("GET", "/api/v4/buckets/private/k/size".to_owned()),
        ("GET", "/api/v4/k".to_owned()),
        ("GET", format!("/api/v4/buckets/checksum/{digest}")),
        ("DELETE", "/api/v4/buckets/private/k".to_owned()),
        ("DELETE", "/api/v4/buckets/private/bid/ball".to_owned()),
        ("POST", "/api/v4/buckets/private/k/disable".to_owned()),
    ] {
        let absent = path.replace("private", "absent").replace("/v4/k", "/v4/other");
        let absent = absent.replace(&digest.to_string(), &sha256(b"other").to_string());
        let refused = theirs.send(theirs.request(method, &path)).await;
        let missing = theirs.send(theirs.request(method, &absent)).await;
        assert!(matches!(refused.status, 403 | 404), "{method} {path}: {refused:?}");
        assert_eq!(refused.status, missing.status, "{method} {path}");
    }
    let taken = announcement("private", "k", "k", b"x");
    theirs.post("/api/v4/buckets/private/metadata", &taken).await.demand(403);
    theirs.chunked(&task, b"x", &[]).await.demand(404);
    // There is no task of theirs, so nobody looks whether it is a form.
    let form = format!("/api/v4/buckets/data/{task}");
    theirs.send(theirs.request("POST", &form).body("no form")).await.demand(404);
    mine.send(mine.request("POST", &form).body("no form")).await.demand(415);
    theirs.get("/api/v4/cache").await.demand(403);
    mine.get("/api/v4/buckets/private/k").await.demand(200);

    // Whoever may list a bucket sees what is in it, and nothing that is said of what it may not read.
    let lists = json!({ "id": "lister", "name": "lister", "permissions": ["bucket:read", "bucket:list"] });
    admin.create(ResourceKind::Role, &lists).await.unwrap();
    let lister = mine.as_somebody(Some(&enrol(&node, "lister", &["lister"]).await.token));
    let bucket = lister.get("/api/v4/buckets/private/metadata").await.demand(200).json();
    let stats = lister.get("/api/v4/peers/stats").await.demand(200).json();
    let stats = stats.as_object().unwrap().values().next().unwrap();
    for seen in [&bucket["balls"][0], &stats["balls"][0]] {
        assert_eq!((&seen["key"], &seen["size"]), (&json!("k"), &json!(6)), "{seen}");
        assert_eq!((&seen["tags"], &seen["checksum"]), (&json!({}), &json!("")), "{seen}");
        assert_eq!((&seen["producer_id"], &seen["ball_id"]), (&json!(""), &json!("")), "{seen}");
    }
    let pieces = lister.get("/api/v4/buckets/private/metadata/ball/chunks").await.demand(200).json();
    assert_eq!(pieces["chunks"][0]["tags"], json!({}), "{pieces}");
    lister.get("/api/v4/buckets/private/ball/merge").await.demand(404);
    mine.chunked(&task, b"x", &[]).await.demand(200);

    // What earlier clients present: a secret in a header of its own, with the name of whom it belongs to.
    let bare = mine.as_somebody(None);
    let with = |headers: &[(&str, &str)]| {
        let request = bare.request("GET", "/api/v4/buckets/private/k");
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    bare.send(with(&[("Authorization", &owner.token)])).await.demand(200);
    bare.send(with(&[("Secret", &owner.token), ("Client-Id", "owner")])).await.demand(200);
    bare.send(with(&[("Secret", &owner.token), ("Client-Id", "stranger")])).await.demand(401);
    bare.send(with(&[("Secret", &owner.token)])).await.demand(401);
    bare.send(with(&[("Secret", "wrong"), ("Client-Id", "owner")])).await.demand(401);
    let log = node.log();
    assert!(!log.contains("ERROR") && !log.contains(&owner.token), "{log}");
    assert!(node.stop().success());
}
