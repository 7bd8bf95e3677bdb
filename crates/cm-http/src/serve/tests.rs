use axum::routing::get;
use cm_runtime::Drained;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    tasks: Tasks,
    address: SocketAddr,
    serving: cm_runtime::JoinHandle<()>,
}

async fn start(router: Router, limits: ServerLimits) -> Server {
    let tasks = Tasks::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tasks.spawn("serve", {
        let tasks = tasks.clone();
        async move { serve(listener, router, limits, &tasks).await }
    });
    Server { tasks, address, serving }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn an_open_request_is_finished_and_then_the_server_ends() {
    let (began, mut has_begun) = mpsc::channel(1);
    let (go_on, may_go_on) = watch::channel(false);
    let handler = move || {
        let (began, mut may_go_on) = (began.clone(), may_go_on.clone());
        async move {
            began.send(()).await.unwrap();
            may_go_on.wait_for(|go| *go).await.unwrap();
            "finished"
        }
    };
    let server = start(Router::new().route("/", get(handler)), ServerLimits::default()).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    has_begun.recv().await.unwrap();

    server.tasks.token().cancel();
    tokio::time::timeout(PATIENCE, async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the listener is closed while draining");
    go_on.send(true).unwrap();
    assert!(read_all(&mut client).await.ends_with("finished"));
    tokio::time::timeout(PATIENCE, server.serving).await.unwrap().unwrap();
    assert_eq!(server.tasks.drain(PATIENCE).await, Drained::All);
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off() {
    let (began, mut has_begun) = mpsc::channel(1);
    let handler = move || {
        let began = began.clone();
        async move {
            began.send(()).await.unwrap();
            std::future::pending::<()>().await;
        }
    };
    let limits = ServerLimits { drain: Duration::from_millis(20), ..ServerLimits::default() };
    let server = start(Router::new().route("/", get(handler)), limits).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    has_begun.recv().await.unwrap();
    server.tasks.token().cancel();
    assert_eq!(read_all(&mut client).await, "");
    tokio::time::timeout(PATIENCE, server.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn silence_is_not_waited_for() {
    let limits = ServerLimits { header_read: Duration::from_millis(20), ..ServerLimits::default() };
    let server = start(Router::new(), limits).await;
    for words in ["", "PRI", "GET / HTTP/1.1\r\nhost:"] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(words.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = client.read_to_end(&mut answer);
        // The peer may close or reset; both end the wait.
        let _closed = tokio::time::timeout(PATIENCE, read).await.expect(words);
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let limits = ServerLimits { connections_max: 1, ..ServerLimits::default() };
    let server = start(Router::new().route("/", get(|| async { "hello" })), limits).await;
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let first = TcpStream::connect(server.address).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(request).await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(50), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second was served beside the first");
    drop(first);
    assert!(read_all(&mut second).await.ends_with("hello"));
}

#[tokio::test]
async fn a_client_that_sends_all_of_a_refused_body_gets_the_refusal() {
    let refuse = || async { axum::http::StatusCode::PAYLOAD_TOO_LARGE };
    let server = start(Router::new().route("/", axum::routing::put(refuse)), ServerLimits::default()).await;
    let body = vec![7; 16 << 20];
    let head = format!("PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&body).await.expect("the connection was reset");
    assert!(read_all(&mut client).await.starts_with("HTTP/1.1 413 "));

    // Whoever goes on for ever is not listened to for ever.
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000000\r\n\r\n").await.unwrap();
    let endless = async { while client.write_all(&body).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, endless).await.expect("a refused body is read without end");
}
