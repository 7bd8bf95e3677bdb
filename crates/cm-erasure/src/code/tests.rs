use proptest::prelude::*;

use super::*;

fn code(data: usize, parity: usize) -> Code {
    Code::new(Redundancy::erasure(data, parity).unwrap()).unwrap()
}

fn encode(code: Code, bytes: &[u8]) -> (Sha256Digest, Vec<Shard>) {
    let chunk = digest::sha256(bytes);
    (chunk, code.encode(chunk, bytes).unwrap())
}

/// A shard that was altered by somebody who knows the form.
fn forge(shard: &Shard) -> Shard {
    let mut forged = shard.clone();
    forged.bytes[0] ^= 1;
    Shard::decode(&forged.encode()).expect("it agrees with itself")
}

/// Shards are kept: they must be joined by every later release.
#[test]
fn shards_are_what_they_have_always_been() {
    let bytes: Vec<u8> = (0..1000_u32).map(|n| (n * n % 251) as u8).collect();
    let (_, shards) = encode(code(3, 2), &bytes);
    let digests: Vec<_> = shards.iter().map(|shard| digest::sha256(&shard.encode()).to_string()).collect();
    let expected = [
        "2c976cc8a9846771452bfa2f97bd644e2ac7be983f38a6eeb3bfd4e985474f32",
        "eab8d513f5e6a6e138f2d79d07c1f66fb2c530e741d0a0f8042044dc38606aa9",
        "833e087547b4777913f5c6b85adac398ebfd64ad08217c886b645038d0c85281",
        "91cf88b9e14594d8e236abb94758b0012f4b377119a2f42acebd0a1d9cb0e290",
        "d8a52f998417c015974aaa61e5e7f8b38f432e1e6a94ddfbf9b3c811a4c3beaa",
    ];
    assert_eq!(digests, expected);
}

#[test]
fn a_liar_is_found_and_named() {
    let code = code(3, 2);
    let bytes = vec![7; 1000];
    let (chunk, shards) = encode(code, &bytes);
    for liar in 0..5 {
        let mut given = shards.clone();
        given[liar] = forge(&given[liar]);
        let expected = Decoded { bytes: bytes.clone(), false_shards: vec![liar] };
        assert_eq!(code.decode(&chunk, 1000, &given), Ok(expected), "{liar}");
    }
    let mut given = shards.clone();
    for liar in [0, 3] {
        given[liar] = forge(&given[liar]);
    }
    assert_eq!(code.decode(&chunk, 1000, &given).unwrap().false_shards, [0, 3]);
    given[4] = forge(&given[4]);
    assert_eq!(code.decode(&chunk, 1000, &given), Err(ErasureError::Inconsistent(chunk)));
}

#[test]
fn one_liar_is_found_in_every_code() {
    for (data, parity) in [(1, 1), (8, 3), (10, 4), (32, 32), (40, 1)] {
        let code = code(data, parity);
        let (chunk, shards) = encode(code, &[3; 500]);
        for liar in [0, data / 2, data - 1, data + parity - 1] {
            let mut given = shards.clone();
            given[liar] = forge(&given[liar]);
            assert_eq!(code.decode(&chunk, 500, &given).unwrap().false_shards, [liar], "{data}+{parity}");
        }
    }
}

#[test]
fn what_belongs_to_something_else_is_passed_over() {
    let (chunk, shards) = encode(code(2, 1), b"one thing");
    let (_, others) = encode(code(2, 1), b"or another");
    let (_, of_another_code) = encode(code(2, 2), b"one thing");
    let mixed = [&others[..], &of_another_code, &shards[1..2], &shards[1..2]].concat();
    assert_eq!(code(2, 1).decode(&chunk, 9, &mixed), Err(ErasureError::TooFew { found: 1, needed: 2 }));
    let enough = [&mixed[..], &shards[2..]].concat();
    assert_eq!(code(2, 1).decode(&chunk, 9, &enough).unwrap().bytes, b"one thing");
    assert_eq!(Code::new(Redundancy::replicas(3).unwrap()), Err(ErasureError::NoCode));
    let number = ErasureError::Number { number: 3, width: 3 };
    assert_eq!(code(2, 1).rebuild(&chunk, 9, &shards, 3), Err(number));
}

fn codes() -> impl Strategy<Value = Code> {
    (1_usize..9, 1_usize..6).prop_map(|(data, parity)| code(data, parity))
}

proptest! {
    // The code is slow where nothing is optimised.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_shards_that_are_enough_give_the_chunk(
        code in codes(),
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        order in any::<prop::sample::Index>(),
        lost in any::<prop::sample::Index>(),
        seed: u64,
    ) {
        let (chunk, shards) = encode(code, &bytes);
        prop_assert_eq!(shards.len(), code.width());
        // Which are left, chosen by the bits of the seed from where the order begins.
        let mut left = shards.clone();
        left.rotate_left(order.index(shards.len()));
        let mut at = seed;
        while left.len() > code.data() {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            left.swap_remove((at >> 33) as usize % left.len());
        }
        let stored: Vec<_> = left.iter().map(|shard| Shard::decode(&shard.encode()).unwrap()).collect();
        let decoded = code.decode(&chunk, bytes.len(), &stored).unwrap();
        prop_assert_eq!(&decoded, &Decoded { bytes: bytes.clone(), false_shards: vec![] });
        let shard = &shards[lost.index(shards.len())];
        let rebuilt = code.rebuild(&chunk, bytes.len(), &stored, shard.number()).unwrap();
        prop_assert_eq!(&rebuilt, shard);
        left.pop();
        let too_few = ErasureError::TooFew { found: left.len(), needed: code.data() };
        prop_assert_eq!(code.decode(&chunk, bytes.len(), &left), Err(too_few));
    }

    #[test]
    fn a_damaged_shard_is_noticed_by_itself(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        with in 1_u8..,
        cut in any::<prop::sample::Index>(),
    ) {
        let (_, shards) = encode(code(3, 2), &bytes);
        let stored = shards[1].encode();
        let mut damaged = stored.clone();
        damaged[at.index(stored.len())] ^= with;
        prop_assert!(Shard::decode(&damaged).is_err());
        prop_assert!(Shard::decode(&stored[..cut.index(stored.len())]).is_err());
        prop_assert!(Shard::decode(&[&stored[..], &[0]].concat()).is_err());
    }

    #[test]
    fn any_bytes_are_a_shard_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Shard::decode(&bytes);
    }

    #[test]
    fn every_choice_is_tried(count in 1_usize..9, len in 1_usize..9) {
        let len = len.min(count);
        let mut all = std::collections::BTreeSet::new();
        for chosen in choices(len, count) {
            prop_assert!(chosen.is_sorted() && chosen.len() == len && chosen.iter().all(|at| *at < count));
            all.insert(chosen);
        }
        let expected = (0..len).fold(1, |product, n| product * (count - n) / (n + 1));
        prop_assert_eq!(all.len(), expected);
    }
}
