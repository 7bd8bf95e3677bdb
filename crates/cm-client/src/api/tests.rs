use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use cm_types::{BucketName, ObjectKey};

use super::*;

/// How long the impatient client of these tests waits.
const BRIEF: Duration = Duration::from_millis(50);

fn node(read_timeout: Duration) -> (TcpListener, Api) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let location = Location { url, token: None, token_file: "unused".into() };
    (listener, Api::with_read_timeout(location, read_timeout).unwrap())
}

/// Reads the head of a request and returns its first line.
fn head(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.take_while(|line| !line.is_empty()).reduce(|first, _| first).unwrap()
}

fn answer(mut stream: &TcpStream, status: &str, body: &str) {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .unwrap();
}

#[tokio::test]
async fn a_verification_outlasts_the_patience_with_other_calls() {
    let (listener, api) = node(BRIEF);
    let (arrive, arrived) = tokio::sync::oneshot::channel();
    let (give_up, given_up) = mpsc::channel();
    let server = std::thread::spawn(move || {
        let (verification, _) = listener.accept().unwrap();
        assert!(head(&verification).starts_with("POST /api/v1/objects/verify "));
        arrive.send(()).unwrap();
        let (_silent, _) = listener.accept().unwrap();
        given_up.recv().unwrap();
        answer(&verification, "200 OK", r#"{"intact":true,"objects":1,"findings":[]}"#);
    });
    // The other call begins after the verification has arrived, and ends before that is answered.
    let impatient = async {
        arrived.await.unwrap();
        let outcome = api.get::<serde_json::Value>("/api/v1/node").await;
        give_up.send(()).unwrap();
        outcome
    };
    let (verified, impatient) = tokio::join!(api.verify_objects(), impatient);
    assert!(matches!(impatient, Err(ClientError::Unreachable { .. })), "{impatient:?}");
    assert!(verified.unwrap().intact);
    server.join().unwrap();
}

#[tokio::test]
async fn what_the_node_says_of_an_upload_counts_more_than_a_broken_connection() {
    let (listener, api) = node(READ_TIMEOUT);
    let server = std::thread::spawn(move || {
        let (mut upload, _) = listener.accept().unwrap();
        upload.read_exact(&mut [0; 8]).unwrap();
        drop(upload);
        let (question, _) = listener.accept().unwrap();
        let asked = head(&question);
        answer(&question, "404 Not Found", r#"{"error":{"code":"not-found","message":"no bucket"}}"#);
        asked
    });
    let (bucket, key) = (BucketName::parse("absent").unwrap(), ObjectKey::parse("key").unwrap());
    let body = tokio::io::AsyncReadExt::take(tokio::io::repeat(7), 64 << 20);
    let outcome = api.put_object(&bucket, &key, body, Some(64 << 20), None).await;
    assert_eq!(outcome.unwrap_err().exit_code(), 4);
    assert!(server.join().unwrap().starts_with("PUT /api/v1/buckets/absent/objects/key "));
}

#[test]
fn no_name_leaves_its_place() {
    let (_, api) = node(BRIEF);
    let path =
        |key: &str| crate::objects::item(&BucketName::parse("box").unwrap(), &ObjectKey::parse(key).unwrap());
    for (key, expected) in [
        ("a b/ä.bin", "a%20b/%C3%A4.bin"),
        ("a//b/", "a//b/"),
        ("/a", "/a"),
        ("...", "..."),
        ("a/%2e%2E/b", "a/%252e%252E/b"),
        ("a/../b", "a%2F..%2Fb"),
        ("./a", ".%2Fa"),
        ("x/../../../../principals/vic", "x%2F..%2F..%2F..%2F..%2Fprincipals%2Fvic"),
        ("a\\..\\b", "a%5C..%5Cb"),
    ] {
        let url = api.address(&path(key)).unwrap();
        assert_eq!(url.path(), format!("/api/v1/buckets/box/objects/{expected}"));
    }
    for leading_away in [
        path(".."),
        path("."),
        format!("/api/v1/principals/{}", segment("..")),
        format!("/api/v1/buckets/{}/quota?x=y", segment(".")),
        "/api/v1/buckets/box/objects/%2e%2E/key".to_owned(),
        "/api/v1/principals/vic#".to_owned(),
    ] {
        let error = api.request(Method::GET, &leading_away).unwrap_err();
        assert!(matches!(error, ClientError::Unaddressable(_)), "{leading_away}: {error:?}");
        assert_eq!(error.exit_code(), 2);
    }
    let behind = Location { url: "http://h:80/a/../mesh".into(), token: None, token_file: "unused".into() };
    let url = Api::new(behind).unwrap().address("/api/v1/node?x=a/../b").unwrap();
    assert_eq!(url.as_str(), "http://h/mesh/api/v1/node?x=a/../b");
}

#[tokio::test]
async fn what_cannot_be_reached_is_named_once() {
    let (listener, api) = node(READ_TIMEOUT);
    drop(listener);
    let error = api.get::<serde_json::Value>("/api/v1/node").await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.source().is_none(), "{source:?}");
    let said = format!("{error}: {source}");
    assert!(said.matches(api.url()).count() == 1 && said.contains("refused"), "{said}");
}

#[tokio::test]
async fn a_small_file_that_is_written_to_becomes_no_object() {
    let (_listener, api) = node(READ_TIMEOUT);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "content").unwrap();
    std::fs::File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let file = crate::SteadyFile::open(&path).unwrap();
    std::fs::write(&path, "CONTENT").unwrap();
    let (bucket, key) = (BucketName::parse("box").unwrap(), ObjectKey::parse("key").unwrap());
    let outcome = api.put_file(&bucket, &key, file, None).await;
    assert!(matches!(outcome, Err(ClientError::FileChanged(_))), "{outcome:?}");
}

