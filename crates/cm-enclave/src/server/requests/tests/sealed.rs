//! Sealed files, carried by others than their owners.

use cm_crypto::seal::{ContentKey, RecipientSecretKey, SealedHeader, seal_slice};
use cm_instance::wire::{ProvideKey, WriteSealed};

use super::*;
use crate::server::requests::sealed;

/// A sealed file of an owner, with what the owner releases.
struct Sealed {
    bytes: Vec<u8>,
    key: ContentKey,
    header: Sha256Digest,
}

fn seal(plaintext: &[u8]) -> Sealed {
    let owner = RecipientSecretKey::generate();
    let bytes = seal_slice(plaintext, &[owner.public_key()]).unwrap();
    let header = SealedHeader::read(&mut &bytes[..]).unwrap();
    Sealed { key: header.content_key(&owner).unwrap(), header: header.digest(), bytes }
}

fn provide(name: &str, sealed: &Sealed) -> RequestBody {
    RequestBody::ProvideKey(ProvideKey {
        file_name: name.to_owned(),
        content_key: sealed.key.expose().to_vec(),
        sealed_header: sealed.header.as_bytes().to_vec(),
    })
}

fn piece(name: &str, bytes: &[u8], offset: usize, last: bool) -> RequestBody {
    let data = Bytes::copy_from_slice(bytes);
    RequestBody::WriteSealed(WriteSealed { file_name: name.to_owned(), data, offset: offset as u64, last })
}

/// Owner 0 and carrier 1 may write, reader 2 may not.
fn parties() -> World {
    quiet(&[&[("input-0", WRITE)], &[("input-0", WRITE)], &[("input-0", READ)]])
}

#[tokio::test]
async fn a_file_is_opened_while_it_arrives_and_seen_once_it_is_whole() {
    let w = parties();
    let plaintext: Vec<u8> = (0..200_000u32).map(|at| at as u8).collect();
    let sealed = seal(&plaintext);
    w.check(1, piece("input-0", &sealed.bytes, 0, true), Status::NotReady).await;
    w.check(0, provide("input-0", &sealed), Status::Success).await;
    let mut offset = 0;
    for part in sealed.bytes.chunks(70_000) {
        let last = offset + part.len() == sealed.bytes.len();
        assert_eq!(w.host.get("input-0"), None, "a part of the file can be seen");
        w.check(1, piece("/input-0", part, offset, last), Status::Success).await;
        offset += part.len();
    }
    assert!(w.host.get("input-0").unwrap() == plaintext);
    // The key has served.
    w.check(1, piece("input-0", &sealed.bytes, 0, true), Status::NotReady).await;
}

#[tokio::test]
async fn what_is_not_the_file_leaves_nothing_and_the_file_can_still_come() {
    let w = parties();
    let (sealed, other) = (seal(&[7; 100_000]), seal(b"other"));
    w.check(0, provide("input-0", &sealed), Status::Success).await;
    let mut altered = sealed.bytes.clone();
    *altered.last_mut().unwrap() ^= 1;
    let cut = &sealed.bytes[..sealed.bytes.len() - 1];
    for wrong in [&altered[..], cut, &other.bytes, b"plain", b""] {
        w.check(1, piece("input-0", wrong, 0, true), Status::InvalidRequest).await;
        assert_eq!(w.host.get("input-0"), None);
    }
    // What is overwritten in vain stays what it was.
    w.host.put("input-0", b"old");
    w.check(1, piece("input-0", &altered, 0, true), Status::InvalidRequest).await;
    assert_eq!(w.host.get("input-0").unwrap(), b"old");
    w.check(1, piece("input-0", &sealed.bytes, 0, true), Status::Success).await;
    assert_eq!(w.host.get("input-0").unwrap().len(), 100_000);
}

#[tokio::test]
async fn keys_and_pieces_need_the_rights_of_a_writer() {
    let w = parties();
    let sealed = seal(b"x");
    w.check(2, provide("input-0", &sealed), Status::InvalidRole).await;
    w.check(0, provide("output", &sealed), Status::InvalidRole).await;
    w.check(0, provide("../input-0", &sealed), Status::InvalidRequest).await;
    w.check(0, provide("input-0", &sealed), Status::Success).await;
    w.check(2, piece("input-0", &sealed.bytes, 0, true), Status::InvalidRole).await;
    let short =
        ProvideKey { file_name: "input-0".into(), content_key: vec![1; 31], sealed_header: vec![0; 32] };
    w.check(0, RequestBody::ProvideKey(short), Status::InvalidRequest).await;
}

