//! Integers modulo the Mersenne prime 2^61 - 1: one word, and a reduction that is an addition.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

use super::{Field, FieldKind, Owned};
use crate::session::ledger::{Ledger, Ledgers};

const ORDER: u64 = (1 << 61) - 1;

/// An element of the field of order 2^61 - 1. Always below the order.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct F61(u64);

impl F61 {
    /// The number between zero and the order.
    pub fn to_u64(self) -> u64 {
        self.0
    }
}

/// Subtracts the order from what is below twice the order, unless that would go below zero. No branch: time tells nothing.
#[inline(always)]
fn fold(value: u64) -> u64 {
    let less = value.wrapping_sub(ORDER);
    less.wrapping_add(ORDER & ((less as i64 >> 63) as u64))
}

/// Elements that are raised to a power side by side: one multiplication need not wait for another.
type Lanes<const N: usize> = [F61; N];

fn products<const N: usize>(a: Lanes<N>, b: Lanes<N>) -> Lanes<N> {
    std::array::from_fn(|lane| a[lane] * b[lane])
}

fn squares<const N: usize>(mut x: Lanes<N>, times: u32) -> Lanes<N> {
    for _ in 0..times {
        x = products(x, x);
    }
    x
}

/// The power of 2^59 - 1. Below, `ones_k` is the power of 2^k - 1.
fn ones<const N: usize>(x: Lanes<N>) -> Lanes<N> {
    let ones_2 = products(squares(x, 1), x);
    let ones_4 = products(squares(ones_2, 2), ones_2);
    let ones_8 = products(squares(ones_4, 4), ones_4);
    let ones_16 = products(squares(ones_8, 8), ones_8);
    let ones_32 = products(squares(ones_16, 16), ones_16);
    let ones_48 = products(squares(ones_32, 16), ones_16);
    let ones_56 = products(squares(ones_48, 8), ones_8);
    let ones_58 = products(squares(ones_56, 2), ones_2);
    products(squares(ones_58, 1), x)
}

impl std::fmt::Debug for F61 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Add for F61 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(fold(self.0 + other.0))
    }
}

impl AddAssign for F61 {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for F61 {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let less = self.0.wrapping_sub(other.0);
        Self(less.wrapping_add(ORDER & ((less as i64 >> 63) as u64)))
    }
}

impl Neg for F61 {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self::ZERO - self
    }
}

impl Mul for F61 {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let product = u128::from(self.0) * u128::from(other.0);
        Self(fold((product as u64 & ORDER) + (product >> 61) as u64))
    }
}

impl Owned for F61 {
    #[allow(private_interfaces)]
    fn ledger(ledgers: &mut Ledgers) -> &mut Ledger<Self> {
        &mut ledgers.f61
    }
}

impl Field for F61 {
    const KIND: FieldKind = FieldKind::F61;
    const BYTES: usize = 8;
    const BITS: usize = 61;
    const ZERO: Self = Self(0);
    const ONE: Self = Self(1);
    const HALF: Self = Self(1 << 60);

    /// Products are below 2^122: sixty of them fit.
    type Wide = u128;

    #[inline(always)]
    fn accumulate(sum: u128, a: Self, b: Self) -> u128 {
        sum + u128::from(a.0) * u128::from(b.0)
    }

    #[inline(always)]
    fn reduce(sum: u128) -> Self {
        let once = (sum as u64 & ORDER) as u128 + (sum >> 61);
        Self(fold((once as u64 & ORDER) + (once >> 61) as u64))
    }

    fn from_u64(value: u64) -> Self {
        Self(fold((value & ORDER) + (value >> 61)))
    }

    fn to_i64(self) -> Option<i64> {
        Some(if self.0 > ORDER / 2 { self.0 as i64 - ORDER as i64 } else { self.0 as i64 })
    }

    fn invert(self) -> Option<Self> {
        // Fermat: the power of order - 2 = 4·(2^59 - 1) + 1.
        let [inverse] = products(squares(ones([self]), 2), [self]);
        (self.0 != 0).then_some(inverse)
    }

    fn inverse_square_root(self) -> Option<Self> {
        // The order is 3 modulo 4: the power of (order - 3) / 4 = 2^59 - 1.
        let [root] = ones([self]);
        (root * root * self == Self::ONE).then_some(root)
    }

    fn inverse_square_roots(values: &[Self]) -> Vec<Option<Self>> {
        let (lanes, rest) = values.as_chunks::<8>();
        let mut roots = Vec::with_capacity(values.len());
        for &lanes in lanes {
            let found = ones(lanes).into_iter().zip(lanes);
            roots.extend(found.map(|(root, value)| (root * root * value == Self::ONE).then_some(root)));
        }
        roots.extend(rest.iter().map(|value| value.inverse_square_root()));
        roots
    }

    fn square_root(self) -> Option<Self> {
        // The order is 3 modulo 4: the power of (order + 1) / 4 = 2^59.
        let mut root = self;
        for _ in 0..59 {
            root = root * root;
        }
        (root * root == self).then_some(root)
    }

    fn bit(self, weight: usize) -> bool {
        self.0 >> weight & 1 == 1
    }

    fn order_bit(weight: usize) -> bool {
        ORDER >> weight & 1 == 1
    }

    #[inline(always)]
    fn write(self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0.to_le_bytes());
    }

    #[inline(always)]
    fn read(bytes: &[u8]) -> Option<Self> {
        let value = u64::from_le_bytes(bytes.try_into().ok()?);
        (value < ORDER).then_some(Self(value))
    }

    #[inline(always)]
    fn sample(bytes: &[u8]) -> Option<Self> {
        let value = u64::from_le_bytes(bytes.try_into().ok()?) & ORDER;
        (value != ORDER).then_some(Self(value))
    }

    fn power_of_two(exponent: usize) -> Self {
        Self(1 << (exponent % 61))
    }
}
