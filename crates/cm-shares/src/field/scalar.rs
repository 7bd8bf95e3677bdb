//! Integers modulo the order of the curve secp256k1: what keys and signatures of that curve are made of.
//!
//! Four words, least significant first, always below the order. Sums of products are reduced once: the order is `2^256 - c` with `c` of 129 bits, so
//! what exceeds 256 bits is multiplied by `c` and added, three times. No branch or index depends on a value. Inverses, roots and points are those of
//! the crate `k256`, whose products are reduced one by one and dominated the cost of sharing.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

use k256::Scalar as Inner;
use k256::elliptic_curve::ff::PrimeField as _;

use super::{Field, FieldKind, Owned};
use crate::session::ledger::{Ledger, Ledgers};

type Words = [u64; 4];

/// The order: FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFE BAAEDCE6 AF48A03B BFD25E8C D0364141.
const ORDER: Words =
    [0xbfd2_5e8c_d036_4141, 0xbaae_dce6_af48_a03b, 0xffff_ffff_ffff_fffe, 0xffff_ffff_ffff_ffff];

/// By how much the order is less than 2^256.
const MISSING: Words = [0x402d_a173_2fc9_bebf, 0x4551_2319_50b7_5fc4, 1, 0];

/// An element of the field of the order of secp256k1.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Scalar(Words);

/// A sum of products of two elements that has not been reduced.
#[derive(Clone, Copy, Default)]
pub struct WideScalar([u64; 9]);

/// The low word and the carry of `a + b·c + carry`, which fit.
#[inline(always)]
fn multiply_add(a: u64, b: u64, c: u64, carry: u64) -> (u64, u64) {
    let sum = u128::from(a) + u128::from(b) * u128::from(c) + u128::from(carry);
    (sum as u64, (sum >> 64) as u64)
}

#[inline(always)]
fn add_words(a: Words, b: Words) -> (Words, bool) {
    let mut sum = [0; 4];
    let mut carry = false;
    for place in 0..4 {
        (sum[place], carry) = a[place].carrying_add(b[place], carry);
    }
    (sum, carry)
}

/// `a` where the choice is true, `b` where it is not.
#[inline(always)]
fn choose(choice: bool, a: Words, b: Words) -> Words {
    let mask = std::hint::black_box(u64::from(choice)).wrapping_neg();
    std::array::from_fn(|place| (a[place] & mask) | (b[place] & !mask))
}

/// Below the order what is below twice the order; `carry` is its bit of weight 256.
#[inline(always)]
fn canonical(words: Words, carry: bool) -> Words {
    // Adding what is missing to 2^256 carries exactly if the order can be subtracted, and then is that subtraction.
    let (less, exceeds) = add_words(words, MISSING);
    choose(carry | exceeds, less, words)
}

/// Adds `high·2^256` to `low`, modulo the order: `high` times what is missing. The result is longer than `high` says by no more than 130 bits.
#[inline(always)]
fn fold<const HIGH: usize>(low: Words, high: [u64; HIGH]) -> [u64; 9] {
    let mut sum = [0; 9];
    sum[..4].copy_from_slice(&low);
    for place in 0..HIGH {
        let mut carry = 0;
        for offset in 0..3 {
            (sum[place + offset], carry) =
                multiply_add(sum[place + offset], high[place], MISSING[offset], carry);
        }
        for word in &mut sum[place + 3..] {
            let (next, exceeds) = word.overflowing_add(carry);
            *word = next;
            carry = u64::from(exceeds);
        }
    }
    sum
}

#[inline(always)]
fn low(sum: &[u64; 9]) -> Words {
    [sum[0], sum[1], sum[2], sum[3]]
}

/// Reduces what has at most 520 bits.
#[inline(always)]
fn reduce(sum: &[u64; 9]) -> Words {
    // 264 bits above 2^256 leave at most 394 bits, those leave at most 268, and those at most 257.
    let sum = fold(low(sum), [sum[4], sum[5], sum[6], sum[7], sum[8]]);
    let sum = fold(low(&sum), [sum[4], sum[5], sum[6]]);
    let sum = fold(low(&sum), [sum[4]]);
    canonical(low(&sum), sum[4] != 0)
}

