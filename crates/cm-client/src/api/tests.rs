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