#[tokio::test]
async fn pieces_out_of_order_do_not_disturb_whoever_sends_in_order() {
    let w = parties();
    let sealed = seal(&[7; 100_000]);
    w.check(0, provide("input-0", &sealed), Status::Success).await;
    let (first, second) = sealed.bytes.split_at(50_000);
    w.check(1, piece("input-0", first, 0, false), Status::Success).await;
    w.check(0, piece("input-0", second, 50_001, true), Status::InvalidRequest).await;
    w.check(0, piece("input-0", second, 50_000, true), Status::InvalidRequest).await;
    w.check(1, piece("input-0", second, 50_000, true), Status::Success).await;
    assert_eq!(w.host.get("input-0").unwrap().len(), 100_000);
}

#[tokio::test]
async fn a_hash_of_the_policy_is_that_of_the_plaintext() {
    let w = quiet(&[&[("program.wasm", WRITE)]]);
    let (right, wrong) = (seal(PROGRAM), seal(b"another program"));
    w.check(0, provide("program.wasm", &wrong), Status::Success).await;
    w.check(0, piece("program.wasm", &wrong.bytes, 0, true), Status::InvalidRequest).await;
    assert_eq!(w.host.get("program.wasm"), None);
    w.check(0, provide("program.wasm", &right), Status::Success).await;
    w.check(0, piece("program.wasm", &right.bytes, 0, true), Status::Success).await;
    assert_eq!(w.host.get("program.wasm").unwrap(), PROGRAM);
}

#[tokio::test]
async fn no_more_keys_wait_than_are_allowed() {
    let w = quiet(&[&[("in/", WRITE)], &[("in/", WRITE)]]);
    let sealed = seal(b"x");
    for number in 0..64 {
        w.check(0, provide(&format!("in/{number}"), &sealed), Status::Success).await;
    }
    // Others have keys of their own.
    w.check(1, provide("in/0", &sealed), Status::Success).await;
    w.check(0, provide("in/64", &sealed), Status::Generic).await;
    w.check(0, provide("in/3", &sealed), Status::Success).await;
    w.check(0, piece("in/3", &sealed.bytes, 0, true), Status::Success).await;
    w.check(0, provide("in/64", &sealed), Status::Success).await;
}

#[tokio::test]
async fn nobody_replaces_the_key_or_the_file_of_another() {
    let w = parties();
    let (sealed, bogus) = (seal(&[7; 100_000]), seal(&[8; 100_000]));
    w.check(0, provide("input-0", &sealed), Status::Success).await;
    let (first, second) = sealed.bytes.split_at(50_000);
    w.check(0, piece("input-0", first, 0, false), Status::Success).await;
    // Neither with another file's key, nor with a wrong one for the same file, nor by beginning anew.
    w.check(1, provide("input-0", &bogus), Status::Success).await;
    w.check(0, piece("input-0", second, 50_000, false), Status::Success).await;
    let wrong = Sealed { bytes: Vec::new(), key: bogus.key.clone(), header: sealed.header };
    w.check(1, provide("input-0", &wrong), Status::Success).await;
    w.check(1, piece("input-0", &sealed.bytes, 0, false), Status::Success).await;
    w.check(0, piece("input-0", b"", 100_000 + (sealed.bytes.len() - 100_000), true), Status::Success).await;
    assert_eq!(w.host.get("input-0").unwrap(), vec![7; 100_000]);
    // The key has served, and whatever else claimed to be the file's.
    w.check(0, piece("input-0", &sealed.bytes, 0, true), Status::NotReady).await;
}

#[tokio::test]
async fn two_who_release_the_same_key_do_not_double_the_file() {
    let w = parties();
    let sealed = seal(b"once");
    w.check(0, provide("input-0", &sealed), Status::Success).await;
    w.check(1, provide("input-0", &sealed), Status::Success).await;
    for (at, byte) in sealed.bytes.iter().enumerate() {
        let last = at + 1 == sealed.bytes.len();
        w.check(1, piece("input-0", &[*byte], at, last), Status::Success).await;
    }
    assert_eq!(w.host.get("input-0").unwrap(), b"once");
    w.check(1, piece("input-0", &sealed.bytes, 0, true), Status::NotReady).await;
}

#[tokio::test]
async fn a_key_does_not_wait_for_ever() {
    let w = parties();
    let sealed = seal(b"x");
    let RequestBody::ProvideKey(key) = provide("input-0", &sealed) else { unreachable!() };
    let RequestBody::WriteSealed(file) = piece("input-0", &sealed.bytes, 0, true) else { unreachable!() };
    let start = Instant::now();
    w.service.provide_key(0, key.clone(), start).unwrap();
    let late = w.service.write_sealed(1, &file, start + sealed::KEY_LIFETIME);
    assert!(matches!(late, Err(Refusal::NoKey)), "{late:?}");
    w.service.provide_key(0, key, start).unwrap();
    w.service.write_sealed(1, &file, start + sealed::KEY_LIFETIME - Duration::from_secs(1)).unwrap();
    assert_eq!(w.host.get("input-0").unwrap(), b"x");
}
