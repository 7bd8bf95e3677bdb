use proptest::prelude::*;

use super::*;

/// Few distinct characters, the awkward ones, so that prefixes and collisions are common.
fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), Just('b'), Just('\u{ff}'), any::<char>()],
        0..6,
    )
    .prop_map(|chars| chars.into_iter().collect())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..6)
}

fn check<K: Key + Ord + Clone + std::fmt::Debug>(a: &K, b: &K) {
    assert_eq!(&K::decode(&a.encode()).unwrap(), a);
    assert_eq!(a.encode().cmp(&b.encode()), a.cmp(b), "{a:?} {b:?}");
}

proptest! {
    #[test]
    fn keys_read_back_and_sort_alike(
        a in (text(), any::<u64>(), bytes()), b in (text(), any::<u64>(), bytes()),
    ) {
        check(&a, &b);
        check(&(a.0.clone(), b.0.clone()), &(b.0.clone(), a.0.clone()));
        check(&(a.2.clone(), a.1), &(b.2.clone(), b.1));
        check(&(a.0.clone(), a.2.clone()), &(a.0.clone(), b.2.clone()));
        check(&a.1, &b.1);
    }

    #[test]
    fn a_part_is_the_beginning_of_the_whole(a in text(), b in text()) {
        prop_assert!((a.clone(), b.clone()).encode().starts_with(&a.encode()));
        prop_assert_eq!((a.clone(), b.clone()).encode().starts_with(&b.encode()), a == b);
    }

    #[test]
    fn any_bytes_decode_or_are_refused(input in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(key) = <(String, u64, TenantId)>::decode(&input) {
            prop_assert_eq!(key.encode(), input);
        }
    }
}

#[test]
fn malformed_keys_are_named() {
    assert_eq!(String::decode(b"ab"), Err(InvalidKey::Short(2)));
    assert_eq!(String::decode(b"ab\0"), Err(InvalidKey::Short(3)));
    assert_eq!(String::decode(b"ab\0\x02"), Err(InvalidKey::Escape));
    assert_eq!(String::decode(b"ab\0\x01x"), Err(InvalidKey::Long(1)));
    assert_eq!(String::decode(b"\xff\0\x01"), Err(InvalidKey::Value("text")));
    assert_eq!(TenantId::decode(b"a b\0\x01"), Err(InvalidKey::Value("tenant id")));
    assert_eq!(u64::decode(b"abc"), Err(InvalidKey::Short(3)));
}

#[test]
fn the_encoding_is_what_old_files_hold() {
    let key = ("a\0b".to_owned(), 258u64, ResourceKind::Event);
    assert_eq!(key.encode(), b"a\x00\xffb\x00\x01\0\0\0\0\0\0\x01\x02event\x00\x01");
    assert_eq!(Timestamp::from_micros(1).encode(), [0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(ResourceRef::new(ResourceKind::Object, "b/k").encode(), b"object\0\x01b/k\0\x01");
}