/// Answers requests for ten bytes: each time with so many of those that are asked for, and then breaks off. The heads.
fn breaking_off(
    listener: TcpListener,
    sends: Vec<usize>,
    at_last: &'static str,
) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut heads = Vec::new();
        for sent in sends {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(&stream).lines().map(Result::unwrap);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let head = head.join("\n").to_lowercase();
            let from: Option<usize> =
                head.split("bytes=").nth(1).and_then(|rest| rest.split('-').next()?.parse().ok());
            let (status, left) = from.map_or(("200 OK", 10), |from| ("206 Partial Content", 10 - from));
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {left}\r\netag: \"t\"\r\n\r\n").unwrap();
            stream.write_all(&b"0123456789"[10 - left..][..sent]).unwrap();
            heads.push(head);
        }
        let (stream, _) = listener.accept().unwrap();
        heads.push(head(&stream));
        answer(&stream, "500 Internal Server Error", at_last);
        heads
    })
}

async fn read(api: &Api) -> (Vec<u8>, Result<(), ClientError>) {
    let (bucket, key) = (BucketName::parse("box").unwrap(), ObjectKey::parse("key").unwrap());
    let (mut all, mut download) = (Vec::new(), api.get_object(&bucket, &key).await.unwrap());
    loop {
        match download.next().await {
            Ok(Some(piece)) => all.extend_from_slice(&piece),
            Ok(None) => return (all, Ok(())),
            Err(error) => return (all, Err(error)),
        }
    }
}

#[tokio::test]
async fn a_node_that_breaks_off_is_asked_for_the_rest_and_says_why() {
    let (listener, api) = node(READ_TIMEOUT);
    let damaged = r#"{"error":{"code":"internal","message":"it is damaged"}}"#;
    let server = breaking_off(listener, vec![4, 2], damaged);
    let (all, outcome) = read(&api).await;
    assert_eq!(all, b"012345");
    assert_eq!(outcome.unwrap_err().to_string(), "it is damaged");
    let heads = server.join().unwrap();
    assert!(heads[1].contains("range: bytes=4-") && heads[1].contains("if-match: \"t\""), "{}", heads[1]);

    let (listener, api) = node(READ_TIMEOUT);
    let server = breaking_off(listener, vec![4, 3, 3], "");
    assert!(matches!(read(&api).await, (all, Ok(())) if all == b"0123456789"));
    // The server waits for one request more.
    api.get_text("/end").await.unwrap_err();
    server.join().unwrap();

    let (listener, api) = node(READ_TIMEOUT);
    let server = breaking_off(listener, vec![4, 0, 0], "");
    let (_, outcome) = read(&api).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, ClientError::BrokenOff { received: 4, .. }), "{error:?}");
    assert!(error.to_string().contains("object verify"), "{error}");
    api.get_text("/end").await.unwrap_err();
    server.join().unwrap();
}
