//! Attacks, each refused and told.

use cm_instance::wire::{Data, FRAME_LEN_MAX, ReadFile, RequestPiHash, RequestPolicyHash, Status};

use super::*;

fn door(known: &Identity, rights: &[(&str, u32)]) -> Door {
    Door::open(policy(&[(known, rights)]), Fake::ending(Outcome::Completed), 2)
}

fn policy_hash() -> RequestBody {
    RequestBody::RequestPolicyHash(RequestPolicyHash {})
}

/// Tries to come in and demands that it does not succeed and is told.
async fn check(known: &Identity, caller: Option<&Identity>, expected: RefusalKind) {
    let door = door(known, &[("output", READ)]);
    let answer = async { door.connect(caller).await?.ask(policy_hash()).await };
    assert!(answer.await.is_err(), "{expected:?}");
    let refused = door.refused(expected).await;
    assert_eq!((refused.identity, refused.peer), (None, Some(door.address.ip())));
}

#[tokio::test]
async fn strangers_are_told_of() {
    let known = Identity::new();
    check(&known, None, RefusalKind::NoCertificate).await;
    // The same name in the certificate, and another key.
    check(&known, Some(&Identity::new()), RefusalKind::UnknownCertificate).await;
    let expired = Identity::made(&rcgen::PKCS_ED25519, (2000, 2001));
    check(&expired, Some(&expired), RefusalKind::CertificateNotValid).await;
    let thief = Identity { certificate: known.certificate.clone(), ..Identity::new() };
    check(&known, Some(&thief), RefusalKind::StolenCertificate).await;
}

#[tokio::test]
async fn what_is_no_handshake_is_told_of() {
    let door = door(&Identity::new(), &[("output", READ)]);
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    stream.write_all(b"\x00\x01\x02").await.unwrap();
    door.refused(RefusalKind::Handshake).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_never_finishes_is_told_of() {
    let known = Identity::new();
    let door = door(&known, &[("output", READ)]);
    let _silent = TcpStream::connect(door.address).await.unwrap();
    assert_eq!(door.refused(RefusalKind::TooSlow).await.identity, None);
}

#[tokio::test]
async fn a_message_that_trickles_in_is_told_of() {
    let known = Identity::new();
    let door = door(&known, &[("output", READ)]);
    let mut client = door.connect(Some(&known)).await.unwrap();
    client.ask(policy_hash()).await.unwrap();
    client.stream.write_all(&[0, 0]).await.unwrap();
    client.stream.flush().await.unwrap();
    tokio::time::pause();
    let refused = door.refused(RefusalKind::TooSlow).await;
    assert_eq!(refused.identity, Some(0));
}

#[tokio::test]
async fn an_identity_that_asks_for_what_it_may_not_is_told_of() {
    let known = Identity::new();
    let door = door(&known, &[("output", READ), ("program.wasm", WRITE)]);
    let mut client = door.connect(Some(&known)).await.unwrap();
    let data = |name: &str| Data { file_name: name.to_owned(), data: "x".into() };
    let read =
        |name: &str| RequestBody::ReadFile(ReadFile { file_name: name.to_owned(), offset: 0, length: 0 });

    let answer = client.ask(RequestBody::WriteFile(data("output"))).await.unwrap();
    assert_eq!(answer.status(), Status::InvalidRole);
    let refused = door.refused(RefusalKind::Right).await;
    assert_eq!((refused.identity, refused.file), (Some(0), Some(path("output"))));

    let answer = client.ask(RequestBody::WriteFile(data("program.wasm"))).await.unwrap();
    assert_eq!(answer.status(), Status::InvalidRequest);
    assert_eq!(door.refused(RefusalKind::Hash).await.file, Some(path("program.wasm")));

    let answer = client.ask(read("output/../input-0")).await.unwrap();
    assert_eq!(answer.status(), Status::InvalidRequest);
    assert_eq!(door.refused(RefusalKind::Path).await.file, None);

    client.stream.write_all(&(FRAME_LEN_MAX as u64 * 1000).to_be_bytes()).await.unwrap();
    client.stream.flush().await.unwrap();
    assert!(client.receive().await.is_err());
    assert_eq!(door.refused(RefusalKind::OversizeMessage).await.identity, Some(0));
}

#[tokio::test]
async fn a_name_that_only_the_client_knows_is_not_told() {
    let known = Identity::new();
    let door = door(&known, &[("output", READ)]);
    let mut client = door.connect(Some(&known)).await.unwrap();
    let body = RequestBody::RequestPiHash(RequestPiHash { file_name: "the-secret-is-42".to_owned() });
    assert_eq!(client.ask(body).await.unwrap().status(), Status::InvalidRole);
    assert_eq!(door.refused(RefusalKind::Right).await.file, None);
}

#[tokio::test]
async fn a_connection_beyond_the_share_is_told_of() {
    let known = Identity::new();
    let door = door(&known, &[("output", READ)]);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = door.connect(Some(&known)).await.unwrap();
        client.ask(policy_hash()).await.unwrap();
        held.push(client);
    }
    let third = async { door.connect(Some(&known)).await?.ask(policy_hash()).await };
    assert!(third.await.is_err());
    assert_eq!(door.refused(RefusalKind::TooManyConnections).await.identity, Some(0));
}
