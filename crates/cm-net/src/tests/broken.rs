use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cm_runtime::{CancellationToken, Tasks};
use futures::future::join_all;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsConnector, TlsStream};
use yamux::Mode;

use super::{ECHO, LONG, Node, config, contact, eventually, id, identity, nowhere, pair};
use crate::connection::{Connection, Opener};
use crate::frame::{Form, Frame, Head, MESSAGE_LEN_MAX};
use crate::{Config, Identity, Kind, LinkError, LinkState, Refusal, trust};

const SLOW: Kind = Kind::new("test.slow");

/// A peer that does not keep to the rules: a connection without a `Links` behind it.
async fn rogue(identity: &Identity, to: &Node, tasks: &Tasks) -> Opener {
    let config = trust::caller(identity, to.identity.key(), trust::PROTOCOL).unwrap();
    let stream = TcpStream::connect(to.address).await.unwrap();
    let name = ServerName::try_from("x.invalid").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (mut connection, opener) = Connection::new(TlsStream::from(stream), Mode::Client, &Config::default());
    tasks.spawn("rogue", async move {
        let _ = connection.drive(drop).await;
    });
    opener
}

async fn node_with_rogue(config: Config) -> (Node, Opener, Tasks) {
    let (node, identity, tasks) = (Node::start("b", config).await, identity(), Tasks::new());
    node.knows(&[(id("rogue"), contact(identity.key(), nowhere()))]);
    let opener = rogue(&identity, &node, &tasks).await;
    (node, opener, tasks)
}

fn head(kind: Kind, body_len: usize) -> Vec<u8> {
    let head = Head { form: Form::Request, kind: kind.to_string(), timeout_ms: 60_000, body_len };
    head.encode().to_vec()
}

/// What comes back for these bytes; `None` for a reset.
async fn answer(opener: &Opener, bytes: &[u8]) -> Option<Frame> {
    let mut stream = opener.open().await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    tokio::time::timeout(LONG, Frame::read(&mut stream, 1 << 20)).await.unwrap().ok()
}

