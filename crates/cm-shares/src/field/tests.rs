//! Fields against arithmetic on wider integers.

use proptest::prelude::*;

use super::*;

const ORDER: u64 = (1 << 61) - 1;

/// The order of secp256k1, least significant word first.
const ORDER_WIDE: [u64; 4] =
    [0xbfd2_5e8c_d036_4141, 0xbaae_dce6_af48_a03b, 0xffff_ffff_ffff_fffe, 0xffff_ffff_ffff_ffff];

/// A number of 512 bits modulo the order, bit by bit.
fn remainder(wide: [u64; 8]) -> [u64; 4] {
    let mut rest = [0u64; 5];
    for bit in (0..512).rev() {
        let mut carry = wide[bit / 64] >> (bit % 64) & 1;
        for word in &mut rest {
            let next = *word >> 63;
            *word = *word << 1 | carry;
            carry = next;
        }
        let mut less = rest;
        let mut borrow = false;
        for (place, word) in less.iter_mut().enumerate() {
            let (value, one) = word.overflowing_sub(ORDER_WIDE.get(place).copied().unwrap_or(0));
            let (value, two) = value.overflowing_sub(u64::from(borrow));
            *word = value;
            borrow = one | two;
        }
        if !borrow {
            rest = less;
        }
    }
    rest[..4].try_into().unwrap()
}

fn multiply(a: [u64; 4], b: [u64; 4]) -> [u64; 8] {
    let mut product = [0u64; 8];
    for i in 0..4 {
        let mut carry = 0u128;
        for j in 0..4 {
            let sum = u128::from(a[i]) * u128::from(b[j]) + u128::from(product[i + j]) + carry;
            product[i + j] = sum as u64;
            carry = sum >> 64;
        }
        product[i + 4] = carry as u64;
    }
    product
}

