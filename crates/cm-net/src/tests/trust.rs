use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use super::{ECHO, LONG, Node, config, contact, eventually, identity, nowhere, pair};
use crate::{Directory, LinkError, LinkState, Notice, dial, trust};

#[tokio::test]
async fn somebody_else_at_the_address_of_a_peer_learns_nothing() {
    let (a, b) = (Node::start("a", config()).await, Node::start("b", config()).await);
    let mut notices = a.links.notices();
    b.knows(&[a.contact()]);
    a.knows(&[(b.id.clone(), contact(identity().key(), b.address))]);
    let impostor = Notice::Impostor { peer: b.id.clone(), address: b.address.to_string() };
    assert_eq!(tokio::time::timeout(LONG, notices.recv()).await.unwrap(), Ok(impostor));
    let refused = a.links.request(&b.id, ECHO, Bytes::from("secret"), LONG).await;
    assert!(matches!(refused, Err(LinkError::Unreachable(_))), "{refused:?}");
    assert_eq!(b.links.counters().served, 0);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_stranger_is_turned_away_and_noticed() {
    let (a, b) = (Node::start("a", config()).await, Node::start("b", config()).await);
    let mut notices = b.links.notices();
    // The right name with a key that is not known for it.
    b.knows(&[(a.id.clone(), contact(identity().key(), nowhere()))]);
    a.knows(&[b.contact()]);
    let noticed = async { while !matches!(notices.recv().await, Ok(Notice::Stranger { .. })) {} };
    tokio::time::timeout(LONG, noticed).await.unwrap();
    assert!(eventually(|| a.links.status(&b.id).unwrap().state == LinkState::Down).await);
    let refused = a.links.request(&b.id, ECHO, Bytes::new(), LONG).await;
    assert!(matches!(refused, Err(LinkError::Unreachable(_))), "{refused:?}");
    let counted = b.links.counters();
    assert_eq!((counted.accepted, counted.served), (0, 0));
    assert!(counted.turned_away > 0);
    assert_eq!(a.links.counters().connected, 0, "up is only who was answered");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_key_that_is_taken_from_the_directory_ends_its_connections() {
    let (a, b) = pair().await;
    b.knows(&[]);
    assert!(eventually(|| a.links.status(&b.id).unwrap().state == LinkState::Down).await);
    let refused = a.links.request(&b.id, ECHO, Bytes::new(), LONG).await;
    assert!(matches!(refused, Err(LinkError::Unreachable(_))), "{refused:?}");
    let unknown = b.links.request(&a.id, ECHO, Bytes::new(), LONG).await;
    assert!(matches!(unknown, Err(LinkError::UnknownPeer(_))), "{unknown:?}");
    b.knows(&[a.contact()]);
    assert!(a.links.wait_up(&b.id, LONG).await, "and it comes back with the directory");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_node_does_not_call_itself() {
    let a = Node::start("a", config()).await;
    let (own, _) = a.contact();
    a.directory.send_replace(Arc::new(Directory::new([a.contact()]).unwrap()));
    assert!(a.links.peers().is_empty());
    assert!(a.links.status(&own).is_none());
    a.stop().await;
}

#[tokio::test]
async fn who_is_not_known_may_ask_one_question() {
    let host = Node::start("host", config()).await;
    let stranger = identity();
    let contact = contact(host.identity.key(), host.address);
    let visit = |question: &'static [u8]| {
        crate::visit(&stranger, &host.id, &contact, bytes::Bytes::from_static(question), LONG)
    };
    assert!(visit(b"?").await.is_err(), "where nobody answers guests");
    let own = stranger.key();
    assert!(host.links.on_guest(move |key, question| async move {
        if key != own || question.is_empty() {
            return Err(crate::Refusal::NotAllowed);
        }
        Ok(question)
    }));
    assert_eq!(visit(b"may I come in?").await.unwrap(), "may I come in?");
    let refused = visit(b"").await;
    assert!(
        matches!(refused, Err(crate::LinkError::Refused { refusal: crate::Refusal::NotAllowed, .. })),
        "{refused:?}"
    );
    let impostor = crate::Contact { key: identity().key(), ..contact.clone() };
    let asked = crate::visit(&stranger, &host.id, &impostor, bytes::Bytes::from_static(b"?"), LONG).await;
    assert!(
        matches!(asked, Err(crate::LinkError::Unreachable(_))),
        "a question is for the right host alone: {asked:?}"
    );
    host.stop().await;
}

#[tokio::test]
async fn guests_that_say_nothing_are_in_nobodys_way() {
    let host = Node::start("host", config()).await;
    assert!(host.links.on_guest(|_, question| async move { Ok(question) }));
    let (stranger, contact) = (identity(), contact(host.identity.key(), host.address));
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(dial::connect(&stranger, LONG, &contact, trust::GUEST).await.unwrap());
    }
    let began = std::time::Instant::now();
    let asked = crate::visit(&identity(), &host.id, &contact, Bytes::from_static(b"?"), LONG).await;
    assert_eq!(asked.unwrap(), "?");
    // The oldest has given way, and the newest does not stay either.
    for guest in [silent.remove(0), silent.pop().unwrap()].iter_mut() {
        let end = tokio::time::timeout(LONG, guest.read_u8()).await.expect("it ends");
        assert!(end.is_err());
    }
    assert!(began.elapsed() < LONG);
    host.stop().await;
}
