use proptest::prelude::*;

use super::*;

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(index, term)| Position { index, term })
}

fn some_members() -> impl Strategy<Value = Members> {
    let member = (any::<u64>(), any::<bool>(), "[a-z:.]{0,20}");
    proptest::collection::vec(member, 0..4).prop_map(|list| {
        list.into_iter().fold(Members::new(), |members, (id, voter, contact)| {
            members.with(MemberId(id), Member { voter, contact })
        })
    })
}

fn some_batch() -> impl Strategy<Value = Batch> {
    (any::<[u64; 3]>(), proptest::collection::vec(any::<u8>(), 0..40)).prop_map(
        |([origin, request, base], changes)| Batch {
            origin: MemberId(origin),
            request,
            base,
            changes: changes.into(),
        },
    )
}

fn some_body() -> impl Strategy<Value = Body> {
    prop_oneof![Just(Body::Blank), some_members().prop_map(Body::Members), some_batch().prop_map(Body::Batch),]
}

fn some_message() -> impl Strategy<Value = Message> {
    let entry = (position(), some_body()).prop_map(|(at, body)| Entry { at, body });
    let meta = (any::<[u64; 3]>(), position(), some_members(), any::<[u8; 32]>()).prop_map(
        |([id, version, len], at, members, digest)| {
            Box::new(SnapshotMeta { id, at, version, members, len, digest })
        },
    );
    prop_oneof![
        (any::<u64>(), position(), any::<bool>(), any::<bool>())
            .prop_map(|(term, last, pre, transfer)| Message::Vote { term, last, pre, transfer }),
        (any::<u64>(), any::<bool>(), any::<bool>()).prop_map(|(term, granted, pre)| Message::VoteReply {
            term,
            granted,
            pre
        }),
        (any::<[u64; 3]>(), position(), proptest::collection::vec(entry, 0..4)).prop_map(
            |([term, commit, probe], previous, entries)| Message::Append {
                term,
                previous,
                entries,
                commit,
                probe
            }
        ),
        any::<[u64; 3]>().prop_map(|[term, matched, probe]| Message::Appended { term, matched, probe }),
        any::<[u64; 3]>().prop_map(|[term, next, probe]| Message::Refused { term, next, probe }),
        (any::<[u64; 2]>(), meta, proptest::collection::vec(any::<u8>(), 0..40)).prop_map(
            |([term, offset], meta, bytes)| Message::Piece { term, meta, offset, bytes: bytes.into() }
        ),
        any::<[u64; 3]>().prop_map(|[term, id, offset]| Message::PieceReply { term, id, offset }),
        any::<u64>().prop_map(|term| Message::TakeOver { term }),
        any::<u64>().prop_map(|request| Message::Ask { request }),
        any::<[u64; 2]>().prop_map(|[request, index]| Message::Grant { request, index }),
        any::<u64>().prop_map(|request| Message::Renew { request }),
        any::<u64>().prop_map(|request| Message::Release { request }),
        some_batch().prop_map(|batch| Message::Submit { batch }),
        any::<[u64; 2]>().prop_map(|[request, term]| Message::Submitted { request, term }),
        any::<u64>().prop_map(|request| Message::Barrier { request }),
        any::<[u64; 2]>().prop_map(|[request, index]| Message::BarrierReply { request, index }),
    ]
}

proptest! {
    #[test]
    fn messages_come_back_as_they_were(message in some_message(), cluster in any::<u128>()) {
        let frame = Frame { cluster: ClusterId(cluster), message };
        let bytes = frame.encode();
        prop_assert_eq!(Frame::decode(&bytes), Ok(frame));
        prop_assert!(Frame::decode(&bytes[..bytes.len() - 1]).is_err(), "cut short");
        let longer = [bytes.as_slice(), b"x"].concat();
        prop_assert_eq!(Frame::decode(&longer), Err(InvalidMessage::TooLong));
    }

    #[test]
    fn bodies_and_members_come_back_as_they_were(body in some_body(), members in some_members()) {
        prop_assert_eq!(decode_body(&encode_body(&body)), Ok(body));
        prop_assert_eq!(decode_members(&encode_members(&members)), Ok(members));
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let framed = [&[FORMAT], bytes.as_slice()].concat();
        if let Ok(frame) = Frame::decode(&framed) {
            prop_assert!(frame.encode().len() == framed.len());
        }
    }
}

#[test]
fn lengths_that_nothing_fills_are_refused() {
    let mut bytes = vec![FORMAT];
    bytes.extend([0; 16]);
    bytes.push(13);
    bytes.extend([0; 24]);
    bytes.extend(u32::MAX.to_be_bytes());
    assert_eq!(Frame::decode(&bytes), Err(InvalidMessage::Invalid("a length")));
    bytes.truncate(bytes.len() - 4);
    bytes.extend(1000u32.to_be_bytes());
    assert_eq!(Frame::decode(&bytes), Err(InvalidMessage::Truncated));
    assert_eq!(Frame::decode(&[9]), Err(InvalidMessage::Format { found: 9 }));
}
