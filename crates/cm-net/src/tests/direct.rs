//! Connections for one conversation.

use std::sync::mpsc;
use std::time::Instant;

use super::{LONG, Node, config, id};
use crate::{Direct, LinkError};

/// Moves bytes both ways on this thread until `len` have come.
fn converse(direct: &mut Direct, mut send: &[u8], len: usize) -> Vec<u8> {
    let (mut received, mut piece, until) = (Vec::new(), vec![0; 10_000], Instant::now() + LONG);
    while received.len() < len || !send.is_empty() || !direct.flush_some().unwrap() {
        assert!(Instant::now() < until, "stuck with {} of {len} bytes", received.len());
        let taken = direct.send_some(send).unwrap();
        send = &send[taken..];
        let got = direct.receive_some(&mut piece).unwrap();
        received.extend_from_slice(&piece[..got]);
        std::thread::yield_now();
    }
    received
}

#[tokio::test(flavor = "multi_thread")]
async fn two_threads_talk_without_the_runtime_and_share_a_secret() {
    let [a, b] = [Node::start("a", config()).await, Node::start("b", config()).await];
    a.knows(&[b.contact()]);
    b.knows(&[a.contact()]);
    let (sender, receiver) = mpsc::channel();
    assert!(b.links.on_direct(move |direct| sender.send(direct).unwrap()));
    assert!(!b.links.on_direct(drop), "there is one handler");
    let mut ours = a.links.direct(&id("b"), LONG).await.unwrap();
    let far = tokio::task::spawn_blocking(move || {
        let mut theirs = receiver.recv_timeout(LONG).unwrap();
        assert_eq!(theirs.peer(), &id("a"));
        let received = converse(&mut theirs, &vec![7; 3_000_000], 2_000_000);
        (theirs, received)
    });
    let near = tokio::task::spawn_blocking(move || {
        // More than all buffers hold, in both directions at once.
        let received = converse(&mut ours, &vec![9; 2_000_000], 3_000_000);
        (ours, received)
    });
    let ((theirs, at_b), (mut ours, at_a)) = (far.await.unwrap(), near.await.unwrap());
    assert!(at_b.iter().all(|byte| *byte == 9) && at_b.len() == 2_000_000);
    assert!(at_a.iter().all(|byte| *byte == 7) && at_a.len() == 3_000_000);
    let secret = |direct: &Direct, context: &[u8]| *direct.shared_secret(b"test", context).unwrap().expose();
    assert_eq!(secret(&ours, b"1"), secret(&theirs, b"1"));
    assert_ne!(secret(&ours, b"1"), secret(&ours, b"2"));
    theirs.close();
    ours.receivable().await.unwrap();
    let ended = ours.receive_some(&mut [0; 8]).unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_have_no_conversation() {
    let [a, b] = [Node::start("a", config()).await, Node::start("b", config()).await];
    a.knows(&[b.contact()]);
    b.links.on_direct(|_| panic!("b does not know who calls"));
    // In TLS 1.3 a caller has finished before it is judged; it finds the connection closed then.
    if let Ok(mut direct) = a.links.direct(&id("b"), std::time::Duration::from_millis(500)).await {
        tokio::time::timeout(LONG, direct.receivable()).await.unwrap().unwrap();
        direct.receive_some(&mut [0; 8]).unwrap_err();
    }
    let unknown = a.links.direct(&id("c"), LONG).await.unwrap_err();
    assert!(matches!(unknown, LinkError::UnknownPeer(_)));
}
