//! Objects by S3, with a client of S3: round trips, listings, uploads in parts, and who is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cm_e2e::{Node, NodeOptions, enrol};
use cm_types::ResourceKind;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const BUCKET: &str = "scans";
/// How long what happens by itself may take.
const DEADLINE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// A client that gives up at the first refusal.
fn builder(node: &Node) -> AmazonS3Builder {
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_region("us-east-1")
        .with_endpoint(format!("http://{}", node.address("s3")))
        .with_allow_http(true)
        .with_retry(retry)
}

fn signed(node: &Node, (id, secret): (&str, &str)) -> AmazonS3 {
    builder(node).with_access_key_id(id).with_secret_access_key(secret).build().unwrap()
}

/// A node with a bucket, and a client with an administrator's key.
async fn mesh(root: &std::path::Path) -> (Node, AmazonS3) {
    let node = Node::start(root, &NodeOptions::default());
    let admin = node.admin();
    admin.create(ResourceKind::Bucket, &json!({ "name": BUCKET })).await.unwrap();
    let key = admin.create_s3_key("admin", "test").await.unwrap();
    let store = signed(&node, (&key.id, &key.key));
    (node, store)
}

fn sample(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

async fn read(store: &AmazonS3, key: &str) -> Bytes {
    store.get(&Path::parse(key).unwrap()).await.unwrap().bytes().await.unwrap()
}

/// The code in what a refusal says.
fn code<T>(outcome: object_store::Result<T>) -> String {
    let Err(error) = outcome else { return "no error".to_owned() };
    let text = format!("{error} {error:?}");
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map_or(text.clone(), |(code, _)| code.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_every_size_make_the_round_trip() {
    let root = tempfile::tempdir().unwrap();
    let (node, store) = mesh(root.path()).await;
    for (len, tag) in
        [(0, Some("\"d41d8cd98f00b204e9800998ecf8427e\"")), (1, None), (MIB, None), (3 * MIB + 17, None)]
    {
        let (key, bytes) = (Path::from(format!("sizes/{len}")), sample(len));
        let put = store.put(&key, bytes.clone().into()).await.unwrap();
        if let Some(tag) = tag {
            assert_eq!(put.e_tag.as_deref(), Some(tag), "the tag is the MD5");
        }
        let found = store.head(&key).await.unwrap();
        assert_eq!((found.size, &found.e_tag), (len as u64, &put.e_tag));
        assert!(read(&store, key.as_ref()).await == bytes, "{len} bytes");
    }
    // What S3 wrote, the native API reads.
    let name = format!("sizes/{}", 3 * MIB + 17);
    let (bucket, native) = (BUCKET.parse().unwrap(), name.parse().unwrap());
    let mut object = node.admin().get_object(&bucket, &native).await.unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = object.next().await.unwrap() {
        pieces.extend_from_slice(&piece);
    }
    assert!(pieces == sample(3 * MIB + 17));
    // Parts of it.
    let key = Path::from(name);
    let bytes = sample(3 * MIB + 17);
    let part = store.get_range(&key, MIB as u64 - 3..MIB as u64 + 5).await.unwrap();
    assert_eq!(part, bytes[MIB - 3..MIB + 5]);
    let suffix = GetOptions { range: Some(GetRange::Suffix(5)), ..GetOptions::default() };
    let suffix = store.get_opts(&key, suffix).await.unwrap();
    assert_eq!(suffix.bytes().await.unwrap(), bytes[bytes.len() - 5..]);
    let beyond = store.get_range(&key, 4 * MIB as u64..4 * MIB as u64 + 1).await;
    assert_eq!(code(beyond), "InvalidRange");
    // Conditions.
    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    let again = store.put_opts(&key, "x".into(), create).await;
    assert!(matches!(again, Err(object_store::Error::AlreadyExists { .. })), "{again:?}");
    let tag = store.head(&key).await.unwrap().e_tag;
    let known = GetOptions { if_none_match: tag, ..GetOptions::default() };
    let known = store.get_opts(&key, known).await;
    assert!(matches!(known, Err(object_store::Error::NotModified { .. })), "{known:?}");
    // Copies and deletions.
    let copy = Path::parse("copies/ä +.bin").unwrap();
    store.copy(&key, &copy).await.unwrap();
    assert!(read(&store, copy.as_ref()).await == bytes);
    store.delete(&copy).await.unwrap();
    assert!(code(store.head(&copy).await.map(drop)).contains("NotFound"));
    assert_eq!(code(store.get(&copy).await.map(drop)), "NoSuchKey");
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_become_an_object_when_they_are_complete() {
    let root = tempfile::tempdir().unwrap();
    let (node, store) = mesh(root.path()).await;
    let key = Path::from("big");
    let bytes = sample(11 * MIB + 3);
    let mut upload = store.put_multipart(&key).await.unwrap();
    for part in bytes.chunks(5 * MIB) {
        upload.put_part(part.to_vec().into()).await.unwrap();
    }
    assert!(store.head(&key).await.is_err(), "visible before it is complete");
    let done = upload.complete().await.unwrap();
    let tag = done.e_tag.unwrap();
    assert!(tag.ends_with("-3\"") && tag.len() == 36, "{tag}");
    assert!(read(&store, "big").await == bytes);
    let mut aborted = store.put_multipart(&Path::from("aborted")).await.unwrap();
    aborted.put_part(sample(100).into()).await.unwrap();
    aborted.abort().await.unwrap();
    assert!(store.head(&Path::from("aborted")).await.is_err());
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_fold_and_page_in_order() {
    let root = tempfile::tempdir().unwrap();
    let (node, store) = mesh(root.path()).await;
    let store = Arc::new(store);
    for name in ["a/1", "a/2", "b", "c/d/1", "c/e", "z"] {
        store.put(&Path::from(name), name.into()).await.unwrap();
    }
    let folded = store.list_with_delimiter(None).await.unwrap();
    let keys: Vec<_> = folded.objects.iter().map(|object| object.location.as_ref()).collect();
    let prefixes: Vec<_> = folded.common_prefixes.iter().map(Path::as_ref).collect();
    assert_eq!((keys, prefixes), (vec!["b", "z"], vec!["a", "c"]));
    let all: Vec<_> = store.list(Some(&Path::from("c"))).try_collect().await.unwrap();
    let keys: Vec<_> = all.iter().map(|object| object.location.as_ref()).collect();
    assert_eq!(keys, ["c/d/1", "c/e"]);
    // Small pages, as other clients ask for them.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let open = Node::start(&root.path().join("open"), &NodeOptions { open: true, ..NodeOptions::default() });
    let base = format!("http://{}/pages", open.address("s3"));
    assert_eq!(http.put(&base).send().await.unwrap().status(), 200);
    for name in ["a/1", "a/2", "b", "c"] {
        let url = format!("{base}/{name}");
        assert_eq!(http.put(url).body(name).send().await.unwrap().status(), 200);
    }
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let url = format!("{base}?list-type=2&max-keys=1&delimiter=/{token}");
        let page = http.get(url).send().await.unwrap().text().await.unwrap();
        let between = |from: &str, to: &str| {
            page.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map(|(text, _)| text.to_owned())
        };
        let prefix = between("<CommonPrefixes><Prefix>", "</Prefix>");
        found.push(between("<Key>", "</Key>").or(prefix).expect(&page));
        match between("<NextContinuationToken>", "</NextContinuationToken>") {
            Some(next) => token = format!("&continuation-token={next}"),
            None => break,
        }
    }
    assert_eq!(found, ["a/", "b", "c"]);
    assert!(node.stop().success() && open.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_leave_and_gets_none_finds_the_connection_closed() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions { open: true, ..NodeOptions::default() });
    let mut connection = BufReader::new(TcpStream::connect(node.address("s3")).await.unwrap());
    // A body that is taken keeps the connection, an empty one does not.
    for (path, body) in [("/waits", ""), ("/waits/key", "body"), ("/waits/key", "")] {
        let request = format!(
            "PUT {path} HTTP/1.1\r\nhost: {}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            node.address("s3"),
            body.len()
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = head(&mut connection).await;
        if answer.starts_with("http/1.1 100") {
            connection.write_all(body.as_bytes()).await.unwrap();
            answer = head(&mut connection).await;
            assert!(!body.is_empty(), "leave to send nothing");
        }
        assert_eq!(answer.contains("connection: close\r\n"), body.is_empty(), "{path}: {answer}");
        if body.is_empty() {
            connection = BufReader::new(TcpStream::connect(node.address("s3")).await.unwrap());
        }
    }
    assert!(node.stop().success());
}

/// The head of an answer, in small letters.
async fn head(connection: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(connection.read_line(&mut head).await.unwrap(), 0, "closed within {head}");
    }
    head.to_lowercase()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let (node, store) = mesh(root.path()).await;
    let key = Path::from("secret");
    store.put(&key, "content".into()).await.unwrap();
    let admin = node.admin();
    let reader = enrol(&node, "nobody", &[]).await;
    let reader_key = reader.api.create_s3_key("nobody", "own").await.unwrap();
    let admin_key = admin.create_s3_key("admin", "second").await.unwrap();
    let tampered = format!("{}0", &admin_key.key[..admin_key.key.len() - 1]);
    let tampered = if tampered == admin_key.key { format!("1{}", &tampered[1..]) } else { tampered };
    for (who, client, expected) in [
        ("unsigned", builder(&node).with_skip_signature(true).build().unwrap(), "NoSuchBucket"),
        ("a wrong secret", signed(&node, (&admin_key.id, &tampered)), "SignatureDoesNotMatch"),
        ("an unknown key", signed(&node, ("CMS3FFFFFFFFFFFFFFFF", &admin_key.key)), "InvalidAccessKeyId"),
        ("a bearer's key", signed(&node, ("admin", &node.admin_token())), "InvalidAccessKeyId"),
        ("without permission", signed(&node, (&reader_key.id, &reader_key.key)), "NoSuchBucket"),
    ] {
        assert_eq!(code(client.get(&key).await), expected, "{who} reads");
        assert_eq!(code(client.put(&key, "x".into()).await), expected, "{who} writes");
    }
    // Each is in the log, with whose key it was where there is such a key.
    let refused = admin.newest_events(20, &[("verb", "s3-signature.refused".to_owned())]).await.unwrap();
    let told = |reason: &str, resource: serde_json::Value, key: &str| {
        refused.iter().any(|event| {
            event["outcome"] == "denied"
                && event["actor"].is_null()
                && event["resource"] == resource
                && event["facts"]["reason"] == reason
                && event["facts"]["api_key"] == key
        })
    };
    assert!(told("SignatureDoesNotMatch", "principal/admin".into(), &admin_key.id), "{refused:?}");
    assert!(told("InvalidAccessKeyId", json!(null), "CMS3FFFFFFFFFFFFFFFF"), "{refused:?}");
    assert!(!format!("{refused:?}").contains(&admin_key.key[8..]), "a secret is in the log");
    // However many there are: the log is no weapon.
    for _ in 0..40 {
        let wrong = signed(&node, (&admin_key.id, &tampered));
        assert_eq!(code(wrong.get(&key).await), "SignatureDoesNotMatch");
    }
    let refused = admin.newest_events(100, &[("verb", "s3-signature.refused".to_owned())]).await.unwrap();
    assert!((4..40).contains(&refused.len()), "{}", refused.len());
    let second = signed(&node, (&admin_key.id, &admin_key.key));
    assert!(read(&second, "secret").await == "content".as_bytes());
    let keys = admin.api_keys("admin").await.unwrap();
    assert!(keys.iter().any(|key| key.id == admin_key.id && key.kind == "s3"), "{keys:?}");
    admin.revoke_api_key("admin", &admin_key.id).await.unwrap();
    assert_eq!(code(second.get(&key).await), "InvalidAccessKeyId");
    // An S3 key opens nothing but S3, and no secret lies about.
    let stolen = node.api(Some(format!("cmk_{}_{}", reader_key.id, reader_key.key)));
    assert!(stolen.whoami().await.is_err());
    let mut files = vec![node.data_dir().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(bytes) = std::fs::read(&path) {
            let secret = reader_key.key.as_bytes();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
        }
    }
    let missing = builder(&node).with_bucket_name("missing");
    let missing = missing.with_access_key_id(&reader_key.id).with_secret_access_key(&reader_key.key);
    assert_eq!(
        code(missing.build().unwrap().get(&key).await),
        "NoSuchBucket",
        "nobody finds out what exists"
    );
    let log = node.log();
    assert!(!log.contains("ERROR") && !log.contains(&reader_key.key), "{log}");
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_open_mode_any_signature_will_do() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions { open: true, ..NodeOptions::default() });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://{}", node.address("s3"));
    assert_eq!(http.put(format!("{base}/{BUCKET}")).send().await.unwrap().status(), 200);
    let store = signed(&node, ("anything", "goes"));
    store.put(&Path::from("k"), "content".into()).await.unwrap();
    assert!(read(&store, "k").await == "content".as_bytes());
    // A framed body is the content without its frame, and is compared with its checksum.
    let framed = |sum: &str| format!("7\r\ncontent\r\n0\r\nx-amz-checksum-crc32:{sum}\r\n\r\n");
    for (sum, status) in [("39RjFg==", 400), ("", 400)] {
        let answer = http
            .put(format!("{base}/{BUCKET}/framed"))
            .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .header("x-amz-decoded-content-length", "7")
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .header("content-encoding", "aws-chunked")
            .body(framed(sum))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{}", answer.text().await.unwrap());
    }
    let answer = http
        .put(format!("{base}/{BUCKET}/framed"))
        .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("x-amz-decoded-content-length", "7")
        .body("7\r\ncontent\r\n0\r\n\r\n")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(read(&store, "framed").await == "content".as_bytes());
    let foreign = http.get(&base).header("host", "evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    assert!(foreign.text().await.unwrap().contains("<Code>AccessDenied</Code>"));
    assert!(node.stop().success());
}

/// Whatever S3 keeps of an object is what the native API knows of it.
#[tokio::test]
async fn versions_are_the_same_by_s3_and_natively() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions { open: true, ..NodeOptions::default() });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://{}/{BUCKET}", node.address("s3"));
    let native = format!("{}/api/v1/buckets/{BUCKET}", node.url());
    let keep = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    for (at, body) in [("", ""), ("?versioning", keep)] {
        let answer = http.put(format!("{base}{at}")).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }
    let mut versions = Vec::new();
    for body in ["first", "second"] {
        let answer = http.put(format!("{base}/a/k")).body(body).send().await.unwrap();
        versions.push(answer.headers()["x-amz-version-id"].to_str().unwrap().to_owned());
    }
    let answer = http.delete(format!("{base}/a/k")).send().await.unwrap();
    assert_eq!(answer.headers()["x-amz-delete-marker"], "true");
    let listed = http.get(format!("{native}/versions")).send().await.unwrap().text().await.unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let seen: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["is_delete_marker"].as_bool().unwrap(), item["is_latest"].as_bool().unwrap()))
        .collect();
    assert_eq!(seen, [(true, true), (false, false), (false, false)]);
    for (version, expected) in versions.iter().zip(["first", "second"]) {
        let by_s3 = http.get(format!("{base}/a/k?versionId={version}")).send().await.unwrap();
        assert_eq!(by_s3.text().await.unwrap(), expected);
        let natively = http.get(format!("{native}/versions/{version}/a/k")).send().await.unwrap();
        assert_eq!(natively.text().await.unwrap(), expected);
    }
    let mark = listed[0]["version"].as_str().unwrap();
    let removed = http.delete(format!("{native}/versions/{mark}/a/k")).send().await.unwrap();
    assert_eq!(removed.status(), 204);
    assert_eq!(http.get(format!("{base}/a/k")).send().await.unwrap().text().await.unwrap(), "second");
}