#[tokio::test]
async fn half_a_message_and_none_harm_nobody() {
    let (node, opener, _tasks) = node_with_rogue(config()).await;
    let whole = [&head(ECHO, 3)[..], b"abc"].concat();
    for cut in 0..whole.len() {
        let mut stream = opener.open().await.unwrap();
        stream.write_all(&whole[..cut]).await.unwrap();
        stream.flush().await.unwrap();
    }
    assert_eq!(answer(&opener, &[9; 40]).await, None);
    assert_eq!(answer(&opener, &[1, 200, 0]).await, None);
    assert_eq!(answer(&opener, &[1, 1, b'!', 0, 0, 0, 1, 0, 0, 0, 0]).await, None);
    // Longer than can be announced, and longer than the kind takes: without a byte of it being awaited.
    let mut huge = head(ECHO, MESSAGE_LEN_MAX);
    assert_eq!(answer(&opener, &huge).await, Some(Frame::Refused(Refusal::TooLong)));
    let len = huge.len();
    huge[len - 4..].fill(0xff);
    assert_eq!(answer(&opener, &huge).await, None);
    assert_eq!(answer(&opener, &whole).await, Some(Frame::End(Bytes::from("abc"))));
    assert_eq!(node.links.counters().accepted, 1, "all on one connection");
    node.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_awaited_for_ever() {
    let stalled_after = Duration::from_millis(50);
    let (node, opener, _tasks) = node_with_rogue(Config { stalled_after, ..config() }).await;
    assert_eq!(answer(&opener, &[&head(ECHO, 3)[..], b"ab"].concat()).await, None);
    assert_eq!(answer(&opener, &head(ECHO, 3)[..5]).await, None);
    node.stop().await;
}

#[tokio::test]
async fn a_flood_of_requests_is_refused_beyond_the_limit() {
    let (node, opener, _tasks) = node_with_rogue(Config { exchanges_per_peer_max: 8, ..config() }).await;
    let release = CancellationToken::new();
    let wait = release.clone();
    let handler = move |_, body| {
        let wait = wait.clone();
        async move {
            wait.cancelled().await;
            Ok(body)
        }
    };
    node.links.on_request(SLOW, 0, handler).unwrap();
    let asked = head(SLOW, 0);
    let flood = join_all((0..20).map(|_| answer(&opener, &asked)));
    let released = async {
        // Eight are being answered; the other twelve have been refused.
        assert!(eventually(|| node.links.counters().refused == 12).await);
        release.cancel();
    };
    let (answers, ()) = tokio::join!(flood, released);
    let busy = answers.iter().filter(|one| **one == Some(Frame::Refused(Refusal::Busy))).count();
    let done = answers.iter().filter(|one| **one == Some(Frame::End(Bytes::new()))).count();
    assert_eq!((busy, done), (12, 8));
    // Far beyond, the connection ends; the node goes on.
    let streams = join_all((0..40).map(|_| async {
        let mut stream = opener.open().await?;
        stream.write_all(&asked[..3]).await.ok()?;
        stream.flush().await.ok()?;
        stream.read_u8().await.ok()
    }));
    assert!(tokio::time::timeout(LONG, streams).await.unwrap().iter().all(Option::is_none));
    node.stop().await;
}

#[tokio::test]
async fn memory_for_requests_is_bounded_over_all_peers() {
    let (node, opener, _tasks) = node_with_rogue(Config { request_kib_max: 200, ..config() }).await;
    let mut stream = opener.open().await.unwrap();
    stream.write_all(&head(ECHO, 80 * 1024)).await.unwrap();
    stream.flush().await.unwrap();
    assert!(eventually(|| node.links.counters().served >= 1).await);
    let body = vec![0; 80 * 1024];
    let busy = answer(&opener, &[&head(ECHO, body.len())[..], &body].concat()).await;
    assert_eq!(busy, Some(Frame::Refused(Refusal::Busy)));
    stream.write_all(&body).await.unwrap();
    stream.flush().await.unwrap();
    assert!(
        matches!(Frame::read(&mut stream, 1 << 20).await, Ok(Frame::End(answer)) if answer.len() == body.len())
    );
    assert!(matches!(
        answer(&opener, &[&head(ECHO, body.len())[..], &body].concat()).await,
        Some(Frame::End(_))
    ));
    node.stop().await;
}

#[tokio::test]
async fn callers_that_say_nothing_leave_room_for_others() {
    let limits =
        Config { handshakes_per_address_max: 4, connect_timeout: Duration::from_millis(300), ..config() };
    let (a, b) = (Node::start("a", config()).await, Node::start("b", limits).await);
    let mut mute = Vec::new();
    for _ in 0..20 {
        mute.push(TcpStream::connect(b.address).await.unwrap());
    }
    assert!(eventually(|| b.links.counters().turned_away >= 16).await);
    b.knows(&[a.contact()]);
    a.knows(&[b.contact()]);
    assert!(eventually(|| a.links.status(&b.id).is_some()).await);
    assert!(a.links.wait_up(&b.id, LONG).await, "the mute ones are out of time");
    drop(mute);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_peer_that_comes_back_is_found_again() {
    let (a, b) = pair().await;
    let (b_id, b_identity, b_address) = (b.id.clone(), b.identity.clone(), b.address);
    let stuck = Kind::new("test.stuck");
    let begun = CancellationToken::new();
    let begins = begun.clone();
    let handler = move |_, _| {
        begins.cancel();
        std::future::pending()
    };
    b.links.on_request(stuck, 0, handler).unwrap();
    let asking = a.links.request(&b_id, stuck, Bytes::new(), LONG);
    let stopping = async {
        begun.cancelled().await;
        b.stop().await;
    };
    let (asked, ()) = tokio::join!(asking, stopping);
    let error = asked.unwrap_err();
    assert!(matches!(error, LinkError::Lost(_)) && error.may_have_run(), "{error:?}");
    assert!(eventually(|| a.links.status(&b_id).unwrap().state == LinkState::Down).await);
    let error = a.links.request(&b_id, ECHO, Bytes::new(), LONG).await.unwrap_err();
    assert!(matches!(error, LinkError::Unreachable(_)) && !error.may_have_run(), "{error:?}");
    let b = Node::start_at("b", config(), b_identity, b_address).await;
    b.knows(&[a.contact()]);
    assert!(a.links.wait_up(&b_id, LONG).await);
    assert_eq!(a.links.request(&b_id, ECHO, Bytes::from("again"), LONG).await.unwrap(), "again");
    assert!(a.links.counters().connected >= 2);
    a.stop().await;
    b.stop().await;
}

/// Passes bytes on until it is told to stop passing anything, with the connections open.
async fn frozen_path(to: SocketAddr, tasks: &Tasks) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (address, frozen) = (listener.local_addr().unwrap(), CancellationToken::new());
    let (freeze, spawner) = (frozen.clone(), tasks.clone());
    tasks.spawn("path", async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let freeze = freeze.clone();
            spawner.spawn("path", async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = freeze.cancelled() => std::future::pending().await,
                }
            });
        }
    });
    (address, frozen)
}

#[tokio::test]
async fn a_peer_that_falls_silent_counts_as_down() {
    let quick = Config { probe_timeout: Duration::from_millis(200), ..config() };
    let (a, b) = (Node::start("a", quick.clone()).await, Node::start("b", quick).await);
    let tasks = Tasks::new();
    let (path, frozen) = frozen_path(b.address, &tasks).await;
    b.knows(&[(a.id.clone(), contact(a.identity.key(), nowhere()))]);
    a.knows(&[(b.id.clone(), contact(b.identity.key(), path))]);
    assert!(eventually(|| a.links.status(&b.id).is_some()).await);
    assert!(a.links.wait_up(&b.id, LONG).await);
    frozen.cancel();
    assert!(eventually(|| a.links.status(&b.id).unwrap().state == LinkState::Down).await);
    a.stop().await;
    // The other end notices too, without the connection ever being closed.
    b.stop().await;
}