impl Scalar {
    /// The element of a number of 32 bytes, most significant first; none from the order upwards.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Option<Self> {
        let mut little = bytes;
        little.reverse();
        Self::read(&little)
    }

    /// The number as 32 bytes, most significant first.
    pub fn to_be_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.write(&mut bytes);
        bytes.reverse();
        bytes
    }

    /// As the crate of the curve has it.
    pub(crate) fn inner(self) -> Inner {
        let read: Option<Inner> = Inner::from_repr(self.to_be_bytes().into()).into();
        read.expect("an element is below the order")
    }

    fn from_inner(inner: Inner) -> Self {
        Self::from_be_bytes(inner.to_repr().into()).expect("an element is below the order")
    }
}

impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.to_be_bytes() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl Add for Scalar {
    type Output = Self;
    #[inline]
    fn add(self, other: Self) -> Self {
        let (sum, carry) = add_words(self.0, other.0);
        Self(canonical(sum, carry))
    }
}

impl AddAssign for Scalar {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Scalar {
    type Output = Self;
    #[inline]
    fn sub(self, other: Self) -> Self {
        let mut difference = [0; 4];
        let mut borrow = false;
        for ((difference, a), b) in difference.iter_mut().zip(self.0).zip(other.0) {
            (*difference, borrow) = a.borrowing_sub(b, borrow);
        }
        let (restored, _) = add_words(difference, ORDER);
        Self(choose(borrow, restored, difference))
    }
}

impl Neg for Scalar {
    type Output = Self;
    #[inline]
    fn neg(self) -> Self {
        Self::ZERO - self
    }
}

impl Mul for Scalar {
    type Output = Self;
    #[inline]
    fn mul(self, other: Self) -> Self {
        Self::reduce(Self::accumulate(WideScalar::default(), self, other))
    }
}

impl Owned for Scalar {
    #[allow(private_interfaces)]
    fn ledger(ledgers: &mut Ledgers) -> &mut Ledger<Self> {
        &mut ledgers.scalar
    }
}

impl Field for Scalar {
    const KIND: FieldKind = FieldKind::Scalar;
    const BYTES: usize = 32;
    const BITS: usize = 256;
    const ZERO: Self = Self([0; 4]);
    const ONE: Self = Self([1, 0, 0, 0]);
    /// Half of one more than the order.
    const HALF: Self =
        Self([0xdfe9_2f46_681b_20a1, 0x5d57_6e73_57a4_501d, 0xffff_ffff_ffff_ffff, 0x7fff_ffff_ffff_ffff]);

    /// Products are below 2^512: sixty of them have at most 518 bits.
    type Wide = WideScalar;

    #[inline(always)]
    fn accumulate(sum: WideScalar, a: Self, b: Self) -> WideScalar {
        let mut sum = sum.0;
        for (place, &a) in a.0.iter().enumerate() {
            let mut carry = 0;
            for (offset, &b) in b.0.iter().enumerate() {
                (sum[place + offset], carry) = multiply_add(sum[place + offset], a, b, carry);
            }
            for word in &mut sum[place + 4..] {
                let (next, exceeds) = word.overflowing_add(carry);
                *word = next;
                carry = u64::from(exceeds);
            }
        }
        WideScalar(sum)
    }

    #[inline(always)]
    fn reduce(sum: WideScalar) -> Self {
        Self(reduce(&sum.0))
    }

    fn from_u64(value: u64) -> Self {
        Self([value, 0, 0, 0])
    }

    fn to_i64(self) -> Option<i64> {
        let small = |value: Self| (value.0[1..] == [0; 3]).then_some(value.0[0]);
        match (small(self), small(-self)) {
            (Some(magnitude), _) => i64::try_from(magnitude).ok(),
            (None, Some(magnitude)) => 0i64.checked_sub_unsigned(magnitude),
            (None, None) => None,
        }
    }

    fn invert(self) -> Option<Self> {
        Option::from(self.inner().invert()).map(Self::from_inner)
    }

    fn square_root(self) -> Option<Self> {
        use k256::elliptic_curve::ff::Field as _;
        Option::from(self.inner().sqrt()).map(Self::from_inner)
    }

    fn bit(self, weight: usize) -> bool {
        self.0[weight / 64] >> (weight % 64) & 1 == 1
    }

    fn order_bit(weight: usize) -> bool {
        ORDER[weight / 64] >> (weight % 64) & 1 == 1
    }

    #[inline]
    fn write(self, bytes: &mut [u8]) {
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *bytes = word.to_le_bytes();
        }
    }

    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        let words: Words = std::array::from_fn(|place| {
            u64::from_le_bytes(std::array::from_fn(|byte| bytes[place * 8 + byte]))
        });
        let (_, exceeds) = add_words(words, MISSING);
        (!exceeds).then_some(Self(words))
    }

    #[inline]
    fn sample(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }
}
