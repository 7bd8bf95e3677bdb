//! Over real sockets, frame by frame: what goes over the wire is the standard's business, and not that of a client's library.

use std::future::pending;

use axum::Router;
use axum::routing::any;
use futures::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::*;

const LONG: Duration = Duration::from_secs(30);
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A socket that follows these messages, and then nothing; what ends its node; the server.
async fn opened(
    messages: Vec<String>,
    ends: bool,
    ping_every: Duration,
) -> (TcpStream, oneshot::Sender<()>, JoinSet<()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = Arc::new(std::sync::Mutex::new(Some(stopped)));
    let handler = move |upgrade: WebSocketUpgrade| {
        let told = stream::iter(messages.clone());
        let rest = stream::once(async move { if ends { None } else { pending::<Option<String>>().await } });
        let told = told.map(Some).chain(rest).take_while(|text| std::future::ready(text.is_some()));
        let told = told.filter_map(std::future::ready);
        let stopped = stopped.lock().unwrap().take().unwrap();
        async move {
            let permit = sockets().try_acquire_owned().unwrap();
            let shutdown = async move { drop(stopped.await) };
            upgrade.on_upgrade(move |socket| follow(socket, told, shutdown, ping_every, permit))
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving
        .spawn(async move { axum::serve(listener, Router::new().route("/", any(handler))).await.unwrap() });
    let mut socket = TcpStream::connect(address).await.unwrap();
    let asked = "GET / HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(asked.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(LONG, socket.read_u8()).await.expect("an answer comes").unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // RFC 6455, section 1.3.
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    (socket, stop, serving)
}

async fn frame(socket: &mut TcpStream) -> (u8, Vec<u8>) {
    let reading = async {
        let (kind, len) = (socket.read_u8().await.unwrap(), socket.read_u8().await.unwrap());
        assert!(len < 126, "short frames, without a mask");
        let mut body = vec![0; usize::from(len)];
        socket.read_exact(&mut body).await.unwrap();
        (kind, body)
    };
    timeout(LONG, reading).await.expect("a frame comes")
}

/// Sends a frame of a client, whose mask changes nothing.
async fn say(socket: &mut TcpStream, kind: u8, body: &[u8]) {
    let mut frame = vec![kind, 0x80 | u8::try_from(body.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(body);
    socket.write_all(&frame).await.unwrap();
}

fn code(body: &[u8]) -> u16 {
    u16::from_be_bytes(*body.first_chunk::<2>().unwrap())
}

#[tokio::test]
async fn messages_come_in_order_and_the_end_is_said() {
    let told = vec!["{\"state\":\"running\"}".to_owned(), "{\"state\":\"completed\"}".to_owned()];
    let (mut socket, _stop, _serving) = opened(told.clone(), true, PING_EVERY).await;
    for text in told {
        assert_eq!(frame(&mut socket).await, (TEXT, text.into_bytes()));
    }
    let (kind, body) = frame(&mut socket).await;
    assert_eq!((kind, code(&body)), (CLOSE, close_code::NORMAL));
}

#[tokio::test]
async fn pings_are_answered_and_whoever_talks_is_shown_out() {
    let (mut socket, _stop, _serving) = opened(Vec::new(), false, PING_EVERY).await;
    say(&mut socket, PING, b"alive").await;
    assert_eq!(frame(&mut socket).await, (PONG, b"alive".to_vec()));
    say(&mut socket, TEXT, b"hello").await;
    let (kind, body) = frame(&mut socket).await;
    assert_eq!((kind, code(&body)), (CLOSE, close_code::UNSUPPORTED));
}

#[tokio::test]
async fn a_node_that_goes_down_says_so() {
    let (mut socket, stop, _serving) = opened(vec!["{}".to_owned()], false, PING_EVERY).await;
    assert_eq!(frame(&mut socket).await.0, TEXT);
    stop.send(()).unwrap();
    let (kind, body) = frame(&mut socket).await;
    assert_eq!((kind, code(&body)), (CLOSE, close_code::AWAY));
}

#[tokio::test]
async fn who_does_not_answer_is_given_up() {
    let (mut socket, _stop, _serving) = opened(Vec::new(), false, Duration::from_millis(50)).await;
    assert_eq!(frame(&mut socket).await.0, PING);
    let (kind, body) = frame(&mut socket).await;
    assert_eq!((kind, code(&body)), (CLOSE, close_code::POLICY));
}

#[test]
fn pages_of_strangers_open_no_sockets() {
    let asks = |origin: Option<&'static str>, allowed: &[&'static str]| {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("node.example:19000"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        let allowed: Vec<HeaderValue> =
            allowed.iter().map(|origin| HeaderValue::from_static(origin)).collect();
        is_own_origin(&headers, &allowed)
    };
    assert!(asks(None, &[]), "no browser");
    assert!(asks(Some("http://node.example:19000"), &[]));
    assert!(asks(Some("https://NODE.example:19000"), &[]));
    for stranger in
        ["http://evil.example", "http://node.example", "http://node.example:19000.evil.example", "null"]
    {
        assert!(!asks(Some(stranger), &[]), "{stranger}");
        assert!(asks(Some(stranger), &["*"]));
    }
    assert!(asks(Some("https://desk.example"), &["https://desk.example"]));
    assert!(!asks(Some("https://desk.example"), &["https://desk.example:1"]));
}