/// A measure counts once it is known who signed: whoever administers the first tenant is refused nowhere.
#[tokio::test]
async fn measures_refuse_whoever_signed_but_administrators() {
    let root = tempfile::tempdir().unwrap();
    let (node, store) = mesh(root.path()).await;
    let admin = node.admin();
    let role = json!({ "id": "reader", "name": "reader", "permissions": ["object:read", "bucket:list"] });
    admin.create(ResourceKind::Role, &role).await.unwrap();
    admin.create(ResourceKind::Principal, &json!({ "id": "rita", "roles": ["reader"] })).await.unwrap();
    let key = admin.create_s3_key("rita", "test").await.unwrap();
    let rita = signed(&node, (&key.id, &key.key));
    let path = Path::from("k");
    store.put(&path, Bytes::from_static(b"content").into()).await.unwrap();
    rita.get(&path).await.unwrap();
    let measure = json!({ "source": "127.0.0.1", "effect": "deny" });
    admin.create(ResourceKind::Measure, &measure).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while rita.get(&path).await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "the measure is not followed");
        tokio::task::yield_now().await;
    }
    assert_eq!(code(rita.get(&path).await), "AccessDenied");
    assert_eq!(read(&store, "k").await, Bytes::from_static(b"content"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_are_hosts_below_a_domain() {
    let root = tempfile::tempdir().unwrap();
    let set = vec!["s3.domain=s3.test".to_owned()];
    let node = Node::start(root.path(), &NodeOptions { set, ..NodeOptions::default() });
    let key = node.admin().create_s3_key("admin", "test").await.unwrap();
    let address: std::net::SocketAddr = node.address("s3").parse().unwrap();
    let http = reqwest::Client::builder().no_proxy().resolve("scans.s3.test", address);
    let http = http.resolve("s3.test", address).build().unwrap();
    let hosted = builder(&node)
        .with_endpoint(format!("http://scans.s3.test:{}", address.port()))
        .with_virtual_hosted_style_request(true)
        .with_access_key_id(&key.id)
        .with_secret_access_key(&key.key)
        .build()
        .unwrap();
    let by_path = signed(&node, (&key.id, &key.key));
    let url = async |method: reqwest::Method, key: &str| {
        let soon = Duration::from_secs(60);
        hosted.signed_url(method, &Path::parse(key).unwrap(), soon).await.unwrap()
    };
    node.admin().create(ResourceKind::Bucket, &json!({ "name": BUCKET })).await.unwrap();
    let put = url(reqwest::Method::PUT, "a/b c").await;
    assert_eq!(put.host_str(), Some("scans.s3.test"));
    let answer = http.put(put.clone()).body("by host").send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    assert_eq!(read(&by_path, "a/b c").await, "by host");
    let answer = http.get(url(reqwest::Method::GET, "a/b c").await).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "by host"));
    // A signature is for one address: neither another key nor another host has it.
    let other = put.as_str().replace("a/b", "a/c");
    assert_eq!(http.put(&other).body("x").send().await.unwrap().status(), 403);
    let other = put.as_str().replace("//scans.s3.test", "//s3.test");
    assert_eq!(http.put(&other).body("x").send().await.unwrap().status(), 403);
    let unsigned = http.get(put.as_str().split('?').next().unwrap()).send().await.unwrap();
    assert!(unsigned.status().is_client_error(), "{}", unsigned.status());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_may_be_seconds_and_a_location_is_given_back() {
    let root = tempfile::tempdir().unwrap();
    let set = ["objects.lifecycle_every=1", "objects.lifecycle_day=1", "s3.domain=s3.localhost"];
    let set = set.map(str::to_owned).to_vec();
    let node = Node::start(root.path(), &NodeOptions { set, open: true, ..NodeOptions::default() });
    let url = |path: &str| format!("http://{}/{path}", node.address("s3"));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let put = async |path: &str, body: &str| {
        let answer = http.put(url(path)).body(body.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let get = async |path: &str| http.get(url(path)).send().await.unwrap().text().await.unwrap();
    let wanted = |location: &str| {
        format!(
            "<CreateBucketConfiguration><LocationConstraint>{location}</LocationConstraint></CreateBucketConfiguration>"
        )
    };
    let made = put("scans", &wanted("eu-north-1")).await;
    assert_eq!(made.0, 200, "{}", made.1);
    assert_eq!(put("plain", "").await.0, 200);
    let refused = put("nowhere", &wanted("eu north")).await;
    assert!(refused.0 == 400 && refused.1.contains("InvalidLocationConstraint"), "{refused:?}");
    assert!(get("scans?location").await.contains(">eu-north-1<"));
    assert!(!get("plain?location").await.contains("eu-north-1"));
    let head = http.head(url("scans")).send().await.unwrap();
    assert_eq!(head.headers()["x-amz-bucket-region"], "eu-north-1");
    assert!(get("").await.contains("eu-north-1"));

    assert_eq!(put("scans/old/a", "soon gone").await.0, 200);
    assert_eq!(put("scans/new/a", "kept").await.0, 200);
    let rules = "<LifecycleConfiguration><Rule><ID>r</ID><Filter><Prefix>old/</Prefix></Filter><Status>Enabled</Status>\
                 <Expiration><Days>2</Days></Expiration></Rule></LifecycleConfiguration>";
    let set = put("scans?lifecycle", rules).await;
    assert_eq!(set.0, 200, "{}", set.1);
    let (end, mut ticks) = (Instant::now() + DEADLINE, tokio::time::interval(Duration::from_millis(200)));
    while http.get(url("scans/old/a")).send().await.unwrap().status() != 404 {
        assert!(Instant::now() < end, "the rule is not followed");
        ticks.tick().await;
    }
    assert_eq!(get("scans/new/a").await, "kept");
}