fn scalar(words: [u64; 4]) -> Scalar {
    let mut bytes = [0; 32];
    for (word, bytes) in words.iter().zip(bytes.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    Scalar::read(&bytes).expect("tests reduce first")
}

fn reduced(words: [u64; 4]) -> [u64; 4] {
    let mut wide = [0; 8];
    wide[..4].copy_from_slice(&words);
    remainder(wide)
}

type WideOf = <Scalar as Field>::Wide;

fn any_f61() -> impl Strategy<Value = u64> {
    prop_oneof![0..ORDER, 0..4u64, ORDER - 4..ORDER]
}

fn any_words() -> impl Strategy<Value = [u64; 4]> {
    prop_oneof![
        any::<[u64; 4]>(),
        Just([u64::MAX; 4]),
        Just(ORDER_WIDE),
        Just([0; 4]),
        (0..5u64).prop_map(|low| [low, 0, 0, 0])
    ]
}

fn laws<F: Field>(a: F, b: F, c: F) {
    assert_eq!((a + b) * c, a * c + b * c);
    assert_eq!(a - b, a + -b);
    assert_eq!(a * b, b * a);
    assert_eq!(a.half() + a.half(), a);
    match a.invert() {
        Some(inverse) => assert_eq!(inverse * a, F::ONE),
        None => assert_eq!(a, F::ZERO),
    }
    let square = a * a;
    let root = square.square_root().expect("a square has a root");
    assert!(root == a || root == -a);
    if a != F::ZERO {
        let inverse = square.inverse_square_root().expect("a square has a root");
        assert_eq!(inverse * inverse * square, F::ONE);
    }
    let mut bytes = vec![0; F::BYTES];
    a.write(&mut bytes);
    assert_eq!(F::read(&bytes), Some(a));
    let bits = (0..F::BITS)
        .rev()
        .fold(F::ZERO, |sum, weight| sum + sum + if a.bit(weight) { F::ONE } else { F::ZERO });
    assert_eq!(bits, a);
    let order = (0..F::BITS)
        .rev()
        .fold(F::ZERO, |sum, weight| sum + sum + if F::order_bit(weight) { F::ONE } else { F::ZERO });
    assert_eq!(order, F::ZERO);
    assert_eq!(a.power(5), a * a * a * a * a);
    assert_eq!(F::power_of_two(37), F::from_u64(2).power(37));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn f61_is_arithmetic_modulo_its_order(a in any_f61(), b in any_f61(), c in any_f61()) {
        let wide = |value: u128| F61::from_u64((value % u128::from(ORDER)) as u64);
        let (x, y) = (F61::from_u64(a), F61::from_u64(b));
        prop_assert_eq!(x.to_u64(), a);
        prop_assert_eq!(x + y, wide(u128::from(a) + u128::from(b)));
        prop_assert_eq!(x - y, wide(u128::from(a) + u128::from(ORDER) - u128::from(b)));
        prop_assert_eq!(x * y, wide(u128::from(a) * u128::from(b)));
        laws(x, y, F61::from_u64(c));
    }

    #[test]
    fn scalars_are_arithmetic_modulo_the_order_of_the_curve(a in any_words(), b in any_words(), c in any_words()) {
        let (a, b) = (reduced(a), reduced(b));
        let (x, y) = (scalar(a), scalar(b));
        prop_assert_eq!(x * y, scalar(remainder(multiply(a, b))));
        laws(x, y, scalar(reduced(c)));
    }

    #[test]
    fn sums_of_many_products_are_reduced_rightly(values in proptest::collection::vec((any_f61(), any_f61()), 0..200)) {
        let (a, b): (Vec<F61>, Vec<F61>) = values.iter().map(|&(a, b)| (F61::from_u64(a), F61::from_u64(b))).unzip();
        let expected = a.iter().zip(&b).fold(F61::ZERO, |sum, (&a, &b)| sum + a * b);
        prop_assert_eq!(F61::dot(&a, &b), expected);
    }

    #[test]
    fn sums_of_products_of_scalars_are_reduced_rightly(values in proptest::collection::vec((any_words(), any_words()), 0..70)) {
        let (a, b): (Vec<Scalar>, Vec<Scalar>) = values.iter().map(|&(a, b)| (scalar(reduced(a)), scalar(reduced(b)))).unzip();
        let expected = a.iter().zip(&b).fold(Scalar::ZERO, |sum, (&a, &b)| sum + a * b);
        prop_assert_eq!(Scalar::dot(&a, &b), expected);
        // The crate of the curve agrees.
        let inner = a.iter().zip(&b).fold(Scalar::ZERO.inner(), |sum, (a, b)| sum + a.inner() * b.inner());
        prop_assert_eq!(expected.inner(), inner);
    }

    #[test]
    fn small_numbers_keep_their_sign(value in -(1i64 << 59)..1 << 59) {
        prop_assert_eq!(F61::from_i64(value).to_i64(), Some(value));
        prop_assert_eq!(Scalar::from_i64(value).to_i64(), Some(value));
    }
}

#[test]
fn sixty_of_the_largest_products_fit() {
    let largest = -F61::ONE;
    let sum = (0..60).fold(0, |sum, _| F61::accumulate(sum, largest, largest));
    assert_eq!(F61::reduce(sum), F61::from_u64(60));
    let largest = -Scalar::ONE;
    let sum = (0..60).fold(WideOf::default(), |sum, _| Scalar::accumulate(sum, largest, largest));
    assert_eq!(Scalar::reduce(sum), Scalar::from_u64(60));
}

#[test]
fn only_the_one_encoding_is_read() {
    assert_eq!(F61::read(&ORDER.to_le_bytes()), None);
    assert_eq!(F61::read(&u64::MAX.to_le_bytes()), None);
    assert_eq!(F61::read(&[0; 7]), None);
    assert_eq!(Scalar::read(&[0xff; 32]), None);
    assert_eq!(Scalar::to_i64(Scalar::from_i64(i64::MIN)), Some(i64::MIN));
    assert_eq!((Scalar::from_i64(i64::MIN) - Scalar::ONE).to_i64(), None);
    // No number stands for the order itself, also when uniform bytes say so.
    assert_eq!(F61::sample(&[0xff; 8]), None);
    assert_eq!(Scalar::sample(&[0xff; 32]), None);
}
